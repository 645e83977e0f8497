/* Norms, and the kernels of their derivatives: what a call accesses, what its adjoint needs and how much room it takes.
 * Formulas and derivatives are in rules_norms.c. */
#ifndef BL_ACCESS_NORMS_H
#define BL_ACCESS_NORMS_H

#include "rules.h"

enum { NORM_X, NORM_RESULT };
enum { QUOT_A, QUOT_B, QUOT_C };

/* Rooms in front of a vector: the norm, a number, a complex one. */
enum { NORM_ROOMS = 3, NORM_ROOM = 64 };

static inline void nrm2_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){.write = BL_OPERAND(NORM_RESULT), .result = BL_OPERAND(NORM_RESULT)};
    if (c->dim[0] > 0)
        a->read = BL_OPERAND(NORM_X);
}

static inline unsigned nrm2_needs(const bl_call *c, unsigned active)
{
    return c->dim[0] > 0 && (active & BL_OPERAND(NORM_X)) ? BL_OPERAND(NORM_X) : 0;
}

static inline size_t nrm2_workspace(const bl_call *c, unsigned active)
{
    const bool some = c->dim[0] > 0 && (active & BL_OPERAND(NORM_X));
    return some ? NORM_ROOMS * NORM_ROOM + bl_room(c->dim[0], c->size) : 0;
}

/* The reference returns 0 at once for an increment that is not positive. */
static inline bool asum_is_empty(const bl_call *c) { return c->dim[0] <= 0 || c->operand[NORM_X].ld <= 0; }

static inline void asum_access(const bl_call *c, bl_access *a)
{
    nrm2_access(c, a);
    if (asum_is_empty(c))
        a->read = 0;
}

static inline unsigned asum_needs(const bl_call *c, unsigned active)
{
    return asum_is_empty(c) ? 0 : nrm2_needs(c, active);
}
#define asum_workspace nrm2_workspace

/* Nothing depends on x smoothly. */
static inline void vsign_access(const bl_call *c, bl_access *a)
{
    *a = (bl_access){0};
    if (c->dim[0] > 0)
        a->write = a->result = BL_OPERAND(1);
}

static inline unsigned vsign_needs(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline size_t vsign_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}

static inline void quot_access(const bl_call *c, bl_access *a)
{
    (void)c;
    *a = (bl_access){
        .read = BL_OPERAND(QUOT_A) | BL_OPERAND(QUOT_B), .write = BL_OPERAND(QUOT_C), .result = BL_OPERAND(QUOT_C)};
}

static inline unsigned quot_needs(const bl_call *c, unsigned active)
{
    (void)c;
    return (active & BL_OPERAND(QUOT_B) ? BL_OPERAND(QUOT_A) : 0) |
           (active & (BL_OPERAND(QUOT_A) | BL_OPERAND(QUOT_B)) ? BL_OPERAND(QUOT_B) : 0);
}

static inline size_t quot_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 3 * NORM_ROOM;
}

#endif
