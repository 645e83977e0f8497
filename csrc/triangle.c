/* The triangle of a product of two matrices, without the other half of the square: rectangles by gemm, in place, and
 * small squares on the diagonal, which are cut. */
#include "rules_level3.h"

/* From row i of op(X), or column i of op(Y). */
static bl_matrix from(bl_matrix x, bool rows, int64_t i, int64_t size)
{
    return (bl_matrix){(char *)x.at + (rows ? i : i * x.ld) * size, x.ld};
}

/* The block of op(X) op(Y) with rows i.. and columns j.. */
static void make_block(const bl_triangular_product *p, const bl_path *to, bl_matrix x, bl_matrix y, int64_t i,
                       int64_t j, int64_t rows, int64_t cols, bl_scalar alpha, bl_scalar beta, bl_matrix out)
{
    bl_gemm(to, p->type, p->op_x, p->op_y, rows, cols, p->inner, alpha, from(x, p->op_x == 'N', i, p->size),
            from(y, p->op_y != 'N', j, p->size), beta, out);
}

static bl_matrix block_of(const bl_triangular_product *p, int64_t i, int64_t j)
{
    return (bl_matrix){(char *)p->out.at + (i + j * p->out.ld) * p->size, p->out.ld};
}

static void add_rectangle(const bl_triangular_product *p, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
    const bl_matrix out = block_of(p, i, j);
    make_block(p, p->scaled, p->x, p->y, i, j, rows, cols, p->factor, BL_ONE, out);
    if (p->twin) /* (X Y^T)^T = Y X^T, (X^T Y)^T = Y^T X, and the adjoint of alpha X Y^H is conj(alpha) Y X^H */
        make_block(p, p->scaled, p->y, p->x, i, j, rows, cols, p->twin == 'C' ? p->alpha : p->factor, BL_ONE, out);
}

static void add_on_diagonal(const bl_triangular_product *p, int64_t i, int64_t n)
{
    bl_matrix square = bl_work_matrix(p->work, n), out = block_of(p, i, i);
    if (p->twin) {
        const bool rows = p->op_x == 'N';
        const bl_matrix x = from(p->x, rows, i, p->size), y = from(p->y, rows, i, p->size);
        if (p->twin == 'C')
            bl_her2k(p->scaled, p->type, p->uplo, p->op_x, n, p->inner, p->factor, x, y, BL_ONE, out);
        else
            bl_syr2k(p->scaled, p->type, p->uplo, p->op_x, n, p->inner, p->factor, x, y, BL_ONE, out);
        return;
    }
    make_block(p, p->made, p->x, p->y, i, i, n, n, BL_ONE, BL_ZERO, square);
    if (p->diag == 'U') {
        square = beside_diagonal(square, p->uplo, p->size);
        out = beside_diagonal(out, p->uplo, p->size);
        n--;
    }
    bl_taxpby(p->scaled, p->type, p->uplo, n, n, p->conjalpha, p->alpha, square, 'N', BL_ONE, out);
}

/* The triangle of order n whose first row and column are i. */
static void add_part(const bl_triangular_product *p, int64_t i, int64_t n)
{
    if (n <= LEAF) {
        add_on_diagonal(p, i, n);
        return;
    }
    const int64_t first = (n / 2 + LEAF - 1) / LEAF * LEAF, middle = i + first, rest = n - first;
    add_part(p, i, first);
    if (p->uplo == 'U')
        add_rectangle(p, i, middle, first, rest);
    else
        add_rectangle(p, middle, i, rest, first);
    add_part(p, middle, rest);
}

void bl_add_triangle(const bl_triangular_product *p, int64_t n) { add_part(p, 0, n); }
