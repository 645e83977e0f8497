/* Level 2: matrices updated by vectors. Notation is that of rules_level2.c.
 *
 *   ger    A = alpha X Y^T + A_old, X = x or conj(x), Y = y or conj(y); G stays
 *   tangent  dA <- dA + alpha (dX Y^T + X dY^T) + dalpha X Y^T
 *   adjoint  with p = G conj(Y)
 *            dX += a' p                      dalpha += sum conj(X) p
 *            dY += a' G^T conj(X)
 *
 *   syr    A = alpha x x^T + A_old, syr2  A = alpha (x y^T + y x^T) + A_old, of one triangle; real; G stays
 *   spr, spr2  the same packed
 *   tangent  dA <- dA + alpha (dx x^T + x dx^T) + dalpha x x^T, and so on for each vector
 *   adjoint  with S = G + G^T of the triangle: G off the diagonal, twice G on it
 *            syr   dx += alpha S x                     dalpha += x^T S x / 2
 *            syr2  dx += alpha S y, dy += alpha S x    dalpha += x^T S y
 *
 *   her    A = alpha X X^H + A_old, alpha real; her2  A = alpha X Y^H + a' Y X^H + A_old; X = x and Y = y, or for r
 *          their conjugates; the imaginary diagonal is set to 0; hpr, hpr2  the same packed
 *   tangent  as of syr and syr2
 *   adjoint  with the Hermitian matrix S of the triangle of G, twice the real part on its diagonal
 *            her   dX += alpha S X                     dalpha += X^H S X / 2
 *            her2  dX += a' S Y, dY += alpha S X       dalpha += X^H S Y
 *            the imaginary diagonal of G <- 0
 */
#include "rules_level2.h"

/* ---- ger, geru, gerc */

/* Which of the vectors are conjugated: of gerc y, or x if a row-major call made it. */
static void read_ger(const bl_call *c, char *op_x, char *op_y)
{
    const bool conjugates = c->routine == BL_GERC, turned = conjugates && c->flag[0] == 'C';
    *op_x = turned ? 'C' : 'N';
    *op_y = conjugates && !turned ? 'C' : 'N';
}

/* dA <- dA + alpha X Y^T */
static void add_rank1(const bl_site *s, const bl_path *way, bl_scalar alpha, bl_matrix x, bl_matrix y)
{
    const bl_call *c = s->call;
    char op_x, op_y;
    read_ger(c, &op_x, &op_y);
    if (op_x == 'C')
        x = copied(s, c->dim[0], 'C', x, s->work);
    bl_add_outer(way, c->type, c->dim[0], c->dim[1], alpha, x, op_y, y, bl_shadow(s, GER_A));
}

static void ger_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    const bl_path scaled = times(s, alpha);
    const bl_matrix x = bl_values(s, GER_X), y = bl_values(s, GER_Y);
    if (c->dim[0] == 0 || c->dim[1] == 0 || !s->shadow[GER_A])
        return;
    if (s->shadow[GER_X] && !bl_always_zero(alpha))
        add_rank1(s, &scaled, alpha, bl_shadow(s, GER_X), y);
    if (s->shadow[GER_Y] && !bl_always_zero(alpha))
        add_rank1(s, &scaled, alpha, x, bl_shadow(s, GER_Y));
    if (s->scalar_shadow[LEVEL2_ALPHA])
        add_rank1(s, &s->path, bl_scalar_shadow(s, LEVEL2_ALPHA), x, y);
}

static void ger_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const bool z = bl_is_complex(c->type);
    const bl_matrix x = bl_values(s, GER_X), y = bl_values(s, GER_Y), G = bl_shadow(s, GER_A);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    const bool products = !bl_always_zero(alpha);
    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    char op_x, op_y;
    if (m == 0 || n == 0 || !G.at)
        return;
    read_ger(c, &op_x, &op_y);
    char *work = s->work;
    bl_scalar turned = alpha;
    if (products && (s->shadow[GER_X] || s->shadow[GER_Y])) {
        turned = conjugated(s, c->type, alpha, work);
        work += bl_room(1, c->size);
    }
    if (op_x == 'C') { /* of p, its conjugate: dx += alpha conj(G) y */
        const bl_linear l = dense('r', m, n);
        bl_add_product(s, &l, G, y, alpha, GER_X, true, dalpha, work);
    } else if (dalpha || (products && s->shadow[GER_X])) {
        const bl_linear l = dense('N', m, n);
        const bool copy = z && op_y == 'N';
        const bl_matrix factor = copy ? copied(s, n, 'C', y, work) : y;
        bl_add_product(s, &l, G, factor, turned, GER_X, false, dalpha, work + (copy ? bl_room(n, c->size) : 0));
    }
    if (!products || !s->shadow[GER_Y])
        return;
    const bl_linear l = dense(op_y == 'C' ? 'C' : 'T', m, n);
    if (op_y == 'C') { /* dy += alpha G^H x */
        bl_add_product(s, &l, G, x, alpha, GER_Y, false, NULL, work);
    } else {
        const bl_matrix factor = z && op_x == 'N' ? copied(s, m, 'C', x, work) : x;
        bl_add_product(s, &l, G, factor, turned, GER_Y, false, NULL, work);
    }
}

