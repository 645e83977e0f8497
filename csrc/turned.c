/*   gemv r   y = alpha conj(A) x + beta y    conj(y) = conj(alpha) A conj(x) + conj(beta) conj(y)
 *   trmv r   x = conj(A) x                   conj(x) = A conj(x), and the same with trsv and an inverse
 *   gerc C   A = A + alpha conj(x) y^T       geru with a conjugated x
 *   her C    A = A + alpha conj(x) x^T       conj(A) = conj(A) + alpha x x^H; her2 likewise, with conj(alpha)
 *   hemv C   y = alpha conj(A) x + beta y    of a square as gemv r; elsewhere by squares, gemv r and gemv T
 *
 * Outputs are conjugated where they are, inputs a few at a time on the stack.
 */
#include "turned.h"

#include "backend.h"

enum { CHUNK = 128 };
typedef union numbers {
    float narrow[2 * CHUNK];
    double wide[2 * CHUNK];
} numbers;

static void conjugate_run(int width, char *x, int64_t n, int64_t stride)
{
    for (int64_t i = 0; i < n; i++, x += stride)
        if (width == 4)
            ((float *)(void *)x)[1] = -((float *)(void *)x)[1];
        else
            ((double *)(void *)x)[1] = -((double *)(void *)x)[1];
}

static void conjugate(const bl_call *c, int i, int64_t n)
{
    const int64_t inc = c->operand[i].ld;
    conjugate_run(c->width, c->operand[i].base, n, (inc < 0 ? -inc : inc) * c->size);
}

/* Numbers first.. of n, in the order of BLAS, conjugated. */
static void take(const bl_call *c, int i, int64_t n, int64_t first, int64_t count, char *copy)
{
    const int64_t inc = c->operand[i].ld, origin = inc < 0 ? (1 - n) * inc : 0;
    const char *x = (const char *)c->operand[i].base + (origin + first * inc) * c->size;
    for (int64_t k = 0; k < count; k++, x += inc * c->size)
        memcpy(copy + k * c->size, x, c->size);
    conjugate_run(c->width, copy, count, c->size);
}

static int64_t chunk(int64_t left) { return left < CHUNK ? left : CHUNK; }

static void gemv(bl_call c)
{
    const bl_call given = c;
    const int64_t m = c.dim[0], n = c.dim[1];
    numbers copy;
    if (m == 0 || n == 0 || (bl_is_zero(c.scalar[0].value) && bl_is_one(c.scalar[1].value)))
        return;
    c.flag[0] = 'N';
    c.scalar[0].value.im = -c.scalar[0].value.im;
    c.scalar[1].value.im = -c.scalar[1].value.im;
    c.operand[1] = (bl_operand){&copy, 1};
    conjugate(&given, 2, m);
    for (int64_t j = 0; j < n; j += CHUNK) {
        c.dim[1] = chunk(n - j);
        c.operand[0].base = (char *)given.operand[0].base + j * c.operand[0].ld * c.size;
        take(&given, 1, n, j, c.dim[1], (char *)&copy);
        bl_backend_run(&c);
        c.scalar[1].value = (bl_complex){1, 0};
    }
    conjugate(&given, 2, m);
}

static void triangle(bl_call c)
{
    conjugate(&c, 1, c.dim[0]);
    c.flag[1] = 'N';
    bl_backend_run(&c);
    conjugate(&c, 1, c.dim[0]);
}

static void gerc(bl_call c)
{
    const bl_call given = c;
    const int64_t m = c.dim[0];
    numbers copy;
    c.routine = BL_GERU;
    c.operand[0] = (bl_operand){&copy, 1};
    for (int64_t i = 0; i < m; i += CHUNK) {
        c.dim[0] = chunk(m - i);
        c.operand[2].base = (char *)given.operand[2].base + i * c.size;
        take(&given, 0, m, i, c.dim[0], (char *)&copy);
        bl_backend_run(&c);
    }
}

