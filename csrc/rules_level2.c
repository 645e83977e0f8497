/* Level 2: products of a matrix and a vector. <x, y> = Re sum conj(x) y (semantics 3); G is the shadow of the output.
 * op is N, T, C or r, which conjugates and does not transpose; a' = conj(alpha).
 *
 *   gemv   y = alpha op(A) x + beta y_old; gbmv, the same with a band of A, of which all else is 0
 *   symv   the same with S, symmetric, of which a triangle is stored; real; sbmv of a band, spmv packed
 *   hemv   the same with S, Hermitian; its op is r if a row-major call made it; hbmv of a band, hpmv packed
 *   tangent  dy <- beta dy + alpha (op(dA) x + op(A) dx) + dalpha op(A) x + dbeta y_old
 *   adjoint  with p = op(A)^H G
 *            dx += a' p                      dalpha += sum conj(op(A) x) G = sum conj(x) p
 *            dop(A) += a' G x^H              dbeta  += sum conj(y_old) G
 *            G <- conj(beta) G
 *            dA += a' G x^H, a' conj(x) G^T, alpha x G^H, alpha conj(G) x^T for N, T, C, r
 *            dS += a' G x^H + alpha x G^H off the diagonal, half of it on it; for r alpha conj(G) x^T + a' conj(x) G^T
 *            of these, what is stored
 *
 * BLAS has no r: conj(A) z is conj(A conj(z)). Products into workspace are added to zeros: not every gemv stores them
 * where its beta is 0. Nor has it outer products in a band or a packed triangle: they are made column by column.
 */
#include "rules_level2.h"

/* ---- how matrices are stored */

bl_linear bl_read_linear(const bl_call *c, int i)
{
    const bl_operand_spec *s = &bl_routine_table[c->routine]->operand[i];
    bl_linear l = {.op = 'N', .uplo = s->uplo == BL_NEVER ? 0 : c->flag[s->uplo], .storage = s->storage};
    bl_operand_shape(c, i, &l.m, &l.n);
    if (l.storage == BL_BAND) {
        l.kl = l.uplo == 'U' ? 0 : c->dim[s->kl];
        l.ku = l.uplo == 'L' ? 0 : c->dim[s->ku];
    } else if (l.storage == BL_PACKED) {
        l.kl = l.uplo == 'U' ? 0 : l.n;
        l.ku = l.uplo == 'L' ? 0 : l.n;
    }
    return l;
}

bl_column bl_stored_column(const bl_linear *l, bl_matrix a, int64_t j, int64_t size)
{
    const int64_t row = j > l->ku ? j - l->ku : 0, end = l->kl < l->m - 1 - j ? j + l->kl + 1 : l->m;
    int64_t offset;
    if (l->storage == BL_BAND) {
        offset = l->ku + row - j + j * a.ld;
    } else if (l->uplo == 'U') {
        offset = l->unit ? (j + 1) * (j + 2) / 2 : j * (j + 1) / 2;
    } else {
        offset = j * (l->n + l->unit) - j * (j - 1) / 2 + l->unit;
    }
    return (bl_column){pointer(a, offset, size), row, end - row};
}

bl_matrix bl_diagonal_number(const bl_linear *l, bl_matrix a, int64_t j, int64_t size)
{
    const bl_column x = bl_stored_column(l, a, j, size);
    return (bl_matrix){x.at + (l->uplo == 'U' ? x.count - 1 : 0) * size, 1};
}

bl_matrix bl_diagonal(const bl_site *s, const bl_linear *l, bl_matrix a, char *work)
{
    const int64_t size = s->call->size;
    if (l->storage != BL_PACKED)
        return (bl_matrix){a.at, a.ld + 1};
    for (int64_t j = 0; j < l->n; j++)
        bl_mcopy(&s->path, s->call->type, 1, 1, bl_diagonal_number(l, a, j, size), (bl_matrix){work + j * size, 1});
    return (bl_matrix){work, 1};
}

void bl_put_diagonal(const bl_site *s, const bl_linear *l, bl_matrix d, bl_matrix a)
{
    const int64_t size = s->call->size;
    const int type = s->call->type;
    if (l->storage == BL_PACKED)
        for (int64_t j = 0; j < l->n; j++)
            bl_mcopy(&s->path, type, 1, 1, (bl_matrix){pointer(d, j * d.ld, size), 1},
                     bl_diagonal_number(l, a, j, size));
    else if (d.at != a.at)
        bl_vaxpby(&s->path, type, l->n, 'N', BL_ONE, 'N', d, 'N', BL_ZERO, (bl_matrix){a.at, a.ld + 1});
}

/* ---- products by them, and sums with outer products */

