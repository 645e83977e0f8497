/* What a call touches: its elements looked up in the tape's annotations, and held against the contract. */
#include <stdio.h>
#include <string.h>

#include "entry.h"
#include "record.h"

static const char *operand_name(const bl_call *c, int i)
{
    const bl_routine_spec *s = &bl_routine_table[c->routine];
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
    snprintf(buffer, 256, "operand %s (%lld x %lld at %p, leading dimension %lld)%s%s", operand_name(c, i), (long long)rows,
             (long long)cols, c->operand[i].base, (long long)c->operand[i].ld, r ? ", " : "", r ? r->label : "");
    return buffer;
}

/* Was v written by recorded calls, without anything active? Looks for one write that covers it. */
static bool is_scratch(const blasad_tape *t, const bl_view *v)
{
    for (size_t i = t->scratches; i-- > 0;) {
        const bl_view *s = &t->scratch[i];
        if (v->base >= s->base && bl_view_end(v) <= bl_view_end(s) &&
            (s->columns == 1 || (v->base == s->base && v->stride == s->stride && v->column <= s->column)))
            return true;
    }
    return false;
}

static bool check_width(blasad_tape *t, const bl_call *c, bl_region *r, const char *what)
{
    int width = (int)bl_real_width(c->type);
    if (r->width == width)
        return true;
    if (r->width == 0) {
        r->width = (uint8_t)width;
        return true;
    }
    char call[128];
    bl_tape_fail(t, BLASAD_ACTIVITY, "%s takes %s for numbers of %d bytes, but it was annotated with numbers of %d bytes (%s); "
                 "annotate it as what the call uses", bl_describe_call(t, c, call), what, width, r->width, r->label);
    return false;
}

bl_key bl_number_key(int type, bl_complex x)
{
    bl_key key = {0, 0, (uint32_t)type + 1};
    if (x.im == 0 && (x.re == 0 || x.re == 1 || x.re == -1))
        return (bl_key){0, 0, 0};
    memcpy(&key.a, &x.re, sizeof key.a);
    memcpy(&key.b, &x.im, sizeof key.b);
    return key;
}

static bool is_returned(const blasad_tape *t, int type, bl_complex x)
{
    const bl_key key = bl_number_key(type, x);
    return key.tag && bl_set_has(&t->returned, key);
}

/* Remembers where a constant scalar was read: to annotate that memory afterwards would be too late. */
static bool note_address(blasad_tape *t, const bl_call *c, int i)
{
    const void *p = c->scalar[i].address;
    if (p == t->last_address[i])
        return true;
    t->last_address[i] = p;
    if (bl_set_add(&t->addresses, (bl_key){(uint64_t)(uintptr_t)p, 0, (uint32_t)bl_element_size(c->type)}))
        return true;
    bl_tape_fail(t, BLASAD_MEMORY, "no memory to record call %zu; the program went on, its gradient is lost", t->count);
    return false;
}

/* Finds the shadow of a scalar that was passed by address. False: error. */
static bool find_scalar(blasad_tape *t, const bl_call *c, int i, bl_region **region, void **shadow)
{
    *region = NULL;
    *shadow = NULL;
    char *p = c->scalar[i].address;
    if (!p)
        return true;
    enum bl_cover cover;
    const int64_t size = bl_element_size(c->type);
    const bl_view v = {p, size, size, 1};
    bl_region *r = bl_regions_find(&t->regions, &v, BL_SCALAR_BIT + i, &cover);
    if (cover == BL_OUTSIDE)
        return note_address(t, c, i);
    const char *name = bl_routine_table[c->routine].scalars[i];
    if (cover == BL_MIXED) {
        char call[128];
        bl_tape_fail(t, BLASAD_NOT_YET, "%s: the scalar %s at %p lies in annotated memory only in part, which this version "
                     "cannot follow; annotate the whole number", bl_describe_call(t, c, call), name, (void *)p);
        return false;
    }
    if (!check_width(t, c, r, name))
        return false;
    r->touched = true;
    *region = r;
    if (r->duplicated)
        *shadow = p + r->delta;
    return true;
}

static bool find_operand(blasad_tape *t, const bl_call *c, int i, bl_touch *w)
{
    enum bl_cover cover;
    char text[256], call[128];
    w->view[i] = bl_operand_view(c, i);
    bl_region *r = w->region[i] = bl_regions_find(&t->regions, &w->view[i], i, &cover);
    if (r) {
        r->touched = true;
        return r->width == bl_real_width(c->type) || check_width(t, c, r, describe(c, i, r, text));
    }
    if (cover == BL_MIXED) {
        bl_tape_fail(t, BLASAD_NOT_YET, "%s: no single annotation covers %s, some do in part; this version follows operands "
                     "that lie in one annotated array: annotate the array that contains the operand as a whole",
                     bl_describe_call(t, c, call), describe(c, i, NULL, text));
        return false;
    }
    if ((w->access.read & BL_OPERAND(i)) && !is_scratch(t, &w->view[i]))
        w->assumed |= BL_OPERAND(i);
    return true;
}

