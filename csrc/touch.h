/* What a call touches: its elements looked up in the tape's annotations, and held against the contract.
 *
 * Recording runs this at every call, so it is inlined once for each routine, with the routine's table folded in. What
 * is wrong with a call is found out again, slowly and with words, by touch.c.
 */
#ifndef BL_TOUCH_H
#define BL_TOUCH_H

#include "record.h"

#define BL_HOT static inline __attribute__((always_inline))
/* Ahead of loops over the arguments of one routine: their number is a constant where this is inlined. */
#define BL_UNROLL _Pragma("GCC unroll 8")

/* Makes a plan: for a shape and the scalars that have a shadow; and what it says for a set of operands with a shadow.
 */
void bl_plan_for(bl_plan *p, const bl_call *c, const bl_family *f, unsigned scalars);
void bl_plan_activity(blasad_tape *t, bl_plan *p, const bl_call *c, const bl_family *f, unsigned duplicated);

/* Tells the tape what is wrong with the call: that which made bl_touch_call return false. */
void bl_refuse_scalar(blasad_tape *t, const bl_call *c, int i);
void bl_refuse_width(blasad_tape *t, const bl_call *c, const bl_region *r);
void bl_refuse_mixed(blasad_tape *t, const bl_call *c, int i);
void bl_refuse_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i);
void bl_refuse_assumed(blasad_tape *t, const bl_call *c, int i);
void bl_refuse_returned(blasad_tape *t, const bl_call *c, int i);
bool bl_check_aliases(blasad_tape *t, const bl_call *c, const bl_touch *w);

/* Was v written by recorded calls, without anything active? Then it is constant, and no assumption. */
bool bl_is_scratch(const blasad_tape *t, const bl_view *v);

BL_HOT bool bl_fits_width(blasad_tape *t, const bl_call *c, bl_region *r)
{
    const int width = c->width;
    if (__builtin_expect(r->width != width, 0)) {
        if (r->width != 0) {
            bl_refuse_width(t, c, r);
            return false;
        }
        r->width = (uint8_t)width;
    }
    r->touched = true;
    return true;
}

/* The region of a scalar, looked up; NULL: constant; &bl_mixed: an error was left on the tape. */
bl_region *bl_touch_scalar(blasad_tape *t, const bl_call *c, int i);

BL_HOT bool bl_plan_is_for(const bl_plan *p, const bl_call *c, const bl_routine_spec *s, unsigned scalars)
{
    uint64_t differ = (uint64_t)(p->type ^ c->type) | (p->scalars ^ scalars);
    BL_UNROLL
    for (int i = 0; i < s->n_flags; i++)
        differ |= (uint64_t)(p->flag[i] ^ c->flag[i]);
    BL_UNROLL
    for (int i = 0; i < s->n_dims; i++)
        differ |= (uint64_t)(p->dim[i] ^ c->dim[i]);
    BL_UNROLL
    for (int i = 0; i < s->n_operands; i++)
        differ |= (uint64_t)(p->ld[i] ^ c->operand[i].ld);
    BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++)
        differ |= (bl_bits(p->scalar[i].re) ^ bl_bits(c->scalar[i].value.re)) |
                  (bl_bits(p->scalar[i].im) ^ bl_bits(c->scalar[i].value.im));
    return differ == 0;
}

/* The tape's own copy, for whoever needs it in memory. Recording has it in registers. */
BL_HOT const bl_touch *bl_publish(blasad_tape *t, const bl_touch *w)
{
    t->touch = *w;
    return &t->touch;
}

enum bl_touched { BL_TOUCHED, BL_TOUCHED_BAD_CALL, BL_TOUCHED_ERROR /* which was left on the tape */ };

