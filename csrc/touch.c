#include "touch.h"

#include <stdio.h>
#include <string.h>

#include "copies.h"
#include "entry.h"
#include "fingerprint.h"
#include "life.h"
#include "verify.h"

static const char *operand_name(const bl_call *c, int i)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    const char *name = s->operand[i].name;
    /* the program's own name: a row-major call has its operands swapped */
    for (int p = 0; c->row_major && s->row_major[p][0]; p++)
        if (strcmp(s->row_major[p][0], name) == 0)
            return s->row_major[p][1];
    return name;
}

static const char *describe(const bl_call *c, int i, const bl_region *r, char buffer[static 256])
{
    int64_t rows, cols;
    bl_operand_shape(c, i, &rows, &cols);
    snprintf(buffer, 256, "operand %s (%lld x %lld at %p, leading dimension %lld)%s%s", operand_name(c, i),
             (long long)rows, (long long)cols, c->operand[i].base, (long long)c->operand[i].ld, r ? " in " : "",
             r ? r->label : "");
    return buffer;
}

/* ---- memory that no single annotation owns */

static bool out_of_memory(blasad_tape *t)
{
    bl_out_of_memory(t);
    return false;
}

/* What is known of a window's units and has changed is known no more; where it was active, that is returned. */
static const char *look_for_changes(bl_region *r, size_t from, size_t to)
{
    const char *bad;
    while ((bad = bl_prints_check_bits(r, r->known, from, to))) {
        from = bl_unit(r, bad);
        if (bl_live_any(r, from, from + 1))
            return bad;
        bl_bits_clear(r->known, from, from + 1);
    }
    return NULL;
}

static bool look_at_window(blasad_tape *t, const bl_call *c, bl_region *r, const bl_view *run, bool read, bl_look *k)
{
    const size_t from = bl_unit(r, run->base), to = from + ((size_t)run->column >> r->shift);
    const bool odd = r->width != c->width; /* numbers of 8 bytes that are aligned to 4 */
    const bool live = bl_live_any(r, from, to);
    bl_bits_set(r->seen, from, to);
    if (live && odd) {
        bl_refuse_width(t, c, r);
        return false;
    }
    if (r->twin && read) {
        const bl_region *q = r->twin;
        if (bl_live_any(q, bl_unit(q, run->base), ((size_t)(run->end - 1 - q->lo) >> q->shift) + 1)) {
            bl_refuse_width(t, c, q);
            return false;
        }
    }
    if (!(t->options & BLASAD_NO_VERIFY)) {
        if (!bl_window_print(r))
            return out_of_memory(t);
        const char *bad = read && !k->bad ? look_for_changes(r, from, to) : NULL;
        if (bad) {
            k->bad = bad;
            k->bad_in = r;
        }
    }
    k->shadow |= live;
    k->window |= !odd;
    k->constant |= odd;
    k->unknown |= read && bl_bits_next(r->known, from, to, ~UINT64_C(0)) < to;
    return true;
}

static bool look(blasad_tape *t, const bl_call *c, const bl_view *v, bool read, bl_look *k)
{
    bl_parts parts = bl_parts_of(&t->regions, v, c->width, true);
    bl_region *r;
    bl_view run;
    *k = (bl_look){.owner = NULL};
    while (bl_parts_next(&parts, &r, &run)) {
        k->owner = !k->owner || k->owner == r ? r : &bl_mixed;
        if (r->window) {
            if (!look_at_window(t, c, r, &run, read, k))
                return false;
            continue;
        }
        if (!bl_fits_width(t, c, r))
            return false;
        k->shadow |= r->duplicated;
        k->constant |= !r->duplicated;
    }
    if (parts.short_of)
        return out_of_memory(t);
    if (parts.straddles) {
        char call[128];
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s: a number at %p lies partly in annotated memory and partly outside; annotate "
                     "whole numbers",
                     bl_describe_call(t, c, call), (void *)v->base);
        return false;
    }
    return true;
}

