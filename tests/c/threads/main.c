/* Tapes on different threads are independent, threads without one are left alone, and a call of one thread on memory
 * that is active on the tape of another is an error of that tape, not a wrong number. Contract: 9. */
#include "../naive.h"

#include <pthread.h>

enum { THREADS = 4, ITERATIONS = 300, N = 4, NN = N * N };

static check_gemm dgemm;
static atomic_bool stop;

static void product(const double *a, const double *b, double beta, double *c)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){0.5}, a, &n, b, &n, &beta, c, &n);
}

/* c = a b / 2, a tape an iteration; every tape sees its own calls and nothing else. */
static void *with_tape(void *number)
{
    double a[NN], da[NN], b[NN], c[NN], dc[NN], extra[NN] = {0}, dextra[NN];
    for (int i = 0; i < NN; i++) {
        a[i] = i % 5 - *(int *)number;
        b[i] = i % 3 - 0.5;
    }
    for (int repeat = 0; repeat < ITERATIONS && !check_failures; repeat++) {
        blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(t, a, da, sizeof a));
        CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
        for (int call = 0; call < 5; call++) {
            product(a, b, 0, c);
            CHECK_OK(blasad_duplicated(t, &extra[call], &dextra[call], sizeof(double))); /* while others look */
        }
        if (repeat % 7 == 0) { /* given up while it records */
            CHECK_OK(blasad_tape_free(t));
            continue;
        }
        CHECK_OK(blasad_tape_close_recording(t));
        CHECK(blasad_tape_length(t) == 5);
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
    double active[NN], shadow[NN], constant[NN], undeclared[NN], scalar, dscalar;
    int what;
} shared;

enum { READ, WRITE, SCALAR, CONSTANT, UNDECLARED, BETWEEN, WHATS };

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
        const int64_t shape = N, stride = N * sizeof(double);
        const bool forbidden = what <= SCALAR;
        s.tape = blasad_tape_open(BLASAD_REVERSE);
        CHECK_OK(blasad_duplicated(s.tape, s.active, s.shadow, sizeof s.active));
        CHECK_OK(blasad_duplicated(s.tape, &s.scalar, &s.dscalar, sizeof s.scalar));
        CHECK_OK(blasad_const(s.tape, s.constant, sizeof s.constant));
        double dgap[NN] = {0};
        if (what == BETWEEN)
            CHECK_OK(check_annotate(s.tape, s.undeclared, dgap, BLASAD_DOUBLE, 1, &shape, &stride, "every fourth"));
        elsewhere(touch, &s);
        elsewhere(meddle, &s);
        product(s.constant, s.constant, 0.5, s.active);
        CHECK(blasad_tape_length(s.tape) == !forbidden);
        CHECK_CODE(blasad_tape_close_recording(s.tape), forbidden ? BLASAD_ACTIVITY : BLASAD_OK,
                   forbidden ? "another thread" : "");
        CHECK_CODE(blasad_reverse(s.tape), forbidden ? BLASAD_ACTIVITY : BLASAD_OK, forbidden ? "another thread" : "");
        elsewhere(touch, &s); /* a closed tape does not mind */
        CHECK_OK(blasad_tape_free(s.tape));
    }
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    side_by_side();
    strangers();
    return check_end();
}
