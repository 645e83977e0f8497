/* Level 3, symmetric: symm, syrk, syr2k; and Hermitian: hemm, herk, her2k. One triangle is stored, which of a complex
 * matrix may stand for either. <x, y> = Re sum conj(x) y (semantics 3), G is the shadow of C, a' = conj(alpha).
 *
 *   symm      C = alpha A B + beta C_old, or alpha B A for side R
 *   tangent   dC <- beta dC + alpha (dA B + A dB) + dalpha A B + dbeta C_old
 *   adjoint   dB += a' conj(A) G                       dalpha += sum conj(B) (conj(A) G)
 *             dA += a' (S + S^T), with half of its diagonal, S = G B^H
 *             (for side R: dB from G conj(A), S = B^H G)
 *   hemm      the same, but A for conj(A) and a' S + alpha S^H; the imaginary diagonal of dA stays
 *
 *   syrk      C = alpha A A^T + beta C_old, or alpha A^T A for trans T; a triangle
 *   tangent   dC <- beta dC + alpha (dA A^T + A dA^T) + dalpha A A^T + dbeta C_old
 *   adjoint   dA += a' S conj(A)                       dalpha += 1/2 sum conj(A) (S conj(A))
 *             S is symmetric: a stored off-diagonal number of G is the shadow of two products, and one on the diagonal
 *             counts twice (for trans T: conj(A) S)
 *   herk      the same with A^H for A^T; alpha and beta are real
 *   adjoint   dA += alpha S A                          dalpha += 1/2 Re sum conj(A) (S A)
 *             S is Hermitian; of the diagonal of G its real part counts, twice (for trans C: A S)
 *
 *   syr2k     C = alpha (A B^T + B A^T) + beta C_old, or alpha (A^T B + B^T A) for trans T; a triangle
 *   tangent   dC <- beta dC + alpha (dA B^T + B dA^T + A dB^T + dB A^T) + dalpha (A B^T + B A^T) + dbeta C_old
 *   adjoint   dA += a' S conj(B)                       dalpha += sum conj(A) (S conj(B))
 *             dB += a' S conj(A)
 *   her2k     C = alpha A B^H + a' B A^H + beta C_old, or alpha A^H B + a' B^H A for trans C; beta is real
 *   adjoint   dA += a' S B       dB += alpha S A       dalpha += sum conj(A) (S B)
 *             for trans C dA += alpha B S, dB += a' A S, and dalpha gets the conjugate of its sum
 *
 *   all       dbeta += sum conj(C_old) G               G <- conj(beta) G
 *             herk, her2k: imaginary diagonals count for nothing; that of G <- 0
 */
#include "rules_level3.h"

static const bl_scalar half = {{0.5, 0}, NULL}, two = {{2, 0}, NULL};

static bl_matrix real_diagonal(int type, bl_matrix x) { return bl_real_part(type, diagonal_of(x)); }

/* ---- symm and hemm */

static void symm_product(const bl_path *to, const bl_site *s, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                         bl_matrix out)
{
    const symm q = read_symm(s->call);
    if (q.twin == 'C')
        bl_hemm(to, q.type, q.side, q.uplo, q.m, q.n, alpha, a, b, beta, out);
    else
        bl_symm(to, q.type, q.side, q.uplo, q.m, q.n, alpha, a, b, beta, out);
}

static void symm_like_tangent(const bl_site *s)
{
    const symm q = read_symm(s->call);
    if (q.m > 0 && q.n > 0)
        update_tangent(s, (update){symm_product, C, 'A', q.m, q.n, true, false});
}

/* What goes to B and alpha. Of a triangle there is no conjugate: conj(A) G is conj(A conj(G)). `turned` is conj(alpha).
 */
