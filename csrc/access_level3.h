/* Level 3: what a call accesses, what its adjoint needs and how much room it takes. Inline, since recording asks at
 * every call; the derivatives themselves are in rules_level3.c. */
#ifndef BL_ACCESS_LEVEL3_H
#define BL_ACCESS_LEVEL3_H

#include "rules.h"

enum { A, B, C };
enum { ALPHA, BETA };

typedef struct gemm {
    int type;
    char ta, tb; /* real types: N or T only */
    int64_t m, n, k;
} gemm;

static inline gemm read_gemm(const bl_call *c)
{
    bool z = bl_is_complex(c->type);
    char ta = c->flag[0], tb = c->flag[1];
    return (gemm){c->type, !z && ta == 'C' ? 'T' : ta, !z && tb == 'C' ? 'T' : tb, c->dim[0], c->dim[1], c->dim[2]};
}

static inline void gemm_access(const bl_call *c, bl_access *a)
{
    const int64_t m = c->dim[0], n = c->dim[1], k = c->dim[2];
    bool zero = bl_is_zero(c->scalar[ALPHA].value), product = k > 0 && !zero;
    bool keeps = bl_is_one(c->scalar[BETA].value), clears = bl_is_zero(c->scalar[BETA].value);
    *a = (bl_access){.scalars = a->scalars};
    if (m == 0 || n == 0) {
        a->scalars = 0;
        return;
    }
    if (k == 0)
        a->scalars &= ~BL_ANY(ALPHA);
    bool stores = product || !keeps; /* else the reference returns at once */
    /* An active scalar has a derivative also where its value makes the routine skip work. */
    if (product || (a->scalars & BL_ANY(ALPHA)))
        a->read |= BL_OPERAND(A) | BL_OPERAND(B);
    if ((stores && !clears) || (a->scalars & BL_ANY(BETA)) || (a->scalars && !clears))
        a->read |= BL_OPERAND(C);
    if (stores)
        a->write |= BL_OPERAND(C);
    if (stores || a->scalars)
        a->result |= BL_OPERAND(C);
}

static inline unsigned gemm_needs(const bl_call *c, unsigned active)
{
    bool zero = bl_is_zero(c->scalar[ALPHA].value) && !(active & BL_OUTER(ALPHA));
    unsigned needs = 0;
    if (c->dim[0] == 0 || c->dim[1] == 0)
        return 0;
    if (c->dim[2] > 0 && ((active & BL_SCALAR(ALPHA)) || (!zero && (active & BL_OPERAND(B)))))
        needs |= BL_OPERAND(A);
    if (c->dim[2] > 0 && ((active & BL_SCALAR(ALPHA)) || (!zero && (active & BL_OPERAND(A)))))
        needs |= BL_OPERAND(B);
    if (active & BL_SCALAR(BETA))
        needs |= BL_OPERAND(C);
    return needs;
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
static inline size_t gemm_workspace(const bl_call *c, unsigned active)
{
    const unsigned needs = gemm_needs(c, active); /* where it needs no operand, sizes have no memory behind them */
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

#endif
