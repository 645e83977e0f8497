/* Memory that runs out at any allocation, once or for good, while scratch is active, operands have several owners,
 * values go to a file, operations are recorded and tapes are nested: the program's own results are right, every
 * function says so or succeeds, a reverse pass that fails leaves the shadows and works when there is memory again, and
 * nothing leaks. Contract: 3, 6, 11. */
#include "../naive.h"

#include "../exhaust.h"

#include "arena.h"

enum { N = 3, NN = N * N, MOST = 2, REPEATS = 3 };

static double x[NN], dx[MOST][NN], c[NN], dc[MOST][NN], k[NN], kept[2 * NN], copy[NN], y[NN], dy[MOST][NN];
static float fx[4], dfx[MOST][4], fy[4], dfy[MOST][4];
static double vx[NN], vdx[NN], vc[NN], vdc[NN]; /* on the outer tape */
static check_gemm dgemm, sgemm;

typedef struct setting {
    int mode, options, batch;
    int outer; /* -1: no tape around it */
    size_t limit;
} setting;

static bool fine(int code)
{
    CHECK(code == BLASAD_OK || code == BLASAD_MEMORY, "code %d: %s", code, blasad_last_error());
    CHECK(code == BLASAD_OK || strlen(blasad_last_error()) > 10);
    return code == BLASAD_OK;
}

static void reset(void)
{
    for (int i = 0; i < NN; i++) {
        x[i] = i % 4 - 1.25;
        k[i] = 0.25 * (i - 3);
        c[i] = y[i] = copy[i] = 0;
        vx[i] = i % 2;
        vdx[i] = vc[i] = 0;
        vdc[i] = i % 3;
        for (int b = 0; b < MOST; b++) {
            dx[b][i] = 0.125 * i + b;
            dc[b][i] = 0.8 - i - b;
            dy[b][i] = i - b;
        }
    }
    for (int i = 0; i < 4; i++) {
        fx[i] = (float)i + 0.375f;
        fy[i] = 0;
        for (int b = 0; b < MOST; b++)
            dfx[b][i] = dfy[b][i] = 1;
    }
}

static int negate(void *self, int shadow, void *const *in, void *const *out, void *const *d, blasad_array *result)
{
    static const int64_t shape = NN, stride = sizeof(double);
    static double negative[NN];
    (void)self, (void)shadow, (void)in, (void)out;
    for (int i = 0; i < NN; i++)
        negative[i] = -((const double *)d[0])[i];
    result[0] = (blasad_array){negative, BLASAD_DOUBLE, 1, &shape, &stride};
    return 0;
}

static void product(const double *a, const double *b, double beta, double *out)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){0.5}, a, &n, b, &n, &beta, out, &n);
}

/* What the library is asked for here may fail; what the program computes may not. */
static bool program(const setting *s)
{
    const int64_t n = NN, stride = sizeof(double), bytes = sizeof kept, three = 3;
    const int32_t one = 1, two = 2;
    static double constant[NN];
    float *floats = (float *)kept;
    bool good = true;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        for (int i = 0; i < NN; i++)
            constant[i] = repeat + i;
        product(x, constant, 0, kept);    /* scratch becomes active, what it needs is kept again and again */
        product(kept, x, 0, kept + NN);   /* two active factors */
        product(kept + NN, k, repeat, c); /* an output of two owners */
        product(c, kept + 4, 1, y);       /* a factor that is in part in each of two values */
        dgemm("N", "N", &one, &one, &one, &kept[1], c, &one, k, &one, &kept[2], y, &one); /* scalars in scratch */
        if (s->outer < 0) {
            good &= fine(blasad_assigned_begin(x + 3, BLASAD_DOUBLE, 1, &three, &stride));
            x[3] = x[4] = x[5] = 0.75;
            good &= fine(blasad_assigned_end(x + 3, BLASAD_DOUBLE, 1, &three, &stride));
            const blasad_array in = {c, BLASAD_DOUBLE, 1, &n, &stride}, out = {kept, BLASAD_DOUBLE, 1, &n, &stride};
            blasad_operation *o = blasad_record_begin(1, &in, 1, &out);
            good &= o || fine(BLASAD_MEMORY);
            for (int i = 0; i < NN; i++)
                kept[i] = -c[i];
            if (o)
                good &= fine(blasad_record_end(o, negate, negate, NULL, NULL));
            product(kept, k, 0, y);
        }
        if (s->options & BLASAD_FOLLOW_COPIES) {
            memcpy(copy, y, sizeof copy);
            product(copy, k, 0, c);
            good &= fine(blasad_forget(copy, BLASAD_DOUBLE, 1, &n, &stride));
        }
        good &= fine(blasad_forget(kept, BLASAD_BYTES, 1, &bytes, NULL));
        sgemm("N", "N", &two, &two, &one, &(float){0.5f}, fx, &two, fx + 2, &one, &(float){0}, floats, &two);
        sgemm("N", "N", &two, &two, &two, &(float){0.25f}, floats, &two, fx, &two, &(float){0}, fy, &two);
    }
    return good;
}

