/* Calls that return at once say nothing of memory: their operands may be NULL and their sizes anything, and they need
 * no room in a replay. Contract: 3, 4. */
#include "../naive.h"

#include <limits.h>

static double x = 3, dx, y, dy;

static blasad_tape *open_tape(void)
{
    dx = 0, dy = 0.8;
    blasad_tape *t = blasad_tape_open(BLASAD_REVERSE);
    CHECK_OK(blasad_duplicated(t, &x, &dx, sizeof x));
    CHECK_OK(blasad_duplicated(t, &y, &dy, sizeof y));
    return t;
}

static void square(void)
{
    const int32_t one = 1;
    ((check_gemm)check_entry("dgemm_"))("N", "N", &one, &one, &one, &(double){1}, &x, &one, &x, &one, &(double){0}, &y,
                                        &one);
}

static void end(blasad_tape *t, size_t length)
{
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK(blasad_tape_length(t) == length && blasad_tape_saved_bytes(t) == 0);
    CHECK_OK(blasad_reverse(t));
    CHECK(dx == 0.8 * 6 && dy == 0, "%g %g", dx, dy);
    CHECK_OK(blasad_tape_free(t));
}

/* Many calls with m, n or both 0 around one that does something: of NULL, and of the largest sizes. */
static void nothing_to_do(int32_t m, int32_t n, int32_t k, bool null)
{
    void *p = null ? NULL : &x;
    const int32_t ld = INT_MAX;
    const double number[2] = {1, 0};
    for (int type = 0; type < 4; type++)
        for (const char *ta = "NTC"; *ta; ta++)
            for (const char *tb = "NTC"; *tb; tb++) {
                check_gemm f = (check_gemm)check_entry(check_gemm_name[type]);
                blasad_tape *t = open_tape();
                for (int i = 0; i < 10; i++) {
                    f(ta, tb, &m, &n, &k, number, p, &ld, p, &ld, number, p, &ld);
                    if (i == 1)
                        square();
                }
                end(t, 11);
            }
}

/* alpha = 0 leaves A and B unread, whatever they are. */
static void no_product(void)
{
    const int32_t one = 1, many = INT_MAX;
    blasad_tape *t = open_tape();
    double z = 5, dz = 1;
    CHECK_OK(blasad_duplicated(t, &z, &dz, sizeof z));
    square();
    for (int i = 0; i < 10; i++)
        ((check_gemm)check_entry("dgemm_"))("N", "T", &one, &one, &many, &(double){0}, NULL, &many, NULL, &many,
                                            &(double){0.5}, &z, &many);
    end(t, 11);
    CHECK(z == 5. / 1024 && dz == 1. / 1024, "%g %g", z, dz);
}

/* Inactive calls need no workspace either: the product of two constants, of sizes that no reverse pass can copy. */
static void nothing_active(void)
{
    const int32_t none = 0, many = 1 << 20;
    const double number[2] = {1, 0};
    blasad_tape *t = open_tape();
    square();
    ((check_gemm)check_entry("zgemm_"))("N", "T", &many, &none, &many, number, &x, &many, &x, &many, number, &x, &many);
    end(t, 2);
}

int main(void)
{
    naive_backend(32);
    nothing_active();
    nothing_to_do(0, 0, 0, true);
    nothing_to_do(0, 2, 3, true);
    nothing_to_do(2, 0, 3, true);
    nothing_to_do(INT_MAX, 0, INT_MAX, false);
    nothing_to_do(0, INT_MAX, INT_MAX, false);
    no_product();
    return check_end();
}
