/* One rule per family: what a call accesses, what its adjoint needs, and tangent and adjoint side by side. */
#ifndef BL_RULES_H
#define BL_RULES_H

#include "blas.h"

/* Sets of arguments of one call: bit i is operand i, bit BL_MAX_OPERANDS + i is scalar i. */
enum { BL_SCALAR_BIT = BL_MAX_OPERANDS };
#define BL_OPERAND(i) (1u << (i))
#define BL_SCALAR(i) (1u << (BL_SCALAR_BIT + (i)))
#define BL_SCALARS (BL_SCALAR(0) | BL_SCALAR(1))

/* What a call really accesses, after the quick returns of the reference. */
typedef struct bl_access {
    unsigned read;    /* operands whose elements the result or its derivative depends on */
    unsigned write;   /* operands that the routine stores to */
    unsigned result;  /* operands whose derivative changes: written, or scaled by an active scalar that is 1 by value */
    unsigned scalars; /* in: those in duplicated memory; out: those of them that matter */
} bl_access;

/* A call for a rule: values, shadows and room. */
typedef struct bl_site {
    const bl_call *call;           /* operand i: where its values are; for an adjoint as the call saw them */
    void *shadow[BL_MAX_OPERANDS]; /* NULL: constant */
    int64_t shadow_ld[BL_MAX_OPERANDS];
    void *scalar_shadow[BL_MAX_SCALARS];
    bl_path path;
    char *work; /* as many bytes as `workspace` said */
} bl_site;

typedef struct bl_family {
    const bl_routine_spec *spec;
    void (*access)(const bl_call *c, bl_access *a);
    /* Operands whose values the adjoint needs, given the active arguments. */
    unsigned (*needs)(const bl_call *c, unsigned active);
    size_t (*workspace)(const bl_call *c, unsigned active);
    void (*tangent)(const bl_site *s);
    void (*adjoint)(const bl_site *s);
} bl_family;

/* One for each exported routine. */
extern const bl_family *const bl_rules[BL_FIRST_KERNEL];

void bl_gemm_tangent(const bl_site *s);
void bl_gemm_adjoint(const bl_site *s);

#endif
