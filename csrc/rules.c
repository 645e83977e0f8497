#include "families.h"

#define FAMILY(name, NAME) [BL_##NAME] = &bl_family_##name,
const bl_family *const bl_rules[BL_FIRST_KERNEL] = {BL_EACH_ROUTINE(FAMILY)};
