/* Plane rotations: what a call accesses, what its adjoint needs and how much room it takes. Formulas and derivatives
 * are in rules_rotations.c. */
#ifndef BL_ACCESS_ROTATIONS_H
#define BL_ACCESS_ROTATIONS_H

#include "rules.h"

enum { ROT_X, ROT_Y };
enum { ROT_C, ROT_S };
enum { ROTM_H = 2 }; /* its numbers are h11, h21, h12 and h22, from the second on */
enum { ROTG_A, ROTG_B, ROTG_C, ROTG_S };
enum { ROT_ROOM = 64, ROTG_ROOMS = 12 };

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

static inline bool rotm_is_empty(const bl_call *c) { return c->dim[0] <= 0 || c->flag[0] == BL_IDENTITY; }

static inline void rotm_access(const bl_call *c, bl_access *a)
{
    const unsigned both = BL_OPERAND(ROT_X) | BL_OPERAND(ROT_Y);
    *a = (bl_access){0};
    if (rotm_is_empty(c))
        return;
    a->read = both | BL_OPERAND(ROTM_H);
    a->write = a->result = both;
}

static inline unsigned rotm_needs(const bl_call *c, unsigned active)
{
    const unsigned both = BL_OPERAND(ROT_X) | BL_OPERAND(ROT_Y);
    const unsigned needs = (active & BL_OPERAND(ROTM_H) ? both : 0) | (active & both ? BL_OPERAND(ROTM_H) : 0);
    return rotm_is_empty(c) ? 0 : needs;
}
#define rotm_workspace rot_workspace

static inline void rotg_access(const bl_call *c, bl_access *a)
{
    const unsigned out = BL_OPERAND(ROTG_A) | BL_OPERAND(ROTG_C) | BL_OPERAND(ROTG_S);
    *a = (bl_access){.read = BL_OPERAND(ROTG_A) | BL_OPERAND(ROTG_B), .write = out};
    if (!bl_is_complex(c->type))
        a->write |= BL_OPERAND(ROTG_B);
    a->result = a->write;
}

/* What it leaves: r, c and s; of real numbers z, which tells how it was made. */
static inline unsigned rotg_needs(const bl_call *c, unsigned active)
{
    if (!(active & (BL_OPERAND(ROTG_A) | BL_OPERAND(ROTG_B))))
        return 0;
    return BL_LEFT(ROTG_A) | BL_LEFT(ROTG_C) | BL_LEFT(ROTG_S) | (bl_is_complex(c->type) ? 0 : BL_LEFT(ROTG_B));
}

static inline size_t rotg_workspace(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return ROTG_ROOMS * ROT_ROOM;
}

/* There is no rule of rotmg: a call is refused if anything that it may touch has a shadow. */
static inline void rotmg_access(const bl_call *c, bl_access *a)
{
    (void)c;
    a->read = a->write = a->result = BL_OPERAND(0) | BL_OPERAND(1) | BL_OPERAND(2) | BL_OPERAND(3);
}

static inline unsigned rotmg_needs(const bl_call *c, unsigned active)
{
    (void)c, (void)active;
    return 0;
}
#define rotmg_workspace rot_workspace
#define bl_rotmg_tangent NULL
#define bl_rotmg_adjoint NULL

#endif
