/* Plane rotations. <x, y> = Re sum conj(x) y (semantics 3); G is the shadow of x, H that of y. c and s are real.
 *
 *   rot       x = c x_old + s y_old,          y = c y_old - s x_old
 *   tangent   dx <- c dx + s dy + dc x_old + ds y_old,   dy <- c dy - s dx + dc y_old - ds x_old
 *   adjoint   dc += <x_old, G> + <y_old, H>,  ds += <y_old, G> - <x_old, H>
 *             G <- c G - s H,                 H <- c H + s G: the rotation the other way
 *
 *   rotm      (x, y) = h (x_old, y_old), h a matrix of four numbers, some of which may be 1 or -1 instead
 *   tangent   (dx, dy) <- h (dx, dy) + dh (x_old, y_old)
 *   adjoint   dh11 += <x_old, G>, dh12 += <y_old, G>, dh21 += <x_old, H>, dh22 += <y_old, H>,  (G, H) <- h^T (G, H)
 *
 * rotg: r = +-sqrt(a^2 + b^2), c = a / r, s = b / r, and z, from which c and s can be found: s, 1 / c or 1. Gr, Gc, Gs
 * and Gz are their shadows.
 *
 *   tangent   w = (c db - s da) / r:  dr <- c da + s db, dc <- -s w, ds <- c w, dz <- ds, (s z^2) w or 0
 *   adjoint   w = (c Gs - s Gc + (c, s z^2 or 0) Gz) / r:  Ga <- c Gr - s w, Gb <- s Gr + c w, Gc <- 0, Gs <- 0
 *
 * Of complex numbers, with u = a / |a| and N = sqrt(|a|^2 + |b|^2): r = u N, c = |a| / N, s = u conj(b) / N.
 *
 *   tangent   A = conj(u) da, B = conj(u) db:  dN = c Re A + Re s B, t = Im A / c (the angle of u moves by t / N),
 *             dr <- u (dN + i t), dc <- (Re A - c dN) / N, ds <- (conj(B) + s (-dN + i t)) / N
 *   adjoint   k = Re conj(u) Gr - (c Gc + Re conj(s) Gs) / N  (of N),
 *             Ga <- u (Gc / N + c k + i (Im conj(u) Gr + Im conj(s) Gs / N) / c),
 *             db += u (k conj(s) + conj(Gs) / N), Gc <- 0, Gs <- 0
 *
 * Where it is not smooth, a = 0 of complex numbers or r = 0, quotients by 0 are 0.
 */
#include <math.h>

#include "access_rotations.h"
#include "made.h"

/* -x, in a cell if a layer below may have x active. */
static bl_scalar negated(const bl_site *s, bl_scalar x)
{
    const int real = bl_real_type(s->call->type);
    if (!x.address)
        return (bl_scalar){{-x.value.re, 0}, NULL};
    bl_maxpby(&s->path, real, 1, 1, 'N', (bl_scalar){{-1, 0}, NULL}, (bl_matrix){x.address, 1}, 'N', BL_ZERO,
              (bl_matrix){s->work, 1});
    return bl_scalar_at(real, s->work);
}

void bl_rot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dx = bl_shadow(s, ROT_X), dy = bl_shadow(s, ROT_Y);
    const bl_matrix x = bl_values(s, ROT_X), y = bl_values(s, ROT_Y);
    const int64_t n = c->dim[0];
    if (n <= 0 || !dx.at || !dy.at)
        return;
    bl_rot(&s->path, c->type, n, dx, dy, bl_given(s, ROT_C), bl_given(s, ROT_S));
    if (s->scalar_shadow[ROT_C]) {
        const bl_scalar dc = bl_scalar_shadow(s, ROT_C);
        bl_pairs_axpby(&s->path, c->type, n, dc, x, BL_ONE, dx);
        bl_pairs_axpby(&s->path, c->type, n, dc, y, BL_ONE, dy);
    }
    if (s->scalar_shadow[ROT_S]) {
        const bl_scalar ds = bl_scalar_shadow(s, ROT_S);
        bl_pairs_axpby(&s->path, c->type, n, ds, y, BL_ONE, dx);
        bl_pairs_axpby(&s->path, c->type, n, negated(s, ds), x, BL_ONE, dy);
    }
}

