#include "region.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "error.h"
#include "window.h"

/* ---- the index */

/* Number of entries with lo <= p. */
static size_t upper(const bl_index *x, const char *p)
{
    size_t lo = 0, hi = x->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (x->entry[mid].lo <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* From an entry that is new on, or follows one that went: until nothing changes any more. */
static void restore_reach(bl_index *x, size_t from)
{
    for (size_t i = from; i < x->count; i++) {
        const bl_region *r = x->entry[i].region;
        char *end = x->entry[i].lo + (r->hi - r->lo);
        char *reach = i && x->entry[i - 1].reach > end ? x->entry[i - 1].reach : end;
        if (i > from && x->entry[i].reach == reach)
            return;
        x->entry[i].reach = reach;
    }
}

static bool reserve(bl_index *x) { return bl_grow(&x->entry, &x->capacity, x->count, sizeof *x->entry); }

static void insert(bl_index *x, char *lo, bl_region *r) /* after reserve */
{
    size_t at = upper(x, lo);
    memmove(x->entry + at + 1, x->entry + at, (x->count - at) * sizeof *x->entry);
    x->entry[at] = (bl_entry){lo, NULL, r};
    x->count++;
    restore_reach(x, at);
}

static void withdraw(bl_index *x, const bl_region *r)
{
    for (size_t at = 0; at < x->count; at++)
        if (x->entry[at].region == r) {
            x->count--;
            memmove(x->entry + at, x->entry + at + 1, (x->count - at) * sizeof *x->entry);
            restore_reach(x, at);
            return;
        }
}

/* Entries that may share bytes with [lo, hi): those before the returned one, as long as their reach is beyond lo. */
static size_t last_before(const bl_index *x, const char *hi)
{
    size_t n = upper(x, hi);
    return n && x->entry[n - 1].lo == hi ? n - 1
                                         : n; /* entries of equal lo share an element, so there is one at most */
}

/* ---- a new region from an array */

static void discard(bl_region *r)
{
    if (!r)
        return;
    if (r->window) {
        bl_window_free(r);
        return;
    }
    if (r->need != &r->need_small)
        free(r->need);
    free(r->whole);
    free(r->more);
    free(r->member);
    free(r->print);
    free(r->seen);
    free(r->stamped);
    free(r->moved);
    free(r->mirror);
    free(r->label);
    free(r);
}

int bl_axes_of(const bl_array *x, const char *label, bl_axes *a)
{
    *a = (bl_axes){.lo = x->base, .run = x->element, .span = x->element, .bytes = x->element};
    if (x->ndim > BL_MAX_AXES)
        return bl_fail(BLASAD_VALUE, "%s has %d axes; blasad takes up to %d", label, x->ndim, BL_MAX_AXES);
    bool empty = false;
    for (int d = 0; d < x->ndim; d++) {
        if (x->shape[d] < 0)
            return bl_fail(BLASAD_VALUE, "%s has %lld elements along axis %d", label, (long long)x->shape[d], d);
        empty |= x->shape[d] == 0;
    }
    if (empty) {
        a->bytes = 0;
        return BLASAD_OK;
    }
    for (int d = 0; d < x->ndim; d++) {
        int64_t s = x->strides[d], len = x->shape[d];
        if (len == 1)
            continue;
        if (s == 0)
            return bl_fail(BLASAD_VALUE,
                           "%s has stride 0 along axis %d: %lld elements are one; annotate the array that was "
                           "broadcast",
                           label, d, (long long)len);
        if (s % ((int64_t)1 << x->shift))
            return bl_fail(BLASAD_VALUE,
                           "%s has a stride of %lld bytes along axis %d, which is no multiple of its %d-byte "
                           "numbers",
                           label, (long long)s, d, 1 << x->shift);
        if (s < 0) {
            a->lo += s * (len - 1);
            s = -s;
        }
        a->span += s * (len - 1);
        a->bytes *= len;
        int at = a->n++; /* ascending strides */
        for (; at > 0 && a->stride[at - 1] > s; at--) {
            a->stride[at] = a->stride[at - 1];
            a->shape[at] = a->shape[at - 1];
        }
        a->stride[at] = s;
        a->shape[at] = len;
    }
    if (!a->lo)
        return bl_fail(BLASAD_VALUE, "%s is a NULL pointer: there is no memory to annotate", label);
    int merged = 0;
    while (merged < a->n && a->stride[merged] == a->run)
        a->run *= a->shape[merged++];
    a->n -= merged;
    memmove(a->stride, a->stride + merged, (size_t)a->n * sizeof *a->stride);
    memmove(a->shape, a->shape + merged, (size_t)a->n * sizeof *a->shape);
    return BLASAD_OK;
}

bool bl_axes_next(const bl_axes *a, int from, int64_t *at, char **p)
{
    int d = from;
    while (d < a->n && at[d] == a->shape[d] - 1) {
        *p -= at[d] * a->stride[d];
        at[d++] = 0;
    }
    if (d == a->n)
        return false;
    at[d]++;
    *p += a->stride[d];
    return true;
}

/* Sets the bits of all units. False if one was set before. */
static bool set_members(bl_region *r, const bl_axes *a)
{
    int64_t at[BL_MAX_AXES] = {0};
    char *p = r->lo;
    do {
        size_t from = bl_unit(r, p), to = from + ((size_t)a->run >> r->shift);
        if (bl_bits_next(r->member, from, to, 0) != to)
            return false;
        bl_bits_set(r->member, from, to);
    } while (bl_axes_next(a, 0, at, &p));
    return true;
}

/* *out NULL and BLASAD_OK for an array without elements. */
static int build(const bl_array *x, const char *label, bl_region **out)
{
    bl_axes a;
    int code = bl_axes_of(x, label, &a);
    *out = NULL;
    if (code != BLASAD_OK || a.bytes == 0)
        return code;
    bl_region *r = calloc(1, sizeof *r);
    if (!r || !(r->label = strdup(label)))
        goto memory;
    r->lo = a.lo;
    r->hi = a.lo + a.span;
    r->width = (uint8_t)x->width;
    r->shift = (uint8_t)x->shift;
    if (a.n) {
        r->member = calloc(bl_region_words(r), sizeof *r->member);
        if (!r->member)
            goto memory;
        if (!set_members(r, &a)) {
            discard(r);
            return bl_fail(BLASAD_VALUE,
                           "%s overlaps itself: some of its elements share memory (sliding windows?); annotate "
                           "the array below it",
                           label);
        }
        if (a.bytes == a.span) { /* every unit is an element after all */
            free(r->member);
            r->member = NULL;
        }
    }
    *out = r;
    return BLASAD_OK;
memory:
    discard(r);
    return bl_fail(BLASAD_MEMORY, "no memory to annotate %s", label);
}

/* ---- what annotations have in common */

static size_t bytes_of(const bl_region *r)
{
    size_t units = bl_region_units(r);
    return (r->member ? bl_bits_count(r->member, 0, units) : units) << r->shift;
}

/* Bytes that the elements of a, moved to `at`, share with those of b, moved to `bt`. */
static size_t shared(const bl_region *a, const char *at, const bl_region *b, const char *bt)
{
    const char *lo = at > bt ? at : bt, *ae = at + (a->hi - a->lo), *be = bt + (b->hi - b->lo), *hi = ae < be ? ae : be;
    if (lo >= hi)
        return 0;
    if (!a->member && !b->member)
        return (size_t)(hi - lo);
    if (!a->member || (b->member && a->shift > b->shift)) /* walk over holes, and in the smaller unit */
        return shared(b, bt, a, at);
    size_t bytes = 0, unit = (size_t)1 << a->shift, end = ((size_t)(hi - at) + unit - 1) >> a->shift;
    for (size_t u = (size_t)(lo - at) >> a->shift;; u++) {
        u = bl_bits_next(a->member, u, end, 0);
        if (u == end)
            return bytes;
        const char *p = at + (u << a->shift), *q = p + unit;
        p = p > bt ? p : bt;
        q = q < be ? q : be;
        if (p >= q)
            continue;
        size_t from = (size_t)(p - bt) >> b->shift, to = ((size_t)(q - 1 - bt) >> b->shift) + 1;
        if (!b->member || bl_bits_next(b->member, from, to, 0) != to)
            bytes += (size_t)(q - p);
    }
}

/* The first entry, walking down, whose elements at their place in `x` share bytes with r moved to `at`. */
static bl_region *first_shared(const bl_index *x, const bl_region *r, char *at, size_t *bytes)
{
    for (size_t i = last_before(x, at + (r->hi - r->lo)); i > 0 && x->entry[i - 1].reach > at; i--) {
        bl_region *q = x->entry[i - 1].region;
        if (!q->replaced && (*bytes = shared(r, at, q, x->entry[i - 1].lo)) > 0)
            return q;
    }
    return NULL;
}

static int refuse(const bl_region *r, const bl_region *q, const char *what, const char *with)
{
    return bl_fail(BLASAD_VALUE,
                   "%s: its %s shares elements with the %s of %s, which was annotated before; give every "
                   "buffer a shadow of its own (blasad.shadow(x) makes one)",
                   r->label, what, with, q->label);
}

static bool same_shadows(const bl_region *a, const bl_region *b, int shadows)
{
    if (a->duplicated != b->duplicated)
        return false;
    for (int k = 0; a->duplicated && k < shadows; k++)
        if (bl_delta(a, k) != bl_delta(b, k))
            return false;
    return true;
}

/* Shadow k of r shares no element with the primal, another shadow of r, or what others annotated. */
static int admit_shadow(bl_regions *rs, bl_region *r, int k)
{
    size_t bytes;
    bl_region *q;
    char *dx = r->lo + bl_delta(r, k);
    bool own = shared(r, r->lo, r, dx) > 0;
    for (int i = 0; i < k; i++)
        own |= shared(r, r->lo + bl_delta(r, i), r, dx) > 0;
    if (own)
        return bl_fail(BLASAD_VALUE,
                       "%s: the shadow shares elements with the buffer itself or with another shadow of it; give it a "
                       "shadow of its own (blasad.shadow(x) makes one)",
                       r->label);
    if ((q = first_shared(&rs->primal, r, dx, &bytes)))
        return refuse(r, q, "shadow", "memory");
    if ((q = first_shared(&rs->shadow, r, dx, &bytes)))
        return refuse(r, q, "shadow", "shadow");
    return BLASAD_OK;
}

/* *known: r says nothing new. *contains: it takes the place of smaller ones, which are marked as replaced. */
static int admit(bl_regions *rs, bl_region *r, bool *known, bool *contains)
{
    size_t bytes;
    bl_region *q;
    *known = *contains = false;
    while ((q = first_shared(&rs->primal, r, r->lo, &bytes))) {
        bool same = same_shadows(q, r, rs->batch);
        if (same && bytes == bytes_of(r)) {
            *known = true;
            return BLASAD_OK;
        }
        if (!same || bytes != bytes_of(q))
            return bl_fail(BLASAD_VALUE,
                           "%s shares elements with %s, which was annotated before as %s; an element has one "
                           "annotation",
                           r->label, q->label,
                           !q->duplicated ? "constant"
                           : same         ? "another part of the same array"
                                          : "duplicated, with another shadow");
        if (q->touched)
            return bl_fail(BLASAD_TAPE,
                           "%s contains %s, which a recorded call has touched already; annotate the whole before "
                           "its first use",
                           r->label, q->label);
        q->replaced = *contains = true;
    }
    if ((q = first_shared(&rs->shadow, r, r->lo, &bytes)))
        return refuse(r, q, "memory", "shadow");
    int code = BLASAD_OK;
    for (int k = 0; r->duplicated && k < rs->batch && code == BLASAD_OK; k++)
        code = admit_shadow(rs, r, k);
    if (code == BLASAD_OK && bl_windows_seen(rs, r))
        code = bl_fail(BLASAD_TAPE,
                       "%s: a recorded call has touched this memory already, and took it for undeclared; annotate it "
                       "before its first use, or use other memory (tape.forget ends what it held, not this)",
                       r->label);
    return code;
}

/* Room for one more region: insert() shall not fail. */
static bool make_room(bl_regions *rs, int shadows)
{
    bl_index *x = &rs->shadow;
    while (x->capacity < x->count + (size_t)shadows)
        if (!bl_grow(&x->entry, &x->capacity, x->capacity, sizeof *x->entry))
            return false;
    return reserve(&rs->primal) && bl_grow(&rs->region, &rs->capacity, rs->count, sizeof *rs->region);
}

static bool take_shadows(bl_region *r, int shadows, const ptrdiff_t *delta)
{
    r->duplicated = shadows > 0;
    r->delta = shadows ? delta[0] : 0;
    if (shadows > 1) {
        r->more = malloc((size_t)(shadows - 1) * sizeof *r->more);
        if (!r->more)
            return false;
        memcpy(r->more, delta + 1, (size_t)(shadows - 1) * sizeof *r->more);
    }
    return true;
}

int bl_regions_add(bl_regions *rs, const bl_array *x, int shadows, const ptrdiff_t *delta, const char *label,
                   bl_region **added)
{
    bl_region *r;
    *added = NULL;
    int code = build(x, label, &r);
    if (code != BLASAD_OK || !r)
        return code;
    if (shadows)
        rs->batch = shadows;
    bool known = false, contains = false;
    if (!take_shadows(r, shadows, delta))
        code = bl_fail(BLASAD_MEMORY, "no memory to annotate %s", label);
    else
        code = admit(rs, r, &known, &contains);
    if (code == BLASAD_OK && !known && !make_room(rs, shadows))
        code = bl_fail(BLASAD_MEMORY, "no memory to annotate %s", label);
    for (size_t i = 0; contains && i < rs->count; i++) {
        bl_region *q = rs->region[i];
        if (q->replaced && code != BLASAD_OK) {
            q->replaced = q->gone; /* those of earlier annotations stay replaced */
        } else if (q->replaced && !q->gone) {
            withdraw(&rs->primal, q);
            for (int k = 0; k < shadows; k++)
                withdraw(&rs->shadow, q);
            q->gone = true;
        }
    }
    if (code != BLASAD_OK || known) {
        discard(r);
        return code;
    }
    r->contains = contains;
    rs->region[rs->count++] = r;
    r->id = (uint32_t)rs->count;
    memset(rs->hint, 0, sizeof rs->hint);
    rs->lo = rs->lo && rs->lo < r->lo ? rs->lo : r->lo;
    rs->hi = rs->hi > r->hi ? rs->hi : r->hi;
    insert(&rs->primal, r->lo, r);
    for (int k = 0; k < shadows; k++)
        insert(&rs->shadow, r->lo + bl_delta(r, k), r);
    *added = r;
    return BLASAD_OK;
}

int bl_arrays_check(const bl_array *x, int n, const char *label)
{
    bl_region **r = calloc((size_t)n + 1, sizeof *r);
    int code = r ? BLASAD_OK : bl_fail(BLASAD_MEMORY, "no memory to look at %s", label);
    for (int i = 0; i < n && code == BLASAD_OK; i++) {
        code = build(&x[i], label, &r[i]);
        for (int k = 0; k < i && code == BLASAD_OK; k++)
            if (r[i] && r[k] && shared(r[i], r[i]->lo, r[k], r[k]->lo) > 0)
                code = bl_fail(BLASAD_VALUE, "%s shares elements with another one; give each its own", label);
    }
    for (int i = 0; r && i < n; i++)
        discard(r[i]);
    free(r);
    return code;
}

void bl_regions_free(bl_regions *rs)
{
    for (size_t i = 0; i < rs->count; i++)
        discard(rs->region[i]);
    free(rs->region);
    free(rs->window);
    free(rs->primal.entry);
    free(rs->shadow.entry);
    *rs = (bl_regions){0};
}

/* ---- who owns the elements of an operand */

int64_t bl_region_owned(const bl_region *r, const bl_view *v)
{
    int64_t bytes = 0, unit = (int64_t)1 << r->shift;
    for (int64_t j = 0; j < v->columns; j++) {
        char *lo = bl_view_column(v, j), *hi = lo + bl_column_bytes(v, j);
        lo = lo > r->lo ? lo : r->lo;
        hi = hi < r->hi ? hi : r->hi;
        if (lo >= hi)
            continue;
        bool straddles = ((lo - r->lo) | (hi - r->lo)) & (unit - 1);
        size_t from = bl_unit(r, lo), to = ((size_t)(hi - r->lo) + (size_t)unit - 1) >> r->shift;
        int64_t units = (int64_t)(r->member ? bl_bits_count(r->member, from, to) : to - from);
        bytes += straddles ? units > 0 : units * unit;
    }
    return bytes;
}

bl_region *bl_regions_owner(const bl_regions *rs, char *p, char *limit, char **end)
{
    const bl_index *x = &rs->primal;
    size_t i = upper(x, p);
    *end = limit;
    if (i < x->count && x->entry[i].lo < *end)
        *end = x->entry[i].lo; /* the first unit of a region is an element */
    for (; i > 0 && x->entry[i - 1].reach > p; i--) {
        bl_region *r = x->entry[i - 1].region;
        if (r->hi <= p)
            continue;
        const size_t unit = bl_unit(r, p), units = bl_region_units(r);
        const bool own = !r->member || (r->member[unit / 64] >> unit % 64 & 1);
        const size_t to = r->member ? bl_bits_next(r->member, unit, units, own ? ~UINT64_C(0) : 0) : units;
        char *stop = r->lo + (to << r->shift);
        if (own) {
            *end = stop < limit ? stop : limit;
            return r;
        }
        *end = stop < *end ? stop : *end;
    }
    return NULL;
}

bl_region bl_mixed;

bl_region *bl_regions_search(bl_regions *rs, const bl_view *v, int slot)
{
    const bl_index *x = &rs->primal;
    const bl_entry *e = x->entry;
    const size_t n = x->count;
    bl_hint *h = &rs->hint[slot];
    if ((h->at > 0 && e[h->at - 1].lo > v->base) || (h->at < n && e[h->at].lo <= v->base)) {
        /* in address order the next one is what is wanted */
        size_t at = h->at;
        if (at < n && e[at].lo <= v->base && (at + 1 == n || e[at + 1].lo > v->base))
            at++;
        else
            at = upper(x, v->base);
        bl_region *r = at ? e[at - 1].region : NULL;
        *h = (bl_hint){r ? r->lo : NULL, r && !r->member ? r->hi : NULL, r, r ? ((size_t)1 << r->shift) - 1 : 0, at};
    }
    const size_t at = h->at;
    bool some = false;
    if ((at == 0 || e[at - 1].reach <= v->base) && (at == n || e[at].lo >= v->end))
        return NULL;
    for (size_t i = last_before(x, v->end); i > 0 && e[i - 1].reach > v->base; i--) {
        int64_t bytes = bl_region_owned(e[i - 1].region, v);
        if (bytes == bl_view_bytes(v))
            return e[i - 1].region;
        some |= bytes > 0;
    }
    return some ? &bl_mixed : NULL;
}

const bl_region *bl_regions_meet(const bl_regions *rs, const bl_view *v)
{
    const bl_index *x = &rs->primal;
    for (size_t i = last_before(x, v->end); i > 0 && x->entry[i - 1].reach > v->base; i--) {
        const bl_region *r = x->entry[i - 1].region;
        if (r->duplicated && bl_region_owned(r, v) > 0)
            return r;
    }
    return NULL;
}
