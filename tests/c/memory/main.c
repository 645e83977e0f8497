/* Memory that runs out at any allocation, once or for good: the program's own results are right, every function says so
 * or succeeds, a reverse pass that fails leaves the shadows and works when there is memory again, and nothing leaks.
 * Contract: 3, 11. */
#include "../naive.h"

#include "../exhaust.h"

#include "arena.h"

/* ---- a program that makes the library allocate all it ever does */

enum { N = 3, NN = N * N, CALLS = 20 };

static double a[NN], da[NN], c[NN], dc[NN], seed_a[NN], seed_c[NN], cell[2], dcell[2], idle[100], didle[100], wide[200],
    dwide[200];
static check_gemm dgemm;

static bool fine(int code)
{
    CHECK(code == BLASAD_OK || code == BLASAD_MEMORY, "code %d: %s", code, blasad_last_error());
    CHECK(code == BLASAD_OK || strlen(blasad_last_error()) > 10);
    return code == BLASAD_OK;
}

static void reset(void)
{
    for (int i = 0; i < NN; i++) {
        a[i] = i % 4 - 1.25;
        c[i] = 0.5;
        da[i] = seed_a[i] = 0.125 * i;
        dc[i] = seed_c[i] = 0.8 - i;
    }
    cell[0] = 0.25, cell[1] = 3, dcell[0] = 0, dcell[1] = 1;
}

/* Undeclared factors that are gone, an active scalar, values overwritten that are needed, numbers returned. */
static void program(void)
{
    const int32_t n = N, one = 1;
    double b[NN], scratch[NN];
    for (int call = 0; call < CALLS; call++) {
        for (int i = 0; i < NN; i++)
            b[i] = call + i;
        dgemm("N", "N", &n, &n, &n, &(double){0.01}, a, &n, b, &n, &(double){0}, c, &n);
        dgemm("N", "T", &n, &n, &n, &cell[0], c, &n, b, &n, &(double){0}, a, &n);
        dgemm("N", "N", &one, &one, &one, &(double){0.5}, b, &one, b, &one, &(double){0}, &scratch[call % NN], &one);
        dgemm("N", "N", &one, &one, &n, &(double){0.5}, a, &one, b, &n, &(double){0}, &cell[1], &one);
        dgemm("N", "N", &one, &one, &one, &(double){1}, wide + 2 * call, &one, b, &one, &(double){1},
              wide + 100 + 2 * call, &one);
    }
}

static double expected[NN], expected_da[NN];
static bool known; /* by a run that nothing failed in */

/* False if nothing failed, since there were fewer allocations. */
static bool run(int options, long from, long to)
{
    const int64_t shape = 40, stride = 16;
    reset();
    void *chunk[4]; /* none may wait in the pool */
    for (int i = 0; i < 4; i++)
        chunk[i] = bl_chunk_take();
    for (int i = 0; i < 4; i++)
        free(chunk[i]);
    made = 0, fail_from = from, fail_to = to;
    armed = true;
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    bool good = t != NULL && fine(blasad_tape_start(t));
    if (!t)
        CHECK(strlen(blasad_last_error()) > 10);
    if (good) {
        good &= fine(blasad_duplicated(t, a, da, sizeof a));
        good &= fine(blasad_duplicated(t, c, dc, sizeof c));
        good &= fine(blasad_duplicated(t, cell, dcell, sizeof cell));
        good &= fine(blasad_duplicated(t, idle, didle, sizeof idle));
        good &= fine(check_annotate(t, wide, dwide, BLASAD_DOUBLE, 1, &shape, &stride, "wide"));
        good &= fine(check_annotate(t, wide + 100, dwide + 100, BLASAD_DOUBLE, 1, &shape, &stride, "wide"));
    }
    const bool annotated = good;
    if (annotated)
        idle[3]++; /* told to the user at the end */
    /* without all annotations it would be another program: it then runs for its values only */
    blasad_tape *dropped = annotated ? NULL : t;
    if (dropped)
        fine(blasad_tape_free(dropped));
    program();
    if (annotated) {
        good &= fine(blasad_tape_close_recording(t));
        const int first = blasad_reverse(t);
        if (fine(first)) {
            CHECK(good, "it failed, and then it did not");
        } else {
            CHECK(memcmp(da, seed_a, sizeof da) == 0 && memcmp(dc, seed_c, sizeof dc) == 0 && dcell[0] == 0 &&
                      dcell[1] == 1,
                  "allocation %ld: a shadow was written", from);
            armed = false; /* there is memory again */
            const int second = blasad_reverse(t);
            CHECK(second == (good ? BLASAD_OK : BLASAD_MEMORY), "allocation %ld: %d", from, second);
            CHECK(good || memcmp(da, seed_a, sizeof da) == 0);
        }
        armed = false;
        if (!known)
            memcpy(expected_da, da, sizeof da);
        else if (good)
            CHECK(memcmp(expected_da, da, sizeof da) == 0, "allocation %ld: another gradient", from);
        CHECK_OK(blasad_tape_free(t));
    }
    armed = false;
    if (!known)
        memcpy(expected, a, sizeof a);
    else
        CHECK(memcmp(expected, a, sizeof a) == 0, "allocation %ld: the program was disturbed", from);
    known = true;
    CHECK(good || made >= from, "it failed with all the memory there is");
    return made >= from;
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
        known = false;
        CHECK(!run(options, 1 << 30, 1 << 30));
        CHECK(made > 20, "%ld allocations: they do not come through this program", made);
        for (long n = 1; run(options, n, n) && check_failures < 10; n++) {
        }
        for (long n = 1; run(options, n, 1 << 30) && check_failures < 10; n++) {
        }
    }
    return check_end();
}
