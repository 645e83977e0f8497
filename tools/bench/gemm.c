/* The loops that gemm.py and memory.py time: calls through a pointer with nothing of Python between them, and the
 * reverse pass that somebody would write by hand for a chain of products. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*dgemm)(const char *, const char *, const int32_t *, const int32_t *, const int32_t *, const double *,
                      const double *, const int32_t *, const double *, const int32_t *, const double *, double *,
                      const int32_t *, size_t, size_t);

static const double one = 1, zero = 0, minus_one = -1;

/* A BLAS that computes nothing, and how often it was called: to time what blasad does without the products. */
int64_t calls_of_nothing;

void nothing(const char *ta, const char *tb, const int32_t *m, const int32_t *n, const int32_t *k, const double *alpha,
             const double *a, const int32_t *lda, const double *b, const int32_t *ldb, const double *beta, double *c,
             const int32_t *ldc)
{
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b, (void)ldb, (void)beta;
    (void)c, (void)ldc;
    calls_of_nothing++;
}

/* Of this thread alone: turns that other programs take on a busy machine are nobody's cost. */
double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
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

/* Seconds for the adjoint products alone: dA <- C B^T + dA, dB <- A^T C + dB for each of `shadows` dA, dB and dC. */
double adjoints(dgemm f, int32_t n, int64_t shadows, const double *a, const double *b, const double *dc, double *da,
                double *db)
{
    int64_t size = (int64_t)n * n;
    double start = now();
    for (int64_t i = 0; i < shadows; i++) {
        f("N", "T", &n, &n, &n, &one, dc + i * size, &n, b, &n, &one, da + i * size, &n, 1, 1);
        f("T", "N", &n, &n, &n, &one, a, &n, dc + i * size, &n, &one, db + i * size, &n, 1, 1);
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

/* The chain again, its buffers visited in any order: X[p[i + 1]] <- X[p[i]] A[q[i]]. */
void walk(dgemm f, int32_t n, int64_t calls, double *x, const double *a, const int64_t *p, const int64_t *q)
{
    int64_t size = (int64_t)n * n;
    for (int64_t i = 0; i < calls; i++)
        f("N", "N", &n, &n, &n, &one, x + p[i] * size, &n, a + q[i] * size, &n, &zero, x + p[i + 1] * size, &n, 1, 1);
}

/* The chain from `first` to `last` through t_count temporaries, used in turn. */
void through(dgemm f, int32_t n, int64_t calls, int64_t t_count, const double *first, double *t, double *last,
             const double *a)
{
    int64_t size = (int64_t)n * n;
    for (int64_t i = 0; i < calls; i++) {
        const double *from = i ? t + (i - 1) % t_count * size : first;
        double *to = i < calls - 1 ? t + i % t_count * size : last;
        f("N", "N", &n, &n, &n, &one, from, &n, a + i * size, &n, &zero, to, &n, 1, 1);
    }
}

/* Seconds for the updates of a blocked LU: A_ij <- A_ij - A_ik A_kj, i, j > k, n x n blocks of one matrix. */
double lu(dgemm f, int32_t n, int64_t blocks, double *a)
{
    int32_t ld = (int32_t)(n * blocks);
    double start = now();
    for (int64_t k = 0; k < blocks; k++)
        for (int64_t j = k + 1; j < blocks; j++)
            for (int64_t i = k + 1; i < blocks; i++)
                f("N", "N", &n, &n, &n, &minus_one, a + (k * ld + i) * n, &ld, a + (j * ld + k) * n, &ld, &one,
                  a + (j * ld + i) * n, &ld, 1, 1);
    return now() - start;
}

/* Seconds for products of 17 x 13 by 13 x 13 blocks of one matrix; three offsets a call: of A, of B and of C. */
double blocks(dgemm f, int64_t calls, int32_t ld, double *parent, const int64_t *offset)
{
    const int32_t m = 17, n = 13;
    double start = now();
    for (int64_t i = 0; i < calls; i++, offset += 3)
        f("N", "N", &m, &n, &n, &one, parent + offset[0], &ld, parent + offset[1], &ld, &zero, parent + offset[2], &ld,
          1, 1);
    return now() - start;
}