static bool annotate(blasad_tape *t, const setting *s)
{
    const int64_t n = NN, five = 5, four = 4, stride = sizeof(double), narrow = sizeof(float);
    void *all[6][MOST];
    for (int b = 0; b < MOST; b++) {
        all[0][b] = dx[b], all[1][b] = dc[b], all[2][b] = dc[b] + 5, all[3][b] = dy[b];
        all[4][b] = dfx[b], all[5][b] = dfy[b];
    }
    const int batch = s->batch, many = batch > 1;
    bool good = fine(blasad_annotate(t, x, batch, all[0], many, BLASAD_DOUBLE, 1, &n, &stride, "x"));
    good = good && fine(blasad_annotate(t, c, batch, all[1], many, BLASAD_DOUBLE, 1, &five, &stride, "c"));
    good = good && fine(blasad_annotate(t, c + 5, batch, all[2], many, BLASAD_DOUBLE, 1, &four, &stride, "c too"));
    good = good && fine(blasad_annotate(t, y, batch, all[3], many, BLASAD_DOUBLE, 1, &n, &stride, "y"));
    good = good && fine(blasad_annotate(t, fx, batch, all[4], many, BLASAD_FLOAT, 1, &four, &narrow, "fx"));
    good = good && fine(blasad_annotate(t, fy, batch, all[5], many, BLASAD_FLOAT, 1, &four, &narrow, "fy"));
    return good && fine(blasad_const(t, k, sizeof k));
}

static bool annotate_outer(blasad_tape *t)
{
    bool good = fine(blasad_duplicated(t, x, vx, sizeof x)) && fine(blasad_duplicated(t, dx[0], vdx, sizeof x));
    good = good && fine(blasad_duplicated(t, c, vc, sizeof c));
    return good && fine(blasad_duplicated(t, dc[0], vdc, sizeof c));
}

typedef struct results {
    double x[NN], c[NN], y[NN];
    float fy[4];
} results;
typedef struct shadows {
    double dx[MOST][NN], dc[MOST][NN], dy[MOST][NN];
    float dfx[MOST][4], dfy[MOST][4];
} shadows;
typedef struct outer_shadows {
    double x[NN], dx[NN], c[NN], dc[NN];
} outer_shadows;

static void take(results *r)
{
    memcpy(r->x, x, sizeof x), memcpy(r->c, c, sizeof c), memcpy(r->y, y, sizeof y), memcpy(r->fy, fy, sizeof fy);
}
static void take_shadows(shadows *s)
{
    memcpy(s->dx, dx, sizeof dx), memcpy(s->dc, dc, sizeof dc), memcpy(s->dy, dy, sizeof dy);
    memcpy(s->dfx, dfx, sizeof dfx), memcpy(s->dfy, dfy, sizeof dfy);
}
static void take_outer(outer_shadows *s)
{
    memcpy(s->x, vx, sizeof vx), memcpy(s->dx, vdx, sizeof vdx), memcpy(s->c, vc, sizeof vc);
    memcpy(s->dc, vdc, sizeof vdc);
}

static struct {
    bool known; /* by a run that nothing failed in */
    results result;
    shadows after;
    outer_shadows outer;
} expected;

/* A tape that opens with all its annotations, or NULL. */
static blasad_tape *open_tape(int mode, const setting *s, bool outer)
{
    blasad_tape *t = blasad_tape_new(mode, s->options);
    bool good = t != NULL;
    if (!t)
        CHECK(strlen(blasad_last_error()) > 10);
    good = good && (outer || s->limit == SIZE_MAX || fine(blasad_tape_limit(t, s->limit)));
    good = good && (outer ? annotate_outer(t) : annotate(t, s)) && fine(blasad_tape_start(t));
    if (!good) {
        CHECK_OK(blasad_tape_free(t));
        t = NULL;
    }
    return t;
}

