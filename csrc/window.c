#include "window.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arena.h"
#include "tape.h"

/* ---- planes */

static size_t bits_bytes(const bl_region *r) { return BL_WINDOW >> r->shift >> 3; }
static size_t print_bytes(const bl_region *r) { return (BL_WINDOW >> r->shift) * sizeof *r->print; }

/* Planes of bits are sparse: a huge page for each touched byte would be a waste. */
static void *bits_plane(const bl_region *r)
{
    void *p = bl_plane(bits_bytes(r));
    if (p)
        madvise(p, bits_bytes(r), MADV_NOHUGEPAGE);
    return p;
}

bool bl_window_print(bl_region *r)
{
    if (!r->print && (r->print = bl_plane(print_bytes(r))))
        madvise(r->print, print_bytes(r), MADV_NOHUGEPAGE);
    return r->print != NULL;
}

static bool reserve(bl_region *r, size_t from, size_t to, const bl_spill *spill)
{
    const size_t first = from << r->shift >> 21, last = ((to << r->shift) - 1) >> 21;
    _Static_assert(BL_SPILL_BLOCK == 1 << 21, "the shift above");
    for (size_t b = first; b <= last; b++) {
        uint64_t *word = &r->reserved[b / 64], bit = UINT64_C(1) << b % 64;
        if (!(*word & bit) && !bl_spill_reserve(spill, r->offset + b * BL_SPILL_BLOCK, BL_SPILL_BLOCK))
            return false;
        *word |= bit;
    }
    return true;
}

bool bl_window_keep(bl_region *r, size_t from, size_t to, bl_spill *spill)
{
    if (!r->have)
        r->have = bits_plane(r);
    if (r->have && !r->kept && spill) {
        if (!r->reserved && !(r->reserved = calloc(BL_WINDOW / BL_SPILL_BLOCK / 64, sizeof *r->reserved)))
            return false;
        r->kept = bl_spill_map(spill, BL_WINDOW, BL_WINDOW, &r->offset);
    } else if (r->have && !r->kept) {
        r->kept = bl_plane(BL_WINDOW);
    }
    return r->kept && (!r->reserved || reserve(r, from, to, spill));
}

bool bl_window_mirror(bl_region *r)
{
    if (!r->moved)
        r->moved = bits_plane(r);
    else
        madvise(r->moved, bits_bytes(r), MADV_DONTNEED);
    if (r->moved && !r->mirror)
        r->mirror = bl_plane(BL_WINDOW);
    return r->mirror != NULL;
}

static char *new_shadow(char *old)
{
    if (!old)
        return bl_plane(BL_WINDOW);
    madvise(old, BL_WINDOW, MADV_DONTNEED);
    return old;
}

bool bl_window_shadows(bl_region *r, int batch)
{
    if (batch > 1 && !r->more && !(r->more = calloc((size_t)(batch - 1), sizeof *r->more)))
        return false;
    for (int k = 0; k < batch; k++) {
        ptrdiff_t *delta = k ? &r->more[k - 1] : &r->delta;
        char *shadow = new_shadow(*delta ? r->lo + *delta : NULL);
        if (!shadow)
            return false;
        *delta = shadow - r->lo;
        r->shadows = k + 1;
    }
    return true;
}

void bl_window_free(bl_region *r)
{
    for (int k = 0; k < r->shadows; k++)
        bl_plane_free(r->lo + bl_delta(r, k), BL_WINDOW);
    bl_plane_free(r->seen, bits_bytes(r));
    bl_plane_free(r->known, bits_bytes(r));
    bl_plane_free(r->live, bits_bytes(r));
    bl_plane_free(r->have, bits_bytes(r));
    bl_plane_free(r->moved, bits_bytes(r));
    bl_plane_free(r->print, print_bytes(r));
    bl_plane_free(r->kept, BL_WINDOW);
    bl_plane_free(r->mirror, BL_WINDOW);
    free(r->reserved);
    free(r->more);
    free(r->label);
    free(r);
}

/* ---- windows */

