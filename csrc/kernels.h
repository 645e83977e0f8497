/* Element loops that BLAS has no routine for. */
#ifndef BL_KERNELS_H
#define BL_KERNELS_H

#include "call.h"

void bl_run_kernel(const bl_call *c);

#endif
