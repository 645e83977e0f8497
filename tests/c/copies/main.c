/* Which values a tape knows copies of: active ones alone, of 8 numbers or more, wherever they are, and as the last call
 * left them, be it by a block. Contract: 7, "Unseen reads". */
#include "../check.h"

#include <sys/mman.h>

enum { N = 8, PAGE = 1 << 16 };

static double x[2 * N], dx[2 * N], w[2 * N], dw[2 * N], k[2 * N], result, dresult, room[4 * N], droom[4 * N];
static const double unit = 1;
static check_gemm dgemm;

static void annotate(blasad_tape *t, double *p, double *dp, int64_t n)
{
    const int64_t stride = sizeof(double);
    CHECK_OK(check_annotate(t, p, dp, BLASAD_DOUBLE, 1, &n, &stride, "an array"));
}

static blasad_tape *open_tape(int options)
{
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    for (int i = 0; i < 2 * N; i++) {
        x[i] = 1.25 + i;
        w[i] = 3 - i;
        k[i] = 0.5 * i;
    }
    memset(room, 0, sizeof room);
    annotate(t, x, dx, 2 * N);
    annotate(t, w, dw, 2 * N);
    annotate(t, k, NULL, 2 * N);
    CHECK_OK(blasad_const(t, (void *)(uintptr_t)&unit, sizeof unit));
    CHECK_OK(blasad_duplicated(t, &result, &dresult, sizeof result));
    CHECK_OK(blasad_tape_start(t));
    return t;
}

static void scaled(double factor, const double *from, double *to, int32_t n)
{
    const int32_t one = 1;
    dgemm("N", "N", &n, &one, &one, &factor, from, &n, &unit, &one, &(double){0}, to, &n);
}

/* A call reads `copy`, which nobody annotated. */
static void check_read(blasad_tape *t, const double *copy, int32_t n, const char *words, const char *what)
{
    const int32_t one = 1;
    dgemm("T", "N", &one, &one, &n, &(double){1}, copy, &n, w, &n, &(double){0}, &result, &one);
    check_code(__FILE__, __LINE__, what, blasad_tape_close_recording(t), words ? BLASAD_ACTIVITY : BLASAD_OK,
               words ? words : "");
    CHECK_OK(blasad_tape_free(t));
}

static void check_copy(blasad_tape *t, const double *of, int32_t n, const char *words, const char *what)
{
    double copy[4 * N];
    memcpy(copy, of, (size_t)n * sizeof *of);
    check_read(t, copy, n, words, what);
}

/* Copies of what calls made of constants are constants, wherever it was; those of what was annotated are not. */
static void constants(void)
{
    for (int owner = 0; owner < 3; owner++) {
        blasad_tape *t = open_tape(0);
        if (owner)
            annotate(t, room, owner == 2 ? droom : NULL, N);
        scaled(3, k, room, N);
        check_copy(t, room, N, NULL, "constants");
    }
    check_copy(open_tape(0), x, 2 * N, "what an annotated array held", "an annotated array");
}

static void least(void)
{
    for (int32_t n = N - 1; n <= N; n++) {
        blasad_tape *t = open_tape(0);
        scaled(3, x, room, n);
        check_copy(t, room, n, n < N ? NULL : "copy of", "few numbers in scratch");
        t = open_tape(0);
        annotate(t, room, droom, n);
        scaled(3, x, room, n);
        check_copy(t, room, n, n < N ? NULL : "copy of", "few numbers");
    }
}

/* A call writes a part of an array, or of two: the array is another value then. */
static void blocks(void)
{
    blasad_tape *t = open_tape(0);
    annotate(t, room, droom, 2 * N);
    scaled(3, x, room + N, N);
    check_copy(t, room, 2 * N, "the result of call 0", "a block");
    for (int second = 0; second < 2; second++) {
        t = open_tape(0);
        annotate(t, room, droom, 2 * N);
        annotate(t, room + 2 * N, droom + 2 * N, 2 * N);
        scaled(3, x, room + N, 2 * N);
        check_copy(t, room + 2 * N * second, 2 * N, "the result of call 0", "a block of two arrays");
    }
}

/* Memory that was annotated without saying what its numbers are, and pieces of it. */
static void bytes(void)
{
    blasad_tape *t = open_tape(0);
    CHECK_OK(blasad_duplicated(t, room, droom, sizeof(double[N])));
    scaled(3, x, room, N);
    check_copy(t, room, N, "the result of call 0", "bytes");
    t = open_tape(0);
    CHECK_OK(blasad_duplicated(t, room, droom, sizeof(double[3])));
    CHECK_OK(blasad_duplicated(t, room + 3, droom + 3, sizeof(double[N - 3])));
    scaled(3, x, room, N);
    check_copy(t, room, N, "the result of call 0", "bytes of two annotations");
}

/* What was in scratch, all of it or a part, is not read where it was. */
static void vanished(void)
{
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    double *const border = (double *)(void *)(p + PAGE);
    for (int before = 0; before <= 3; before += 3) {
        double copy[N];
        blasad_tape *t = open_tape(0);
        if (before)
            annotate(t, border - before, droom, before);
        scaled(3, x, border - before, N);
        memcpy(copy, border - before, sizeof copy);
        CHECK(mprotect(border, PAGE, PROT_NONE) == 0);
        check_read(t, copy, N, "overwritten since", "vanished");
        CHECK(mprotect(border, PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    CHECK(munmap(p, 2 * PAGE) == 0);
}

/* Of a symmetric matrix a copy is one in two orders, which have different derivatives. */
static void symmetric(int options)
{
    const int32_t three = 3;
    const double half[9] = {1, 2, 3, 2, 4, 5, 3, 5, 6}, identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    blasad_tape *t = open_tape(options);
    double copy[9], other[9], dother[9] = {0}, s[9], ds[9] = {0};
    memcpy(s, half, sizeof s);
    annotate(t, s, ds, 9);
    annotate(t, other, dother, 9);
    dgemm("N", "N", &three, &three, &three, &(double){2}, s, &three, identity, &three, &(double){0}, room, &three);
    for (int i = 0; i < 9; i++)
        copy[i] = 2 * half[i];
    dgemm("N", "N", &three, &three, &three, &(double){1}, copy, &three, s, &three, &(double){0}, other, &three);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "in more than one order");
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    constants();
    least();
    blocks();
    bytes();
    vanished();
    symmetric(0);
    symmetric(BLASAD_FOLLOW_COPIES);
    return check_end();
}
