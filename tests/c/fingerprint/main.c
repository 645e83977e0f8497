/* Fingerprints and content sums against a scalar restatement: runs of all short lengths, offsets, columns and strides,
 * both unit sizes, every set of instructions that the processor has; what has to change them does. Contract: 7. */
#include "../check.h"
#include "fingerprint.h"

enum { UNITS = 1600, MOST = 70, CHOICES = 2 };

static const char *const choice_name[CHOICES] = {"plain", "avx2"};
static const char *choice;

/* ---- restated */

static uint32_t print_by_hand(const char *p, int shift)
{
    uint32_t half[2];
    memcpy(half, p, (size_t)1 << shift);
    return shift == 2 ? half[0] : half[1] ^ (uint32_t)((uint64_t)half[0] * 2654435761u);
}

static int64_t signed_half(uint32_t x) { return x < 32768 ? (int64_t)x : (int64_t)x - 65536; }

static uint64_t summand_by_hand(const char *p, int shift)
{
    const uint32_t print = print_by_hand(p, shift);
    uint32_t top;
    memcpy(&top, p + ((size_t)1 << shift) - 4, 4);
    uint32_t once = (uint32_t)(signed_half(print % 65536) * 27145 + signed_half(print / 65536) * 31153) ^ 3039394381u;
    once ^= once / 32768;
    const uint64_t x = (uint32_t)(signed_half(once % 65536) * 23521 + signed_half(once / 65536) * 28493);
    return x * ((x + top) & UINT32_MAX);
}

static uint64_t sum_by_hand(const bl_view *v, int width)
{
    uint64_t sum = 0;
    for (int64_t j = 0; j < v->columns; j++)
        for (int64_t at = 0; at < v->column; at += width)
            sum += summand_by_hand(v->base + j * v->stride + at, width == 8 ? 3 : 2);
    return sum;
}

/* ---- a region with room around its fingerprints, in which nothing may be written */

static char *memory;
static uint32_t prints[UNITS], wanted[UNITS];
static uint64_t stamped[UNITS / 64 + 1];

static bl_region region_of(int shift, bool duplicated)
{
    for (size_t i = 0; i < 8 * UNITS; i++)
        memory[i] = (char)check_bits();
    for (size_t i = 0; i < UNITS; i++)
        prints[i] = wanted[i] = (uint32_t)check_bits();
    memset(stamped, 0, sizeof stamped);
    return (bl_region){.lo = memory,
                       .hi = memory + ((size_t)UNITS << shift),
                       .shift = (uint8_t)shift,
                       .duplicated = duplicated,
                       .print = prints,
                       .stamped = stamped,
                       .label = "memory"};
}

static bl_view view_of(const bl_region *r, int64_t at, int64_t rows, int64_t columns, int64_t ld)
{
    return bl_view_of(r->lo + (at << r->shift), rows, columns, ld, (int64_t)1 << r->shift);
}

static bool in_view(const bl_view *v, const char *p)
{
    for (int64_t j = 0; j < v->columns; j++)
        if (p >= bl_view_column(v, j) && p < bl_view_column(v, j) + v->column)
            return true;
    return false;
}

static void flip(char *p, int bit) { p[bit / 8] = (char)(p[bit / 8] ^ 1 << bit % 8); }

/* Stamping writes v's fingerprints and no others; afterwards a bit anywhere in v is found where it is, and none
 * outside.
 */
