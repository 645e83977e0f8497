/* Level 3, symmetric: symm, syrk, syr2k. Complex matrices are symmetric too, not Hermitian, and stored as one triangle.
 * <x, y> = Re sum conj(x) y (semantics 3), G is the shadow of C.
 *
 *   symm      C = alpha A B + beta C_old, or alpha B A for side R
 *   tangent   dC <- beta dC + alpha (dA B + A dB) + dalpha A B + dbeta C_old
 *   adjoint   dB += conj(alpha) conj(A) G              dalpha += sum conj(B) (conj(A) G)
 *             dA += conj(alpha) (S + S^T), with half of its diagonal, S = G B^H
 *             (for side R: dB from G conj(A), S = B^H G)
 *
 *   syrk      C = alpha A A^T + beta C_old, or alpha A^T A for trans T; a triangle
 *   tangent   dC <- beta dC + alpha (dA A^T + A dA^T) + dalpha A A^T + dbeta C_old
 *   adjoint   dA += conj(alpha) S conj(A)              dalpha += 1/2 sum conj(A) (S conj(A))
 *             S is symmetric: a stored off-diagonal number of G is the shadow of two products, and one on the diagonal
 *             counts twice (for trans T: conj(A) S)
 *
 *   syr2k     C = alpha (A B^T + B A^T) + beta C_old, or alpha (A^T B + B^T A) for trans T; a triangle
 *   tangent   dC <- beta dC + alpha (dA B^T + B dA^T + A dB^T + dB A^T) + dalpha (A B^T + B A^T) + dbeta C_old
 *   adjoint   dA += conj(alpha) S conj(B)              dalpha += sum conj(A) (S conj(B))
 *             dB += conj(alpha) S conj(A)
 *
 *   all       dbeta += sum conj(C_old) G               G <- conj(beta) G
 */
#include "rules_level3.h"

static const bl_scalar half = {{0.5, 0}, NULL}, two = {{2, 0}, NULL};

/* ---- symm */

static void symm_product(const bl_path *to, const bl_call *c, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                         bl_matrix out)
{
    const symm q = read_symm(c);
    bl_symm(to, q.type, q.side, q.uplo, q.m, q.n, alpha, a, b, beta, out);
}

void bl_symm_tangent(const bl_site *s)
{
    const symm q = read_symm(s->call);
    if (q.m > 0 && q.n > 0)
        update_tangent(s, (update){symm_product, C, 'A', q.m, q.n, true});
}

/* What goes to B and alpha. Of a triangle there is no conjugate: conj(A) G is conj(A conj(G)). */
static void symm_to_b(const bl_site *s, bool to_b)
{
    const bl_call *c = s->call;
    const bl_path *to = &s->path;
    const symm q = read_symm(c);
    const bool z = bl_is_complex(q.type);
    const bl_scalar alpha = bl_given(s, ALPHA);
    const bl_path scaled = times(s, alpha);
    const bl_matrix a = bl_values(s, A), G = bl_shadow(s, C), dB = bl_shadow(s, B);
    const bl_matrix one = bl_work_matrix(s->work, q.m),
                    other = bl_work_matrix(s->work + bl_room(q.m * q.n, c->size), q.m);
    if (z)
        bl_mconj(to, q.type, q.m, q.n, G, other);
    const bl_matrix g = z ? other : G;
    if (!s->scalar_shadow[ALPHA]) {
        if (z)
            bl_mconj(to, q.type, q.m, q.n, dB, one);
        symm_product(&scaled, c, alpha, a, g, BL_ONE, z ? one : dB);
        if (z)
            bl_mconj(to, q.type, q.m, q.n, one, dB);
        return;
    }
    symm_product(to, c, BL_ONE, a, g, BL_ZERO, one);
    if (z)
        bl_mconj(to, q.type, q.m, q.n, one, other);
    const bl_matrix product = z ? other : one;
    bl_mdot(to, q.type, q.m, q.n, bl_values(s, B), product, false, s->scalar_shadow[ALPHA]);
    if (to_b)
        bl_maxpby(&scaled, q.type, q.m, q.n, 'C', alpha, product, 'N', BL_ONE, dB);
}

static void symm_to_a(const bl_site *s)
{
    const symm q = read_symm(s->call);
    const int64_t size = s->call->size;
    const bl_scalar alpha = bl_given(s, ALPHA);
    const bl_path scaled = times(s, alpha);
    const bool left = q.side == 'L';
    const bl_matrix G = bl_shadow(s, C);
    bl_matrix b = bl_values(s, B);
    char *cell = s->work + leaf_room(q.order, size);
    if (bl_is_complex(q.type)) {
        const bl_matrix copy = bl_work_matrix(cell + bl_room(1, size), q.m);
        bl_mconj(&s->path, q.type, q.m, q.n, b, copy);
        b = copy;
    }
    const bl_triangular_product p = {
        .made = &s->path,
        .scaled = &scaled,
        .type = q.type,
        .uplo = q.uplo,
        .diag = 'N',
        .op_x = left ? 'N' : 'T',
        .op_y = left ? 'T' : 'N',
        .conjalpha = 'C',
        .symmetric = true,
        .inner = left ? q.n : q.m,
        .size = size,
        .alpha = alpha,
        .factor = conjugated(s, q.type, alpha, cell),
        .x = left ? G : b,
        .y = left ? b : G,
        .out = bl_shadow(s, A),
        .work = s->work,
    };
    bl_add_triangle(&p, q.order);
}