/* Replays; where that fails, again with memory. True if all was recorded. */
static bool replay(blasad_tape *t, bool good, long from)
{
    shadows before, now;
    take_shadows(&before);
    if (fine(blasad_reverse(t))) {
        CHECK(good, "it failed, and then it did not");
        return good;
    }
    take_shadows(&now);
    CHECK(memcmp(&before, &now, sizeof now) == 0, "allocation %ld: a shadow was written", from);
    armed = false;
    const int second = blasad_reverse(t);
    armed = true;
    CHECK(second == (good ? BLASAD_OK : BLASAD_MEMORY), "allocation %ld: %d", from, second);
    take_shadows(&now);
    CHECK(good || memcmp(&before, &now, sizeof now) == 0);
    return good;
}

static int next_descriptor(void)
{
    const int file = open("/dev/null", O_RDONLY);
    close(file);
    return file;
}

/* False if nothing failed, since there were fewer allocations. */
static bool run(const setting *s, long from, long to)
{
    reset();
    void *chunk[4]; /* none may wait in the pool */
    for (int i = 0; i < 4; i++)
        chunk[i] = bl_chunk_take();
    for (int i = 0; i < 4; i++)
        free(chunk[i]);
    const long mapped_before = mapped;
    const int descriptor = next_descriptor();
    made = 0, fail_from = from, fail_to = to;
    armed = true;
    blasad_tape *outer = s->outer >= 0 ? open_tape(s->outer, s, true) : NULL;
    bool outer_good = s->outer < 0 || outer;
    blasad_tape *t = open_tape(s->mode, s, false);
    const bool complete = program(s);
    bool good = t;
    if (t) {
        good = fine(blasad_tape_close_recording(t));
        if (s->mode == BLASAD_REVERSE)
            good = replay(t, good, from);
        CHECK_OK(blasad_tape_free(t));
    }
    shadows after;
    take_shadows(&after);
    if (outer) {
        outer_good &= fine(blasad_tape_close_recording(outer));
        if (outer_good && s->outer == BLASAD_REVERSE) {
            outer_shadows before, now;
            take_outer(&before);
            if (!fine(blasad_reverse(outer))) {
                take_outer(&now);
                CHECK(memcmp(&before, &now, sizeof now) == 0, "allocation %ld: a shadow was written", from);
                armed = false;
                CHECK_OK(blasad_reverse(outer));
            }
        }
        CHECK_OK(blasad_tape_free(outer));
    }
    CHECK(complete || !good || !outer_good, "allocation %ld: no tape remembers what failed", from);
    armed = false;
    CHECK(mapped == mapped_before, "allocation %ld: %ld bytes stay mapped", from, mapped - mapped_before);
    CHECK(next_descriptor() == descriptor, "allocation %ld: a file stays open", from);
    results result;
    outer_shadows around;
    take(&result);
    take_outer(&around);
    if (!expected.known) {
        CHECK(good && outer_good);
        expected.known = true;
        expected.result = result;
        expected.after = after;
        expected.outer = around;
    }
    CHECK(memcmp(&expected.result, &result, sizeof result) == 0, "allocation %ld: the program was disturbed", from);
    CHECK(!good || memcmp(&expected.after, &after, sizeof after) == 0, "allocation %ld: another derivative", from);
    CHECK(!good || !outer_good || memcmp(&expected.outer, &around, sizeof around) == 0,
          "allocation %ld: another derivative of the derivative", from);
    CHECK((good && outer_good) || made >= from, "it failed with all the memory there is");
    return made >= from;
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    sgemm = (check_gemm)check_entry("sgemm_");
    static const setting settings[] = {
        {BLASAD_REVERSE, 0, 1, -1, SIZE_MAX},
        {BLASAD_REVERSE, BLASAD_NO_VERIFY, MOST, -1, SIZE_MAX},
        {BLASAD_REVERSE, BLASAD_FOLLOW_COPIES, MOST, -1, SIZE_MAX},
        {BLASAD_REVERSE, BLASAD_NO_VERIFY, 1, -1, 0},
        {BLASAD_FORWARD, 0, 1, -1, SIZE_MAX},
        {BLASAD_FORWARD, BLASAD_FOLLOW_COPIES, MOST, -1, SIZE_MAX},
        {BLASAD_REVERSE, 0, 1, BLASAD_FORWARD, SIZE_MAX},
        {BLASAD_REVERSE, BLASAD_NO_VERIFY, 1, BLASAD_REVERSE, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !check_failures; i++) {
        expected.known = false;
        CHECK(!run(&settings[i], 1 << 30, 1 << 30));
        CHECK(made > 30, "%ld allocations: they do not come through this program", made);
        for (long n = 1; run(&settings[i], n, n) && check_failures < 10; n++) {
        }
        for (long n = 1; run(&settings[i], n, 1 << 30) && check_failures < 10; n++) {
        }
        if (check_failures)
            printf("in setting %zu\n", i);
    }
    return check_end();
}
