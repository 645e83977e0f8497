/* Scratch on stacks: what a thread leaves on its own ends with its frames, also under a tape of all threads, and with
 * nobody else's. Contract: 7, 9. */
#include "../check.h"

#include <pthread.h>

static check_gemm dgemm;
static double x, dx, y, dy;
static pthread_barrier_t turn;

static void product(double factor, const double *from, double keep, double *to)
{
    const int32_t one = 1;
    dgemm("N", "N", &one, &one, &one, &factor, from, &one, &(double){1}, &one, &keep, to, &one);
}
static void times(double factor, const double *from, double *to) { product(factor, from, 0, to); }
static void add(double factor, const double *from, double *to) { product(factor, from, 1, to); }

static void wait_for_turn(void) { pthread_barrier_wait(&turn); }

/* y = 2 x by way of scratch on this thread's stack; between the two calls it is the other thread's turn. */
static void through_stack(void)
{
    double scratch;
    times(2, &x, &scratch);
    wait_for_turn();
    wait_for_turn();
    times(1, &scratch, &y);
}

/* Another call, by a frame anywhere else. */
static void meanwhile(void)
{
    double other;
    wait_for_turn();
    times(3, &x, &other);
    wait_for_turn();
}

static void *run(void *what)
{
    (*(void (**)(void))what)();
    return NULL;
}

static blasad_tape *open_tape(void)
{
    x = 1.625;
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, BLASAD_ALL_THREADS);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    CHECK_OK(blasad_tape_start(t));
    return t;
}

static void close_tape(blasad_tape *t, const char *what)
{
    CHECK_OK(blasad_tape_close_recording(t));
    dx = 0, dy = 1;
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 2, "%s: %g, not 2", what, dx);
    CHECK_OK(blasad_tape_free(t));
}

/* The tape's own thread runs `mine`, another one `other`. */
static void both(void (*mine)(void), void (*other)(void), const char *what)
{
    pthread_t thread;
    blasad_tape *t = open_tape();
    CHECK(pthread_create(&thread, NULL, run, &other) == 0);
    mine();
    pthread_join(thread, NULL);
    close_tape(t, what);
}

/* The tape is opened by a thread whose stack lies below that of the thread that calls in between. */
static void *below(void *none)
{
    blasad_tape *t = open_tape();
    through_stack();
    close_tape(t, "scratch below");
    return none;
}

/* Frames that are left, and come again with constants in the same places, which are far from their ends. */
static __attribute__((noinline)) void inner_frame(bool active)
{
    double room[64] = {77};
    if (active)
        times(2, &x, &room[0]);
    add(3, &room[0], &y);
}
static __attribute__((noinline)) void outer_frame(bool active)
{
    double room[64] = {77};
    if (active)
        times(2, &x, &room[0]);
    inner_frame(active);
    add(7, &x, &y);
    inner_frame(false);
    add(3, &room[0], &y);
}

static void left(int mode, int options)
{
    x = 1.625, y = 0;
    blasad_tape *t = blasad_tape_new(mode, options);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    CHECK_OK(blasad_tape_start(t));
    dx = 1, dy = 0;
    outer_frame(true);
    add(5, &x, &y);
    outer_frame(false);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK(y == 31 * x + 4 * 3 * 77, "%g", y);
    if (mode == BLASAD_REVERSE) {
        dx = 0, dy = 1;
        CHECK_OK(blasad_reverse(t));
    }
    CHECK((mode == BLASAD_REVERSE ? dx : dy) == 31, "%g %g", dx, dy);
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    dgemm = (check_gemm)check_entry("dgemm_");
    for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
        left(BLASAD_REVERSE, options);
        left(BLASAD_FORWARD, options);
    }
    pthread_barrier_init(&turn, NULL, 2);
    both(through_stack, meanwhile, "scratch of the tape's thread");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, below, NULL) == 0);
    meanwhile();
    pthread_join(thread, NULL);
    return check_end();
}
