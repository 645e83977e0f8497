/* Tapes in tapes: second and third derivatives of C = A A A, made by products through scratch, against plain matrix
 * formulas on small whole numbers, where all is exact. Contract: 10. */
#include "../check.h"

enum { N = 3, NN = N * N };

typedef struct matrix {
    double x[NN];
} matrix;

static check_gemm dgemm;

static matrix mul(matrix a, matrix b)
{
    matrix c = {{0}};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            for (int l = 0; l < N; l++)
                c.x[i + N * j] += a.x[i + N * l] * b.x[l + N * j];
    return c;
}
static matrix add(matrix a, matrix b)
{
    for (int i = 0; i < NN; i++)
        a.x[i] += b.x[i];
    return a;
}
static matrix turn(matrix a)
{
    matrix c;
    for (int i = 0; i < NN; i++)
        c.x[i] = a.x[i / N + N * (i % N)];
    return c;
}
static matrix random_matrix(void)
{
    matrix c;
    for (int i = 0; i < NN; i++)
        c.x[i] = (double)(check_below(9) - 4);
    return c;
}
static bool same(matrix a, const double *x)
{
    for (int i = 0; i < NN; i++)
        if (a.x[i] != x[i])
            return false;
    return true;
}
/* V W + W V */
static matrix both(matrix v, matrix w) { return add(mul(v, w), mul(w, v)); }

static void product(const double *a, const double *b, double *c)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){1}, a, &n, b, &n, &(double){0}, c, &n);
}

enum { PLAIN, REUSED, FORGOTTEN, FREED, WAYS };

/* Through scratch: a frame that is gone, one buffer for all, one whose life ends in between, one from the heap. */
static void cube(const double *a, double *c, int way)
{
    const int64_t n = NN, stride = sizeof(double);
    double here[2 * NN], *room = way == FREED ? malloc(sizeof here) : here;
    double *last = way == PLAIN ? room + NN : room;
    product(a, a, room);
    if (way == REUSED) { /* overwritten and made again */
        product(room, a, c);
        product(a, c, room);
        product(a, a, room);
    }
    if (way == FORGOTTEN) {
        CHECK_OK(blasad_forget(room, BLASAD_DOUBLE, 1, &n, &stride));
        for (int i = 0; i < NN; i++)
            room[i] = i;
        product(room, a, c);
        product(a, a, room);
    }
    if (way == PLAIN)
        product(a, a, last);
    product(last, a, c);
    if (way == FREED) {
        CHECK_OK(blasad_forget(room, BLASAD_DOUBLE, 1, &n, &stride));
        free(room);
    }
    memset(here, 0xff, sizeof here);
}

static double a[NN], c[NN], ga[NN], gc[NN];     /* and the first derivatives */
static double va[NN], vc[NN], vga[NN], vgc[NN]; /* shadows of these on the tape around */
static double w[8][NN];                         /* of all, on the tape around that */

static void annotate_outer(blasad_tape *t)
{
    CHECK_OK(blasad_duplicated(t, a, va, sizeof a));
    CHECK_OK(blasad_duplicated(t, c, vc, sizeof c));
    CHECK_OK(blasad_duplicated(t, ga, vga, sizeof ga));
    CHECK_OK(blasad_duplicated(t, gc, vgc, sizeof gc));
}

static void set(double *x, matrix m) { memcpy(x, m.x, sizeof m.x); }

/* The first derivative on an inner tape, which is gone afterwards. */
static void gradient(int options, int way)
{
    blasad_tape *inner = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(inner, a, ga, sizeof a));
    CHECK_OK(blasad_duplicated(inner, c, gc, sizeof c));
    CHECK_OK(blasad_tape_start(inner));
    cube(a, c, way);
    CHECK_OK(blasad_tape_close_recording(inner));
    CHECK_OK(blasad_reverse(inner));
    CHECK_OK(blasad_tape_free(inner));
}

static matrix A, G, V, W;

