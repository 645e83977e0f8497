/* The kernels, which are what rules do to numbers beside BLAS calls. Each is at most bilinear; with G the shadow of C,
 * g that of the cell, op the identity or, for flag 'C', the conjugate, and <x, y> = Re sum conj(x) y (semantics 3):
 *
 *   mscal     C = op(beta) C_old
 *   maxpby    C = op(alpha) A + op(beta) C_old
 *   tangent   dC <- op(beta) dC + op(alpha) dA + op(dalpha) A + op(dbeta) C_old
 *   adjoint   dalpha += op(sum conj(A) G)    dbeta += op(sum conj(C_old) G)
 *             dA += conj(op(alpha)) G        G <- conj(op(beta)) G
 *
 *   mconj     C = conj(A)                    dC <- conj(dA)
 *   adjoint   dA += conj(G)                  G <- 0
 *
 *   mdot      c = c_old + op(sum conj(A) B)  dc <- dc + op(sum conj(dA) B) + op(sum conj(A) dB)
 *   adjoint   dA += conj(op(g)) B            dB += op(g) A
 *
 *   vaxpby and vdot are the same of vectors, whose increments may be 0 and negative; x is conjugated or not.
 *
 * A shadow has the form of its operand, so that of a triangle is one.
 */
#include "access_kernels.h"

static char conjugate(char flag) { return flag == 'C' ? 'N' : 'C'; }

void bl_mscal_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[1];
    const bl_scalar beta = bl_given(s, MSCAL_BETA);
    const bl_matrix dc = bl_shadow(s, MSCAL_C);
    const char op = c->flag[0];
    if (kernel_is_empty(c) || !dc.at)
        return;
    if (s->scalar_shadow[MSCAL_BETA])
        bl_taxpby(&s->path, c->type, uplo, m, n, op, bl_scalar_shadow(s, MSCAL_BETA), bl_values(s, MSCAL_C), op, beta,
                  dc);
    else if (!bl_always_one(beta))
        bl_tscal(&s->path, c->type, uplo, m, n, op, beta, dc);
}

void bl_mscal_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[1];
    const bl_scalar beta = bl_given(s, MSCAL_BETA);
    const bl_matrix G = bl_shadow(s, MSCAL_C);
    const char op = c->flag[0];
    if (kernel_is_empty(c) || !G.at)
        return;
    if (s->scalar_shadow[MSCAL_BETA])
        bl_tdot(&s->path, c->type, uplo, m, n, bl_values(s, MSCAL_C), G, op == 'C', s->scalar_shadow[MSCAL_BETA]);
    if (!bl_always_one(beta))
        bl_tscal(&s->path, c->type, uplo, m, n, conjugate(op), beta, G);
}

void bl_maxpby_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[2];
    const bl_matrix dc = bl_shadow(s, MAXPBY_C);
    const char op_alpha = c->flag[0], op_beta = c->flag[1];
    bl_scalar keep = bl_given(s, MAXPBY_BETA); /* what is still to be done to the old tangent */
    if (kernel_is_empty(c) || !dc.at)
        return;
    if (s->scalar_shadow[MAXPBY_BETA]) {
        bl_taxpby(&s->path, c->type, uplo, m, n, op_beta, bl_scalar_shadow(s, MAXPBY_BETA), bl_values(s, MAXPBY_C),
                  op_beta, keep, dc);
        keep = BL_ONE;
    }
    if (s->scalar_shadow[MAXPBY_ALPHA]) {
        bl_taxpby(&s->path, c->type, uplo, m, n, op_alpha, bl_scalar_shadow(s, MAXPBY_ALPHA), bl_values(s, MAXPBY_A),
                  op_beta, keep, dc);
        keep = BL_ONE;
    }
    if (s->shadow[MAXPBY_A])
        bl_taxpby(&s->path, c->type, uplo, m, n, op_alpha, bl_given(s, MAXPBY_ALPHA), bl_shadow(s, MAXPBY_A), op_beta,
                  keep, dc);
    else if (!bl_always_one(keep))
        bl_tscal(&s->path, c->type, uplo, m, n, op_beta, keep, dc);
}

