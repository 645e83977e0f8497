/* Sizes beyond 32 bits: recorded and replayed right where the BLAS has 64-bit integers, refused where it has not. The
 * two elements of a 1 x 2 matrix lie 16 GiB apart, in address space that is only reserved. Contract: 1, 3, 4. */
#include "../naive.h"

#include <sys/mman.h>

typedef void (*gemm_64)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *, const void *,
                        const void *, const int64_t *, const void *, const int64_t *, const void *, void *,
                        const int64_t *);

enum { PAGE = 1 << 16 };
static const int64_t LD = (INT64_C(1) << 31) + 5;
static const int64_t one = 1, two = 2;

/* Address space for a matrix with two columns, both usable, the gap between them not. */
static double *far_apart(void)
{
    const size_t bytes = (size_t)LD * sizeof(double) + 2 * PAGE;
    char *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        printf("this test needs %zu bytes of address space\n", bytes);
        exit(1);
    }
    const size_t second = (size_t)LD * sizeof(double) / PAGE * PAGE;
    CHECK(mprotect(p, PAGE, PROT_READ | PROT_WRITE) == 0 &&
          mprotect(p + second, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
    return (double *)p;
}

/* A pointer to `f` from outside of this program, which is where a wrapped function comes from. */
static void *foreign(check_function f)
{
    const uint64_t address = (uint64_t)(uintptr_t)naive_pointer(f);
    unsigned char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined(__x86_64__)
    memcpy(code, (const unsigned char[]){0x48, 0xb8}, 2); /* movabs $address, %rax; jmp *%rax */
    memcpy(code + 2, &address, 8);
    memcpy(code + 10, (const unsigned char[]){0xff, 0xe0}, 2);
#else
    memcpy(code, (const uint32_t[]){0x58000050, 0xd61f0200}, 8); /* ldr x16, .+8; br x16 */
    memcpy(code + 8, &address, 8);
#endif
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache((char *)code, (char *)code + 16);
    return code;
}

static void copied_input(gemm_64 f, double *a)
{
    double b[2] = {5, 7}, db[2] = {0}, c, dc = 0.8;
    a[0] = 2;
    a[LD] = 3;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, b, db, sizeof b));
    CHECK_OK(blasad_duplicated(t, &c, &dc, sizeof c));
    f("N", "N", &one, &one, &two, &(double){1}, a, &LD, b, &two, &(double){0}, &c, &one);
    CHECK(c == 31, "%g", c);
    blasad_call told;
    CHECK_OK(blasad_tape_call(t, 0, &told));
    CHECK(told.operands[0].ld == LD && told.operands[0].cols == 2, "%lld", (long long)told.operands[0].ld);
    CHECK(told.saved_bytes == sizeof(double[2]), "%zu", told.saved_bytes);
    a[0] = a[LD] = NAN;
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(db[0] == 0.8 * 2 && db[1] == 0.8 * 3 && dc == 0, "%g %g %g", db[0], db[1], dc);
    CHECK_OK(blasad_tape_free(t));
}

/* The shadow lies 64 bytes behind its matrix, between its columns. Without fingerprints, which need 4 bytes for each 8.
 */
static void input_and_output(gemm_64 f, double *a, double *c, int mode)
{
    const int64_t shape[] = {1, 2}, strides[] = {8, LD * 8};
    double b[4] = {1, 2, 3, 4}, *da = a + 8, *dc = c + 8;
    a[0] = 2, a[LD] = 3, da[0] = 10, da[LD] = 20;
    c[0] = 7, c[LD] = 9, dc[0] = 1, dc[LD] = -2;
    blasad_tape *t = blasad_tape_new(mode, BLASAD_NO_VERIFY);
    CHECK_OK(check_annotate(t, a, da, BLASAD_DOUBLE, 2, shape, strides, "a"));
    CHECK_OK(check_annotate(t, c, dc, BLASAD_DOUBLE, 2, shape, strides, "c"));
    CHECK_OK(blasad_const(t, b, sizeof b));
    CHECK_OK(blasad_tape_start(t));
    f("N", "N", &one, &two, &two, &(double){0.5}, a, &LD, b, &two, &(double){3}, c, &LD); /* c = a b / 2 + 3 c */
    CHECK(c[0] == 25 && c[LD] == 36, "%g %g", c[0], c[LD]);
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE) {
        CHECK_OK(blasad_reverse(t));
        CHECK(da[0] == 10 + 0.5 * (1 - 6) && da[LD] == 20 + 0.5 * (2 - 8), "%g %g", da[0], da[LD]);
        CHECK(dc[0] == 3 && dc[LD] == -6, "%g %g", dc[0], dc[LD]);
    } else {
        CHECK(dc[0] == 3 + 0.5 * 50 && dc[LD] == -6 + 0.5 * 110, "%g %g", dc[0], dc[LD]);
        CHECK(da[0] == 10 && da[LD] == 20);
    }
    CHECK_OK(blasad_tape_free(t));
}

