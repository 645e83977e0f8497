#include "site.h"

#include <stdlib.h>

static size_t round_up(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static int real_type(const bl_call *c) { return c->width == 8 ? BL_D : BL_S; }

bool bl_work_begin(blasad_tape *t, bl_layer *below)
{
    if (t->workspace <= t->work_size)
        return true;
    bl_work_end(t, below);
    if (!(t->work = aligned_alloc(64, round_up(t->workspace))))
        return false;
    t->work_size = t->workspace;
    return true;
}

void bl_work_end(blasad_tape *t, bl_layer *below)
{
    if (t->work)
        bl_layers_forget(below, t->work, t->work + t->work_size);
    free(t->work);
    t->work = NULL;
    t->work_size = 0;
}

size_t bl_site_room(const bl_call *c, const bl_record *r, const bl_extra *x)
{
    size_t bytes = 0;
    for (int i = 0; i < bl_routine_table[r->routine]->n_operands; i++)
        if (r->place[i] == BL_PARTS) {
            const bl_view v = bl_operand_view(c, i);
            bytes += 2 * round_up((size_t)bl_view_bytes(&v));
        }
    for (int i = 0; x && i < bl_routine_table[r->routine]->n_scalars; i++)
        bytes += x->scalar_place[i] == BL_PARTS ? round_up(c->size) : 0;
    return bytes;
}

/* Where a part of v is in a copy of v without holes. */
static char *packed(const bl_view *v, const bl_view *part, char *copy)
{
    const int64_t offset = part->base - v->base, column = v->columns > 1 ? offset / v->stride : 0;
    return copy + column * v->column + (offset - column * v->stride);
}

static bl_matrix matrix(char *at, int64_t units) { return (bl_matrix){at, units}; }

enum direction { FETCH, STORE, ADD };

/* Between a packed copy and the shadows of v's parts; parts without a shadow are left alone. */
static void move_shadows(blasad_tape *t, const bl_path *to, const bl_call *c, const bl_view *v, int shadow, char *copy,
                         enum direction how)
{
    const int type = real_type(c);
    bl_parts parts = bl_parts_of(&t->regions, v, c->width, false);
    bl_region *g;
    bl_view part;
    while (bl_parts_next(&parts, &g, &part)) {
        if (!g || (!g->duplicated && !g->shadows))
            continue;
        const int64_t n = part.column / c->width;
        const bl_matrix own = matrix(part.base + bl_delta(g, shadow), n), other = matrix(packed(v, &part, copy), n);
        if (how == FETCH)
            bl_mcopy(to, type, n, 1, own, other);
        else if (how == STORE)
            bl_mcopy(to, type, n, 1, other, own);
        else
            bl_madd(to, type, n, 1, other, own);
    }
}

/* A packed copy of v's shadow, or zeros. */
static char *gather(blasad_tape *t, const bl_path *to, const bl_call *c, const bl_view *v, int shadow, bool fetch,
                    char *copy)
{
    const int64_t n = bl_view_bytes(v) / c->width;
    bl_mscal(to, real_type(c), n, 1, 'N', BL_ZERO, matrix(copy, n));
    if (fetch)
        move_shadows(t, to, c, v, shadow, copy, FETCH);
    return copy + round_up((size_t)bl_view_bytes(v));
}

char *bl_site_values(blasad_tape *t, const bl_path *to, const bl_record *r, bl_call *c, unsigned needs, char *work)
{
    for (int i = 0; i < bl_routine_table[r->routine]->n_operands; i++) {
        if (!(needs & BL_OPERAND(i)))
            continue;
        bl_region *own = r->place[i] == BL_PARTS ? NULL : t->regions.region[r->place[i] - 1];
        if (own && !own->saved_from) {
            c->operand[i].base = (char *)c->operand[i].base + bl_source(own);
            continue;
        }
        const bl_view v = bl_operand_view(c, i);
        if (own) {
            c->operand[i].base = bl_mirror_value(to, own, &v);
            continue;
        }
        bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
        bl_region *g;
        bl_view part;
        while (bl_parts_next(&parts, &g, &part)) {
            const int64_t n = part.column / c->width;
            bl_mcopy(to, real_type(c), n, 1, matrix(bl_mirror_value(to, g, &part), n),
                     matrix(packed(&v, &part, work), n));
        }
        int64_t rows, cols;
        bl_operand_shape(c, i, &rows, &cols);
        c->operand[i] = (bl_operand){work, rows > 1 ? rows : 1};
        work += round_up((size_t)bl_view_bytes(&v));
    }
    return work;
}

static bool has_parts(const bl_routine_spec *spec, const bl_record *r, const bl_extra *x)
{
    bool parts = false;
    for (int i = 0; i < spec->n_operands; i++)
        parts |= r->place[i] == BL_PARTS;
    for (int i = 0; x && i < spec->n_scalars; i++)
        parts |= x->scalar_place[i] == BL_PARTS;
    return parts;
}

/* The usual case: every shadow is in one place. */
static void place_shadows(const blasad_tape *t, const bl_routine_spec *spec, const bl_record *r, const bl_extra *x,
                          int shadow, bl_site *s)
{
    for (int i = 0; i < spec->n_operands; i++) {
        s->shadow[i] = NULL;
        if (r->shadowed >> i & 1)
            s->shadow[i] = (char *)r->base[i] + bl_delta(t->regions.region[r->place[i] - 1], shadow);
        s->shadow_ld[i] = r->wide ? x->ld[i] : r->ld[i];
    }
    for (int i = 0; i < spec->n_scalars; i++) {
        s->scalar_shadow[i] = NULL;
        if (x && x->scalar_place[i])
            s->scalar_shadow[i] =
                (char *)x->scalar_address[i] + bl_delta(t->regions.region[x->scalar_place[i] - 1], shadow);
    }
}

void bl_site_shadows(blasad_tape *t, const bl_record *r, int shadow, bl_site *s, char *work)
{
    const bl_routine_spec *spec = bl_routine_table[r->routine];
    const bl_extra *x = bl_extra_of(t, r);
    s->work = work;
    if (!has_parts(spec, r, x)) {
        place_shadows(t, spec, r, x, shadow, s);
        return;
    }
    const bool forward = t->mode == BLASAD_FORWARD;
    bl_call c;
    bl_unpack(t, r, &c);
    for (int i = 0; i < spec->n_operands; i++) {
        s->shadow[i] = NULL;
        if (!(r->shadowed >> i & 1))
            continue;
        s->shadow_ld[i] = c.operand[i].ld;
        if (r->place[i] != BL_PARTS) {
            s->shadow[i] = (char *)r->base[i] + bl_delta(t->regions.region[r->place[i] - 1], shadow);
            continue;
        }
        int64_t rows, cols;
        bl_operand_shape(&c, i, &rows, &cols);
        const bl_view v = bl_operand_view(&c, i);
        s->shadow[i] = work;
        s->shadow_ld[i] = rows > 1 ? rows : 1;
        work = gather(t, &s->path, &c, &v, shadow, forward || spec->operand[i].output, work);
    }
    for (int i = 0; i < spec->n_scalars; i++) {
        s->scalar_shadow[i] = NULL;
        if (!x || !x->scalar_place[i])
            continue;
        char *at = x->scalar_address[i];
        if (x->scalar_place[i] != BL_PARTS) {
            s->scalar_shadow[i] = at + bl_delta(t->regions.region[x->scalar_place[i] - 1], shadow);
            continue;
        }
        const bl_view v = bl_view_run(at, c.size);
        s->scalar_shadow[i] = work;
        work = gather(t, &s->path, &c, &v, shadow, forward, work);
    }
    s->work = work;
}

void bl_site_scatter(blasad_tape *t, const bl_record *r, int shadow, const bl_site *s)
{
    const bl_routine_spec *spec = bl_routine_table[r->routine];
    const bl_extra *x = bl_extra_of(t, r);
    if (!has_parts(spec, r, x))
        return;
    const bool forward = t->mode == BLASAD_FORWARD;
    bl_call c;
    bl_unpack(t, r, &c);
    for (int i = 0; i < spec->n_operands; i++) {
        if (!s->shadow[i] || r->place[i] != BL_PARTS)
            continue;
        const bl_view v = bl_operand_view(&c, i);
        if (spec->operand[i].output)
            move_shadows(t, &s->path, &c, &v, shadow, s->shadow[i], STORE);
        else if (!forward)
            move_shadows(t, &s->path, &c, &v, shadow, s->shadow[i], ADD);
    }
    for (int i = 0; i < spec->n_scalars && !forward; i++)
        if (s->scalar_shadow[i] && x->scalar_place[i] == BL_PARTS) {
            const bl_view v = bl_view_run(x->scalar_address[i], c.size);
            move_shadows(t, &s->path, &c, &v, shadow, s->scalar_shadow[i], ADD);
        }
}
