/*   gemv r   y = alpha conj(A) x + beta y    conj(y) = conj(alpha) A conj(x) + conj(beta) conj(y)
 *   trmv r   x = conj(A) x                   conj(x) = A conj(x), and the same with trsv and an inverse
 *   gerc C   A = A + alpha conj(x) y^T       geru with a conjugated x
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
    default:
        gerc(*c);
    }
}
