#include "fingerprint.h"

#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#    include <immintrin.h>
#endif

/* ---- in C, as the compiler vectorises it */

static inline uint64_t add_run_plain(uint64_t sum, bool stamp, uint32_t *restrict print, const char *p, size_t n,
                                     int shift)
{
    for (size_t i = 0; i < n; i++, p += 1 << shift) {
        if (stamp)
            print[i] = bl_print_of(p, shift);
        sum += bl_summand_at(p, shift);
    }
    return sum;
}

static inline uint64_t total_plain(uint64_t sum) { return sum; }

static inline uint32_t differ_run_plain(uint32_t d, const uint32_t *print, const char *p, size_t n, int shift)
{
    for (size_t i = 0; i < n; i++)
        d |= print[i] ^ bl_print_of(p + (i << shift), shift);
    return d;
}

static inline bool differs_plain(uint32_t d) { return d; }

#define NAME(x) x##_plain
#define TARGET
#define DIFF uint32_t
#define SUM uint64_t
#include "fingerprint.inc.c"

/* ---- AVX2: the last units of a run are done again with some before them, and not one by one */

#ifdef __x86_64__
#    define AVX2 __attribute__((target("avx2")))

/* Prints, not yet in the order of the units, and what bl_summand wants beside them. */
typedef struct eight {
    __m256i print, high;
} eight;

typedef struct four {
    __m128i print, high;
} four;

AVX2 static inline eight load_eight(const char *p, int shift)
{
    const __m256i a = _mm256_loadu_si256((const __m256i *)p);
    if (shift == 2)
        return (eight){a, a};
    const __m256 fa = _mm256_castsi256_ps(a), fb = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)p + 1));
    const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0x88)); /* units 0 1 4 5, 2 3 6 7 */
    const __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0xDD));
    const __m256i y = _mm256_mullo_epi32(low, _mm256_set1_epi32((int)BL_PRINT_FACTOR));
    return (eight){_mm256_xor_si256(high, y), high};
}

/* From the order of load_eight to that of the units, and back. */
AVX2 static inline __m256i reorder(__m256i x, int shift) { return shift == 3 ? _mm256_permute4x64_epi64(x, 0xD8) : x; }

AVX2 static inline __m256i eight_prints(const char *p, int shift) { return reorder(load_eight(p, shift).print, shift); }

AVX2 static inline four load_four(const char *p, int shift)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)p);
    if (shift == 2)
        return (four){a, a};
    const __m128 fa = _mm_castsi128_ps(a), fb = _mm_castsi128_ps(_mm_loadu_si128((const __m128i *)p + 1));
    const __m128i low = _mm_castps_si128(_mm_shuffle_ps(fa, fb, 0x88));
    const __m128i high = _mm_castps_si128(_mm_shuffle_ps(fa, fb, 0xDD));
    const __m128i y = _mm_mullo_epi32(low, _mm_set1_epi32((int)BL_PRINT_FACTOR));
    return (four){_mm_xor_si128(high, y), high};
}

/* bl_summand of each print that `keep` has all bits of, added in four places. */
AVX2 static inline __m256i add_eight(__m256i sum, eight u, __m256i keep)
{
    const __m256i first = _mm256_set1_epi32(BL_SUM_HIGH1 << 16 | BL_SUM_LOW1);
    const __m256i second = _mm256_set1_epi32(BL_SUM_HIGH2 << 16 | BL_SUM_LOW2);
    const __m256i once = _mm256_xor_si256(_mm256_madd_epi16(u.print, first), _mm256_set1_epi32((int)BL_SUM_FLIP));
    const __m256i folded = _mm256_xor_si256(once, _mm256_srli_epi32(once, 15));
    const __m256i x = _mm256_and_si256(_mm256_madd_epi16(folded, second), keep);
    const __m256i y = _mm256_add_epi32(x, u.high);
    const __m256i x1 = _mm256_srli_epi64(x, 32), y1 = _mm256_srli_epi64(y, 32);
    sum = _mm256_add_epi64(sum, _mm256_mul_epu32(x, y));
    return _mm256_add_epi64(sum, _mm256_mul_epu32(x1, y1));
}

AVX2 static inline __m256i add_four(__m256i sum, four u, __m128i keep)
{
    const eight wide = {_mm256_castsi128_si256(u.print), _mm256_castsi128_si256(u.high)};
    return add_eight(sum, wide, _mm256_zextsi128_si256(keep));
}

