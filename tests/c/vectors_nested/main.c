/* Level 1 on an inner tape, whose derivatives an outer one records: the rules' own calls are legal and differentiated
 * right whatever the increments. Each call is bilinear, so that differences are exact. Contract: 4, 10. */
#include "../check.h"

enum { ROOM = 24, SCAL = 3, SAME, ROUTINES };

typedef void two_vectors(const int32_t *, const double *, const int32_t *, double *, const int32_t *);
typedef void scaled(const int32_t *, const double *, double *, const int32_t *);
typedef void added(const int32_t *, const double *, const double *, const int32_t *, double *, const int32_t *);

static const char *const name[ROUTINES] = {"dswap_", "dcopy_", "daxpy_", "dscal_", "daxpy_"};

/* All that the inner derivative depends on and changes: alpha, x, y and their shadows (or tangents). */
typedef struct state {
    double alpha, x[ROOM], y[ROOM], dalpha, dx[ROOM], dy[ROOM];
} state;

enum { NUMBERS = sizeof(state) / sizeof(double) };

static void call(int routine, const state *s, int32_t n, int32_t incx, int32_t incy)
{
    double *x = (double *)(uintptr_t)s->x, *y = (double *)(uintptr_t)s->y;
    check_function f = check_entry(name[routine]);
    if (routine < 2)
        ((two_vectors *)f)(&n, x, &incx, y, &incy);
    else if (routine != SCAL) /* SAME: y <- y + alpha y */
        ((added *)f)(&n, &s->alpha, routine == SAME ? y : x, routine == SAME ? &incy : &incx, y, &incy);
    else
        ((scaled *)f)(&n, &s->alpha, y, &incy);
}

static void inner(int mode, int routine, state *s, int32_t n, int32_t incx, int32_t incy)
{
    blasad_tape *t = blasad_tape_new(mode, 0);
    CHECK_OK(blasad_duplicated(t, &s->alpha, &s->dalpha, sizeof s->alpha));
    CHECK_OK(blasad_duplicated(t, s->x, s->dx, sizeof s->x));
    CHECK_OK(blasad_duplicated(t, s->y, s->dy, sizeof s->y));
    CHECK_OK(blasad_tape_start(t));
    call(routine, s, n, incx, incy);
    CHECK_OK(blasad_tape_close_recording(t));
    if (mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    CHECK_OK(blasad_tape_free(t));
}

static double small(void) { return (double)(check_below(17) - 8) / 4; }

/* The outer derivative of the inner one, against differences: the Jacobian of all numbers by all. */
static void nested(int mode, int outer_mode, int routine, int32_t n, int32_t incx, int32_t incy)
{
    static state s, ds, seed, first, moved;
    double *number = (double *)&s, *d = (double *)&ds, *seeds = (double *)&seed;
    static double jacobian[NUMBERS][NUMBERS]; /* by the number that moves */
    for (int i = 0; i < NUMBERS; i++) {
        number[i] = small();
        d[i] = seeds[i] = small();
    }
    if (check_below(3) == 0)
        s.alpha = (double)check_below(2);
    const state start = s;
    first = start;
    inner(mode, routine, &first, n, incx, incy);
    for (int i = 0; i < NUMBERS; i++) {
        double up[NUMBERS], down[NUMBERS];
        moved = start;
        ((double *)&moved)[i] += 0.25; /* quadratic terms cancel */
        inner(mode, routine, &moved, n, incx, incy);
        memcpy(up, &moved, sizeof up);
        moved = start;
        ((double *)&moved)[i] -= 0.25;
        inner(mode, routine, &moved, n, incx, incy);
        memcpy(down, &moved, sizeof down);
        for (int k = 0; k < NUMBERS; k++)
            jacobian[i][k] = (up[k] - down[k]) * 2;
    }
    blasad_tape *t = blasad_tape_new(outer_mode, 0);
    CHECK_OK(blasad_duplicated(t, &s, &ds, sizeof s));
    CHECK_OK(blasad_tape_start(t));
    inner(mode, routine, &s, n, incx, incy);
    CHECK(memcmp(&s, &first, sizeof s) == 0, "the outer tape disturbs");
    CHECK_OK(blasad_tape_close_recording(t));
    if (outer_mode == BLASAD_REVERSE)
        CHECK_OK(blasad_reverse(t));
    CHECK_OK(blasad_tape_free(t));
    for (int i = 0; i < NUMBERS; i++) {
        double want = 0;
        for (int k = 0; k < NUMBERS; k++)
            want += outer_mode == BLASAD_REVERSE ? jacobian[i][k] * seeds[k] : jacobian[k][i] * seeds[k];
        CHECK(d[i] == want, "%s, modes %d in %d, n = %d, increments %d %d, alpha %g, number %d: %g, not %g",
              name[routine], mode, outer_mode, n, incx, incy, start.alpha, i, d[i], want);
    }
}

int main(void)
{
    static const int32_t sizes[] = {0, 1, 2, 5}, increments[] = {1, 2, -1, -3, 0};
    check_backend();
    for (int i = 0; i < 4 * ROUTINES * 100 && check_failures < 10; i++) {
        const int modes = i % 4, routine = i / 4 % ROUTINES, at = i / 4 / ROUTINES;
        const int32_t n = sizes[at / 25], incx = increments[at / 5 % 5], incy = increments[at % 5];
        if (n > 1 && routine != SCAL && (incy == 0 || (incx == 0 && routine == 0))) /* illegal */
            continue;
        if (routine < SCAL || incx == 1) /* the others have no x */
            nested(modes % 2, modes / 2, routine, n, incx, incy);
    }
    return check_end();
}
