/* Level 3, triangular: trmm trsm. <x, y> = Re sum conj(x) y (semantics 3), G is the shadow of B.
 *
 *   trmm      B = alpha op(A) B_old, or alpha B_old op(A) for side R
 *   tangent   dB <- alpha op(A) dB + alpha op(dA) B_old + dalpha op(A) B_old
 *   adjoint   dop(A) += conj(alpha) G B_old^H, of the stored triangle (for side R: conj(alpha) B_old^H G)
 *             G <- op(A)^H G                             (for side R: G op(A)^H)
 *             dalpha += sum conj(B_old) G                G <- conj(alpha) G
 *
 *   trsm      op(A) B = alpha B_old, or B op(A) = alpha B_old for side R; Y is the B for an alpha of 1
 *   tangent   dB <- op(A)^-1 (alpha (dB - op(dA) Y) + dalpha B_old)
 *   adjoint   G <- op(A)^-H G                            (for side R: G op(A)^-H)
 *             dalpha += sum conj(B_old) G
 *             dop(A) -= G B^H, or conj(alpha) G Y^H, of the stored triangle (for side R: B^H G)
 *             G <- conj(alpha) G
 *
 * The derivative of an inverse is in Giles, Collected Matrix Derivative Results for Forward and Reverse Mode AD (2008).
 * The diagonal of a unit triangle is no variable: its dA is the triangle of one order less beside it.
 */
#include "rules_level3.h"

typedef void product(const bl_path *to, const trmm *q, bl_scalar alpha, bl_matrix a, bl_matrix b);

static void product_by_triangle(const bl_path *to, const trmm *q, bl_scalar alpha, bl_matrix a, bl_matrix b)
{
    bl_trmm(to, q->type, q->side, q->uplo, q->trans, q->diag, q->m, q->n, alpha, a, b);
}

static void product_by_inverse(const bl_path *to, const trmm *q, bl_scalar alpha, bl_matrix a, bl_matrix b)
{
    bl_trsm(to, q->type, q->side, q->uplo, q->trans, q->diag, q->m, q->n, alpha, a, b);
}

/* An alpha of 0 that a layer below may have active is a factor of its own, since by 0 nothing is left of the product.
 */
static bool is_apart(bl_scalar alpha) { return alpha.address && bl_is_zero(alpha.value); }

/* dB += factor op(dA) from */
static void add_tangent_of_triangle(const bl_site *s, const trmm *q, const bl_path *to, bl_scalar factor,
                                    bl_matrix from, char *work)
{
    const int64_t size = s->call->size;
    const bool left = q->side == 'L', unit = q->diag == 'U', upper = (q->uplo == 'U') == (q->trans == 'N');
    bl_matrix dA = bl_shadow(s, A), into = bl_shadow(s, B);
    trmm part = *q;
    if (unit) { /* op(dA) shifts */
        bl_matrix *later = left == upper ? &from : &into;
        later->at = (char *)later->at + (left ? 1 : later->ld) * size;
        dA = beside_diagonal(dA, q->uplo, size);
        *(left ? &part.m : &part.n) -= 1;
        part.diag = 'N';
    }
    const bl_matrix product = bl_work_matrix(work, part.m);
    bl_mcopy(&s->path, q->type, part.m, part.n, from, product);
    product_by_triangle(&s->path, &part, BL_ONE, dA, product);
    bl_maxpby(to, q->type, part.m, part.n, 'N', factor, product, 'N', BL_ONE, into);
}

