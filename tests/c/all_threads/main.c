/* A tape that records every thread: calls, tapes of each thread above it, announcements and operations at once, and the
 * gradient of all of them together. Contract: 9, 10. */
#include "../naive.h"

#include <pthread.h>

enum { THREADS = 4, ITERATIONS = 50, N = 4, NN = N * N };

static check_gemm dgemm;
static blasad_tape *all;
static double w[NN], dw[NN], a[THREADS][NN], da[THREADS][NN], c[THREADS][NN], dc[THREADS][NN];

static void product(const double *x, const double *y, double *z)
{
    const int32_t n = N;
    dgemm("N", "N", &n, &n, &n, &(double){1}, x, &n, y, &n, &(double){0}, z, &n);
}

static int twice_back(void *self, int shadow, void *const *in, void *const *out, void *const *dout, blasad_array *din)
{
    static const int64_t shape = NN, stride = sizeof(double);
    static double back[NN];
    (void)self, (void)shadow, (void)in, (void)out;
    for (int i = 0; i < NN; i++)
        back[i] = 2 * ((const double *)dout[0])[i];
    din[0] = (blasad_array){back, BLASAD_DOUBLE, 1, &shape, &stride};
    return 0;
}

/* c = 2 a w, the doubling being no BLAS, in scratch that is forgotten. */
static void work(int k)
{
    const int64_t shape = NN, stride = sizeof(double);
    double scratch[NN], doubled[NN];
    const blasad_array in = {scratch, BLASAD_DOUBLE, 1, &shape, &stride};
    const blasad_array out = {doubled, BLASAD_DOUBLE, 1, &shape, &stride};
    static const double one[NN] = {[0] = 1, [N + 1] = 1, [2 * N + 2] = 1, [3 * N + 3] = 1};
    product(a[k], w, scratch);
    blasad_operation *o = blasad_record_begin(1, &in, 1, &out);
    CHECK(o);
    for (int i = 0; i < NN; i++)
        doubled[i] = 2 * scratch[i];
    CHECK_OK(blasad_record_end(o, twice_back, NULL, NULL, NULL));
    product(doubled, one, c[k]);
    CHECK_OK(blasad_forget(scratch, BLASAD_DOUBLE, 1, &shape, &stride));
    CHECK_OK(blasad_forget(doubled, BLASAD_DOUBLE, 1, &shape, &stride));
}

static void *thread(void *number)
{
    const int k = *(int *)number;
    for (int i = 0; i < ITERATIONS; i++) {
        CHECK(blasad_tape_records(all) && blasad_current_tape() == all);
        work(k);
        if (i % 10 == 0) { /* a tape of its own, about other memory */
            double x[NN] = {1}, dx[NN], y[NN], dy[NN];
            blasad_tape *own = blasad_tape_open(BLASAD_REVERSE);
            CHECK_OK(blasad_duplicated(own, x, dx, sizeof x));
            CHECK_OK(blasad_duplicated(own, y, dy, sizeof y));
            product(x, x, y);
            CHECK(blasad_tape_records(own) && blasad_current_tape() == own);
            CHECK_OK(blasad_tape_close_recording(own));
            CHECK(!blasad_tape_records(own));
            memset(dx, 0, sizeof dx);
            memset(dy, 0, sizeof dy);
            dy[0] = 1;
            CHECK_OK(blasad_reverse(own));
            CHECK(dx[0] == 2 && dy[0] == 0, "%g", dx[0]);
            CHECK_OK(blasad_tape_free(own));
        }
    }
    return NULL;
}

static void crowd(int options)
{
    pthread_t threads[THREADS];
    int number[THREADS];
    all = blasad_tape_new(BLASAD_REVERSE, BLASAD_ALL_THREADS | options);
    CHECK_OK(blasad_tape_start(all));
    CHECK_OK(blasad_duplicated(all, w, dw, sizeof w));
    for (int k = 0; k < THREADS; k++) {
        CHECK_OK(blasad_duplicated(all, a[k], da[k], sizeof a[k]));
        CHECK_OK(blasad_duplicated(all, c[k], dc[k], sizeof c[k]));
    }
    for (int k = 0; k < THREADS; k++) {
        number[k] = k;
        CHECK(pthread_create(&threads[k], NULL, thread, &number[k]) == 0);
    }
    for (int k = 0; k < THREADS; k++)
        pthread_join(threads[k], NULL);
    CHECK_OK(blasad_tape_close_recording(all));
    CHECK(!blasad_tape_records(all) && !blasad_current_tape());
    memset(dw, 0, sizeof dw);
    memset(da, 0, sizeof da);
    for (int k = 0; k < THREADS; k++)
        for (int i = 0; i < NN; i++)
            dc[k][i] = 1;
    CHECK_OK(blasad_reverse(all));
    for (int i = 0; i < NN; i++) {
        double want = 0; /* dA = 2 G W^T, dW = the sum of 2 A^T G */
        for (int j = 0; j < N; j++)
            want += 2 * w[i / N + j * N];
        for (int k = 0; k < THREADS; k++)
            CHECK(da[k][i] == want && dc[k][i] == 0, "thread %d: %g, not %g", k, da[k][i], want);
        want = 0;
        for (int k = 0; k < THREADS; k++)
            for (int j = 0; j < N; j++)
                want += 2 * a[k][j + i % N * N];
        CHECK(dw[i] == want, "%g, not %g", dw[i], want);
    }
    CHECK_OK(blasad_tape_free(all));
}

/* Calls inside an operation are recorded by nobody. */
static void inside(void)
{
    const int64_t shape = NN, stride = sizeof(double);
    const blasad_array in = {w, BLASAD_DOUBLE, 1, &shape, &stride}, out = {c[0], BLASAD_DOUBLE, 1, &shape, &stride};
    all = blasad_tape_new(BLASAD_REVERSE, BLASAD_ALL_THREADS);
    CHECK_OK(blasad_tape_start(all));
    CHECK_OK(blasad_duplicated(all, w, dw, sizeof w));
    CHECK_OK(blasad_duplicated(all, c[0], dc[0], sizeof c[0]));
    blasad_operation *o = blasad_record_begin(1, &in, 1, &out);
    CHECK(!blasad_current_tape());
    product(w, w, c[0]);
    CHECK_OK(blasad_record_end(o, twice_back, NULL, NULL, NULL));
    CHECK(blasad_current_tape() == all && blasad_tape_length(all) == 1, "%zu", blasad_tape_length(all));
    CHECK_OK(blasad_tape_close_recording(all));
    CHECK_OK(blasad_tape_free(all));
}

int main(void)
{
    naive_backend(32);
    dgemm = (check_gemm)check_entry("dgemm_");
    for (int i = 0; i < NN; i++) {
        w[i] = i % 5 - 1.5;
        for (int k = 0; k < THREADS; k++)
            a[k][i] = i % 3 - 0.5 * k;
    }
    crowd(0);
    crowd(BLASAD_NO_VERIFY);
    inside();
    return check_end();
}
