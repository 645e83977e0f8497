/* A child of fork records tapes of its own, may close and free a tape that was open in its parent, and the parent's
 * tape does not notice. Contract: 9. */
#include "../naive.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static check_gemm dgemm;

static void square(const double *x, double *y)
{
    const int32_t one = 1;
    dgemm("N", "N", &one, &one, &one, &(double){1}, x, &one, x, &one, &(double){0}, y, &one);
}

static void own_tape(void)
{
    double x = 3, dx = 0, y, dy = 0.8;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK(t, "%s", blasad_last_error());
    if (!t)
        return;
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    square(&x, &y);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 0.8 * 6 && dy == 0, "%g %g", dx, dy);
    CHECK_OK(blasad_tape_free(t));
}

/* The child ends by exit and not _exit: its leaks are looked for as well. */
static void in_child(void (*f)(void *), void *p)
{
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60); /* a lock that nobody opens */
        f(p);
        exit(check_end());
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", (unsigned)status);
}

typedef struct state {
    blasad_tape *tape;
    double x, dx, y, dy;
} state;

static void only_own(void *none)
{
    (void)none;
    own_tape();
}

static void frees_at_once(void *p)
{
    CHECK_OK(blasad_tape_free(((state *)p)->tape));
    own_tape();
}

static void goes_on(void *p)
{
    state *s = p;
    square(&s->y, &s->x);
    CHECK_OK(blasad_tape_close_recording(s->tape));
    CHECK(blasad_tape_length(s->tape) == 2);
    s->dx = 1, s->dy = 0;
    CHECK_OK(blasad_reverse(s->tape));
    CHECK(s->dx == 4 * 2 * 2 * 2 && s->dy == 0, "%g", s->dx);
    CHECK_OK(blasad_tape_free(s->tape));
    own_tape();
}

static void on_one_thread(void)
{
    state s = {.x = 2};
    s.tape = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(s.tape, &s.x, &s.dx, sizeof s.x));
    CHECK_OK(blasad_duplicated(s.tape, &s.y, &s.dy, sizeof s.y));
    square(&s.x, &s.y);
    in_child(frees_at_once, &s);
    in_child(goes_on, &s);
    CHECK(blasad_tape_length(s.tape) == 1);
    CHECK_OK(blasad_tape_close_recording(s.tape));
    s.dx = 0, s.dy = 1;
    CHECK_OK(blasad_reverse(s.tape));
    CHECK(s.dx == 4 && s.dy == 0 && s.x == 2 && s.y == 4, "%g", s.dx);
    in_child(frees_at_once, &s); /* ended, not yet freed */
    CHECK_OK(blasad_tape_free(s.tape));
}

/* A tape that is open on another thread has, in the child, nobody who could go on with it. */
static pthread_barrier_t opened, forked;

static void *holds_a_tape(void *p)
{
    state *s = p;
    s->tape = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(s->tape, &s->x, &s->dx, sizeof s->x));
    CHECK_OK(blasad_duplicated(s->tape, &s->y, &s->dy, sizeof s->y));
    pthread_barrier_wait(&opened);
    pthread_barrier_wait(&forked);
    square(&s->x, &s->y);
    CHECK_OK(blasad_tape_close_recording(s->tape));
    s->dx = 0, s->dy = 1;
    CHECK_OK(blasad_reverse(s->tape));
    CHECK(s->dx == 4 && s->dy == 0, "%g", s->dx);
    CHECK_OK(blasad_tape_free(s->tape));
    return NULL;
}

static void with_another_thread(void)
{
    pthread_t other;
    state s = {.x = 2};
    pthread_barrier_init(&opened, NULL, 2);
    pthread_barrier_init(&forked, NULL, 2);
    pthread_create(&other, NULL, holds_a_tape, &s);
    pthread_barrier_wait(&opened);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        own_tape();
        CHECK_CODE(blasad_tape_free(s.tape), BLASAD_TAPE, "another thread");
        square(&s.x, &s.y); /* active there */
        own_tape();
        fflush(NULL);
        _exit(check_end()); /* without the search for leaks, which would look for the other thread */
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x",
          (unsigned)status);
    pthread_barrier_wait(&forked);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&opened);
    pthread_barrier_destroy(&forked);
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    in_child(only_own, NULL);
    on_one_thread();
    with_another_thread();
    own_tape();
    return check_end();
}
