/* Level 1: what a call accesses, what its adjoint needs and how much room it takes. A number of elements below 1 is
 * nothing to do. Formulas and derivatives are in rules_level1.c. */
#ifndef BL_ACCESS_LEVEL1_H
#define BL_ACCESS_LEVEL1_H

#include "rules.h"

enum { X, Y, RESULT };
enum { AXPY_ALPHA, AXPBY_BETA };
enum { SBDOT_SB };

/* Both operands are the same elements in the same order. */
static inline bool same_vector(const bl_call *c)
{
    return c->operand[X].base == c->operand[Y].base && c->operand[X].ld == c->operand[Y].ld;
}

static inline size_t no_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline unsigned nothing_needed(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline void swap_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (c->dim[0] > 0 && !same_vector(c))
        a->read = a->write = a->result = BL_OPERAND(X) | BL_OPERAND(Y);
}
#define swap_needs nothing_needed
#define swap_workspace no_workspace

static inline void copy_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (c->dim[0] <= 0 || same_vector(c))
        return;
    a->read = BL_OPERAND(X);
    a->write = a->result = BL_OPERAND(Y);
}
#define copy_needs nothing_needed
#define copy_workspace no_workspace

/* The reference returns at once for an increment that is not positive. */
static inline void scal_access(const bl_call *c, bl_access *a)
{
    const bool empty = c->dim[0] <= 0 || c->operand[X].ld <= 0;
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (!empty)
        a->read = a->write = a->result = BL_OPERAND(X);
}

static inline unsigned scal_needs(const bl_call *c, unsigned active)
{
    return c->dim[0] > 0 && c->operand[X].ld > 0 && (active & BL_SCALAR(AXPY_ALPHA)) ? BL_OPERAND(X) : 0;
}
#define scal_workspace no_workspace
#define rscal_access scal_access
#define rscal_needs scal_needs
#define rscal_workspace no_workspace

static inline void axpy_access(const bl_call *c, bl_access *a)
{
    const bool empty = c->dim[0] <= 0, zero = bl_is_zero(c->scalar[AXPY_ALPHA].value);
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (empty || (zero && !a->scalars))
        return;
    a->read = BL_OPERAND(X) | BL_OPERAND(Y);
    a->write = zero ? 0 : BL_OPERAND(Y);
    a->result = BL_OPERAND(Y);
}

static inline unsigned axpy_needs(const bl_call *c, unsigned active)
{
    return c->dim[0] > 0 && (active & BL_SCALAR(AXPY_ALPHA)) ? BL_OPERAND(X) : 0;
}

/* For a copy of the shadow, where x is y. */
static inline size_t axpy_workspace(const bl_call *c, unsigned active)
{
    (void)active;
    return c->dim[0] > 0 && same_vector(c) ? bl_room(c->dim[0], c->size) : 0;
}

/* beta = 0 does not read y. */
static inline void axpby_access(const bl_call *c, bl_access *a)
{
    const unsigned scalars = c->dim[0] > 0 ? a->scalars : 0;
    *a = (bl_access){.scalars = scalars};
    if (c->dim[0] <= 0)
        return;
    if (!bl_is_zero(c->scalar[AXPY_ALPHA].value) || (scalars & BL_ANY(AXPY_ALPHA)))
        a->read |= BL_OPERAND(X);
    if (!bl_is_zero(c->scalar[AXPBY_BETA].value) || (scalars & BL_ANY(AXPBY_BETA)))
        a->read |= BL_OPERAND(Y);
    a->write = a->result = BL_OPERAND(Y);
}

static inline unsigned axpby_needs(const bl_call *c, unsigned active)
{
    const unsigned needs =
        (active & BL_SCALAR(AXPY_ALPHA) ? BL_OPERAND(X) : 0) | (active & BL_SCALAR(AXPBY_BETA) ? BL_OPERAND(Y) : 0);
    return c->dim[0] > 0 ? needs : 0;
}
#define axpby_workspace no_workspace

/* A sum of nothing is stored all the same. */
static inline void dot_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){.write = BL_OPERAND(RESULT), .result = BL_OPERAND(RESULT)};
    if (c->dim[0] > 0)
        a->read = BL_OPERAND(X) | BL_OPERAND(Y);
}

static inline unsigned dot_needs(const bl_call *c, unsigned active)
{
    const unsigned needs = (active & BL_OPERAND(Y) ? BL_OPERAND(X) : 0) | (active & BL_OPERAND(X) ? BL_OPERAND(Y) : 0);
    return c->dim[0] > 0 ? needs : 0;
}

/* For a sum of tangents. */
static inline size_t dot_workspace(const bl_call *c, unsigned active)
{
    (void)active;
    return bl_room(1, c->size);
}

/* As dot; its sb is of influence always. */
static inline void sbdot_access(const bl_call *c, bl_access *a)
{
    const unsigned scalars = a->scalars;
    dot_access(c, a);
    a->scalars = scalars;
}
#define sbdot_needs dot_needs
#define sbdot_workspace dot_workspace
/* There is no rule of it, but where nothing is active. */
#define wdot_access dot_access
#define wdot_needs nothing_needed
#define wdot_workspace no_workspace
#define bl_wdot_tangent NULL
#define bl_wdot_adjoint NULL
#define dotu_access dot_access
#define dotu_needs dot_needs
#define dotu_workspace dot_workspace
#define dotc_access dot_access
#define dotc_needs dot_needs
#define dotc_workspace dot_workspace

#endif