BL_HOT enum bl_touched bl_touch_call(blasad_tape *t, const bl_call *c, const bl_family *f, bl_touch *w)
{
    const bl_routine_spec *s = f->spec;
    unsigned duplicated = 0, scalars = 0, assumed = 0;
    if (t->constant_type != c->type) { /* at the same address, but of another width */
        t->constant_type = c->type;
        BL_UNROLL
        for (int i = 0; i < s->n_scalars; i++)
            t->constant[i] = NULL;
    }
    BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++) {
        w->scalar_region[i] = NULL;
        w->scalar_shadow[i] = NULL;
        if (c->scalar[i].address == t->constant[i])
            continue;
        bl_region *r = w->scalar_region[i] = bl_touch_scalar(t, c, i);
        if (r == &bl_mixed)
            return BL_TOUCHED_ERROR;
        if (r && r->duplicated) {
            w->scalar_shadow[i] = (char *)c->scalar[i].address + r->delta;
            scalars |= BL_SCALAR(i);
        }
    }
    bl_plan *p = &t->plan[c->routine];
    if (!bl_plan_is_for(p, c, s, scalars)) {
        if (s->check(c))
            return BL_TOUCHED_BAD_CALL;
        bl_plan_for(p, c, f, scalars);
    }
    w->plan = p;
    const unsigned read = p->access.read, out = p->out, all = p->all;
    BL_UNROLL
    for (int i = 0; i < s->n_operands; i++) {
        char *base = w->base[i] = c->operand[i].base;
        w->region[i] = NULL;
        if (!(all & BL_OPERAND(i)))
            continue;
        bl_region *r = bl_regions_guess(&t->regions, base, base + p->extent[i], i);
        if (!r) {
            const bl_view v = bl_touched_view(w, i);
            r = bl_regions_search(&t->regions, &v, i);
        }
        if (r == &bl_mixed) {
            bl_refuse_mixed(t, c, i);
            return BL_TOUCHED_ERROR;
        }
        if (r) {
            if (!bl_fits_width(t, c, r))
                return BL_TOUCHED_ERROR;
            w->region[i] = r;
            duplicated |= (unsigned)r->duplicated << i;
        } else if (read & BL_OPERAND(i)) {
            const bl_view v = bl_touched_view(w, i);
            assumed |= bl_is_scratch(t, &v) ? 0 : BL_OPERAND(i);
        }
    }
    w->assumed = assumed;
    if (duplicated != p->duplicated)
        bl_plan_activity(t, p, c, f, duplicated);
    if (p->access.scalars != scalars)
        BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++)
        if (!(p->access.scalars & BL_SCALAR(i)))
            w->scalar_shadow[i] = NULL;
    if (duplicated | p->access.scalars) { /* section 5 */
        bool overlap = false;
        BL_UNROLL
        for (int o = 0; o < s->n_operands; o++)
            if (s->operand[o].output && (out & BL_OPERAND(o))) {
                BL_UNROLL
                for (int i = 0; i < s->n_operands; i++)
                    if (i != o) /* differences as unsigned numbers: huge where the other one begins later */
                        overlap |= ((uintptr_t)w->base[o] - (uintptr_t)w->base[i] < (uintptr_t)p->extent[i]) |
                                   ((uintptr_t)w->base[i] - (uintptr_t)w->base[o] < (uintptr_t)p->extent[o]);
                BL_UNROLL
                for (int i = 0; i < s->n_scalars; i++)
                    overlap |= w->scalar_region[i] != NULL;
            }
        if (overlap && !bl_check_aliases(t, c, bl_publish(t, w)))
            return BL_TOUCHED_ERROR;
    }
    if (p->cut) {
        bl_refuse_output(t, c, bl_publish(t, w), __builtin_ctz(p->cut));
        return BL_TOUCHED_ERROR;
    }
    if (p->telling && t->returned.count)
        BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++)
        if ((p->telling & BL_SCALAR(i)) && !(w->scalar_region[i] && w->scalar_region[i]->duplicated) &&
            bl_set_has(&t->returned, bl_number_key(c->width, c->scalar[i].value))) {
            bl_refuse_returned(t, c, i);
            return BL_TOUCHED_ERROR;
        }
    if (assumed && (t->options & BLASAD_UNDECLARED_ERROR)) {
        bl_refuse_assumed(t, c, __builtin_ctz(assumed));
        return BL_TOUCHED_ERROR;
    }
    return BL_TOUCHED;
}

#endif
