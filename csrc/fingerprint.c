#include "fingerprint.h"

#include <stdlib.h>
#include <string.h>

/* 32 bits of a product with an odd constant (Knuth, TAOCP 3, 6.4: Fibonacci hashing). A change of any single bit moves
 * the product by that bit times the constant, which reaches the upper half whichever bit it is. */
static inline uint32_t print8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return (uint32_t)((x * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* Four bytes are their own fingerprint: nothing can be missed. */
static inline uint32_t print4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t print_of(const bl_region *r, size_t u)
{
    const char *p = r->lo + (u << r->shift);
    return r->shift == 3 ? print8(p) : print4(p);
}

static void stamp(bl_region *r, size_t from, size_t to)
{
    const char *p = r->lo + (from << r->shift);
    if (r->shift == 3)
        for (size_t u = from; u < to; u++, p += 8)
            r->print[u] = print8(p);
    else
        for (size_t u = from; u < to; u++, p += 4)
            r->print[u] = print4(p);
}

/* The first of the units from..to-1 that changed, else to. */
static size_t changed(const bl_region *r, size_t from, size_t to)
{
    const char *p = r->lo + (from << r->shift);
    uint32_t any = 0;
    if (r->shift == 3)
        for (size_t u = from; u < to; u++, p += 8)
            any |= r->print[u] ^ print8(p);
    else
        for (size_t u = from; u < to; u++, p += 4)
            any |= r->print[u] ^ print4(p);
    while (any && r->print[from] == print_of(r, from))
        from++;
    return any ? from : to;
}

bool bl_prints_begin(bl_region *r)
{
    size_t units = bl_region_units(r);
    r->print = malloc(units * sizeof *r->print);
    r->seen = calloc(bl_region_words(r), sizeof *r->seen);
    r->stamped = r->duplicated ? NULL : calloc(bl_region_words(r), sizeof *r->stamped);
    if (!r->print || !r->seen || !(r->duplicated || r->stamped))
        return false; /* the region's owner frees what there is */
    if (r->duplicated && !r->member)
        stamp(r, 0, units);
    else if (r->duplicated)
        for (size_t u = bl_bits_next(r->member, 0, units, 0); u < units;) {
            size_t end = bl_bits_next(r->member, u, units, ~UINT64_C(0));
            stamp(r, u, end);
            u = bl_bits_next(r->member, end, units, 0);
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

void bl_prints_stamp(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j));
        stamp(r, from, from + ((size_t)v->column >> r->shift));
    }
}

char *bl_prints_check(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)v->column >> r->shift);
        if (r->duplicated) {
            size_t u = changed(r, from, to);
            if (u < to)
                return r->lo + (u << r->shift);
            continue;
        }
        while (from < to) { /* runs with and without fingerprints */
            size_t fresh = bl_bits_next(r->stamped, from, to, 0);
            stamp(r, from, fresh);
            bl_bits_set(r->stamped, from, fresh);
            size_t end = bl_bits_next(r->stamped, fresh, to, ~UINT64_C(0));
            size_t u = changed(r, fresh, end);
            if (u < end)
                return r->lo + (u << r->shift);
            from = end;
        }
    }
    return NULL;
}

char *bl_prints_check_bits(const bl_region *r, const uint64_t *which, size_t from, size_t to)
{
    for (size_t u = bl_bits_next(which, from, to, 0); u < to;) {
        size_t end = bl_bits_next(which, u, to, ~UINT64_C(0)), bad = changed(r, u, end);
        if (bad < end)
            return r->lo + (bad << r->shift);
        u = bl_bits_next(which, end, to, 0);
    }
    return NULL;
}

void bl_prints_drop(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)v->column >> r->shift);
        BL_EACH_WORD(from, to, r->stamped[word] &= ~mask)
    }
}