void bl_trmm_tangent(const bl_site *s)
{
    const trmm q = read_trmm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = bl_values(s, A), dB = bl_shadow(s, B);
    const bl_scalar alpha = bl_given(s, ALPHA);
    if (q.m == 0 || q.n == 0 || !dB.at)
        return;
    if (bl_always_zero(alpha)) {
        bl_mscal(to, q.type, q.m, q.n, 'N', BL_ZERO, dB);
    } else {
        product_by_triangle(to, &q, is_apart(alpha) ? BL_ONE : alpha, a, dB);
        if (is_apart(alpha))
            bl_mscal(to, q.type, q.m, q.n, 'N', alpha, dB);
        const bl_path scaled = times(s, alpha);
        if (s->shadow[A])
            add_tangent_of_triangle(s, &q, &scaled, alpha, bl_values(s, B), s->work);
    }
    if (s->scalar_shadow[ALPHA]) {
        const bl_matrix product = bl_work_matrix(s->work, q.m);
        bl_mcopy(to, q.type, q.m, q.n, bl_values(s, B), product);
        product_by_triangle(to, &q, BL_ONE, a, product);
        bl_maxpby(to, q.type, q.m, q.n, 'N', bl_scalar_shadow(s, ALPHA), product, 'N', BL_ONE, dB);
    }
}

/* ---- the adjoint */

/* dop(A) += op(factor) G B^H, of the stored triangle (for side R: B^H G), on the way of products with alpha; that is
 * op(factor) for op(A) = A^H. What it means for A itself: transposed for T, conjugated too for C. */
static void add_to_triangle(const bl_site *s, const trmm *q, bl_scalar factor, bl_scalar turned, bl_matrix b,
                            char *work)
{
    const bool left = q->side == 'L', z = bl_is_complex(q->type), transposed = q->trans != 'N';
    const bl_matrix G = bl_shadow(s, B);
    const bl_path scaled = times(s, bl_given(s, ALPHA));
    char *leaf = work + bl_room(q->m * q->n, s->call->size);
    if (z && q->trans == 'T') {
        const bl_matrix copy = bl_work_matrix(work, q->m);
        bl_mconj(&s->path, q->type, q->m, q->n, b, copy);
        b = copy;
    }
    const char turn = z && q->trans != 'T' ? 'C' : 'T';
    const bool g_first = left != transposed;
    const bl_triangular_product p = {
        .made = &s->path,
        .scaled = &scaled,
        .type = q->type,
        .uplo = q->uplo,
        .diag = q->diag,
        .op_x = left ? 'N' : turn,
        .op_y = left ? turn : 'N',
        .conjalpha = q->trans == 'C' ? 'N' : 'C',
        .inner = left ? q->n : q->m,
        .size = s->call->size,
        .alpha = factor,
        .factor = q->trans == 'C' ? factor : turned,
        .x = g_first ? G : b,
        .y = g_first ? b : G,
        .out = bl_shadow(s, A),
        .work = leaf,
    };
    bl_add_triangle(&p, q->order);
}

/* G <- turned op(A)^H G or the same of an inverse, where `turned` is the conjugate of alpha. Of a triangle there is no
 * conjugate: conj(A) G is conj(A conj(G)). */
static void turn_back(const bl_site *s, const trmm *q, product *by, bl_scalar alpha, bl_scalar turned, char *work)
{
    const bool z = bl_is_complex(q->type);
    const bl_matrix G = bl_shadow(s, B), a = bl_values(s, A);
    trmm adjoint = *q;
    adjoint.trans = q->trans == 'N' ? (z ? 'C' : 'T') : 'N';
    if (z && q->trans == 'T') {
        const bl_matrix conj = bl_work_matrix(work, q->m);
        bl_mconj(&s->path, q->type, q->m, q->n, G, conj);
        by(&s->path, &adjoint, alpha, a, conj);
        bl_mconj(&s->path, q->type, q->m, q->n, conj, G);
    } else {
        by(&s->path, &adjoint, turned, a, G);
    }
}

