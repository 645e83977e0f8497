/* Operations of the program's own: what their functions are given and what is done with what they return, in both
 * modes, in place and not, on strided arrays and memory of any owner, with batches, under outer tapes, and failing.
 * Contract: 7, 10, 11. */
#include "../check.h"

enum { ROWS = 2, COLS = 3, N = ROWS * COLS, ROOM = 40, MOST = 3 };

static check_gemm dgemm;

/* A 2 x 3 array somewhere in ROOM numbers; strides in numbers. */
typedef struct layout {
    int at;
    int64_t strides[2];
} layout;

static const int64_t shape[2] = {ROWS, COLS};
static const layout layouts[] = {
    {0, {COLS, 1}}, {3, {1, ROWS}}, {1, {1, 5}}, {2, {12, 3}}, {39, {-1, -7}}, {20, {-2, 6}},
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

static int place(const layout *l, int e) { return l->at + (int)(e / COLS * l->strides[0] + e % COLS * l->strides[1]); }

static blasad_array array_of(double *room, const layout *l, int64_t *strides)
{
    strides[0] = 8 * l->strides[0];
    strides[1] = 8 * l->strides[1];
    return (blasad_array){room + l->at, BLASAD_DOUBLE, 2, shape, strides};
}

/* ---- y = x^2 where x > 0, else 0; its functions hold what they get against what the operation saw */

typedef struct square {
    layout in, out;
    double x[N], y[N]; /* seen and left */
    double result[MOST][2 * N];
    int calls, fail_at, done;
    int64_t strides[2];
} square;

static double element(const void *p, const layout *l, int e)
{
    return ((const double *)p)[e / COLS * l->strides[0] + e % COLS * l->strides[1]];
}

/* The derivative times d, in an array of its own with a layout of its own. */
static int derivative(square *s, int shadow, const void *x, const void *y, const void *d, const layout *ld,
                      blasad_array *out)
{
    if (++s->calls == s->fail_at)
        return 1;
    double *result = s->result[shadow];
    for (int e = 0; e < N; e++) {
        const double v = element(x, &s->in, e), w = element(y, &s->out, e);
        CHECK(v == s->x[e] && w == s->y[e], "element %d: %g and %g, not %g and %g", e, v, w, s->x[e], s->y[e]);
        result[2 * (e % COLS * ROWS + e / COLS)] = v > 0 ? 2 * v * element(d, ld, e) : 0;
        result[2 * e + 1] = NAN;
    }
    s->strides[0] = 16;
    s->strides[1] = 16 * ROWS;
    *out = (blasad_array){result, BLASAD_DOUBLE, 2, shape, s->strides};
    return 0;
}
static int square_vjp(void *self, int shadow, void *const *in, void *const *out, void *const *douts, blasad_array *din)
{
    square *s = self;
    return derivative(s, shadow, in[0], out[0], douts[0], &s->out, din);
}
static int square_jvp(void *self, int shadow, void *const *in, void *const *out, void *const *dins, blasad_array *dout)
{
    square *s = self;
    return derivative(s, shadow, in[0], out[0], dins[0], &s->in, dout);
}
static void square_done(void *self) { ((square *)self)->done++; }

/* Makes it; `fail` as if something went wrong in the middle. */
static int make(square *s, double *in, double *out, bool functions, bool fail)
{
    int64_t a[2], b[2];
    const blasad_array x = array_of(in, &s->in, a), y = array_of(out, &s->out, b);
    blasad_operation *o = blasad_record_begin(1, &x, 1, &y);
    CHECK(o);
    for (int e = 0; e < N; e++)
        s->x[e] = in[place(&s->in, e)];
    for (int e = 0; e < N; e++)
        out[place(&s->out, e)] = s->y[e] = s->x[e] > 0 ? s->x[e] * s->x[e] : 0;
    const int32_t one = 1; /* nobody is to see this */
    double product;
    dgemm("N", "N", &one, &one, &one, &(double){1}, in, &one, out, &one, &(double){0}, &product, &one);
    if (fail) {
        blasad_record_abandon(o);
        return BLASAD_TAPE;
    }
    return blasad_record_end(o, functions ? square_vjp : NULL, functions ? square_jvp : NULL, s, square_done);
}

static double x[ROOM], dx[MOST][ROOM], y[ROOM], dy[MOST][ROOM], z[ROOM], dz[MOST][ROOM];
static double seed_x[MOST][ROOM];

static void seed(void)
{
    for (int i = 0; i < ROOM; i++)
        for (int k = 0; k < MOST; k++) {
            dx[k][i] = seed_x[k][i] = (k + 1) * (i + 1);
            dy[k][i] = dz[k][i] = 0.5 + i - 7 * k;
        }
}

static void reset(void)
{
    for (int i = 0; i < ROOM; i++) {
        x[i] = i % 5 - 1.75;
        y[i] = z[i] = 9;
    }
    seed();
}

static void annotate(blasad_tape *t, double *p, double (*dp)[ROOM], int batch)
{
    const int64_t room = ROOM, stride = 8;
    void *all[MOST];
    for (int k = 0; k < MOST; k++)
        all[k] = dp[k];
    CHECK_OK(blasad_annotate(t, p, batch, all, batch > 1, BLASAD_DOUBLE, 1, &room, &stride, "an array"));
}

/* z = 3 (x^2 of a part), through memory of any owner; then it is overwritten. */
static void chain(int mode, int options, int batch, const layout *in, const layout *out, bool scratch)
{
    reset();
    const int32_t room = ROOM, one = 1;
    double between[ROOM] = {0}, *mid = scratch ? between : y, dmid[MOST][ROOM];
    square s = {.in = *in, .out = *out};
    bool written[ROOM] = {false};
    blasad_tape *t = blasad_tape_new(mode, options);
    annotate(t, x, dx, batch);
    annotate(t, z, dz, batch);
    if (!scratch)
        annotate(t, y, dy, batch);
    for (int i = 0; i < ROOM; i++)
        for (int k = 0; k < MOST; k++)
            dmid[k][i] = scratch ? 0 : dy[k][i];
    CHECK_OK(blasad_tape_start(t));
    CHECK_OK(make(&s, x, mid, true, false));
    CHECK(blasad_tape_length(t) == 1, "%zu", blasad_tape_length(t));
    dgemm("N", "N", &room, &one, &one, &(double){3}, mid, &room, &(double){1}, &one, &(double){0}, z, &room);
    for (int e = 0; e < N; e++) {
        written[place(out, e)] = true;
        CHECK(z[place(out, e)] == 3 * s.y[e]);
    }
    /* what it saw and left is overwritten */
    dgemm("N", "N", &room, &one, &one, &(double){0}, z, &room, &(double){1}, &one, &(double){0}, mid, &room);
    dgemm("N", "N", &room, &one, &one, &(double){0}, z, &room, &(double){1}, &one, &(double){0}, x, &room);
    CHECK_OK(blasad_tape_close_recording(t));
    for (int i = 0; i < ROOM; i++)
        between[i] = NAN;
    for (int repeat = 0; repeat < 2 && mode == BLASAD_REVERSE; repeat++) {
        seed();
        CHECK_OK(blasad_reverse(t));
        for (int k = 0; k < batch; k++) {
            double want[ROOM] = {0}; /* x was overwritten: its shadow begins at zero */
            for (int e = 0; e < N; e++)
                want[place(in, e)] += s.x[e] > 0 ? 2 * s.x[e] * 3 * (0.5 + place(out, e) - 7 * k) : 0;
            for (int i = 0; i < ROOM; i++) {
                CHECK(dx[k][i] == want[i], "shadow %d of %d: %g, not %g", k, i, dx[k][i], want[i]);
                /* only what the operation wrote is consumed by it */
                CHECK(dz[k][i] == 0 && (scratch || dy[k][i] == (written[i] ? 0 : 3 * (0.5 + i - 7 * k))), "%d", i);
            }
        }
    }
    for (int k = 0; k < batch && mode == BLASAD_FORWARD; k++) {
        double want[ROOM];
        for (int i = 0; i < ROOM; i++)
            want[i] = 3 * dmid[k][i];
        for (int e = 0; e < N; e++)
            want[place(out, e)] = s.x[e] > 0 ? 3 * 2 * s.x[e] * seed_x[k][place(in, e)] : 0;
        for (int i = 0; i < ROOM; i++)
            CHECK(dz[k][i] == want[i], "tangent %d of %d: %g, not %g", k, i, dz[k][i], want[i]);
    }
    CHECK(s.calls == (mode == BLASAD_REVERSE ? 2 : 1) * batch && s.done == 0, "%d", s.calls);
    CHECK_OK(blasad_tape_free(t));
    CHECK(s.done == 1);
}

/* Twice in place, in x or in a copy of it in scratch: x^4, the values in between being nowhere in the end. */
static void in_place(int mode, int options, const layout *l, bool scratch)
{
    reset();
    const int32_t room = ROOM, one = 1;
    square s[2] = {{.in = *l, .out = *l}, {.in = *l, .out = *l}};
    double first[ROOM], want[ROOM], copy[ROOM], *where = scratch ? copy : x;
    memcpy(first, x, sizeof x);
    memcpy(want, mode == BLASAD_REVERSE && scratch ? dz[0] : dx[0], sizeof want);
    blasad_tape *t = blasad_tape_new(mode, options);
    annotate(t, x, dx, 1);
    annotate(t, z, dz, 1);
    CHECK_OK(blasad_tape_start(t));
    if (scratch)
        dgemm("N", "N", &room, &one, &one, &(double){1}, x, &room, &(double){1}, &one, &(double){0}, copy, &room);
    for (int i = 0; i < 2; i++)
        CHECK_OK(make(&s[i], where, where, true, false));
    if (scratch)
        dgemm("N", "N", &room, &one, &one, &(double){1}, copy, &room, &(double){1}, &one, &(double){0}, z, &room);
    CHECK_OK(blasad_tape_close_recording(t));
    for (int i = 0; i < ROOM; i++)
        copy[i] = NAN;
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    for (int e = 0; e < N; e++) {
        const int i = place(l, e);
        const double v = first[i];
        want[i] *= v > 0 ? 4 * v * v * v : 0;
        CHECK((scratch ? z[i] : x[i]) == (v > 0 ? v * v * v * v : 0), "%g", x[i]);
    }
    const double *got = mode == BLASAD_FORWARD && scratch ? dz[0] : dx[0];
    for (int i = 0; i < ROOM; i++) {
        want[i] += mode == BLASAD_REVERSE && scratch ? seed_x[0][i] : 0;
        CHECK(got[i] == want[i], "%d: %g, not %g", i, got[i], want[i]);
    }
    CHECK_OK(blasad_tape_free(t));
    CHECK(s[0].done == 1 && s[1].done == 1);
}

/* Input and output of several owners: every other element constant, or undeclared. */
static void parts(int mode, bool declared, const layout *in, const layout *out)
{
    reset();
    const int64_t half = ROOM / 2, stride = 16;
    square s = {.in = *in, .out = *out};
    double before[ROOM];
    memcpy(before, x, sizeof before);
    blasad_tape *t = blasad_tape_new(mode, 0);
    CHECK_OK(check_annotate(t, x, dx[0], BLASAD_DOUBLE, 1, &half, &stride, "x"));
    if (declared)
        CHECK_OK(check_annotate(t, x + 1, NULL, BLASAD_DOUBLE, 1, &half, &stride, "x between"));
    CHECK_OK(check_annotate(t, y, dy[0], BLASAD_DOUBLE, 1, &half, &stride, "y"));
    CHECK_OK(check_annotate(t, y + 1, dy[1], BLASAD_DOUBLE, 1, &half, &stride, "y between"));
    CHECK_OK(blasad_tape_start(t));
    CHECK_OK(make(&s, x, y, true, false));
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    for (int e = 0; e < N; e++) {
        const int i = place(in, e), o = place(out, e);
        const double factor = i % 2 == 0 && s.x[e] > 0 ? 2 * s.x[e] : 0, got = dy[o % 2][o - o % 2];
        if (mode == BLASAD_REVERSE) {
            const double want = seed_x[0][i] + factor * (0.5 + o - o % 2 - 7 * (o % 2));
            CHECK(dx[0][i] == want && got == 0, "%d: %g, not %g", e, dx[0][i], want);
        } else {
            CHECK(got == factor * seed_x[0][i], "%d: %g, not %g", e, got, factor * seed_x[0][i]);
        }
    }
    CHECK(memcmp(before, x, sizeof before) == 0, "primal memory was written");
    CHECK_OK(blasad_tape_free(t));
}

enum wrong { NO_FUNCTION, CONSTANT_OUTPUT, ABANDONED, FAILING, UNSEEN, INACTIVE, WRONGS };

static void goes_wrong(int mode, enum wrong how)
{
    reset();
    const bool forward = mode == BLASAD_FORWARD;
    square s = {.in = layouts[2], .out = layouts[0], .fail_at = how == FAILING};
    blasad_tape *t = blasad_tape_new(mode, 0);
    if (how == INACTIVE)
        CHECK_OK(blasad_const(t, x, sizeof x));
    else
        annotate(t, x, dx, 1);
    if (how == CONSTANT_OUTPUT)
        CHECK_OK(blasad_const(t, y, sizeof y));
    else
        annotate(t, y, dy, 1);
    CHECK_OK(blasad_tape_start(t));
    if (how == UNSEEN)
        x[place(&s.in, 3)] = 100;
    const int code = make(&s, x, y, how != NO_FUNCTION && how != INACTIVE, how == ABANDONED);
    static const int codes[WRONGS] = {BLASAD_NO_DERIVATIVE, BLASAD_ACTIVITY,     BLASAD_TAPE,
                                      BLASAD_USER,          BLASAD_UNSEEN_WRITE, BLASAD_OK};
    static const char *const words[WRONGS] = {"but no", "constant", "left by an error", "failed", "changed", ""};
    const bool at_end = how == FAILING && !forward; /* a vjp fails later than a jvp */
    CHECK(code == BLASAD_OK || how == ABANDONED || (how == FAILING && forward), "%d", code);
    CHECK_CODE(blasad_tape_close_recording(t), at_end ? BLASAD_OK : codes[how], at_end ? "" : words[how]);
    if (!forward) {
        CHECK_CODE(blasad_reverse(t), codes[how], words[how]);
        if (how == FAILING) {
            CHECK(strstr(blasad_last_error(), "partial"));
            CHECK_OK(blasad_reverse(t)); /* it does not fail again */
        }
    }
    for (int e = 0; e < N; e++) {
        if (how == INACTIVE)
            CHECK(dy[0][place(&s.out, e)] == 0);
        else if (how != FAILING)
            CHECK(dy[0][place(&s.out, e)] == 0.5 + place(&s.out, e) &&
                  dx[0][place(&s.in, e)] == seed_x[0][place(&s.in, e)]);
    }
    CHECK_OK(blasad_tape_free(t));
    CHECK(s.done == (how != ABANDONED), "%d", s.done);
}

/* What an operation makes of constants is constant, and ends what was active in its place: z = copy of x + 2 of that.
 */
static void inactive_in_scratch(int mode, int options)
{
    reset();
    const int32_t room = ROOM, one = 1;
    double between[ROOM], constant[ROOM];
    square s = {.in = layouts[1], .out = layouts[4]};
    bool replaced[ROOM] = {false};
    blasad_tape *t = blasad_tape_new(mode, options);
    annotate(t, x, dx, 1);
    annotate(t, z, dz, 1);
    CHECK_OK(blasad_const(t, y, sizeof y));
    CHECK_OK(blasad_const(t, constant, sizeof constant));
    CHECK_OK(blasad_tape_start(t));
    dgemm("N", "N", &room, &one, &one, &(double){1}, x, &room, &(double){1}, &one, &(double){0}, between, &room);
    dgemm("N", "N", &room, &one, &one, &(double){1}, between, &room, &(double){1}, &one, &(double){0}, z, &room);
    CHECK_OK(make(&s, y, between, false, false));
    dgemm("N", "N", &room, &one, &one, &(double){2}, between, &room, &(double){1}, &one, &(double){1}, z, &room);
    for (int e = 0; e < N; e++) {
        const int32_t single = 1;
        double *p = between + place(&s.out, e);
        replaced[place(&s.out, e)] = true;
        dgemm("N", "N", &single, &one, &one, &(double){1}, p, &single, &(double){1}, &one, &(double){0}, constant,
              &single); /* an active value would be refused */
    }
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    for (int i = 0; i < ROOM; i++) {
        const double factor = replaced[i] ? 1 : 3, seed_z = 0.5 + i;
        const double want = mode == BLASAD_REVERSE ? seed_x[0][i] + factor * seed_z : factor * seed_x[0][i];
        const double got = mode == BLASAD_REVERSE ? dx[0][i] : dz[0][i];
        CHECK(got == want, "%d: %g, not %g", i, got, want);
    }
    CHECK_OK(blasad_tape_free(t));
}

static void without_tape(void)
{
    reset();
    square s = {.in = layouts[0], .out = layouts[0]};
    CHECK_OK(make(&s, x, y, true, false));
    CHECK(s.done == 1 && s.calls == 0 && y[4] == x[4] * x[4]);
    make(&s, x, y, true, true);
    CHECK(s.done == 1);
    int64_t strides[2];
    blasad_array in = array_of(x, &layouts[0], strides), bad = in;
    bad.type = BLASAD_BYTES;
    CHECK(!blasad_record_begin(1, &in, 1, &bad) && strstr(blasad_last_error(), "output"), "%s", blasad_last_error());
    bad = in;
    bad.ndim = 65;
    CHECK(!blasad_record_begin(1, &bad, 1, &in) && strstr(blasad_last_error(), "65 axes"), "%s", blasad_last_error());
    bad = in;
    bad.at = NULL;
    CHECK(!blasad_record_begin(1, &bad, 1, &in) && strstr(blasad_last_error(), "NULL"), "%s", blasad_last_error());

    blasad_operation *o = blasad_record_begin(1, &in, 0, NULL); /* a tape that is left open in it */
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_CODE(blasad_record_end(o, square_vjp, NULL, &s, NULL), BLASAD_TAPE, "opened inside");
    CHECK_OK(blasad_tape_free(t));
}

/* ---- nested: y = s x, its derivatives made of recorded products, ds = x^T dy and dx = s dy, dy = ds x + s dx; or of
 * plain loops */

typedef struct scaled {
    bool plain;
    double ds, dx[2];
    int64_t shape;
} scaled;

static const int64_t eight = 8;

static int scaled_vjp(void *self, int shadow, void *const *in, void *const *out, void *const *douts, blasad_array *din)
{
    scaled *s = self;
    const int32_t one = 1, two = 2;
    double *const factor = in[0], *const v = in[1], *const g = douts[0];
    (void)shadow, (void)out;
    if (s->plain) {
        s->ds = v[0] * g[0] + v[1] * g[1];
        s->dx[0] = factor[0] * g[0];
        s->dx[1] = factor[0] * g[1];
    } else {
        dgemm("T", "N", &one, &one, &two, &(double){1}, v, &two, g, &two, &(double){0}, &s->ds, &one);
        dgemm("N", "N", &two, &one, &one, &(double){1}, g, &two, factor, &one, &(double){0}, s->dx, &two);
    }
    din[0] = (blasad_array){&s->ds, BLASAD_DOUBLE, 0, NULL, NULL};
    din[1] = (blasad_array){s->dx, BLASAD_DOUBLE, 1, &s->shape, &eight};
    return 0;
}

static int scaled_jvp(void *self, int shadow, void *const *in, void *const *out, void *const *dins, blasad_array *dout)
{
    scaled *s = self;
    const int32_t one = 1, two = 2;
    double *const factor = in[0], *const v = in[1], *const dfactor = dins[0], *const dv = dins[1];
    (void)shadow, (void)out;
    if (s->plain) {
        s->dx[0] = dfactor[0] * v[0] + factor[0] * dv[0];
        s->dx[1] = dfactor[0] * v[1] + factor[0] * dv[1];
    } else {
        dgemm("N", "N", &two, &one, &one, &(double){1}, v, &two, dfactor, &one, &(double){0}, s->dx, &two);
        dgemm("N", "N", &two, &one, &one, &(double){1}, dv, &two, factor, &one, &(double){1}, s->dx, &two);
    }
    dout[0] = (blasad_array){s->dx, BLASAD_DOUBLE, 1, &s->shape, &eight};
    return 0;
}

static int make_scaled(scaled *s, double *f, double *v, double *r)
{
    const blasad_array in[2] = {{f, BLASAD_DOUBLE, 0, NULL, NULL}, {v, BLASAD_DOUBLE, 1, &s->shape, &eight}};
    const blasad_array out = {r, BLASAD_DOUBLE, 1, &s->shape, &eight};
    blasad_operation *o = blasad_record_begin(2, in, 1, &out);
    r[0] = *f * v[0], r[1] = *f * v[1];
    return blasad_record_end(o, scaled_vjp, scaled_jvp, s, NULL);
}

/* A tangent of the tangent: the inner jvp's calls are the outer tape's, and no one else's. */
static void nested_tangents(bool plain, int options)
{
    double f = 3, v[2] = {5, 7}, r[2], df = 2, dv[2] = {1, -1}, dr[2] = {0};
    double tf = 0.5, tv[2] = {0.25, 4}, tr[2] = {0}, tdf = 10, tdv[2] = {100, 1000}, tdr[2] = {0};
    scaled s = {.plain = plain, .shape = 2};
    blasad_tape *outer = blasad_tape_new(BLASAD_FORWARD, options), *inner = blasad_tape_new(BLASAD_FORWARD, options);
    CHECK_OK(blasad_duplicated(outer, &f, &tf, sizeof f));
    CHECK_OK(blasad_duplicated(outer, v, tv, sizeof v));
    CHECK_OK(blasad_duplicated(outer, r, tr, sizeof r));
    CHECK_OK(blasad_duplicated(outer, &df, &tdf, sizeof f));
    CHECK_OK(blasad_duplicated(outer, dv, tdv, sizeof v));
    CHECK_OK(blasad_duplicated(outer, dr, tdr, sizeof r));
    CHECK_OK(blasad_tape_start(outer));
    CHECK_OK(blasad_duplicated(inner, &f, &df, sizeof f));
    CHECK_OK(blasad_duplicated(inner, v, dv, sizeof v));
    CHECK_OK(blasad_duplicated(inner, r, dr, sizeof r));
    CHECK_OK(blasad_tape_start(inner));
    CHECK_OK(make_scaled(&s, &f, v, r));
    CHECK(blasad_tape_length(inner) == 1, "%zu", blasad_tape_length(inner));
    CHECK_CODE(blasad_tape_close_recording(inner), plain ? BLASAD_NO_DERIVATIVE : BLASAD_OK,
               plain ? "recorded calls" : "");
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK(tr[0] == 3.25 && tr[1] == 15.5, "%g %g", tr[0], tr[1]);
    if (!plain) {
        CHECK(dr[0] == 13 && dr[1] == 11, "%g %g", dr[0], dr[1]);
        CHECK(tdr[0] == 50 + 0.5 + 0.5 + 300 && tdr[1] == 70 + 8 - 0.5 + 3000, "%g %g", tdr[0], tdr[1]);
    }
    CHECK_OK(blasad_tape_free(outer));
}

/* r = 2 x, x being described from its end to its begin, which what the vjp returns is not. */
static int turned_vjp(void *self, int shadow, void *const *in, void *const *out, void *const *douts, blasad_array *din)
{
    static const int64_t shape = 2;
    const int32_t one = 1, two = 2;
    (void)shadow, (void)in, (void)out;
    dgemm("N", "N", &two, &one, &one, &(double){2}, douts[0], &two, &(double){1}, &one, &(double){0}, self, &two);
    din[0] = (blasad_array){self, BLASAD_DOUBLE, 1, &shape, &eight};
    return 0;
}

static void nested_turned(int options)
{
    const int64_t shape = 2, back = -8;
    double v[2] = {5, 7}, r[2], dv[2] = {0}, dr[2] = {2, -1}, tdv[2] = {0.25, 4}, tdr[2] = {0}, room[2];
    blasad_tape *outer = blasad_tape_new(BLASAD_REVERSE, options), *inner = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(outer, dv, tdv, sizeof dv));
    CHECK_OK(blasad_duplicated(outer, dr, tdr, sizeof dr));
    CHECK_OK(blasad_tape_start(outer));
    CHECK_OK(blasad_duplicated(inner, v, dv, sizeof v));
    CHECK_OK(blasad_duplicated(inner, r, dr, sizeof r));
    CHECK_OK(blasad_tape_start(inner));
    const blasad_array in = {v + 1, BLASAD_DOUBLE, 1, &shape, &back}, out = {r, BLASAD_DOUBLE, 1, &shape, &eight};
    blasad_operation *o = blasad_record_begin(1, &in, 1, &out);
    r[0] = 2 * v[1], r[1] = 2 * v[0];
    CHECK_OK(blasad_record_end(o, turned_vjp, NULL, room, NULL));
    CHECK_OK(blasad_tape_close_recording(inner));
    CHECK_OK(blasad_reverse(inner));
    CHECK(dv[0] == -2 && dv[1] == 4, "%g %g", dv[0], dv[1]);
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK_OK(blasad_reverse(outer));
    CHECK(tdr[0] == 8 && tdr[1] == 0.5, "%g %g", tdr[0], tdr[1]);
    CHECK_OK(blasad_tape_free(outer));
}

