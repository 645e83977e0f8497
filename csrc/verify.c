#include "verify.h"

#include <stdio.h>

#include "copies.h"
#include "entry.h"
#include "fingerprint.h"

static bool touches(const blasad_tape *t, size_t index, const char *p, int width)
{
    const bl_record *r = bl_record_at(t, index);
    const bl_view number = bl_view_run((char *)(uintptr_t)p, width);
    bl_call c;
    bl_unpack(t, r, &c);
    for (int i = 0; i < bl_routine_table[c.routine]->n_operands; i++)
        if ((r->read | r->write) >> i & 1) {
            const bl_view v = bl_operand_view(&c, i);
            if (bl_views_overlap(&v, &number))
                return true;
        }
    for (int i = 0; r->extra && i < bl_routine_table[c.routine]->n_scalars; i++) {
        const bl_extra *x = &t->extra[r->extra - 1];
        const bl_view v = bl_view_run(x->scalar_address[i], bl_scalar_size(&c, i));
        if (x->scalar_place[i] && bl_views_overlap(&v, &number))
            return true;
    }
    return false;
}

static size_t last_touching(const blasad_tape *t, const char *p, int width, size_t before)
{
    for (size_t i = before; i-- > 0;)
        if (touches(t, i, p, width))
            return i;
    return before;
}

void bl_changed(blasad_tape *t, const bl_region *r, const char *p, const char *when)
{
    char since[96] = "it was annotated";
    size_t last = last_touching(t, p, 1 << r->shift, t->count);
    if (last < t->count) {
        const bl_record *e = bl_record_at(t, last);
        snprintf(since, sizeof since, "call %zu (%s, through %s)", last, bl_routine_name(e->routine, e->type),
                 bl_symbol_name(e->symbol));
    }
    if (r->window)
        bl_tape_fail(
            t, BLASAD_UNSEEN_WRITE,
            "memory at %p, into which recorded calls had written an active value, changed between %s and %s, "
            "and no recorded call did it: either it was changed in place, or it was freed and is now something "
            "else, and nothing tells which. Annotate it (Duplicated) and announce the write (tape.assigned, "
            "tape.record); or end its life where the program does (tape.forget)",
            (const void *)p, since, when);
    else
        bl_tape_fail(
            t, BLASAD_UNSEEN_WRITE,
            "%s changed at %p (byte %td from its lowest) between %s and %s, and no recorded call did "
            "it; a derivative depends on it. Announce the write (with tape.assigned(x), or tape.record for an "
            "operation "
            "with a derivative of its own), make it before the tape opens, or write to memory of its own; verify=False "
            "takes the content for what recorded calls left there",
            r->label, (const void *)p, p - r->lo, since, when);
}

const char *bl_changed_before(bl_region *r, const bl_view *v, bool read, bool needed, bool written)
{
    const char *bad = read && (r->duplicated || needed) ? bl_prints_check(r, v) : NULL;
    for (int64_t j = 0; !bad && written && r->need && j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j));
        bad = bl_prints_check_bits(r, r->need, from, from + ((size_t)bl_column_bytes(v, j) >> r->shift));
    }
    return bad;
}

/* Before the call. Windows were checked when the call was looked at. */
bool bl_verify_before(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    const bl_plan *p = w->plan;
    const bl_routine_spec *s = bl_routine_table[c->routine];
    char text[128];
    for (int i = 0; i < s->n_operands + s->n_scalars; i++) {
        const bool operand = i < s->n_operands;
        const int k = operand ? i : i - s->n_operands;
        bl_region *r = operand ? w->region[k] : w->scalars & BL_SCALAR(k) ? w->scalar_region[k] : NULL;
        if (!r || r->window)
            continue;
        const bool read = !operand || (p->access.read & BL_OPERAND(k)), needed = operand && (p->needs & BL_OPERAND(k));
        const bool written = operand && (p->access.write & BL_OPERAND(k));
        const bl_view v = operand ? bl_touched_view(w, k) : bl_view_run(c->scalar[k].address, bl_scalar_size(c, k));
        const char *bad = NULL;
        if (r != &bl_mixed) {
            bad = bl_changed_before(r, &v, read, needed, written);
        } else {
            bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
            bl_view part;
            while (!bad && bl_parts_next(&parts, &r, &part))
                bad = r->window ? NULL : bl_changed_before(r, &part, read, needed, written);
        }
        if (bad) {
            bl_changed(t, r, bad, bl_describe_call(t, c, text));
            return false;
        }
    }
    return true;
}

