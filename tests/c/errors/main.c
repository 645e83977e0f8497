/* Every way to fail: the code, a text that names what is wrong, a program that is not disturbed, shadows that stay as
 * they are, and a tape that can be freed in any state, with nothing leaked. Contract: 1, 4, 5, 7, 8, 9, 10, 11. */
#include "../check.h"

enum { N = 2, NN = N * N };

/* `whole` is a and, behind it, room for operands that overlap it in part. */
static double whole[3 * NN], dwhole[3 * NN], *const a = whole, *const da = dwhole;
static double b[NN], db[NN], c[NN], dc[NN], cell[2], dcell[2];
static float narrow[NN];
static const double one = 1, zero = 0;
static check_gemm dgemm;

static void gemm_on(const double *x, const double *y, const double *beta, double *z)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &one, x, &n, y, &n, beta, z, &n);
}
static void gemm(const double *x, const double *y, double *z) { gemm_on(x, y, &zero, z); }

static void annotate_abc(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_duplicated(t, b, db, sizeof b));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
}

/* ---- errors found while recording */

static void alias_whole(blasad_tape *t)
{
    annotate_abc(t);
    gemm(a, b, a);
}
static void alias_one_element(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, whole, dwhole, sizeof whole));
    gemm(a, b, a + NN - 1);
}
static void alias_scalar(blasad_tape *t)
{
    annotate_abc(t);
    c[3] = 0.5;
    gemm_on(a, b, &c[3], c);
}
static void output_constant(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_const(t, c, sizeof c));
    gemm(a, b, c);
}
static void output_constant_in_part(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof(double[NN - 1])));
    CHECK_OK(blasad_const(t, c + NN - 1, sizeof(double)));
    gemm(a, b, c);
}
static void output_misaligned(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    gemm(a, b, (double *)(void *)((char *)(whole + NN) + 4));
}
static void half_a_number(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof(double[NN - 1]) + 4));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
    gemm(a, b, c);
}
static void half_a_scalar(blasad_tape *t)
{
    annotate_abc(t);
    CHECK_OK(blasad_duplicated(t, cell, dcell, 4));
    gemm_on(a, b, cell, c);
}
static void unseen_between(blasad_tape *t)
{
    annotate_abc(t);
    gemm(a, b, c);
    a[1] += 1;
    gemm(a, b, c);
}
static void unseen_at_end(blasad_tape *t)
{
    annotate_abc(t);
    gemm(a, b, c);
    c[3] += 1;
}
static void unseen_needed_overwritten(blasad_tape *t)
{
    annotate_abc(t);
    gemm(a, b, c);
    b[2] = 77;
    gemm(a, c, b); /* b is needed, changed, and about to be saved */
}
static void unseen_scratch(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    gemm(a, b, c);
    c[2] = 77;
    gemm(c, b, whole + NN);
}
static void unseen_scalar_in_scratch(blasad_tape *t)
{
    const int32_t n = 1;
    annotate_abc(t);
    dgemm("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, cell, &n);
    cell[0] += 1;
    gemm_on(a, b, cell, c);
}
static void alias_in_scratch(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    gemm(a, b, c);
    gemm(c, b, c);
}
static void scratch_of_other_width(blasad_tape *t)
{
    const int32_t n = 1;
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    gemm(a, b, c);
    ((check_gemm)check_entry("sgemm_"))("N", "N", &n, &n, &n, &(float){1}, c, &n, narrow, &n, &(float){0}, narrow + 1,
                                        &n);
}
/* A double that begins in the middle of where one is aligned, and of which both halves are floats of their own. */
static void misaligned_over_floats(blasad_tape *t)
{
    static _Alignas(8) float floats[4];
    static float dnarrow[NN];
    const int32_t n = 1, two = 2;
    narrow[0] = narrow[1] = 1;
    annotate_abc(t);
    CHECK_OK(blasad_duplicated(t, narrow, dnarrow, sizeof narrow));
    ((check_gemm)check_entry("sgemm_"))("N", "N", &two, &n, &n, &(float){1}, narrow, &two, &(float){1}, &n, &(float){0},
                                        floats + 1, &two);
    dgemm("N", "N", &n, &n, &n, &one, floats + 1, &n, a, &n, &zero, c, &n);
}
static void unseen_const(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
    CHECK_OK(blasad_const(t, b, sizeof b));
    gemm(a, b, c);
    b[0] += 1;
    gemm(a, b, c);
}
static void unseen_scalar(blasad_tape *t)
{
    annotate_abc(t);
    CHECK_OK(blasad_duplicated(t, cell, dcell, sizeof cell));
    gemm_on(a, b, cell, c);
    cell[0] += 1;
    gemm_on(a, b, cell, c);
}
static void other_width(blasad_tape *t)
{
    const int32_t n = 1;
    annotate_abc(t);
    gemm(a, b, c);
    ((check_gemm)check_entry("sgemm_"))("N", "N", &n, &n, &n, &(float){1}, a, &n, narrow, &n, &(float){0}, narrow + 1,
                                        &n);
}
static void undeclared(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
    gemm(a, b, c);
}
static void returned_by_value(blasad_tape *t)
{
    const int32_t n = 1;
    a[0] = 1.5, b[0] = 1.25;
    annotate_abc(t);
    CHECK_OK(blasad_duplicated(t, cell, dcell, sizeof cell));
    dgemm("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, cell, &n);
    const double copy = cell[0];
    dgemm("N", "N", &n, &n, &n, &copy, a, &n, b, &n, &zero, c, &n);
}

typedef void (*scenario)(blasad_tape *t);

static void reset(void)
{
    for (int i = 0; i < 3 * NN; i++) {
        whole[i] = i + 1;
        dwhole[i] = 0.25 * i;
    }
    for (int i = 0; i < NN; i++) {
        b[i] = i - 2.5;
        c[i] = 9;
        db[i] = dc[i] = 0.125 * i + 1;
    }
    cell[0] = 0.5, cell[1] = 3, dcell[0] = dcell[1] = 7;
}

static void found_while_recording(scenario run, int options, int code, const char *words)
{
    enum { CLOSED, CLOSED_ONLY, OPEN, STATES };
    for (int state = 0; state < STATES; state++) {
        reset();
        double copies[5][3 * NN];
        blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
        CHECK_OK(blasad_tape_start(t));
        run(t);
        const size_t length = blasad_tape_length(t);
        if (blasad_tape_error(t) != BLASAD_OK) { /* the program goes on, and the tape records nothing more */
            const double want = b[1] * b[0] + b[3] * b[1];
            gemm(b, b, c);
            CHECK(c[1] == want, "%s: %g, not %g", words, c[1], want);
            CHECK(blasad_tape_length(t) == length);
        }
        if (state != OPEN) {
            check_code(__FILE__, __LINE__, words, blasad_tape_close_recording(t), code, words);
            CHECK(blasad_tape_length(t) == length);
        }
        if (state == CLOSED) {
            memcpy(copies[0], dwhole, sizeof dwhole);
            memcpy(copies[1], db, sizeof db);
            memcpy(copies[2], dc, sizeof dc);
            for (int i = 0; i < 2; i++)
                check_code(__FILE__, __LINE__, words, blasad_reverse(t), code, words);
            check_code(__FILE__, __LINE__, words, blasad_tape_error(t), code, words);
            check_code(__FILE__, __LINE__, words, blasad_tape_close_recording(t), code, words);
            CHECK(memcmp(copies[0], dwhole, sizeof dwhole) == 0 && memcmp(copies[1], db, sizeof db) == 0 &&
                      memcmp(copies[2], dc, sizeof dc) == 0,
                  "%s: a shadow was written", words);
        }
        CHECK_OK(blasad_tape_free(t));
    }
}

/* ---- illegal arguments: position, name and value as the program gave them */

static void illegal_fortran(void)
{
    static const struct {
        char ta, tb;
        int32_t m, n, k, lda, ldb, ldc;
        const char *words;
    } calls[] = {
        {'X', 'N', 2, 2, 2, 2, 2, 2, "argument 1 (transa) = 'X'"},
        {'N', '*', 2, 2, 2, 2, 2, 2, "argument 2 (transb) = '*'"},
        {'N', 'N', -1, 2, 2, 2, 2, 2, "argument 3 (m) = -1"},
        {'N', 'N', 2, -7, 2, 2, 2, 2, "argument 4 (n) = -7"},
        {'N', 'N', 2, 2, -3, 2, 2, 2, "argument 5 (k) = -3"},
        {'N', 'N', 2, 2, 1, 1, 2, 2, "argument 8 (lda) = 1"},
        {'T', 'N', 1, 2, 2, 1, 2, 2, "argument 8 (lda) = 1"},
        {'N', 'N', 2, 1, 2, 2, 1, 2, "argument 10 (ldb) = 1"},
        {'N', 'T', 2, 2, 1, 2, 1, 2, "argument 10 (ldb) = 1"},
        {'N', 'N', 2, 2, 2, 2, 2, 1, "argument 13 (ldc) = 1"},
        {'N', 'N', 0, 0, 0, 0, 1, 1, "argument 8 (lda) = 0"},
        {'R', 'N', 2, 2, 2, 2, 2, 2, "argument 1 (transa) = 'R'"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        reset();
        blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
        annotate_abc(t);
        gemm(a, b, c);
        dgemm(&calls[i].ta, &calls[i].tb, &calls[i].m, &calls[i].n, &calls[i].k, &one, a, &calls[i].lda, b,
              &calls[i].ldb, &zero, c, &calls[i].ldc);
        check_code(__FILE__, __LINE__, "close", blasad_tape_close_recording(t), BLASAD_INVALID_CALL, calls[i].words);
        check_code(__FILE__, __LINE__, "close", blasad_tape_error(t), BLASAD_INVALID_CALL, "dgemm");
        CHECK(blasad_tape_length(t) == 1, "nothing is recorded for it");
        CHECK_OK(blasad_tape_free(t));
    }
}

typedef void (*cblas)(int, int, int, int32_t, int32_t, int32_t, double, const double *, int32_t, const double *,
                      int32_t, double, double *, int32_t);

static void illegal_cblas(void)
{
    static const struct {
        int layout, ta, tb;
        int32_t m, n, k, lda, ldb, ldc;
        const char *words;
    } calls[] = {
        {100, 111, 111, 2, 2, 2, 2, 2, 2, "argument 1 (layout)"},
        {102, 110, 111, 2, 2, 2, 2, 2, 2, "argument 2 (transa)"},
        {101, 111, 114, 2, 2, 2, 2, 2, 2, "argument 3 (transb)"},
        {102, 111, 111, -1, 2, 2, 2, 2, 2, "argument 4 (m) = -1"},
        {101, 111, 111, -1, 2, 2, 2, 2, 2, "argument 4 (m) = -1"},
        {101, 111, 111, 2, -4, 2, 2, 2, 2, "argument 5 (n) = -4"},
        {101, 111, 111, 2, 2, -5, 2, 2, 2, "argument 6 (k) = -5"},
        {101, 111, 111, 1, 2, 2, 1, 2, 2, "argument 9 (lda) = 1"},
        {101, 111, 111, 2, 2, 1, 2, 1, 2, "argument 11 (ldb) = 1"},
        {101, 111, 111, 1, 2, 2, 2, 2, 1, "argument 14 (ldc) = 1"},
        {102, 111, 111, 2, 1, 2, 2, 2, 1, "argument 14 (ldc) = 1"},
    };
    cblas f = (cblas)check_entry("cblas_dgemm");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        reset();
        blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
        annotate_abc(t);
        f(calls[i].layout, calls[i].ta, calls[i].tb, calls[i].m, calls[i].n, calls[i].k, 1, a, calls[i].lda, b,
          calls[i].ldb, 0, c, calls[i].ldc);
        check_code(__FILE__, __LINE__, "close", blasad_tape_close_recording(t), BLASAD_INVALID_CALL, calls[i].words);
        CHECK(blasad_tape_length(t) == 0, "nothing is recorded for it");
        CHECK_OK(blasad_tape_free(t));
    }
}

/* ---- what passes: nothing active is touched, or nothing that a derivative depends on changes */

static void no_errors(void)
{
    reset();
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    annotate_abc(t);
    CHECK_OK(blasad_const(t, whole + NN, sizeof(double[2 * NN])));
    gemm(whole + NN, whole + NN, whole + 2 * NN);
    gemm(whole + NN, whole + 2 * NN, whole + 2 * NN); /* an alias of constants */
    c[0] = 1234;                                      /* overwritten before it is read */
    gemm(a, b, c);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK_OK(blasad_tape_free(t));
    CHECK_OK(blasad_tape_free(NULL));
    t = blasad_tape_new(BLASAD_REVERSE, 0); /* never started */
    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_tape_free(t));
}

/* ---- the interface used in the wrong order or with arguments that make no sense */

static void states(void)
{
    reset();
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_CODE(blasad_reverse(t), BLASAD_TAPE, "not recorded anything yet");
    CHECK_OK(blasad_tape_start(t));
    CHECK_CODE(blasad_tape_start(t), BLASAD_TAPE, "opened before");
    CHECK_CODE(blasad_reverse(t), BLASAD_TAPE, "inside the tape's own block");
    blasad_tape *inner = blasad_tape_open(BLASAD_REVERSE);
    CHECK(inner && blasad_current_tape() == inner);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_TAPE, "opened inside");
    CHECK_CODE(blasad_tape_free(t), BLASAD_TAPE, "opened inside");
    CHECK_OK(blasad_tape_free(inner));
    CHECK(blasad_current_tape() == t);
    CHECK_CODE(blasad_set_backend(getenv("BLASAD_BACKEND")), BLASAD_TAPE, "no tape is open");
    CHECK_CODE(blasad_set_backend_functions("x", 0, NULL, NULL), BLASAD_TAPE, "no tape is open");

    CHECK_OK(blasad_duplicated(t, a, da, sizeof b));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
    gemm(a, b, c);
    CHECK_CODE(blasad_duplicated(t, b, db, sizeof b), BLASAD_TAPE, "already");
    CHECK_CODE(blasad_duplicated(t, (void *)(uintptr_t)&one, db, sizeof one), BLASAD_TAPE, "already");
    CHECK_CODE(blasad_duplicated(t, whole, dwhole, sizeof whole), BLASAD_TAPE, "already");
    CHECK_OK(blasad_tape_close_recording(t)); /* refused annotations are no errors of the recording */
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_CODE(blasad_duplicated(t, cell, dcell, sizeof cell), BLASAD_TAPE, "ended");
    CHECK_CODE(blasad_tape_start(t), BLASAD_TAPE, "opened before");
    blasad_call call;
    CHECK_OK(blasad_tape_call(t, 0, &call));
    CHECK_CODE(blasad_tape_call(t, 1, &call), BLASAD_VALUE, "call 1");
    CHECK_OK(blasad_reverse(t));

    /* replayed under another tape; and with a needed value that changed since */
    blasad_tape *other = blasad_tape_open(BLASAD_FORWARD);
    CHECK_OK(blasad_reverse(t)); /* it has nothing to do with that one */
    CHECK_OK(blasad_duplicated(other, a, da + NN, sizeof b));
    const double kept = da[0];
    CHECK_CODE(blasad_reverse(t), BLASAD_TAPE, "opened after");
    CHECK(da[0] == kept, "a shadow was written");
    CHECK_OK(blasad_tape_close_recording(other));
    CHECK_CODE(blasad_reverse(other), BLASAD_TAPE, "forward");
    CHECK_OK(blasad_tape_free(other));
    CHECK_OK(blasad_tape_free(t));
}

