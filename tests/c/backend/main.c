/* A BLAS is asked how wide its integers are and how it returns complex numbers without a call that it could find fault
 * with; one that cannot be asked, or lacks a routine, is refused, and what served before still does. Contract: 4. */
#include "../naive.h"

#include <unistd.h>

static int asked_width, asked_complex;

static int32_t isamax(const int32_t *n, const float *x, const int32_t *inc)
{
    asked_width++;
    return naive_isamax(n, x, inc);
}
static int64_t isamax_64(const int64_t *n, const float *x, const int64_t *inc)
{
    asked_width++;
    return naive_isamax_64(n, x, inc);
}

#define ZDOTU(name, integer)                                                                                           \
    static double _Complex dot_##name(const integer *n, const double _Complex *x, const integer *incx,                 \
                                      const double _Complex *y, const integer *incy)                                   \
    {                                                                                                                  \
        double _Complex sum = 0;                                                                                       \
        asked_complex++;                                                                                               \
        for (integer i = 0; i < *n; i++)                                                                               \
            sum += x[i * *incx] * y[i * *incy];                                                                        \
        return sum;                                                                                                    \
    }                                                                                                                  \
    static void dot_hidden_##name(double _Complex *result, const integer *n, const double _Complex *x,                 \
                                  const integer *incx, const double _Complex *y, const integer *incy)                  \
    {                                                                                                                  \
        *result = dot_##name(n, x, incx, y, incy);                                                                     \
    }
ZDOTU(narrow, int32_t)
ZDOTU(wide, int64_t)

static const char *const names[] = {"sgemm", "dgemm", "cgemm", "zgemm", "isamax", "zdotu"};
static void *narrow[6], *wide[6];

static void products(const char *name, int bits)
{
    const int32_t n = 2;
    const int64_t n_64 = 2;
    const double one = 1, zero = 0;
    double a[4] = {1, 2, 3, 4}, da[4] = {0}, b[4] = {1, 1, 0, 1}, c[4], dc[4] = {1, 0, 0, 0};
    for (int taped = 0; taped < 2; taped++) {
        const int before = naive_calls;
        blasad_tape *t = NULL;
        if (taped) {
            t = blasad_tape_open(BLASAD_REVERSE);
            CHECK_OK(blasad_duplicated(t, a, da, sizeof a));
            CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
        }
        c[0] = 0;
        check_function f = check_entry(name);
        if (strstr(name, "cblas"))
            ((void (*)(int, int, int, int64_t, int64_t, int64_t, double, double *, int64_t, double *, int64_t, double,
                       double *, int64_t))f)(102, 111, 111, n_64, n_64, n_64, one, a, n_64, b, n_64, zero, c, n_64);
        else if (bits == 32)
            ((check_gemm)f)("n", "n", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
        else
            ((void (*)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *, const double *,
                       double *, const int64_t *, double *, const int64_t *, const double *, double *,
                       const int64_t *))f)("n", "n", &n_64, &n_64, &n_64, &one, a, &n_64, b, &n_64, &zero, c, &n_64);
        CHECK(c[0] == 4 && c[1] == 6 && c[2] == 3 && c[3] == 4, "%s: %g %g %g %g", name, c[0], c[1], c[2], c[3]);
        CHECK(naive_calls == before + 1, "%s made %d calls", name, naive_calls - before);
        if (taped) {
            CHECK_OK(blasad_tape_close_recording(t));
            CHECK_OK(blasad_reverse(t));
            CHECK(da[0] == 1 && da[1] == 0 && da[2] == 1 && da[3] == 0 && dc[0] == 0, "%s: %g %g", name, da[0], da[2]);
            CHECK_OK(blasad_tape_free(t));
        }
    }
}