void bl_ger_tangent(const bl_site *s) { ger_tangent(s); }
void bl_ger_adjoint(const bl_site *s) { ger_adjoint(s); }
void bl_geru_tangent(const bl_site *s) { ger_tangent(s); }
void bl_geru_adjoint(const bl_site *s) { ger_adjoint(s); }
void bl_gerc_tangent(const bl_site *s) { ger_tangent(s); }
void bl_gerc_adjoint(const bl_site *s) { ger_adjoint(s); }

/* ---- syr spr her hpr | syr2 spr2 her2 hpr2 */

/* The triangle that they update, as what its shadow is multiplied by: that of a Hermitian matrix by rows is turned. */
static bl_linear read_triangle(const bl_call *c, bool pair)
{
    bl_linear l = bl_read_linear(c, pair ? SYR2_A : SYR_A);
    l.hermitian = bl_is_complex(c->type);
    l.op = l.hermitian && c->flag[1] == 'C' ? 'r' : 'N';
    return l;
}

/* The shadow of an imaginary diagonal: that of an output is 0, unless alpha = 0 made the routine return at once. */
static bool clears_diagonal(const bl_call *c) { return !bl_is_zero(c->scalar[LEVEL2_ALPHA].value); }

/* From or to workspace, of real numbers. */
static void move_reals(const bl_site *s, int64_t n, bl_matrix from, bl_matrix to)
{
    bl_vaxpby(&s->path, bl_real_type(s->call->type), n, 'N', BL_ONE, 'N', from, 'N', BL_ZERO, to);
}

/* A vector as the product has it. */
static bl_matrix factor_of(const bl_site *s, const bl_linear *l, bl_matrix x, char *work)
{
    return l->op == 'r' ? copied(s, l->n, 'C', x, work) : x;
}

/* The triangle of dA <- dA + alpha x x^T, x^H in a Hermitian matrix; alpha is real there. */
static void add_square(const bl_site *s, const bl_linear *l, bl_scalar alpha, bl_matrix x, bl_matrix a)
{
    const int type = s->call->type;
    if (l->storage == BL_PACKED && l->hermitian)
        bl_hpr(&s->path, type, l->uplo, l->n, alpha, x, a);
    else if (l->storage == BL_PACKED)
        bl_spr(&s->path, type, l->uplo, l->n, alpha, x, a);
    else if (l->hermitian)
        bl_her(&s->path, type, l->uplo, l->n, alpha, x, a);
    else
        bl_syr(&s->path, type, l->uplo, l->n, alpha, x, a);
}

/* The shadow of the imaginary diagonal, of which a rule reads nothing, becomes zero: or what was kept of it. */
static void set_imaginary(const bl_site *s, const bl_linear *l, bl_matrix dA, const bl_matrix *kept)
{
    const int type = s->call->type, real = bl_real_type(type);
    const bool packed = l->storage == BL_PACKED;
    for (int64_t j = 0; j < (packed ? l->n : 1); j++) {
        const bl_matrix d = packed ? bl_diagonal_number(l, dA, j, s->call->size) : bl_diagonal(s, l, dA, NULL);
        const bl_matrix imaginary = bl_imaginary_part(type, d);
        if (kept)
            move_reals(s, packed ? 1 : l->n, (bl_matrix){pointer(*kept, j, s->call->width), 1}, imaginary);
        else
            bl_vscal(&s->path, real, packed ? 1 : l->n, 'N', BL_ZERO, imaginary);
    }
}

