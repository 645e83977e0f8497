/* Level 2: what a call accesses, what its adjoint needs and how much room it takes. Formulas and derivatives are in
 * rules_level2.c. */
#ifndef BL_ACCESS_LEVEL2_H
#define BL_ACCESS_LEVEL2_H

#include "rules.h"

/* Of all storages of a matrix: gemv, symv, hemv, syr, her, trmv and trsv stand for those of bands and packed ones. */
enum { GEMV_A, GEMV_X, GEMV_Y }; /* symv and hemv too */
enum { GER_X, GER_Y, GER_A };
enum { SYR_X, SYR_A };           /* her too */
enum { SYR2_X, SYR2_Y, SYR2_A }; /* her2 too */
enum { TRMV_A, TRMV_X };
enum { LEVEL2_ALPHA, LEVEL2_BETA };

/* Whether a product by alpha has an adjoint: it has none by a 0 that nobody varies. */
static inline bool counts(const bl_call *c, unsigned active)
{
    return !bl_is_zero(c->scalar[LEVEL2_ALPHA].value) || (active & BL_OUTER(LEVEL2_ALPHA));
}

/* ---- y <- alpha op(A) x + beta y. Without rows or columns the reference leaves y, whatever beta. */

static inline void gemv_like_access(const bl_call *c, bool empty, bl_access *a)
{
    const bool product = !bl_is_zero(c->scalar[LEVEL2_ALPHA].value);
    const bool keeps = bl_is_one(c->scalar[LEVEL2_BETA].value), clears = bl_is_zero(c->scalar[LEVEL2_BETA].value);
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (empty)
        return;
    const bool stores = product || !keeps;
    /* An active scalar has a derivative also where its value makes the routine skip work. */
    if (product || (a->scalars & BL_ANY(LEVEL2_ALPHA)))
        a->read |= BL_OPERAND(GEMV_A) | BL_OPERAND(GEMV_X);
    if ((stores && !clears) || (a->scalars & BL_ANY(LEVEL2_BETA)) || (a->scalars && !clears))
        a->read |= BL_OPERAND(GEMV_Y);
    if (stores)
        a->write |= BL_OPERAND(GEMV_Y);
    if (stores || a->scalars)
        a->result |= BL_OPERAND(GEMV_Y);
}

static inline unsigned gemv_like_needs(const bl_call *c, bool empty, unsigned active)
{
    const bool product = counts(c, active), to_alpha = active & BL_SCALAR(LEVEL2_ALPHA);
    unsigned needs = 0;
    if (to_alpha || (product && (active & BL_OPERAND(GEMV_X))))
        needs |= BL_OPERAND(GEMV_A);
    if (to_alpha || (product && (active & BL_OPERAND(GEMV_A))))
        needs |= BL_OPERAND(GEMV_X);
    if (active & BL_SCALAR(LEVEL2_BETA))
        needs |= BL_OPERAND(GEMV_Y);
    return empty ? 0 : needs;
}

static inline bool gemv_is_empty(const bl_call *c) { return c->dim[0] == 0 || c->dim[1] == 0; }
static inline void gemv_access(const bl_call *c, bl_access *a) { gemv_like_access(c, gemv_is_empty(c), a); }
static inline unsigned gemv_needs(const bl_call *c, unsigned active)
{
    return gemv_like_needs(c, gemv_is_empty(c), active);
}

/* A cell for conj(alpha), the product of an active alpha, and where no op is conjugated without being transposed, a
 * conjugated vector and the product with it. Where there are no products, sizes have no memory behind them. */
static inline size_t gemv_workspace(const bl_call *c, unsigned active)
{
    const unsigned products = BL_OPERAND(GEMV_A) | BL_OPERAND(GEMV_X) | BL_SCALAR(LEVEL2_ALPHA);
    const size_t vectors = bl_is_complex(c->type) ? 2 : 1;
    if (gemv_is_empty(c) || !(active & products))
        return 0;
    return bl_room(1, c->size) + vectors * (bl_room(c->dim[0], c->size) + bl_room(c->dim[1], c->size));
}

#define gbmv_access gemv_access
#define gbmv_needs gemv_needs
#define gbmv_workspace gemv_workspace