static void stamps_and_notices(bl_region *r, const bl_view *v, int flips)
{
    const int bits = 8 << r->shift, width = 1 << r->shift;
    const int64_t rows = v->column >> r->shift;
    for (int64_t u = 0; u < UNITS; u++)
        if (in_view(v, r->lo + (u << r->shift)))
            wanted[u] = print_by_hand(r->lo + (u << r->shift), r->shift);
    const uint64_t sum = bl_prints_stamp(r, v);
    CHECK(memcmp(prints, wanted, sizeof prints) == 0, "%s: %lld x %lld by %lld, units of %d", choice, (long long)rows,
          (long long)v->columns, (long long)v->stride, width);
    CHECK(!bl_prints_differ(r, v) && !bl_prints_check(r, v), "%s: nothing changed", choice);
    CHECK(sum == sum_by_hand(v, width) && sum == bl_content_sum(v, width), "%s: %lld x %lld, width %d", choice,
          (long long)rows, (long long)v->columns, width);
    for (int k = 0; k < flips && v->columns; k++) {
        char *p = bl_view_column(v, check_below(v->columns)) + (check_below(rows) << r->shift);
        const int bit = (int)check_below(bits);
        flip(p, bit);
        const char *bad = bl_prints_check(r, v);
        CHECK(bad == p, "%s: unit %td is reported as %td", choice, p - r->lo, bad ? bad - r->lo : -1);
        CHECK(bl_content_sum(v, width) != sum, "%s: bit %d", choice, bit);
        flip(p, bit);
    }
    for (int k = 0; k < flips; k++) {
        char *p = r->lo + (check_below(UNITS) << r->shift);
        if (in_view(v, p))
            continue;
        flip(p, 0);
        CHECK(!bl_prints_check(r, v) && bl_content_sum(v, width) == sum, "%s: outside", choice);
        flip(p, 0);
    }
}

static void all_shapes(int shift)
{
    bl_region r = region_of(shift, true);
    for (int64_t n = 0; n <= MOST; n++) /* runs */
        for (int64_t at = 0; at <= 9; at++) {
            const bl_view v = view_of(&r, at, n, 1, n);
            stamps_and_notices(&r, &v, 3);
        }
    for (int64_t rows = 1; rows <= 20; rows++)
        for (int64_t columns = 1; columns <= 9; columns += columns < 3 ? 1 : 3)
            for (int64_t gap = 0; gap <= 9; gap += gap < 2 ? 1 : 4) {
                const bl_view v = view_of(&r, check_below(5), rows, columns, rows + gap);
                stamps_and_notices(&r, &v, 2);
            }
    const bl_view whole = bl_view_run(r.lo, (int64_t)UNITS << shift);
    stamps_and_notices(&r, &whole, 50);
}

/* Every bit of the unit at every position of runs of every length, by itself. */
static void every_bit(int shift)
{
    bl_region r = region_of(shift, true);
    for (int64_t n = 1; n <= MOST; n++) {
        const bl_view v = view_of(&r, 1, n, 1, n);
        bl_prints_stamp(&r, &v);
        for (int64_t u = 1; u <= n; u++)
            for (int bit = 0; bit < 8 << shift; bit++) {
                char *p = r.lo + (u << shift);
                flip(p, bit);
                const char *bad = bl_prints_check(&r, &v);
                CHECK(bad == p, "%s: bit %d of unit %lld of %lld", choice, bit, (long long)u, (long long)n);
                flip(p, bit);
            }
    }
}

/* Constant elements get fingerprints when first looked at, also piecemeal, and again after a recorded write. */
static void constants(int shift)
{
    bl_region r = region_of(shift, false);
    for (int repeat = 0; repeat < 300; repeat++) {
        const int64_t rows = 1 + check_below(30), columns = 1 + check_below(20), at = check_below(100);
        const bl_view v = view_of(&r, at, rows, columns, rows + check_below(40));
        CHECK(!bl_prints_check(&r, &v), "%s: new elements", choice);
        for (int64_t u = 0; u < UNITS; u++) {
            const char *p = r.lo + (u << shift);
            if (!(stamped[u / 64] >> u % 64 & 1))
                CHECK(!in_view(&v, p), "%s: %lld without a fingerprint", choice, (long long)u);
            else
                CHECK(prints[u] == print_by_hand(p, shift), "%s: %lld", choice, (long long)u);
        }
        char *p = bl_view_column(&v, check_below(v.columns)) + (check_below(v.column >> shift) << shift);
        flip(p, (int)check_below(8 << shift));
        CHECK(bl_prints_check(&r, &v) == p, "%s: changed constant", choice);
        const int64_t more = at ? check_below(at) : 0;
        const bl_view wider = bl_view_run(v.base - (more << shift), (more << shift) + (v.end - v.base));
        CHECK(bl_prints_check(&r, &wider) == p, "%s: changed constant among new elements", choice);
        bl_prints_drop(&r, &wider);
        CHECK(!bl_prints_check(&r, &wider), "%s: written by a recorded call", choice);
        if (check_below(3) == 0)
            bl_prints_drop(&r, &v);
    }
}

