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
    bool unmade; /* layers see the calls, nobody makes them */
} bl_path;

typedef struct bl_matrix {
    void *at;
    int64_t ld;
} bl_matrix;

/* Scalars come with the address that they were read from, if it is not the rule's own business: a layer below may have
 * them active. A flag before one is 'N', or 'C' for its conjugate; for real types it means nothing. */

/* What the generated makers of calls (made.h) begin and end with. */
static inline void bl_made_begin(bl_call *c, const bl_path *to, int routine, int type)
{
    /* Only what the routine has is filled in: a whole record of zeros costs more than a small product. */
    c->routine = (uint8_t)routine;
    c->type = (uint8_t)type;
    c->size = (uint8_t)bl_element_size(type);
    c->width = (uint8_t)bl_real_width(type);
    c->row_major = false;
    c->cell = false;
    c->symbol = to->symbol;
    c->backend = to->backend;
    c->frame = NULL;
    c->caller = NULL;
}
void bl_made_pass(const bl_path *to, const bl_call *c);

/* The kernels. Those with a uplo work on that triangle of a square, its diagonal included, or on all, 'A'. */

/* C <- op(beta) C, m x n; exact zeros for beta = 0 */
void bl_mscal(const bl_path *to, int type, int64_t m, int64_t n, char conjbeta, bl_scalar beta, bl_matrix c);
/* C <- op(alpha) A + op(beta) C; C is not read for beta = 0 */
void bl_maxpby(const bl_path *to, int type, int64_t m, int64_t n, char conjalpha, bl_scalar alpha, bl_matrix a,
               char conjbeta, bl_scalar beta, bl_matrix c);
/* C <- conj(A) */
void bl_mconj(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c);
/* *cell += sum conj(A) B, or its conjugate */
void bl_mdot(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate, void *cell);
/* The same of triangles. */
void bl_tscal(const bl_path *to, int type, char uplo, int64_t m, int64_t n, char conjbeta, bl_scalar beta, bl_matrix c);
void bl_taxpby(const bl_path *to, int type, char uplo, int64_t m, int64_t n, char conjalpha, bl_scalar alpha,
               bl_matrix a, char conjbeta, bl_scalar beta, bl_matrix c);
void bl_tdot(const bl_path *to, int type, char uplo, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate,
             void *cell);

/* Vectors are matrices whose leading dimension is the increment. y <- op(alpha) op(x) + op(beta) y */
void bl_vaxpby(const bl_path *to, int type, int64_t n, char conjalpha, bl_scalar alpha, char conjx, bl_matrix x,
               char conjbeta, bl_scalar beta, bl_matrix y);
/* *cell += sum conj(x) y, or its conjugate */
void bl_vdot(const bl_path *to, int type, int64_t n, bl_matrix x, bl_matrix y, bool conjugate, void *cell);

/* y <- the signs of x's numbers, or of their parts; 0 of 0 */
void bl_vsign(const bl_path *to, int type, int64_t n, bl_matrix x, bl_matrix y);
/* *c = *a / *b of real numbers, 0 where b is 0 */
void bl_quot(const bl_path *to, int type, void *a, void *b, void *c);

static inline bl_complex bl_conj(bl_complex x) { return (bl_complex){x.re, -x.im}; }
/* The number of `type` at p. */
bl_complex bl_load(int type, const void *p);
/* The same as a scalar that a layer below may have active. */
static inline bl_scalar bl_scalar_at(int type, void *p) { return (bl_scalar){bl_load(type, p), p}; }

/* Constants. A scalar that is 0 or 1 only by value, but has an address, may have a derivative. */
#define BL_ONE ((bl_scalar){{1, 0}, NULL})
#define BL_ZERO ((bl_scalar){{0, 0}, NULL})
static inline bool bl_always_one(bl_scalar x) { return !x.address && bl_is_one(x.value); }
static inline bool bl_always_zero(bl_scalar x) { return !x.address && bl_is_zero(x.value); }

/* x <- op(beta) x, of a vector with any increment, but 0 only for one number */
static inline void bl_vscal(const bl_path *to, int type, int64_t n, char conjbeta, bl_scalar beta, bl_matrix x)
{
    if (x.ld == 1 || n == 1)
        bl_mscal(to, type, n, 1, conjbeta, beta, (bl_matrix){x.at, n});
    else
        bl_mscal(to, type, 1, n, conjbeta, beta, (bl_matrix){x.at, x.ld < 0 ? -x.ld : x.ld});
}

/* The real and imaginary parts of a matrix of one row, a vector's numbers say; real numbers are their real parts. */
static inline bl_matrix bl_real_part(int type, bl_matrix x)
{
    return (bl_matrix){x.at, bl_is_complex(type) ? 2 * x.ld : x.ld};
}
static inline bl_matrix bl_imaginary_part(int type, bl_matrix x)
{
    return (bl_matrix){(char *)x.at + bl_real_width(type), 2 * x.ld};
}

/* The same of pairs of real numbers, where scalars are real. y <- alpha x + beta y */
static inline void bl_pairs_axpby(const bl_path *to, int type, int64_t n, bl_scalar alpha, bl_matrix x, bl_scalar beta,
                                  bl_matrix y)
{
    const int real = bl_real_type(type);
    if (bl_is_complex(type) && x.ld == 1 && y.ld == 1) {
        n *= 2;
    } else if (bl_is_complex(type)) {
        bl_vaxpby(to, real, n, 'N', alpha, 'N', bl_imaginary_part(type, x), 'N', beta, bl_imaginary_part(type, y));
        x = bl_real_part(type, x);
        y = bl_real_part(type, y);
    }
    bl_vaxpby(to, real, n, 'N', alpha, 'N', x, 'N', beta, y);
}
/* x <- beta x */
static inline void bl_pairs_scal(const bl_path *to, int type, int64_t n, bl_scalar beta, bl_matrix x)
{
    const int real = bl_real_type(type), pair = 1 + bl_is_complex(type);
    const int64_t ld = x.ld < 0 ? -x.ld : x.ld;
    if (ld == 1)
        bl_mscal(to, real, pair * n, 1, 'N', beta, (bl_matrix){x.at, pair * n});
    else
        bl_mscal(to, real, pair, n, 'N', beta, (bl_matrix){x.at, pair * ld});
}
/* *cell += Re sum conj(x) y, a real number */
static inline void bl_pairs_dot(const bl_path *to, int type, int64_t n, bl_matrix x, bl_matrix y, void *cell)
{
    const int real = bl_real_type(type);
    if (bl_is_complex(type) && x.ld == 1 && y.ld == 1) {
        n *= 2;
    } else if (bl_is_complex(type)) {
        bl_vdot(to, real, n, bl_imaginary_part(type, x), bl_imaginary_part(type, y), false, cell);
        x = bl_real_part(type, x);
        y = bl_real_part(type, y);
    }
    bl_vdot(to, real, n, x, y, false, cell);
}

/* C <- A, exact */
static inline void bl_mcopy(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c)
{
    bl_maxpby(to, type, m, n, 'N', BL_ONE, a, 'N', BL_ZERO, c);
}
/* C <- A + C */
static inline void bl_madd(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c)
{
    bl_maxpby(to, type, m, n, 'N', BL_ONE, a, 'N', BL_ONE, c);
}

#endif
