/* Tapes on different threads are independent, threads without one are left alone, and a call of one thread on memory
 * that is active on the tape of another is an error of that tape, not a wrong number. Contract: 9. */
#include "../naive.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 4, ITERATIONS = 300, N = 4, NN = N * N };

static check_gemm dgemm;
static atomic_bool stop;

static void product(const double *a, const double *b, double beta, double *c)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){0.5}, a, &n, b, &n, &beta, c, &n);
}

/* c = a b / 2, through scratch, a tape an iteration; every tape sees its own calls and nothing else. */
static void *with_tape(void *number)
{
    double a[NN], da[NN], b[NN], c[NN], dc[NN], extra[NN] = {0}, dextra[NN], twice[NN], scratch[NN];
    for (int i = 0; i < NN; i++) {
        a[i] = i % 5 - *(int *)number;
        b[i] = i % 3 - 0.5;
        twice[i] = i % (N + 1) ? 0 : 2;
    }
    for (int repeat = 0; repeat < ITERATIONS && !check_failures; repeat++) {
        blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(t, a, da, sizeof a));
        CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
        for (int call = 0; call < 5; call++) {
            product(a, b, 0, scratch);
            product(scratch, twice, 0, c);
            CHECK_OK(blasad_duplicated(t, &extra[call], &dextra[call], sizeof(double))); /* while others look */
        }
        if (repeat % 7 == 0) { /* given up while it records */
            CHECK_OK(blasad_tape_free(t));
            continue;
        }
        CHECK_OK(blasad_tape_close_recording(t));
        CHECK(blasad_tape_length(t) == 10);
        for (int i = 0; i < NN; i++)
            da[i] = 0, dc[i] = 1;
        CHECK_OK(blasad_reverse(t));
        for (int i = 0; i < NN; i++) {
            double want = 0; /* dA = G B^T / 2 */
            for (int j = 0; j < N; j++)
                want += 0.5 * b[i / N + j * N];
            CHECK(da[i] == want && dc[i] == 0, "thread %d: %g, not %g", *(int *)number, da[i], want);
        }
        CHECK_OK(blasad_tape_free(t));
    }
    return NULL;
}

static void *without_tape(void *none)
{
    double a[NN], b[NN], c[NN];
    for (int i = 0; i < NN; i++)
        a[i] = b[i] = i;
    while (!stop) {
        product(a, b, 0, c);
        CHECK(c[0] == 0.5 * (0 * 0 + 4 * 1 + 8 * 2 + 12 * 3), "%g", c[0]);
    }
    return none;
}

