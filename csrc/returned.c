/* Numbers that routines returned, and the shadows that the user gives them (semantics 8). */
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "record.h"

static int result_of(const bl_record *r) { return bl_routine_table[r->routine]->result; }
static int number_type(const bl_record *r)
{
    return bl_type_by(&bl_routine_table[r->routine]->operand[result_of(r)], r->type);
}
static bool is_active(const bl_record *r) { return r->active && (r->shadowed >> result_of(r) & 1); }

BL_EXPORT int blasad_returned(const blasad_tape *t, size_t index, blasad_number *out)
{
    const bl_record *r = index < t->count ? bl_record_at(t, index) : NULL;
    if (!r)
        return bl_fail(BLASAD_VALUE, "call %zu of a tape of %zu", index, t->count);
    if (result_of(r) == BL_NEVER)
        return bl_fail(BLASAD_VALUE, "call %zu (%s, through %s) returns no number: what it computes is in memory",
                       index, bl_routine_name(r->routine, r->type), bl_symbol_name(r->symbol));
    const bl_complex value = r->scalar[BL_VALUE];
    *out = (blasad_number){number_type(r), {value.re, value.im}, is_active(r), bl_batch(t)};
    return BLASAD_OK;
}

/* Where a seed is, or would be. */
static size_t place_of(const blasad_tape *t, size_t index)
{
    size_t lo = 0, hi = t->seeds;
    while (lo < hi) {
        const size_t middle = lo + (hi - lo) / 2;
        if (t->seed[middle].index < index)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

BL_EXPORT int blasad_returned_shadow(blasad_tape *t, size_t index, void *const *shadow)
{
    blasad_number number;
    int code = blasad_tape_error(t);
    if (code == BLASAD_OK)
        code = blasad_returned(t, index, &number);
    if (code != BLASAD_OK)
        return code;
    if (!t->ended)
        return bl_fail(BLASAD_TAPE, "this tape still records: leave its block, then ask for the shadows of what calls "
                                    "returned");
    const bl_record *r = bl_record_at(t, index);
    const size_t n = (size_t)number.shadows;
    if (!number.active)
        return bl_fail(BLASAD_TAPE,
                       "call %zu (%s) returned a number that depends on nothing active: it has no shadow; annotate "
                       "what it is computed from (Duplicated)",
                       index, bl_routine_name(r->routine, r->type));
    const int result = result_of(r);
    for (size_t k = 0; k < n; k++) { /* to outer tapes it is new memory, whatever it was before */
        char *at = shadow[k];
        bl_layers_forget(bl_thread_state.top, at, at + bl_element_size(number.type));
    }
    if (t->mode == BLASAD_FORWARD) {
        if (!r->in_cell)
            return bl_fail(BLASAD_TAPE,
                           "call %zu (%s, through %s) stored its number in memory of the program's: its tangent is in "
                           "the shadow of that; annotate it (Duplicated)",
                           index, bl_routine_name(r->routine, r->type), bl_symbol_name(r->symbol));
        const bl_region *g = t->regions.region[r->place[result] - 1];
        const bool spliced = bl_splice();
        const bl_path to = {
            .below = bl_thread_state.top, .backend = bl_backend_of(r->backend), .symbol = r->symbol}; /* (10) */
        for (size_t k = 0; k < n; k++)
            bl_mcopy(&to, number.type, 1, 1, (bl_matrix){(char *)r->base[result] + bl_delta(g, (int)k), 1},
                     (bl_matrix){shadow[k], 1});
        if (spliced)
            bl_unsplice();
    }
    const size_t at = place_of(t, index);
    void **copy = malloc(n * sizeof *copy);
    if (!copy || !bl_grow(&t->seed, &t->seed_capacity, t->seeds, sizeof *t->seed)) {
        free(copy);
        return bl_fail(BLASAD_MEMORY, "no memory for the shadow of a number");
    }
    memcpy(copy, shadow, n * sizeof *copy);
    if (at < t->seeds && t->seed[at].index == index) {
        free(t->seed[at].shadow);
    } else {
        memmove(&t->seed[at + 1], &t->seed[at], (t->seeds - at) * sizeof *t->seed);
        t->seeds++;
    }
    t->seed[at] = (bl_seed){index, bl_element_size(number.type), copy};
    return BLASAD_OK;
}

void bl_seed_add(const bl_seed *seed, int shadow, const bl_site *s)
{
    const bl_routine_spec *spec = bl_routine_table[s->call->routine];
    const int type = bl_type_by(&spec->operand[spec->result], s->call->type);
    const bl_matrix own = {seed->shadow[shadow], 1};
    bl_madd(&s->path, type, 1, 1, own, bl_shadow(s, spec->result));
    bl_mscal(&s->path, type, 1, 1, 'N', BL_ZERO, own);
}

static bool same_operands(const blasad_tape *t, const bl_record *a, const bl_record *b)
{
    const bl_routine_spec *s = bl_routine_table[a->routine];
    bool same = a->routine == b->routine && a->type == b->type;
    bl_call one, other;
    bl_unpack(t, a, &one);
    bl_unpack(t, b, &other);
    for (int i = 0; same && i < s->n_dims; i++)
        same = one.dim[i] == other.dim[i];
    for (int i = 0; same && i < s->n_operands; i++)
        same = i == s->result ||
               (one.operand[i].base == other.operand[i].base && one.operand[i].ld == other.operand[i].ld);
    return same;
}

/* Does a call between two others write what they read? Whatever else is recorded there is taken to. */
static bool written_between(const blasad_tape *t, const bl_record *a, size_t first, size_t last)
{
    const bl_routine_spec *s = bl_routine_table[a->routine];
    bl_call reads, writes;
    bl_unpack(t, a, &reads);
    for (size_t i = first + 1; i < last; i++) {
        const bl_record *r = bl_record_at(t, i);
        if (r->routine == BL_OPERATION)
            return true;
        const bl_routine_spec *other = bl_routine_table[r->routine];
        bl_unpack(t, r, &writes);
        for (int o = 0; o < other->n_operands; o++) {
            if (!(r->write >> o & 1) || o == other->result)
                continue;
            const bl_view out = bl_operand_view(&writes, o);
            for (int k = 0; k < s->n_operands; k++) {
                const bl_view in = bl_operand_view(&reads, k);
                if (k != s->result && bl_views_overlap(&out, &in))
                    return true;
            }
        }
    }
    return false;
}

BL_EXPORT int blasad_returned_find(const blasad_tape *t, double re, double im, size_t *index)
{
    const bl_record *found = NULL;
    size_t before = 0; /* the first of those that are the same */
    bool inactive = false;
    for (size_t i = t->count; i-- > 0;) {
        const bl_record *r = bl_record_at(t, i);
        if (result_of(r) == BL_NEVER || !r->caller || bl_bits(r->scalar[BL_VALUE].re) != bl_bits(re) ||
            bl_bits(r->scalar[BL_VALUE].im) != bl_bits(im))
            continue;
        if (!is_active(r)) {
            inactive = true;
        } else if (!found) {
            found = r;
            *index = before = i;
        } else if (same_operands(t, found, r) && !written_between(t, r, i, before)) {
            before = i;
        } else {
            return bl_fail(BLASAD_TAPE,
                           "f returned %.17g, and so did calls %zu (%s) and %zu (%s) on different operands, or on "
                           "operands written "
                           "in between: which one is meant? Record with a Tape and seed tape.returned(index).shadow",
                           re, i, bl_routine_name(r->routine, r->type), *index,
                           bl_routine_name(found->routine, found->type));
        }
    }
    if (found)
        return BLASAD_OK;
    if (inactive)
        return bl_fail(BLASAD_ACTIVITY,
                       "f returned %.17g, which a recorded call returned, but no Duplicated argument reaches it: the "
                       "gradient would be zero; annotate what it depends on",
                       re);
    return bl_fail(BLASAD_TAPE,
                   "f returned %.17g, and no recorded call returned a number with these bits: return what the routine "
                   "returned, unchanged, or record with a Tape and seed tape.returned(index).shadow",
                   re);
}
