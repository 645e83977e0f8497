/* Annotations and calls of different widths over the same bytes: a call of another width is said to be that, and what
 * an annotation covers is counted in bytes, whatever the numbers are that either is made of. Contract: 1. */
#include "../check.h"

static double x[8], dx[8], y[8], dy[8];
static float *const halves = (float *)x, *const dhalves = (float *)dx;

static int annotate(blasad_tape *t, void *p, void *dp, int type, int64_t n, int64_t stride)
{
    return check_annotate(t, p, dp, type, 1, &n, &stride, "x");
}

/* A float product that reads `n` floats, from number `from` on, of an array of doubles. */
static void call_of_other_width(int32_t from, int32_t n)
{
    const int32_t one = 1;
    float narrow[2] = {1, 0}, dnarrow = 0;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(annotate(t, x, dx, BLASAD_DOUBLE, 8, 8));
    CHECK_OK(blasad_duplicated(t, &narrow[1], &dnarrow, sizeof narrow[1]));
    ((check_gemm)check_entry("sgemm_"))("T", "N", &one, &one, &n, &(float){1}, halves + from, &n, halves + from, &n,
                                        &(float){0}, &narrow[1], &one);

    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "numbers of 4 bytes");

    CHECK_OK(blasad_tape_free(t));
}

static void parts_of_other_width(void)
{
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_OK(annotate(t, x, dx, BLASAD_DOUBLE, 3, 16));                 /* every other double: 0, 2, 4 */
    CHECK_OK(annotate(t, halves + 4, dhalves + 4, BLASAD_FLOAT, 2, 4)); /* the halves of number 2: a part */
    CHECK_OK(annotate(t, halves + 5, dhalves + 5, BLASAD_FLOAT, 1, 4)); /* one of them */
    CHECK_OK(annotate(t, halves, dhalves, BLASAD_FLOAT, 3, 16));        /* the lower half of each */
    CHECK_CODE(annotate(t, halves, dhalves + 1, BLASAD_FLOAT, 1, 4), BLASAD_VALUE, "another shadow");
    CHECK_OK(blasad_tape_free(t));

    t = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_OK(blasad_duplicated(t, x, dx, sizeof x)); /* as bytes, and then as what they are */
    CHECK_OK(annotate(t, x, dx, BLASAD_DOUBLE, 8, 8));
    CHECK_OK(annotate(t, x + 1, dx + 1, BLASAD_DOUBLE, 3, 16));
    CHECK_OK(annotate(t, x, dx, BLASAD_COMPLEX_DOUBLE, 4, 16));
    CHECK_OK(blasad_tape_free(t));
}

/* Half of each number is annotated, then all of each: that is news, or an error, but not nothing. */
static void halves_are_no_whole(void)
{
    const int32_t one = 1;
    x[0] = x[2] = 2;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(annotate(t, halves, dhalves, BLASAD_FLOAT, 3, 16));
    const int code = annotate(t, x, dx, BLASAD_DOUBLE, 3, 16);
    if (code == BLASAD_OK) {
        CHECK_OK(blasad_duplicated(t, y, dy, sizeof y));
        dx[0] = 0, dy[0] = 1;
        ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &(double){1}, x, &one, x + 2, &one,
                                            &(double){0}, y, &one);
        CHECK_OK(blasad_tape_close_recording(t));
        CHECK_OK(blasad_reverse(t));
        CHECK(dx[0] == 2, "dx = %g", dx[0]);
    } else {
        CHECK_CODE(code, BLASAD_VALUE, "annotated before");
    }
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    call_of_other_width(0, 2);
    call_of_other_width(0, 1);
    call_of_other_width(1, 2);
    call_of_other_width(3, 3);
    parts_of_other_width();
    halves_are_no_whole();
    return check_end();
}