/* A duplicated region begins with the fingerprints of all its members; those that a part of it had stay. */
static void beginnings(int shift)
{
    uint64_t member[UNITS / 64 + 1] = {0};
    for (int64_t u = 0; u < UNITS; u++)
        member[u / 64] |= (uint64_t)(check_below(8) > 0) << u % 64;
    for (int holes = 0; holes < 2; holes++) {
        bl_region r = region_of(shift, true), part = r;
        part.lo += 100 << shift;
        part.hi = part.lo + (300 << shift);
        r.member = part.member = holes ? member : NULL;
        bool good = bl_prints_begin(&part);
        char *changed = part.lo + (5 << shift);
        flip(changed, 3);
        good &= bl_prints_begin(&r);
        CHECK(good, "memory");
        for (int64_t u = 0; u < UNITS; u++)
            if (!holes || (member[u / 64] >> u % 64 & 1))
                CHECK(r.print[u] == print_by_hand(r.lo + (u << shift), shift), "%s: member %lld", choice, (long long)u);
        CHECK(!bl_prints_check_bits(&r, member, 0, UNITS), "%s: nothing changed", choice);
        part.member = NULL;
        if (!holes) {
            bl_prints_inherit(&r, &part);
            const bl_view whole = bl_view_run(r.lo, (int64_t)UNITS << shift);
            CHECK(bl_prints_check(&r, &whole) == changed, "%s: changed before it was contained", choice);
        }
        free(r.print);
        free(r.seen);
        free(part.print);
        free(part.seen);
    }
}

/* Only the units that are asked for count. */
static void chosen_units(int shift)
{
    bl_region r = region_of(shift, true);
    const bl_view whole = bl_view_run(r.lo, (int64_t)UNITS << shift);
    bl_prints_stamp(&r, &whole);
    for (int repeat = 0; repeat < 300; repeat++) {
        uint64_t which[UNITS / 64 + 1];
        for (size_t i = 0; i < sizeof which / sizeof *which; i++)
            which[i] = repeat % 3 == 0 ? check_bits() : repeat % 3 == 1 ? check_bits() << 40 >> 13 : ~UINT64_C(0);
        const size_t from = (size_t)check_below(UNITS), to = from + (size_t)check_below((int64_t)(UNITS - from) + 1);
        CHECK(!bl_prints_check_bits(&r, which, from, to), "%s: nothing changed", choice);
        const size_t u = from + (size_t)check_below(90);
        if (u >= UNITS)
            continue;
        char *p = r.lo + (u << shift);
        flip(p, (int)check_below(8 << shift));
        const char *want = u < to && (which[u / 64] >> u % 64 & 1) ? p : NULL;
        CHECK(bl_prints_check_bits(&r, which, from, to) == want, "%s: unit %zu of %zu..%zu", choice, u, from, to);
        bl_prints_stamp(&r, &whole);
    }
}

/* ---- what programs do to doubles */

static uint32_t print_of_double(double x) { return bl_print_of((const char *)&x, 3); }

static double some_double(int kind)
{
    switch (kind) {
    case 0:
        return (double)check_below(1000) - 500;
    case 1:
        return (double)check_below(1000) / 100 - 5;
    case 2:
        return (float)check_uniform();
    case 3:
        return ldexp(check_uniform(), (int)check_below(40) - 20);
    default:
        return check_uniform();
    }
}

