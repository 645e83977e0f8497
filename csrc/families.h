/* The families as constants: where one is passed to an inlined function, the compiler folds its table and inlines what
 * a call accesses. Code that is not at every call asks bl_rules instead. */
#ifndef BL_FAMILIES_H
#define BL_FAMILIES_H

#include "access_level3.h"
#include "specs.h"

static const bl_family bl_family_gemm = {&bl_spec_gemm,  gemm_access,     gemm_needs,
                                         gemm_workspace, bl_gemm_tangent, bl_gemm_adjoint};

#endif
