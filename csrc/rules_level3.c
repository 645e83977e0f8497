/* Level 3. Complex numbers are pairs of reals, <x, y> = Re sum conj(x) y (semantics 3), so with G the shadow of C
 *
 *   C = alpha op(A) op(B) + beta C_old
 *   tangent   dC <- beta dC + alpha (dop(A) op(B) + op(A) dop(B)) + dalpha op(A) op(B) + dbeta C_old
 *   adjoint   dop(A) += conj(alpha) G op(B)^H        dalpha += sum conj(op(A) op(B)) G
 *             dop(B) += conj(alpha) op(A)^H G        dbeta  += sum conj(C_old) G
 *             G <- conj(beta) G
 *
 *   gemmt: the same with a triangle of C, of which G is the triangle with zeros beside it
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
    if (g.uplo == 'A')
        bl_gemm(to, g.type, g.ta, g.tb, g.m, g.n, g.k, alpha, a, b, beta, out);
    else
        bl_gemmt(to, g.type, g.uplo, g.ta, g.tb, g.n, g.k, alpha, a, b, beta, out);
}

static void gemm_like_tangent(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    if (g.m > 0 && g.n > 0)
        update_tangent(s, (update){gemm_product, C, g.uplo, g.m, g.n, g.k > 0, false});
}

/* out <- factor op(G) op(X) + keep out, or with the factors in the other order; out is rows x cols. Of a triangle G the
 * blocks are multiplied. */
typedef struct product {
    const bl_site *s;
    const bl_path *way;
    const gemm *g;
    bool g_first;
    char op_g, op_x;
    int64_t rows, cols;
    bl_scalar factor;
    bl_matrix G, x, out;
    char *square; /* a block of G on the diagonal, with zeros */
} product;

/* From row or column i. */
static bl_matrix shifted(const product *p, bl_matrix x, bool rows, int64_t i)
{
    return (bl_matrix){(char *)x.at + (rows ? i : i * x.ld) * p->s->call->size, x.ld};
}

/* With the block of G whose first row and column are i and j. */
static void add_block(const product *p, bl_matrix G, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
    const int type = p->g->type;
    const bool plain = p->op_g == 'N', first = p->g_first;
    /* op(G) has rows of out and, in the middle, rows of op(X); behind it columns of either */
    const int64_t outer = plain == first ? i : j, inner = plain == first ? j : i;
    const int64_t many = plain == first ? rows : cols, between = plain == first ? cols : rows;
    const bl_matrix x = shifted(p, p->x, first == (p->op_x == 'N'), inner), out = shifted(p, p->out, first, outer);
    if (first)
        bl_gemm(p->way, type, p->op_g, p->op_x, many, p->cols, between, p->factor, G, x, BL_ONE, out);
    else
        bl_gemm(p->way, type, p->op_x, p->op_g, p->rows, many, between, p->factor, x, G, BL_ONE, out);
}

/* With the triangle of order n whose first row and column are i. */
static void add_triangle(const product *p, int64_t i, int64_t n)
{
    const bool upper = p->g->uplo == 'U';
    const int64_t size = p->s->call->size;
    if (n <= LEAF) {
        const bl_matrix square = bl_work_matrix(p->square, p->g->n < LEAF ? p->g->n : LEAF);
        const bl_matrix block = {(char *)p->G.at + i * (p->G.ld + 1) * size, p->G.ld};
        bl_taxpby(&p->s->path, p->g->type, p->g->uplo, n, n, 'N', BL_ONE, block, 'N', BL_ZERO, square);
        add_block(p, square, i, i, n, n);
        return;
    }
    const int64_t first = (n / 2 + LEAF - 1) / LEAF * LEAF, middle = i + first, rest = n - first;
    const int64_t row = upper ? i : middle, col = upper ? middle : i;
    add_triangle(p, i, first);
    add_block(p, (bl_matrix){(char *)p->G.at + (row + col * p->G.ld) * size, p->G.ld}, row, col, upper ? first : rest,
              upper ? rest : first);
    add_triangle(p, middle, rest);
}

