/* Values that adjoints need and that will not be in place any more (semantics 6).
 *
 * While recording: a needed read of annotated memory sets the region's `need` bits; a recorded write saves exactly the
 * elements under it whose bit is set, and clears the bits. A needed read of undeclared memory, which may vanish, is
 * copied at once. While replaying: passing a write backwards lays what it saved into the region's mirror and marks it
 * as `moved`, so that memory plus mirror is always the memory that the call being replayed saw. Primal memory is never
 * written. State is per element; nothing is kept about views, versions or history.
 */
#ifndef BL_SNAPSHOT_H
#define BL_SNAPSHOT_H

#include "arena.h"
#include "region.h"

typedef struct bl_save {
    struct bl_save *next; /* of the same call */
    bl_region *region;
    size_t runs;
    struct {
        size_t from, count; /* units */
    } *run;
    char *values; /* of all runs, one after the other */
} bl_save;

typedef struct bl_copy {
    bl_view of;     /* what was copied, and from where */
    char *values;   /* its columns, one after the other */
    size_t made_by; /* index of the call */
} bl_copy;

typedef struct bl_copies {
    bl_copy *copy;
    size_t count, capacity;
    uint32_t *bucket; /* open addressing over what a view is; 0: empty, else 1 + index of its latest copy */
    size_t buckets;
} bl_copies;

bool bl_need_begin(bl_region *r);

/* Sets the need bits of v's elements. False if memory is short. */
static inline bool bl_need(bl_region *r, const bl_view *v)
{
    if (!r->need && !bl_need_begin(r))
        return false;
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t from = bl_unit(r, bl_view_column(v, j));
        bl_bits_set(r->need, from, from + ((size_t)v->column >> r->shift));
    }
    return true;
}

/* The same where it is one word that changes, as it is for small operands without holes; false: call bl_need. */
static inline bool bl_need_word(bl_region *r, const char *base, int64_t bytes, int64_t columns)
{
    const size_t from = bl_unit(r, base), units = (size_t)bytes >> r->shift;
    if (columns != 1 || !r->need || from % 64 + units > 64)
        return false;
    r->need[from / 64] |= ~UINT64_C(0) >> (64 - units) << from % 64;
    return true;
}

/* Saves what is needed of v and clears its bits. *out is NULL where nothing was; *bytes grows by what was saved. */
bool bl_save_under(bl_arena *values, bl_region *r, const bl_view *v, bl_save **out, size_t *bytes);

/* A copy of v with the present content: the latest one if it still equals it byte for byte, else a new one, whose bytes
 * are added to *bytes. *index is where. False if memory is short. */
bool bl_copy_of(bl_copies *cs, bl_arena *values, const bl_view *v, size_t call, size_t *index, size_t *bytes);
void bl_copies_free(bl_copies *cs);

/* Replay. begin: false if memory is short. back: passes a write. value_of: where v's elements are as they were. */
bool bl_mirror_begin(bl_region *r);
void bl_mirror_back(const bl_save *s);
char *bl_mirror_value(bl_region *r, const bl_view *v);

#endif