/* Matrices whose columns interleave share no element; one that begins where the other has its second column does. */
static void aliases(gemm_64 f, double *a)
{
    const int64_t shape[] = {1, 2}, strides[] = {8, LD * 8};
    const double factor = 2;
    for (int same = 0; same < 2; same++) {
        double *c = same ? a + LD : a + 1;
        a[0] = 2, a[LD] = 3, c[8] = 1;
        blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, BLASAD_NO_VERIFY);
        CHECK_OK(check_annotate(t, a, a + 8, BLASAD_DOUBLE, 2, shape, strides, "a"));
        if (!same)
            CHECK_OK(check_annotate(t, c, c + 8, BLASAD_DOUBLE, 2, shape, strides, "c"));
        CHECK_OK(blasad_tape_start(t));
        if (same)
            f("N", "N", &one, &one, &two, &(double){1}, a, &LD, (double[]){1, 1}, &two, &(double){0}, c, &one);
        else
            f("N", "N", &one, &two, &one, &(double){1}, &factor, &one, a, &LD, &(double){0}, c, &LD);
        CHECK_CODE(blasad_tape_close_recording(t), same ? BLASAD_ALIAS : BLASAD_OK, same ? "shares elements" : "");
        CHECK_OK(blasad_tape_free(t));
    }
}

static void dimension(gemm_64 f)
{
    const int64_t many = INT64_C(1) << 33, none = 0;
    double a = 1, da = 0, c = 1, dc = 1;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &a, &da, sizeof a));
    CHECK_OK(blasad_duplicated(t, &c, &dc, sizeof c));
    f("N", "N", &many, &none, &one, &(double){1}, &a, &many, &a, &one, &(double){1}, &c, &many);
    blasad_call told;
    CHECK_OK(blasad_tape_call(t, 0, &told));
    CHECK(told.dims[0] == many && told.dims[1] == 0 && told.operands[2].ld == many, "%lld", (long long)told.dims[0]);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(da == 0 && dc == 1 && c == 1);
    CHECK_OK(blasad_tape_free(t));
}

static void refused(double *a)
{
    check_backend();
    gemm_64 f = (gemm_64)check_entry("dgemm_64_");
    double b[2] = {5, 7}, db[2] = {0}, c = 4, dc = 0.8;
    a[0] = 2;
    a[LD] = 3;
    const int64_t many = INT64_C(1) << 32;
    for (int which = 0; which < 2; which++) {
        blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(t, b, db, sizeof b));
        CHECK_OK(blasad_duplicated(t, &c, &dc, sizeof c));
        if (which == 0)
            f("N", "N", &one, &one, &two, &(double){1}, a, &LD, b, &two, &(double){0}, &c, &one);
        else
            f("N", "N", &many, &one, &one, &(double){1}, a, &many, b, &two, &(double){0}, &c, &many);
        CHECK(c == 4, "nothing can be computed");
        CHECK_CODE(blasad_tape_close_recording(t), BLASAD_BACKEND, "beyond 32 bits");
        CHECK_CODE(blasad_reverse(t), BLASAD_BACKEND, getenv("BLASAD_BACKEND"));
        CHECK(blasad_tape_length(t) == 0 && dc == 0.8 && db[0] == 0);
        CHECK_OK(blasad_tape_free(t));
    }
    /* what fits passes, whatever the width of the name */
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, b, db, sizeof b));
    CHECK_OK(blasad_duplicated(t, &c, &dc, sizeof c));
    f("T", "N", &one, &one, &two, &(double){1}, (double[]){2, 3}, &two, b, &two, &(double){0}, &c, &one);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(c == 31 && db[0] == 0.8 * 2 && db[1] == 0.8 * 3 && dc == 0, "%g %g %g", c, db[0], db[1]);
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    double *a = far_apart(), *c = far_apart();
    naive_backend(64);
    void *wrapped[3] = {blasad_address("dgemm_64_"), NULL, NULL}, *code = foreign((check_function)naive_dgemm_64);
    CHECK_OK(blasad_wrap("dgemm_64_", code, 64, &wrapped[1]));
    CHECK_OK(blasad_wrap("dgemm_", code, 64, &wrapped[2])); /* the name says 32, its owner knows better */
    void *again = NULL;
    CHECK_OK(blasad_wrap("dgemm_64_", code, 64, &again));
    CHECK(again == wrapped[1]);
    for (int i = 0; i < 3 && !check_failures; i++) {
        gemm_64 f;
        memcpy(&f, &wrapped[i], sizeof f);
        copied_input(f, a);
        input_and_output(f, a, c, BLASAD_REVERSE);
        input_and_output(f, a, c, BLASAD_FORWARD);
        dimension(f);
    }
    aliases((gemm_64)check_entry("dgemm_64_"), a);
    refused(a);
    return check_end();
}
