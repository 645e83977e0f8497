/* The loops that gemm.py times: calls through a pointer with nothing of Python between them, and the reverse pass that
 * somebody would write by hand for a chain of products. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*dgemm)(const char *, const char *, const int32_t *, const int32_t *, const int32_t *, const double *,
                      const double *, const int32_t *, const double *, const int32_t *, const double *, double *,
                      const int32_t *, size_t, size_t);

static const double one = 1, zero = 0;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds for `calls` products C <- A B of one set of n x n operands. */
double same(dgemm f, int32_t n, int64_t calls, const double *a, const double *b, double *c)
{
    double start = now();
    for (int64_t i = 0; i < calls; i++)
        f("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n, 1, 1);
    return now() - start;
}

/* Seconds for what reverse mode costs at least: C <- A B, dA <- C B^T + dA, dB <- A^T C + dB. */
double three(dgemm f, int32_t n, int64_t calls, const double *a, const double *b, double *c, double *da, double *db)
{
    double start = now();
    for (int64_t i = 0; i < calls; i++) {
        f("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n, 1, 1);
        f("N", "T", &n, &n, &n, &one, c, &n, b, &n, &one, da, &n, 1, 1);
        if (db)
            f("T", "N", &n, &n, &n, &one, a, &n, c, &n, &one, db, &n, 1, 1);
    }
    return now() - start;
}

/* X[i + 1] <- X[i] A[i] for `calls` products; x_count buffers are used in turn. */
void chain(dgemm f, int32_t n, int64_t calls, int64_t x_count, double *x, const double *a)
{
    int64_t size = (int64_t)n * n;
    for (int64_t i = 0; i < calls; i++)
        f("N", "N", &n, &n, &n, &one, x + i % x_count * size, &n, a + i * size, &n, &zero, x + (i + 1) % x_count * size,
          &n, 1, 1);
}

/* The same chain with a reverse pass by hand: one struct a call, two products backwards, a clear. */
double chain_by_hand(dgemm f, int32_t n, int64_t calls, double *x, const double *a, double *dx, double *da)
{
    struct step {
        int32_t m, n, k, lda, ldb, ldc;
        double alpha, beta;
        const double *a, *b;
        double *c, *da, *db, *dc;
    } *tape = malloc((size_t)calls * sizeof *tape);
    int64_t size = (int64_t)n * n;
    double start = now();
    for (int64_t i = 0; i < calls; i++) {
        tape[i] = (struct step){n,
                                n,
                                n,
                                n,
                                n,
                                n,
                                1,
                                0,
                                x + i * size,
                                a + i * size,
                                x + (i + 1) * size,
                                dx + i * size,
                                da + i * size,
                                dx + (i + 1) * size};
        f("N", "N", &n, &n, &n, &one, x + i * size, &n, a + i * size, &n, &zero, x + (i + 1) * size, &n, 1, 1);
    }
    for (int64_t i = calls; i-- > 0;) {
        const struct step *s = &tape[i];
        f("N", "T", &s->m, &s->k, &s->n, &s->alpha, s->dc, &s->ldc, s->b, &s->ldb, &one, s->da, &s->lda, 1, 1);
        f("T", "N", &s->k, &s->n, &s->m, &s->alpha, s->a, &s->lda, s->dc, &s->ldc, &one, s->db, &s->ldb, 1, 1);
        memset(s->dc, 0, (size_t)size * sizeof *s->dc);
    }
    double seconds = now() - start;
    free(tape);
    return seconds;
}
