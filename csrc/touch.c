#include "touch.h"

#include <stdio.h>
#include <string.h>

#include "entry.h"

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

bool bl_is_scratch(const blasad_tape *t, const bl_view *v)
{
    for (size_t i = t->scratches; i-- > 0;) {
        const bl_view *s = &t->scratch[i];
        if (v->base >= s->base && v->end <= s->end &&
            (s->columns == 1 || (v->base == s->base && v->stride == s->stride && v->column <= s->column)))
            return true;
    }
    return false;
}

bl_region *bl_touch_scalar(blasad_tape *t, const bl_call *c, int i)
{
    char *p = c->scalar[i].address;
    bl_region *r = NULL;
    if (p) {
        const bl_view v = bl_view_run(p, c->size);
        r = bl_regions_search(&t->regions, &v, BL_SCALAR_BIT + i);
    }
    if (r == &bl_mixed)
        bl_refuse_scalar(t, c, i);
    else if (r && !bl_fits_width(t, c, r))
        r = &bl_mixed;
    if (r)
        return r;
    /* Remembered: to annotate this memory afterwards would be too late. */
    if (p && !bl_set_add(&t->addresses, (bl_key){(uint64_t)(uintptr_t)p, 0, c->size})) {
        bl_tape_fail(t, BLASAD_MEMORY, "no memory to record call %zu; the program went on, its gradient is lost",
                     t->count);
        return &bl_mixed;
    }
    t->constant[i] = p;
    return NULL;
}

/* Calls of fewer multiplications are not timed: two clock readings would be felt. */
enum { TIMED = 1 << 20 };

void bl_plan_for(bl_plan *p, const bl_call *c, const bl_family *f, unsigned scalars)
{
    const bl_routine_spec *s = f->spec;
    double work = 1;
    *p = (bl_plan){.type = c->type, .scalars = scalars, .access.scalars = scalars, .duplicated = ~0u};
    memcpy(p->flag, c->flag, sizeof p->flag);
    for (int i = 0; i < s->n_scalars; i++) {
        p->scalar[i] = c->scalar[i].value;
        p->telling |= bl_is_telling(p->scalar[i]) ? BL_SCALAR(i) : 0;
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
    r->read = p->access.read & 7;
    r->write = (p->access.write | p->access.result) & 7;
    r->seconds = -1;
    for (int i = 0; i < s->n_dims; i++) {
        r->dim[i] = (int32_t)c->dim[i];
        r->wide |= c->dim[i] != r->dim[i];
    }
    for (int i = 0; i < s->n_operands; i++) {
        p->ld[i] = c->operand[i].ld;
        r->ld[i] = (int32_t)c->operand[i].ld;
        r->wide |= c->operand[i].ld != r->ld[i];
        if (!(p->all & BL_OPERAND(i))) /* sizes that no memory vouches for */
            continue;
        bl_view v = bl_view_by(s, c, i);
        p->extent[i] = v.end - v.base;
        v.base = v.end = NULL;
        p->view[i] = v;
        if (bl_view_bytes(&v) == c->size)
            p->single |= p->access.write & BL_OPERAND(i);
    }
    memcpy(r->scalar, p->scalar, sizeof r->scalar);
    p->extra = r->wide || p->access.scalars;
}

void bl_plan_activity(blasad_tape *t, bl_plan *p, const bl_call *c, const bl_family *f, unsigned duplicated)
{
    p->duplicated = duplicated;
    p->active = (p->access.read & duplicated) | p->access.scalars;
    p->cut = p->active ? p->out & ~duplicated : 0;
    p->head.active = p->active != 0;
    p->needs = t->mode == BLASAD_REVERSE ? f->needs(c, p->active) : 0; /* tangents use values at the call */
    p->after = !(t->options & BLASAD_NO_VERIFY) || p->timed || (p->single && p->active);
    size_t work = f->workspace(c, p->active);
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

/* What looks like a part of an annotation may be a number of another width. */
static bool refuse_other_width(blasad_tape *t, const bl_call *c, const bl_view *v)
{
    for (size_t i = 0; i < t->regions.count; i++) {
        const bl_region *r = t->regions.region[i];
        if (r->width && r->width != c->width && bl_region_owned(r, v) > 0) {
            bl_refuse_width(t, c, r);
            return true;
        }
    }
    return false;
}

void bl_refuse_scalar(blasad_tape *t, const bl_call *c, int i)
{
    char call[128];
    const bl_view v = bl_view_run(c->scalar[i].address, c->size);
    if (refuse_other_width(t, c, &v))
        return;
    bl_tape_fail(t, BLASAD_NOT_YET,
                 "%s: the scalar %s at %p lies in annotated memory only in part, which this version cannot "
                 "follow; annotate the whole number",
                 bl_describe_call(t, c, call), bl_routine_table[c->routine]->scalars[i], c->scalar[i].address);
}

void bl_refuse_mixed(blasad_tape *t, const bl_call *c, int i)
{
    char call[128], text[256];
    const bl_view v = bl_operand_view(c, i);
    if (refuse_other_width(t, c, &v))
        return;
    bl_tape_fail(t, BLASAD_NOT_YET,
                 "%s: no single annotation covers %s, some do in part; this version follows operands that lie "
                 "in one annotated array: annotate the array that contains the operand as a whole",
                 bl_describe_call(t, c, call), describe(c, i, NULL, text));
}

void bl_refuse_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i)
{
    char call[128], text[256];
    bl_describe_call(t, c, call);
    describe(c, i, w->region[i], text);
    if (w->region[i])
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s writes active values into %s, which is annotated as constant: the gradient would be "
                     "cut there; make it Duplicated, with a shadow (blasad.shadow(x) makes one)",
                     call, text);
    else
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "%s writes active values into %s, which nobody annotated; this version does not follow "
                     "active scratch: make it Duplicated, with a shadow (blasad.shadow(x) makes one)",
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

void bl_refuse_returned(blasad_tape *t, const bl_call *c, int i)
{
    char call[128];
    bl_tape_fail(t, BLASAD_ACTIVITY,
                 "%s: the scalar %s = %.17g has the bits of an active number that an earlier recorded call "
                 "wrote; passed like this it would be taken for constant: pass the address of that number",
                 bl_describe_call(t, c, call), bl_routine_table[c->routine]->scalars[i], c->scalar[i].value.re);
}

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
            if (bl_views_overlap(&written, &v)) {
                bl_tape_fail(t, BLASAD_ALIAS,
                             "%s: %s shares elements with %s; BLAS leaves the result undefined, so there is no "
                             "derivative: give the output memory of its own",
                             bl_describe_call(t, c, call), describe(c, o, w->region[o], one),
                             describe(c, i, w->region[i], two));
                return false;
            }
        }
        for (int i = 0; i < s->n_scalars; i++) {
            const bl_view v = bl_view_run(c->scalar[i].address, c->size);
            if (w->scalar_region[i] && bl_views_overlap(&written, &v)) {
                bl_tape_fail(t, BLASAD_ALIAS,
                             "%s: the scalar %s at %p is an element of %s; BLAS leaves the result undefined, so "
                             "there is no derivative: pass a copy of the scalar",
                             bl_describe_call(t, c, call), s->scalars[i], c->scalar[i].address,
                             describe(c, o, w->region[o], one));
                return false;
            }
        }
    }
    return true;
}
