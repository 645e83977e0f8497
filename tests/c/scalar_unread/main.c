/* Scalars that a call is given by address and does not read, since it returns at once or multiplies nothing: what is
 * there is nobody's business. The same ones, read later, are. Contract: 4, 5, 7, 8. */
#include "../check.h"

#include <pthread.h>

typedef struct call {
    int32_t m, n, k;
    bool beta_too; /* neither scalar is read; else only alpha is not */
} call;

static const call calls[] = {{1, 1, 0, false}, {0, 1, 1, true}, {1, 0, 1, true}, {0, 0, 0, true}};
enum { CALLS = sizeof calls / sizeof *calls };

static double x = 3, dx, y, dy, scratch;

static void gemm(call s, const double *alpha, const double *beta, double *c)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &s.m, &s.n, &s.k, alpha, &x, &one, &x, &one, beta, c, &one);
}

static void unread(call s, const double *where, double *c) { gemm(s, where, s.beta_too ? where : &(double){1}, c); }

/* to = factor x */
static void times(const double *factor, double *to)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, factor, &x, &one, &(double){1}, &one, &(double){0},
                                        to, &one);
}

static blasad_tape *open_tape(int options)
{
    dx = 0, dy = 0, y = 0;
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, options);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    CHECK_OK(blasad_tape_start(t));
    return t;
}

static void end(blasad_tape *t, double want)
{
    CHECK_OK(blasad_tape_close_recording(t));
    dy = 1;
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == want && dy == 0, "%g %g", dx, dy);
    CHECK_OK(blasad_tape_free(t));
}

/* Active scratch that became something else. Whoever reads it afterwards still hears of it. */
static void changed(call s, int options, bool then_read)
{
    blasad_tape *t = open_tape(options);
    times(&(double){2}, &scratch);
    scratch = 0.125;
    unread(s, &scratch, &y);
    times(then_read ? &scratch : &(double){4}, &y);
    if (!then_read) {
        end(t, 4);
        return;
    }
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_UNSEEN_WRITE, "had written an active value");
    CHECK_OK(blasad_tape_free(t));
}

/* An inner tape does not read it for itself either. */
static void changed_below(call s)
{
    double a = 2, da = 0;
    blasad_tape *outer = open_tape(0);
    times(&(double){2}, &scratch);
    scratch = 0.125;
    blasad_tape *inner = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(inner, &a, &da, sizeof a));
    unread(s, &scratch, &a);
    CHECK_OK(blasad_tape_close_recording(inner));
    da = 1;
    CHECK_OK(blasad_reverse(inner));
    CHECK(da == 1, "%g", da);
    CHECK_OK(blasad_tape_free(inner));
    times(&(double){4}, &y);
    end(outer, 4);
}

/* Active, and as it was left: read, it has a derivative. */
static void unchanged(call s, int options)
{
    blasad_tape *t = open_tape(options);
    times(&(double){2}, &scratch);
    unread(s, &scratch, &y);
    times(&scratch, &y); /* 2 x^2 */
    end(t, 12);
}

/* Numbers of another width, annotated and not, and not even aligned to that. */
static void other_numbers(call s, int options)
{
    union {
        float f[4];
        double d[2];
    } one = {{3, 4, 5, 6}}, two = {{3, 4, 5, 6}};
    float df[4];
    const int32_t n = 1;
    blasad_tape *t = open_tape(options);
    CHECK_OK(blasad_duplicated(t, one.f, df, sizeof df));
    for (int i = 0; i < 3; i++)
        ((check_gemm)check_entry("sgemm_"))("N", "N", &n, &n, &n, &(float){2}, one.f, &n, &(float){1}, &n, &(float){0},
                                            &two.f[i], &n);
    unread(s, one.d, &y);
    unread(s, two.d, &y);
    times(&(double){4}, &y);
    end(t, 4);
}

/* The output itself; it is scaled by beta. */
static void in_output(call s, int options)
{
    blasad_tape *t = open_tape(options);
    times(&(double){4}, &y);
    gemm(s, &y, s.beta_too ? &y : &(double){0.5}, &y);
    end(t, s.beta_too ? 4 : 2);
}

/* A number that a recorded call wrote, by value or from other bytes. */
static void by_value(call s, int options)
{
    blasad_tape *t = open_tape(options);
    times(&(double){4}, &y);
    const double copy = y;
    unread(s, &copy, &y);
    end(t, 4);
}

/* It is not too late to annotate what was not read. */
static void annotated_later(call s, int options)
{
    double factor = 4, dfactor = 0;
    blasad_tape *t = open_tape(options);
    unread(s, &factor, &y);
    CHECK_OK(blasad_duplicated(t, &factor, &dfactor, sizeof factor));
    times(&factor, &y);
    end(t, 4);
    CHECK(dfactor == 3, "%g", dfactor);
}

static void *elsewhere(void *s)
{
    double c = 0;
    unread(*(const call *)s, &x, &c);
    return NULL;
}

static void on_another_thread(call s, int options)
{
    pthread_t other;
    blasad_tape *t = open_tape(options);
    times(&(double){4}, &y);
    CHECK(pthread_create(&other, NULL, elsewhere, &s) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    end(t, 4);
}

int main(void)
{
    check_backend();
    for (int options = 0; options <= BLASAD_NO_VERIFY; options += BLASAD_NO_VERIFY)
        for (int i = 0; i < CALLS; i++) {
            changed(calls[i], options, false);
            unchanged(calls[i], options);
            other_numbers(calls[i], options);
            in_output(calls[i], options);
            by_value(calls[i], options);
            annotated_later(calls[i], options);
            on_another_thread(calls[i], options);
        }
    for (int i = 0; i < CALLS; i++) {
        changed(calls[i], 0, true);
        changed_below(calls[i]);
    }
    return check_end();
}
