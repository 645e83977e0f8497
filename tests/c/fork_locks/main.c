/* fork while another thread holds one of the library's locks: the child can still open, record and free a tape. Each
 * lock is held most of the time by a thread that does nothing else. Contract: 9. */
#include "../naive.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"

static atomic_bool stop;

static void *takes_chunks(void *none)
{
    while (!stop)
        bl_chunk_give(bl_chunk_take());
    return none;
}

static void *wraps(void *none)
{
    while (!stop) {
        void *out;
        blasad_wrap("dgemm_", (void *)(uintptr_t)1, 32, &out);
    }
    return none;
}

static void record_one(void)
{
    const int32_t one = 1;
    double x = 3, dx = 0, y, dy = 0.8;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &(double){1}, &x, &one, &x, &one, &(double){0}, &y,
                                        &one);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 0.8 * 6, "%g", dx);
    CHECK_OK(blasad_tape_free(t));
    naive_backend(32);
}

static void with(void *(*holder)(void *), const char *what)
{
    pthread_t thread;
    stop = false;
    pthread_create(&thread, NULL, holder, NULL);
    int stuck = 0;
    for (int i = 0; i < 60 && !stuck; i++) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            check_failures = 0;
            alarm(3);
            record_one();
            fflush(NULL);
            _exit(check_failures != 0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        stuck = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
        CHECK(stuck || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "status %x", (unsigned)status);
    }
    stop = true;
    pthread_join(thread, NULL);
    CHECK(!stuck, "a child waits for ever for a lock that is held by a thread that %s", what);
}

int main(void)
{
    naive_backend(32);
    with(takes_chunks, "takes memory for a tape");
    with(wraps, "wraps a function");
    return check_end();
}
