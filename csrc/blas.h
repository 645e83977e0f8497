/* Type-dispatched calls that rules make. Each fills a canonical call and passes it to the layer below the one that
 * asks, so that an outer layer sees the arithmetic of an inner one as it sees the program's. */
#ifndef BL_BLAS_H
#define BL_BLAS_H

#include "layer.h"

/* Where calls of a rule go: the layer below, and at the end of it the BLAS of the call they belong to. */
typedef struct bl_path {
    bl_layer *below;
    const struct bl_backend *backend;
    uint16_t symbol;
} bl_path;

typedef struct bl_matrix {
    void *at;
    int64_t ld;
} bl_matrix;

/* C <- alpha op(A) op(B) + beta C */
void bl_gemm(const bl_path *to, int type, char transa, char transb, int64_t m, int64_t n, int64_t k, bl_complex alpha,
             bl_matrix a, bl_matrix b, bl_complex beta, bl_matrix c);
/* C <- beta C, m x n; exact zeros for beta = 0 */
void bl_mscal(const bl_path *to, int type, int64_t m, int64_t n, bl_complex beta, bl_matrix c);
/* C <- alpha A + beta C; C is not read for beta = 0 */
void bl_maxpby(const bl_path *to, int type, int64_t m, int64_t n, bl_complex alpha, bl_matrix a, bl_complex beta,
               bl_matrix c);
/* C <- conj(A) */
void bl_mconj(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c);
/* *cell += sum conj(A) B, or its conjugate */
void bl_mdot(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate, void *cell);

static inline bl_complex bl_conj(bl_complex x) { return (bl_complex){x.re, -x.im}; }
/* The number of `type` at p. */
bl_complex bl_load(int type, const void *p);

#define BL_ONE ((bl_complex){1, 0})
#define BL_ZERO ((bl_complex){0, 0})

#endif