static void doubles(void)
{
    long missed = 0, pairs = 0;
    for (int repeat = 0; repeat < 200000; repeat++) {
        const double x = some_double(repeat % 5), y = some_double(repeat / 5 % 5);
        const double others[] = {nextafter(x, INFINITY),
                                 nextafter(x, -INFINITY),
                                 -x,
                                 2 * x,
                                 x / 2,
                                 1 - x,
                                 x + 1,
                                 fmax(x, 0),
                                 x * x,
                                 (double)(float)x,
                                 3 * x,
                                 y};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (memcmp(&x, &others[i], sizeof x) != 0) {
                pairs++;
                missed += print_of_double(x) == print_of_double(others[i]);
            }
    }
    CHECK(missed == 0, "%ld of %ld changes of doubles", missed, pairs); /* expected by chance: 5e-4 */
    CHECK(print_of_double(0.0) != print_of_double(-0.0), "signs of zeros");
}

/* ---- sums */

static void permutations(int width)
{
    for (int repeat = 0; repeat < 2000; repeat++) {
        const int64_t n = 2 + check_below(MOST);
        char *x = memory, *y = memory + MOST * 64;
        for (int64_t i = 0; i < n * width; i++)
            x[i] = (char)check_bits();
        memcpy(y, x, (size_t)(n * width));
        for (int64_t i = n; i-- > 1;) { /* Fisher and Yates */
            char *a = y + i * width, *b = y + check_below(i + 1) * width, t[8];
            memcpy(t, a, (size_t)width);
            memmove(a, b, (size_t)width);
            memcpy(b, t, (size_t)width);
        }
        const bl_view vx = bl_view_run(x, n * width), vy = bl_view_run(y, n * width);
        const uint64_t sum = bl_content_sum(&vx, width);
        CHECK(bl_content_sum(&vy, width) == sum, "%s: %lld numbers in another order", choice, (long long)n);
        flip(y + check_below(n) * width, (int)check_below(8 * width));
        CHECK(bl_content_sum(&vy, width) != sum, "%s: one of %lld changed", choice, (long long)n);
        memcpy(y, x, (size_t)(n * width));
        flip(y, width * 8 - 1); /* two changes that cancel in a plain sum, if the numbers were alike */
        memcpy(y + (n - 1) * width, x, (size_t)width);
        CHECK(bl_content_sum(&vy, width) != sum, "%s: two of %lld changed", choice, (long long)n);
    }
    /* a matrix and its transpose, one with holes */
    enum { M = 13, N = 7, LD = 17 };
    char *a = memory, *b = memory + M * N * 8;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            const uint64_t bits = check_bits();
            memcpy(a + (i + j * M) * width, &bits, (size_t)width);
            memcpy(b + (j + i * LD) * width, &bits, (size_t)width);
        }
    const bl_view va = bl_view_of(a, M, N, M, width), vb = bl_view_of(b, N, M, LD, width);
    CHECK(bl_content_sum(&va, width) == bl_content_sum(&vb, width), "%s: transposed", choice);
    const bl_view none = bl_view_run(a, 0);
    CHECK(bl_content_sum(&none, width) == 0, "%s: nothing", choice);
}

/* The sum of a matrix is the sum of those of its blocks. */
static void parts(int width)
{
    for (int repeat = 0; repeat < 2000; repeat++) {
        const int64_t m = 1 + check_below(20), n = 1 + check_below(20), ld = m + check_below(5);
        const int64_t i = check_below(m + 1), j = check_below(n + 1);
        char *a = memory + check_below(100) * width, *right = a + j * ld * width;
        const bl_view whole = bl_view_of(a, m, n, ld, width);
        const bl_view block[4] = {bl_view_of(a, i, j, ld, width), bl_view_of(a + i * width, m - i, j, ld, width),
                                  bl_view_of(right, i, n - j, ld, width),
                                  bl_view_of(right + i * width, m - i, n - j, ld, width)};
        uint64_t sum = 0;
        for (int k = 0; k < 4; k++)
            sum += bl_content_sum(&block[k], width);
        CHECK(sum == bl_content_sum(&whole, width), "%s: %lld x %lld at %lld, %lld", choice, (long long)m, (long long)n,
              (long long)i, (long long)j);
    }
}