static void make_product(const bl_path *to, int type, const bl_linear *l, char op, bl_scalar alpha, bl_matrix a,
                         bl_matrix x, bl_scalar beta, bl_matrix y)
{
    const int64_t k = l->kl + l->ku; /* a triangle has one of them */
    if (l->storage == BL_PACKED && l->hermitian)
        bl_hpmv(to, type, l->uplo, l->n, alpha, a, x, beta, y);
    else if (l->storage == BL_PACKED)
        bl_spmv(to, type, l->uplo, l->n, alpha, a, x, beta, y);
    else if (l->storage == BL_BAND && l->hermitian)
        bl_hbmv(to, type, l->uplo, l->n, k, alpha, a, x, beta, y);
    else if (l->storage == BL_BAND && l->uplo)
        bl_sbmv(to, type, l->uplo, l->n, k, alpha, a, x, beta, y);
    else if (l->storage == BL_BAND)
        bl_gbmv(to, type, op, l->m, l->n, l->kl, l->ku, alpha, a, x, beta, y);
    else if (l->hermitian)
        bl_hemv(to, type, l->uplo, l->n, alpha, a, x, beta, y);
    else if (l->uplo)
        bl_symv(to, type, l->uplo, l->n, alpha, a, x, beta, y);
    else
        bl_gemv(to, type, op, l->m, l->n, alpha, a, x, beta, y);
}

void bl_multiply(const bl_site *s, const bl_path *way, const bl_linear *l, bl_scalar alpha, bl_matrix a, bl_matrix x,
                 bl_scalar beta, bl_matrix y, char *work)
{
    const int type = s->call->type;
    if (!bl_always_one(beta) && (way->unmade || bl_is_zero(beta.value))) {
        bl_vscal(&s->path, type, length_y(l), 'N', beta, y);
        beta = BL_ONE;
    }
    if (l->op != 'r') {
        make_product(way, type, l, l->op, alpha, a, x, beta, y);
    } else {
        const bl_matrix turned = copied(s, l->n, 'C', x, work);
        const bl_matrix product = cleared(s, l->m, work + bl_room(l->n, s->call->size));
        make_product(&s->path, type, l, 'N', BL_ONE, a, turned, BL_ONE, product);
        bl_vaxpby(way, type, l->m, 'N', alpha, 'C', product, 'N', beta, y);
    }
}

void bl_add_product(const bl_site *s, const bl_linear *l, bl_matrix a, bl_matrix x, bl_scalar factor, int z,
                    bool conjugate, void *dalpha, char *work)
{
    const int type = s->call->type;
    const int64_t n = length_y(l);
    const bl_path scaled = times(s, factor);
    const bool to_z = s->shadow[z] && !bl_always_zero(factor);
    if (dalpha) {
        const bl_matrix product = cleared(s, n, work);
        bl_multiply(s, &s->path, l, BL_ONE, a, x, BL_ONE, product, work + bl_room(n, s->call->size));
        bl_vdot(&s->path, type, n, bl_values(s, z), product, conjugate, dalpha);
        if (to_z)
            bl_vaxpby(&scaled, type, n, 'N', factor, 'N', product, 'N', BL_ONE, bl_shadow(s, z));
    } else if (to_z) {
        bl_multiply(s, &scaled, l, factor, a, x, BL_ONE, bl_shadow(s, z), work);
    }
}

void bl_add_outer(const bl_path *to, int type, int64_t m, int64_t n, bl_scalar alpha, bl_matrix x, char op_y,
                  bl_matrix y, bl_matrix a)
{
    if (!bl_is_complex(type))
        bl_ger(to, type, m, n, alpha, x, y, a);
    else if (op_y == 'C')
        bl_gerc(to, type, m, n, alpha, x, y, a);
    else
        bl_geru(to, type, m, n, alpha, x, y, a);
}

void bl_add_columns(const bl_site *s, const bl_path *way, const bl_linear *l, bl_scalar alpha, char op_x, bl_matrix x,
                    char op_y, bl_matrix y, bl_matrix a, char *work)
{
    const int type = s->call->type;
    const int64_t size = s->call->size;
    const bl_matrix factor = scaled_copy(s, way, l->n, alpha, op_y, y, work);
    for (int64_t j = 0; j < l->n; j++) {
        const bl_column to = bl_stored_column(l, a, j, size);
        if (to.count <= 0) /* right of a band */
            break;
        bl_vaxpby(way, type, to.count, 'N', bl_scalar_at(type, pointer(factor, j, size)), op_x,
                  part(x, l->m, to.row, to.count, size), 'N', BL_ONE, (bl_matrix){to.at, 1});
    }
}