/* d<G, A A A> / dA */
static matrix first(void)
{
    const matrix s = mul(A, A), ta = turn(A);
    return add(add(mul(G, turn(s)), mul(turn(s), G)), mul(mul(ta, G), ta));
}
/* its derivative along V, which is the Hessian times V */
static matrix second(void)
{
    const matrix t = turn(both(A, V)), ta = turn(A), tv = turn(V);
    return add(add(mul(G, t), mul(t, G)), add(mul(mul(tv, G), ta), mul(mul(ta, G), tv)));
}
/* and along W */
static matrix third(void)
{
    const matrix t = turn(both(W, V)), tw = turn(W), tv = turn(V);
    return add(add(mul(G, t), mul(t, G)), add(mul(mul(tv, G), tw), mul(mul(tw, G), tv)));
}

static void reset(void)
{
    A = random_matrix(), G = random_matrix(), V = random_matrix(), W = random_matrix();
    const matrix none = {{0}};
    double *const all[] = {c, ga, va, vc, vga, vgc};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        set(all[i], none);
    memset(w, 0, sizeof w);
    set(a, A);
    set(gc, G);
}

static void forward_over_reverse(int options, int outer_options, int way, bool three)
{
    reset();
    set(va, V);
    blasad_tape *third_tape = three ? blasad_tape_new(BLASAD_FORWARD, outer_options) : NULL;
    if (three) {
        double *const all[] = {a, c, ga, gc, va, vc, vga, vgc};
        for (int i = 0; i < 8; i++)
            CHECK_OK(blasad_duplicated(third_tape, all[i], w[i], sizeof a));
        set(w[0], W);
        CHECK_OK(blasad_tape_start(third_tape));
    }
    blasad_tape *outer = blasad_tape_new(BLASAD_FORWARD, outer_options);
    annotate_outer(outer);
    CHECK_OK(blasad_tape_start(outer));
    gradient(options, way);
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK_OK(blasad_tape_free(outer));
    CHECK(same(mul(A, mul(A, A)), c) && same(first(), ga) && same((matrix){{0}}, gc), "way %d", way);
    CHECK(same(second(), vga), "way %d: %g, not %g", way, vga[0], second().x[0]);
    if (three) {
        CHECK_OK(blasad_tape_close_recording(third_tape));
        CHECK_OK(blasad_tape_free(third_tape));
        CHECK(same(third(), w[6]), "way %d: %g, not %g", way, w[6][0], third().x[0]);
        CHECK(same(add(both(mul(A, A), W), mul(mul(A, W), A)), w[1]), "way %d", way);
    }
}

static void reverse_over_reverse(int options, int outer_options, int way)
{
    reset();
    blasad_tape *outer = blasad_tape_new(BLASAD_REVERSE, outer_options);
    annotate_outer(outer);
    CHECK_OK(blasad_tape_start(outer));
    gradient(options, way);
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK(same(first(), ga), "way %d", way);
    /* what rules read is what the program's own call read */
    CHECK((blasad_tape_assuming(outer, 0) == blasad_tape_length(outer)) == (way != FORGOTTEN), "way %d", way);
    for (int repeat = 0; repeat < 2; repeat++) {
        const matrix none = {{0}};
        set(va, none), set(vc, none), set(vgc, none), set(vga, V);
        CHECK_OK(blasad_reverse(outer));
        CHECK(same(second(), va), "way %d: %g, not %g", way, va[0], second().x[0]);
        /* d<V, ga> / dgc is the tangent of A A A along V */
        CHECK(same(add(both(mul(A, A), V), mul(mul(A, V), A)), vgc), "way %d", way);
        CHECK(same(V, vga) && same(none, vc), "way %d: what is added to keeps its shadow", way);
    }
    CHECK_OK(blasad_tape_free(outer));
}

