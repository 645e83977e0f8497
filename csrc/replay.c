/* Reverse mode: the records from last to first, each adjoint on the values that its call saw. */
#include <stdlib.h>

#include "backend.h"
#include "error.h"
#include "fingerprint.h"
#include "verify.h"
#include "operation.h"
#include "site.h"

/* What a replay reads far from what it read before: how many calls ahead it is asked for, and up to which size asking
 * pays. Descending through memory, no hardware prefetcher helps; above a few lines the products hide the latency. */
enum { AHEAD = 6, ASK_LINES = 16, LINE = 64 };

static inline void ask(const char *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += LINE)
        __builtin_prefetch(p + i, 1);
}

static void ask_ahead(const blasad_tape *t, size_t index)
{
    const bl_record *r = bl_record_at(t, index);
    if (r->wide)
        return;
    const bl_extra *x = bl_extra_of(t, r);
    const int64_t size = bl_element_size(r->type);
    const bl_routine_spec *spec = bl_routine_table[r->routine];
    for (int i = 0; i < spec->n_operands; i++) {
        const uint32_t place = bl_place_of(r, x, i);
        if (!place || place == BL_PARTS) /* not accessed: sizes mean nothing */
            continue;
        const int8_t column = bl_dims_of(&spec->operand[i], r->flag)[1];
        const int64_t bytes = (column == BL_DIM_ONE ? 1 : r->dim[column]) * bl_ld_of(r, x, i) * size;
        if (bytes > ASK_LINES * LINE)
            continue;
        const bl_region *g = t->regions.region[place - 1];
        char *base = bl_base_of(r, x, i);
        ask(base + bl_source(g), bytes);
        if (r->shadowed >> i & 1)
            ask(base + g->delta, bytes);
    }
}

static int no_memory(const char *what, ptrdiff_t bytes)
{
    return bl_fail(BLASAD_MEMORY, "no memory to replay: %s needs %td bytes; no shadow was changed", what, bytes);
}

/* Everything that can fail comes before the first shadow is written (3). */
static int prepare(blasad_tape *t)
{
    for (size_t i = 0; i < t->regions.count; i++) {
        bl_region *r = t->regions.region[i];
        if (r->need && r->print) {
            const char *bad = bl_prints_check_bits(r, r->need, 0, bl_region_units(r));
            if (bad) {
                bl_changed(t, r, bad, "reverse()");
                return blasad_tape_error(t);
            }
        }
        if (r->saved_from && !bl_mirror_begin(r))
            return no_memory(r->label, r->hi - r->lo);
    }
    if (!bl_work_begin(t, bl_thread_state.top))
        return no_memory("workspace", (ptrdiff_t)t->workspace);
    for (size_t i = 0; i < t->regions.windows; i++) {
        bl_region *r = t->regions.window[i];
        if (!r->lived)
            continue;
        for (int k = 0; k < r->shadows; k++) /* they are cleared, and the numbers in them forgotten */
            bl_layers_forget(bl_thread_state.top, r->lo + bl_delta(r, k), r->hi + bl_delta(r, k));
        if (!bl_window_shadows(r, bl_batch(t)))
            return no_memory(r->label, r->hi - r->lo);
    }
    return BLASAD_OK;
}

static void pass_saves(const blasad_tape *t, const bl_path *to, const bl_record *r, bool by_read)
{
    for (const bl_save *s = r->saved ? t->save[r->saved - 1] : NULL; s; s = s->next)
        if (s->by_read == by_read)
            bl_mirror_back(to, s);
}

/* Passes what the call saved, ahead of its adjoint or, where that needs what the call left, behind it. */
static void replay_call(blasad_tape *t, const bl_record *r, const bl_seed *seed, bl_site *site)
{
    const bl_extra *x = bl_extra_of(t, r);
    bl_call c;
    bl_unpack(t, r, &c);
    if (!(r->shadowed & r->write)) {
        pass_saves(t, &site->path, r, false);
        return;
    }
    unsigned active = r->read & r->had;
    for (int i = 0; x && i < bl_routine_table[r->routine]->n_scalars; i++)
        active |= (x->scalar_place[i] ? BL_SCALAR(i) : 0) | (x->cell[i] ? BL_OUTER(i) : 0);
    const unsigned needs = bl_rules[c.routine]->needs(&c, active);
    const bool later = needs >= BL_LEFT(0);
    if (!later)
        pass_saves(t, &site->path, r, false);
    char *work = bl_site_values(t, &site->path, r, &c, needs, t->work);
    site->call = &c;
    site->active = active;
    site->returned = r->scalar[BL_VALUE];
    for (int k = 0; k < bl_batch(t); k++) {
        bl_site_shadows(t, r, k, site, work);
        if (seed)
            bl_seed_add(seed, k, site);
        bl_rules[c.routine]->adjoint(site);
        bl_site_scatter(t, r, k, site);
    }
    if (later)
        pass_saves(t, &site->path, r, false);
}

int bl_replay(blasad_tape *t)
{
    int code = prepare(t);
    bl_site site = {.path.below = bl_thread_state.top};
    size_t seeds = t->seeds;
    for (size_t index = code == BLASAD_OK ? t->count : 0; index-- > 0 && code == BLASAD_OK;) {
        const bl_record *r = bl_record_at(t, index);
        if (index >= AHEAD)
            ask_ahead(t, index - AHEAD);
        site.path.backend = bl_backend_of(r->backend);
        site.path.symbol = r->symbol;
        const bl_seed *seed = seeds > 0 && t->seed[seeds - 1].index == index ? &t->seed[--seeds] : NULL;
        if (r->routine == BL_OPERATION) {
            bl_operation_outputs(t, r, &site.path);
            pass_saves(t, &site.path, r, false);
            code = bl_operation_adjoint(t, r, &site.path);
        } else {
            replay_call(t, r, seed, &site);
        }
        pass_saves(t, &site.path, r, true);
    }
    bl_work_end(t, bl_thread_state.top);
    return code;
}
