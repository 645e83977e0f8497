/* Memory: which elements are whose, where their shadows are, and what the tape knows of each element.
 *
 * A region is one annotation, or a window of undeclared memory (window.h). Its elements are counted in units, real
 * numbers of 4 or 8 bytes, from its lowest address; where it does not own every unit up to its highest, `member` says
 * which. State is per unit and nowhere else:
 *
 *   need   the present content is needed by the adjoint of a recorded call (annotations; snapshot.h)
 *   print  fingerprint of what the last recorded event left (fingerprint.h; only to verify)
 *   seen   a recorded call has accessed it (windows, and to verify)
 *   live, known, have, kept   of windows (window.h)
 *   moved, mirror   while replaying: the content at the time that is being replayed (snapshot.h)
 *
 * Regions belong to their tape and to its thread. Other threads read the index under bl_regions.lock (record.c's
 * guard), so the owner takes it to change the index, and for nothing else.
 */
#ifndef BL_REGION_H
#define BL_REGION_H

#include "call.h"

typedef struct bl_region {
    char *lo, *hi;
    ptrdiff_t delta;     /* shadow address - primal address; of the first shadow of a batch */
    ptrdiff_t *more;     /* the same of the others */
    int shadows;         /* of a window: how many were made */
    uint64_t *member;    /* NULL: every unit is an element */
    uint64_t *need;      /* NULL until something is needed */
    uint64_t need_small; /* where `need` points for regions of up to 64 units: one cache line less */
    bool duplicated;
    bool window;     /* of undeclared memory; not duplicated */
    bool lived;      /* a window: some of it was live */
    bool touched;    /* by a recorded call */
    uint8_t width;   /* of its real numbers; 0 until the first call tells */
    uint8_t shift;   /* a unit is 1 << shift bytes */
    uint8_t misfit;  /* bits that no offset of a unit has */
    bool saved_from; /* some of its elements were saved: a replay needs a mirror */
    bool replaced;   /* by an annotation that contains it */
    bool gone;       /* and no longer in an index */
    bool contains;   /* has replaced others */
    bool stale;      /* a call wrote a part of it: what was noted of the whole is not its value (copies.h) */
    uint32_t id;
    uint32_t noted;         /* number of the value that is the whole of it (copies.h); 0: none, or not a plain matrix */
    int64_t noted_column;   /* bytes of a column of that matrix: another shape would be another value */
    struct bl_whole *whole; /* the array as it was annotated, where copies of it may be met */
    uint32_t *print;
    uint64_t *seen, *stamped; /* stamped: print is valid there (constant regions; duplicated ones always are) */
    uint64_t *moved;
    char *mirror;
    char *label;
    uint64_t *live, *known, *have; /* of windows */
    char *kept;
    uint64_t *reserved;      /* blocks of `kept`, if it is in a file; else NULL */
    size_t offset;           /* where in the file */
    char *used_lo, *used_hi; /* of a window: the part that was ever live */
    struct bl_region *twin;  /* the window of the same memory for numbers of the other width, or NULL */
} bl_region;

static inline ptrdiff_t bl_delta(const bl_region *r, int shadow) { return shadow ? r->more[shadow - 1] : r->delta; }
/* Where the values are that no save moved: in place, or where they were kept. */
static inline ptrdiff_t bl_source(const bl_region *r) { return r->window ? r->kept - r->lo : 0; }

typedef struct bl_entry {
    char *lo;
    char *reach; /* highest end of this and all entries before it: spans may interleave, their elements never do */
    bl_region *region;
} bl_entry;

/* Spans in address order. */
typedef struct bl_index {
    bl_entry *entry;
    size_t count, capacity;
} bl_index;

enum { BL_MAX_AXES = 64, BL_MAX_BATCH = 1024 };
enum { BL_SLOTS = BL_MAX_OPERANDS + BL_MAX_SCALARS };

/* Where the last search ended: the number of entries with lo <= the address. What lies inside the last of those
 * regions, if it is without holes, or in the gap behind it, is then decided at once. */
typedef struct bl_hint {
    const char *lo, *hi; /* of the region; empty if it has holes */
    bl_region *region;
    size_t misfit; /* bits that no offset of a unit has */
    size_t at;
} bl_hint;

typedef struct bl_regions {
    bl_region **region; /* by id - 1 */
    size_t count, capacity;
    bl_index primal, shadow;
    int batch;              /* shadows of each annotation; 0: none has been annotated yet */
    bool batched;           /* they were given as a batch, be it one of one */
    char *lo, *hi;          /* all annotated memory lies between */
    bl_hint hint[BL_SLOTS]; /* where each argument position was found last */
    bl_region **window;
    size_t windows, window_capacity;
} bl_regions;

/* What a search returns where some, but not all, elements are owned by one region. */
extern bl_region bl_mixed;

