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
#include "rules_level3.h"

/* X with `op` as BLAS can take it: for 'R' conj(X), made in `work`. */
static bl_matrix with_op(const bl_site *s, int type, char *op, int64_t rows, int64_t cols, bl_matrix x, char *work)
{
    if (!bl_is_complex(type)) {
        *op = *op == 'R' ? 'N' : *op == 'C' ? 'T' : *op;
        return x;
    }
    if (*op != 'R')
        return x;
    const bl_matrix copy = bl_work_matrix(work, rows);
    bl_mconj(&s->path, type, rows, cols, x, copy);
    *op = 'N';
    return copy;
}

static void gemm_product(const bl_path *to, const bl_site *s, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                         bl_matrix out)
{
    const gemm g = read_gemm(s->call);
    bl_gemm(to, g.type, g.ta, g.tb, g.m, g.n, g.k, alpha, a, b, beta, out);
}

void bl_gemm_tangent(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    if (g.m > 0 && g.n > 0)
        update_tangent(s, (update){gemm_product, C, 'A', g.m, g.n, g.k > 0, false});
}

void bl_gemm_adjoint(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = bl_values(s, A), b = bl_values(s, B), G = bl_shadow(s, C);
    const bl_scalar alpha = bl_given(s, ALPHA), beta = bl_given(s, BETA);
    if (g.m == 0 || g.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_mdot(to, g.type, g.m, g.n, bl_values(s, C), G, false, s->scalar_shadow[BETA]);

    const int64_t rows_a = g.ta == 'N' ? g.m : g.k, cols_a = g.ta == 'N' ? g.k : g.m;
    const int64_t rows_b = g.tb == 'N' ? g.k : g.n, cols_b = g.tb == 'N' ? g.n : g.k;
    const bool products = g.k > 0 && !bl_always_zero(alpha), to_a = products && s->shadow[A],
               to_b = products && s->shadow[B];
    void *dalpha = g.k > 0 ? s->scalar_shadow[ALPHA] : NULL;
    const bl_path scaled = times(s, alpha);
    char *work = s->work;
    bl_scalar turned = alpha;
    if (to_a || to_b) {
        turned = conjugated(s, g.type, alpha, work);
        work += bl_is_complex(g.type) ? bl_room(1, s->call->size) : 0;
    }
    if (dalpha || to_a) {
        /* dA: the product, scaled, is added to the shadow; with alpha active it is made unscaled first, since
         * dalpha = sum conj(op(A) op(B)) G = sum conj(op(A)) (G op(B)^H) */
        char op = partner_op(g.ta, g.tb), *room = work;
        const bl_matrix dA = bl_shadow(s, A);
        bl_matrix product = dA;
        bl_path way = scaled;
        bl_scalar factor = g.ta == 'C' ? alpha : turned, keep = BL_ONE;
        if (dalpha) {
            product = bl_work_matrix(room, rows_a);
            room += bl_room(g.m * g.k, s->call->size);
            way = *to;
            factor = BL_ONE;
            keep = BL_ZERO;
        }
        const bl_matrix x = with_op(s, g.type, &op, rows_b, cols_b, b, room);
        if (g.ta == 'N')
            bl_gemm(&way, g.type, 'N', op, g.m, g.k, g.n, factor, G, x, keep, product);
        else
            bl_gemm(&way, g.type, op, g.ta, g.k, g.m, g.n, factor, x, G, keep, product);
        if (dalpha) {
            bl_mdot(to, g.type, rows_a, cols_a, a, product, g.ta == 'C', dalpha);
            if (to_a)
                bl_maxpby(&scaled, g.type, rows_a, cols_a, g.ta == 'C' ? 'N' : 'C', alpha, product, 'N', BL_ONE, dA);
        }
    }
    if (to_b) {
        char op = partner_op(g.tb, g.ta);
        const bl_scalar factor = g.tb == 'C' ? alpha : turned;
        const bl_matrix x = with_op(s, g.type, &op, rows_a, cols_a, a, work);
        if (g.tb == 'N')
            bl_gemm(&scaled, g.type, op, 'N', g.k, g.n, g.m, factor, x, G, BL_ONE, bl_shadow(s, B));
        else
            bl_gemm(&scaled, g.type, g.tb, op, g.n, g.k, g.m, factor, G, x, BL_ONE, bl_shadow(s, B));
    }
    if (!bl_always_one(beta))
        bl_mscal(to, g.type, g.m, g.n, 'C', beta, G);
}