static void side_by_side(void)
{
    pthread_t thread[THREADS], other;
    int number[THREADS];
    pthread_create(&other, NULL, without_tape, NULL);
    for (int i = 0; i < THREADS; i++) {
        number[i] = i;
        pthread_create(&thread[i], NULL, with_tape, &number[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    stop = true;
    pthread_join(other, NULL);
}

typedef struct shared {
    blasad_tape *tape;
    double active[NN], shadow[NN], constant[NN], undeclared[NN], live[NN], scalar, dscalar;
    int what;
} shared;

enum { READ, WRITE, SCALAR, READ_LIVE, WRITE_LIVE, SCALAR_LIVE, CONSTANT, UNDECLARED, BETWEEN, ENDED, OVER, WHATS };

static void *touch(void *p)
{
    shared *s = p;
    const int32_t one = 1, far = N;
    double mine[NN] = {1}, result[NN];
    switch (s->what) {
    case READ:
        product(mine, s->active, 0, result);
        break;
    case WRITE:
        product(mine, mine, 0, s->active);
        break;
    case SCALAR:
        dgemm("N", "N", &one, &one, &one, &s->scalar, mine, &one, mine, &one, &(double){0}, result, &one);
        break;
    case READ_LIVE:
    case ENDED:
        product(mine, s->live, 0, result);
        break;
    case WRITE_LIVE:
    case OVER:
        product(mine, mine, 0, s->live);
        break;
    case SCALAR_LIVE:
        dgemm("N", "N", &one, &one, &one, &s->live[5], mine, &one, mine, &one, &(double){0}, result, &one);
        break;
    case CONSTANT:
        product(mine, s->constant, 0, result);
        break;
    case UNDECLARED:
        product(mine, mine, 0, s->undeclared);
        break;
    case BETWEEN: /* a row of the active matrix's gaps: rows 1 of the columns of which row 0 is active */
        dgemm("N", "N", &one, &far, &one, &(double){1}, s->undeclared + 1, &one, s->undeclared + 1, &far, &(double){0},
              result, &one);
    }
    return NULL;
}

static void *meddle(void *p)
{
    shared *s = p;
    CHECK_CODE(blasad_tape_close_recording(s->tape), BLASAD_TAPE, "another thread");
    CHECK_CODE(blasad_tape_free(s->tape), BLASAD_TAPE, "another thread");
    CHECK_CODE(blasad_duplicated(s->tape, s->undeclared, s->undeclared, 8), BLASAD_TAPE, "another thread");
    return NULL;
}

/* Runs f on another thread and waits. */
static void elsewhere(void *(*f)(void *), void *p)
{
    pthread_t other;
    CHECK(pthread_create(&other, NULL, f, p) == 0);
    pthread_join(other, NULL);
}

static void strangers(void)
{
    for (int what = 0; what < WHATS; what++) {
        shared s = {.what = what, .scalar = 2};
        const int64_t shape = N, stride = N * sizeof(double), whole = NN, near = sizeof(double);
        const bool forbidden = what <= SCALAR_LIVE, alive = what == ENDED || what == OVER;
        s.tape = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(s.tape, s.active, s.shadow, sizeof s.active));
        CHECK_OK(blasad_duplicated(s.tape, &s.scalar, &s.dscalar, sizeof s.scalar));
        CHECK_OK(blasad_const(s.tape, s.constant, sizeof s.constant));
        double dgap[NN] = {0};
        if (what == BETWEEN)
            CHECK_OK(check_annotate(s.tape, s.undeclared, dgap, BLASAD_DOUBLE, 1, &shape, &stride, "every fourth"));
        if (alive || (what >= READ_LIVE && what <= SCALAR_LIVE))
            product(s.active, s.constant, 0, s.live);
        if (what == ENDED)
            CHECK_OK(blasad_forget(s.live, BLASAD_DOUBLE, 1, &whole, &near));
        if (what == OVER)
            product(s.constant, s.constant, 0, s.live);
        const size_t length = blasad_tape_length(s.tape);
        elsewhere(touch, &s);
        elsewhere(meddle, &s);
        product(s.constant, s.constant, 0.5, s.active);
        CHECK(blasad_tape_length(s.tape) == length + !forbidden);
        CHECK_CODE(blasad_tape_close_recording(s.tape), forbidden ? BLASAD_ACTIVITY : BLASAD_OK,
                   forbidden ? "another thread" : "");
        CHECK_CODE(blasad_reverse(s.tape), forbidden ? BLASAD_ACTIVITY : BLASAD_OK, forbidden ? "another thread" : "");
        elsewhere(touch, &s); /* a closed tape does not mind */
        CHECK_OK(blasad_tape_free(s.tape));
    }
}

/* A tape of another thread whose shadows are active here, or are not; it is replayed there. */
static void *replay(void *p)
{
    double a[NN] = {1}, c[NN], dc[NN] = {1};
    shared *s = p;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, a, s->what ? s->active : s->undeclared, sizeof a));
    CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
    product(a, s->constant, 0, c);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK_OK(blasad_tape_free(t));
    return NULL;
}

static void foreign_shadows(void)
{
    for (int active = 0; active < 2; active++) {
        shared s = {.what = active};
        s.tape = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(s.tape, s.active, s.shadow, sizeof s.active));
        elsewhere(replay, &s);
        CHECK_CODE(blasad_tape_close_recording(s.tape), active ? BLASAD_ACTIVITY : BLASAD_OK,
                   active ? "reverse() on another thread" : "");
        CHECK_OK(blasad_tape_free(s.tape));
    }
}

/* While it is replayed a tape is neither replayed nor freed. */
static int interfere(void *self, int shadow, void *const *in, void *const *out, void *const *d, blasad_array *result)
{
    static int depth;
    (void)shadow, (void)in, (void)out, (void)d, (void)result;
    if (depth++)
        return 1;
    CHECK_CODE(blasad_reverse(self), BLASAD_TAPE, "in reverse() of this tape");
    CHECK_CODE(blasad_tape_free(self), BLASAD_TAPE, "in reverse() of this tape");
    return 0;
}

static void twice_at_once(void)
{
    const int64_t n = NN, near = sizeof(double);
    double x[NN] = {1}, dx[NN] = {0}, y[NN], dy[NN] = {0};
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, x, dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, y, dy, sizeof y));
    blasad_operation *o = blasad_record_begin(1, &(blasad_array){x, BLASAD_DOUBLE, 1, &n, &near}, 1,
                                              &(blasad_array){y, BLASAD_DOUBLE, 1, &n, &near});
    memset(y, 0, sizeof y);
    CHECK_OK(blasad_record_end(o, interfere, NULL, t, NULL));
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK_OK(blasad_tape_free(t));
}

