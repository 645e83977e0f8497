/* Reverse mode through raw pointers, with nothing but the public interface: what dies is copied, seeds are consumed,
 * new seeds give new gradients, and every flag of every type has the derivative of the formula. Contract: 3, 4, 6. */
#include "../check.h"

typedef void (*dgemm)(const char *, const char *, const int32_t *, const int32_t *, const int32_t *, const double *,
                      const double *, const int32_t *, const double *, const int32_t *, const double *, double *,
                      const int32_t *);

enum { N = 3 };

/* R = A B, with a B that nobody declares and that is gone afterwards. */
static __attribute__((noinline)) void product_with_local(dgemm f, const double *a, double *r, double first)
{
    double b[N * N];
    const int32_t n = N;
    for (int i = 0; i < N * N; i++)
        b[i] = first + i;
    f("N", "N", &n, &n, &n, (const double[]){1}, a, &n, b, &n, (const double[]){0}, r, &n);
    for (int i = 0; i < N * N; i++)
        b[i] = NAN;
}

static __attribute__((noinline)) double trample(void)
{
    volatile double stack[512];
    for (int i = 0; i < 512; i++)
        stack[i] = NAN;
    return stack[0];
}

static void dying_operand(void)
{
    dgemm f = (dgemm)check_entry("dgemm_");
    double a[N * N], da[N * N] = {0}, r[N * N], dr[N * N], before[N * N], result[N * N];
    for (int i = 0; i < N * N; i++)
        a[i] = 1 + i;
    memcpy(before, a, sizeof a);
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, a, da, sizeof a));
    CHECK_OK(blasad_duplicated(t, r, dr, sizeof r));
    for (int repeat = 0; repeat < 10; repeat++) /* the gradient once, not ten times */
        product_with_local(f, a, r, 2);
    trample();
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK(blasad_tape_length(t) == 10);
    const size_t copies = blasad_tape_saved_bytes(t) / sizeof(double[N * N]); /* one for each place of B on the stack */
    CHECK(copies >= 1 && copies <= 10, "%zu", blasad_tape_saved_bytes(t));
    memcpy(result, r, sizeof r);
    const double seeds[] = {0.8, -3};
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < N * N; i++) {
            da[i] = s;
            dr[i] = seeds[s];
        }
        CHECK_OK(blasad_reverse(t));
        for (int l = 0; l < N; l++) {
            double sum = 0; /* dA_il = sum over j of G_ij B_lj */
            for (int j = 0; j < N; j++)
                sum += seeds[s] * (2 + l + j * N);
            for (int i = 0; i < N; i++) {
                CHECK(fabs(da[i + l * N] - s - sum) < 1e-12, "dA(%d, %d) = %g, not %g", i, l, da[i + l * N], s + sum);
                CHECK(dr[i + l * N] == 0, "the seed was not consumed");
            }
        }
        CHECK(memcmp(a, before, sizeof a) == 0 && memcmp(r, result, sizeof r) == 0, "primal memory was written");
    }
    CHECK_OK(blasad_tape_free(t));
}

/* A -> R -> A -> R with A's old contents needed, and a constant factor. */
static void chain(void)
{
    dgemm f = (dgemm)check_entry("dgemm_");
    const int32_t one = 1;
    double a = 3, da = 0, r = 5, dr = 0.8, b = 7;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &a, &da, sizeof a));
    CHECK_OK(blasad_duplicated(t, &r, &dr, sizeof r));
    CHECK_OK(blasad_const(t, &b, sizeof b));
    f("N", "N", &one, &one, &one, (const double[]){1}, &a, &one, &a, &one, (const double[]){0.5}, &r, &one);
    f("N", "N", &one, &one, &one, (const double[]){2}, &b, &one, &r, &one, (const double[]){0}, &a, &one);
    f("N", "N", &one, &one, &one, (const double[]){1}, &a, &one, &r, &one, (const double[]){0.25}, &r, &one);
    /* the last one aliases: it ends the recording, but not the program */
    CHECK_CODE(blasad_tape_close_recording(t), BLASAD_ALIAS, "shares elements");
    CHECK_OK(blasad_tape_free(t));

    a = 3, r = 5;
    t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &a, &da, sizeof a));
    CHECK_OK(blasad_duplicated(t, &r, &dr, sizeof r));
    CHECK_OK(blasad_const(t, &b, sizeof b));
    f("N", "N", &one, &one, &one, (const double[]){1}, &a, &one, &a, &one, (const double[]){0.5}, &r, &one);
    f("N", "N", &one, &one, &one, (const double[]){2}, &b, &one, &r, &one, (const double[]){0}, &a, &one);
    f("N", "N", &one, &one, &one, (const double[]){1}, &a, &one, &a, &one, (const double[]){0.25}, &r, &one);
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK_OK(blasad_reverse(t));
    /* r1 = a^2 + r/2 = 11.5; a1 = 14 r1 = 161; r2 = a1^2 + r1/4: dr2/dr1 = 2 a1 14 + 1/4, dr1/da = 2 a, dr1/dr = 1/2 */
    const double inner = 0.8 * (2 * 161 * 14 + 0.25);
    CHECK(fabs(da - inner * 6) < 1e-9 && fabs(dr - inner / 2) < 1e-9, "da = %.17g, dr = %.17g", da, dr);
    CHECK_OK(blasad_tape_free(t));
}