static void probe(void *const *functions, int count, int bits, int registers, const char *label)
{
    asked_width = asked_complex = 0;
    const int products_before = naive_calls;
    CHECK_OK(blasad_set_backend_functions(label, count, names, functions));
    CHECK(asked_width == 1 && asked_complex <= 1 && naive_calls == products_before, "%s: asked %d, %d times", label,
          asked_width, asked_complex);
    int got_bits = -1, got_registers = -1;
    const char *got = blasad_backend(&got_bits, &got_registers);
    CHECK(got && strcmp(got, label) == 0 && got_bits == bits && got_registers == registers, "%s: %s, %d, %d", label,
          got, got_bits, got_registers);
    /* any name leads to it, whatever the width and the convention that it has itself */
    products("dgemm_", 32);
    products("dgemm_64_", 64);
    products("scipy_dgemm_", 32);
    products("cblas_dgemm", 32);
    products("cblas_dgemm64_", 64);
}

static void refused(void)
{
    void *functions[6];
    int bits, registers;
    CHECK_CODE(blasad_set_backend_functions("no isamax", 4, names, narrow), BLASAD_BACKEND, "no isamax");
    for (int missing = 0; missing < 4; missing++) {
        memcpy(functions, narrow, sizeof functions);
        functions[missing] = NULL;
        CHECK_CODE(blasad_set_backend_functions("incomplete", 6, names, functions), BLASAD_BACKEND, names[missing]);
    }
    CHECK_CODE(blasad_set_backend_functions("nothing", 0, names, narrow), BLASAD_BACKEND, "sgemm");
    CHECK(strcmp(blasad_backend(&bits, &registers), "last") == 0, "%s", blasad_backend(&bits, &registers));
    products("dgemm_", 32);
}

/* Nothing that the real BLAS prints, as its xerbla does. */
static void silent(void)
{
    fflush(NULL);
    FILE *kept = tmpfile();
    const int out = dup(1), err = dup(2);
    CHECK(kept && dup2(fileno(kept), 1) == 1 && dup2(fileno(kept), 2) == 2);
    check_backend();
    fflush(NULL);
    const off_t printed = lseek(fileno(kept), 0, SEEK_END);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    fclose(kept);
    CHECK(printed == 0, "probing the BLAS printed %lld bytes", (long long)printed);
    int bits = 0, registers;
    CHECK(blasad_backend(&bits, &registers) && (bits == 32 || bits == 64));
}

int main(void)
{
    int bits, registers;
    CHECK(blasad_backend(&bits, &registers) == NULL, "nothing was set");
    check_function n[] = {(check_function)naive_sgemm, (check_function)naive_dgemm, (check_function)naive_cgemm,
                          (check_function)naive_zgemm, (check_function)isamax,      (check_function)dot_narrow};
    check_function w[] = {(check_function)naive_sgemm_64, (check_function)naive_dgemm_64,
                          (check_function)naive_cgemm_64, (check_function)naive_zgemm_64,
                          (check_function)isamax_64,      (check_function)dot_wide};
    for (int i = 0; i < 6; i++) {
        narrow[i] = naive_pointer(n[i]);
        wide[i] = naive_pointer(w[i]);
    }
    probe(narrow, 5, 32, 0, "narrow, complex unknown");
    probe(wide, 5, 64, 0, "wide, complex unknown");
    probe(narrow, 6, 32, 1, "narrow, complex in registers");
    probe(wide, 6, 64, 1, "wide, complex in registers");
    narrow[5] = naive_pointer((check_function)dot_hidden_narrow);
    wide[5] = naive_pointer((check_function)dot_hidden_wide);
    probe(wide, 6, 64, 0, "wide, complex through a pointer");
    probe(narrow, 6, 32, 0, "last");
    refused();

    CHECK(blasad_name_count() > 0);
    for (int i = 0; i < blasad_name_count(); i++)
        CHECK(blasad_address(blasad_name(i)), "%s", blasad_name(i));

    silent(); /* what is chosen goes before what is given as functions, and gives way to it again */
    const int before = naive_calls;
    const double one = 1;
    const int32_t n1 = 1;
    double c = 0;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &n1, &n1, &n1, &one, &one, &n1, &one, &n1, &one, &c, &n1);
    CHECK(c == 1 && naive_calls == before);
    CHECK_OK(blasad_set_backend(NULL));
    products("dgemm_", 32);
    return check_end();
}