void bl_add_rank2(const bl_path *to, int type, const bl_linear *l, bl_scalar alpha, bl_matrix x, bl_matrix y,
                  bl_matrix a)
{
    if (l->storage == BL_PACKED && l->hermitian)
        bl_hpr2(to, type, l->uplo, l->n, alpha, x, y, a);
    else if (l->storage == BL_PACKED)
        bl_spr2(to, type, l->uplo, l->n, alpha, x, y, a);
    else if (l->hermitian)
        bl_her2(to, type, l->uplo, l->n, alpha, x, y, a);
    else
        bl_syr2(to, type, l->uplo, l->n, alpha, x, y, a);
}

/* ---- gemv gbmv | symv sbmv spmv | hemv hbmv hpmv */

static bl_linear read_matrix(const bl_call *c)
{
    bl_linear l = bl_read_linear(c, GEMV_A);
    l.hermitian = l.uplo && bl_is_complex(c->type);
    if (!l.uplo)
        l.op = op_of(c->type, c->flag[0]);
    else if (l.hermitian && c->flag[1] == 'C')
        l.op = 'r';
    return l;
}

static void gemv_like_tangent(const bl_site *s)
{
    const bl_linear l = read_matrix(s->call);
    const int type = s->call->type;
    const bl_matrix a = bl_values(s, GEMV_A), x = bl_values(s, GEMV_X), dy = bl_shadow(s, GEMV_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    bl_scalar beta = bl_given(s, LEVEL2_BETA); /* what is still to be done to the old tangent */
    if (l.m == 0 || l.n == 0 || !dy.at)
        return;
    if (s->scalar_shadow[LEVEL2_BETA]) {
        bl_vaxpby(&s->path, type, length_y(&l), 'N', bl_scalar_shadow(s, LEVEL2_BETA), 'N', bl_values(s, GEMV_Y), 'N',
                  beta, dy);
        beta = BL_ONE;
    }
    const bl_path scaled = times(s, alpha);
    if (s->shadow[GEMV_A] && !bl_always_zero(alpha)) {
        bl_multiply(s, &scaled, &l, alpha, bl_shadow(s, GEMV_A), x, beta, dy, s->work);
        beta = BL_ONE;
    }
    if (s->shadow[GEMV_X] && !bl_always_zero(alpha)) {
        bl_multiply(s, &scaled, &l, alpha, a, bl_shadow(s, GEMV_X), beta, dy, s->work);
        beta = BL_ONE;
    }
    if (s->scalar_shadow[LEVEL2_ALPHA]) {
        bl_multiply(s, &s->path, &l, bl_scalar_shadow(s, LEVEL2_ALPHA), a, x, beta, dy, s->work);
        beta = BL_ONE;
    }
    if (!bl_always_one(beta))
        bl_vscal(&s->path, type, length_y(&l), 'N', beta, dy);
}

/* dS += a' G x^H + its transpose or adjoint in the triangle, and half of that on the diagonal, whose imaginary part
 * stays. `turned` is a'. */
static void add_symmetric(const bl_site *s, const bl_linear *l, bl_scalar alpha, bl_scalar turned, char *work)
{
    const int type = s->call->type;
    const bl_path scaled = times(s, alpha);
    bl_matrix x = bl_values(s, GEMV_X), G = bl_shadow(s, GEMV_Y), dA = bl_shadow(s, GEMV_A);
    const size_t room = bl_room(l->n, s->call->size);
    char *own = work + 3 * room;
    bl_matrix d = bl_diagonal(s, l, dA, own);
    const bl_matrix kept = copied(s, l->n, 'N', d, work);
    if (l->op == 'r') {
        G = copied(s, l->n, 'C', G, work + room);
        x = copied(s, l->n, 'C', x, work + 2 * room);
    }
    bl_vscal(&s->path, type, l->n, 'N', BL_ZERO, d);
    bl_put_diagonal(s, l, d, dA);
    bl_add_rank2(&scaled, type, l, l->op == 'r' ? alpha : turned, G, x, dA);
    d = bl_diagonal(s, l, dA, own);
    bl_vaxpby(&s->path, bl_real_type(type), l->n, 'N', half, 'N', bl_real_part(type, d), 'N', BL_ONE,
              bl_real_part(type, kept));
    bl_put_diagonal(s, l, kept, dA);
}

/* The same in a band: of column j, a' G conj(x_j) + alpha x conj(G_j), or for r their conjugates; and the real part of
 * a' G_j conj(x_j). */
static void add_symmetric_band(const bl_site *s, const bl_linear *l, bl_scalar alpha, bl_scalar turned, char *work)
{
    const int type = s->call->type;
    const int64_t size = s->call->size, n = l->n;
    const bl_path scaled = times(s, alpha);
    const bl_matrix x = bl_values(s, GEMV_X), G = bl_shadow(s, GEMV_Y), dA = bl_shadow(s, GEMV_A);
    const bl_matrix by_x = scaled_copy(s, &scaled, n, alpha, 'N', x, work);
    const bl_matrix by_G = scaled_copy(s, &scaled, n, turned, 'N', G, work + bl_room(n, size));
    const char op = l->op == 'r' ? 'C' : 'N', other = l->op == 'r' ? 'N' : 'C';
    for (int64_t j = 0; j < n; j++) {
        const bl_column column = bl_stored_column(l, dA, j, size);
        const int64_t count = column.count - 1, row = column.row + (l->uplo == 'L');
        const bl_matrix to = {column.at + (l->uplo == 'L') * size, 1};
        if (count > 0) {
            bl_vaxpby(&scaled, type, count, other, bl_scalar_at(type, pointer(by_x, j, size)), op,
                      part(G, n, row, count, size), 'N', BL_ONE, to);
            bl_vaxpby(&scaled, type, count, other, bl_scalar_at(type, pointer(by_G, j, size)), op,
                      part(x, n, row, count, size), 'N', BL_ONE, to);
        }
        bl_vdot(&scaled, bl_real_type(type), bl_is_complex(type) ? 2 : 1, (bl_matrix){part(x, n, j, 1, size).at, 1},
                (bl_matrix){pointer(by_G, j, size), 1}, false, bl_diagonal_number(l, dA, j, size).at);
    }
}

/* dA += a' G x^H and so on. `turned` is a'. */
static void add_general(const bl_site *s, const bl_linear *l, bl_scalar alpha, bl_scalar turned, char *work)
{
    const int type = s->call->type;
    const bl_path scaled = times(s, alpha);
    const bl_matrix x = bl_values(s, GEMV_X), G = bl_shadow(s, GEMV_Y), dA = bl_shadow(s, GEMV_A);
    const bl_scalar factor = l->op == 'N' || l->op == 'T' ? turned : alpha;
    const bool conjugates = bl_is_complex(type) && (l->op == 'T' || l->op == 'r'); /* the first vector, not the other */
    const char op_u = conjugates ? 'C' : 'N', op_v = conjugates ? 'N' : 'C';
    bl_matrix u = transposes(l->op) ? x : G, v = transposes(l->op) ? G : x;
    if (l->storage == BL_BAND) {
        bl_add_columns(s, &scaled, l, factor, op_u, u, op_v, v, dA, work);
        return;
    }
    if (conjugates)
        u = copied(s, l->m, 'C', u, work);
    bl_add_outer(&scaled, type, l->m, l->n, factor, u, op_v, v, dA);
}

static void gemv_like_adjoint(const bl_site *s)
{
    const bl_linear l = read_matrix(s->call);
    const int type = s->call->type;
    const bl_matrix G = bl_shadow(s, GEMV_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA), beta = bl_given(s, LEVEL2_BETA);
    if (l.m == 0 || l.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[LEVEL2_BETA])
        bl_vdot(&s->path, type, length_y(&l), bl_values(s, GEMV_Y), G, false, s->scalar_shadow[LEVEL2_BETA]);

    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    const bool products = !bl_always_zero(alpha);
    char *work = s->work;
    bl_scalar turned = alpha;
    if (products && (s->shadow[GEMV_A] || s->shadow[GEMV_X])) {
        turned = conjugated(s, type, alpha, work);
        work += bl_room(1, s->call->size);
    }
    if (dalpha || (products && s->shadow[GEMV_X])) {
        bl_linear back = l;
        if (!l.uplo)
            back.op = op_of(type, adjoint_of(l.op));
        bl_add_product(s, &back, bl_values(s, GEMV_A), G, turned, GEMV_X, false, dalpha, work);
    }
    if (products && s->shadow[GEMV_A]) {
        if (!l.uplo)
            add_general(s, &l, alpha, turned, work);
        else if (l.storage == BL_BAND)
            add_symmetric_band(s, &l, alpha, turned, work);
        else
            add_symmetric(s, &l, alpha, turned, work);
    }
    if (!bl_always_one(beta))
        bl_vscal(&s->path, type, length_y(&l), 'C', beta, G);
}

#define LIKE_GEMV(name)                                                                                                \
    void bl_##name##_tangent(const bl_site *s) { gemv_like_tangent(s); }                                               \
    void bl_##name##_adjoint(const bl_site *s) { gemv_like_adjoint(s); }
LIKE_GEMV(gemv)
LIKE_GEMV(gbmv)
LIKE_GEMV(symv)
LIKE_GEMV(sbmv)
LIKE_GEMV(spmv)
LIKE_GEMV(hemv)
LIKE_GEMV(hbmv)
LIKE_GEMV(hpmv)
