#include "copies.h"

#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "entry.h"
#include "fingerprint.h"
#include "touch.h"

/* Fewer numbers are equal by chance, or are all that a small program computes with. */
enum { LEAST = 8 };

struct bl_whole {
    bl_array array;
    bl_axes axes;
    int64_t shape[BL_MAX_AXES], strides[BL_MAX_AXES];
};

static bool note_whole(blasad_tape *t, const struct bl_whole *x)
{
    uint64_t sum = 0;
    int64_t at[BL_MAX_AXES] = {0};
    char *p = x->axes.lo;
    do {
        const bl_view run = bl_view_run(p, x->axes.run);
        sum += bl_content_sum(&run, x->array.width);
    } while (bl_axes_next(&x->axes, 0, at, &p));
    return bl_values_note(&t->seen_values, &x->array, false, sum, t->count);
}

bool bl_copies_annotated(blasad_tape *t, bl_region *r, const bl_array *x)
{
    bl_axes a;
    if (bl_axes_of(x, "", &a) != BLASAD_OK || a.bytes < LEAST * x->element || x->width == 0)
        return true;
    struct bl_whole *whole = malloc(sizeof *whole);
    if (!whole)
        return false;
    whole->array = *x;
    whole->axes = a;
    memcpy(whole->shape, x->shape, (size_t)x->ndim * sizeof *whole->shape);
    memcpy(whole->strides, x->strides, (size_t)x->ndim * sizeof *whole->strides);
    whole->array.shape = whole->shape;
    whole->array.strides = whole->strides;
    r->whole = whole;
    const bool good = note_whole(t, whole);
    /* without holes, of two axes or one: the shorter stride is that of the elements */
    for (int d = 0; good && !r->member && x->ndim <= 2 && d < x->ndim; d++)
        if (x->strides[d] == x->element && x->shape[d] > 1) {
            r->noted = t->seen_values.last;
            r->noted_column = x->shape[d] * x->element;
        }
    return good;
}

/* A call that writes a block makes another value of the array around it. */
static bool grow_stale(blasad_tape *t, bl_region *r)
{
    if (r->stale || !r->whole)
        return true;
    if (!bl_grow(&t->stale, &t->stale_capacity, t->stales, sizeof *t->stale))
        return false;
    t->stale[t->stales++] = r;
    r->stale = true;
    return true;
}

void bl_copies_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i, uint64_t sum)
{
    bl_plan *p = w->plan;
    if (p->noted_at == w->base[i]) { /* loops compute the same again */
        if (!bl_values_again(&t->seen_values, p->noted, sum, t->count))
            bl_out_of_memory(t);
        return;
    }
    bl_region *r = w->region[i];
    int64_t shape[2];
    bl_array_shape(c, i, &shape[0], &shape[1]);
    int64_t ld = c->operand[i].ld < 0 ? -c->operand[i].ld : c->operand[i].ld;
    if (shape[0] == 1 && ld == 1) { /* a vector without holes is a column */
        ld = shape[0] = shape[1];
        shape[1] = 1;
    }
    if (r->noted && bl_view_is_grid(&p->view[i]) && w->base[i] == r->lo && p->extent[i] == r->hi - r->lo &&
        shape[0] * c->size == r->noted_column) {
        if (!bl_values_again(&t->seen_values, r->noted, sum, t->count))
            bl_out_of_memory(t);
        return;
    }
    const bl_view v = bl_touched_view(w, i);
    bool good = true, plain = false;
    if (r == &bl_mixed) {
        bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
        bl_region *g;
        bl_view part;
        while (good && bl_parts_next(&parts, &g, &part))
            good = g->window || grow_stale(t, g);
    } else if (r->whole && (!bl_view_is_grid(&v) || bl_view_bytes(&v) != r->whole->axes.bytes)) {
        good = grow_stale(t, r);
    } else {
        plain = 1 << r->shift == c->width;
    }
    /* a triangle that is not packed is no array */
    if (bl_view_bytes(&v) >= LEAST * c->size && bl_view_is_grid(&v)) {
        const int64_t strides[2] = {c->size, ld * c->size};
        const bl_array x = {c->operand[i].base, c->width, c->width == 8 ? 3 : 2, c->size, 2, shape, strides};
        if (r == &bl_mixed || 1 << r->shift != c->width) /* the sum is not one of the call's numbers */
            sum = bl_content_sum(&v, c->width);
        good = good && bl_values_note(&t->seen_values, &x, r == &bl_mixed || r->window, sum, t->count);
        if (good && plain) {
            p->noted_at = w->base[i];
            p->noted = t->seen_values.last;
        }
    }
    if (!good)
        bl_out_of_memory(t);
}

