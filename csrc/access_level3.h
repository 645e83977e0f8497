/* Level 3: what a call accesses, what its adjoint needs and how much room it takes. Inline, since recording asks at
 * every call; the derivatives themselves are in rules_level3.c. */
#ifndef BL_ACCESS_LEVEL3_H
#define BL_ACCESS_LEVEL3_H

#include "rules.h"

enum { A, B, C };
enum { ALPHA, BETA };

/* ---- gemm, and gemmt, which is a gemm of a triangle of C */

typedef struct gemm {
    int type;
    char uplo;   /* 'A': all of C */
    char ta, tb; /* real types: N or T only */
    int64_t m, n, k;
} gemm;

static inline gemm read_gemm(const bl_call *c)
{
    const bool z = bl_is_complex(c->type), whole = c->routine == BL_GEMM;
    const char *op = c->flag + !whole, ta = !z && op[0] == 'C' ? 'T' : op[0], tb = !z && op[1] == 'C' ? 'T' : op[1];
    return (gemm){c->type, whole ? 'A' : c->flag[0], ta, tb, c->dim[0], c->dim[whole ? 1 : 0], c->dim[whole ? 2 : 1]};
}

/* C <- alpha product + beta C, where the product is a sum of `terms` or there is none. */
static inline void update_access(const bl_call *c, bl_access *a, bool empty, bool terms, unsigned inputs, unsigned out)
{
    bool zero = bl_is_zero(c->scalar[ALPHA].value), product = terms && !zero;
    bool keeps = bl_is_one(c->scalar[BETA].value), clears = bl_is_zero(c->scalar[BETA].value);
    *a = (bl_access){.scalars = a->scalars};
    if (empty) {
        a->scalars = 0;
        return;
    }
    if (!terms)
        a->scalars &= ~BL_ANY(ALPHA);
    bool stores = product || !keeps; /* else the reference returns at once */
    /* An active scalar has a derivative also where its value makes the routine skip work. */
    if (product || (a->scalars & BL_ANY(ALPHA)))
        a->read |= inputs;
    if ((stores && !clears) || (a->scalars & BL_ANY(BETA)) || (a->scalars && !clears))
        a->read |= out;
    if (stores)
        a->write |= out;
    if (stores || a->scalars)
        a->result |= out;
}

/* Whether an adjoint has products with alpha other than that for dalpha. */
static inline bool has_products(const bl_call *c, unsigned active)
{
    return !bl_is_zero(c->scalar[ALPHA].value) || (active & BL_OUTER(ALPHA));
}

/* The same for a product of A and B. */
static inline unsigned update_needs(const bl_call *c, unsigned active, bool empty, bool terms)
{
    const unsigned alpha = active & BL_SCALAR(ALPHA);
    const bool products = has_products(c, active);
    unsigned needs = 0;
    if (empty)
        return 0;
    if (terms && (alpha || (products && (active & BL_OPERAND(B)))))
        needs |= BL_OPERAND(A);
    if (terms && (alpha || (products && (active & BL_OPERAND(A)))))
        needs |= BL_OPERAND(B);
    if (active & BL_SCALAR(BETA))
        needs |= BL_OPERAND(C);
    return needs;
}

static inline void gemm_access(const bl_call *c, bl_access *a)
{
    update_access(c, a, c->dim[0] == 0 || c->dim[1] == 0, c->dim[2] > 0, BL_OPERAND(A) | BL_OPERAND(B), BL_OPERAND(C));
}

static inline unsigned gemm_needs(const bl_call *c, unsigned active)
{
    return update_needs(c, active, c->dim[0] == 0 || c->dim[1] == 0, c->dim[2] > 0);
}

static inline void gemmt_access(const bl_call *c, bl_access *a)
{
    update_access(c, a, c->dim[0] == 0, c->dim[1] > 0, BL_OPERAND(A) | BL_OPERAND(B), BL_OPERAND(C));
}

