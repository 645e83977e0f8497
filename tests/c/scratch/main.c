/* Memory that nobody annotated: shadows that come and go with what recorded calls leave there, lives that end, the same
 * bytes as numbers of another width, a border between two windows; random programs against plain loops, and small ones
 * whose numbers are exact. Contract: 1, 3, 6, 7. */
#include "../world.h"

#include <sys/mman.h>

enum { ROUNDS = 1500, GIB = 1 << 30, PAGE = 1 << 16 };

/* Room on both sides of an address that is a multiple of 1 GiB. */
static char *border(void)
{
    static char *found;
    char *p = found ? NULL : mmap(NULL, 2 * (size_t)GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found)
        return found;
    CHECK(p != MAP_FAILED);
    found = p + (-(uintptr_t)p & (GIB - 1));
    found += found < p + PAGE ? GIB : 0;
    CHECK(mprotect(found - PAGE, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
    return found;
}

static size_t saved;
static int lives, ends;

static void random_program(int round)
{
    static const int64_t one = 1, thirty = 30, twenty = 20;
    double here[WORLD];
    const int base = round % 4 == 3 ? BLASAD_FLOAT : BLASAD_DOUBLE, batch = round % 6 == 5 ? BATCH : 1;
    const int places[] = {0, 30, 80, 90, 100, 100, 120}, n_places = sizeof places / sizeof *places;
    void *memory = round % 2 ? here : (void *)(border() - 110 * check_size[base]);
    world_begin(base, round % 5 < 2 ? BLASAD_FORWARD : BLASAD_REVERSE, batch, round / 2 % 2, memory);
    CHECK(world_annotate(ACTIVE, 0, 1, &thirty, &one) && world_annotate(ACTIVE, 30, 1, &twenty, &one) &&
          world_annotate(CONSTANT, 50, 1, &twenty, &one));
    world_run(round, 10 + round % (STEPS - 10), places, n_places);
    for (int i = 0; i < world.count; i++) {
        const step *s = &world.steps[i];
        ends += s->kind == END;
        lives += s->kind == PRODUCT && s->any && s->out && world.owner[s->x[2].at] == NOBODY;
    }
    saved += world.saved;
    world_end_it();
}

/* ---- small ones: y <- factor x + beta y on single numbers */

static const double unit = 1;

static void times(double factor, const double *x, double beta, double *y)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &factor, x, &one, &unit, &one, &beta, y, &one);
}
static void times_float(float factor, const float *x, float beta, float *y)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("sgemm_"))("N", "N", &one, &one, &one, &factor, x, &one, &(float){1}, &one, &beta, y,
                                        &one);
}

static double x, dx, y[2], dy[2];
static float fx, dfx, fy, dfy;

static blasad_tape *open_on_all(int mode, int options)
{
    blasad_tape *t = blasad_tape_new(mode, options);
    x = 1.625, fx = 2.625f, y[0] = 5, y[1] = 7, fy = 0;
    dx = 1, dfx = 2, dy[0] = dy[1] = 0, dfy = 0;
    CHECK_OK(blasad_const(t, (void *)(uintptr_t)&unit, sizeof unit));
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, y, dy, sizeof y));
    CHECK_OK(blasad_duplicated(t, &fx, &dfx, sizeof fx));
    CHECK_OK(blasad_duplicated(t, &fy, &dfy, sizeof fy));
    CHECK_OK(blasad_tape_start(t));
    return t;
}

/* Doubles, floats in the same bytes, doubles again: each begins with a shadow of zeros. */
static void other_width(int mode, int options, int floats, bool told)
{
    union {
        double d[2];
        float f[4];
    } s;
    const int64_t bytes = sizeof s;
    blasad_tape *t = open_on_all(mode, options);
    times(2, &x, 0, &s.d[0]);
    times(3, &s.d[0], 0, &y[0]);
    if (told)
        CHECK_OK(blasad_forget(&s, BLASAD_BYTES, 1, &bytes, NULL));
    times_float(5, &fx, 0, &s.f[floats]);
    times_float(7, &s.f[floats], 0, &fy);
    if (told)
        CHECK_OK(blasad_forget(&s, BLASAD_BYTES, 1, &bytes, NULL));
    times(11, &x, 0, &s.d[0]);
    times(13, &s.d[0], 0, &y[1]);
    CHECK_OK(blasad_tape_close_recording(t));
    for (int repeat = 0; repeat < 2 && mode == BLASAD_REVERSE; repeat++) {
        dx = 1, dfx = 2, dy[0] = 100, dy[1] = 10000, dfy = 3;
        CHECK_OK(blasad_reverse(t));
        CHECK(dx == 1 + 600 + 1430000 && dfx == 2 + 105 && dy[0] == 0 && dy[1] == 0 && dfy == 0, "%g %g", dx, dfx);
    }
    if (mode == BLASAD_FORWARD)
        CHECK(dy[0] == 6 && dy[1] == 143 && dfy == 70, "%g %g %g", dy[0], dy[1], dfy);
    CHECK_OK(blasad_tape_free(t));
}

