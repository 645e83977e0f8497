/* What the program says of memory: annotations, and announcements of what no hook sees. */
#include <stdio.h>
#include <string.h>

#include "copies.h"
#include "entry.h"
#include "error.h"
#include "fingerprint.h"
#include "life.h"
#include "tape.h"

static int add(blasad_tape *t, const bl_array *x, int shadows, const ptrdiff_t *delta, bool batch, const char *label)
{
    bl_region *r;
    const int before = t->regions.batch;
    bl_tapes_lock();
    int code = bl_regions_add(&t->regions, x, shadows, delta, label, &r);
    bl_tapes_unlock();
    if (code != BLASAD_OK)
        t->regions.batch = before;
    else if (shadows)
        t->regions.batched = batch;
    memset(t->constant, 0, sizeof t->constant);
    if (code != BLASAD_OK || !r || (t->options & BLASAD_NO_VERIFY))
        return code;
    if (!bl_prints_begin(r)) {
        bl_tape_fail(t, BLASAD_MEMORY, "no memory for the fingerprints of %s; verify=False needs none", label);
        return blasad_tape_error(t);
    }
    if (shadows && !bl_copies_annotated(t, r, x))
        bl_out_of_memory(t);
    for (size_t i = 0; r->contains && i < t->regions.count; i++) {
        const bl_region *q = t->regions.region[i];
        if (q->gone && q->lo >= r->lo && q->hi <= r->hi)
            bl_prints_inherit(r, q);
    }
    return BLASAD_OK;
}

static int annotate(blasad_tape *t, const bl_array *x, int shadows, void *const *dx, bool batch, const char *label)
{
    ptrdiff_t delta[BL_MAX_BATCH];
    if (t->ended)
        return bl_fail(BLASAD_TAPE, "%s: this tape has ended recording; annotate before the first use", label);
    if (t->recording && !bl_is_mine(t))
        return bl_fail(BLASAD_TAPE, "%s: this tape records another thread; only that thread can annotate", label);
    if (shadows > BL_MAX_BATCH)
        return bl_fail(BLASAD_VALUE, "%s: a batch of %d shadows; blasad takes up to %d", label, shadows, BL_MAX_BATCH);
    if (shadows && t->regions.batch && (t->regions.batch != shadows || t->regions.batched != batch))
        return bl_fail(
            BLASAD_VALUE,
            "%s has %d shadow%s%s, what was annotated before has %d%s; a tape has one number of shadows, and "
            "Duplicated and BatchDuplicated are not mixed",
            label, shadows, shadows > 1 ? "s" : "", batch ? " as a batch" : "", t->regions.batch,
            t->regions.batched ? " as a batch" : "");
    for (int k = 0; k < shadows; k++) {
        if (!dx[k])
            return bl_fail(BLASAD_VALUE, "%s: the shadow is a NULL pointer", label);
        delta[k] = (char *)dx[k] - x->base;
    }
    const bool spliced = bl_splice(); /* other threads may be recording on it */
    const int code = add(t, x, shadows, delta, batch, label);
    if (spliced)
        bl_unsplice();
    return code;
}

/* The array behind an argument of the interface: `shape` counts elements of `type`, bytes are units of 4. */
static int describe(const char *label, void *x, int type, int ndim, const int64_t *shape, const int64_t *strides,
                    int64_t *bytes, bl_array *a)
{
    static const int64_t four = 4;
    if (type < BLASAD_FLOAT || type > BLASAD_BYTES)
        return bl_fail(BLASAD_VALUE, "%s: %d is no blasad_type", label, type);
    if (type != BLASAD_BYTES) {
        const int width = (int)bl_real_width(type);
        *a = (bl_array){x, width, width == 4 ? 2 : 3, bl_element_size(type), ndim, shape, strides};
        return BLASAD_OK;
    }
    if (ndim != 1 || shape[0] % 4 != 0)
        return bl_fail(BLASAD_VALUE, "%s: %lld bytes are not a number of floats or doubles", label,
                       (long long)(ndim == 1 ? shape[0] : 0));
    *bytes = shape[0] / 4;
    *a = (bl_array){x, 0, 2, 4, 1, bytes, &four};
    return BLASAD_OK;
}

BL_EXPORT int blasad_annotate(blasad_tape *t, void *x, int shadows, void *const *dx, int batch, int type, int ndim,
                              const int64_t *shape, const int64_t *strides, const char *label)
{
    const char *name = label ? label : "an array";
    int64_t count;
    bl_array a;
    const int code = describe(name, x, type, ndim, shape, strides, &count, &a);
    return code == BLASAD_OK ? annotate(t, &a, shadows, dx, batch, name) : code;
}

BL_EXPORT int blasad_duplicated(blasad_tape *t, void *x, void *dx, size_t nbytes)
{
    char label[64];
    const int64_t size = (int64_t)nbytes;
    snprintf(label, sizeof label, "Duplicated(%p, %zu bytes)", x, nbytes);
    return blasad_annotate(t, x, 1, &dx, 0, BLASAD_BYTES, 1, &size, NULL, label);
}