static inline unsigned gemmt_needs(const bl_call *c, unsigned active)
{
    return update_needs(c, active, c->dim[0] == 0, c->dim[1] > 0);
}

/* BLAS has no op that conjugates without transposing: such an operand is conjugated into workspace. 'R' says so. */
static inline char adjoint_of(char op) { return op == 'N' ? 'C' : op == 'C' ? 'N' : 'R'; }   /* of op(X)^H */
static inline char conjugate_of(char op) { return op == 'N' ? 'R' : op == 'T' ? 'C' : 'T'; } /* of conj(op(X)) */

/* The op with which the other operand enters dA (dB likewise, the product being symmetric under (AB)^T = B^T A^T). */
static inline char partner_op(char own, char other)
{
    return own == 'N' ? adjoint_of(other) : own == 'T' ? conjugate_of(other) : other;
}

/* Bytes for a cell with conj(alpha), the unscaled product of an active alpha, and the larger of the conjugated
 * operands. */
static inline size_t product_workspace(const bl_call *c, unsigned active, unsigned needs)
{
    /* where it needs no operand, sizes have no memory behind them */
    const gemm g = read_gemm(c);
    const int64_t size = bl_element_size(c->type);
    bool z = bl_is_complex(c->type), to_a = active & (BL_OPERAND(A) | BL_SCALAR(ALPHA)), to_b = active & BL_OPERAND(B);
    size_t cell = z && needs ? bl_room(1, size) : 0, product = 0, for_a = 0, for_b = 0;
    if ((active & BL_SCALAR(ALPHA)) && (needs & BL_OPERAND(A)))
        product = bl_room(g.m * g.k, size);
    if (z && to_a && (needs & BL_OPERAND(B)) && partner_op(g.ta, g.tb) == 'R')
        for_a = bl_room(g.k * g.n, size);
    if (z && to_b && (needs & BL_OPERAND(A)) && partner_op(g.tb, g.ta) == 'R')
        for_b = bl_room(g.m * g.k, size);
    return cell + product + (for_a > for_b ? for_a : for_b);
}

static inline size_t gemm_workspace(const bl_call *c, unsigned active)
{
    return product_workspace(c, active, gemm_needs(c, active));
}

/* Up to this order a triangle is cut out of a square, or completed to one. */
enum { LEAF = 64 };

static inline size_t leaf_room(int64_t order, int64_t size)
{
    const int64_t n = order < LEAF ? order : LEAF;
    return bl_room(n * n, size);
}

/* And a square block of C's shadow. */
static inline size_t gemmt_workspace(const bl_call *c, unsigned active)
{
    const unsigned needs = gemmt_needs(c, active) & (BL_OPERAND(A) | BL_OPERAND(B));
    return needs ? leaf_room(c->dim[0], c->size) + product_workspace(c, active, needs) : 0;
}

/* ---- symm */

typedef struct symm {
    int type;
    char side, uplo, twin; /* twin: 'T' if A is symmetric, 'C' if Hermitian */
    int64_t m, n, order;   /* order: of A */
} symm;

static inline symm read_symm(const bl_call *c)
{
    return (symm){c->type,
                  c->flag[0],
                  c->flag[1],
                  c->routine == BL_HEMM ? 'C' : 'T',
                  c->dim[0],
                  c->dim[1],
                  c->dim[c->flag[0] == 'L' ? 0 : 1]};
}

static inline bool symm_is_empty(const bl_call *c) { return c->dim[0] == 0 || c->dim[1] == 0; }

static inline void symm_access(const bl_call *c, bl_access *a)
{
    update_access(c, a, symm_is_empty(c), true, BL_OPERAND(A) | BL_OPERAND(B), BL_OPERAND(C));
}

static inline unsigned symm_needs(const bl_call *c, unsigned active)
{
    return update_needs(c, active, symm_is_empty(c), true);
}

