#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

bool bl_need_begin(bl_region *r)
{
    r->need = bl_region_units(r) <= 64 ? &r->need_small : calloc(bl_region_words(r), sizeof *r->need);
    return r->need != NULL;
}

/* Calls of `body` with each run [from, end) of needed units under v. */
#define EACH_NEEDED_RUN(r, v, body)                                                                                    \
    for (int64_t j = 0; j < (v)->columns; j++) {                                                                       \
        size_t first = bl_unit(r, bl_view_column(v, j)), last = first + ((size_t)(v)->column >> (r)->shift);           \
        for (size_t from = bl_bits_next((r)->need, first, last, 0); from < last;) {                                    \
            size_t end = bl_bits_next((r)->need, from, last, ~UINT64_C(0));                                            \
            body;                                                                                                      \
            from = bl_bits_next((r)->need, end, last, 0);                                                              \
        }                                                                                                              \
    }

bool bl_save_under(bl_arena *values, bl_region *r, const bl_view *v, bl_save **out, size_t *bytes)
{
    size_t runs = 0, units = 0;
    *out = NULL;
    if (!r->need)
        return true;
    EACH_NEEDED_RUN(r, v, (runs++, units += end - from))
    if (runs == 0)
        return true;
    bl_save *s = bl_arena_take(values, sizeof *s + runs * sizeof *s->run);
    char *to = s ? bl_arena_take(values, units << r->shift) : NULL;
    if (!to)
        return false;
    *s = (bl_save){NULL, r, 0, (void *)(s + 1), to};
    EACH_NEEDED_RUN(r, v, {
        memcpy(to, r->lo + (from << r->shift), (end - from) << r->shift);
        to += (end - from) << r->shift;
        s->run[s->runs].from = from;
        s->run[s->runs++].count = end - from;
        BL_EACH_WORD(from, end, r->need[word] &= ~mask)
    })
    r->saved_from = true;
    *bytes += units << r->shift;
    *out = s;
    return true;
}

/* ---- copies of undeclared memory */

static bool same_view(const bl_view *a, const bl_view *b)
{
    return a->base == b->base && a->column == b->column && a->stride == b->stride && a->columns == b->columns;
}

static size_t hash(const bl_view *v, size_t buckets)
{
    uint64_t h = (uint64_t)(uintptr_t)v->base;
    h = (h ^ (uint64_t)v->column) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ (uint64_t)v->stride ^ ((uint64_t)v->columns << 32)) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(h >> 20) & (buckets - 1);
}

static size_t bucket_of(const bl_copies *cs, const bl_view *v)
{
    size_t b = hash(v, cs->buckets);
    while (cs->bucket[b] && !same_view(&cs->copy[cs->bucket[b] - 1].of, v))
        b = (b + 1) & (cs->buckets - 1);
    return b;
}

static bool more_buckets(bl_copies *cs)
{
    if (cs->count * 2 < cs->buckets)
        return true;
    bl_copies larger = *cs;
    larger.buckets = cs->buckets ? cs->buckets * 2 : 64;
    larger.bucket = calloc(larger.buckets, sizeof *larger.bucket);
    if (!larger.bucket)
        return false;
    for (size_t i = 0; i < cs->count; i++) /* later copies of a view replace earlier ones */
        larger.bucket[bucket_of(&larger, &cs->copy[i].of)] = (uint32_t)i + 1;
    free(cs->bucket);
    *cs = larger;
    return true;
}

static bool unchanged(const bl_copy *c)
{
    for (int64_t j = 0; j < c->of.columns; j++)
        if (memcmp(c->values + j * c->of.column, bl_view_column(&c->of, j), (size_t)c->of.column) != 0)
            return false;
    return true;
}

bool bl_copy_of(bl_copies *cs, bl_arena *values, const bl_view *v, size_t call, size_t *index, size_t *bytes)
{
    if (!more_buckets(cs))
        return false;
    size_t b = bucket_of(cs, v);
    if (cs->bucket[b] && unchanged(&cs->copy[cs->bucket[b] - 1])) {
        *index = cs->bucket[b] - 1;
        return true;
    }
    char *to = bl_arena_take(values, (size_t)bl_view_bytes(v));
    if (!to || cs->count >= UINT32_MAX / 2 || !bl_grow(&cs->copy, &cs->capacity, cs->count, sizeof *cs->copy))
        return false;
    for (int64_t j = 0; j < v->columns; j++)
        memcpy(to + j * v->column, bl_view_column(v, j), (size_t)v->column);
    cs->copy[cs->count] = (bl_copy){*v, to, call};
    *index = cs->count++;
    cs->bucket[b] = (uint32_t)cs->count;
    *bytes += (size_t)bl_view_bytes(v);
    return true;
}

void bl_copies_free(bl_copies *cs)
{
    free(cs->copy);
    free(cs->bucket);
    *cs = (bl_copies){0};
}

/* ---- replay */

bool bl_mirror_begin(bl_region *r)
{
    size_t bytes = bl_region_words(r) * sizeof *r->moved;
    if (!r->moved)
        r->moved = malloc(bytes);
    if (!r->mirror)
        r->mirror = malloc((size_t)(r->hi - r->lo));
    if (!r->moved || !r->mirror)
        return false;
    memset(r->moved, 0, bytes);
    return true;
}

void bl_mirror_back(const bl_save *s)
{
    bl_region *r = s->region;
    const char *from = s->values;
    for (size_t i = 0; i < s->runs; i++) {
        size_t u = s->run[i].from, n = s->run[i].count;
        memcpy(r->mirror + (u << r->shift), from, n << r->shift);
        bl_bits_set(r->moved, u, u + n);
        from += n << r->shift;
    }
}

char *bl_mirror_value(bl_region *r, const bl_view *v)
{
    if (!r->saved_from)
        return v->base;
    bool some = false, all = true;
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)v->column >> r->shift);
        some |= bl_bits_next(r->moved, from, to, 0) != to;
        all &= bl_bits_next(r->moved, from, to, ~UINT64_C(0)) == to;
    }
    if (!some)
        return v->base;
    /* What was not moved has the same content now as then: completing the mirror with it is right until an earlier
     * write is passed, and that one lays what it saved on top. */
    for (int64_t j = 0; !all && j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)v->column >> r->shift);
        for (size_t u = bl_bits_next(r->moved, from, to, ~UINT64_C(0)); u < to;) {
            size_t end = bl_bits_next(r->moved, u, to, 0);
            memcpy(r->mirror + (u << r->shift), r->lo + (u << r->shift), (end - u) << r->shift);
            bl_bits_set(r->moved, u, end);
            u = bl_bits_next(r->moved, end, to, ~UINT64_C(0));
        }
    }
    return r->mirror + (v->base - r->lo);
}
