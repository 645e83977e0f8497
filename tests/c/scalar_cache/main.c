/* Scalars at an address that was found constant before: as numbers of another type they are other bytes, of which some
 * may be active. Contract: 1, 8. */
#include "../check.h"

static const int32_t one = 1;

/* y = alpha x by floats, with x 1 x 1. */
static void times(const float *alpha, const float *x, float *y)
{
    ((check_gemm)check_entry("sgemm_"))("N", "N", &one, &one, &one, alpha, x, &one, &(float){1}, &one, &(float){0}, y,
                                        &one);
}

/* The real part of a complex alpha is constant, its imaginary part active. */
static void imaginary_part(int options)
{
    float x = 3, dx = 0, y = 0, dy = 0, scratch[2] = {0.5f, 0.25f}, z[2] = {0}, dz[2] = {0};
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    CHECK_OK(blasad_duplicated(t, z, dz, sizeof z));
    CHECK_OK(blasad_tape_start(t));
    times(&(float){2}, &x, &scratch[1]);
    times(&scratch[0], &x, &y);
    ((check_gemm)check_entry("cgemm_"))("N", "N", &one, &one, &one, scratch, (float[]){1, 0}, &one, (float[]){1, 0},
                                        &one, (float[]){0, 0}, z, &one);
    CHECK(z[0] == 0.5f && z[1] == 6);
    CHECK_OK(blasad_tape_close_recording(t));
    dz[0] = 100, dz[1] = 10, dy = 1;
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 0.5f + 20, "%g", (double)dx);
    CHECK_OK(blasad_tape_free(t));
}

/* The upper half of a double alpha is an active float. */
static void upper_half(int options)
{
    union {
        float f[2];
        double d;
    } scratch = {{0.5f, 0}};
    float x = 3, dx = 0, y = 0, dy = 0;
    double z = 0, dz = 0;
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    CHECK_OK(blasad_duplicated(t, &z, &dz, sizeof z));
    CHECK_OK(blasad_tape_start(t));
    times(&(float){2}, &x, &scratch.f[1]);
    times(&scratch.f[0], &x, &y);
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &scratch.d, &(double){1}, &one, &(double){1}, &one,
                                        &(double){0}, &z, &one);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "8 bytes");
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
        imaginary_part(options);
        upper_half(options);
    }
    return check_end();
}