void bl_trmm_adjoint(const bl_site *s)
{
    const trmm q = read_trmm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix G = bl_shadow(s, B);
    const bl_scalar alpha = bl_given(s, ALPHA);
    void *dalpha = s->scalar_shadow[ALPHA];
    if (q.m == 0 || q.n == 0 || !G.at)
        return;
    char *work = s->work + bl_room(1, s->call->size);
    const bl_scalar turned = conjugated(s, q.type, alpha, s->work);
    if (s->shadow[A] && !bl_always_zero(alpha))
        add_to_triangle(s, &q, alpha, turned, bl_values(s, B), work);
    if (!dalpha && (bl_always_zero(alpha) || !(s->active & BL_OPERAND(B)))) {
        bl_mscal(to, q.type, q.m, q.n, 'N', BL_ZERO, G);
    } else if (!dalpha && !is_apart(alpha)) {
        turn_back(s, &q, product_by_triangle, alpha, turned, work);
    } else {
        turn_back(s, &q, product_by_triangle, BL_ONE, BL_ONE, work);
        if (dalpha)
            bl_mdot(to, q.type, q.m, q.n, bl_values(s, B), G, false, dalpha);
        bl_mscal(to, q.type, q.m, q.n, 'C', alpha, G);
    }
}

/* ---- trsm */

static const bl_scalar minus_one = {{-1, 0}, NULL};

void bl_trsm_tangent(const bl_site *s)
{
    const trmm q = read_trmm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = bl_values(s, A), b = bl_values(s, B), dB = bl_shadow(s, B);
    const bl_scalar alpha = bl_given(s, ALPHA);
    if (q.m == 0 || q.n == 0 || !dB.at)
        return;
    if (s->shadow[A] && !bl_always_zero(alpha)) {
        const bl_matrix y = bl_work_matrix(s->work, q.m);
        bl_mcopy(to, q.type, q.m, q.n, b, y);
        product_by_inverse(to, &q, BL_ONE, a, y);
        add_tangent_of_triangle(s, &q, to, minus_one, y, s->work + bl_room(q.m * q.n, s->call->size));
    }
    if (!bl_always_one(alpha))
        bl_mscal(to, q.type, q.m, q.n, 'N', alpha, dB);
    if (s->scalar_shadow[ALPHA])
        bl_maxpby(to, q.type, q.m, q.n, 'N', bl_scalar_shadow(s, ALPHA), b, 'N', BL_ONE, dB);
    if (!bl_always_zero(alpha) || s->scalar_shadow[ALPHA])
        product_by_inverse(to, &q, BL_ONE, a, dB);
}

void bl_trsm_adjoint(const bl_site *s)
{
    const trmm q = read_trmm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix G = bl_shadow(s, B), b = bl_values(s, B);
    const bl_scalar alpha = bl_given(s, ALPHA);
    void *dalpha = s->scalar_shadow[ALPHA];
    if (q.m == 0 || q.n == 0 || !G.at)
        return;
    if (bl_always_zero(alpha) && !dalpha) {
        bl_mscal(to, q.type, q.m, q.n, 'N', BL_ZERO, G);
        return;
    }
    const bool to_a = s->shadow[A] && !bl_always_zero(alpha), to_b = s->active & BL_OPERAND(B);
    const bl_matrix y = bl_work_matrix(s->work, q.m);
    char *work = s->work + bl_room(q.m * q.n, s->call->size);
    turn_back(s, &q, product_by_inverse, BL_ONE, BL_ONE, work);
    if (dalpha)
        bl_mdot(to, q.type, q.m, q.n, b, G, false, dalpha);
    if (to_a && !dalpha)
        add_to_triangle(s, &q, minus_one, minus_one, b, work);
    if (!bl_always_one(alpha) && (to_b || (to_a && dalpha)))
        bl_mscal(to, q.type, q.m, q.n, 'C', alpha, G);
    if (to_a && dalpha) {
        bl_mcopy(to, q.type, q.m, q.n, b, y);
        product_by_inverse(to, &q, BL_ONE, bl_values(s, A), y);
        add_to_triangle(s, &q, minus_one, minus_one, y, work);
    }
    if (!to_b)
        bl_mscal(to, q.type, q.m, q.n, 'N', BL_ZERO, G);
}