/* Bytes for a cell with conj(alpha) and the product that goes to B, in complex symm with the conjugate of C's shadow;
 * or for what goes to A: its diagonal, and in complex symm the conjugate of B. */
static inline size_t symm_workspace(const bl_call *c, unsigned active)
{
    if (!(symm_needs(c, active) & (BL_OPERAND(A) | BL_OPERAND(B))))
        return 0; /* sizes have no memory behind them */
    const symm q = read_symm(c);
    const int64_t size = bl_element_size(c->type);
    const bool turns = bl_is_complex(q.type) && q.twin == 'T';
    const size_t matrix = bl_room(q.m * q.n, size), alpha = active & BL_SCALAR(ALPHA);
    const size_t to_b = turns && (alpha || (active & BL_OPERAND(B))) ? 2 * matrix : alpha ? matrix : 0;
    const size_t to_a = active & BL_OPERAND(A) ? bl_room(q.order, size) + (turns ? matrix : 0) : 0;
    return bl_room(1, size) + (to_a > to_b ? to_a : to_b);
}

#define hemm_access symm_access
#define hemm_needs symm_needs
#define hemm_workspace symm_workspace

/* ---- syrk, syr2k, herk, her2k */

enum { RANK_C = 1 }; /* of syrk and herk, which have no B */

typedef struct rank {
    int type;
    bool hermitian;
    char uplo, trans;         /* N, or T, which is C in herk and her2k */
    int64_t n, k, rows, cols; /* rows and columns: of A and B as stored */
} rank;

static inline rank read_rank(const bl_call *c)
{
    const char trans = c->flag[1] == 'N' ? 'N' : 'T';
    const int64_t n = c->dim[0], k = c->dim[1];
    const bool hermitian = c->routine == BL_HERK || c->routine == BL_HER2K;
    return (rank){c->type, hermitian, c->flag[0], trans, n, k, trans == 'N' ? n : k, trans == 'N' ? k : n};
}

static inline void syrk_access(const bl_call *c, bl_access *a)
{
    update_access(c, a, c->dim[0] == 0, c->dim[1] > 0, BL_OPERAND(A), BL_OPERAND(RANK_C));
}

static inline unsigned syrk_needs(const bl_call *c, unsigned active)
{
    const unsigned alpha = active & BL_SCALAR(ALPHA);
    unsigned needs = active & BL_SCALAR(BETA) ? BL_OPERAND(RANK_C) : 0;
    if (c->dim[1] > 0 && (alpha || (has_products(c, active) && (active & BL_OPERAND(A)))))
        needs |= BL_OPERAND(A);
    return c->dim[0] == 0 ? 0 : needs;
}

static inline void syr2k_access(const bl_call *c, bl_access *a)
{
    update_access(c, a, c->dim[0] == 0, c->dim[1] > 0, BL_OPERAND(A) | BL_OPERAND(B), BL_OPERAND(C));
}

static inline unsigned syr2k_needs(const bl_call *c, unsigned active)
{
    return update_needs(c, active, c->dim[0] == 0, c->dim[1] > 0);
}

/* Bytes for a diagonal, two cells, the unscaled product of an active alpha, and a conjugated operand. */
static inline size_t rank_workspace(const bl_call *c, unsigned active, unsigned needs)
{
    const bool hermitian = read_rank(c).hermitian;
    const int64_t size = bl_element_size(c->type);
    const size_t row = c->dim[0] > 0 && (needs || hermitian) ? bl_room(c->dim[0], size) + 2 * bl_room(1, size) : 0;
    if (!needs)
        return row; /* sizes have no memory behind them */
    const size_t matrix = bl_room(c->dim[0] * c->dim[1], size);
    return row + (active & BL_SCALAR(ALPHA) ? matrix : 0) + (bl_is_complex(c->type) && !hermitian ? matrix : 0);
}

static inline size_t syrk_workspace(const bl_call *c, unsigned active)
{
    return rank_workspace(c, active, syrk_needs(c, active) & BL_OPERAND(A));
}