static void symm_to_b(const bl_site *s, bool to_b, bl_scalar turned, char *work)
{
    const bl_call *c = s->call;
    const bl_path *to = &s->path;
    const symm q = read_symm(c);
    const bool turns = bl_is_complex(q.type) && q.twin == 'T';
    const bl_scalar alpha = bl_given(s, ALPHA);
    const bl_path scaled = times(s, alpha);
    const bl_matrix a = bl_values(s, A), G = bl_shadow(s, C), dB = bl_shadow(s, B);
    const bl_matrix one = bl_work_matrix(work, q.m), other = bl_work_matrix(work + bl_room(q.m * q.n, c->size), q.m);
    if (turns)
        bl_mconj(to, q.type, q.m, q.n, G, other);
    const bl_matrix g = turns ? other : G;
    if (!s->scalar_shadow[ALPHA]) {
        if (turns)
            bl_mconj(to, q.type, q.m, q.n, dB, one);
        symm_product(&scaled, s, turns ? alpha : turned, a, g, BL_ONE, turns ? one : dB);
        if (turns)
            bl_mconj(to, q.type, q.m, q.n, one, dB);
        return;
    }
    symm_product(to, s, BL_ONE, a, g, BL_ZERO, one);
    if (turns)
        bl_mconj(to, q.type, q.m, q.n, one, other);
    const bl_matrix product = turns ? other : one;
    bl_mdot(to, q.type, q.m, q.n, bl_values(s, B), product, false, s->scalar_shadow[ALPHA]);
    if (to_b)
        bl_maxpby(&scaled, q.type, q.m, q.n, 'C', alpha, product, 'N', BL_ONE, dB);
}

/* The diagonal of dA is kept aside: it gets half of what the triangle does, and its imaginary part may stay. */
static void symm_to_a(const bl_site *s, bl_scalar turned, char *work)
{
    const symm q = read_symm(s->call);
    const int real = bl_real_type(q.type), diagonal = q.twin == 'C' ? real : q.type;
    const int64_t size = s->call->size;
    const bl_path *to = &s->path, scaled = times(s, bl_given(s, ALPHA));
    const bool left = q.side == 'L';
    const bl_matrix G = bl_shadow(s, C), dA = bl_shadow(s, A), kept = {work, 1};
    bl_matrix b = bl_values(s, B);
    if (bl_is_complex(q.type) && q.twin == 'T') {
        const bl_matrix copy = bl_work_matrix(work + bl_room(q.order, size), q.m);
        bl_mconj(to, q.type, q.m, q.n, b, copy);
        b = copy;
    }
    const bl_triangular_product p = {
        .made = to,
        .scaled = &scaled,
        .type = q.type,
        .uplo = q.uplo,
        .diag = 'N',
        .op_x = left ? 'N' : q.twin,
        .op_y = left ? q.twin : 'N',
        .conjalpha = 'C',
        .twin = q.twin,
        .inner = left ? q.n : q.m,
        .size = size,
        .alpha = bl_given(s, ALPHA),
        .factor = turned,
        .x = left ? G : b,
        .y = left ? b : G,
        .out = dA,
    };
    bl_mcopy(to, q.type, 1, q.order, diagonal_of(dA), kept);
    bl_mscal(to, q.type, 1, q.order, 'N', BL_ZERO, diagonal_of(dA));
    bl_add_triangle(&p, q.order);
    if (diagonal == q.type)
        bl_maxpby(to, q.type, 1, q.order, 'N', half, diagonal_of(dA), 'N', BL_ONE, kept);
    else
        bl_maxpby(to, real, 1, q.order, 'N', half, real_diagonal(q.type, dA), 'N', BL_ONE, bl_real_part(q.type, kept));
    bl_mcopy(to, q.type, 1, q.order, kept, diagonal_of(dA));
}