/* Read from keep_last + n % 8: all bits of the last n % 8 of eight. */
static const int32_t keep_last[16] = {0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};

AVX2 static inline __m256i add_run_avx2(__m256i sum, bool stamp, uint32_t *print, const char *p, size_t n, int shift)
{
    if (n >= 8) {
        const __m256i all = _mm256_set1_epi32(-1);
        for (size_t i = 0; i + 8 <= n; i += 8) {
            const eight u = load_eight(p + (i << shift), shift);
            if (stamp)
                _mm256_storeu_si256((__m256i *)(print + i), reorder(u.print, shift));
            sum = add_eight(sum, u, all);
        }
        if (n % 8) {
            const eight u = load_eight(p + ((n - 8) << shift), shift);
            const __m256i keep = _mm256_loadu_si256((const __m256i *)(keep_last + n % 8));
            if (stamp)
                _mm256_storeu_si256((__m256i *)(print + n - 8), reorder(u.print, shift));
            sum = add_eight(sum, u, reorder(keep, shift));
        }
    } else if (n >= 4) {
        const four u = load_four(p, shift), w = load_four(p + ((n - 4) << shift), shift);
        if (stamp) {
            _mm_storeu_si128((__m128i *)print, u.print);
            _mm_storeu_si128((__m128i *)(print + n - 4), w.print);
        }
        sum = add_four(sum, u, _mm_set1_epi32(-1));
        sum = add_four(sum, w, _mm_loadu_si128((const __m128i *)(keep_last + n)));
    } else {
        uint64_t few = 0;
        for (size_t i = 0; i < n; i++, p += 1 << shift) {
            if (stamp)
                print[i] = bl_print_of(p, shift);
            few += bl_summand_at(p, shift);
        }
        sum = _mm256_add_epi64(sum, _mm256_set_epi64x(0, 0, 0, (int64_t)few));
    }
    return sum;
}

AVX2 static inline uint64_t total_avx2(__m256i sum)
{
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return (uint64_t)_mm_cvtsi128_si64(two) + (uint64_t)_mm_extract_epi64(two, 1);
}

AVX2 static inline __m256i or_eight(__m256i d, const uint32_t *print, const char *p, int shift)
{
    const __m256i old = _mm256_loadu_si256((const __m256i *)print);
    return _mm256_or_si256(d, _mm256_xor_si256(old, eight_prints(p, shift)));
}

AVX2 static inline __m128i xor_four(const uint32_t *print, const char *p, int shift)
{
    return _mm_xor_si128(_mm_loadu_si128((const __m128i *)print), load_four(p, shift).print);
}

AVX2 static inline __m256i differ_run_avx2(__m256i d, const uint32_t *print, const char *p, size_t n, int shift)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 <= n; i += 8)
            d = or_eight(d, print + i, p + (i << shift), shift);
        return n % 8 ? or_eight(d, print + n - 8, p + ((n - 8) << shift), shift) : d;
    }
    if (n >= 4) {
        const __m128i a = xor_four(print, p, shift);
        const __m128i b = xor_four(print + n - 4, p + ((n - 4) << shift), shift);
        return _mm256_or_si256(d, _mm256_set_m128i(a, b));
    }
    uint32_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= print[i] ^ bl_print_of(p + (i << shift), shift);
    return _mm256_or_si256(d, _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, (int)x));
}

AVX2 static inline bool differs_avx2(__m256i d) { return !_mm256_testz_si256(d, d); }

#    define NAME(x) x##_avx2
#    define TARGET AVX2
#    define DIFF __m256i
#    define SUM __m256i
#    include "fingerprint.inc.c"
#endif

/* ---- which of them */

#define SET(x) ((bl_prints_set){stamp_##x, differ_##x, stamp_columns_##x, differ_columns_##x, sum_##x})

bl_prints_set bl_prints = {stamp_plain, differ_plain, stamp_columns_plain, differ_columns_plain, sum_plain};

bool bl_prints_use(enum bl_prints_choice which)
{
    if (which == BL_PRINTS_PLAIN)
        bl_prints = SET(plain);
#ifdef __x86_64__
    else if (__builtin_cpu_supports("avx2"))
        bl_prints = SET(avx2);
#endif
    else
        return false;
    return true;
}