void bl_maxpby_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[2];
    const bl_scalar alpha = bl_given(s, MAXPBY_ALPHA), beta = bl_given(s, MAXPBY_BETA);
    const bl_matrix G = bl_shadow(s, MAXPBY_C);
    const char op_alpha = c->flag[0], op_beta = c->flag[1];
    if (kernel_is_empty(c) || !G.at)
        return;
    if (s->scalar_shadow[MAXPBY_BETA])
        bl_tdot(&s->path, c->type, uplo, m, n, bl_values(s, MAXPBY_C), G, op_beta == 'C',
                s->scalar_shadow[MAXPBY_BETA]);
    if (s->scalar_shadow[MAXPBY_ALPHA])
        bl_tdot(&s->path, c->type, uplo, m, n, bl_values(s, MAXPBY_A), G, op_alpha == 'C',
                s->scalar_shadow[MAXPBY_ALPHA]);
    if (s->shadow[MAXPBY_A])
        bl_taxpby(&s->path, c->type, uplo, m, n, conjugate(op_alpha), alpha, G, 'N', BL_ONE, bl_shadow(s, MAXPBY_A));
    if (!bl_always_one(beta))
        bl_tscal(&s->path, c->type, uplo, m, n, conjugate(op_beta), beta, G);
}

void bl_mconj_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const bl_matrix dc = bl_shadow(s, MCONJ_C);
    if (kernel_is_empty(c) || !dc.at)
        return;
    if (s->shadow[MCONJ_A])
        bl_mconj(&s->path, c->type, m, n, bl_shadow(s, MCONJ_A), dc);
    else
        bl_mscal(&s->path, c->type, m, n, 'N', BL_ZERO, dc);
}

void bl_mconj_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const bl_matrix G = bl_shadow(s, MCONJ_C);
    if (kernel_is_empty(c) || !G.at)
        return;
    if (s->shadow[MCONJ_A]) {
        const bl_matrix turned = bl_work_matrix(s->work, m);
        bl_mconj(&s->path, c->type, m, n, G, turned);
        bl_madd(&s->path, c->type, m, n, turned, bl_shadow(s, MCONJ_A));
    }
    bl_mscal(&s->path, c->type, m, n, 'N', BL_ZERO, G);
}

void bl_mdot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[1];
    const bl_matrix a = bl_values(s, MDOT_A), b = bl_values(s, MDOT_B);
    void *dcell = s->shadow[MDOT_CELL];
    const bool conj = c->flag[0] == 'C';
    if (kernel_is_empty(c) || !dcell)
        return;
    if (s->shadow[MDOT_A])
        bl_tdot(&s->path, c->type, uplo, m, n, bl_shadow(s, MDOT_A), b, conj, dcell);
    if (s->shadow[MDOT_B])
        bl_tdot(&s->path, c->type, uplo, m, n, a, bl_shadow(s, MDOT_B), conj, dcell);
}

void bl_mdot_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const char uplo = c->flag[1];
    const bl_matrix a = bl_values(s, MDOT_A), b = bl_values(s, MDOT_B);
    const char op = c->flag[0];
    if (kernel_is_empty(c) || !s->shadow[MDOT_CELL])
        return;
    const bl_scalar g = bl_scalar_at(c->type, s->shadow[MDOT_CELL]);
    if (s->shadow[MDOT_A])
        bl_taxpby(&s->path, c->type, uplo, m, n, conjugate(op), g, b, 'N', BL_ONE, bl_shadow(s, MDOT_A));
    if (s->shadow[MDOT_B])
        bl_taxpby(&s->path, c->type, uplo, m, n, op, g, a, 'N', BL_ONE, bl_shadow(s, MDOT_B));
}