static void changed_before_reverse(void)
{
    reset();
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    annotate_abc(t);
    gemm(a, b, c);
    CHECK_OK(blasad_tape_close_recording(t));
    c[0] = -1; /* nobody needs it */
    CHECK_OK(blasad_reverse(t));
    double before = da[0];
    b[3] += 1;
    dc[0] = 5;
    CHECK_CODE(blasad_reverse(t), BLASAD_UNSEEN_WRITE, "reverse()");
    CHECK(da[0] == before && dc[0] == 5, "a shadow was written");
    CHECK_OK(blasad_tape_free(t));
}

static void annotations(void)
{
    double room[64], droom[64];
    const int64_t two[] = {2, 2}, zero_stride[] = {0, 8}, odd[] = {8, 20}, window[] = {8, 8}, many[65] = {0},
                  negative[] = {-2, 2};
    CHECK(blasad_tape_new(7, 0) == NULL && strstr(blasad_last_error(), "7 is no mode"), "%s", blasad_last_error());
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_CODE(blasad_duplicated(t, room, NULL, 8), BLASAD_VALUE, "NULL");
    CHECK_CODE(blasad_duplicated(t, NULL, droom, 8), BLASAD_VALUE, "NULL");
    CHECK_CODE(blasad_const(t, NULL, 8), BLASAD_VALUE, "NULL");
    CHECK_OK(blasad_const(t, NULL, 0));
    CHECK_CODE(blasad_duplicated(t, room, droom, 6), BLASAD_VALUE, "6 bytes");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_BYTES, 2, two, window, "x"), BLASAD_VALUE, "bytes");
    CHECK_CODE(check_annotate(t, room, droom, -1, 2, two, window, NULL), BLASAD_VALUE, "blasad_type");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_DOUBLE, 2, two, zero_stride, "x"), BLASAD_VALUE, "x has stride 0");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_DOUBLE, 2, two, odd, "x"), BLASAD_VALUE, "20 bytes");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_DOUBLE, 2, two, window, "x"), BLASAD_VALUE, "overlaps itself");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_DOUBLE, 65, many, many, "x"), BLASAD_VALUE, "axes");
    CHECK_CODE(check_annotate(t, room, droom, BLASAD_DOUBLE, 2, negative, odd, "x"), BLASAD_VALUE, "-2");
    CHECK_CODE(blasad_duplicated(t, room, room, 64), BLASAD_VALUE, "shadow");
    CHECK_CODE(blasad_duplicated(t, room, room + 7, 64), BLASAD_VALUE, "shadow");
    CHECK_OK(blasad_duplicated(t, room, room + 8, 64));
    CHECK_CODE(blasad_duplicated(t, room + 15, droom, 8), BLASAD_VALUE, "shadow");  /* memory in a shadow */
    CHECK_CODE(blasad_duplicated(t, droom, room + 7, 8), BLASAD_VALUE, "shadow");   /* shadow in memory */
    CHECK_CODE(blasad_duplicated(t, droom, room + 15, 16), BLASAD_VALUE, "shadow"); /* shadow in a shadow */
    CHECK_CODE(blasad_const(t, room + 15, 8), BLASAD_VALUE, "shadow");
    CHECK_CODE(blasad_const(t, room, 8), BLASAD_VALUE, "duplicated");
    CHECK_CODE(blasad_duplicated(t, room + 1, droom, 8), BLASAD_VALUE, "another shadow");
    CHECK_CODE(blasad_duplicated(t, room + 4, droom, 64), BLASAD_VALUE, "");
    CHECK_OK(blasad_duplicated(t, room, room + 8, 64)); /* the same again, and a part of it */
    CHECK_OK(blasad_duplicated(t, room + 2, room + 10, 16));
    CHECK_OK(blasad_tape_free(t));

    void *const batch[] = {droom, room}; /* one that is refused says nothing of those to come */
    t = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_CODE(blasad_annotate(t, room, 2, batch, 1, BLASAD_DOUBLE, 2, two, (int64_t[]){8, 16}, "x"), BLASAD_VALUE,
               "shadow");
    CHECK_OK(blasad_duplicated(t, room, droom, 64));
    CHECK_OK(blasad_tape_free(t));
}

