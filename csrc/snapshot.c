#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "window.h"

bool bl_need_begin(bl_region *r)
{
    r->need = bl_region_units(r) <= 64 ? &r->need_small : calloc(bl_region_words(r), sizeof *r->need);
    return r->need != NULL;
}

/* Calls of `body` with each run [from, end) of needed units under v. */
#define EACH_NEEDED_RUN(r, v, body)                                                                                    \
    for (int64_t j = 0; j < (v)->columns; j++) {                                                                       \
        size_t first = bl_unit(r, bl_view_column(v, j)), last = first + ((size_t)bl_column_bytes(v, j) >> (r)->shift); \
        for (size_t from = bl_bits_next((r)->need, first, last, 0); from < last;) {                                    \
            size_t end = bl_bits_next((r)->need, from, last, ~UINT64_C(0));                                            \
            body;                                                                                                      \
            from = bl_bits_next((r)->need, end, last, 0);                                                              \
        }                                                                                                              \
    }

static void copy(const bl_path *below, const bl_region *r, char *to, const char *from, size_t units)
{
    if (!below->below) {
        memcpy(to, from, units << r->shift);
        return;
    }
    /* units of bytes that turned out to be doubles go in pairs: an outer tape knows them as doubles */
    const bool pairs = r->width >> r->shift == 2 && units % 2 == 0;
    const int64_t m = (int64_t)units >> pairs;
    bl_mcopy(below, r->shift == 3 || pairs ? BL_D : BL_S, m, 1, (bl_matrix){(char *)(uintptr_t)from, m},
             (bl_matrix){to, m});
}

static bl_save *new_save(bl_arena *values, bl_region *r, size_t runs, size_t units)
{
    bl_save *s = bl_arena_take(values, sizeof *s + runs * sizeof *s->run);
    char *to = s && units ? bl_arena_take(values, units << r->shift) : NULL;
    if (!s || (units && !to))
        return NULL;
    *s = (bl_save){.region = r, .run = (void *)(s + 1), .values = to};
    return s;
}

bool bl_save_under(bl_arena *values, const bl_path *below, bl_region *r, const bl_view *v, bl_save **out)
{
    size_t runs = 0, units = 0;
    *out = NULL;
    if (!r->need)
        return true;
    EACH_NEEDED_RUN(r, v, (runs++, units += end - from))
    if (runs == 0)
        return true;
    bl_save *s = new_save(values, r, runs, units);
    if (!s)
        return false;
    char *to = s->values;
    EACH_NEEDED_RUN(r, v, {
        copy(below, r, to, r->lo + (from << r->shift), end - from);
        to += (end - from) << r->shift;
        s->run[s->runs].from = from;
        s->run[s->runs++].count = end - from;
        BL_EACH_WORD(from, end, r->need[word] &= ~mask)
    })
    r->saved_from = true;
    s->bytes = units << r->shift;
    *out = s;
    return true;
}

/* The next run of units in [*from, last) that were kept with other bytes; its end, *from = last if there is none. To an
 * outer tape equal bytes may have different derivatives, so under one whatever was kept before is another value. */
static size_t next_changed(const bl_region *r, bool nested, size_t *from, size_t last)
{
    const size_t width = (size_t)1 << r->shift;
    const ptrdiff_t kept = bl_source(r);
#define CHANGED(u)                                                                                                     \
    ((r->have[(u) / 64] >> (u) % 64 & 1) &&                                                                            \
     (nested || memcmp(r->lo + ((u) << r->shift), r->lo + ((u) << r->shift) + kept, width) != 0))
    size_t u = *from;
    while (u < last && !CHANGED(u))
        u++;
    *from = u;
    while (u < last && CHANGED(u))
        u++;
#undef CHANGED
    return u;
}

/* The units are kept already, with the bytes that they have now. */
static bool all_kept(const bl_region *r, size_t first, size_t last)
{
    char *at = r->lo + (first << r->shift);
    return bl_bits_next(r->have, first, last, ~UINT64_C(0)) == last &&
           memcmp(at, at + bl_source(r), (last - first) << r->shift) == 0;
}

bool bl_keep_read(bl_arena *values, const bl_path *below, bl_region *r, const bl_view *v, bl_save **out)
{
    *out = NULL;
    const size_t first = bl_unit(r, v->base), last = first + ((size_t)v->column >> r->shift);
    if (!bl_window_keep(r, first, last, values->spill))
        return false;
    const bool nested = below->below;
    if (!nested && all_kept(r, first, last))
        return true;
    size_t runs = 0, units = 0;
    for (size_t from = first, end; end = next_changed(r, nested, &from, last), from < last; from = end) {
        runs++;
        units += end - from;
    }
    bl_save *s = new_save(values, r, runs, units);
    if (!s)
        return false;
    s->by_read = true;
    const ptrdiff_t kept = bl_source(r);
    char *to = s->values;
    for (size_t from = first, end; end = next_changed(r, nested, &from, last), from < last; from = end) {
        char *at = r->lo + (from << r->shift);
        copy(below, r, to, at + kept, end - from);
        copy(below, r, at + kept, at, end - from);
        to += (end - from) << r->shift;
        s->run[s->runs].from = from;
        s->run[s->runs++].count = end - from;
        s->bytes += (end - from) << r->shift;
        r->saved_from = true;
    }
    for (size_t u = bl_bits_next(r->have, first, last, ~UINT64_C(0)), end; u < last;
         u = bl_bits_next(r->have, end, last, ~UINT64_C(0))) {
        end = bl_bits_next(r->have, u, last, 0);
        char *at = r->lo + (u << r->shift);
        copy(below, r, at + kept, at, end - u);
        bl_bits_set(r->have, u, end);
        s->bytes += (end - u) << r->shift;
    }
    *out = s;
    return true;
}

/* ---- replay */

bool bl_mirror_begin(bl_region *r)
{
    if (r->window)
        return bl_window_mirror(r);
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

void bl_mirror_back(const bl_path *below, const bl_save *s)
{
    bl_region *r = s->region;
    const char *from = s->values;
    for (size_t i = 0; i < s->runs; i++) {
        size_t u = s->run[i].from, n = s->run[i].count;
        copy(below, r, r->mirror + (u << r->shift), from, n);
        bl_bits_set(r->moved, u, u + n);
        from += n << r->shift;
    }
}

char *bl_mirror_value(const bl_path *below, bl_region *r, const bl_view *v)
{
    const ptrdiff_t source = bl_source(r);
    if (!r->saved_from)
        return v->base + source;
    bool some = false, all = true;
    for (int64_t j = 0; j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)bl_column_bytes(v, j) >> r->shift);
        some |= bl_bits_next(r->moved, from, to, 0) != to;
        all &= bl_bits_next(r->moved, from, to, ~UINT64_C(0)) == to;
    }
    if (!some)
        return v->base + source;
    /* What was not moved has the same content now as then: completing the mirror with it is right until an earlier
     * write is passed, and that one lays what it saved on top. */
    for (int64_t j = 0; !all && j < v->columns; j++) {
        size_t from = bl_unit(r, bl_view_column(v, j)), to = from + ((size_t)bl_column_bytes(v, j) >> r->shift);
        for (size_t u = bl_bits_next(r->moved, from, to, ~UINT64_C(0)); u < to;) {
            size_t end = bl_bits_next(r->moved, u, to, 0);
            copy(below, r, r->mirror + (u << r->shift), r->lo + (u << r->shift) + source, end - u);
            bl_bits_set(r->moved, u, end);
            u = bl_bits_next(r->moved, end, to, ~UINT64_C(0));
        }
    }
    return r->mirror + (v->base - r->lo);
}
