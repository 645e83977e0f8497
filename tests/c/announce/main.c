/* What the program announces: fresh content (assigned) and ends of lives (forget), on arrays of any shape and owner, in
 * both modes, with batches and under outer tapes; and how it can be said wrong. Contract: 7, 11. */
#include "../check.h"

enum { N = 4, NN = N * N, MOST = 3 };

static double a[NN], da[MOST][NN], c[NN], dc[MOST][NN], ones[NN];
static check_gemm dgemm;

/* C <- X * ones + beta C: every element of X has a weight. */
static void sum_rows(const double *x, double beta, double *result)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){1}, x, &n, ones, &n, &beta, result, &n);
}

static blasad_tape *open_on(int mode, int options, int batch)
{
    const int64_t shape[] = {N, N}, strides[] = {8, 8 * N};
    void *das[MOST], *dcs[MOST];
    blasad_tape *t = blasad_tape_new(mode, options);
    for (int i = 0; i < NN; i++) {
        a[i] = i + 0.5;
        c[i] = -i;
        ones[i] = 1 + i / N; /* column j: j + 1 */
    }
    for (int k = 0; k < MOST; k++) {
        das[k] = da[k];
        dcs[k] = dc[k];
        for (int i = 0; i < NN; i++) {
            da[k][i] = mode == BLASAD_FORWARD ? (k + 1) * (i + 1) : 0;
            dc[k][i] = mode == BLASAD_FORWARD ? 0 : k + 1;
        }
    }
    CHECK_OK(blasad_annotate(t, a, batch, das, batch > 1, BLASAD_DOUBLE, 2, shape, strides, "a"));
    CHECK_OK(blasad_annotate(t, c, batch, dcs, batch > 1, BLASAD_DOUBLE, 2, shape, strides, "c"));
    CHECK_OK(blasad_const(t, ones, sizeof ones));
    CHECK_OK(blasad_tape_start(t));
    return t;
}

typedef struct part {
    int at, ndim;
    int64_t shape[3], strides[3]; /* in numbers */
} part;

static const part parts[] = {
    {5, 0, {0}, {0}},                     /* one number */
    {0, 1, {NN}, {1}},                    /* all */
    {1, 1, {5}, {3}},                     /* strided */
    {15, 1, {4}, {-5}},                   /* backwards */
    {5, 2, {2, 2}, {1, N}},               /* a block */
    {1, 2, {2, 3}, {N, 5}},               /* columns that cross */
    {0, 3, {2, 2, 2}, {1, 2 * N, 2}},     /* two axes outside of the runs */
    {NN - 1, 3, {2, 2, 2}, {-8, -2, -4}}, /* the same backwards */
    {3, 2, {0, 3}, {1, 4}},               /* nothing */
};

static void byte_strides(const part *p, int64_t *strides)
{
    for (int d = 0; d < p->ndim; d++)
        strides[d] = 8 * p->strides[d];
}

static void members(const part *p, bool *in)
{
    memset(in, 0, NN);
    int64_t count = 1;
    for (int d = 0; d < p->ndim; d++)
        count *= p->shape[d];
    for (int64_t e = 0; e < count; e++) {
        int64_t rest = e, at = p->at;
        for (int d = 0; d < p->ndim; d++) {
            at += rest % p->shape[d] * p->strides[d];
            rest /= p->shape[d];
        }
        in[at] = true;
    }
}

static int begin(const part *p, double *x)
{
    int64_t strides[3];
    byte_strides(p, strides);
    return blasad_assigned_begin(x + p->at, BLASAD_DOUBLE, p->ndim, p->shape, strides);
}
static int end(const part *p, double *x)
{
    int64_t strides[3];
    byte_strides(p, strides);
    return blasad_assigned_end(x + p->at, BLASAD_DOUBLE, p->ndim, p->shape, strides);
}
static int forget(const part *p, double *x)
{
    int64_t strides[3];
    byte_strides(p, strides);
    return blasad_forget(x + p->at, BLASAD_DOUBLE, p->ndim, p->shape, strides);
}

