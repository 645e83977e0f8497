/* What the C tests share: checks that print what failed and go on, random numbers, and plain matrix products to compare
 * with. */
#ifndef CHECK_H
#define CHECK_H

#include <complex.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blasad.h"

static atomic_int check_failures;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: not true: %s:", __FILE__, __LINE__, #condition);                                            \
            printf(" " __VA_ARGS__);                                                                                   \
            printf("\n");                                                                                              \
            check_failures++;                                                                                          \
        }                                                                                                              \
    } while (0)

/* `call` returns `code`; if that is an error, its text has to name the words. */
#define CHECK_CODE(call, code, words) check_code(__FILE__, __LINE__, #call, (call), (code), (words))
#define CHECK_OK(call) check_code(__FILE__, __LINE__, #call, (call), BLASAD_OK, "")

static inline void check_code(const char *file, int line, const char *call, int got, int want, const char *words)
{
    const char *text = got == BLASAD_OK ? "" : blasad_last_error();
    if (got == want && strstr(text, words) && (got == BLASAD_OK || strlen(text) > 10))
        return;
    printf("%s:%d: %s is %d and should be %d; text: \"%s\"; it should have \"%s\"\n", file, line, call, got, want, text,
           words);
    check_failures++;
}

/* The end of main(). */
static inline int check_end(void)
{
    if (check_failures)
        printf("%d checks failed\n", (int)check_failures);
    return check_failures ? 1 : 0;
}

/* The BLAS that the tests run on. */
static inline void check_backend(void)
{
    const char *path = getenv("BLASAD_BACKEND");
    if (!path || blasad_set_backend(path) != BLASAD_OK) {
        printf("BLASAD_BACKEND has to name the shared library of a BLAS: %s\n", path ? blasad_last_error() : "unset");
        exit(1);
    }
}

/* One shadow, or none for NULL: then the array is constant. */
static inline int check_annotate(blasad_tape *t, void *x, void *dx, int type, int ndim, const int64_t *shape,
                                 const int64_t *strides, const char *label)
{
    return blasad_annotate(t, x, dx != NULL, &dx, 0, type, ndim, shape, strides, label);
}

typedef void (*check_function)(void);

static inline check_function check_entry(const char *name)
{
    check_function f;
    void *p = blasad_address(name);
    CHECK(p, "no entry for %s", name);
    memcpy(&f, &p, sizeof f);
    return f;
}

/* ---- random numbers: the same at every run (xorshift64*, Vigna 2016) */

static uint64_t check_state = 88172645463325252u;

static inline uint64_t check_bits(void)
{
    check_state ^= check_state >> 12;
    check_state ^= check_state << 25;
    check_state ^= check_state >> 27;
    return check_state * 2685821657736338717u;
}

static inline int64_t check_below(int64_t n) { return (int64_t)(check_bits() >> 33) % n; }
static inline double check_uniform(void) { return (double)(check_bits() >> 11) * 0x1p-52 - 1; }

/* ---- gemm of any type, and numbers of any type as the longest one */

typedef void (*check_gemm)(const char *, const char *, const int32_t *, const int32_t *, const int32_t *, const void *,
                           const void *, const int32_t *, const void *, const int32_t *, const void *, void *,
                           const int32_t *);
typedef long double _Complex check_number;

static const size_t check_size[4] = {4, 8, 8, 16};
static const char *const check_gemm_name[4] = {"sgemm_", "dgemm_", "cgemm_", "zgemm_"};

static inline check_number check_get(int type, const void *array, int64_t i)
{
    const float *f = array;
    const double *d = array;
    switch (type) {
    case BLASAD_FLOAT:
        return f[i];
    case BLASAD_DOUBLE:
        return d[i];
    case BLASAD_COMPLEX_FLOAT:
        return CMPLXL(f[2 * i], f[2 * i + 1]);
    default:
        return CMPLXL(d[2 * i], d[2 * i + 1]);
    }
}

static inline void check_set(int type, void *array, int64_t i, check_number x)
{
    float *f = array;
    double *d = array;
    switch (type) {
    case BLASAD_FLOAT:
        f[i] = (float)creall(x);
        break;
    case BLASAD_DOUBLE:
        d[i] = (double)creall(x);
        break;
    case BLASAD_COMPLEX_FLOAT:
        f[2 * i] = (float)creall(x);
        f[2 * i + 1] = (float)cimagl(x);
        break;
    default:
        d[2 * i] = (double)creall(x);
        d[2 * i + 1] = (double)cimagl(x);
    }
}

/* Element (i, j) of op(X), and what an adjoint or tangent of op(X) is as one of X. */
static inline int64_t check_at(char op, int64_t i, int64_t j, int64_t ld)
{
    return op == 'N' ? i + j * ld : j + i * ld;
}
static inline check_number check_op(char op, check_number x) { return op == 'C' ? conjl(x) : x; }

static inline bool check_close(int type, check_number got, check_number want)
{
    const long double tolerance = type == BLASAD_FLOAT || type == BLASAD_COMPLEX_FLOAT ? 2e-5L : 1e-12L;
    return cabsl(got - want) <= tolerance * (1 + cabsl(want)); /* false for NaN */
}

#endif
