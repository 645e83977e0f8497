/* The kernels: what a call accesses, what its adjoint needs and how much room it takes; formulas and derivatives are in
 * rules_kernels.c. Only beta has values that spare work, as in BLAS: 0 does not read, 1 leaves as it is. */
#ifndef BL_ACCESS_KERNELS_H
#define BL_ACCESS_KERNELS_H

#include "rules.h"

enum { MSCAL_C };
enum { MAXPBY_A, MAXPBY_C };
enum { MCONJ_A, MCONJ_C };
enum { MDOT_A, MDOT_B, MDOT_CELL };
enum { VAXPBY_X, VAXPBY_Y };
enum { MSCAL_BETA };
enum { MAXPBY_ALPHA, MAXPBY_BETA };

static inline bool kernel_is_empty(const bl_call *c) { return c->dim[0] == 0 || c->dim[1] == 0; }
static inline size_t kernel_room(const bl_call *c) { return bl_room(c->dim[0] * c->dim[1], c->size); }

static inline void mscal_access(const bl_call *c, bl_access *a)
{
    const bl_complex beta = c->scalar[MSCAL_BETA].value;
    const unsigned scalars = kernel_is_empty(c) ? 0 : a->scalars;
    const bool stores = !kernel_is_empty(c) && !bl_is_one(beta);
    *a = (bl_access){.scalars = scalars};
    if ((stores && !bl_is_zero(beta)) || scalars)
        a->read |= BL_OPERAND(MSCAL_C);
    if (stores)
        a->write |= BL_OPERAND(MSCAL_C);
    if (stores || scalars)
        a->result |= BL_OPERAND(MSCAL_C);
}

static inline unsigned mscal_needs(const bl_call *c, unsigned active)
{
    return !kernel_is_empty(c) && (active & BL_SCALAR(MSCAL_BETA)) ? BL_OPERAND(MSCAL_C) : 0;
}

static inline size_t mscal_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline void maxpby_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){.scalars = kernel_is_empty(c) ? 0 : a->scalars};
    if (kernel_is_empty(c))
        return;
    a->read = BL_OPERAND(MAXPBY_A);
    if (!bl_is_zero(c->scalar[MAXPBY_BETA].value) || (a->scalars & BL_ANY(MAXPBY_BETA)))
        a->read |= BL_OPERAND(MAXPBY_C);
    a->write = a->result = BL_OPERAND(MAXPBY_C);
}

static inline unsigned maxpby_needs(const bl_call *c, unsigned active)
{
    unsigned needs = 0;
    if (active & BL_SCALAR(MAXPBY_ALPHA))
        needs |= BL_OPERAND(MAXPBY_A);
    if (active & BL_SCALAR(MAXPBY_BETA))
        needs |= BL_OPERAND(MAXPBY_C);
    return kernel_is_empty(c) ? 0 : needs;
}

static inline size_t maxpby_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline void mconj_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (kernel_is_empty(c))
        return;
    a->read = BL_OPERAND(MCONJ_A);
    a->write = a->result = BL_OPERAND(MCONJ_C);
}

static inline unsigned mconj_needs(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

/* For the conjugate of the output's shadow. */
static inline size_t mconj_workspace(const bl_call *c, unsigned active)
{
    return active & BL_OPERAND(MCONJ_A) ? kernel_room(c) : 0;
}

static inline void mdot_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (kernel_is_empty(c))
        return;
    a->read = BL_OPERAND(MDOT_A) | BL_OPERAND(MDOT_B) | BL_OPERAND(MDOT_CELL);
    a->write = a->result = BL_OPERAND(MDOT_CELL);
}

static inline unsigned mdot_needs(const bl_call *c, unsigned active)
{
    unsigned needs = 0;
    if (active & BL_OPERAND(MDOT_B))
        needs |= BL_OPERAND(MDOT_A);
    if (active & BL_OPERAND(MDOT_A))
        needs |= BL_OPERAND(MDOT_B);
    return kernel_is_empty(c) ? 0 : needs;
}

static inline size_t mdot_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline void vaxpby_access(const bl_call *c, bl_access *a)
{
    const bool empty = c->dim[0] <= 0;
    *a = (bl_access){.scalars = empty ? 0 : a->scalars};
    if (empty)
        return;
    a->read = BL_OPERAND(VAXPBY_X);
    if (!bl_is_zero(c->scalar[MAXPBY_BETA].value) || (a->scalars & BL_ANY(MAXPBY_BETA)))
        a->read |= BL_OPERAND(VAXPBY_Y);
    a->write = a->result = BL_OPERAND(VAXPBY_Y);
}

static inline unsigned vaxpby_needs(const bl_call *c, unsigned active)
{
    unsigned needs = 0;
    if (active & BL_SCALAR(MAXPBY_ALPHA))
        needs |= BL_OPERAND(VAXPBY_X);
    if (active & BL_SCALAR(MAXPBY_BETA))
        needs |= BL_OPERAND(VAXPBY_Y);
    return c->dim[0] <= 0 ? 0 : needs;
}

/* For the conjugate of x. */
static inline size_t vaxpby_workspace(const bl_call *c, unsigned active)
{
    const bool turned = c->flag[2] == 'C' && bl_is_complex(c->type);
    return turned && (vaxpby_needs(c, active) & BL_OPERAND(VAXPBY_X)) ? bl_room(c->dim[0], c->size) : 0;
}

static inline void vdot_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (c->dim[0] <= 0)
        return;
    a->read = BL_OPERAND(MDOT_A) | BL_OPERAND(MDOT_B) | BL_OPERAND(MDOT_CELL);
    a->write = a->result = BL_OPERAND(MDOT_CELL);
}

static inline unsigned vdot_needs(const bl_call *c, unsigned active)
{
    unsigned needs = 0;
    if (active & BL_OPERAND(MDOT_B))
        needs |= BL_OPERAND(MDOT_A);
    if (active & BL_OPERAND(MDOT_A))
        needs |= BL_OPERAND(MDOT_B);
    return c->dim[0] <= 0 ? 0 : needs;
}

static inline size_t vdot_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

#endif