static bool meets(const bl_view *a, const bl_view *b)
{
    return a->base < bl_view_end(b) && b->base < bl_view_end(a) && bl_views_overlap(a, b);
}

/* Section 5. */
static bool check_aliases(blasad_tape *t, const bl_call *c, const bl_touch *w, bl_region *const *scalar_region)
{
    const bl_routine_spec *s = &bl_routine_table[c->routine];
    const unsigned out = w->access.write | w->access.result, all = out | w->access.read;
    char call[128], one[256], two[256];
    for (int o = 0; o < s->n_operands; o++) {
        if (!(out & BL_OPERAND(o)))
            continue;
        for (int i = 0; i < s->n_operands; i++)
            if (i != o && (all & BL_OPERAND(i)) && meets(&w->view[o], &w->view[i])) {
                bl_tape_fail(t, BLASAD_ALIAS, "%s: %s shares elements with %s; BLAS leaves the result undefined, so there is no "
                             "derivative: give the output memory of its own", bl_describe_call(t, c, call),
                             describe(c, o, w->region[o], one), describe(c, i, w->region[i], two));
                return false;
            }
        for (int i = 0; i < s->n_scalars; i++) {
            const int64_t size = bl_element_size(c->type);
            const bl_view v = {c->scalar[i].address, size, size, 1};
            if (scalar_region[i] && meets(&w->view[o], &v)) {
                bl_tape_fail(t, BLASAD_ALIAS, "%s: the scalar %s at %p is an element of %s; BLAS leaves the result undefined, so "
                             "there is no derivative: pass a copy of the scalar", bl_describe_call(t, c, call), s->scalars[i],
                             c->scalar[i].address, describe(c, o, w->region[o], one));
                return false;
            }
        }
    }
    return true;
}

bool bl_touch_call(blasad_tape *t, const bl_call *c, bl_touch *w)
{
    const bl_routine_spec *s = &bl_routine_table[c->routine];
    bl_region *scalar_region[BL_MAX_SCALARS];
    unsigned duplicated = 0;
    w->access.scalars = w->assumed = 0;
    for (int i = 0; i < s->n_scalars; i++) {
        if (!find_scalar(t, c, i, &scalar_region[i], &w->scalar_shadow[i]))
            return false;
        if (w->scalar_shadow[i])
            w->access.scalars |= BL_SCALAR(i);
    }
    bl_rules[c->routine]->access(c, &w->access);
    const unsigned out = w->access.write | w->access.result;
    for (int i = 0; i < s->n_scalars; i++)
        if (!(w->access.scalars & BL_SCALAR(i)))
            w->scalar_shadow[i] = NULL;
    for (int i = 0; i < s->n_operands; i++) {
        w->region[i] = NULL;
        if (!((w->access.read | out) & BL_OPERAND(i)))
            continue;
        if (!find_operand(t, c, i, w))
            return false;
        if (w->region[i] && w->region[i]->duplicated)
            duplicated |= BL_OPERAND(i);
    }
    w->active = (w->access.read & duplicated) | w->access.scalars;
    if ((duplicated | w->access.scalars) && !check_aliases(t, c, w, scalar_region))
        return false;
    if (w->active && (out & ~duplicated)) {
        int i = __builtin_ctz(out & ~duplicated);
        char call[128], text[256];
        if (w->region[i])
            bl_tape_fail(t, BLASAD_ACTIVITY, "%s writes active values into %s, which is annotated as constant: the gradient would "
                         "be cut there; make it Duplicated, with a shadow (blasad.shadow(x) makes one)",
                         bl_describe_call(t, c, call), describe(c, i, w->region[i], text));
        else
            bl_tape_fail(t, BLASAD_ACTIVITY, "%s writes active values into %s, which nobody annotated; this version does not "
                         "follow active scratch: make it Duplicated, with a shadow (blasad.shadow(x) makes one)",
                         bl_describe_call(t, c, call), describe(c, i, NULL, text));
        return false;
    }
    for (int i = 0; i < s->n_scalars && t->returned.count; i++)
        if (!w->scalar_shadow[i] && is_returned(t, c->type, c->scalar[i].value)) {
            char call[128];
            bl_tape_fail(t, BLASAD_ACTIVITY, "%s: the scalar %s = %.17g has the bits of an active number that an earlier recorded "
                         "call wrote; passed like this it would be taken for constant: pass the address of that number",
                         bl_describe_call(t, c, call), s->scalars[i], c->scalar[i].value.re);
            return false;
        }
    if (w->assumed && (t->options & BLASAD_UNDECLARED_ERROR)) {
        int i = __builtin_ctz(w->assumed);
        char call[128], text[256];
        bl_tape_fail(t, BLASAD_ACTIVITY, "%s reads %s, which nobody annotated; it would be taken for constant: annotate it, or "
                     "open the tape with undeclared=\"warn\"", bl_describe_call(t, c, call), describe(c, i, NULL, text));
        return false;
    }
    return true;
}
