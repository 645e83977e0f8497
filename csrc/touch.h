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
/* `shadowed`: operands with a shadow; `had`: those of them that had it before the call. */
void bl_plan_activity(blasad_tape *t, bl_plan *p, const bl_call *c, const bl_family *f, unsigned shadowed,
                      unsigned had);

/* Tells the tape what is wrong with the call: that which made bl_touch_call return false. */
void bl_refuse_width(blasad_tape *t, const bl_call *c, const bl_region *r);
void bl_refuse_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i);
void bl_refuse_assumed(blasad_tape *t, const bl_call *c, int i);
/* Operand i is a copy of what call `event` left (what was annotated, if there is no such call). */
void bl_refuse_copy(blasad_tape *t, const bl_call *c, int i, bool gone, bool ambiguous, size_t event);
void bl_refuse_returned(blasad_tape *t, const bl_call *c, int i);
void bl_refuse_rule(blasad_tape *t, const bl_call *c);
bool bl_check_aliases(blasad_tape *t, const bl_call *c, const bl_touch *w);

/* What the elements of an operand are that no single annotation owns. */
typedef struct bl_look {
    bl_region *owner; /* a window; &bl_mixed: several owners */
    bool shadow;      /* some have one */
    bool window;      /* some are in undeclared memory: a call that writes active values makes them live */
    bool constant;    /* some were annotated as constant, or cannot become live */
    bool unknown;     /* some were not left there by a recorded call */
    const char *bad;  /* active, and not as it was left; in which window */
    bl_region *bad_in;
} bl_look;

/* False: an error was left on the tape. */
bool bl_look_at(blasad_tape *t, const bl_call *c, const bl_view *v, bool read, bl_look *k);

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

/* Does the result depend on the bytes where scalar i is? Else they are nobody's business, whatever they are. */
bool bl_reads_scalar(const bl_call *c, int i);
/* The owner of a scalar, NULL where it is not read, or constant and not annotated; sets its bit of *active. False: an
 * error was left on the tape. */
bool bl_touch_scalar(blasad_tape *t, const bl_call *c, int i, bl_region **owner, unsigned *active);
/* Is scalar i read, and active on a layer below? */
bool bl_active_below(const blasad_tape *t, const bl_call *c, int i);

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
    if (s->same) /* where x is y there is less to do, or in another way */
        differ |= p->same ^ (c->operand[0].base == c->operand[1].base);
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
    unsigned shadowed = 0, windows = 0, constant = 0, scalars = 0, assumed = 0;
    const int type = c->type + (s->real << 2);
    if (t->constant_type != type) { /* at the same address, but of another width */
        t->constant_type = type;
        BL_UNROLL
        for (int i = 0; i < BL_MAX_SCALARS; i++)
            t->constant[i] = NULL;
    }
    BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++) {
        w->scalar_region[i] = NULL;
        if (c->scalar[i].address != t->constant[i] && !bl_touch_scalar(t, c, i, &w->scalar_region[i], &scalars))
            return BL_TOUCHED_ERROR;
        /* where an outer tape has it active its value hides nothing from that one */
        scalars |= t->layer.below && bl_active_below(t, c, i) ? BL_OUTER(i) : 0;
    }
    bl_plan *p = &t->plan[c->routine];
    if (!bl_plan_is_for(p, c, s, scalars)) {
        if (s->check(c))
            return BL_TOUCHED_BAD_CALL;
        bl_plan_for(p, c, f, scalars);
    }
    w->plan = p;
    w->plain = true;
    const unsigned read = p->access.read, out = p->out, all = p->all;
    BL_UNROLL
    for (int i = 0; i < s->n_operands; i++) {
        char *base = w->base[i] = c->operand[i].base;
        w->region[i] = NULL;
        if (!(all & BL_OPERAND(i)))
            continue;
        if (s->operand[i].storage >= BL_TRIANGLE)
            w->base[i] = base += p->skip[i];
        bl_region *r = bl_regions_guess(&t->regions, base, base + p->extent[i], i);
        if (!r) {
            const bl_view v = bl_touched_view(w, i);
            r = bl_regions_search(&t->regions, &v, i);
        }
        if (r && r != &bl_mixed) {
            if (!bl_fits_width(t, c, r))
                return BL_TOUCHED_ERROR;
            w->region[i] = r;
            shadowed |= (unsigned)r->duplicated << i;
            constant |= (unsigned)!r->duplicated << i;
            continue;
        }
        const bl_view v = bl_touched_view(w, i);
        bl_look k;
        if (!bl_look_at(t, c, &v, read & BL_OPERAND(i), &k))
            return BL_TOUCHED_ERROR;
        w->plain = false;
        w->region[i] = k.owner;
        shadowed |= (unsigned)k.shadow << i;
        windows |= (unsigned)k.window << i;
        constant |= (unsigned)k.constant << i;
        assumed |= (unsigned)(k.unknown && c->caller) << i; /* rules read what the program's own call read */
    }
    w->assumed = assumed;
    const unsigned had = shadowed;
    if ((read & shadowed) | (p->access.scalars & BL_SCALARS))
        shadowed |= out & windows;
    if (shadowed != p->shadowed || had != p->had)
        bl_plan_activity(t, p, c, f, shadowed, had);
    w->scalars = p->access.scalars & BL_SCALARS;
    if (shadowed | w->scalars) { /* section 5 */
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
    if (p->active && (out & constant)) {
        bl_refuse_output(t, c, bl_publish(t, w), __builtin_ctz(out & constant));
        return BL_TOUCHED_ERROR;
    }
    if (p->telling && t->returned.count && c->caller)
        BL_UNROLL
    for (int i = 0; i < s->n_scalars; i++)
        if ((p->telling & BL_SCALAR(i)) && !(scalars & BL_SCALAR(i)) &&
            bl_set_has(&t->returned, bl_number_key(c->width, c->scalar[i].value))) {
            bl_refuse_returned(t, c, i);
            return BL_TOUCHED_ERROR;
        }
    return BL_TOUCHED;
}

#endif