void bl_vaxpby_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const char op_alpha = c->flag[0], op_beta = c->flag[1], op_x = c->flag[2];
    const bl_matrix dy = bl_shadow(s, VAXPBY_Y);
    bl_scalar keep = bl_given(s, MAXPBY_BETA); /* what is still to be done to the old tangent */
    if (n == 0 || !dy.at)
        return;
    if (s->scalar_shadow[MAXPBY_BETA]) {
        bl_vaxpby(&s->path, c->type, n, op_beta, bl_scalar_shadow(s, MAXPBY_BETA), 'N', bl_values(s, VAXPBY_Y), op_beta,
                  keep, dy);
        keep = BL_ONE;
    }
    if (s->scalar_shadow[MAXPBY_ALPHA]) {
        bl_vaxpby(&s->path, c->type, n, op_alpha, bl_scalar_shadow(s, MAXPBY_ALPHA), op_x, bl_values(s, VAXPBY_X),
                  op_beta, keep, dy);
        keep = BL_ONE;
    }
    if (s->shadow[VAXPBY_X])
        bl_vaxpby(&s->path, c->type, n, op_alpha, bl_given(s, MAXPBY_ALPHA), op_x, bl_shadow(s, VAXPBY_X), op_beta,
                  keep, dy);
    else if (!bl_always_one(keep))
        bl_vscal(&s->path, c->type, n, op_beta, keep, dy);
}

void bl_vaxpby_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const char op_alpha = c->flag[0], op_beta = c->flag[1], op_x = c->flag[2];
    const bl_scalar alpha = bl_given(s, MAXPBY_ALPHA), beta = bl_given(s, MAXPBY_BETA);
    const bl_matrix G = bl_shadow(s, VAXPBY_Y);
    if (n == 0 || !G.at)
        return;
    if (s->scalar_shadow[MAXPBY_BETA])
        bl_vdot(&s->path, c->type, n, bl_values(s, VAXPBY_Y), G, op_beta == 'C', s->scalar_shadow[MAXPBY_BETA]);
    if (s->scalar_shadow[MAXPBY_ALPHA]) {
        bl_matrix x = bl_values(s, VAXPBY_X);
        if (op_x == 'C' && bl_is_complex(c->type)) {
            bl_vaxpby(&s->path, c->type, x.ld == 0 ? 1 : n, 'N', BL_ONE, 'C', x, 'N', BL_ZERO, (bl_matrix){s->work, 1});
            x = (bl_matrix){s->work, x.ld != 0};
        }
        bl_vdot(&s->path, c->type, n, x, G, op_alpha == 'C', s->scalar_shadow[MAXPBY_ALPHA]);
    }
    if (s->shadow[VAXPBY_X]) /* conj(op(alpha)) G, or conjugated again */
        bl_vaxpby(&s->path, c->type, n, op_x == 'C' ? op_alpha : conjugate(op_alpha), alpha, op_x, G, 'N', BL_ONE,
                  bl_shadow(s, VAXPBY_X));
    if (!bl_always_one(beta))
        bl_vscal(&s->path, c->type, n, conjugate(op_beta), beta, G);
}

void bl_vdot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const bl_matrix x = bl_values(s, MDOT_A), y = bl_values(s, MDOT_B);
    void *dcell = s->shadow[MDOT_CELL];
    const bool conj = c->flag[0] == 'C';
    if (n == 0 || !dcell)
        return;
    if (s->shadow[MDOT_A])
        bl_vdot(&s->path, c->type, n, bl_shadow(s, MDOT_A), y, conj, dcell);
    if (s->shadow[MDOT_B])
        bl_vdot(&s->path, c->type, n, x, bl_shadow(s, MDOT_B), conj, dcell);
}

void bl_vdot_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const bl_matrix x = bl_values(s, MDOT_A), y = bl_values(s, MDOT_B);
    const char op = c->flag[0];
    if (n == 0 || !s->shadow[MDOT_CELL])
        return;
    const bl_scalar g = bl_scalar_at(c->type, s->shadow[MDOT_CELL]);
    if (s->shadow[MDOT_A])
        bl_vaxpby(&s->path, c->type, n, conjugate(op), g, 'N', y, 'N', BL_ONE, bl_shadow(s, MDOT_A));
    if (s->shadow[MDOT_B])
        bl_vaxpby(&s->path, c->type, n, op, g, 'N', x, 'N', BL_ONE, bl_shadow(s, MDOT_B));
}
