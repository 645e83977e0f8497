/* One rule per family: what a call accesses, what its adjoint needs, and tangent and adjoint side by side. */
#ifndef BL_RULES_H
#define BL_RULES_H

#include "blas.h"

/* Sets of arguments of one call: bit i is operand i, bit BL_MAX_OPERANDS + i is scalar i, and bit BL_MAX_OPERANDS +
 * BL_MAX_SCALARS + i says that scalar i may be active on a layer below, so that its value, 0 or 1, means nothing. */
enum { BL_SCALAR_BIT = BL_MAX_OPERANDS };
#define BL_OPERAND(i) (1u << (i))
#define BL_SCALAR(i) (1u << (BL_SCALAR_BIT + (i)))
#define BL_SCALARS (BL_SCALAR(0) | BL_SCALAR(1))
#define BL_OUTER(i) (BL_SCALAR(i) << BL_MAX_SCALARS)
#define BL_ANY(i) (BL_SCALAR(i) | BL_OUTER(i))

/* What a call really accesses, after the quick returns of the reference. */
typedef struct bl_access {
    unsigned read;    /* operands whose elements the result or its derivative depends on */
    unsigned write;   /* operands that the routine stores to */
    unsigned result;  /* operands whose derivative changes: written, or scaled by an active scalar that is 1 by value */
    unsigned scalars; /* in: those in duplicated memory, here or on a layer below; out: those of them that matter */
} bl_access;

/* A call for a rule: values, shadows and room. */
typedef struct bl_site {
    const bl_call *call;           /* operand i: where its values are; for an adjoint as the call saw them */
    void *shadow[BL_MAX_OPERANDS]; /* NULL: constant */
    int64_t shadow_ld[BL_MAX_OPERANDS];
    void *scalar_shadow[BL_MAX_SCALARS];
    bl_complex returned; /* for an adjoint: what a routine with a result returned */
    unsigned active;     /* for an adjoint: what `needs` was asked with */
    bl_path path;
    char *work; /* as many bytes as `workspace` said */
} bl_site;

typedef struct bl_family {
    const bl_routine_spec *spec;
    void (*access)(const bl_call *c, bl_access *a);
    /* Operands whose values the adjoint needs, given the active arguments; with scalars of layers below, what calls of
     * the adjoint need of them. */
    unsigned (*needs)(const bl_call *c, unsigned active);
    size_t (*workspace)(const bl_call *c, unsigned active);
    void (*tangent)(const bl_site *s);
    void (*adjoint)(const bl_site *s);
} bl_family;

/* One for each routine, kernels included: what a rule does is a call that has a rule. */
extern const bl_family *const bl_rules[BL_ROUTINES];

#define BL_DECLARE(name, NAME)                                                                                         \
    void bl_##name##_tangent(const bl_site *s);                                                                        \
    void bl_##name##_adjoint(const bl_site *s);
BL_EACH_ROUTINE(BL_DECLARE)
BL_EACH_KERNEL(BL_DECLARE)
#undef BL_DECLARE

/* ---- what rules pass on */

static inline bl_matrix bl_values(const bl_site *s, int i)
{
    return (bl_matrix){s->call->operand[i].base, s->call->operand[i].ld};
}
static inline bl_matrix bl_shadow(const bl_site *s, int i) { return (bl_matrix){s->shadow[i], s->shadow_ld[i]}; }

/* A scalar of the call: with its address if a layer below may ask for it. */
static inline bl_scalar bl_given(const bl_site *s, int i)
{
    const bl_scalar *x = &s->call->scalar[i];
    return (bl_scalar){x->value, s->path.below ? x->address : NULL};
}
static inline bl_scalar bl_scalar_shadow(const bl_site *s, int i)
{
    return bl_scalar_at(s->call->type, s->scalar_shadow[i]);
}

/* conj(alpha): in a cell if a layer below may have alpha active. */
static inline bl_scalar conjugated(const bl_site *s, int type, bl_scalar alpha, char *cell)
{
    if (!bl_is_complex(type))
        return alpha;
    if (!alpha.address)
        return (bl_scalar){bl_conj(alpha.value), NULL};
    bl_mconj(&s->path, type, 1, 1, (bl_matrix){alpha.address, 1}, (bl_matrix){cell, 1});
    return bl_scalar_at(type, cell);
}

/* The way of products with alpha. One by an alpha of 0 is none, whatever its operands hold, and a BLAS may make it or
 * not; but it has a derivative if a layer below has alpha active. */
static inline bl_path times(const bl_site *s, bl_scalar alpha)
{
    bl_path to = s->path;
    to.unmade = bl_is_zero(alpha.value);
    return to;
}

/* Bytes of workspace, in whole cache lines. */
static inline size_t bl_room(int64_t elements, int64_t size) { return ((size_t)(elements * size) + 63) & ~(size_t)63; }
static inline bl_matrix bl_work_matrix(char *at, int64_t rows) { return (bl_matrix){at, rows > 1 ? rows : 1}; }

#endif
