#include "kernels.h"

#include <complex.h>
#include <math.h>
#include <string.h>

static inline double bl_sign(double x) { return isnan(x) ? x : (x > 0) - (x < 0); }

#define T float
#define NAME(x) x##_s
#define CONJ(x) (x)
#define VALUE(x) ((float)(x).re)
#define SIGN(x) bl_sign(x)
#include "kernels.inc.c"

#define T double
#define NAME(x) x##_d
#define CONJ(x) (x)
#define VALUE(x) ((x).re)
#define SIGN(x) bl_sign(x)
#include "kernels.inc.c"

#define T float complex
#define NAME(x) x##_c
#define CONJ(x) conjf(x)
#define VALUE(x) CMPLXF((float)(x).re, (float)(x).im)
#define SIGN(x) CMPLXF((float)bl_sign(crealf(x)), (float)bl_sign(cimagf(x)))
#include "kernels.inc.c"

#define T double complex
#define NAME(x) x##_z
#define CONJ(x) conj(x)
#define VALUE(x) CMPLX((x).re, (x).im)
#define SIGN(x) CMPLX(bl_sign(creal(x)), bl_sign(cimag(x)))
#include "kernels.inc.c"

void bl_run_kernel(const bl_call *c)
{
    static void (*const run[])(const bl_call *) = {run_s, run_d, run_c, run_z};
    run[c->type](c);
}
