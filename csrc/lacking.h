/* Routines that not every BLAS has, made of those that every one has. */
#ifndef BL_LACKING_H
#define BL_LACKING_H

#include "call.h"

/* False: this one cannot be made. */
bool bl_run_lacking(const bl_call *c);

#endif