/* Floats written over one half of a double, active or not: the double is gone. Reading what is left of it is an unseen
 * thing of the program's: it is taken for constant. */
static void half_overwritten(int mode, int options, const double *from)
{
    union {
        double d;
        float f[2];
    } s;
    blasad_tape *t = open_on_all(mode, options);
    times(2, from, 0, &s.d);
    times_float(0, (float[]){1}, 0, &s.f[0]);
    const size_t read = blasad_tape_length(t);
    times(3, &s.d, 0, &y[0]);
    CHECK(blasad_tape_assuming(t, read) == read, "no recorded call wrote this double");
    times(5, &x, 1, &y[0]);
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE) {
        dy[0] = 100;
        CHECK_OK(blasad_reverse(t));
        CHECK(dx == 501, "%g", dx);
    } else {
        CHECK(dy[0] == 5, "%g", dy[0]);
    }
    CHECK_OK(blasad_tape_free(t));
}

/* Doubles between two places where doubles are aligned are constants like others. */
static void misaligned(int options)
{
    char room[64];
    double *const odd = (double *)(void *)(room + 8 - (uintptr_t)room % 8 + 4);
    const double values[3] = {2, 3, 5}, others[3] = {7, 11, 13};
    const int32_t three = 3, one = 1;
    check_gemm gemm = (check_gemm)check_entry("dgemm_");
    double a[3] = {1, 2, 4}, da[3] = {0};
    blasad_tape *t = open_on_all(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(t, a, da, sizeof a));
    memcpy(odd, values, sizeof values);
    gemm("N", "N", &one, &one, &three, &(double){1}, a, &one, odd, &three, &(double){0}, &y[0], &one);
    memcpy(odd, others, sizeof others); /* as constants may */
    gemm("N", "N", &one, &one, &three, &(double){1}, a, &one, odd, &three, &(double){0}, &y[1], &one);
    CHECK(y[0] == 28 && y[1] == 81);
    CHECK(blasad_tape_saved_bytes(t) == sizeof values + sizeof values / 2, "%zu: the lower halves are zeros",
          blasad_tape_saved_bytes(t));
    memset(room, 0xff, sizeof room);
    CHECK_OK(blasad_tape_close_recording(t));
    dy[0] = 1, dy[1] = 100;
    CHECK_OK(blasad_reverse(t));
    CHECK(da[0] == 702 && da[1] == 1103 && da[2] == 1305, "%g %g %g", da[0], da[1], da[2]);
    CHECK_OK(blasad_tape_free(t));
}

enum refill { KEPT, SAME, FORGOTTEN, OVERWRITTEN, UNSEEN, REFILLS };

/* An active value in scratch is replaced by code that no hook sees. */
static void refilled(int mode, int options, enum refill how)
{
    double s;
    const bool error = how == UNSEEN && options == 0;
    blasad_tape *t = open_on_all(mode, options);
    times(2, &x, 0, &s);
    times(3, &s, 0, &y[0]);
    if (how == FORGOTTEN)
        CHECK_OK(blasad_forget(&s, BLASAD_DOUBLE, 0, NULL, NULL));
    s = how == SAME || how == KEPT ? s : 77;
    if (how == OVERWRITTEN)
        times(17, &x, 0, &s);
    times(5, &s, 0, &y[1]);
    CHECK(y[1] == 5 * s);
    CHECK(blasad_tape_assuming(t, 0) == (how == FORGOTTEN ? 3 : blasad_tape_length(t)), "%zu",
          blasad_tape_assuming(t, 0));
    CHECK_CODE(blasad_tape_close_recording(t), error ? BLASAD_UNSEEN_WRITE : BLASAD_OK, error ? "tape.forget" : "");
    const double factor = how == FORGOTTEN ? 0 : how == OVERWRITTEN ? 85 : 10;
    if (mode == BLASAD_REVERSE) {
        dy[0] = 100, dy[1] = 10000;
        CHECK_CODE(blasad_reverse(t), error ? BLASAD_UNSEEN_WRITE : BLASAD_OK, "");
        CHECK(dx == (error ? 1 : 1 + 600 + 10000 * factor), "refill %d: %g", how, dx);
    } else if (!error) {
        CHECK(dy[0] == 6 && dy[1] == factor, "refill %d: %g %g", how, dy[0], dy[1]);
    }
    CHECK_OK(blasad_tape_free(t));
}

