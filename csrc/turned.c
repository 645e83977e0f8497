/*   gemv r   y = alpha conj(A) x + beta y    conj(y) = conj(alpha) A conj(x) + conj(beta) conj(y)
 *   trmv r   x = conj(A) x                   conj(x) = A conj(x), and the same with trsv and an inverse
 *   gerc C   A = A + alpha conj(x) y^T       geru with a conjugated x
 *   her C    A = A + alpha conj(x) x^T       conj(A) = conj(A) + alpha x x^H; her2 likewise, with conj(alpha)
 *   hemv C   y = alpha conj(A) x + beta y    of a square as gemv r; elsewhere by squares, gemv r and gemv T
 *   gbmv r, hbmv C and hpmv C: the same, number by number
 *
 * trmv stands for those of bands and packed triangles, too, and her for hpr. Outputs are conjugated where they are,
 * inputs a few at a time on the stack.
 */
#include "turned.h"

#include "backend.h"
#include "rules_level2.h"

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
static bl_operand numbers_of(const bl_call *c, int i, int64_t n, int64_t first, int64_t count)
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
    part_call.operand[1] = numbers_of(c, 1, n, j, cols), part_call.operand[2] = numbers_of(c, 2, n, i, rows);
    gemv(part_call);
    part_call.flag[0] = 'T'; /* conj(B^H) */
    part_call.operand[1] = numbers_of(c, 1, n, i, rows), part_call.operand[2] = numbers_of(c, 2, n, j, cols);
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
        c.operand[1] = numbers_of(&given, 1, n, j, c.dim[0]), c.operand[2] = numbers_of(&given, 2, n, j, c.dim[0]);
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

static bl_complex times_complex(bl_complex a, bl_complex b)
{
    return (bl_complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static void add_to(int type, char *p, bl_complex x)
{
    if (type == BL_C) {
        ((float *)(void *)p)[0] += (float)x.re;
        ((float *)(void *)p)[1] += (float)x.im;
    } else {
        ((double *)(void *)p)[0] += x.re;
        ((double *)(void *)p)[1] += x.im;
    }
}

static void columns(bl_call c)
{
    const bl_linear l = bl_read_linear(&c, 0);
    const bl_complex alpha = c.scalar[0].value, beta = c.scalar[1].value;
    if (l.m == 0 || l.n == 0 || (bl_is_zero(alpha) && bl_is_one(beta)))
        return;
    for (int64_t i = 0; i < l.m; i++) {
        char *y = numbers_of(&c, 2, l.m, i, 1).base;
        const bl_complex scaled = times_complex(beta, bl_load(c.type, y));
        memset(y, 0, c.size);
        if (!bl_is_zero(beta))
            add_to(c.type, y, scaled);
    }
    for (int64_t j = 0; j < l.n && !bl_is_zero(alpha); j++) {
        const bl_column column = bl_stored_column(&l, (bl_matrix){c.operand[0].base, c.operand[0].ld}, j, c.size);
        const bl_complex factor = times_complex(alpha, bl_load(c.type, numbers_of(&c, 1, l.n, j, 1).base));
        for (int64_t i = column.row; i < column.row + column.count; i++) {
            bl_complex a = bl_load(c.type, column.at + (i - column.row) * c.size);
            if (l.uplo && i == j)
                a.im = 0;
            else if (l.uplo)
                add_to(c.type, numbers_of(&c, 2, l.n, j, 1).base,
                       times_complex(alpha, times_complex(a, bl_load(c.type, numbers_of(&c, 1, l.n, i, 1).base))));
            add_to(c.type, numbers_of(&c, 2, l.m, i, 1).base, times_complex(factor, bl_conj(a)));
        }
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
    const int out = c.routine == BL_HER2 || c.routine == BL_HPR2 ? 2 : 1;
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
    case BL_TBMV:
    case BL_TBSV:
    case BL_TPMV:
    case BL_TPSV:
        triangle(*c);
        break;
    case BL_HEMV:
        hemv(*c);
        break;
    case BL_GBMV:
    case BL_HBMV:
    case BL_HPMV:
        columns(*c);
        break;
    case BL_HER:
    case BL_HPR:
    case BL_HER2:
    case BL_HPR2:
        her(*c);
        break;
    default:
        gerc(*c);
    }
}
