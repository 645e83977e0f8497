#include "families.h"

#define FAMILY(name, NAME) [BL_##NAME] = &bl_family_##name,
const bl_family *const bl_rules[BL_ROUTINES] = {BL_EACH_ROUTINE(FAMILY) BL_EACH_KERNEL(FAMILY)};