void bl_rot_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, ROT_X), H = bl_shadow(s, ROT_Y);
    const bl_matrix x = bl_values(s, ROT_X), y = bl_values(s, ROT_Y);
    const int64_t n = c->dim[0];
    if (n <= 0 || !G.at || !H.at)
        return;
    if (s->scalar_shadow[ROT_C]) {
        bl_pairs_dot(&s->path, c->type, n, x, G, s->scalar_shadow[ROT_C]);
        bl_pairs_dot(&s->path, c->type, n, y, H, s->scalar_shadow[ROT_C]);
    }
    if (s->scalar_shadow[ROT_S]) {
        void *ds = s->scalar_shadow[ROT_S];
        const int real = bl_real_type(c->type);
        const bl_matrix sum = {s->work, 1};
        bl_pairs_dot(&s->path, c->type, n, y, G, ds);
        bl_mscal(&s->path, real, 1, 1, 'N', BL_ZERO, sum);
        bl_pairs_dot(&s->path, c->type, n, x, H, sum.at);
        bl_maxpby(&s->path, real, 1, 1, 'N', (bl_scalar){{-1, 0}, NULL}, sum, 'N', BL_ONE, (bl_matrix){ds, 1});
    }
    bl_rot(&s->path, c->type, n, G, H, bl_given(s, ROT_C), negated(s, bl_given(s, ROT_S)));
}

/* ---- rotm */

static char *number(bl_matrix param, int i, int type) { return (char *)param.at + i * bl_element_size(type); }

static void put(int type, char *at, double x)
{
    if (type == BL_S)
        *(float *)at = (float)x;
    else
        *(double *)at = x;
}

/* The transpose, with ones where the call has none written. */
static bl_matrix transposed(const bl_site *s)
{
    const int type = s->call->type;
    const char form = s->call->flag[0];
    const bl_matrix h = bl_values(s, ROTM_H), out = {s->work, 5};
    bl_layers_forget(s->path.below, number(out, 0, type), number(out, 5, type));
    put(type, number(out, 0, type), form == BL_BESIDE ? 0 : -1);
    for (int i = 1; i <= 4; i++) {
        const int from = i == 2 ? 3 : i == 3 ? 2 : i;
        if (form == BL_DIAGONAL && from != i)
            put(type, number(out, i, type), i == 2 ? 1 : -1);
        else if (form != BL_BESIDE || from != i)
            bl_mcopy(&s->path, type, 1, 1, (bl_matrix){number(h, from, type), 1}, (bl_matrix){number(out, i, type), 1});
    }
    return out;
}

/* Has the form of the call this number? */
static bool has_number(const bl_site *s, int i)
{
    const char form = s->call->flag[0];
    return form == BL_FULL || (form == BL_BESIDE) == (i == 2 || i == 3);
}

void bl_rotm_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int type = c->type;
    const bl_matrix d[2] = {bl_shadow(s, ROT_X), bl_shadow(s, ROT_Y)},
                    x[2] = {bl_values(s, ROT_X), bl_values(s, ROT_Y)};
    if (rotm_is_empty(c) || !d[0].at || !d[1].at)
        return;
    bl_rotm(&s->path, type, c->dim[0], d[0], d[1], bl_values(s, ROTM_H));
    for (int i = 1; i <= 4 && s->shadow[ROTM_H]; i++) /* h11, h21, h12, h22 */
        if (has_number(s, i))
            bl_vaxpby(&s->path, type, c->dim[0], 'N', bl_scalar_at(type, number(bl_shadow(s, ROTM_H), i, type)), 'N',
                      x[i > 2], 'N', BL_ONE, d[i % 2 == 0]);
}

void bl_rotm_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int type = c->type;
    const bl_matrix G[2] = {bl_shadow(s, ROT_X), bl_shadow(s, ROT_Y)},
                    x[2] = {bl_values(s, ROT_X), bl_values(s, ROT_Y)};
    if (rotm_is_empty(c) || !G[0].at || !G[1].at)
        return;
    for (int i = 1; i <= 4 && s->shadow[ROTM_H]; i++)
        if (has_number(s, i))
            bl_vdot(&s->path, type, c->dim[0], x[i > 2], G[i % 2 == 0], false, number(bl_shadow(s, ROTM_H), i, type));
    bl_rotm(&s->path, type, c->dim[0], G[0], G[1], transposed(s));
}

/* ---- rotg: arithmetic on single numbers, in rooms */

static bl_matrix one(void *at) { return (bl_matrix){at, 1}; }
static void *room(const bl_site *s, int i) { return s->work + i * ROT_ROOM; }
static int real_of(const bl_site *s) { return bl_real_type(s->call->type); }
static void *imaginary(const bl_site *s, void *z) { return (char *)z + bl_real_width(s->call->type); }