/* c = a ones + (a, or a copy of it in scratch, with a part replaced) ones: a's derivative counts the part once. */
static void replaced(const part *p, int mode, int options, int batch, bool in_scratch, bool forgotten)
{
    double scratch[NN];
    bool in[NN];
    members(p, in);
    blasad_tape *t = open_on(mode, options, batch);
    double *x = in_scratch ? scratch : a;
    const int32_t n = N;
    if (in_scratch) { /* a times the unit matrix */
        double unit[NN] = {0};
        for (int i = 0; i < N; i++)
            unit[i + N * i] = 1;
        dgemm("N", "N", &n, &n, &n, &(double){1}, a, &n, unit, &n, &(double){0}, scratch, &n);
    }
    sum_rows(x, 0, c);
    CHECK_OK(forgotten ? forget(p, x) : begin(p, x));
    for (int i = 0; i < NN; i++)
        x[i] = in[i] ? 100 + i : x[i];
    if (!forgotten)
        CHECK_OK(end(p, x));
    sum_rows(x, 1, c);
    const bool all_known = !forgotten || !memchr(in, true, NN);
    CHECK((blasad_tape_assuming(t, in_scratch) == blasad_tape_length(t)) == all_known);
    CHECK_OK(blasad_tape_close_recording(t));
    for (int repeat = 0; repeat < 2 && mode == BLASAD_REVERSE; repeat++) {
        for (int k = 0; k < batch; k++)
            for (int i = 0; i < NN; i++)
                da[k][i] = 0, dc[k][i] = (k + 1) * (i % N + 1);
        CHECK_OK(blasad_reverse(t));
        for (int k = 0; k < batch; k++)
            for (int i = 0; i < NN; i++) {
                /* sum over columns of c of (column j of ones)'s element i / N, twice where it was not replaced */
                double want = 0;
                for (int j = 0; j < N; j++)
                    want += (k + 1) * (i % N + 1) * ones[i / N + N * j];
                CHECK(da[k][i] == (in[i] ? 1 : 2) * want, "part at %d, shadow %d of %d: %g, not %g", p->at, k, i,
                      da[k][i], want);
                CHECK(dc[k][i] == 0);
            }
    }
    for (int k = 0; k < batch && mode == BLASAD_FORWARD; k++)
        for (int i = 0; i < NN; i++) {
            double want = 0;
            for (int j = 0; j < N; j++) {
                const int e = i % N + N * j;
                want += (in[e] ? 1 : 2) * (double)((k + 1) * (e + 1)) * ones[j + N * (i / N)];
            }
            CHECK(dc[k][i] == want, "part at %d, tangent %d of %d: %g, not %g", p->at, k, i, dc[k][i], want);
            if (!in_scratch)
                CHECK(da[k][i] == (in[i] ? 0 : (k + 1) * (i + 1)));
        }
    CHECK_OK(blasad_tape_free(t));
}

/* What is needed of the old content is saved, and no more; what is written beside is noticed. */
static void saved_and_checked(void)
{
    const part *p = &parts[4];
    blasad_tape *t = open_on(BLASAD_REVERSE, 0, 1);
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){1}, a, &n, a, &n, &(double){0}, c, &n);
    CHECK_OK(begin(p, a));
    CHECK(blasad_tape_saved_bytes(t) == sizeof(double[4]), "%zu", blasad_tape_saved_bytes(t));
    CHECK_OK(begin(p, a)); /* again: there is nothing left */
    CHECK(blasad_tape_saved_bytes(t) == sizeof(double[4]), "%zu", blasad_tape_saved_bytes(t));
    a[5] = 1;
    CHECK_OK(end(p, a));
    a[7] = 1;
    sum_rows(a, 0, c);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_UNSEEN_WRITE, "a changed");
    CHECK_OK(blasad_tape_free(t));

    t = open_on(BLASAD_REVERSE, 0, 1); /* written after its end */
    sum_rows(a, 0, c);
    CHECK_OK(begin(p, a));
    CHECK_OK(end(p, a));
    a[5] = 1;
    sum_rows(a, 0, c);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_UNSEEN_WRITE, "a changed");
    CHECK_OK(blasad_tape_free(t));

    t = open_on(BLASAD_REVERSE, 0, 1); /* changed before it was announced, though needed */
    dgemm("N", "N", &n, &n, &n, &(double){1}, a, &n, a, &n, &(double){0}, c, &n);
    a[5] = 1;
    const int code = begin(p, a);
    CHECK(code == BLASAD_UNSEEN_WRITE, "%d", code);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_UNSEEN_WRITE, "a changed");
    CHECK_OK(blasad_tape_free(t));
}