/* What a vjp returns for a constant is nobody's. */
static void constant_input(int options)
{
    double f = 3, v[2] = {5, 7}, r[2], dv[2] = {0}, dr[2] = {2, -1};
    scaled s = {.plain = true, .shape = 2};
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_const(t, &f, sizeof f));
    CHECK_OK(blasad_duplicated(t, v, dv, sizeof v));
    CHECK_OK(blasad_duplicated(t, r, dr, sizeof r));
    CHECK_OK(blasad_tape_start(t));
    CHECK_OK(make_scaled(&s, &f, v, r));
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(f == 3 && dv[0] == 6 && dv[1] == -3, "%g %g %g", f, dv[0], dv[1]);
    CHECK_OK(blasad_tape_free(t));
}

static void nested(int mode, bool plain, int options)
{
    double f = 3, v[2] = {5, 7}, r[2], df = 0, dv[2] = {0}, dr[2] = {2, -1};              /* the inner tape */
    double tf = 0.5, tv[2] = {0.25, 4}, tr[2] = {0}, tdf = 0, tdv[2] = {0}, tdr[2] = {0}; /* the outer one */
    scaled s = {.plain = plain, .shape = 2};
    blasad_tape *outer = blasad_tape_new(mode, options), *inner = blasad_tape_new(BLASAD_REVERSE, options);
    if (mode == BLASAD_REVERSE) {
        tf = 0, tv[0] = tv[1] = 0;
        tdf = 0.5, tdv[0] = 0.25, tdv[1] = 4;
    }
    CHECK_OK(blasad_duplicated(outer, &f, &tf, sizeof f));
    CHECK_OK(blasad_duplicated(outer, v, tv, sizeof v));
    CHECK_OK(blasad_duplicated(outer, r, tr, sizeof r));
    CHECK_OK(blasad_duplicated(outer, &df, &tdf, sizeof f));
    CHECK_OK(blasad_duplicated(outer, dv, tdv, sizeof v));
    CHECK_OK(blasad_duplicated(outer, dr, tdr, sizeof r));
    CHECK_OK(blasad_tape_start(outer));
    CHECK_OK(blasad_duplicated(inner, &f, &df, sizeof f));
    CHECK_OK(blasad_duplicated(inner, v, dv, sizeof v));
    CHECK_OK(blasad_duplicated(inner, r, dr, sizeof r));
    CHECK_OK(blasad_tape_start(inner));
    const blasad_array in[2] = {{&f, BLASAD_DOUBLE, 0, NULL, NULL}, {v, BLASAD_DOUBLE, 1, &s.shape, &eight}};
    const blasad_array out = {r, BLASAD_DOUBLE, 1, &s.shape, &eight};
    blasad_operation *o = blasad_record_begin(2, in, 1, &out);
    r[0] = f * v[0], r[1] = f * v[1];
    const int code = blasad_record_end(o, scaled_vjp, NULL, &s, NULL);
    CHECK(code == BLASAD_OK, "%d", code);
    CHECK_OK(blasad_tape_close_recording(inner));
    if (mode == BLASAD_FORWARD) /* the outer tape has no jvp for it */
        CHECK_CODE(blasad_tape_error(outer), BLASAD_NO_DERIVATIVE, "jvp");
    const bool refused = plain && mode == BLASAD_REVERSE;
    CHECK_CODE(blasad_reverse(inner), refused ? BLASAD_NO_DERIVATIVE : BLASAD_OK, refused ? "recorded calls" : "");
    if (!refused)
        CHECK(df == 5 * 2 - 7 && dv[0] == 6 && dv[1] == -3, "%g %g %g", df, dv[0], dv[1]);
    CHECK_OK(blasad_tape_free(inner));
    const int end = mode == BLASAD_FORWARD ? BLASAD_NO_DERIVATIVE : BLASAD_OK;
    CHECK_CODE(blasad_tape_close_recording(outer), end, "");
    if (mode == BLASAD_REVERSE && !refused) {
        CHECK_OK(blasad_reverse(outer));
        CHECK(tf == 2 * 0.25 - 4 && tv[0] == 0.5 * 2 && tv[1] == -0.5, "%g %g %g", tf, tv[0], tv[1]);
        CHECK(tdr[0] == 0.5 * 5 + 3 * 0.25 && tdr[1] == 0.5 * 7 + 3 * 4, "%g %g", tdr[0], tdr[1]);
    }
    CHECK_OK(blasad_tape_free(outer));
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
        nested_tangents(false, options);
        nested_tangents(true, options);
        nested_turned(options);
        constant_input(options);
    }
    for (int mode = BLASAD_REVERSE; mode <= BLASAD_FORWARD; mode++) {
        for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
            for (int i = 0; i < LAYOUTS * LAYOUTS; i++)
                for (int batch = 1; batch <= MOST; batch += MOST - 1) {
                    chain(mode, options, batch, &layouts[i % LAYOUTS], &layouts[i / LAYOUTS], false);
                    chain(mode, options, batch, &layouts[i % LAYOUTS], &layouts[i / LAYOUTS], true);
                }
            for (int i = 0; i < 2 * LAYOUTS; i++)
                in_place(mode, options, &layouts[i / 2], i % 2);
            inactive_in_scratch(mode, options);
            nested(mode, false, options);
            nested(mode, true, options);
        }
        for (int i = 0; i < LAYOUTS * LAYOUTS; i++) {
            parts(mode, false, &layouts[i % LAYOUTS], &layouts[i / LAYOUTS]);
            parts(mode, true, &layouts[i % LAYOUTS], &layouts[i / LAYOUTS]);
        }
        for (enum wrong how = NO_FUNCTION; how < WRONGS; how++)
            goes_wrong(mode, how);
    }
    without_tape();
    return check_end();
}
