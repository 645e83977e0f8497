/* Numbers that routines return: in registers and through a hidden pointer, whatever the BLAS behind does; cells that
 * outlive the tape that made them; seeds; and the quotient of the norm's rule, with both derivatives. Contract: 8, 10.
 */
#include "../naive.h"

#include "access_norms.h"
#include "blas.h"
#include "kernels.h"

typedef double _Complex (*dotu_registers)(const int32_t *, const double _Complex *, const int32_t *,
                                          const double _Complex *, const int32_t *);
typedef double (*dot_function)(const int32_t *, const double *, const int32_t *, const double *, const int32_t *);

static double _Complex dotu(const int32_t *n, const double _Complex *x, const int32_t *incx, const double _Complex *y,
                            const int32_t *incy)
{
    double _Complex sum = 0;
    for (int32_t i = 0; i < *n; i++)
        sum += x[i * *incx] * y[i * *incy];
    return sum;
}
static void dotu_hidden(double _Complex *result, const int32_t *n, const double _Complex *x, const int32_t *incx,
                        const double _Complex *y, const int32_t *incy)
{
    *result = dotu(n, x, incx, y, incy);
}
static double dot(const int32_t *n, const double *x, const int32_t *incx, const double *y, const int32_t *incy)
{
    double sum = 0;
    for (int32_t i = 0; i < *n; i++)
        sum += x[i * *incx] * y[i * *incy];
    return sum;
}

static const int32_t two = 2, one = 1;
static double _Complex x[2], y[2], dx[2];

static blasad_tape *opened(int mode)
{
    for (int i = 0; i < 2; i++) {
        x[i] = CMPLX(i + 1, 2);
        y[i] = CMPLX(3, -i);
        dx[i] = mode == BLASAD_FORWARD;
    }
    blasad_tape *t = blasad_tape_open(mode);
    CHECK_OK(blasad_duplicated(t, x, dx, sizeof x));
    CHECK_OK(blasad_const(t, y, sizeof y));
    return t;
}

/* x y = (1 + 2i) 3 + (2 + 2i) (3 - i) */
static const double _Complex product = CMPLX(11, 10);

static void gradient_is_right(blasad_tape *t)
{
    double _Complex seed = CMPLX(0, 1);
    void *shadow = &seed;
    blasad_number number;
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_returned(t, 0, &number));
    CHECK(number.type == BLASAD_COMPLEX_DOUBLE && number.active && number.shadows == 1);
    CHECK(number.value[0] == creal(product) && number.value[1] == cimag(product));
    CHECK_OK(blasad_returned_shadow(t, 0, &shadow));
    for (int again = 0; again < 2; again++) {
        seed = CMPLX(0, 1);
        dx[0] = dx[1] = 0;
        CHECK_OK(blasad_reverse(t));
        CHECK(dx[0] == CMPLX(0, 1) * conj(y[0]) && dx[1] == CMPLX(0, 1) * conj(y[1]) && seed == 0);
    }
    CHECK_OK(blasad_tape_free(t));
}

static void every_convention(void)
{
    const char *const names[] = {"sgemm", "dgemm", "cgemm", "zgemm", "isamax", "zdotu", "ddot"};
    for (int hidden = 0; hidden < 2; hidden++) {
        void *functions[7];
        check_function all[] = {
            (check_function)naive_sgemm,  (check_function)naive_dgemm,
            (check_function)naive_cgemm,  (check_function)naive_zgemm,
            (check_function)naive_isamax, hidden ? (check_function)dotu_hidden : (check_function)dotu,
            (check_function)dot};
        memcpy(functions, all, sizeof functions);
        int bits, registers;
        CHECK_OK(blasad_set_backend_functions("plain loops", 7, names, functions));
        CHECK(blasad_backend(&bits, &registers) && registers == !hidden);
        /* blasad's own name returns it in registers */
        const dotu_registers f = (dotu_registers)check_entry("zdotu_");
        blasad_tape *t = opened(BLASAD_REVERSE);
        CHECK(f(&two, x, &one, y, &one) == product);
        gradient_is_right(t);
        CHECK(f(&two, x, &one, y, &one) == product, "without a tape");
    }
}