static void wrong(void)
{
    const int64_t shape[2] = {2, 2}, negative[2] = {2, -2}, strides[2] = {8, 32}, zero[2] = {8, 0}, odd[2] = {8, 12};
    double scratch[NN];
    blasad_tape *t = open_on(BLASAD_REVERSE, 0, 1);
    int (*const all[])(void *, int, int, const int64_t *, const int64_t *) = {blasad_assigned_begin,
                                                                              blasad_assigned_end, blasad_forget};
    for (int f = 0; f < 3; f++) {
        CHECK_CODE(all[f](scratch, 17, 2, shape, strides), BLASAD_VALUE, "17");
        CHECK_CODE(all[f](scratch, BLASAD_DOUBLE, 2, negative, strides), BLASAD_VALUE, "-2");
        CHECK_CODE(all[f](scratch, BLASAD_DOUBLE, 2, shape, zero), BLASAD_VALUE, "stride 0");
        CHECK_CODE(all[f](scratch, BLASAD_DOUBLE, 2, shape, odd), BLASAD_VALUE, "12 bytes");
        CHECK_CODE(all[f](NULL, BLASAD_DOUBLE, 2, shape, strides), BLASAD_VALUE, "NULL");
        CHECK_OK(all[f](scratch, BLASAD_DOUBLE, 2, shape, strides)); /* nothing is known of it */
    }
    CHECK_CODE(blasad_forget(a, BLASAD_DOUBLE, 2, shape, strides), BLASAD_VALUE, "tape.assigned");
    CHECK_CODE(blasad_forget(ones + 2, BLASAD_DOUBLE, 0, NULL, NULL), BLASAD_VALUE, "annotated memory");
    sum_rows(a, 0, c);
    CHECK_OK(blasad_tape_error(t));
    c[0]++;
    sum_rows(c, 0, a); /* an unseen write: from here on everybody is told of it */
    CHECK_CODE(blasad_assigned_begin(scratch, BLASAD_DOUBLE, 2, shape, strides), BLASAD_UNSEEN_WRITE, "c changed");
    CHECK_CODE(blasad_assigned_end(scratch, BLASAD_DOUBLE, 2, shape, strides), BLASAD_UNSEEN_WRITE, "c changed");
    CHECK_OK(blasad_tape_free(t));
    for (int f = 0; f < 3; f++) /* no tape is open */
        CHECK_OK(all[f](scratch, BLASAD_DOUBLE, 2, shape, strides));
    CHECK(blasad_current_tape() == NULL);
}

/* Numbers of another width than the annotation are no announcement of it. */
static void other_width(void)
{
    const int64_t two = 2, four = 4;
    blasad_tape *t = open_on(BLASAD_REVERSE, 0, 1);
    sum_rows(a, 0, c);
    const int code = blasad_assigned_begin(a, BLASAD_FLOAT, 1, &two, &four);
    CHECK(code == BLASAD_ACTIVITY, "%d", code);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "4 bytes");
    CHECK_OK(blasad_tape_free(t));
}

/* All tapes of the thread are told: memory of the outer one, scratch of the inner one. */
static void two_tapes(bool forgotten)
{
    double other[NN], dother[NN] = {0}, scratch[NN];
    const part *p = &parts[2];
    bool in[NN];
    members(p, in);
    blasad_tape *outer = open_on(BLASAD_REVERSE, 0, 1), *inner = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(inner, other, dother, sizeof other));
    CHECK(blasad_current_tape() == inner);
    sum_rows(a, 0, scratch); /* active on the outer tape only */
    CHECK_OK(forgotten ? forget(p, scratch) : begin(p, scratch));
    for (int i = 0; i < NN; i++)
        scratch[i] = in[i] ? 3 : scratch[i];
    if (!forgotten)
        CHECK_OK(end(p, scratch));
    sum_rows(scratch, 0, c);
    CHECK_OK(blasad_tape_close_recording(inner));
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_close_recording(outer));
    for (int i = 0; i < NN; i++)
        da[0][i] = 0, dc[0][i] = 1;
    CHECK_OK(blasad_reverse(outer));
    for (int i = 0; i < NN; i++) {
        double want = 0; /* dscratch = 1 ones^T where it was not replaced, da = dscratch ones^T */
        for (int j = 0; j < N; j++) {
            double g = 0;
            for (int l = 0; l < N; l++)
                g += ones[j + N * l];
            want += in[i % N + N * j] ? 0 : g * ones[i / N + N * j];
        }
        CHECK(da[0][i] == want, "%d: %g, not %g", i, da[0][i], want);
    }
    CHECK_OK(blasad_tape_free(outer));
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int way = 0; way < 8; way++)
            for (int batch = 1; batch <= MOST; batch += MOST - 1) {
                const int mode = way & 1 ? BLASAD_FORWARD : BLASAD_REVERSE, options = way & 2 ? BLASAD_NO_VERIFY : 0;
                replaced(&parts[i], mode, options, batch, way & 4, false);
                if (way & 4)
                    replaced(&parts[i], mode, options, batch, true, true);
            }
    saved_and_checked();
    wrong();
    other_width();
    two_tapes(false);
    two_tapes(true);
    return check_end();
}