static void symm_like_adjoint(const bl_site *s)
{
    const symm q = read_symm(s->call);
    const bl_matrix G = bl_shadow(s, C);
    const bl_scalar alpha = bl_given(s, ALPHA), beta = bl_given(s, BETA);
    const bool products = !bl_always_zero(alpha), to_b = products && s->shadow[B], to_a = products && s->shadow[A];
    if (q.m == 0 || q.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_mdot(&s->path, q.type, q.m, q.n, bl_values(s, C), G, false, s->scalar_shadow[BETA]);
    const bl_scalar turned = to_a || to_b ? conjugated(s, q.type, alpha, s->work) : alpha;
    const size_t cell = bl_room(1, s->call->size);
    if (to_b || s->scalar_shadow[ALPHA])
        symm_to_b(s, to_b, turned, s->work + cell);
    if (to_a)
        symm_to_a(s, turned, s->work + cell);
    if (!bl_always_one(beta))
        bl_mscal(&s->path, q.type, q.m, q.n, 'C', beta, G);
}

void bl_symm_tangent(const bl_site *s) { symm_like_tangent(s); }
void bl_symm_adjoint(const bl_site *s) { symm_like_adjoint(s); }
void bl_hemm_tangent(const bl_site *s) { symm_like_tangent(s); }
void bl_hemm_adjoint(const bl_site *s) { symm_like_adjoint(s); }

/* ---- syrk, syr2k, herk, her2k */

static void rank2_product(const bl_path *to, const bl_site *s, bl_scalar alpha, bl_matrix a, bl_matrix b,
                          bl_scalar beta, bl_matrix out)
{
    const rank q = read_rank(s->call);
    if (q.hermitian)
        bl_her2k(to, q.type, q.uplo, q.trans == 'N' ? 'N' : 'C', q.n, q.k, alpha, a, b, beta, out);
    else
        bl_syr2k(to, q.type, q.uplo, q.trans, q.n, q.k, alpha, a, b, beta, out);
}

static void rank1_product(const bl_path *to, const bl_site *s, bl_scalar alpha, bl_matrix a, bl_matrix b,
                          bl_scalar beta, bl_matrix out)
{
    const rank q = read_rank(s->call);
    if (b.at && q.hermitian)
        rank2_product(to, s, widened(s, bl_real_type(q.type), alpha, s->work), a, b, beta, out);
    else if (b.at)
        rank2_product(to, s, alpha, a, b, beta, out);
    else if (q.hermitian)
        bl_herk(to, q.type, q.uplo, q.trans == 'N' ? 'N' : 'C', q.n, q.k, alpha, a, beta, out);
    else
        bl_syrk(to, q.type, q.uplo, q.trans, q.n, q.k, alpha, a, beta, out);
}

static update read_update(const bl_site *s, int out)
{
    const rank q = read_rank(s->call);
    return (update){out == C ? rank2_product : rank1_product, out, q.uplo, q.n, q.n, q.k > 0, q.hermitian};
}

static void rank_tangent(const bl_site *s, int out)
{
    if (s->call->dim[0] > 0)
        update_tangent(s, read_update(s, out));
}

/* out <- alpha S conj(X) + beta out, or with S X if S is Hermitian; S is G with twice its diagonal */
static void times_s(const bl_site *s, const bl_path *way, const rank *q, bl_scalar alpha, bl_matrix G, bl_matrix x,
                    char *work, bl_scalar beta, bl_matrix out)
{
    const char side = q->trans == 'N' ? 'L' : 'R';
    if (q->hermitian) {
        bl_hemm(way, q->type, side, q->uplo, q->rows, q->cols, alpha, G, x, beta, out);
        return;
    }
    if (bl_is_complex(q->type)) {
        const bl_matrix copy = bl_work_matrix(work, q->rows);
        bl_mconj(&s->path, q->type, q->rows, q->cols, x, copy);
        x = copy;
    }
    bl_symm(way, q->type, side, q->uplo, q->rows, q->cols, alpha, G, x, beta, out);
}

/* alpha's conjugate, and of her2k what is not: for trans C the sides change, and with them which operand gets which. */
static void read_factors(const bl_site *s, const rank *q, bool square, char *cell, bl_scalar *for_a, bl_scalar *for_b)
{
    const bl_scalar alpha = bl_given(s, ALPHA);
    if (q->hermitian && square) {
        *for_a = *for_b = widened(s, bl_real_type(q->type), alpha, cell);
        return;
    }
    const bl_scalar turned = conjugated(s, q->type, alpha, cell);
    *for_a = q->hermitian && q->trans != 'N' ? alpha : turned;
    *for_b = q->hermitian && q->trans == 'N' ? alpha : turned;
}

static void rank_products(const bl_site *s, const rank *q, int out, bool products)
{
    const bl_path *to = &s->path;
    const int64_t size = s->call->size;
    const bool square = out == B; /* there is no operand B */
    const bool to_a = products && s->shadow[A], to_b = products && !square && s->shadow[B];
    const bl_matrix G = bl_shadow(s, out), a = bl_values(s, A), b = square ? a : bl_values(s, B);
    const bl_path scaled = times(s, bl_given(s, ALPHA));
    void *dalpha = s->scalar_shadow[ALPHA];
    if (!to_a && !to_b && !dalpha)
        return;

    const int number = q->hermitian ? bl_real_type(q->type) : q->type; /* what a diagonal consists of */
    const bl_matrix kept = {s->work, 1}, cell = {s->work + bl_room(q->n, size), 1},
                    diagonal = q->hermitian ? real_diagonal(q->type, G) : diagonal_of(G);
    char *factor = (char *)cell.at + bl_room(1, size), *work = factor + bl_room(1, size);
    bl_scalar for_a = BL_ONE, for_b = BL_ONE;
    if (to_a || to_b)
        read_factors(s, q, square, factor, &for_a, &for_b);
    bl_mcopy(to, number, 1, q->n, diagonal, kept);
    bl_mscal(to, number, 1, q->n, 'N', two, diagonal);
    if (to_b)
        times_s(s, &scaled, q, for_b, G, a, work, BL_ONE, bl_shadow(s, B));
    if (dalpha) {
        const bl_matrix product = bl_work_matrix(work, q->rows);
        times_s(s, to, q, BL_ONE, G, b, work + bl_room(q->rows * q->cols, size), BL_ZERO, product);
        if (square) {
            bl_mscal(to, q->type, 1, 1, 'N', BL_ZERO, cell);
            bl_mdot(to, q->type, q->rows, q->cols, a, product, false, cell.at);
            bl_maxpby(to, number, 1, 1, 'N', half, cell, 'N', BL_ONE, (bl_matrix){dalpha, 1});
        } else {
            bl_mdot(to, q->type, q->rows, q->cols, a, product, q->hermitian && q->trans != 'N', dalpha);
        }
        if (to_a)
            bl_maxpby(&scaled, q->type, q->rows, q->cols, 'N', for_a, product, 'N', BL_ONE, bl_shadow(s, A));
    } else if (to_a) {
        times_s(s, &scaled, q, for_a, G, b, work, BL_ONE, bl_shadow(s, A));
    }
    bl_mcopy(to, number, 1, q->n, kept, diagonal);
}

/* *dbeta += sum conj(C_old) G; a real beta gets the real part, and nothing of imaginary diagonals. */
static void add_old(const bl_site *s, const rank *q, bl_matrix old, bl_matrix G, void *dbeta, char *work)
{
    const bl_path *to = &s->path;
    const int64_t size = s->call->size;
    const int real = bl_real_type(q->type);
    const bl_matrix sum = {work, 1};
    if (!q->hermitian) {
        bl_tdot(to, q->type, q->uplo, q->n, q->n, old, G, false, dbeta);
        return;
    }
    bl_mscal(to, q->type, 1, 1, 'N', BL_ZERO, sum);
    bl_tdot(to, q->type, q->uplo, q->n - 1, q->n - 1, beside_diagonal(old, q->uplo, size),
            beside_diagonal(G, q->uplo, size), false, sum.at);
    bl_mdot(to, real, 1, q->n, real_diagonal(q->type, old), real_diagonal(q->type, G), false, sum.at);
    bl_madd(to, real, 1, 1, sum, (bl_matrix){dbeta, 1});
}

static void rank_adjoint(const bl_site *s, int out)
{
    const rank q = read_rank(s->call);
    const update u = read_update(s, out);
    const bl_matrix G = bl_shadow(s, out);
    const bl_scalar beta = bl_given(s, BETA);
    if (q.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        add_old(s, &q, bl_values(s, out), G, s->scalar_shadow[BETA], s->work);
    if (q.k > 0)
        rank_products(s, &q, out, !bl_always_zero(bl_given(s, ALPHA)));
    if (!bl_always_one(beta))
        scale(s, &u, 'C', beta, G, s->work);
    if (q.hermitian && clears_diagonal(s->call, u.terms))
        bl_mscal(&s->path, bl_real_type(q.type), 1, q.n, 'N', BL_ZERO, bl_imaginary_part(q.type, diagonal_of(G)));
}

void bl_syrk_tangent(const bl_site *s) { rank_tangent(s, RANK_C); }
void bl_syrk_adjoint(const bl_site *s) { rank_adjoint(s, RANK_C); }
void bl_herk_tangent(const bl_site *s) { rank_tangent(s, RANK_C); }
void bl_herk_adjoint(const bl_site *s) { rank_adjoint(s, RANK_C); }
void bl_syr2k_tangent(const bl_site *s) { rank_tangent(s, C); }
void bl_syr2k_adjoint(const bl_site *s) { rank_adjoint(s, C); }
void bl_her2k_tangent(const bl_site *s) { rank_tangent(s, C); }
void bl_her2k_adjoint(const bl_site *s) { rank_adjoint(s, C); }