static inline void mark_run_seen(bl_region *r, const char *base, size_t units)
{
    const size_t first = bl_unit(r, base);
    if (first % 64 + units <= 64)
        r->seen[first / 64] |= bl_mask(first % 64, first % 64 + units);
    else
        bl_bits_set(r->seen, first, first + units);
}

static inline void mark_seen(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t from = bl_unit(r, bl_view_column(v, j));
        bl_bits_set(r->seen, from, from + ((size_t)bl_column_bytes(v, j) >> r->shift));
    }
}

static inline uint64_t left_behind(bl_region *r, const bl_view *v, bool written)
{
    mark_seen(r, v);
    if (!written)
        return 0;
    if (r->duplicated || r->window)
        return bl_prints_stamp(r, v);
    bl_prints_drop(r, v);
    return 0;
}

uint64_t bl_left_behind(bl_region *r, const bl_view *v, bool written) { return left_behind(r, v, written); }

void bl_verify_after(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    const bl_plan *p = w->plan;
    const bl_routine_spec *s = bl_routine_table[c->routine];
    for (int i = 0; w->plain && i < s->n_operands; i++) {
        bl_region *r = w->region[i];
        if (!r)
            continue;
        const bool written = p->access.write & BL_OPERAND(i);
        uint64_t sum = 0;
        if (p->view[i].columns == 1 && (!written || r->duplicated)) { /* without a view */
            const size_t units = (size_t)p->view[i].column >> r->shift;
            mark_run_seen(r, w->base[i], units);
            sum = written ? bl_prints_stamp_run(r, w->base[i], units) : 0;
        } else {
            const bl_view v = bl_touched_view(w, i);
            sum = left_behind(r, &v, written);
        }
        if (written && p->active && c->caller)
            bl_copies_output(t, c, w, i, sum);
    }
    if (w->plain && !w->scalars)
        return;
    for (int i = w->plain ? s->n_operands : 0; i < s->n_operands + s->n_scalars; i++) {
        const bool operand = i < s->n_operands;
        const int k = operand ? i : i - s->n_operands;
        bl_region *r = operand ? w->region[k] : w->scalars & BL_SCALAR(k) ? w->scalar_region[k] : NULL;
        if (!r)
            continue;
        /* not written, but out: only its derivative changed, by an active scalar that is 0 or 1; that begins a life */
        const bool out = operand && (p->out & BL_OPERAND(k)), written = operand && (p->access.write & BL_OPERAND(k));
        const bl_view v = operand ? bl_touched_view(w, k) : bl_view_run(c->scalar[k].address, bl_scalar_size(c, k));
        uint64_t sum = 0;
        if (r != &bl_mixed && !r->window) {
            sum = left_behind(r, &v, written);
        } else {
            bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
            bl_view part;
            while (bl_parts_next(&parts, &r, &part))
                sum += left_behind(r, &part, written || (out && r->window));
        }
        if (written && p->active && c->caller)
            bl_copies_output(t, c, w, k, sum);
    }
}

void bl_tape_rewritten(bl_layer *self, const bl_call *c)
{
    blasad_tape *t = (blasad_tape *)self;
    const bl_view v = bl_operand_view(c, 0);
    bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
    bl_region *r;
    bl_view part;
    while (!(t->options & BLASAD_NO_VERIFY) && bl_parts_next(&parts, &r, &part))
        if (r && r->print)
            bl_left_behind(r, &part, true);
}