static inline void symv_access(const bl_call *c, bl_access *a) { gemv_like_access(c, c->dim[0] == 0, a); }
static inline unsigned symv_needs(const bl_call *c, unsigned active)
{
    return gemv_like_needs(c, c->dim[0] == 0, active);
}

/* A cell for conj(alpha), the product of an active alpha, and the diagonal of A's shadow, with two vectors between if
 * they are to be conjugated, or one and the product with it; in a band, both vectors times alpha. A packed diagonal is
 * copied once more. */
static inline size_t symv_workspace(const bl_call *c, unsigned active)
{
    const unsigned products = BL_OPERAND(GEMV_A) | BL_OPERAND(GEMV_X) | BL_SCALAR(LEVEL2_ALPHA);
    return active & products ? bl_room(1, c->size) + 4 * bl_room(c->dim[0], c->size) : 0;
}
#define sbmv_access symv_access
#define sbmv_needs symv_needs
#define sbmv_workspace symv_workspace
#define spmv_access symv_access
#define spmv_needs symv_needs
#define spmv_workspace symv_workspace
#define hemv_access symv_access
#define hemv_needs symv_needs
#define hemv_workspace symv_workspace
#define hbmv_access symv_access
#define hbmv_needs symv_needs
#define hbmv_workspace symv_workspace
#define hpmv_access symv_access
#define hpmv_needs symv_needs
#define hpmv_workspace symv_workspace

/* ---- A <- alpha x y^T + A, of vectors `in` */

static inline void rank1_access(const bl_call *c, bool empty, unsigned in, unsigned out, bl_access *a)
{
    const bool zero = bl_is_zero(c->scalar[LEVEL2_ALPHA].value);
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (empty || (zero && !a->scalars))
        return;
    a->read = in | out;
    a->write = zero ? 0 : out;
    a->result = out;
}

static inline void ger_access(const bl_call *c, bl_access *a)
{
    const bool empty = c->dim[0] == 0 || c->dim[1] == 0;
    rank1_access(c, empty, BL_OPERAND(GER_X) | BL_OPERAND(GER_Y), BL_OPERAND(GER_A), a);
}
#define geru_access ger_access
#define gerc_access ger_access

static inline unsigned pair_needs(const bl_call *c, bool empty, unsigned active)
{
    const bool product = counts(c, active), to_alpha = active & BL_SCALAR(LEVEL2_ALPHA);
    unsigned needs = 0;
    if (to_alpha || (product && (active & BL_OPERAND(GER_Y))))
        needs |= BL_OPERAND(GER_X);
    if (to_alpha || (product && (active & BL_OPERAND(GER_X))))
        needs |= BL_OPERAND(GER_Y);
    return empty ? 0 : needs;
}

static inline unsigned ger_needs(const bl_call *c, unsigned active)
{
    return pair_needs(c, c->dim[0] == 0 || c->dim[1] == 0, active);
}
#define geru_needs ger_needs
#define gerc_needs ger_needs

/* As gemv, which is its adjoint. */
static inline size_t ger_workspace(const bl_call *c, unsigned active)
{
    const unsigned products = BL_OPERAND(GER_X) | BL_OPERAND(GER_Y) | BL_SCALAR(LEVEL2_ALPHA);
    const size_t vectors = bl_is_complex(c->type) ? 2 : 1;
    if (!(active & products) || c->dim[0] == 0 || c->dim[1] == 0)
        return 0;
    return bl_room(1, c->size) + vectors * (bl_room(c->dim[0], c->size) + bl_room(c->dim[1], c->size));
}
#define geru_workspace ger_workspace
#define gerc_workspace ger_workspace

static inline void syr_access(const bl_call *c, bl_access *a)
{
    rank1_access(c, c->dim[0] == 0, BL_OPERAND(SYR_X), BL_OPERAND(SYR_A), a);
}

static inline unsigned syr_needs(const bl_call *c, unsigned active)
{
    const bool to_x = counts(c, active) && (active & BL_OPERAND(SYR_X));
    return c->dim[0] > 0 && (to_x || (active & BL_SCALAR(LEVEL2_ALPHA))) ? BL_OPERAND(SYR_X) : 0;
}

/* The diagonal of A's shadow, that of a packed one twice, two cells, and the product of an active alpha; for her a
 * conjugated vector and the product with it, or three conjugated vectors. */