static void clear(const bl_site *s, int type, void *x) { bl_mscal(&s->path, type, 1, 1, 'N', BL_ZERO, one(x)); }
static void copy(const bl_site *s, void *x, void *to) { bl_mcopy(&s->path, real_of(s), 1, 1, one(x), one(to)); }
static void add(const bl_site *s, void *x, void *to) { bl_madd(&s->path, real_of(s), 1, 1, one(x), one(to)); }
static void negate(const bl_site *s, void *x)
{
    bl_mscal(&s->path, real_of(s), 1, 1, 'N', (bl_scalar){{-1, 0}, NULL}, one(x));
}
/* to += a b, of real numbers */
static void add_product(const bl_site *s, void *a, void *b, void *to)
{
    bl_mdot(&s->path, real_of(s), 1, 1, one(a), one(b), false, to);
}
/* to <- conj(a) b and to <- a b, of numbers of the call's type */
static void product_of_conjugate(const bl_site *s, void *a, void *b, void *to)
{
    clear(s, s->call->type, to);
    bl_mdot(&s->path, s->call->type, 1, 1, one(a), one(b), false, to);
}
static void product(const bl_site *s, void *a, void *b, void *to)
{
    const int type = s->call->type;
    bl_maxpby(&s->path, type, 1, 1, 'N', bl_scalar_at(type, a), one(b), 'N', BL_ZERO, one(to));
}
/* to <- z / x, both parts */
static void over(const bl_site *s, void *z, void *x, void *to)
{
    bl_quot(&s->path, real_of(s), z, x, to);
    bl_quot(&s->path, real_of(s), imaginary(s, z), x, imaginary(s, to));
}
static void conjugate_of(const bl_site *s, void *z, void *to)
{
    bl_mconj(&s->path, s->call->type, 1, 1, one(z), one(to));
}

/* What rotg leaves. */
typedef struct turn {
    void *r, *z, *c, *s;
} turn;

/* In forward mode, where the call is yet to come: in the first rooms. */
static turn computed(const bl_site *s)
{
    const int type = s->call->type;
    const turn t = {room(s, 0), room(s, 1), room(s, 2), room(s, 3)};
    bl_mcopy(&s->path, type, 1, 1, one(bl_values(s, ROTG_A).at), one(t.r));
    bl_mcopy(&s->path, type, 1, 1, one(bl_values(s, ROTG_B).at), one(t.z));
    bl_rotg(&s->path, type, one(t.r), one(t.z), one(t.c), one(t.s));
    return t;
}

/* to += x dz / dw, for z = s, 1 / c or 1, which its size tells */
static void add_by_z(const bl_site *s, const turn *t, void *x, void *to)
{
    const double z = fabs(bl_load(s->call->type, t->z).re);
    if (z < 1)
        add_product(s, t->c, x, to);
    if (!(z > 1))
        return;
    void *once = room(s, 6), *twice = room(s, 7);
    clear(s, s->call->type, once);
    clear(s, s->call->type, twice);
    add_product(s, t->z, x, once);
    add_product(s, t->z, once, twice);
    add_product(s, t->s, twice, to);
}

static void real_tangent(const bl_site *s)
{
    const int type = s->call->type;
    void *da = s->shadow[ROTG_A], *db = s->shadow[ROTG_B], *dc = s->shadow[ROTG_C], *ds = s->shadow[ROTG_S];
    void *w = room(s, 4);
    const turn t = computed(s);
    bl_rot(&s->path, type, 1, one(da), one(db), bl_scalar_at(type, t.c), bl_scalar_at(type, t.s));
    bl_quot(&s->path, type, db, t.r, w);
    clear(s, type, db);
    clear(s, type, dc);
    clear(s, type, ds);
    add_by_z(s, &t, w, db);
    add_product(s, t.s, w, dc);
    negate(s, dc);
    add_product(s, t.c, w, ds);
}

static void real_adjoint(const bl_site *s)
{
    const int type = s->call->type;
    const turn t = {bl_values(s, ROTG_A).at, bl_values(s, ROTG_B).at, bl_values(s, ROTG_C).at, bl_values(s, ROTG_S).at};
    void *Gr = s->shadow[ROTG_A], *Gz = s->shadow[ROTG_B], *Gc = s->shadow[ROTG_C], *Gs = s->shadow[ROTG_S];
    void *sum = room(s, 4), *w = room(s, 5);
    clear(s, type, sum);
    add_product(s, t.s, Gc, sum);
    negate(s, sum);
    add_product(s, t.c, Gs, sum);
    add_by_z(s, &t, Gz, sum);
    bl_quot(&s->path, type, sum, t.r, w);
    bl_rot(&s->path, type, 1, one(Gr), one(w), bl_scalar_at(type, t.c), negated(s, bl_scalar_at(type, t.s)));
    copy(s, w, Gz);
    clear(s, type, Gc);
    clear(s, type, Gs);
}

