/*   gemmt   the columns of a triangle by panels: a rectangle by gemm, where it is, and a square on the diagonal,
 *           from which the triangle is cut
 */
#include "lacking.h"

#include "backend.h"

enum { PANEL = 32 };

static char *element(const bl_call *c, int i, int64_t row, int64_t column)
{
    return (char *)c->operand[i].base + (row + column * c->operand[i].ld) * c->size;
}

/* The gemm of rows i.. and columns j.. of C. */
static bl_call block(const bl_call *c, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
    bl_call part = *c;
    part.routine = BL_GEMM;
    part.flag[0] = c->flag[1], part.flag[1] = c->flag[2];
    part.dim[0] = rows, part.dim[1] = cols, part.dim[2] = c->dim[1];
    part.operand[0].base = part.flag[0] == 'N' ? element(c, 0, i, 0) : element(c, 0, 0, i);
    part.operand[1].base = part.flag[1] == 'N' ? element(c, 1, 0, j) : element(c, 1, j, 0);
    part.operand[2].base = element(c, 2, i, j);
    return part;
}

static void gemmt(const bl_call *c)
{
    const int64_t n = c->dim[0];
    const bool upper = c->flag[0] == 'U';
    const bl_scalar one = {{1, 0}, NULL}, zero = {{0, 0}, NULL}, beta = c->scalar[1];
    double square[2 * PANEL * PANEL];
    if (bl_is_zero(c->scalar[0].value)) { /* whatever A and B hold */
        bl_call clear = *c;
        clear.routine = BL_MSCAL;
        clear.flag[0] = 'N', clear.flag[1] = c->flag[0];
        clear.dim[0] = clear.dim[1] = n;
        clear.scalar[0] = beta;
        clear.operand[0] = c->operand[2];
        bl_backend_run(&clear);
        return;
    }
    for (int64_t j = 0; j < n; j += PANEL) {
        const int64_t cols = n - j < PANEL ? n - j : PANEL, below = j + cols;
        const bl_call beside = upper ? block(c, 0, j, j, cols) : block(c, below, j, n - below, cols);
        if (beside.dim[0] > 0)
            bl_backend_run(&beside);
        bl_call part = block(c, j, j, cols, cols), add = *c;
        part.scalar[1] = zero;
        part.operand[2] = (bl_operand){square, cols};
        bl_backend_run(&part);
        add.routine = BL_MAXPBY;
        add.flag[0] = add.flag[1] = 'N', add.flag[2] = c->flag[0];
        add.dim[0] = add.dim[1] = cols;
        add.scalar[0] = one, add.scalar[1] = beta;
        add.operand[0] = part.operand[2];
        add.operand[1] = (bl_operand){element(c, 2, j, j), c->operand[2].ld};
        bl_backend_run(&add);
    }
}

bool bl_run_lacking(const bl_call *c)
{
    if (c->routine != BL_GEMMT)
        return false;
    gemmt(c);
    return true;
}
