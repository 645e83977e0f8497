/* Memory of a tape's own, where an outer tape has active numbers: saved and kept values, mirrors, shadows of scratch,
 * workspace. When the tape is freed their lives have ended, and what the program finds at their addresses later is
 * somebody else's. Contract: 7, 10. */
#include "../check.h"

#include <pthread.h>
#include <sys/mman.h>

enum { MANY = 300000, PAGE = 4096, SEEN = 256 }; /* so many doubles go back to the system when they are freed */

static double *x, *dx, *y, *dy, *tx, *ty, *tdx, *tdy;
static double p[2] = {2, 3}, dp[2], tp[2], tdp[2], result, dresult;

static void scaled(const double *alpha, const double *from, const double *by, double *to)
{
    const int32_t many = MANY, one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &many, &one, &one, alpha, from, &many, by, &one, &(double){0}, to,
                                        &many);
}

static double *numbers(double first)
{
    double *a = malloc(MANY * sizeof *a);
    for (int i = 0; a && i < MANY; i++)
        a[i] = first + i % 7;
    return a;
}

static bool known(const char *at)
{
    const double *const arrays[] = {x, dx, y, dy};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (at >= (const char *)arrays[i] && at < (const char *)(arrays[i] + MANY))
            return true;
    return false;
}

/* Other addresses in the calls that the tape has seen, a page once. */
static int find(const blasad_tape *t, char **seen)
{
    int n = 0;
    for (size_t i = 0; i < blasad_tape_length(t); i++) {
        blasad_call c;
        CHECK_OK(blasad_tape_call(t, i, &c));
        for (int o = 0; o < c.n_operands; o++) {
            char *at = c.operands[o].address;
            bool new = c.operands[o].activity == BLASAD_ACT_SCRATCH && !known(at) && n < SEEN;
            for (int k = 0; k < n; k++)
                new = new && (uintptr_t)seen[k] / PAGE != (uintptr_t)at / PAGE;
            if (new)
                seen[n++] = at;
        }
    }
    return n;
}

enum where { HERE, ELSEWHERE, INSIDE, PLACES };

static void *free_tape(void *t)
{
    CHECK_OK(blasad_tape_free(t));
    return NULL;
}

/* Where the outer tape cannot be told, on another thread or inside an operation, that waits for a better time. */
static void free_at(enum where where, blasad_tape *t)
{
    pthread_t other;
    blasad_operation *o = where == INSIDE ? blasad_record_begin(0, NULL, 0, NULL) : NULL;
    if (where == ELSEWHERE) {
        CHECK(pthread_create(&other, NULL, free_tape, t) == 0);
        pthread_join(other, NULL);
    } else {
        free_tape(t);
    }
    if (o)
        CHECK_OK(blasad_record_end(o, NULL, NULL, NULL, NULL));
    free_tape(blasad_tape_open(BLASAD_REVERSE)); /* the tapes of this thread are at it again */
}

static void run(enum where where)
{
    double **const all[] = {&x, &dx, &y, &dy, &tx, &ty, &tdx, &tdy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = numbers((double)i);
    blasad_tape *outer = blasad_tape_open(BLASAD_REVERSE), *inner = blasad_tape_new(BLASAD_REVERSE, 0);
    CHECK_OK(blasad_duplicated(outer, x, tx, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(outer, y, ty, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(outer, dx, tdx, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(outer, dy, tdy, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(outer, p, tp, sizeof p));
    CHECK_OK(blasad_duplicated(outer, dp, tdp, sizeof dp));
    CHECK_OK(blasad_duplicated(outer, &result, &dresult, sizeof result));
    CHECK_OK(blasad_duplicated(inner, x, dx, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(inner, y, dy, MANY * sizeof *x));
    CHECK_OK(blasad_duplicated(inner, p, dp, sizeof p));
    CHECK_OK(blasad_tape_start(inner));
    double *scratch = numbers(0);
    const double unit = 1;
    scaled(&unit, x, &p[0], scratch);
    scaled(&unit, scratch, &p[1], y); /* keeps scratch */
    scaled(&p[0], y, &p[1], x);       /* saves x; its adjoint takes workspace */
    CHECK_OK(blasad_tape_close_recording(inner));
    CHECK_OK(blasad_reverse(inner));
    char *seen[SEEN], *again[SEEN];
    int n = find(outer, seen), found = 0;
    free_at(where, inner);
    CHECK_OK(blasad_forget(scratch, BLASAD_DOUBLE, 1, &(int64_t){MANY}, &(int64_t){sizeof *scratch}));
    free(scratch);
    for (int i = 0; i < n; i++) {
        char *page = seen[i] - (uintptr_t)seen[i] % PAGE;
        void *got = mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got != page) /* not given back to the system, or somebody has it already */
            continue;
        again[found++] = seen[i];
        *(double *)(void *)seen[i] = 5;
    }
    CHECK(found >= 2, "%d of %d pages", found, n); /* at least those of kept values and of the shadow of scratch */
    for (int i = 0; i < found && !check_failures; i++) {
        const int32_t one = 1;
        blasad_call c;
        ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &(double){1}, again[i], &one, &p[0], &one,
                                            &(double){0}, &result, &one);
        CHECK_OK(blasad_tape_error(outer));
        CHECK_OK(blasad_tape_call(outer, blasad_tape_length(outer) - 1, &c));
        CHECK(c.operands[0].assumed && c.operands[0].activity == BLASAD_ACT_UNDECLARED, "%d of %d", i, found);
    }
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK_OK(blasad_tape_free(outer));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(*all[i]);
    for (int i = 0; i < found; i++)
        munmap(again[i] - (uintptr_t)again[i] % PAGE, PAGE);
}

int main(void)
{
    check_backend();
    for (enum where where = HERE; where < PLACES; where++)
        run(where);
    return check_end();
}