__attribute__((constructor)) static void choose(void) { bl_prints_use(BL_PRINTS_AVX2); }

/* ---- regions */

static void stamp(bl_region *r, size_t from, size_t to)
{
    bl_prints.stamp(r->print + from, r->lo + (from << r->shift), to - from, r->shift);
}

/* The first of the units from..to-1 that changed, or NULL. */
static char *changed(const bl_region *r, size_t from, size_t to)
{
    char *p = r->lo + (from << r->shift);
    const uint32_t *print = r->print + from;
    if (!bl_prints.differ(print, p, to - from, r->shift))
        return NULL;
    while (*print == bl_print_of(p, r->shift))
        print++, p += 1 << r->shift;
    return p;
}

bool bl_prints_begin(bl_region *r)
{
    size_t units = bl_region_units(r);
    r->print = malloc(units * sizeof *r->print);
    r->seen = calloc(bl_region_words(r), sizeof *r->seen);
    r->stamped = r->duplicated ? NULL : calloc(bl_region_words(r), sizeof *r->stamped);
    if (!r->print || !r->seen || !(r->duplicated || r->stamped))
        return false; /* the region's owner frees what there is */
    for (size_t u = 0; r->duplicated && u < units;) {
        const size_t from = r->member ? bl_bits_next(r->member, u, units, 0) : 0;
        u = r->member ? bl_bits_next(r->member, from, units, ~UINT64_C(0)) : units;
        stamp(r, from, u);
    }
    return true;
}

void bl_prints_inherit(bl_region *r, const bl_region *part)
{
    const size_t units = bl_region_units(part), at = bl_unit(r, part->lo);
    if (!part->print || !part->duplicated || r->shift != part->shift)
        return;
    for (size_t u = 0; u < units; u++)
        if (!part->member || (part->member[u / 64] >> u % 64 & 1))
            r->print[at + u] = part->print[u];
}

/* Constant elements without fingerprints get them. Returns how many. */
static size_t stamp_new(bl_region *r, const bl_view *v)
{
    size_t count = 0;
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t start = bl_unit(r, bl_view_column(v, j)),
                     end = start + ((size_t)bl_column_bytes(v, j) >> r->shift);
        for (size_t u = bl_bits_next(r->stamped, start, end, ~UINT64_C(0)); u < end;) {
            const size_t to = bl_bits_next(r->stamped, u, end, 0);
            stamp(r, u, to);
            bl_bits_set(r->stamped, u, to);
            count += to - u;
            u = bl_bits_next(r->stamped, to, end, ~UINT64_C(0));
        }
    }
    return count;
}

char *bl_prints_search(bl_region *r, const bl_view *v)
{
    if (!r->duplicated && (stamp_new(r, v) == (size_t)bl_view_bytes(v) >> r->shift || !bl_prints_differ(r, v)))
        return NULL;
    char *bad = NULL;
    for (int64_t j = 0; j < v->columns && !bad; j++) {
        const size_t from = bl_unit(r, bl_view_column(v, j));
        bad = changed(r, from, from + ((size_t)bl_column_bytes(v, j) >> r->shift));
    }
    return bad;
}

static bool all_set(const uint64_t *bits, size_t from, size_t to)
{
    const size_t last = (to - 1) / 64;
    size_t word = from / 64;
    if (word == last)
        return !(~bits[word] & bl_mask(from % 64, to - word * 64));
    if (~bits[word] & bl_mask(from % 64, 64))
        return false;
    while (++word < last)
        if (~bits[word])
            return false;
    return !(~bits[last] & bl_mask(0, to - last * 64));
}

char *bl_prints_check_bits(const bl_region *r, const uint64_t *which, size_t from, size_t to)
{
    if (from >= to)
        return NULL;
    if (all_set(which, from, to)) /* most often */
        return changed(r, from, to);
    char *bad = NULL;
    for (size_t u = bl_bits_next(which, from, to, 0); u < to && !bad;) {
        const size_t end = bl_bits_next(which, u, to, ~UINT64_C(0));
        bad = changed(r, u, end);
        u = bl_bits_next(which, end, to, 0);
    }
    return bad;
}

void bl_prints_drop(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)bl_column_bytes(v, j) >> r->shift);
        BL_EACH_WORD(from, to, r->stamped[word] &= ~mask)
    }
}
