/* Verification (semantics 7): what recorded events left in memory is what later ones find there. */
#ifndef BL_VERIFY_H
#define BL_VERIFY_H

#include "fingerprint.h"
#include "touch.h"

/* Before a call: what it reads of annotations, and what is saved of them, is as it was left; windows are checked when
 * the call is looked at (touch.h). False: an error was left on the tape. */
bool bl_verify_before(blasad_tape *t, const bl_call *c, const bl_touch *w);
/* The usual case of it at once: single annotations, nothing saved, and nothing has changed. False: ask
 * bl_verify_before. */
BL_HOT bool bl_verified(const bl_touch *w, const bl_routine_spec *s)
{
    const bl_plan *p = w->plan;
    if (!w->plain || w->scalars)
        return false;
    BL_UNROLL
    for (int i = 0; i < s->n_operands; i++) {
        bl_region *r = w->region[i];
        if (!r || !((p->access.read | p->access.write) & BL_OPERAND(i)))
            continue;
        const size_t from = bl_unit(r, w->base[i]), to = from + ((size_t)p->extent[i] >> r->shift);
        if (s->operand[i].output && (p->access.write & BL_OPERAND(i)) && r->need &&
            bl_bits_next(r->need, from, to, 0) != to)
            return false;
        if (!(p->access.read & BL_OPERAND(i)) || (!r->duplicated && !(p->needs & BL_OPERAND(i))))
            continue;
        if (!r->duplicated)
            return false;
        if (p->view[i].columns == 1) { /* without a view, which would cost as much as the look */
            if (bl_prints_differ_run(r, w->base[i], (size_t)p->view[i].column >> r->shift))
                return false;
            continue;
        }
        const bl_view v = bl_touched_view(w, i);
        if (bl_prints_differ(r, &v))
            return false;
    }
    return true;
}

/* After it: what it left. */
void bl_verify_after(blasad_tape *t, const bl_call *c, const bl_touch *w);

/* What is read of an annotation (as active, or because its value is needed) and what is saved of it is as the last
 * event left it; else where it is not. */
const char *bl_changed_before(bl_region *r, const bl_view *v, bool read, bool needed, bool written);
/* What an event left in v, of which r is the owner, and the sum of it; or only read. */
uint64_t bl_left_behind(bl_region *r, const bl_view *v, bool written);
/* Tells the tape that the element at p changed before `when`. */
void bl_changed(blasad_tape *t, const bl_region *r, const char *p, const char *when);

#endif