/* A matrix of any number of axes, as annotations come. Strides in bytes. */
typedef struct bl_array {
    char *base;
    int width, shift; /* of a real number; of a unit */
    int64_t element;  /* bytes */
    int ndim;
    const int64_t *shape, *strides;
} bl_array;

/* The same in order of addresses: runs of contiguous bytes, repeated along `n` axes of ascending strides. */
typedef struct bl_axes {
    char *lo;
    int64_t run, span, bytes; /* bytes: of all elements, 0 if there are none */
    int n;
    int64_t shape[BL_MAX_AXES], stride[BL_MAX_AXES];
} bl_axes;

/* A blasad_code; `label` names the array in errors. */
int bl_axes_of(const bl_array *x, const char *label, bl_axes *a);
/* From the place `at` (indices from axis `from` on, zeros at first) with address *p to the next one; false at the end.
 */
bool bl_axes_next(const bl_axes *a, int from, int64_t *at, char **p);

/* Adds an annotation with as many shadows as delta has, none for constant memory. *added is the new region, or NULL
 * where nothing is new: an array without elements, an annotation given twice, a part of one. `touched` says whether
 * recorded calls have touched elements of it that nobody had annotated. Returns a blasad_code. */
int bl_regions_add(bl_regions *rs, const bl_array *x, int shadows, const ptrdiff_t *delta, const char *label,
                   bl_region **added);
/* BLASAD_OK if no element belongs to two of n arrays, or to one of them twice. */
int bl_arrays_check(const bl_array *x, int n, const char *label);
void bl_regions_free(bl_regions *rs);

/* The annotation that owns the byte at p, or NULL. *end, p < *end <= limit: how far that is so without a break. */
bl_region *bl_regions_owner(const bl_regions *rs, char *p, char *limit, char **end);

/* The region that owns all elements of `v`, NULL if none is owned, &bl_mixed in between. */
bl_region *bl_regions_search(bl_regions *rs, const bl_view *v, int slot);

/* The same where the place of the last search decides, which is most of the time; NULL: search. */
static inline __attribute__((always_inline)) bl_region *bl_regions_guess(const bl_regions *rs, const char *base,
                                                                         const char *end, int slot)
{
    const bl_hint *h = &rs->hint[slot];
    if (base < h->lo || end > h->hi || ((size_t)(base - h->lo) & h->misfit))
        return NULL;
    return h->region;
}

/* Bytes of v that are elements of r; a number that straddles two units of r is never wholly owned. */
int64_t bl_region_owned(const bl_region *r, const bl_view *v);
/* A duplicated region that owns some byte of v, or NULL; `rs` is only read. */
const bl_region *bl_regions_meet(const bl_regions *rs, const bl_view *v);

static inline size_t bl_region_units(const bl_region *r) { return (size_t)(r->hi - r->lo) >> r->shift; }
static inline size_t bl_region_words(const bl_region *r) { return (bl_region_units(r) + 63) / 64; }
static inline size_t bl_unit(const bl_region *r, const char *p) { return (size_t)(p - r->lo) >> r->shift; }

/* ---- bits, one a unit, in words of 64 */

static inline uint64_t bl_mask(size_t from, size_t to) /* bits from..to-1 of one word, 0 <= from < to <= 64 */
{
    return (~UINT64_C(0) << from) & (~UINT64_C(0) >> (64 - to));
}

/* Runs `body` with `word` (an index) and `mask` for every word that holds bits of [from, to). */
#define BL_EACH_WORD(from_, to_, body)                                                                                 \
    for (size_t at_ = (from_), end_ = (to_); at_ < end_;) {                                                            \
        size_t word = at_ / 64, first_ = at_ % 64, last_ = end_ - word * 64 < 64 ? end_ - word * 64 : 64;              \
        uint64_t mask = bl_mask(first_, last_);                                                                        \
        body;                                                                                                          \
        at_ = word * 64 + last_;                                                                                       \
    }

static inline void bl_bits_set(uint64_t *bits, size_t from, size_t to)
{
    size_t first = from / 64;
    if (from < to && to <= first * 64 + 64) /* small operands lie in one word */
        bits[first] |= bl_mask(from % 64, to - first * 64);
    else
        BL_EACH_WORD(from, to, bits[word] |= mask)
}

static inline size_t bl_bits_count(const uint64_t *bits, size_t from, size_t to)
{
    size_t n = 0;
    BL_EACH_WORD(from, to, n += (size_t)__builtin_popcountll(bits[word] & mask))
    return n;
}

static inline void bl_bits_clear(uint64_t *bits, size_t from, size_t to) { BL_EACH_WORD(from, to, bits[word] &= ~mask) }

/* Smallest set (or, with `flip` all ones, clear) bit in [from, to), else to. */
static inline size_t bl_bits_next(const uint64_t *bits, size_t from, size_t to, uint64_t flip)
{
    BL_EACH_WORD(from, to, {
        uint64_t w = (bits[word] ^ flip) & mask;
        if (w)
            return word * 64 + (size_t)__builtin_ctzll(w);
    })
    return to;
}

#endif
