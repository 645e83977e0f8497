/* Level 3, triangular: trmm. <x, y> = Re sum conj(x) y (semantics 3), G is the shadow of B.
 *
 *   trmm      B = alpha op(A) B_old, or alpha B_old op(A) for side R
 *   tangent   dB <- alpha op(A) dB + alpha op(dA) B_old + dalpha op(A) B_old
 *   adjoint   dop(A) += conj(alpha) G B_old^H, of the stored triangle (for side R: conj(alpha) B_old^H G)
 *             G <- op(A)^H G                             (for side R: G op(A)^H)
 *             dalpha += sum conj(B_old) G                G <- conj(alpha) G
 *
 * The diagonal of a unit triangle is no variable: its dA is the triangle of one order less beside it.
 */
#include "rules_level3.h"

static void product_by_triangle(const bl_path *to, const trmm *q, bl_scalar alpha, bl_matrix a, bl_matrix b)
{
    bl_trmm(to, q->type, q->side, q->uplo, q->trans, q->diag, q->m, q->n, alpha, a, b);
}

/* An alpha of 0 that a layer below may have active is a factor of its own, since trmm by 0 leaves nothing of op(A) B.
 */
static bool is_apart(bl_scalar alpha) { return alpha.address && bl_is_zero(alpha.value); }

/* dB += alpha op(dA) B_old */
static void add_tangent_of_triangle(const bl_site *s, const trmm *q, bl_scalar alpha)
{
    const int64_t size = s->call->size;
    const bool left = q->side == 'L', unit = q->diag == 'U', upper = (q->uplo == 'U') == (q->trans == 'N');
    const bl_path scaled = times(s, alpha);
    bl_matrix dA = bl_shadow(s, A), from = bl_values(s, B), into = bl_shadow(s, B);
    trmm part = *q;
    if (unit) { /* op(dA) shifts */
        bl_matrix *later = left == upper ? &from : &into;
        later->at = (char *)later->at + (left ? 1 : later->ld) * size;
        dA = beside_diagonal(dA, q->uplo, size);
        *(left ? &part.m : &part.n) -= 1;
        part.diag = 'N';
    }
    const bl_matrix product = bl_work_matrix(s->work, part.m);
    bl_mcopy(&s->path, q->type, part.m, part.n, from, product);
    product_by_triangle(&s->path, &part, BL_ONE, dA, product);
    bl_maxpby(&scaled, q->type, part.m, part.n, 'N', alpha, product, 'N', BL_ONE, into);
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
        if (s->shadow[A])
            add_tangent_of_triangle(s, &q, alpha);
    }
    if (s->scalar_shadow[ALPHA]) {
        const bl_matrix product = bl_work_matrix(s->work, q.m);
        bl_mcopy(to, q.type, q.m, q.n, bl_values(s, B), product);
        product_by_triangle(to, &q, BL_ONE, a, product);
        bl_maxpby(to, q.type, q.m, q.n, 'N', bl_scalar_shadow(s, ALPHA), product, 'N', BL_ONE, dB);
    }
}

/* ---- the adjoint */

/* What op(A) = X op(Y) means for A itself: transposed for T, conjugated too for C. */
static void trmm_to_a(const bl_site *s, const trmm *q, bl_scalar alpha, bl_scalar turned, char *work)
{
    const bool left = q->side == 'L', z = bl_is_complex(q->type), transposed = q->trans != 'N';
    const bl_matrix G = bl_shadow(s, B);
    const bl_path scaled = times(s, alpha);
    bl_matrix b = bl_values(s, B);
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
        .alpha = alpha,
        .factor = q->trans == 'C' ? alpha : turned,
        .x = g_first ? G : b,
        .y = g_first ? b : G,
        .out = bl_shadow(s, A),
        .work = leaf,
    };
    bl_add_triangle(&p, q->order);
}

/* G <- factor op(A)^H G, where `turned` is the conjugate of alpha. Of a triangle there is no conjugate: conj(A) G is
 * conj(A conj(G)). */
static void trmm_to_b(const bl_site *s, const trmm *q, bl_scalar alpha, bl_scalar turned, char *work)
{
    const bool z = bl_is_complex(q->type);
    const bl_matrix G = bl_shadow(s, B), a = bl_values(s, A);
    trmm adjoint = *q;
    adjoint.trans = q->trans == 'N' ? (z ? 'C' : 'T') : 'N';
    if (z && q->trans == 'T') {
        const bl_matrix conj = bl_work_matrix(work, q->m);
        bl_mconj(&s->path, q->type, q->m, q->n, G, conj);
        product_by_triangle(&s->path, &adjoint, alpha, a, conj);
        bl_mconj(&s->path, q->type, q->m, q->n, conj, G);
    } else {
        product_by_triangle(&s->path, &adjoint, turned, a, G);
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
        trmm_to_a(s, &q, alpha, turned, work);
    if (!dalpha && (bl_always_zero(alpha) || !(s->active & BL_OPERAND(B)))) {
        bl_mscal(to, q.type, q.m, q.n, 'N', BL_ZERO, G);
    } else if (!dalpha && !is_apart(alpha)) {
        trmm_to_b(s, &q, alpha, turned, work);
    } else {
        trmm_to_b(s, &q, BL_ONE, BL_ONE, work);
        if (dalpha)
            bl_mdot(to, q.type, q.m, q.n, bl_values(s, B), G, false, dalpha);
        bl_mscal(to, q.type, q.m, q.n, 'C', alpha, G);
    }
}