static inline size_t syr2k_workspace(const bl_call *c, unsigned active)
{
    return rank_workspace(c, active, syr2k_needs(c, active) & (BL_OPERAND(A) | BL_OPERAND(B)));
}

#define herk_access syrk_access
#define herk_needs syrk_needs
#define herk_workspace syrk_workspace
#define her2k_access syr2k_access
#define her2k_needs syr2k_needs
#define her2k_workspace syr2k_workspace

/* ---- trmm */

typedef struct trmm {
    int type;
    char side, uplo, trans, diag; /* trans in real types: N or T only */
    int64_t m, n, order;          /* order: of A */
} trmm;

static inline trmm read_trmm(const bl_call *c)
{
    const char trans = c->flag[2] == 'C' && !bl_is_complex(c->type) ? 'T' : c->flag[2];
    return (trmm){c->type,    c->flag[0], c->flag[1], trans,
                  c->flag[3], c->dim[0],  c->dim[1],  c->dim[c->flag[0] == 'L' ? 0 : 1]};
}

static inline bool trmm_is_empty(const bl_call *c) { return c->dim[0] == 0 || c->dim[1] == 0; }

/* A unit triangle of order 1 has no elements. */
static inline unsigned trmm_triangle(const bl_call *c)
{
    return c->flag[3] == 'U' && c->dim[c->flag[0] == 'L' ? 0 : 1] == 1 ? 0 : BL_OPERAND(A);
}

/* For alpha = 0 the reference stores zeros, whatever A and B hold. */
static inline void trmm_access(const bl_call *c, bl_access *a)
{
    const bool empty = trmm_is_empty(c);
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (empty)
        return;
    if (!bl_is_zero(c->scalar[ALPHA].value) || a->scalars)
        a->read = trmm_triangle(c) | BL_OPERAND(B);
    a->write = a->result = BL_OPERAND(B);
}

static inline unsigned trmm_needs(const bl_call *c, unsigned active)
{
    const unsigned alpha = active & BL_SCALAR(ALPHA);
    const bool products = has_products(c, active);
    unsigned needs = 0;
    if (trmm_is_empty(c))
        return 0;
    if (alpha || (products && (active & BL_OPERAND(B))))
        needs |= trmm_triangle(c);
    if (alpha || (products && (active & BL_OPERAND(A))))
        needs |= BL_OPERAND(B);
    return needs;
}

/* ---- trsm: but for what its adjoint needs, a trmm */

#define trsm_access trmm_access

/* Of B what the call left is enough, and saves the adjoint a solve; alpha's derivative needs what it found, from which
 * the other is made again. */
static inline unsigned trsm_needs(const bl_call *c, unsigned active)
{
    const unsigned alpha = active & BL_SCALAR(ALPHA), a = active & BL_OPERAND(A);
    if (trmm_is_empty(c) || !(alpha || (has_products(c, active) && (a | (active & BL_OPERAND(B))))))
        return 0;
    return trmm_triangle(c) | (alpha ? BL_OPERAND(B) : a ? BL_LEFT(B) : 0);
}

/* Bytes for a cell with conj(alpha), a diagonal block of dA, and a matrix: a conjugated one, or in forward mode a
 * product. */
static inline size_t trmm_workspace(const bl_call *c, unsigned active)
{
    if (trmm_is_empty(c) || !(has_products(c, active) || (active & BL_SCALAR(ALPHA))))
        return 0;
    const int64_t size = bl_element_size(c->type);
    return bl_room(1, size) + leaf_room(read_trmm(c).order, size) + bl_room(c->dim[0] * c->dim[1], size);
}

/* And one more matrix, a solution. */
static inline size_t trsm_workspace(const bl_call *c, unsigned active)
{
    const size_t shared = trmm_workspace(c, active);
    return shared ? shared + bl_room(c->dim[0] * c->dim[1], c->size) : 0;
}

#endif
