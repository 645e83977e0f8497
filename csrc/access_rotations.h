/* Plane rotations: what a call accesses, what its adjoint needs and how much room it takes. Formulas and derivatives
 * are in rules_rotations.c. */
#ifndef BL_ACCESS_ROTATIONS_H
#define BL_ACCESS_ROTATIONS_H

#include "rules.h"

enum { ROT_X, ROT_Y };
enum { ROT_C, ROT_S };
enum { ROT_ROOM = 64 };

static inline void rot_access(const bl_call *c, bl_access *a)
{
    const unsigned both = c->dim[0] > 0 ? BL_OPERAND(ROT_X) | BL_OPERAND(ROT_Y) : 0;
    *a = (bl_access){both, both, both, both ? a->scalars : 0};
}

static inline unsigned rot_needs(const bl_call *c, unsigned active)
{
    return c->dim[0] > 0 && (active & BL_SCALARS) ? BL_OPERAND(ROT_X) | BL_OPERAND(ROT_Y) : 0;
}

/* For a number with the other sign. */
static inline size_t rot_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return ROT_ROOM;
}

#endif