/* An inner tape goes, with its cells' owner, before the outer one is replayed. */
static void cells_outlive_their_tape(void)
{
    const dot_function f = (dot_function)check_entry("ddot_");
    double u[2] = {2, 3}, du[2] = {0}, seed[600];
    void *shadow[1];
    blasad_tape *outer = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(outer, u, du, sizeof u));
    for (int k = 0; k < 2; k++) {
        blasad_tape *inner = blasad_tape_open(BLASAD_REVERSE);
        for (int i = 0; i < 300; i++)
            CHECK(f(&two, u, &one, u, &one) == 13);
        CHECK_OK(blasad_tape_close_recording(inner));
        CHECK_OK(blasad_tape_free(inner));
    }
    CHECK_CODE(blasad_returned_shadow(outer, 0, shadow), BLASAD_TAPE, "still records");
    CHECK_OK(blasad_tape_close_recording(outer));
    for (size_t i = 0, k = 0; i < blasad_tape_length(outer); i++) {
        blasad_number number;
        if (blasad_returned(outer, i, &number) != BLASAD_OK)
            continue; /* an end of the inner tape's memory */
        CHECK(number.value[0] == 13 && number.type == BLASAD_DOUBLE);
        seed[k] = 1;
        shadow[0] = &seed[k++];
        CHECK_OK(blasad_returned_shadow(outer, i, shadow));
        CHECK(k <= 600);
    }
    CHECK_OK(blasad_reverse(outer));
    CHECK(du[0] == 600 * 4 && du[1] == 600 * 6, "%g %g", du[0], du[1]);
    size_t index;
    CHECK_OK(blasad_returned_find(outer, 13, 0, &index));
    CHECK_CODE(blasad_returned_find(outer, 14, 0, &index), BLASAD_TAPE, "no recorded call returned");
    CHECK_CODE(blasad_returned(outer, 1 << 20, &(blasad_number){0}), BLASAD_VALUE, "of a tape of");
    CHECK_OK(blasad_tape_free(outer));
}

static void quotients(void)
{
    char work[3 * NORM_ROOM];
    for (int zero = 0; zero < 2; zero++)
        for (int active = 1; active < 4; active++) {
            double a = 3, b = zero ? 0 : 4, c = NAN, da = 5, db = 7, dc = NAN;
            const bl_path nowhere = {0};
            bl_quot(&nowhere, BL_D, &a, &b, &c);
            CHECK(c == (zero ? 0 : 0.75));
            const bl_call call = {
                .routine = BL_QUOT, .type = BL_D, .size = 8, .width = 8, .operand = {{&a, 1}, {&b, 1}, {&c, 1}}};
            bl_site s = {.call = &call,
                         .shadow = {active & 1 ? &da : NULL, active & 2 ? &db : NULL, &dc},
                         .shadow_ld = {1, 1, 1},
                         .work = work};
            const double want = zero ? 0 : ((active & 1 ? 5 : 0) - (active & 2 ? 0.75 * 7 : 0)) / 4;
            bl_quot_tangent(&s);
            CHECK(dc == want, "%g, not %g", dc, want);
            dc = 8;
            bl_quot_adjoint(&s);
            CHECK(da == (!zero && (active & 1) ? 7 : 5) && db == (!zero && (active & 2) ? 7 - 1.5 : 7) && dc == 0);
        }
    const double v[3] = {-2, 0, NAN};
    double sign[3] = {9, 9, 9};
    bl_vsign(&(bl_path){0}, BL_D, 3, (bl_matrix){(void *)(uintptr_t)v, 1}, (bl_matrix){sign, 1});
    CHECK(sign[0] == -1 && sign[1] == 0 && isnan(sign[2]));
}

int main(void)
{
    every_convention();
    cells_outlive_their_tape();
    quotients();
    return check_end();
}
