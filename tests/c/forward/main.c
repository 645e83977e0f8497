/* Forward mode: tangents are the formula's for every flag of every type, shadows of inputs stay, and the old tangent is
 * not read where beta is 0. Contract: 2, 4. */
#include "../check.h"

enum { M = 3, N = 2, K = 4, LD = 5, ROOM = LD * LD };

typedef struct set {
    char a[ROOM * 16], b[ROOM * 16], c[ROOM * 16], alpha[16], beta[16];
} set;

static void fill(int type, set *s)
{
    char *const arrays[] = {s->a, s->b, s->c};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < ROOM; i++)
            check_set(type, arrays[k], i, CMPLXL(check_uniform(), check_uniform()));
    check_set(type, s->alpha, 0, CMPLXL(check_uniform(), check_uniform()));
    check_set(type, s->beta, 0, CMPLXL(check_uniform(), check_uniform()));
}

static void one_combination(int type, char ta, char tb, check_number alpha, check_number beta, bool scalars)
{
    static set x, d, old, tangent;
    const int32_t m = M, n = N, k = K, ld = LD;
    const size_t size = check_size[type], bytes = ROOM * size;
    fill(type, &x);
    fill(type, &d);
    check_set(type, x.alpha, 0, alpha);
    check_set(type, x.beta, 0, beta);
    alpha = check_get(type, x.alpha, 0);
    beta = check_get(type, x.beta, 0);
    if (beta == 0)
        for (int i = 0; i < M; i++)
            check_set(type, d.c, i, CMPLXL(NAN, NAN)); /* column 0 of dC */
    old = x;
    tangent = d;
    blasad_tape *t = blasad_tape_open(BLASAD_FORWARD);
    CHECK_OK(blasad_duplicated(t, x.a, d.a, bytes));
    CHECK_OK(blasad_duplicated(t, x.b, d.b, bytes));
    CHECK_OK(blasad_duplicated(t, x.c, d.c, bytes));
    if (scalars) {
        CHECK_OK(blasad_duplicated(t, x.alpha, d.alpha, size));
        CHECK_OK(blasad_duplicated(t, x.beta, d.beta, size));
    }
    ((check_gemm)check_entry(check_gemm_name[type]))(&ta, &tb, &m, &n, &k, x.alpha, x.a, &ld, x.b, &ld, x.beta, x.c,
                                                     &ld);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_CODE(blasad_reverse(t), BLASAD_TAPE, "forward");
    CHECK(blasad_tape_saved_bytes(t) == 0, "tangents need nothing later");
    CHECK_OK(blasad_tape_free(t));
    bool good = true;
    for (int j = 0; j < LD; j++)
        for (int i = 0; i < LD; i++) {
            check_number want = check_get(type, tangent.c, i + j * LD);
            if (i < M && j < N) {
                want = beta == 0 ? 0 : beta * want;
                if (scalars)
                    want += check_get(type, tangent.beta, 0) * check_get(type, old.c, i + j * LD);
                for (int l = 0; l < K; l++) {
                    const int64_t ia = check_at(ta, i, l, LD), ib = check_at(tb, l, j, LD);
                    const check_number a = check_op(ta, check_get(type, old.a, ia));
                    const check_number b = check_op(tb, check_get(type, old.b, ib));
                    want += alpha * (check_op(ta, check_get(type, tangent.a, ia)) * b +
                                     a * check_op(tb, check_get(type, tangent.b, ib)));
                    if (scalars)
                        want += check_get(type, tangent.alpha, 0) * a * b;
                }
            }
            good = good && check_close(type, check_get(type, d.c, i + j * LD), want);
        }
    CHECK(good, "type %d, op %c%c, alpha %Lg%+Lgi, beta %Lg%+Lgi, scalars %d", type, ta, tb, creall(alpha),
          cimagl(alpha), creall(beta), cimagl(beta), scalars);
    CHECK(memcmp(d.a, tangent.a, bytes) == 0 && memcmp(d.b, tangent.b, bytes) == 0 &&
              memcmp(d.alpha, tangent.alpha, size) == 0 && memcmp(d.beta, tangent.beta, size) == 0,
          "the shadow of an input was written");
}

/* x -> y -> x ...: every tangent is the one at its call, before the call changes the values. */
static void ping_pong(void)
{
    check_gemm f = (check_gemm)check_entry("dgemm_");
    const int32_t one = 1;
    double x = 0.9, dx = 1, y = 0, dy = 0, value = 0.9, slope = 1;
    blasad_tape *t = blasad_tape_open(BLASAD_FORWARD);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    for (int i = 0; i < 6; i++) {
        double *from = i % 2 ? &y : &x, *to = i % 2 ? &x : &y;
        f("N", "N", &one, &one, &one, &(double){1}, from, &one, from, &one, &(double){0}, to, &one);
        slope *= 2 * value;
        value *= value;
    }
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK(fabs(x - value) < 1e-14 && fabs(dx - slope) < 1e-13, "x = %.17g, dx = %.17g, not %.17g", x, dx, slope);
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    const check_number factors[] = {0, 1, CMPLXL(-0.75, 0.5)};
    for (int type = 0; type < 4; type++)
        for (const char *ta = "NTC"; *ta; ta++)
            for (const char *tb = "NTC"; *tb; tb++)
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++) {
                        one_combination(type, *ta, *tb, factors[i], factors[j], false);
                        one_combination(type, *ta, *tb, factors[i], factors[j], true);
                    }
    ping_pong();
    return check_end();
}