/* A hemv of few rows: what gemv does with conjugates, at once. */
static void small_hemv(bl_call c)
{
    const bl_call given = c;
    numbers copy;
    c.flag[1] = 'N';
    c.scalar[0].value.im = -c.scalar[0].value.im;
    c.scalar[1].value.im = -c.scalar[1].value.im;
    c.operand[1] = (bl_operand){&copy, 1};
    take(&given, 1, c.dim[0], 0, c.dim[0], (char *)&copy);
    conjugate(&given, 2, c.dim[0]);
    bl_backend_run(&c);
    conjugate(&given, 2, c.dim[0]);
}

/* Numbers first.. of n, as an operand of their own. */
static bl_operand part(const bl_call *c, int i, int64_t n, int64_t first, int64_t count)
{
    const int64_t inc = c->operand[i].ld, offset = inc < 0 ? (n - first - count) * -inc : first * inc;
    return (bl_operand){(char *)c->operand[i].base + offset * c->size, inc};
}

/* The block of A in rows i.. and columns j.. is B, or on the other side of the diagonal its adjoint. */
static void off_diagonal(const bl_call *c, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
    const int64_t n = c->dim[0];
    bl_call part_call = *c;
    part_call.routine = BL_GEMV;
    part_call.dim[0] = rows, part_call.dim[1] = cols;
    part_call.scalar[1].value = (bl_complex){1, 0};
    part_call.operand[0].base = (char *)c->operand[0].base + (i + j * c->operand[0].ld) * c->size;
    part_call.flag[0] = 'r'; /* conj(B) */
    part_call.operand[1] = part(c, 1, n, j, cols), part_call.operand[2] = part(c, 2, n, i, rows);
    gemv(part_call);
    part_call.flag[0] = 'T'; /* conj(B^H) */
    part_call.operand[1] = part(c, 1, n, i, rows), part_call.operand[2] = part(c, 2, n, j, cols);
    bl_backend_run(&part_call);
}

static void hemv(bl_call c)
{
    const bl_call given = c;
    const int64_t n = c.dim[0];
    if (n == 0 || (bl_is_zero(c.scalar[0].value) && bl_is_one(c.scalar[1].value)))
        return;
    for (int64_t j = 0; j < n; j += CHUNK) {
        c.dim[0] = chunk(n - j);
        c.operand[0].base = (char *)given.operand[0].base + j * (c.operand[0].ld + 1) * c.size;
        c.operand[1] = part(&given, 1, n, j, c.dim[0]), c.operand[2] = part(&given, 2, n, j, c.dim[0]);
        small_hemv(c);
    }
    for (int64_t j = 0; j < n; j += CHUNK) {
        const int64_t cols = chunk(n - j);
        if (given.flag[0] == 'U' && j > 0)
            off_diagonal(&given, 0, j, j, cols);
        else if (given.flag[0] == 'L' && j + cols < n)
            off_diagonal(&given, j + cols, j, n - j - cols, cols);
    }
}

static void conjugate_triangle(const bl_call *c, int i)
{
    const bl_view v = bl_operand_view(c, i);
    for (int64_t j = 0; j < v.columns; j++)
        conjugate_run(c->width, bl_view_column(&v, j), bl_column_bytes(&v, j) / c->size, c->size);
}

static void her(bl_call c)
{
    const int out = c.routine == BL_HER2 ? 2 : 1;
    if (bl_is_zero(c.scalar[0].value))
        return;
    c.flag[1] = 'N';
    c.scalar[0].value.im = -c.scalar[0].value.im;
    conjugate_triangle(&c, out);
    bl_backend_run(&c);
    conjugate_triangle(&c, out);
}

void bl_run_turned(const bl_call *c)
{
    switch (c->routine) {
    case BL_GEMV:
        gemv(*c);
        break;
    case BL_TRMV:
    case BL_TRSV:
        triangle(*c);
        break;
    case BL_HEMV:
        hemv(*c);
        break;
    case BL_HER:
    case BL_HER2:
        her(*c);
        break;
    default:
        gerc(*c);
    }
}