bool bl_look_at(blasad_tape *t, const bl_call *c, const bl_view *v, bool read, bl_look *k)
{
    char text[128];
    if (!look(t, c, v, read, k))
        return false;
    if (!k->bad)
        return true;
    /* A whole copy took the place of what was active there: that life has ended, if copies are followed. */
    if ((t->options & BLASAD_FOLLOW_COPIES) && bl_copies_is_one(t, c, v)) {
        if (bl_end_lives(t, c, v))
            return look(t, c, v, read, k);
        return out_of_memory(t);
    }
    bl_changed(t, k->bad_in, k->bad, bl_describe_call(t, c, text));
    return false;
}

/* Has scalar i an influence, whatever its value? Not where the routine returns at once, nor alpha without a product. */
static bool matters(const bl_call *c, int i)
{
    bl_access a = {.scalars = BL_SCALAR(i)};
    bl_rules[c->routine]->access(c, &a);
    return a.scalars & BL_SCALAR(i);
}

bool bl_reads_scalar(const bl_call *c, int i) { return c->scalar[i].address && matters(c, i); }

bool bl_touch_scalar(blasad_tape *t, const bl_call *c, int i, bl_region **owner, unsigned *active)
{
    char *p = c->scalar[i].address;
    *owner = NULL;
    if (!bl_reads_scalar(c, i))
        return true;
    const bl_view v = bl_view_run(p, bl_scalar_size(c, i));
    bl_region *r = bl_regions_search(&t->regions, &v, BL_SCALAR_BIT + i);
    if (r && r != &bl_mixed) {
        *owner = r;
        *active |= r->duplicated ? BL_SCALAR(i) : 0;
        return bl_fits_width(t, c, r);
    }
    bl_look k;
    if (!bl_look_at(t, c, &v, true, &k))
        return false;
    if (k.shadow) {
        *owner = k.owner;
        *active |= BL_SCALAR(i);
    } else if (k.owner->window) {
        t->constant[i] = p;
    }
    return true;
}

bool bl_active_below(const blasad_tape *t, const bl_call *c, int i)
{
    if (!bl_reads_scalar(c, i))
        return false;
    const bl_view v = bl_view_run(c->scalar[i].address, bl_scalar_size(c, i));
    for (const bl_layer *l = t->layer.below; l; l = l->below) {
        const bl_regions *outer = &((const blasad_tape *)l)->regions;
        if (bl_regions_meet(outer, &v) || bl_windows_live(outer, &v))
            return true;
    }
    return false;
}

/* ---- plans */

/* Calls of fewer multiplications are not timed: two clock readings would be felt. */
enum { TIMED = 1 << 20 };
enum { OPERANDS = (1 << BL_MAX_OPERANDS) - 1 };