/* The owner goes on making scratch active, here and there in one window and in others, while strangers read a piece of
 * it that it leaves alone. */
static double pool[64][NN];

static int no_vjp(void *self, int shadow, void *const *in, void *const *out, void *const *d, blasad_array *result)
{
    (void)self, (void)shadow, (void)in, (void)out, (void)d, (void)result;
    return 0;
}
static atomic_int strangers_ready;

static void *read_pool(void *p)
{
    double mine[NN] = {1}, result[NN];
    (void)p;
    strangers_ready++;
    while (!stop)
        product(mine, pool[7], 0, result);
    return NULL;
}

static void hammered(void)
{
    pthread_t other[2];
    double x[NN] = {1}, dx[NN] = {0}, here[8][NN];
    stop = false;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, x, dx, sizeof x));
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&other[i], NULL, read_pool, NULL) == 0);
    while (strangers_ready < 2)
        sched_yield();
    for (int i = 0; i < 10000 && blasad_tape_error(t) == BLASAD_OK; i++) {
        product(x, x, 0, pool[i % 7]);
        product(x, x, 0, here[i % 8]);
        product(here[i % 8], x, 0, pool[8 + i % 56]);
    }
    CHECK_OK(blasad_tape_error(t)); /* nobody has touched what is active */
    const int64_t n = NN, near = sizeof(double);
    blasad_operation *o = blasad_record_begin(1, &(blasad_array){x, BLASAD_DOUBLE, 1, &n, &near}, 1,
                                              &(blasad_array){pool[7], BLASAD_DOUBLE, 1, &n, &near});
    CHECK(o); /* which makes pool[7] active, though it does not write it */
    blasad_record_end(o, no_vjp, NULL, NULL, NULL);
    for (int i = 0; i < 1000000 && blasad_tape_error(t) == BLASAD_OK; i++)
        product(x, x, 0, here[0]);
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(other[i], NULL);
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ACTIVITY, "another thread");
    CHECK_CODE(blasad_reverse(t), BLASAD_ACTIVITY, "another thread");
    CHECK_OK(blasad_tape_free(t));
}

/* ---- a tape of all threads: c <- a b / 2 on each, through scratch of its own, and a tape of one thread beside it */

typedef struct worker {
    double a[NN], da[NN], b[NN], c[NN], dc[NN];
} worker;

static void *work(void *p)
{
    worker *w = p;
    double scratch[NN], twice[NN] = {0};
    for (int i = 0; i < N; i++)
        twice[i + N * i] = 2;
    for (int repeat = 0; repeat < 50; repeat++) {
        product(w->a, w->b, 0, scratch);
        product(scratch, twice, 0, w->c);
    }
    return NULL;
}

static void all_threads(int mode)
{
    static worker w[THREADS];
    pthread_t thread[THREADS];
    blasad_tape *t = blasad_tape_new(mode, BLASAD_ALL_THREADS);
    for (int k = 0; k < THREADS; k++) {
        for (int i = 0; i < NN; i++) {
            w[k].a[i] = i % 5 - k;
            w[k].b[i] = i % 3 - 0.5;
            w[k].da[i] = mode == BLASAD_FORWARD ? i % 4 : 0;
            w[k].c[i] = 0;
            w[k].dc[i] = 1;
        }
        CHECK_OK(blasad_duplicated(t, w[k].a, w[k].da, sizeof w[k].a));
        CHECK_OK(blasad_duplicated(t, w[k].c, w[k].dc, sizeof w[k].c));
    }
    CHECK_OK(blasad_tape_start(t));
    for (int k = 0; k < THREADS; k++)
        CHECK(pthread_create(&thread[k], NULL, work, &w[k]) == 0);
    for (int k = 0; k < THREADS; k++)
        pthread_join(thread[k], NULL);
    CHECK(blasad_tape_length(t) == THREADS * 100, "%zu", blasad_tape_length(t));
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    for (int k = 0; k < THREADS; k++)
        for (int i = 0; i < NN; i++) {
            double want = 0;
            for (int j = 0; j < N; j++)
                want += mode == BLASAD_REVERSE ? 0.5 * w[k].b[i / N + j * N]
                                               : 0.5 * ((i % N + j * N) % 4) * w[k].b[j + i / N * N];
            const double got = mode == BLASAD_REVERSE ? w[k].da[i] : w[k].dc[i];
            CHECK(got == want, "thread %d: %g, not %g", k, got, want);
        }
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    side_by_side();
    strangers();
    foreign_shadows();
    twice_at_once();
    hammered();
    all_threads(BLASAD_REVERSE);
    all_threads(BLASAD_FORWARD);
    return check_end();
}