static inline size_t syr_workspace(const bl_call *c, unsigned active)
{
    const unsigned products = BL_OPERAND(SYR2_X) | BL_OPERAND(SYR2_Y) | BL_SCALAR(LEVEL2_ALPHA);
    const size_t vectors = bl_is_complex(c->type) ? 5 : 3;
    return c->dim[0] > 0 && (active & products) ? 2 * bl_room(1, c->size) + vectors * bl_room(c->dim[0], c->size) : 0;
}
#define spr_access syr_access
#define spr_needs syr_needs
#define spr_workspace syr_workspace
#define her_access syr_access
#define her_needs syr_needs
#define her_workspace syr_workspace
#define hpr_access syr_access
#define hpr_needs syr_needs
#define hpr_workspace syr_workspace

static inline void syr2_access(const bl_call *c, bl_access *a)
{
    rank1_access(c, c->dim[0] == 0, BL_OPERAND(SYR2_X) | BL_OPERAND(SYR2_Y), BL_OPERAND(SYR2_A), a);
}
static inline unsigned syr2_needs(const bl_call *c, unsigned active) { return pair_needs(c, c->dim[0] == 0, active); }
#define syr2_workspace syr_workspace
#define spr2_access syr2_access
#define spr2_needs syr2_needs
#define spr2_workspace syr_workspace
#define her2_access syr2_access
#define her2_needs syr2_needs
#define her2_workspace syr_workspace
#define hpr2_access syr2_access
#define hpr2_needs syr2_needs
#define hpr2_workspace syr_workspace

/* ---- x <- op(A) x, A triangular */

/* Columns of A's shadow that get their part of an outer product at once; the square on the diagonal is made in
 * workspace. */
enum { TRMV_BLOCK = 32 };

/* A unit diagonal is not stored: of one row, or of a band without others, nothing is. */
static inline bool trmv_reads(const bl_call *c)
{
    const bool unit = c->flag[2] == 'U', band = c->routine == BL_TBMV || c->routine == BL_TBSV;
    return c->dim[0] > unit && (!band || c->dim[1] >= unit);
}

static inline void trmv_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (c->dim[0] == 0)
        return;
    a->read = BL_OPERAND(TRMV_X) | (trmv_reads(c) ? BL_OPERAND(TRMV_A) : 0);
    a->write = a->result = BL_OPERAND(TRMV_X);
}

static inline unsigned trmv_needs(const bl_call *c, unsigned active)
{
    unsigned needs = 0;
    if (active & BL_OPERAND(TRMV_X))
        needs |= BL_OPERAND(TRMV_A);
    if (active & BL_OPERAND(TRMV_A))
        needs |= BL_OPERAND(TRMV_X);
    return trmv_reads(c) ? needs : 0;
}

/* A vector, and a vector or square. Of a band or packed triangle no square, but the vector times a factor. */
static inline size_t trmv_workspace(const bl_call *c, unsigned active)
{
    const int64_t n = c->dim[0], block = n < TRMV_BLOCK ? n : TRMV_BLOCK;
    return active ? bl_room(n, c->size) + bl_room(block * block, c->size) : 0;
}

#define tbmv_access trmv_access
#define tbmv_needs trmv_needs
#define tbmv_workspace trmv_workspace
#define tpmv_access trmv_access
#define tpmv_needs trmv_needs
#define tpmv_workspace trmv_workspace

/* ---- x <- op(A)^-1 x: but for what its adjoint needs, a trmv */

#define trsv_access trmv_access

/* G is solved for whatever is active, and of x what the call left is enough. */
static inline unsigned trsv_needs(const bl_call *c, unsigned active)
{
    if (!trmv_reads(c) || !active)
        return 0;
    return BL_OPERAND(TRMV_A) | (active & BL_OPERAND(TRMV_A) ? BL_LEFT(TRMV_X) : 0);
}

/* And the solution, in forward mode. */
static inline size_t trsv_workspace(const bl_call *c, unsigned active)
{
    return active ? trmv_workspace(c, active) + bl_room(c->dim[0], c->size) : 0;
}
#define tbsv_access trsv_access
#define tbsv_needs trsv_needs
#define tbsv_workspace trsv_workspace
#define tpsv_access trsv_access
#define tpsv_needs trsv_needs
#define tpsv_workspace trsv_workspace

#endif