/* Memory of the recording is active on a tape that did not see the recording. */
static void too_late(int mode)
{
    reset();
    static const char *const words[] = {"opened after", "opened after", "opened after", "", "opened after", ""};
    for (int which = 0; which < 6; which++) {
        const bool allowed = !*words[which];
        const int64_t n = NN, stride = sizeof(double);
        double scratch[NN], dscratch[NN];
        blasad_tape *inner = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(inner, a, ga, sizeof a));
        CHECK_OK(blasad_duplicated(inner, c, gc, sizeof c));
        product(a, a, scratch);
        product(scratch, a, c);
        CHECK_OK(blasad_tape_close_recording(inner));
        set(ga, (matrix){{0}}), set(gc, G);
        blasad_tape *late = blasad_tape_open(mode);
        if (which >= 3) /* nothing of the recording; then the scratch, by a call; then it is no more */
            CHECK_OK(blasad_duplicated(late, w[0], w[1], sizeof a));
        else
            CHECK_OK(blasad_duplicated(late, which == 0 ? a : which == 1 ? gc : scratch, dscratch, sizeof a));
        if (which >= 4)
            product(w[0], w[0], scratch);
        if (which == 5)
            CHECK_OK(blasad_forget(scratch, BLASAD_DOUBLE, 1, &n, &stride));
        CHECK_CODE(blasad_reverse(inner), allowed ? BLASAD_OK : BLASAD_TAPE, words[which]);
        CHECK(allowed != same(G, gc), "a shadow was written, or was not");
        CHECK_OK(blasad_tape_free(inner));
        CHECK_OK(blasad_tape_close_recording(late));
        CHECK_OK(blasad_tape_free(late));
    }
}

/* Memory between that of the recording is none of it: late tapes may have it active. */
static void late_but_apart(int mode, bool in_scratch)
{
    const int64_t one = 1, shape = 2, stride = 2 * sizeof(double), near = sizeof(double);
    const int32_t n = 1;
    double x[3] = {2, 7, 3}, dx[3] = {0}, scratch[3] = {0}, d = 5, y = 0, dy = 1;
    blasad_tape *inner = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(check_annotate(inner, x, dx, BLASAD_DOUBLE, 1, &shape, &stride, "x"));
    CHECK_OK(blasad_duplicated(inner, &y, &dy, sizeof y));
    dgemm("N", "N", &n, &n, &n, &(double){5}, &x[0], &n, &(double){1}, &n, &(double){0}, &scratch[0], &n);
    dgemm("N", "N", &n, &n, &n, &(double){1}, &x[2], &n, &(double){1}, &n, &(double){0}, &scratch[2], &n);
    dgemm("N", "N", &n, &n, &n, &(double){1}, &scratch[0], &n, &scratch[2], &n, &(double){0}, &y, &n);
    CHECK_OK(blasad_tape_close_recording(inner));
    blasad_tape *late = blasad_tape_open(mode);
    CHECK_OK(check_annotate(late, in_scratch ? &scratch[1] : &x[1], &d, BLASAD_DOUBLE, 1, &one, &near, "between"));
    CHECK_OK(blasad_reverse(inner));
    CHECK(dx[0] == 15 && dx[1] == 0 && dx[2] == 10 && d == 5, "%g %g %g", dx[0], dx[1], dx[2]);
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_close_recording(late));
    CHECK_OK(blasad_tape_free(late));
}

/* To the outer tape, equal bytes are not the same value: the inner one needs scratch twice, which is p and then q, of
 * the same content. All are numbers: r = {p g x, q g x}. */
static void equal_bytes(int mode, int options)
{
    const int32_t n = 1;
    double p = 3, q = 3, g = 2, x = 5, dx = 0, r[2] = {0}, dr[2] = {10, 1000}, scratch;
    double tp = 1, tq = 100, tdx = 0, tr[2] = {0}, tdr[2] = {0}; /* on the outer tape */
    if (mode == BLASAD_REVERSE)
        tp = tq = 0, tdx = 1;
    blasad_tape *outer = blasad_tape_new(mode, options), *inner = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(outer, &p, &tp, sizeof p));
    CHECK_OK(blasad_duplicated(outer, &q, &tq, sizeof q));
    CHECK_OK(blasad_duplicated(outer, &dx, &tdx, sizeof dx));
    CHECK_OK(blasad_duplicated(outer, r, tr, sizeof r));
    CHECK_OK(blasad_duplicated(outer, dr, tdr, sizeof dr));
    CHECK_OK(blasad_const(outer, &g, sizeof g));
    CHECK_OK(blasad_tape_start(outer));
    CHECK_OK(blasad_duplicated(inner, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(inner, r, dr, sizeof r));
    CHECK_OK(blasad_tape_start(inner));
    for (int i = 0; i < 2; i++) {
        dgemm("N", "N", &n, &n, &n, &(double){1}, i ? &q : &p, &n, &g, &n, &(double){0}, &scratch, &n);
        dgemm("N", "N", &n, &n, &n, &(double){1}, &scratch, &n, &x, &n, &(double){0}, &r[i], &n);
    }
    CHECK_OK(blasad_tape_close_recording(inner));
    CHECK_OK(blasad_reverse(inner)); /* dx = g p dr0 + g q dr1 */
    CHECK(dx == 6060, "%g", dx);
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_close_recording(outer));
    if (mode == BLASAD_REVERSE) {
        CHECK_OK(blasad_reverse(outer));
        CHECK(tp == 20 && tq == 2000, "%g %g", tp, tq);
    } else {
        CHECK(tdx == 2 * 10 + 2 * 1000 * 100, "%g", tdx);
    }
    CHECK_OK(blasad_tape_free(outer));
}