/* Notes arrays of so many bytes again of which blocks were written. */
static bool refresh(blasad_tape *t, int64_t bytes)
{
    for (size_t i = 0; i < t->stales;) {
        bl_region *r = t->stale[i];
        if (r->whole->axes.bytes != bytes) {
            i++;
            continue;
        }
        r->stale = false;
        t->stale[i] = t->stale[--t->stales];
        if (!note_whole(t, r->whole))
            return false;
    }
    return true;
}

typedef struct following {
    blasad_tape *t;
    bl_path path;
    int width;
} following;

/* To this tape the copy is a call that was made: others have their own way to see it. */
static bool follow(void *context, const bl_piece *p)
{
    const following *f = context;
    bl_layer *self = &f->t->layer;
    bl_call c = {.routine = BL_MAXPBY,
                 .type = f->width == 8 ? BL_D : BL_S,
                 .size = (uint8_t)f->width,
                 .width = (uint8_t)f->width,
                 .flag = {'N', 'N', 'A'},
                 .symbol = BL_SYMBOL_COPY,
                 .backend = f->path.backend,
                 .dim = {p->rows, p->cols},
                 .scalar = {{{1, 0}, NULL}, {{0, 0}, NULL}},
                 .operand = {{p->source, p->source_ld}, {p->destination, p->destination_ld}}};
    if (self->before(self, &c) == BL_SEEN_AFTER)
        self->after(self, &c);
    return atomic_load(&f->t->error) == BLASAD_OK;
}

static enum bl_match_kind find(blasad_tape *t, const bl_call *c, const bl_view *v, bl_match *m)
{
    if (!bl_view_is_grid(v) || bl_view_bytes(v) < LEAST * c->size || bl_all_equal(v, c->size))
        return BL_MATCH_NONE;
    if (!refresh(t, bl_view_bytes(v))) {
        bl_out_of_memory(t);
        return BL_MATCH_NONE;
    }
    return bl_values_find(&t->seen_values, v, c->width, bl_content_sum(v, c->width), m);
}

bool bl_copies_is_one(blasad_tape *t, const bl_call *c, const bl_view *v)
{
    bl_match m;
    return find(t, c, v, &m) == BL_MATCH_HERE;
}

enum bl_copies_found bl_copies_look(blasad_tape *t, const bl_call *c, const bl_touch *touch)
{
    const bl_touch w = *touch; /* following makes calls of its own */
    bl_plan plan = *w.plan;
    const unsigned assumed = w.assumed;
    bool followed = false;
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        if (!(assumed & BL_OPERAND(i)))
            continue;
        bl_touch mine = w;
        mine.plan = &plan;
        const bl_view v = bl_touched_view(&mine, i);
        bl_match m;
        const enum bl_match_kind kind = find(t, c, &v, &m);
        if (kind == BL_MATCH_NONE)
            continue;
        if (kind == BL_MATCH_HERE && !m.ambiguous && (t->options & BLASAD_FOLLOW_COPIES)) {
            following f = {t, bl_path_below(t, c), m.width};
            if (!bl_match_pieces(&m, &v, follow, &f))
                return BL_COPIES_ERROR;
            followed = true;
            continue;
        }
        bl_refuse_copy(t, c, i, kind == BL_MATCH_GONE, m.ambiguous, m.event);
        return BL_COPIES_ERROR;
    }
    return followed ? BL_COPIES_FOLLOWED : BL_COPIES_NONE;
}
