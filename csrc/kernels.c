#include "kernels.h"

#include <complex.h>
#include <string.h>

#define T float
#define NAME(x) x##_s
#define CONJ(x) (x)
#define VALUE(x) ((float)(x).re)
#include "kernels.inc.c"

#define T double
#define NAME(x) x##_d
#define CONJ(x) (x)
#define VALUE(x) ((x).re)
#include "kernels.inc.c"

#define T float complex
#define NAME(x) x##_c
#define CONJ(x) conjf(x)
#define VALUE(x) CMPLXF((float)(x).re, (float)(x).im)
#include "kernels.inc.c"

#define T double complex
#define NAME(x) x##_z
#define CONJ(x) conj(x)
#define VALUE(x) CMPLX((x).re, (x).im)
#include "kernels.inc.c"

void bl_run_kernel(const bl_call *c)
{
    static void (*const run[])(const bl_call *) = {run_s, run_d, run_c, run_z};
    run[c->type](c);
}
