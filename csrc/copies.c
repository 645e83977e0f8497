#include "copies.h"

#include "blas.h"
#include "entry.h"
#include "fingerprint.h"
#include "touch.h"

/* Fewer numbers are equal by chance, or are all that a small program computes with. */
enum { LEAST = 8 };

bool bl_copies_annotated(blasad_tape *t, const bl_array *x)
{
    bl_axes a;
    uint64_t sum = 0;
    int64_t at[BL_MAX_AXES] = {0};
    if (bl_axes_of(x, "", &a) != BLASAD_OK || a.bytes < LEAST * x->element || x->width == 0)
        return true;
    char *p = a.lo;
    do {
        const bl_view run = bl_view_run(p, a.run);
        sum += bl_content_sum(&run, x->width);
    } while (bl_axes_next(&a, 0, at, &p));
    return bl_values_note(&t->seen_values, x, false, sum, t->count);
}

void bl_copies_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i, uint64_t sum)
{
    int64_t shape[2];
    bl_operand_shape(c, i, &shape[0], &shape[1]);
    if (shape[0] * shape[1] < LEAST)
        return;
    const int64_t strides[2] = {c->size, c->operand[i].ld * c->size};
    const bl_array x = {c->operand[i].base, c->width, c->width == 8 ? 3 : 2, c->size, 2, shape, strides};
    const bl_region *r = w->region[i];
    if (!bl_values_note(&t->seen_values, &x, r == &bl_mixed || r->window, sum, t->count))
        bl_out_of_memory(t);
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
                 .flag = {'N', 'N'},
                 .symbol = BL_SYMBOL_COPY,
                 .backend = f->path.backend,
                 .dim = {p->rows, p->cols},
                 .scalar = {{{1, 0}, NULL}, {{0, 0}, NULL}},
                 .operand = {{p->source, p->source_ld}, {p->destination, p->destination_ld}}};
    if (self->before(self, &c) == BL_SEEN_AFTER)
        self->after(self, &c);
    return atomic_load(&f->t->error) == BLASAD_OK;
}

enum bl_copies_found bl_copies_look(blasad_tape *t, const bl_call *c, const bl_touch *touch)
{
    const bl_touch w = *touch; /* following makes calls of its own */
    const bl_plan plan = *w.plan;
    const unsigned assumed = w.assumed;
    bool followed = false;
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        if (!(assumed & BL_OPERAND(i)))
            continue;
        bl_touch mine = w;
        mine.plan = &plan;
        const bl_view v = bl_touched_view(&mine, i);
        bl_match m;
        if (bl_view_bytes(&v) < LEAST * c->size || bl_all_equal(&v, c->size))
            continue;
        const enum bl_match_kind kind = bl_values_find(&t->seen_values, &v, c->width, bl_content_sum(&v, c->width), &m);
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