BL_EXPORT int blasad_const(blasad_tape *t, void *x, size_t nbytes)
{
    char label[64];
    const int64_t size = (int64_t)nbytes;
    snprintf(label, sizeof label, "Const(%p, %zu bytes)", x, nbytes);
    return blasad_annotate(t, x, 0, NULL, 0, BLASAD_BYTES, 1, &size, NULL, label);
}

/* ---- announcements */

/* Of plain bytes: what is annotated there, or was written by calls, says what they are. */
static int width_at(bl_layer *top, const bl_view *v)
{
    if ((((uintptr_t)v->base | (uintptr_t)v->column | (uintptr_t)v->stride) & 7) != 0)
        return 4;
    for (bl_layer *l = top; l; l = l->below) {
        bl_regions *rs = &((blasad_tape *)l)->regions;
        bl_parts parts = bl_parts_of(rs, v, 8, false);
        bl_region *r;
        bl_view part;
        while (bl_parts_next(&parts, &r, &part))
            if (r && r->width)
                return r->width;
    }
    return 4;
}

/* The array as views of one run a column, each told to all layers of this thread; `one` returns the label of an
 * annotation that is in its way, or NULL. */
static int tell(const char *what, void *x, int type, int ndim, const int64_t *shape, const int64_t *strides,
                const char *(*one)(bl_layer *top, const bl_view *v, int width))
{
    int64_t count, at[BL_MAX_AXES] = {0};
    bl_array array;
    bl_axes a;
    int code = describe(what, x, type, ndim, shape, strides, &count, &array);
    if (code == BLASAD_OK)
        code = bl_axes_of(&array, what, &a);
    if (code != BLASAD_OK || a.bytes == 0)
        return code;
    const bool spliced = bl_splice();
    const char *label = NULL;
    char *p = a.lo;
    do {
        bl_view v = bl_view_run(p, a.run);
        if (a.n) {
            v.stride = a.stride[0];
            v.columns = a.shape[0];
            v.end = p + (v.columns - 1) * v.stride + v.column;
        }
        label = one(bl_thread_state.top, &v, array.width ? array.width : width_at(bl_thread_state.top, &v));
    } while (!label && bl_axes_next(&a, a.n > 0, at, &p));
    if (label)
        code = bl_fail(BLASAD_VALUE,
                       "%s has elements of %s: annotated memory lives as long as the tape; say that it gets fresh "
                       "content with tape.assigned",
                       what, label);
    for (bl_layer *l = bl_thread_state.top; l && code == BLASAD_OK; l = l->below)
        code = blasad_tape_error((blasad_tape *)l);
    if (spliced)
        bl_unsplice();
    return code;
}

static bl_call clearing(const bl_view *v, int width)
{
    return (bl_call){.routine = BL_MSCAL,
                     .type = width == 8 ? BL_D : BL_S,
                     .size = (uint8_t)width,
                     .width = (uint8_t)width,
                     .flag = {'N', 'A'},
                     .symbol = BL_SYMBOL_ASSIGNED,
                     .dim = {v->column / width, v->columns},
                     .operand = {{v->base, v->stride / width}}};
}

/* To the derivative, content that depends on nothing is what a multiplication by zero leaves. */
static const char *assign(bl_layer *top, const bl_view *v, int width)
{
    const bl_call c = clearing(v, width);
    if (top && bl_layers_before(top, &c))
        bl_layers_after(top, &c);
    return NULL;
}

static const char *rewrite(bl_layer *top, const bl_view *v, int width)
{
    const bl_call c = clearing(v, width);
    for (bl_layer *l = top; l; l = l->below)
        l->rewritten(l, &c);
    return NULL;
}

static const char *forget(bl_layer *top, const bl_view *v, int width)
{
    (void)width;
    for (int64_t j = 0; j < v->columns; j++)
        bl_layers_forget(top, bl_view_column(v, j), bl_view_column(v, j) + v->column);
    return NULL;
}

BL_EXPORT int blasad_assigned_begin(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides)
{
    return tell("the assigned array", x, type, ndim, shape, strides, assign);
}

BL_EXPORT int blasad_assigned_end(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides)
{
    return tell("the assigned array", x, type, ndim, shape, strides, rewrite);
}

static const char *find_annotation(bl_layer *top, const bl_view *v, int width)
{
    (void)width;
    for (bl_layer *l = top; l; l = l->below) {
        bl_parts parts = bl_parts_of(&((blasad_tape *)l)->regions, v, 4, false);
        bl_region *r;
        bl_view part;
        while (bl_parts_next(&parts, &r, &part))
            if (r && !r->window)
                return r->label;
    }
    return NULL;
}

BL_EXPORT int blasad_forget(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides)
{
    const int code = tell("the forgotten array", x, type, ndim, shape, strides, find_annotation);
    return code == BLASAD_OK ? tell("the forgotten array", x, type, ndim, shape, strides, forget) : code;
}
