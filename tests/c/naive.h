/* A small BLAS of plain loops, with 32- or 64-bit integers, to stand behind blasad where a test wants to know all of
 * it. */
#ifndef NAIVE_H
#define NAIVE_H

#include "check.h"

#include <ctype.h>

static atomic_int naive_calls;

static inline void naive_product(int type, char ta, char tb, int64_t m, int64_t n, int64_t k, const void *alpha,
                                 const void *a, int64_t lda, const void *b, int64_t ldb, const void *beta, void *c,
                                 int64_t ldc)
{
    const check_number scale = check_get(type, alpha, 0), keep = check_get(type, beta, 0);
    naive_calls++;
    if (m == 0 || n == 0 || ((k == 0 || scale == 0) && keep == 1))
        return;
    ta = (char)toupper(ta);
    tb = (char)toupper(tb);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            check_number sum = 0;
            for (int64_t l = 0; l < k && scale != 0; l++)
                sum += check_op(ta, check_get(type, a, check_at(ta, i, l, lda))) *
                       check_op(tb, check_get(type, b, check_at(tb, l, j, ldb)));
            check_set(type, c, i + j * ldc, scale * sum + (keep == 0 ? 0 : keep * check_get(type, c, i + j * ldc)));
        }
}

#define NAIVE_GEMM(name, type, integer)                                                                                \
    static inline void name(const char *ta, const char *tb, const integer *m, const integer *n, const integer *k,      \
                            const void *alpha, const void *a, const integer *lda, const void *b, const integer *ldb,   \
                            const void *beta, void *c, const integer *ldc)                                             \
    {                                                                                                                  \
        naive_product(type, *ta, *tb, *m, *n, *k, alpha, a, *lda, b, *ldb, beta, c, *ldc);                             \
    }
NAIVE_GEMM(naive_sgemm, BLASAD_FLOAT, int32_t)
NAIVE_GEMM(naive_dgemm, BLASAD_DOUBLE, int32_t)
NAIVE_GEMM(naive_cgemm, BLASAD_COMPLEX_FLOAT, int32_t)
NAIVE_GEMM(naive_zgemm, BLASAD_COMPLEX_DOUBLE, int32_t)
NAIVE_GEMM(naive_sgemm_64, BLASAD_FLOAT, int64_t)
NAIVE_GEMM(naive_dgemm_64, BLASAD_DOUBLE, int64_t)
NAIVE_GEMM(naive_cgemm_64, BLASAD_COMPLEX_FLOAT, int64_t)
NAIVE_GEMM(naive_zgemm_64, BLASAD_COMPLEX_DOUBLE, int64_t)

#define NAIVE_ISAMAX(name, integer)                                                                                    \
    static inline integer name(const integer *n, const float *x, const integer *inc)                                   \
    {                                                                                                                  \
        integer at = 0;                                                                                                \
        for (integer i = 1; i <= *n && *inc > 0; i++)                                                                  \
            if (at == 0 || fabsf(x[(i - 1) * *inc]) > fabsf(x[(at - 1) * *inc]))                                       \
                at = i;                                                                                                \
        return at;                                                                                                     \
    }
NAIVE_ISAMAX(naive_isamax, int32_t)
NAIVE_ISAMAX(naive_isamax_64, int64_t)

static inline void *naive_pointer(check_function f)
{
    void *p;
    memcpy(&p, &f, sizeof p);
    return p;
}

/* Makes this the BLAS behind blasad; the real one stays away. */
static inline void naive_backend(int integer_bits)
{
    static const char *const names[] = {"sgemm", "dgemm", "cgemm", "zgemm", "isamax"};
    const bool wide = integer_bits == 64;
    void *const functions[] = {naive_pointer(wide ? (check_function)naive_sgemm_64 : (check_function)naive_sgemm),
                               naive_pointer(wide ? (check_function)naive_dgemm_64 : (check_function)naive_dgemm),
                               naive_pointer(wide ? (check_function)naive_cgemm_64 : (check_function)naive_cgemm),
                               naive_pointer(wide ? (check_function)naive_zgemm_64 : (check_function)naive_zgemm),
                               naive_pointer(wide ? (check_function)naive_isamax_64 : (check_function)naive_isamax)};
    CHECK_OK(blasad_set_backend(NULL));
    CHECK_OK(blasad_set_backend_functions("plain loops", 5, names, functions));
    int bits, registers;
    CHECK(strcmp(blasad_backend(&bits, &registers), "plain loops") == 0 && bits == integer_bits);
}

#endif
