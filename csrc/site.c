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

/* An operand that has several owners, and how a copy of it lies that has its form, but no holes between columns or
 * numbers. */
typedef struct packing {
    bl_view view;
    char *base;         /* what the call names */
    int64_t stride, to; /* bytes from one column to the next, in memory and in the copy */
    int64_t bytes;      /* of the copy */
    int64_t ld;         /* of the copy, in elements */
} packing;

static packing packing_of(const bl_call *c, int i)
{
    int64_t rows, cols;
    bl_array_shape(c, i, &rows, &cols);
    const int64_t ld = c->operand[i].ld, stride = ld < 0 ? -ld : ld;
    packing p = {bl_operand_view(c, i), c->operand[i].base, stride * c->size, 0, rows * cols * c->size, 0};
    if (bl_routine_table[c->routine]->operand[i].storage == BL_VECTOR)
        p.ld = ld < 0 ? -1 : ld > 0;
    else
        p.ld = rows > 1 ? rows : 1;
    p.to = (p.ld < 0 ? -p.ld : p.ld) * c->size;
    return p;
}

static packing packing_of_scalar(const bl_call *c, int i, char *at)
{
    const int64_t size = bl_scalar_size(c, i);
    return (packing){bl_view_run(at, size), at, 0, 0, size, 1};
}

size_t bl_site_room(const bl_call *c, const bl_record *r, const bl_extra *x)
{
    size_t bytes = 0;
    for (int i = 0; i < bl_routine_table[r->routine]->n_operands; i++)
        if (bl_place_of(r, x, i) == BL_PARTS)
            bytes += 2 * round_up((size_t)packing_of(c, i).bytes);
    for (int i = 0; x && i < bl_routine_table[r->routine]->n_scalars; i++)
        bytes += x->scalar_place[i] == BL_PARTS ? round_up(c->size) : 0;
    return bytes;
}

/* Where a part of the operand is in the copy. */
static char *packed(const packing *p, const bl_view *part, char *copy)
{
    const int64_t offset = part->base - p->base, column = p->stride ? offset / p->stride : 0;
    return copy + column * p->to + (offset - column * p->stride);
}

static bl_matrix matrix(char *at, int64_t units) { return (bl_matrix){at, units}; }

enum direction { FETCH, STORE, ADD };

/* Between a copy and the shadows of the operand's parts; parts without a shadow are left alone. */
static void move_shadows(blasad_tape *t, const bl_path *to, const bl_call *c, const packing *p, int shadow, char *copy,
                         enum direction how)
{
    const int type = real_type(c);
    bl_parts parts = bl_parts_of(&t->regions, &p->view, c->width, false);
    bl_region *g;
    bl_view part;
    while (bl_parts_next(&parts, &g, &part)) {
        if (!g || (!g->duplicated && !g->shadows))
            continue;
        const int64_t n = part.column / c->width;
        const bl_matrix own = matrix(part.base + bl_delta(g, shadow), n), other = matrix(packed(p, &part, copy), n);
        if (how == FETCH)
            bl_mcopy(to, type, n, 1, own, other);
        else if (how == STORE)
            bl_mcopy(to, type, n, 1, other, own);
        else
            bl_madd(to, type, n, 1, other, own);
    }
}

/* A copy of the shadow, or zeros. Returns what is behind it. */
static char *gather(blasad_tape *t, const bl_path *to, const bl_call *c, const packing *p, int shadow, bool fetch,
                    char *copy)
{
    const int64_t n = p->bytes / c->width;
    bl_mscal(to, real_type(c), n, 1, 'N', BL_ZERO, matrix(copy, n));
    if (fetch)
        move_shadows(t, to, c, p, shadow, copy, FETCH);
    return copy + round_up((size_t)p->bytes);
}

char *bl_site_values(blasad_tape *t, const bl_path *to, const bl_record *r, bl_call *c, unsigned needs, char *work)
{
    const bl_extra *x = bl_extra_of(t, r);
    for (int i = 0; i < bl_routine_table[r->routine]->n_operands; i++) {
        if (!(needs & (BL_OPERAND(i) | BL_LEFT(i))))
            continue;
        const uint32_t place = bl_place_of(r, x, i);
        bl_region *own = place == BL_PARTS ? NULL : t->regions.region[place - 1];
        if (own && !own->saved_from) {
            c->operand[i].base = (char *)c->operand[i].base + bl_source(own);
            continue;
        }
        const packing p = packing_of(c, i);
        if (own) {
            c->operand[i].base = p.base + (bl_mirror_value(to, own, &p.view) - p.view.base);
            continue;
        }
        bl_parts parts = bl_parts_of(&t->regions, &p.view, c->width, false);
        bl_region *g;
        bl_view part;
        while (bl_parts_next(&parts, &g, &part)) {
            const int64_t n = part.column / c->width;
            bl_mcopy(to, real_type(c), n, 1, matrix(bl_mirror_value(to, g, &part), n),
                     matrix(packed(&p, &part, work), n));
        }
        c->operand[i] = (bl_operand){work, p.ld};
        work += round_up((size_t)p.bytes);
    }
    return work;
}

static bool has_parts(const bl_routine_spec *spec, const bl_record *r, const bl_extra *x)
{
    bool parts = false;
    for (int i = 0; i < spec->n_operands; i++)
        parts |= bl_place_of(r, x, i) == BL_PARTS;
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
            s->shadow[i] = (char *)bl_base_of(r, x, i) + bl_delta(t->regions.region[bl_place_of(r, x, i) - 1], shadow);
        s->shadow_ld[i] = bl_ld_of(r, x, i);
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
        const uint32_t place = bl_place_of(r, x, i);
        if (place != BL_PARTS) {
            s->shadow[i] = (char *)c.operand[i].base + bl_delta(t->regions.region[place - 1], shadow);
            continue;
        }
        const packing p = packing_of(&c, i);
        s->shadow[i] = work;
        s->shadow_ld[i] = p.ld;
        work = gather(t, &s->path, &c, &p, shadow, forward || spec->operand[i].output, work);
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
        const packing p = packing_of_scalar(&c, i, at);
        s->scalar_shadow[i] = work;
        work = gather(t, &s->path, &c, &p, shadow, forward, work);
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
    /* what was an output first: an input may be the same memory */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < spec->n_operands; i++) {
            if (!s->shadow[i] || bl_place_of(r, x, i) != BL_PARTS || spec->operand[i].output != (pass == 0))
                continue;
            const packing p = packing_of(&c, i);
            if (pass == 0)
                move_shadows(t, &s->path, &c, &p, shadow, s->shadow[i], STORE);
            else if (!forward)
                move_shadows(t, &s->path, &c, &p, shadow, s->shadow[i], ADD);
        }
    for (int i = 0; i < spec->n_scalars && !forward; i++)
        if (s->scalar_shadow[i] && x->scalar_place[i] == BL_PARTS) {
            const packing p = packing_of_scalar(&c, i, x->scalar_address[i]);
            move_shadows(t, &s->path, &c, &p, shadow, s->scalar_shadow[i], ADD);
        }
}