static void complex_tangent(const bl_site *s)
{
    const int type = s->call->type;
    void *da = s->shadow[ROTG_A], *db = s->shadow[ROTG_B], *dc = s->shadow[ROTG_C], *ds = s->shadow[ROTG_S];
    void *N = room(s, 4), *u = room(s, 5), *A = room(s, 6), *B = room(s, 7), *sB = room(s, 8), *move = room(s, 9);
    void *sum = room(s, 10), *part = room(s, 11);
    const turn t = computed(s);
    bl_nrm2(&s->path, type, 1, one(t.r), N);
    over(s, t.r, N, u);
    product_of_conjugate(s, u, da, A);
    if (db)
        product_of_conjugate(s, u, db, B);
    else
        clear(s, type, B);
    product(s, t.s, B, sB);
    copy(s, sB, move); /* dN + i t */
    add_product(s, t.c, A, move);
    bl_quot(&s->path, real_of(s), imaginary(s, A), t.c, imaginary(s, move));
    product(s, u, move, da);
    clear(s, real_of(s), sum);
    add_product(s, t.c, move, sum);
    negate(s, sum);
    add(s, A, sum);
    bl_quot(&s->path, real_of(s), sum, N, dc);
    negate(s, move);
    product(s, t.s, move, sum);
    conjugate_of(s, B, part);
    bl_madd(&s->path, type, 1, 1, one(part), one(sum));
    over(s, sum, N, ds);
}

static void complex_adjoint(const bl_site *s)
{
    const int type = s->call->type, real = real_of(s);
    void *r = bl_values(s, ROTG_A).at, *c = bl_values(s, ROTG_C).at, *sine = bl_values(s, ROTG_S).at;
    void *Gr = s->shadow[ROTG_A], *Gc = s->shadow[ROTG_C], *Gs = s->shadow[ROTG_S];
    void *N = room(s, 0), *u = room(s, 1), *uG = room(s, 2), *sG = room(s, 3), *part = room(s, 4), *e = room(s, 5);
    void *k = room(s, 6), *way = room(s, 7);
    bl_nrm2(&s->path, type, 1, one(r), N);
    over(s, r, N, u);
    product_of_conjugate(s, u, Gr, uG);
    product_of_conjugate(s, sine, Gs, part);
    over(s, part, N, sG);
    bl_quot(&s->path, real, Gc, N, e);
    copy(s, sG, k);
    add_product(s, c, e, k);
    negate(s, k);
    add(s, uG, k);
    copy(s, e, way);
    add_product(s, c, k, way);
    copy(s, imaginary(s, uG), part);
    add(s, imaginary(s, sG), part);
    bl_quot(&s->path, real, part, c, imaginary(s, way));
    product(s, u, way, Gr);
    if (s->shadow[ROTG_B]) {
        conjugate_of(s, Gs, part);
        over(s, part, N, way);
        conjugate_of(s, sine, part);
        bl_pairs_axpby(&s->path, type, 1, bl_scalar_at(real, k), one(part), BL_ONE, one(way));
        bl_maxpby(&s->path, type, 1, 1, 'N', bl_scalar_at(type, u), one(way), 'N', BL_ONE, one(s->shadow[ROTG_B]));
    }
    clear(s, real, Gc);
    clear(s, type, Gs);
}

/* Of numbers that depend on nothing active. */
static void clear_made(const bl_site *s)
{
    if (s->shadow[ROTG_C])
        clear(s, real_of(s), s->shadow[ROTG_C]);
    if (s->shadow[ROTG_S])
        clear(s, s->call->type, s->shadow[ROTG_S]);
}

void bl_rotg_tangent(const bl_site *s)
{
    if (!s->shadow[ROTG_A])
        clear_made(s);
    else if (bl_is_complex(s->call->type))
        complex_tangent(s);
    else
        real_tangent(s);
}

void bl_rotg_adjoint(const bl_site *s)
{
    if (!s->shadow[ROTG_A])
        clear_made(s);
    else if (bl_is_complex(s->call->type))
        complex_adjoint(s);
    else
        real_adjoint(s);
}