static void backends(void)
{
    void *out = NULL, *own = blasad_address("dgemm_");
    CHECK_CODE(blasad_set_backend("/nowhere/libblas.so"), BLASAD_BACKEND, "/nowhere/libblas.so");
    CHECK_CODE(blasad_set_backend("libm.so.6"), BLASAD_BACKEND, "libm.so.6 is no BLAS");
    CHECK_CODE(blasad_set_backend(""), BLASAD_BACKEND, "");
    int bits, registers;
    CHECK(blasad_backend(&bits, &registers) && strcmp(blasad_backend(&bits, &registers), getenv("BLASAD_BACKEND")) == 0,
          "the backend of before is kept");
    CHECK(blasad_address("dgemm") == NULL && blasad_address("dnrm7_") == NULL);
    CHECK_CODE(blasad_wrap("dgemm", own, 0, &out), BLASAD_VALUE, "no routine");
    CHECK_CODE(blasad_wrap("dgemm_", NULL, 0, &out), BLASAD_VALUE, "NULL");
    CHECK_CODE(blasad_wrap("dgemm_", own, 48, &out), BLASAD_VALUE, "48 bits");
    CHECK_CODE(blasad_wrap("dgemm_", own, 0, &out), BLASAD_VALUE, "recording pointer");
    CHECK(out == NULL);
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    static const struct {
        scenario run;
        int options, code;
        const char *words;
    } all[] = {
        {alias_whole, 0, BLASAD_ALIAS, "shares elements with"},
        {alias_one_element, 0, BLASAD_ALIAS, "operand c"},
        {alias_scalar, 0, BLASAD_ALIAS, "the scalar beta"},
        {output_constant, 0, BLASAD_ACTIVITY, "annotated as constant"},
        {output_constant_in_part, 0, BLASAD_ACTIVITY, "a part of which is annotated as constant"},
        {output_misaligned, 0, BLASAD_ACTIVITY, "not aligned to their size"},
        {half_a_number, 0, BLASAD_ACTIVITY, "partly in annotated memory"},
        {half_a_scalar, 0, BLASAD_ACTIVITY, "partly in annotated memory"},
        {unseen_between, 0, BLASAD_UNSEEN_WRITE, "between call 0 (dgemm"},
        {unseen_at_end, 0, BLASAD_UNSEEN_WRITE, "the end of the recording"},
        {unseen_needed_overwritten, 0, BLASAD_UNSEEN_WRITE, "call 0"},
        {unseen_scratch, 0, BLASAD_UNSEEN_WRITE, "between call 0 (dgemm"},
        {unseen_scalar_in_scratch, 0, BLASAD_UNSEEN_WRITE, "between call 0 (dgemm"},
        {alias_in_scratch, 0, BLASAD_ALIAS, "shares elements with"},
        {scratch_of_other_width, 0, BLASAD_ACTIVITY, "numbers of 4 bytes"},
        {misaligned_over_floats, 0, BLASAD_ACTIVITY, "numbers of 8 bytes"},
        {unseen_const, 0, BLASAD_UNSEEN_WRITE, "Const("},
        {unseen_scalar, 0, BLASAD_UNSEEN_WRITE, "call 0"},
        {other_width, 0, BLASAD_ACTIVITY, "numbers of 4 bytes"},
        {undeclared, BLASAD_UNDECLARED_ERROR, BLASAD_ACTIVITY, "operand b"},
        {returned_by_value, 0, BLASAD_ACTIVITY, "the scalar alpha"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        found_while_recording(all[i].run, all[i].options, all[i].code, all[i].words);
    illegal_fortran();
    illegal_cblas();
    no_errors();
    states();
    changed_before_reverse();
    annotations();
    backends();
    return check_end();
}
