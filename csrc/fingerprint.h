/* Fingerprints: what the last recorded event left in each unit of a region, to notice writes that no hook saw. */
#ifndef BL_FINGERPRINT_H
#define BL_FINGERPRINT_H

#include "region.h"

/* Room for the fingerprints of a region; duplicated regions are stamped as a whole. False if memory is short. */
bool bl_prints_begin(bl_region *r);
/* A region takes the place of `part`, which lies in it and was stamped before: a write since then must not go
 * unnoticed. */
void bl_prints_inherit(bl_region *r, const bl_region *part);
/* Takes the fingerprints of v's elements, which r owns. Returns their bl_content_sum for numbers of a unit's width. */
static inline uint64_t bl_prints_stamp(bl_region *r, const bl_view *v);
/* The first element of v that changed since its last fingerprint, or NULL. Constant elements that have none get one. */
static inline char *bl_prints_check(bl_region *r, const bl_view *v);
/* The same for the units from..to-1 whose bit is set in `which`. */
char *bl_prints_check_bits(const bl_region *r, const uint64_t *which, size_t from, size_t to);
/* A recorded write to constant memory: the next needed read takes new fingerprints. */
void bl_prints_drop(bl_region *r, const bl_view *v);
/* A sum over the numbers of v, of `width` (4 or 8) bytes each, modulo 2^64: the same for views that hold the same
 * numbers in any order, and the sum of those of v's parts. Other numbers have another but by chance, below 2^-48. */
static inline uint64_t bl_content_sum(const bl_view *v, int width);

/* ---- the loops over units, by what the processor has */

typedef struct bl_prints_set {
    uint64_t (*stamp)(uint32_t *print, const char *p, size_t units, int shift);    /* returns the content sum */
    bool (*differ)(const uint32_t *print, const char *p, size_t units, int shift); /* some are not as stamped */
    uint64_t (*stamp_columns)(const bl_region *r, const bl_view *v);
    bool (*differ_columns)(const bl_region *r, const bl_view *v);
    uint64_t (*sum)(const bl_view *v, int width);
} bl_prints_set;

/* In use: the best there is, unless a test asks for another. */
extern bl_prints_set bl_prints;
enum bl_prints_choice { BL_PRINTS_PLAIN, BL_PRINTS_AVX2 };
bool bl_prints_use(enum bl_prints_choice which); /* false, and nothing done, if the processor lacks it */

static inline uint32_t bl_load4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t bl_load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* near 2^32 / golden ratio: products of small numbers lie far apart (Knuth, TAOCP 3, 6.4) */
#define BL_PRINT_FACTOR UINT32_C(0x9E3779B1)

/* 32 bits of a unit. Of 8 bytes, the lower half is multiplied by an odd number, which loses nothing, and the upper half
 * added bit by bit: what changes in one half only, a single bit for instance, always changes the print. 4 bytes are
 * their own: nothing can be missed. */
static inline uint32_t bl_print_of(const char *p, int shift)
{
    if (shift == 2)
        return bl_load4(p);
    const uint64_t x = bl_load8(p);
    return (uint32_t)(x >> 32) ^ (uint32_t)x * BL_PRINT_FACTOR;
}

/* Factors of the lower and the upper 16 bits, both signed, in two rounds; odd, below 2^15. */
enum { BL_SUM_LOW1 = 0x6A09, BL_SUM_HIGH1 = 0x79B1, BL_SUM_LOW2 = 0x5BE1, BL_SUM_HIGH2 = 0x6F4D };
#define BL_SUM_FLIP UINT32_C(0xB5297A4D)

static inline uint32_t bl_halves(uint32_t x, int32_t low, int32_t high)
{
    return (uint32_t)((int16_t)(x & 0xFFFF) * low + (int16_t)(x >> 16) * high);
}

/* What a number adds to content sums, by its print and its upper half (of 4 bytes: itself). The first round takes
 * simple numbers, whose few bits are at the top, to all bits; the fold before the second one keeps sums from
 * following sums of the numbers. Two prints that agree after both go with other upper halves. */
static inline uint64_t bl_summand(uint32_t print, uint32_t high)
{
    const uint32_t once = bl_halves(print, BL_SUM_LOW1, BL_SUM_HIGH1) ^ BL_SUM_FLIP;
    const uint32_t x = bl_halves(once ^ once >> 15, BL_SUM_LOW2, BL_SUM_HIGH2);
    return (uint64_t)x * (uint32_t)(x + high);
}

static inline uint64_t bl_summand_at(const char *p, int shift)
{
    return bl_summand(bl_print_of(p, shift), bl_load4(shift == 3 ? p + 4 : p));
}

static inline uint64_t bl_prints_stamp_run(bl_region *r, const char *base, size_t units)
{
    uint32_t *print = r->print + bl_unit(r, base);
    if (units != 1)
        return bl_prints.stamp(print, base, units, r->shift);
    *print = bl_print_of(base, r->shift);
    return bl_summand_at(base, r->shift);
}
static inline uint64_t bl_prints_stamp(bl_region *r, const bl_view *v)
{
    return v->columns != 1 ? bl_prints.stamp_columns(r, v)
                           : bl_prints_stamp_run(r, v->base, (size_t)v->column >> r->shift);
}

/* Whether some element of v, all of which have fingerprints, changed. */
static inline bool bl_prints_differ_run(const bl_region *r, const char *base, size_t units)
{
    const uint32_t *print = r->print + bl_unit(r, base);
    return units == 1 ? *print != bl_print_of(base, r->shift) : bl_prints.differ(print, base, units, r->shift);
}
static inline bool bl_prints_differ(const bl_region *r, const bl_view *v)
{
    return v->columns != 1 ? bl_prints.differ_columns(r, v)
                           : bl_prints_differ_run(r, v->base, (size_t)v->column >> r->shift);
}

char *bl_prints_search(bl_region *r, const bl_view *v); /* the long way of bl_prints_check */

static inline char *bl_prints_check(bl_region *r, const bl_view *v)
{
    return r->duplicated && !bl_prints_differ(r, v) ? NULL : bl_prints_search(r, v);
}

static inline uint64_t bl_content_sum(const bl_view *v, int width)
{
    if (v->columns == 1 && v->column == width)
        return bl_summand_at(v->base, width == 8 ? 3 : 2);
    return bl_prints.sum(v, width);
}

#endif