/* The pages are given back to the system before the replay. */
static void unmapped(int options)
{
    double *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    blasad_tape *t = open_on_all(BLASAD_REVERSE, options);
    s[5] = 4;
    times(2, &x, 0, &s[0]);
    const int32_t one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &(double){1}, &s[0], &one, &s[5], &one,
                                        &(double){0}, &y[0], &one); /* y0 = 2 x 4 */
    CHECK(y[0] == 13);
    CHECK(munmap(s, PAGE) == 0);
    CHECK_OK(blasad_tape_close_recording(t));
    dy[0] = 100;
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 801, "%g", dx);
    CHECK_OK(blasad_tape_free(t));
}

/* Scalars in scratch that calls made active, by address: y1 = (2 x) y0 + (3 x) y1. Then they are constants again. */
static void scalars(int mode, int options)
{
    double alpha = 0.25, beta = 0.75;
    const int32_t one = 1;
    check_gemm gemm = (check_gemm)check_entry("dgemm_");
    blasad_tape *t = open_on_all(mode, options);
    for (int step = 0; step < 3; step++) {
        if (step == 1) {
            times(2, &x, 0, &alpha);
            times(3, &x, 0, &beta);
        }
        if (step == 2) { /* recorded constants */
            times(1, &(double){0.5}, 0, &alpha);
            times(1, &(double){2}, 0, &beta);
        }
        gemm("N", "N", &one, &one, &one, &alpha, &y[0], &one, &(double){1}, &one, &beta, &y[1], &one);
    }
    CHECK_OK(blasad_tape_close_recording(t));
    /* y1: 6.5 after step 0; 3.25 * 5 + 4.875 * 6.5 = 47.9375 */
    CHECK(y[1] == 98.375, "%g", y[1]);
    if (mode == BLASAD_REVERSE) {
        dy[0] = 0, dy[1] = 1;
        CHECK_OK(blasad_reverse(t));
        CHECK(dx == 1 + 2 * (2 * 5 + 3 * 6.5) && dy[1] == 2 * 4.875 * 0.75 &&
                  dy[0] == 0.5 + 2 * 3.25 + 2 * 4.875 * 0.25,
              "%g %g %g", dx, dy[0], dy[1]);
    } else {
        CHECK(dy[1] == 2 * (2 * 5 + 3 * 6.5), "%g", dy[1]);
    }
    CHECK_OK(blasad_tape_free(t));
}

/* A scalar in scratch is a constant, and at the next use of the same address it is none: y0 = alpha y1, twice. What
 * makes it active has scalars of its own in annotated memory, and none at all where they come by value. */
static void scalar_becomes_active(int mode, int options, bool by_value)
{
    typedef void (*cblas)(int, int, int, int32_t, int32_t, int32_t, double, const double *, int32_t, const double *,
                          int32_t, double, double *, int32_t);
    static const double both[2] = {1, 0};
    double alpha = 0.25;
    const int32_t one = 1;
    check_gemm gemm = (check_gemm)check_entry("dgemm_");
    blasad_tape *t = open_on_all(mode, options);
    CHECK_OK(blasad_const(t, (void *)(uintptr_t)both, sizeof both));
    for (int step = 0; step < 2; step++) {
        gemm("N", "N", &one, &one, &one, &alpha, &y[1], &one, &unit, &one, &both[1], &y[0], &one);
        if (step == 0 && by_value)
            ((cblas)check_entry("cblas_dgemm"))(102, 111, 111, 1, 1, 1, 1, &x, 1, &unit, 1, 0, &alpha, 1);
        else if (step == 0)
            gemm("N", "N", &one, &one, &one, &both[0], &x, &one, &unit, &one, &both[1], &alpha, &one);
    }
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE) {
        dy[0] = 100;
        CHECK_OK(blasad_reverse(t));
        CHECK(dx == 701 && dy[1] == 162.5, "%g %g", dx, dy[1]);
    } else {
        CHECK(dy[0] == 7, "%g", dy[0]);
    }
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    for (int round = 0; round < ROUNDS && !check_failures; round++)
        random_program(round);
    CHECK(check_failures || (lives > 5000 && ends > 500 && saved > 300000), "%d %d %zu: not what was meant", lives,
          ends, saved);
    for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
        for (int mode = BLASAD_REVERSE; mode <= BLASAD_FORWARD; mode++) {
            for (int floats = 0; floats < 2; floats++) {
                other_width(mode, options, floats, false);
                other_width(mode, options, floats, true);
            }
            half_overwritten(mode, options, &x);
            half_overwritten(mode, options, &unit);
            for (enum refill how = KEPT; how < REFILLS; how++)
                refilled(mode, options, how);
            scalars(mode, options);
            scalar_becomes_active(mode, options, false);
            scalar_becomes_active(mode, options, true);
        }
        misaligned(options);
        unmapped(options);
    }
    return check_end();
}