/* Inner tapes one after the other, each replayed twice, with shadows of scratch that are not zero in the end: nothing
 * of one pass is left in the next. All are numbers: r = x (x + 0), dx = 2 x g, four times. */
static void again(int mode, int options)
{
    const int32_t n = 1;
    double x = 3, dx = 0, g = 5, r = 0, dr = 0;
    double tx = 1, tdx = 0, tg = 100, tr = 0, tdr = 0; /* on the outer tape */
    if (mode == BLASAD_REVERSE)
        tx = tg = 0, tdx = 1;
    blasad_tape *outer = blasad_tape_new(mode, options);
    CHECK_OK(blasad_duplicated(outer, &x, &tx, sizeof x));
    CHECK_OK(blasad_duplicated(outer, &dx, &tdx, sizeof dx));
    CHECK_OK(blasad_duplicated(outer, &g, &tg, sizeof g));
    CHECK_OK(blasad_duplicated(outer, &r, &tr, sizeof r));
    CHECK_OK(blasad_duplicated(outer, &dr, &tdr, sizeof dr));
    CHECK_OK(blasad_tape_start(outer));
    for (int i = 0; i < 2; i++) {
        double scratch = 0;
        blasad_tape *inner = blasad_tape_new(BLASAD_REVERSE, options);
        CHECK_OK(blasad_duplicated(inner, &x, &dx, sizeof x));
        CHECK_OK(blasad_duplicated(inner, &r, &dr, sizeof r));
        CHECK_OK(blasad_tape_start(inner));
        dgemm("N", "N", &n, &n, &n, &(double){1}, &x, &n, &(double){1}, &n, &(double){1}, &scratch, &n);
        dgemm("N", "N", &n, &n, &n, &(double){1}, &scratch, &n, &x, &n, &(double){0}, &r, &n);
        CHECK_OK(blasad_tape_close_recording(inner));
        for (int k = 0; k < 2; k++) {
            dgemm("N", "N", &n, &n, &n, &(double){1}, &g, &n, &(double){1}, &n, &(double){0}, &dr, &n);
            CHECK_OK(blasad_reverse(inner));
        }
        CHECK_OK(blasad_tape_free(inner));
        CHECK_OK(blasad_forget(&scratch, BLASAD_DOUBLE, 0, NULL, NULL));
    }
    CHECK(dx == 4 * 30, "%g", dx);
    CHECK_OK(blasad_tape_close_recording(outer));
    if (mode == BLASAD_REVERSE) {
        CHECK_OK(blasad_reverse(outer));
        CHECK(tx == 4 * 2 * 5 && tg == 4 * 2 * 3, "%g %g", tx, tg);
    } else {
        CHECK(tdx == 4 * (2 * 1 * 5 + 2 * 3 * 100), "%g", tdx);
    }
    CHECK_OK(blasad_tape_free(outer));
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    for (int round = 0; round < 4 * WAYS; round++) {
        const int options = round & 1 ? BLASAD_NO_VERIFY : 0, outer = round & 2 ? BLASAD_NO_VERIFY : 0, way = round / 4;
        forward_over_reverse(options, outer, way, false);
        forward_over_reverse(options, outer, way, true);
        reverse_over_reverse(options, outer, way);
    }
    too_late(BLASAD_FORWARD);
    too_late(BLASAD_REVERSE);
    for (int mode = BLASAD_REVERSE; mode <= BLASAD_FORWARD; mode++) {
        for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
            equal_bytes(mode, options);
            again(mode, options);
        }
        late_but_apart(mode, false);
        late_but_apart(mode, true);
    }
    return check_end();
}