void bl_plan_for(bl_plan *p, const bl_call *c, const bl_family *f, unsigned scalars)
{
    const bl_routine_spec *s = f->spec;
    double work = 1;
    *p = (bl_plan){.type = c->type, .scalars = scalars, .access.scalars = scalars, .shadowed = ~0u};
    memcpy(p->flag, c->flag, sizeof p->flag);
    p->same = s->same && c->operand[0].base == c->operand[1].base;
    for (int i = 0; i < s->n_scalars; i++) {
        p->scalar[i] = c->scalar[i].value;
        p->telling |= bl_is_telling(p->scalar[i]) && matters(c, i) ? BL_SCALAR(i) : 0;
    }
    for (int i = 0; i < s->n_dims; i++) {
        p->dim[i] = c->dim[i];
        work *= (double)c->dim[i];
    }
    p->timed = work >= TIMED;
    f->access(c, &p->access);
    p->out = p->access.write | p->access.result;
    p->all = p->out | p->access.read;

    bl_record *r = &p->head;
    r->routine = c->routine;
    r->type = c->type;
    memcpy(r->flag, c->flag, sizeof r->flag);
    r->read = p->access.read & OPERANDS;
    r->write = (p->access.write | p->access.result) & OPERANDS;
    for (int i = 0; i < s->n_dims; i++) {
        r->dim[i] = (int32_t)c->dim[i];
        r->wide |= c->dim[i] != r->dim[i];
    }
    for (int i = 0; i < s->n_operands; i++) {
        p->ld[i] = c->operand[i].ld;
        if (i < BL_IN_RECORD) {
            r->ld[i] = (int32_t)c->operand[i].ld;
            r->wide |= c->operand[i].ld != r->ld[i];
        }
        if (!(p->all & BL_OPERAND(i))) /* sizes that no memory vouches for */
            continue;
        bl_view v = bl_view_by(s, c, i);
        p->extent[i] = v.end - v.base;
        p->skip[i] = v.base - (char *)c->operand[i].base;
        v.base = v.end = NULL;
        p->view[i] = v;
        if (bl_view_bytes(&v) == bl_size_by(&s->operand[i], c))
            p->single |= p->access.write & BL_OPERAND(i);
    }
    memcpy(r->scalar, p->scalar, sizeof r->scalar);
    p->extra = r->wide || p->access.scalars || p->timed || s->n_operands > BL_IN_RECORD;
}

void bl_plan_activity(blasad_tape *t, bl_plan *p, const bl_call *c, const bl_family *f, unsigned shadowed, unsigned had)
{
    p->shadowed = shadowed;
    p->had = had;
    const unsigned outer = p->access.scalars & ~BL_SCALARS;
    p->active = (p->access.read & had) | (p->access.scalars & BL_SCALARS);
    p->head.active = p->active != 0;
    p->head.shadowed = shadowed & OPERANDS;
    p->head.had = had & OPERANDS;
    p->needs = t->mode == BLASAD_REVERSE ? f->needs(c, p->active | outer) : 0; /* tangents use values at the call */
    p->after = !(t->options & BLASAD_NO_VERIFY) || p->timed || (p->single && p->active) || p->needs >= BL_LEFT(0) ||
               f->spec->result != BL_NEVER;
    size_t work = f->workspace(c, p->active | outer);
    if (work > t->workspace)
        t->workspace = work;
}

void bl_refuse_width(blasad_tape *t, const bl_call *c, const bl_region *r)
{
    char call[128];
    bl_tape_fail(t, BLASAD_ACTIVITY,
                 "%s takes numbers of %d bytes, but %s was annotated as memory of %d-byte numbers; annotate it "
                 "as what the call uses",
                 bl_describe_call(t, c, call), c->width, r->label, r->width);
}

void bl_refuse_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i)
{
    char call[128], text[256];
    bl_describe_call(t, c, call);
    describe(c, i, w->region[i] == &bl_mixed ? NULL : w->region[i], text);
    if (w->region[i]->window)
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s writes active values into %s, whose numbers are not aligned to their size; align it, or make "
                     "it Duplicated",
                     call, text);
    else if (w->region[i] == &bl_mixed)
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s writes active values into %s, a part of which is annotated as constant: the gradient would be "
                     "cut there; make that part Duplicated, with a shadow (blasad.shadow(x) makes one)",
                     call, text);
    else
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s writes active values into %s, which is annotated as constant: the gradient would be "
                     "cut there; make it Duplicated, with a shadow (blasad.shadow(x) makes one)",
                     call, text);
}

void bl_refuse_assumed(blasad_tape *t, const bl_call *c, int i)
{
    char call[128], text[256];
    bl_tape_fail(t, BLASAD_ACTIVITY,
                 "%s reads %s, which nobody annotated; it would be taken for constant: annotate it, or open the "
                 "tape with undeclared=\"warn\"",
                 bl_describe_call(t, c, call), describe(c, i, NULL, text));
}

