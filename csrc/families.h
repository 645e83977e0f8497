/* The families as constants: where one is passed to an inlined function, the compiler folds its table and inlines what
 * a call accesses. Code that is not at every call asks bl_rules instead. */
#ifndef BL_FAMILIES_H
#define BL_FAMILIES_H

#include "access_kernels.h"
#include "access_level1.h"
#include "access_level2.h"
#include "access_level3.h"
#include "access_norms.h"
#include "access_rotations.h"
#include "specs.h"

#define BL_FAMILY(name, NAME)                                                                                          \
    static const bl_family bl_family_##name = {&bl_spec_##name,  name##_access,       name##_needs,                    \
                                               name##_workspace, bl_##name##_tangent, bl_##name##_adjoint};
BL_EACH_ROUTINE(BL_FAMILY)
BL_EACH_KERNEL(BL_FAMILY)
#undef BL_FAMILY

#endif