/* Clearing a seed is a store, and no product is made for alpha = 0: whatever the seed holds. */
static void seeds_of_any_kind(void)
{
    check_gemm f = (check_gemm)check_entry("dgemm_");
    const int32_t one = 1;
    const double seeds[] = {NAN, INFINITY, -0.0};
    for (int s = 0; s < 3; s++)
        for (int alpha = 0; alpha < 2; alpha++) {
            double a = 3, da = 5, r = 1, dr = seeds[s], factor = alpha;
            blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
            CHECK_OK(blasad_duplicated(t, &a, &da, sizeof a));
            CHECK_OK(blasad_duplicated(t, &r, &dr, sizeof r));
            f("N", "N", &one, &one, &one, &factor, &a, &one, &a, &one, (const double[]){0}, &r, &one);
            CHECK_OK(blasad_tape_close_recording(t));
            CHECK_OK(blasad_reverse(t));
            CHECK(dr == 0 && !signbit(dr), "seed %g, alpha %d: left %g", seeds[s], alpha, dr);
            CHECK(alpha ? isfinite(da) == isfinite(seeds[s]) : da == 5, "seed %g, alpha %d: %g", seeds[s], alpha, da);
            CHECK_OK(blasad_tape_free(t));
        }
}

enum { M = 3, COLS = 2, K = 4, LD = 5, ROOM = LD * LD };

static void fill(int type, void *x, int n)
{
    for (int i = 0; i < n; i++)
        check_set(type, x, i, CMPLXL(check_uniform(), check_uniform()));
}

typedef struct set {
    char a[ROOM * 16], b[ROOM * 16], c[ROOM * 16], alpha[16], beta[16];
} set;

static void one_combination(int type, char ta, char tb, check_number alpha, check_number beta, bool scalars)
{
    static set x, d, old, seed;
    const int32_t m = M, n = COLS, k = K, ld = LD;
    const size_t size = check_size[type], bytes = ROOM * size;
    fill(type, x.a, ROOM);
    fill(type, x.b, ROOM);
    fill(type, x.c, ROOM);
    check_set(type, x.alpha, 0, alpha);
    check_set(type, x.beta, 0, beta);
    alpha = check_get(type, x.alpha, 0);
    beta = check_get(type, x.beta, 0);
    old = x;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
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
    for (int round = 0; round < 2; round++) {
        fill(type, d.a, ROOM);
        fill(type, d.b, ROOM);
        fill(type, d.c, ROOM);
        fill(type, d.alpha, 1);
        fill(type, d.beta, 1);
        seed = d;
        static check_number da[ROOM], db[ROOM], dc[ROOM];
        check_number dalpha = check_get(type, seed.alpha, 0), dbeta = check_get(type, seed.beta, 0);
        for (int i = 0; i < ROOM; i++) {
            da[i] = check_get(type, seed.a, i);
            db[i] = check_get(type, seed.b, i);
            dc[i] = check_get(type, seed.c, i);
        }
        for (int i = 0; i < M; i++)
            for (int j = 0; j < COLS; j++) {
                const check_number g = check_get(type, seed.c, i + j * LD);
                for (int l = 0; l < K; l++) {
                    const int64_t ia = check_at(ta, i, l, LD), ib = check_at(tb, l, j, LD);
                    const check_number a = check_op(ta, check_get(type, old.a, ia));
                    const check_number b = check_op(tb, check_get(type, old.b, ib));
                    da[ia] += check_op(ta, conjl(alpha) * g * conjl(b));
                    db[ib] += check_op(tb, conjl(alpha) * conjl(a) * g);
                    if (scalars)
                        dalpha += conjl(a * b) * g;
                }
                if (scalars)
                    dbeta += conjl(check_get(type, old.c, i + j * LD)) * g;
                dc[i + j * LD] = conjl(beta) * g;
            }
        CHECK_OK(blasad_reverse(t));
        bool good = check_close(type, check_get(type, d.alpha, 0), dalpha) &&
                    check_close(type, check_get(type, d.beta, 0), dbeta);
        for (int i = 0; i < ROOM; i++) /* with what lies between the columns */
            good = good && check_close(type, check_get(type, d.a, i), da[i]) &&
                   check_close(type, check_get(type, d.b, i), db[i]) &&
                   check_close(type, check_get(type, d.c, i), dc[i]);
        CHECK(good, "type %d, op %c%c, alpha %Lg%+Lgi, beta %Lg%+Lgi, scalars %d, round %d", type, ta, tb,
              creall(alpha), cimagl(alpha), creall(beta), cimagl(beta), scalars, round);
        CHECK(memcmp(x.a, old.a, bytes) == 0 && memcmp(x.b, old.b, bytes) == 0, "an input was written");
    }
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    check_backend();
    dying_operand();
    chain();
    seeds_of_any_kind();
    const check_number factors[] = {0, 1, CMPLXL(-0.75, 0.5)};
    for (int type = 0; type < 4; type++)
        for (const char *ta = "NTC"; *ta; ta++)
            for (const char *tb = "NTC"; *tb; tb++)
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++) {
                        one_combination(type, *ta, *tb, factors[i], factors[j], false);
                        one_combination(type, *ta, *tb, factors[i], factors[j], true);
                    }
    return check_end();
}
