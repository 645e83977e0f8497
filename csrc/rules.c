#include "rules.h"

const bl_family *const bl_rules[BL_FIRST_KERNEL] = {
    [BL_GEMM] = &bl_gemm_family,
};