void bl_refuse_copy(blasad_tape *t, const bl_call *c, int i, bool gone, bool ambiguous, size_t event)
{
    char call[128], text[256], of[96] = "what an annotated array held";
    if (event > 0) {
        const bl_record *e = bl_record_at(t, event - 1);
        snprintf(of, sizeof of, "the result of call %zu (%s, through %s)", event - 1,
                 bl_routine_name(e->routine, e->type), bl_symbol_name(e->symbol));
    }
    bl_tape_fail(t, BLASAD_ACTIVITY,
                 "%s reads %s, which nobody annotated and which is a copy of %s, element for element%s: taken for "
                 "constant it would cut the gradient. Pass the array itself; or %s",
                 bl_describe_call(t, c, call), describe(c, i, NULL, text), of,
                 gone        ? ", which has been overwritten since"
                 : ambiguous ? ", in more than one order"
                             : "",
                 gone || ambiguous ? "copy it with a recorded call; or, if it is a constant that happens to be equal, "
                                     "annotate it (Const)"
                                   : "have the copy differentiated (copies=\"follow\"); or, if it is a constant that "
                                     "happens to be equal, annotate it (Const)");
}

void bl_refuse_returned(blasad_tape *t, const bl_call *c, int i)
{
    char call[128];
    bl_tape_fail(t, BLASAD_ACTIVITY,
                 "%s: the scalar %s = %.17g has the bits of an active number that an earlier recorded call "
                 "wrote; passed like this it would be taken for constant: pass the address of that number",
                 bl_describe_call(t, c, call), bl_routine_table[c->routine]->scalars[i], c->scalar[i].value.re);
}

void bl_refuse_rule(blasad_tape *t, const bl_call *c)
{
    char call[128];
    bl_tape_fail(
        t, BLASAD_NOT_YET,
        "%s takes active values, and this version has no derivative of %s: compute it before the tape opens, or "
        "record it as an operation of your own (tape.record)",
        bl_describe_call(t, c, call), bl_routine_name(c->routine, c->type));
}

static const bl_region *named(const bl_region *r) { return r == &bl_mixed ? NULL : r; }

bool bl_check_aliases(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    const unsigned out = w->plan->access.write | w->plan->access.result, all = out | w->plan->access.read;
    char call[128], one[256], two[256];
    for (int o = 0; o < s->n_operands; o++) {
        if (!(out & BL_OPERAND(o)))
            continue;
        const bl_view written = bl_touched_view(w, o);
        for (int i = 0; i < s->n_operands; i++) {
            if (i == o || !(all & BL_OPERAND(i)))
                continue;
            const bl_view v = bl_touched_view(w, i);
            if (s->same && c->operand[i].base == c->operand[o].base && c->operand[i].ld == c->operand[o].ld)
                continue; /* defined: they are the same */
            if (bl_views_overlap(&written, &v)) {
                bl_tape_fail(t, BLASAD_ALIAS,
                             "%s: %s shares elements with %s; BLAS leaves the result undefined, so there is no "
                             "derivative: give the output memory of its own",
                             bl_describe_call(t, c, call), describe(c, o, named(w->region[o]), one),
                             describe(c, i, named(w->region[i]), two));
                return false;
            }
        }
        for (int i = 0; i < s->n_scalars; i++) {
            const bl_view v = bl_view_run(c->scalar[i].address, bl_scalar_size(c, i));
            if (w->scalar_region[i] && bl_views_overlap(&written, &v)) {
                bl_tape_fail(t, BLASAD_ALIAS,
                             "%s: the scalar %s at %p is an element of %s; BLAS leaves the result undefined, so "
                             "there is no derivative: pass a copy of the scalar",
                             bl_describe_call(t, c, call), s->scalars[i], c->scalar[i].address,
                             describe(c, o, named(w->region[o]), one));
                return false;
            }
        }
    }
    return true;
}