void bl_symm_adjoint(const bl_site *s)
{
    const symm q = read_symm(s->call);
    const bl_matrix G = bl_shadow(s, C);
    const bl_scalar beta = bl_given(s, BETA);
    const bool products = !bl_always_zero(bl_given(s, ALPHA)), to_b = products && s->shadow[B];
    if (q.m == 0 || q.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_mdot(&s->path, q.type, q.m, q.n, bl_values(s, C), G, false, s->scalar_shadow[BETA]);
    if (to_b || s->scalar_shadow[ALPHA])
        symm_to_b(s, to_b);
    if (products && s->shadow[A])
        symm_to_a(s);
    if (!bl_always_one(beta))
        bl_mscal(&s->path, q.type, q.m, q.n, 'C', beta, G);
}

/* ---- syrk and syr2k */

static void syr2k_product(const bl_path *to, const bl_call *c, bl_scalar alpha, bl_matrix a, bl_matrix b,
                          bl_scalar beta, bl_matrix out)
{
    const rank q = read_rank(c);
    bl_syr2k(to, q.type, q.uplo, q.trans, q.n, q.k, alpha, a, b, beta, out);
}

static void syrk_product(const bl_path *to, const bl_call *c, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                         bl_matrix out)
{
    const rank q = read_rank(c);
    if (b.at)
        syr2k_product(to, c, alpha, a, b, beta, out);
    else
        bl_syrk(to, q.type, q.uplo, q.trans, q.n, q.k, alpha, a, beta, out);
}

void bl_syrk_tangent(const bl_site *s)
{
    const rank q = read_rank(s->call);
    if (q.n > 0)
        update_tangent(s, (update){syrk_product, RANK_C, q.uplo, q.n, q.n, q.k > 0});
}

void bl_syr2k_tangent(const bl_site *s)
{
    const rank q = read_rank(s->call);
    if (q.n > 0)
        update_tangent(s, (update){syr2k_product, C, q.uplo, q.n, q.n, q.k > 0});
}

/* out <- alpha S conj(X) + beta out; S is G with twice its diagonal */
static void times_s(const bl_site *s, const bl_path *way, const rank *q, bl_scalar alpha, bl_matrix G, bl_matrix x,
                    char *work, bl_scalar beta, bl_matrix out)
{
    if (bl_is_complex(q->type)) {
        const bl_matrix copy = bl_work_matrix(work, q->rows);
        bl_mconj(&s->path, q->type, q->rows, q->cols, x, copy);
        x = copy;
    }
    bl_symm(way, q->type, q->trans == 'N' ? 'L' : 'R', q->uplo, q->rows, q->cols, alpha, G, x, beta, out);
}

static void rank_products(const bl_site *s, const rank *q, int out, bool products)
{
    const bl_path *to = &s->path;
    const int64_t size = s->call->size;
    const bool square = out == B; /* syrk: there is no operand B */
    const bool to_a = products && s->shadow[A], to_b = products && !square && s->shadow[B];
    const bl_matrix G = bl_shadow(s, out), a = bl_values(s, A), b = square ? a : bl_values(s, B);
    const bl_scalar alpha = bl_given(s, ALPHA);
    const bl_path scaled = times(s, alpha);
    void *dalpha = s->scalar_shadow[ALPHA];
    if (!to_a && !to_b && !dalpha)
        return;

    const bl_matrix kept = {s->work, 1}, cell = {s->work + bl_room(q->n, size), 1};
    char *turned = (char *)cell.at + bl_room(1, size), *work = turned + bl_room(1, size);
    const bl_scalar factor = to_a || to_b ? conjugated(s, q->type, alpha, turned) : alpha;
    bl_mcopy(to, q->type, 1, q->n, diagonal_of(G), kept);
    bl_mscal(to, q->type, 1, q->n, 'N', two, diagonal_of(G));
    if (to_b)
        times_s(s, &scaled, q, factor, G, a, work, BL_ONE, bl_shadow(s, B));
    if (dalpha) {
        const bl_matrix product = bl_work_matrix(work, q->rows);
        times_s(s, to, q, BL_ONE, G, b, work + bl_room(q->rows * q->cols, size), BL_ZERO, product);
        if (square) {
            bl_mscal(to, q->type, 1, 1, 'N', BL_ZERO, cell);
            bl_mdot(to, q->type, q->rows, q->cols, a, product, false, cell.at);
            bl_maxpby(to, q->type, 1, 1, 'N', half, cell, 'N', BL_ONE, (bl_matrix){dalpha, 1});
        } else {
            bl_mdot(to, q->type, q->rows, q->cols, a, product, false, dalpha);
        }
        if (to_a)
            bl_maxpby(&scaled, q->type, q->rows, q->cols, 'C', alpha, product, 'N', BL_ONE, bl_shadow(s, A));
    } else if (to_a) {
        times_s(s, &scaled, q, factor, G, b, work, BL_ONE, bl_shadow(s, A));
    }
    bl_mcopy(to, q->type, 1, q->n, kept, diagonal_of(G));
}

static void rank_adjoint(const bl_site *s, int out)
{
    const rank q = read_rank(s->call);
    const bl_matrix G = bl_shadow(s, out);
    const bl_scalar beta = bl_given(s, BETA);
    if (q.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_tdot(&s->path, q.type, q.uplo, q.n, q.n, bl_values(s, out), G, false, s->scalar_shadow[BETA]);
    if (q.k > 0)
        rank_products(s, &q, out, !bl_always_zero(bl_given(s, ALPHA)));
    if (!bl_always_one(beta))
        bl_tscal(&s->path, q.type, q.uplo, q.n, q.n, 'C', beta, G);
}

void bl_syrk_adjoint(const bl_site *s) { rank_adjoint(s, RANK_C); }
void bl_syr2k_adjoint(const bl_site *s) { rank_adjoint(s, C); }