static void syr_like_tangent(const bl_site *s, bool pair)
{
    const bl_call *c = s->call;
    const bl_linear l = read_triangle(c, pair);
    const bl_matrix dA = bl_shadow(s, pair ? SYR2_A : SYR_A);
    const int type = c->type, real = bl_real_type(type);
    if (l.n == 0 || !dA.at)
        return;
    const bl_scalar given = bl_given(s, LEVEL2_ALPHA);
    const bl_path scaled = times(s, given);
    const bool to_x = s->shadow[SYR2_X] && !bl_always_zero(given),
               to_y = pair && s->shadow[SYR2_Y] && !bl_always_zero(given);
    const bool clears = l.hermitian && clears_diagonal(c);
    if (to_x || to_y || s->scalar_shadow[LEVEL2_ALPHA]) {
        char *cell = s->work, *kept_at = cell + bl_room(1, c->size), *one = kept_at + bl_room(l.n, c->size),
             *other = one + bl_room(l.n, c->size), *second = other + bl_room(l.n, c->size);
        const bl_matrix kept = {kept_at, 1};
        if (l.hermitian && !clears)
            move_reals(s, l.n, bl_imaginary_part(type, bl_diagonal(s, &l, dA, one)), kept);
        const bl_scalar alpha = to_x || to_y ? widened(s, pair ? type : real, given, cell) : given;
        const bl_matrix x = factor_of(s, &l, bl_values(s, SYR2_X), one);
        const bl_matrix y = pair ? factor_of(s, &l, bl_values(s, SYR2_Y), second) : x;
        if (to_x)
            bl_add_rank2(&scaled, type, &l, alpha, factor_of(s, &l, bl_shadow(s, SYR2_X), other), y, dA);
        if (to_y)
            bl_add_rank2(&scaled, type, &l, alpha, x, factor_of(s, &l, bl_shadow(s, SYR2_Y), other), dA);
        if (s->scalar_shadow[LEVEL2_ALPHA] && pair)
            bl_add_rank2(&s->path, type, &l, bl_scalar_shadow(s, LEVEL2_ALPHA), x, y, dA);
        else if (s->scalar_shadow[LEVEL2_ALPHA])
            add_square(s, &l, bl_scalar_shadow(s, LEVEL2_ALPHA), x, dA);
        if (l.hermitian && !clears)
            set_imaginary(s, &l, dA, &kept);
    }
    if (clears)
        set_imaginary(s, &l, dA, NULL);
}

/* While G is S, its diagonal counts twice. */
static void syr_products(const bl_site *s, const bl_linear *l, bl_matrix G, bool to_x, char *work)
{
    const int type = s->call->type;
    const bl_matrix sum = {work, 1};
    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    char *cell = work + bl_room(1, s->call->size), *room = cell + bl_room(1, s->call->size);
    const bl_scalar given = bl_given(s, LEVEL2_ALPHA),
                    alpha = to_x ? widened(s, bl_real_type(type), given, cell) : given;
    if (dalpha)
        bl_vscal(&s->path, type, 1, 'N', BL_ZERO, sum);
    bl_add_product(s, l, G, bl_values(s, SYR_X), alpha, SYR_X, false, dalpha ? sum.at : NULL, room);
    if (dalpha)
        bl_vaxpby(&s->path, bl_real_type(type), 1, 'N', half, 'N', sum, 'N', BL_ONE, (bl_matrix){dalpha, 1});
}

static void syr2_products(const bl_site *s, const bl_linear *l, bl_matrix G, bool products, char *work)
{
    const bl_matrix x = bl_values(s, SYR2_X), y = bl_values(s, SYR2_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA),
                    turned = products ? conjugated(s, s->call->type, alpha, work) : alpha;
    const bool r = l->op == 'r'; /* of what X and Y get, the conjugate */
    work += bl_room(1, s->call->size);
    bl_add_product(s, l, G, y, r ? alpha : turned, SYR2_X, r, s->scalar_shadow[LEVEL2_ALPHA], work);
    bl_add_product(s, l, G, x, r ? turned : alpha, SYR2_Y, false, NULL, work);
}

static void syr_like_adjoint(const bl_site *s, bool pair)
{
    const bl_call *c = s->call;
    const bl_linear l = read_triangle(c, pair);
    const bl_matrix G = bl_shadow(s, pair ? SYR2_A : SYR_A), kept = {s->work, 1};
    const int real = bl_real_type(c->type);
    if (l.n == 0 || !G.at)
        return;
    const bool products =
        !bl_always_zero(bl_given(s, LEVEL2_ALPHA)) && (s->shadow[SYR2_X] || (pair && s->shadow[SYR2_Y]));
    if (products || s->scalar_shadow[LEVEL2_ALPHA]) {
        char *own = s->work + bl_room(l.n, c->size), *work = own + bl_room(l.n, c->size);
        const bl_matrix d = bl_diagonal(s, &l, G, own), real_part = bl_real_part(c->type, d);
        move_reals(s, l.n, real_part, kept);
        bl_vscal(&s->path, real, l.n, 'N', two, real_part);
        bl_put_diagonal(s, &l, d, G);
        if (pair)
            syr2_products(s, &l, G, products, work);
        else
            syr_products(s, &l, G, products, work);
        move_reals(s, l.n, kept, real_part);
        bl_put_diagonal(s, &l, d, G);
    }
    if (l.hermitian && clears_diagonal(c))
        set_imaginary(s, &l, G, NULL);
}

#define LIKE_SYR(name, pair)                                                                                           \
    void bl_##name##_tangent(const bl_site *s) { syr_like_tangent(s, pair); }                                          \
    void bl_##name##_adjoint(const bl_site *s) { syr_like_adjoint(s, pair); }
LIKE_SYR(syr, false)
LIKE_SYR(spr, false)
LIKE_SYR(her, false)
LIKE_SYR(hpr, false)
LIKE_SYR(syr2, true)
LIKE_SYR(spr2, true)
LIKE_SYR(her2, true)
LIKE_SYR(hpr2, true)
