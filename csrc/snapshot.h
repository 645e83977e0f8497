/* Values that adjoints need and that will not be in place any more (semantics 6).
 *
 * While recording: a needed read of annotated memory sets the region's `need` bits; a recorded write saves exactly the
 * elements under it whose bit is set, and clears the bits. A needed read of undeclared memory, which may vanish, keeps
 * a copy in the window, and what was kept there before with other bytes is saved.
 * While replaying: passing such a call backwards lays what it saved into the region's mirror and marks it as `moved`,
 * so that memory (or what was kept) plus mirror is always the memory that the call being replayed saw. What a write
 * saved is passed before the adjoint of its call, what a read saved after it. Primal memory is never written. State is
 * per element; nothing is kept about views, versions or history.
 *
 * Bytes are copied by the layer below where there is one: to an outer tape a saved value is the value.
 */
#ifndef BL_SNAPSHOT_H
#define BL_SNAPSHOT_H

#include "arena.h"
#include "blas.h"
#include "region.h"

typedef struct bl_save {
    struct bl_save *next; /* of the same call */
    bl_region *region;
    size_t bytes; /* saved for this call */
    bool by_read; /* the runs are what the window had kept before */
    size_t runs;
    struct {
        size_t from, count; /* units */
    } *run;
    char *values; /* of all runs, one after the other */
} bl_save;

bool bl_need_begin(bl_region *r);

/* Sets the need bits of v's elements. False if memory is short. */
static inline bool bl_need(bl_region *r, const bl_view *v)
{
    if (!r->need && !bl_need_begin(r))
        return false;
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t from = bl_unit(r, bl_view_column(v, j));
        bl_bits_set(r->need, from, from + ((size_t)bl_column_bytes(v, j) >> r->shift));
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

/* Saves what is needed of v and clears its bits. *out is NULL where nothing was. False if memory is short. */
bool bl_save_under(bl_arena *values, const bl_path *below, bl_region *r, const bl_view *v, bl_save **out);

/* Keeps what a window has of v, a run of units. *out is NULL where the same bytes were kept before. */
bool bl_keep_read(bl_arena *values, const bl_path *below, bl_region *r, const bl_view *v, bl_save **out);

/* Replay. begin: false if memory is short. back: passes what a call saved. value_of: where v's elements are as they
 * were, in their own layout. */
bool bl_mirror_begin(bl_region *r);
void bl_mirror_back(const bl_path *below, const bl_save *s);
char *bl_mirror_value(const bl_path *below, bl_region *r, const bl_view *v);

#endif
