/* Complex numbers that calls wrote one after the other into the same place, of which only one part differs: each is
 * known when it comes back by value. Contract: 8. */
#include "../check.h"

typedef double complex number;

static void times(number factor, const number *x, number *y)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("zgemm_"))("N", "N", &one, &one, &one, &factor, x, &one, &(number){1}, &one, &(number){0},
                                        y, &one);
}

static void comes_back(number first, number second)
{
    number x = 2, dx = 0, y = 0, dy = 0, value;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    times(first, &x, &y);
    times(second, &x, &y);
    value = y;
    times(value, &x, &y);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "the scalar alpha");
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    comes_back(CMPLX(1.5, 0.25), CMPLX(1.5, 0.75));
    comes_back(CMPLX(1.5, 0.25), CMPLX(2.5, 0.25));
    return check_end();
}
