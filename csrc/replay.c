/* Reverse mode: the records from last to first, each adjoint on the values that its call saw. */
#include <stdlib.h>

#include "error.h"
#include "fingerprint.h"
#include "record.h"

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
    const int64_t size = bl_element_size(r->type);
    for (int i = 0; i < bl_routine_table[r->routine]->n_operands; i++) {
        if (!r->place[i] ||
            (r->place[i] & BL_COPY)) /* not accessed, sizes mean nothing; or next to what is read anyway */
            continue;
        const bl_operand_spec *s = &bl_routine_table[r->routine]->operand[i];
        const int64_t columns = s->cols == BL_DIM_ONE ? 1 : r->dim[s->cols], bytes = columns * r->ld[i] * size;
        if (bytes > ASK_LINES * LINE)
            continue;
        const bl_region *g = t->regions.region[r->place[i] - 1];
        ask(r->base[i], bytes);
        if (g->duplicated)
            ask((char *)r->base[i] + g->delta, bytes);
    }
}

/* Everything that can fail comes before the first shadow is written (3). */
static int prepare(blasad_tape *t, char **work)
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
            return bl_fail(BLASAD_MEMORY, "no memory to replay: %s needs a mirror of %td bytes; no shadow was changed",
                           r->label, r->hi - r->lo);
    }
    *work = NULL;
    if (t->workspace && !(*work = aligned_alloc(64, (t->workspace + 63) & ~(size_t)63)))
        return bl_fail(BLASAD_MEMORY, "no memory to replay: %zu bytes of workspace; no shadow was changed",
                       t->workspace);
    return BLASAD_OK;
}

/* Where the values of operand i are that the call saw. */
static void place_values(const blasad_tape *t, const bl_record *r, bl_call *c, int i)
{
    const uint32_t place = r->place[i];
    if (place & BL_COPY) {
        int64_t rows, cols;
        bl_operand_shape(c, i, &rows, &cols);
        c->operand[i] = (bl_operand){t->copies.copy[place & ~BL_COPY].values, rows};
    } else {
        bl_region *g = t->regions.region[place - 1];
        if (g->saved_from) {
            const bl_view v = bl_operand_view(c, i);
            c->operand[i].base = bl_mirror_value(g, &v);
        }
    }
}

int bl_replay(blasad_tape *t)
{
    char *work;
    int code = prepare(t, &work);
    if (code != BLASAD_OK)
        return code;
    bl_site site = {.path.below = bl_thread_state.top, .work = work};
    for (size_t index = t->count; index-- > 0;) {
        const bl_record *r = bl_record_at(t, index);
        const bl_routine_spec *s = bl_routine_table[r->routine];
        if (index >= AHEAD)
            ask_ahead(t, index - AHEAD);
        for (const bl_save *save = r->saved ? t->save[r->saved - 1] : NULL; save; save = save->next)
            bl_mirror_back(save);
        bl_call c;
        bl_unpack(t, r, &c);
        unsigned active = 0;
        bool output = false;
        for (int i = 0; i < s->n_operands; i++) {
            const bl_region *g = r->place[i] && !(r->place[i] & BL_COPY) ? t->regions.region[r->place[i] - 1] : NULL;
            site.shadow[i] = g && g->duplicated ? (char *)r->base[i] + g->delta : NULL;
            site.shadow_ld[i] = c.operand[i].ld;
            if (site.shadow[i]) {
                active |= (unsigned)(r->read >> i & 1) << i;
                output |= r->write >> i & 1;
            }
        }
        if (!output)
            continue;
        for (int i = 0; i < s->n_scalars; i++) {
            site.scalar_shadow[i] = r->extra ? t->extra[r->extra - 1].scalar_shadow[i] : NULL;
            if (site.scalar_shadow[i])
                active |= BL_SCALAR(i);
        }
        const unsigned needs = bl_rules[c.routine]->needs(&c, active);
        for (int i = 0; i < s->n_operands; i++)
            if (needs & BL_OPERAND(i))
                place_values(t, r, &c, i);
        site.call = &c;
        site.path.backend = c.backend;
        site.path.symbol = c.symbol;
        bl_rules[c.routine]->adjoint(&site);
    }
    free(work);
    return BLASAD_OK;
}