static void multiply(const product *p, bl_scalar keep)
{
    const gemm *g = p->g;
    const bl_path *to = &p->s->path;
    if (g->uplo != 'A') {
        const int64_t order = g->n < LEAF ? g->n : LEAF;
        if (bl_always_zero(keep))
            bl_mscal(to, g->type, p->rows, p->cols, 'N', BL_ZERO, p->out);
        bl_mscal(to, g->type, order, order, 'N', BL_ZERO, bl_work_matrix(p->square, order));
        add_triangle(p, 0, g->n);
    } else if (p->g_first) {
        bl_gemm(p->way, g->type, p->op_g, p->op_x, p->rows, p->cols, p->op_g == 'N' ? g->n : g->m, p->factor, p->G,
                p->x, keep, p->out);
    } else {
        bl_gemm(p->way, g->type, p->op_x, p->op_g, p->rows, p->cols, p->op_g == 'N' ? g->m : g->n, p->factor, p->x,
                p->G, keep, p->out);
    }
}

static void gemm_like_adjoint(const bl_site *s)
{
    const gemm g = read_gemm(s->call);
    const bl_path *to = &s->path;
    const bl_matrix a = bl_values(s, A), b = bl_values(s, B), G = bl_shadow(s, C);
    const bl_scalar alpha = bl_given(s, ALPHA), beta = bl_given(s, BETA);
    if (g.m == 0 || g.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[BETA])
        bl_tdot(to, g.type, g.uplo, g.m, g.n, bl_values(s, C), G, false, s->scalar_shadow[BETA]);

    const int64_t rows_a = g.ta == 'N' ? g.m : g.k, cols_a = g.ta == 'N' ? g.k : g.m;
    const int64_t rows_b = g.tb == 'N' ? g.k : g.n, cols_b = g.tb == 'N' ? g.n : g.k;
    const bool products = g.k > 0 && !bl_always_zero(alpha), to_a = products && s->shadow[A],
               to_b = products && s->shadow[B];
    void *dalpha = g.k > 0 ? s->scalar_shadow[ALPHA] : NULL;
    const bl_path scaled = times(s, alpha);
    char *square = s->work, *work = s->work;
    if (g.uplo != 'A' && (to_a || to_b || dalpha))
        work += leaf_room(g.n, s->call->size);
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
        bl_matrix made = dA;
        bl_path way = scaled;
        bl_scalar factor = g.ta == 'C' ? alpha : turned, keep = BL_ONE;
        if (dalpha) {
            made = bl_work_matrix(room, rows_a);
            room += bl_room(g.m * g.k, s->call->size);
            way = *to;
            factor = BL_ONE;
            keep = BL_ZERO;
        }
        const bl_matrix x = with_op(s, g.type, &op, rows_b, cols_b, b, room);
        const bool first = g.ta == 'N';
        multiply(&(product){s, &way, &g, first, first ? 'N' : g.ta, op, rows_a, cols_a, factor, G, x, made, square},
                 keep);
        if (dalpha) {
            bl_mdot(to, g.type, rows_a, cols_a, a, made, g.ta == 'C', dalpha);
            if (to_a)
                bl_maxpby(&scaled, g.type, rows_a, cols_a, g.ta == 'C' ? 'N' : 'C', alpha, made, 'N', BL_ONE, dA);
        }
    }
    if (to_b) {
        char op = partner_op(g.tb, g.ta);
        const bl_scalar factor = g.tb == 'C' ? alpha : turned;
        const bl_matrix x = with_op(s, g.type, &op, rows_a, cols_a, a, work);
        const bool first = g.tb != 'N';
        multiply(&(product){s, &scaled, &g, first, first ? g.tb : 'N', op, rows_b, cols_b, factor, G, x,
                            bl_shadow(s, B), square},
                 BL_ONE);
    }
    if (!bl_always_one(beta))
        bl_tscal(to, g.type, g.uplo, g.m, g.n, 'C', beta, G);
}

void bl_gemm_tangent(const bl_site *s) { gemm_like_tangent(s); }
void bl_gemm_adjoint(const bl_site *s) { gemm_like_adjoint(s); }
void bl_gemmt_tangent(const bl_site *s) { gemm_like_tangent(s); }
void bl_gemmt_adjoint(const bl_site *s) { gemm_like_adjoint(s); }