bl_region *bl_window_find(const bl_regions *rs, const char *p, int shift)
{
    for (size_t i = 0; i < rs->windows; i++) { /* heap, stack and a mapping or two */
        bl_region *r = rs->window[i];
        if ((size_t)(p - r->lo) < BL_WINDOW && p >= r->lo)
            return r->shift == shift ? r : r->twin;
    }
    return NULL;
}

bl_region *bl_window_make(bl_regions *rs, char *p, int shift)
{
    bl_region *r = bl_window_find(rs, p, shift), *twin = bl_window_find(rs, p, 5 - shift);
    if (r)
        return r;
    if (!bl_grow(&rs->region, &rs->capacity, rs->count, sizeof *rs->region) ||
        !bl_grow(&rs->window, &rs->window_capacity, rs->windows, sizeof *rs->window) || !(r = calloc(1, sizeof *r)))
        return NULL;
    r->window = true;
    r->lo = p - ((uintptr_t)p & (BL_WINDOW - 1));
    r->hi = r->lo + BL_WINDOW;
    r->shift = (uint8_t)shift;
    r->width = (uint8_t)(1 << shift);
    r->label = strdup("undeclared memory");
    r->seen = bits_plane(r);
    r->known = bits_plane(r);
    r->live = bits_plane(r);
    if (!r->label || !r->seen || !r->known || !r->live) {
        bl_window_free(r);
        return NULL;
    }
    r->twin = twin;
    if (twin)
        twin->twin = r;
    rs->region[rs->count++] = r;
    r->id = (uint32_t)rs->count;
    rs->window[rs->windows++] = r;
    return r;
}

bool bl_windows_seen(const bl_regions *rs, const bl_region *r)
{
    for (size_t i = 0; i < rs->windows; i++) {
        const bl_region *w = rs->window[i];
        char *lo = r->lo > w->lo ? r->lo : w->lo, *hi = r->hi < w->hi ? r->hi : w->hi;
        if (lo >= hi)
            continue;
        const size_t end = (size_t)(hi - 1 - w->lo) >> w->shift;
        for (size_t u = bl_bits_next(w->seen, bl_unit(w, lo), end + 1, 0); u <= end;
             u = bl_bits_next(w->seen, u + 1, end + 1, 0)) {
            const bl_view unit = bl_view_run(w->lo + (u << w->shift), (int64_t)1 << w->shift);
            if (bl_region_owned(r, &unit) > 0)
                return true;
        }
    }
    return false;
}

bool bl_windows_live(const bl_regions *rs, const bl_view *v)
{
    for (size_t i = 0; i < rs->windows; i++) {
        const bl_region *w = rs->window[i];
        if (!w->used_lo || v->end <= w->used_lo || v->base >= w->used_hi)
            continue;
        for (int64_t j = 0; j < v->columns; j++) {
            char *lo = bl_view_column(v, j), *hi = lo + bl_column_bytes(v, j);
            lo = lo > w->lo ? lo : w->lo;
            hi = hi < w->hi ? hi : w->hi;
            if (lo < hi && bl_live_any(w, bl_unit(w, lo), ((size_t)(hi - 1 - w->lo) >> w->shift) + 1))
                return true;
        }
    }
    return false;
}

bool bl_parts_next(bl_parts *x, bl_region **r, bl_view *part)
{
    const bl_view *v = x->view;
    if (x->column == v->columns || x->short_of)
        return false;
    char *lo = x->at, *hi = bl_view_column(v, x->column) + bl_column_bytes(v, x->column), *end;
    *r = bl_regions_owner(x->regions, lo, hi, &end);
    if (!*r) {
        char *border = lo - ((uintptr_t)lo & (BL_WINDOW - 1)) + BL_WINDOW;
        end = end < border ? end : border;
        *r = bl_window_find(x->regions, lo, x->shift);
        if (!*r && x->make) {
            bl_tapes_lock();
            *r = bl_window_make(x->regions, lo, x->shift);
            bl_tapes_unlock();
            if (!*r) {
                x->short_of = true;
                return false;
            }
        }
    }
    x->straddles |= ((uintptr_t)end - (uintptr_t)v->base) & (((uintptr_t)1 << x->shift) - 1);
    *part = bl_view_run(lo, end - lo);
    x->at = end;
    if (end == hi && ++x->column < v->columns)
        x->at = bl_view_column(v, x->column);
    return true;
}
