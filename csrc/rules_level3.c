/* Level 3. Complex numbers are pairs of reals, <x, y> = Re sum conj(x) y (semantics 3), so with G the shadow of C
 *
 *   C = alpha op(A) op(B) + beta C_old
 *   tangent   dC <- beta dC + alpha (dop(A) op(B) + op(A) dop(B)) + dalpha op(A) op(B) + dbeta C_old
 *   adjoint   dop(A) += conj(alpha) G op(B)^H        dalpha += sum conj(op(A) op(B)) G
 *             dop(B) += conj(alpha) op(A)^H G        dbeta  += sum conj(C_old) G
 *             G <- conj(beta) G
 *
 * The real case: M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
 * differentiation", 2008, section 2.2; the complex one by reading each number as a pair.
 */
#include "access_level3.h"

/* X with `op` as BLAS can take it: for 'R' conj(X), made in `work`. */
static bl_matrix with_op(const bl_site *s, int type, char *op, int64_t rows, int64_t cols, bl_matrix x, char *work)
{
    if (!bl_is_complex(type)) {
        *op = *op == 'R' ? 'N' : *op == 'C' ? 'T' : *op;
        return x;
    }
    if (*op != 'R')
        return x;
    bl_matrix copy = {work, rows > 1 ? rows : 1};
    bl_mconj(&s->path, type, rows, cols, x, copy);
    *op = 'N';
    return copy;
}

static bl_matrix values(const bl_site *s, int i)
{
    return (bl_matrix){s->call->operand[i].base, s->call->operand[i].ld};
}
static bl_matrix shadow(const bl_site *s, int i) { return (bl_matrix){s->shadow[i], s->shadow_ld[i]}; }

void bl_gemm_tangent(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = values(s, A), b = values(s, B), dc = shadow(s, C);
    bl_complex beta = g.beta;
    if (g.m == 0 || g.n == 0 || !dc.at)
        return;
    if (s->scalar_shadow[BETA]) {
        bl_maxpby(to, g.type, g.m, g.n, bl_load(g.type, s->scalar_shadow[BETA]), values(s, C), beta, dc);
        beta = BL_ONE;
    }
    if (g.k > 0 && !bl_is_zero(g.alpha)) {
        if (s->shadow[A]) {
            bl_gemm(to, g.type, g.ta, g.tb, g.m, g.n, g.k, g.alpha, shadow(s, A), b, beta, dc);
            beta = BL_ONE;
        }
        if (s->shadow[B]) {
            bl_gemm(to, g.type, g.ta, g.tb, g.m, g.n, g.k, g.alpha, a, shadow(s, B), beta, dc);
            beta = BL_ONE;
        }
    }
    if (g.k > 0 && s->scalar_shadow[ALPHA]) {
        bl_gemm(to, g.type, g.ta, g.tb, g.m, g.n, g.k, bl_load(g.type, s->scalar_shadow[ALPHA]), a, b, beta, dc);
        beta = BL_ONE;
    }
    if (!bl_is_one(beta))
        bl_mscal(to, g.type, g.m, g.n, beta, dc);
}

void bl_gemm_adjoint(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = values(s, A), b = values(s, B), G = shadow(s, C);
    if (g.m == 0 || g.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_mdot(to, g.type, g.m, g.n, values(s, C), G, false, s->scalar_shadow[BETA]);

    const int64_t rows_a = g.ta == 'N' ? g.m : g.k, cols_a = g.ta == 'N' ? g.k : g.m;
    const int64_t rows_b = g.tb == 'N' ? g.k : g.n, cols_b = g.tb == 'N' ? g.n : g.k;
    bool zero = bl_is_zero(g.alpha);
    void *dalpha = g.k > 0 ? s->scalar_shadow[ALPHA] : NULL;
    if (g.k > 0 && (dalpha || (!zero && s->shadow[A]))) {
        /* dA: the product, scaled, is added to the shadow; with alpha active it is made unscaled first, since
         * dalpha = sum conj(op(A) op(B)) G = sum conj(op(A)) (G op(B)^H) */
        char *work = s->work, op = partner_op(g.ta, g.tb);
        bl_matrix dA = shadow(s, A), product = dA;
        bl_complex scale = g.ta == 'C' ? g.alpha : bl_conj(g.alpha), factor = scale, keep = BL_ONE;
        if (dalpha) {
            product = (bl_matrix){work, rows_a > 1 ? rows_a : 1};
            work += round_up((size_t)(g.m * g.k * bl_element_size(g.type)));
            factor = BL_ONE;
            keep = BL_ZERO;
        }
        const bl_matrix x = with_op(s, g.type, &op, rows_b, cols_b, b, work);
        if (g.ta == 'N')
            bl_gemm(to, g.type, 'N', op, g.m, g.k, g.n, factor, G, x, keep, product);
        else
            bl_gemm(to, g.type, op, g.ta, g.k, g.m, g.n, factor, x, G, keep, product);
        if (dalpha) {
            bl_mdot(to, g.type, rows_a, cols_a, a, product, g.ta == 'C', dalpha);
            if (dA.at && !zero)
                bl_maxpby(to, g.type, rows_a, cols_a, scale, product, BL_ONE, dA);
        }
    }
    if (g.k > 0 && !zero && s->shadow[B]) {
        char op = partner_op(g.tb, g.ta);
        bl_complex scale = g.tb == 'C' ? g.alpha : bl_conj(g.alpha);
        const bl_matrix x = with_op(s, g.type, &op, rows_a, cols_a, a, s->work);
        if (g.tb == 'N')
            bl_gemm(to, g.type, op, 'N', g.k, g.n, g.m, scale, x, G, BL_ONE, shadow(s, B));
        else
            bl_gemm(to, g.type, g.tb, op, g.n, g.k, g.m, scale, G, x, BL_ONE, shadow(s, B));
    }
    if (!bl_is_one(g.beta))
        bl_mscal(to, g.type, g.m, g.n, bl_conj(g.beta), G);
}
