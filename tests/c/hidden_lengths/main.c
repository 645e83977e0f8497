/* Callers of Fortran routines pass the lengths of the flags, or do not: an entry reads no more arguments than all of
 * them pass, and never writes to the stack behind those, which holds locals of its caller. Contract: 11 (recording
 * never disturbs the program). */
#include "../check.h"

#define ARGUMENTS                                                                                                      \
    const char *, const char *, const int32_t *, const int32_t *, const int32_t *, const double *, const double *,     \
        const int32_t *, const double *, const int32_t *, const double *, double *, const int32_t *
typedef void (*without)(ARGUMENTS);
typedef void (*with)(ARGUMENTS, size_t, size_t);

enum { N = 2, CALLS = 200, GUARDS = 24 };

/* Not instrumented: the sanitizer would move the locals away from the arguments. `i` and `sum` live in the frame too.
 */
#define CALLER(name, type, ...)                                                                                        \
    __attribute__((noinline, no_sanitize("address"))) static void name(type f, const double *a, const double *b,       \
                                                                       double *c)                                      \
    {                                                                                                                  \
        volatile uint64_t guard[GUARDS];                                                                               \
        volatile int i;                                                                                                \
        volatile double sum = 0;                                                                                       \
        const int32_t n = N;                                                                                           \
        const double one = 1, zero = 0;                                                                                \
        for (int g = 0; g < GUARDS; g++)                                                                               \
            guard[g] = UINT64_C(0x5ca1ab1e00000000) + (uint64_t)g;                                                     \
        for (i = 0; i < CALLS; i++) {                                                                                  \
            const int before = i;                                                                                      \
            f("N", "T", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n __VA_ARGS__);                                     \
            CHECK(i == before && n == N && one == 1 && zero == 0, "a local changed in call %d", before);               \
            sum += c[0];                                                                                               \
            for (int g = 0; g < GUARDS; g++)                                                                           \
                CHECK(guard[g] == UINT64_C(0x5ca1ab1e00000000) + (uint64_t)g, "guard %d in call %d", g, before);       \
        }                                                                                                              \
        CHECK(sum == CALLS * (1. * 5 + 3 * 7), "sum %g", sum);                                                         \
    }

CALLER(call_without, without, )
CALLER(call_with, with, , 1, 1)

int main(void)
{
    check_backend();
    const double a[N * N] = {1, 2, 3, 4}, b[N * N] = {5, 6, 7, 8};
    double c[N * N], da[N * N] = {0}, dc[N * N] = {0};
    const char *const names[] = {"dgemm_", "scipy_dgemm_"};
    for (int k = 0; k < 2; k++) {
        check_function f = check_entry(names[k]);
        call_without((without)f, a, b, c); /* straight through */
        call_with((with)f, a, b, c);
        for (int mode = BLASAD_REVERSE; mode <= BLASAD_FORWARD; mode++)
            for (int options = 0; options <= BLASAD_NO_VERIFY; options++) {
                blasad_tape *t = blasad_tape_new(mode, options);
                CHECK_OK(blasad_duplicated(t, (void *)(uintptr_t)a, da, sizeof a));
                CHECK_OK(blasad_duplicated(t, c, dc, sizeof c));
                CHECK_OK(blasad_tape_start(t));
                call_without((without)f, a, b, c);
                call_with((with)f, a, b, c);
                CHECK_OK(blasad_tape_close_recording(t));
                CHECK(blasad_tape_length(t) == 2 * CALLS);
                if (mode == BLASAD_REVERSE)
                    CHECK_OK(blasad_reverse(t));
                CHECK_OK(blasad_tape_free(t));
            }
    }
    return check_end();
}