/* Sets of equal sums and sums of squares, {0 3 5 6} and {1 2 4 7} (Prouhet), of equal sums of cubes too, and sums of
 * exclusive ors, as arithmetic progressions in many places and of many steps: numbers in which mixing by few products
 * shows. No two differ by a multiple of 2^48 or by less. */
static void regular_numbers(int width)
{
    int near = 0;
    for (int step = 0; step < 50; step++)
        for (int start = 0; start < 2000; start++)
            for (int size = 8; size <= 16; size += 8) {
                uint64_t sum[2] = {0, 0};
                for (int i = 0; i < size; i++) {
                    const double d = ldexp((double)start + i - 500, step - 25);
                    const float f = (float)d;
                    const bl_view v = bl_view_run(width == 8 ? (void *)&d : (void *)&f, width);
                    sum[__builtin_popcount((unsigned)i) % 2] += bl_content_sum(&v, width);
                }
                const uint64_t difference = sum[0] - sum[1];
                near += difference << 16 == 0 || difference + (1 << 15) < 1 << 16;
            }
    CHECK(near == 0, "%s: %d sums of regular numbers agree", choice, near); /* expected: 1e-9 */
}

static int compare(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* All multisets of four small numbers: simple numbers, whose bits are few, in simple relations. No two sums agree, and
 * neither do 48 bits of them. */
static void small_numbers(int width)
{
    enum { VALUES = 40, SETS = VALUES * (VALUES + 1) * (VALUES + 2) / 6 * (VALUES + 3) / 4 };
    uint64_t *sums = malloc(SETS * sizeof *sums);
    if (!sums)
        exit(1);
    size_t n = 0;
    double d[4];
    float f[4];
    for (int i = 0; i < VALUES; i++)
        for (int j = i; j < VALUES; j++)
            for (int k = j; k < VALUES; k++)
                for (int l = k; l < VALUES; l++) {
                    const int set[4] = {i, j, k, l};
                    for (int s = 0; s < 4; s++)
                        d[s] = f[s] = (float)(set[s] - VALUES / 2) / 2;
                    const bl_view v = bl_view_run(width == 8 ? (void *)d : (void *)f, 4 * width);
                    sums[n++] = bl_content_sum(&v, width);
                }
    CHECK(n == SETS, "%zu sets", n);
    for (int shift = 0; shift <= 16; shift += 8) { /* bits 0..47, 8..55, 16..63 */
        uint64_t *part = malloc(SETS * sizeof *part);
        if (!part)
            exit(1);
        for (size_t i = 0; i < n; i++)
            part[i] = sums[i] << (16 - shift) >> 16;
        qsort(part, n, sizeof *part, compare);
        int equal = 0;
        for (size_t i = 1; i < n; i++)
            equal += part[i] == part[i - 1];
        free(part);
        CHECK(equal == 0, "%s: 48 bits from bit %d: %d of %zu agree", choice, shift, equal, n); /* expected: 3e-5 */
    }
    free(sums);
}

int main(void)
{
    memory = malloc(8 * UNITS); /* exactly: a sanitizer sees what reads beyond */
    if (!memory)
        return 1;
    for (int c = 0; c < CHOICES; c++) {
        choice = choice_name[c];
        if (!bl_prints_use((enum bl_prints_choice)c))
            continue; /* not on this processor */
        for (int shift = 2; shift <= 3; shift++) {
            all_shapes(shift);
            every_bit(shift);
            constants(shift);
            beginnings(shift);
            chosen_units(shift);
            permutations(1 << shift);
            parts(1 << shift);
            regular_numbers(1 << shift);
            small_numbers(1 << shift);
        }
    }
    doubles();
    free(memory);
    return check_end();
}
