/* Products by an alpha that is 0, and active on an outer tape: the inner derivative has no part in them, on a BLAS that
 * multiplies by 0 whatever the operands hold. Contract: 4, 10. */
#include "../naive.h"

static void eager_dgemm(const char *ta, const char *tb, const int32_t *m, const int32_t *n, const int32_t *k,
                        const void *alpha, const void *a, const int32_t *lda, const void *b, const int32_t *ldb,
                        const void *beta, void *c, const int32_t *ldc)
{
    const double scale = *(const double *)alpha, keep = *(const double *)beta;
    for (int32_t j = 0; j < *n; j++)
        for (int32_t i = 0; i < *m; i++) {
            double sum = 0, *at = (double *)c + i + j * *ldc;
            for (int32_t l = 0; l < *k; l++)
                sum += ((const double *)a)[check_at(*ta, i, l, *lda)] * ((const double *)b)[check_at(*tb, l, j, *ldb)];
            *at = scale * sum + (keep == 0 ? 0 : keep * *at);
        }
}

static void run(int mode, int outer_mode)
{
    enum { N = 2, NN = N * N };
    const int32_t n = N;
    double alpha = 0, dalpha = 0, a[NN], b[NN], c[NN] = {0}, da[NN], db[NN] = {0}, dc[NN];
    blasad_tape *outer = blasad_tape_open(outer_mode), *inner = blasad_tape_new(mode, 0);
    for (int i = 0; i < NN; i++)
        a[i] = i % 2 ? (double)INFINITY : (double)-INFINITY, b[i] = (double)INFINITY, da[i] = dc[i] = i + 1;
    CHECK_OK(blasad_duplicated(outer, &alpha, &dalpha, sizeof alpha));
    CHECK_OK(blasad_duplicated(inner, a, da, sizeof a));
    CHECK_OK(blasad_duplicated(inner, b, db, sizeof b));
    CHECK_OK(blasad_duplicated(inner, c, dc, sizeof c));
    CHECK_OK(blasad_tape_start(inner));
    ((check_gemm)check_entry("dgemm_"))("N", "N", &n, &n, &n, &alpha, a, &n, b, &n, &(double){0.5}, c, &n);
    CHECK_OK(blasad_tape_close_recording(inner));
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(inner));
    for (int i = 0; i < NN; i++)
        CHECK(da[i] == i + 1 && db[i] == 0 && dc[i] == 0.5 * (i + 1), "%d: %g %g %g", i, da[i], db[i], dc[i]);
    CHECK_OK(blasad_tape_close_recording(outer));
    CHECK_OK(blasad_tape_free(inner));
    CHECK_OK(blasad_tape_free(outer));
}

int main(void)
{
    static const char *const names[] = {"sgemm", "dgemm", "cgemm", "zgemm", "isamax"};
    void *const functions[] = {naive_pointer((check_function)naive_sgemm), naive_pointer((check_function)eager_dgemm),
                               naive_pointer((check_function)naive_cgemm), naive_pointer((check_function)naive_zgemm),
                               naive_pointer((check_function)naive_isamax)};
    naive_backend(32);
    CHECK_OK(blasad_set_backend_functions("loops that always multiply", 5, names, functions));
    for (int mode = BLASAD_REVERSE; mode <= BLASAD_FORWARD; mode++)
        for (int outer = BLASAD_REVERSE; outer <= BLASAD_FORWARD; outer++)
            run(mode, outer);
    return check_end();
}
