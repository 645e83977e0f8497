/* Undeclared memory: scratch that the program fills, frees and fills again.
 *
 * What nobody annotated is watched through windows, aligned pieces of the address space of 1 GiB, one for numbers of
 * 8 bytes and one for those of 4 where both occur. A window is a region: its state is per unit, in planes that are
 * mapped without being reserved, so that only what is used of them takes memory. Nothing is ever split, merged or
 * moved, whatever operands overlap each other in it, and an address has one place in each plane as long as the tape
 * lives:
 *
 *   seen    a recorded call has accessed the unit: it is too late to annotate it
 *   known   its content was left there by a recorded call
 *   live    and is active: it has a shadow, in forward mode at once and else while replaying
 *   print   fingerprint of what is known (only to verify)
 *   kept    what adjoints need of it, for the memory itself may vanish; `have` says where. A unit that is needed again
 *           with another content is kept again, and what was there goes to the record of that call (snapshot.h)
 *
 * Where an annotation owns an element, windows have no say in it.
 */
#ifndef BL_WINDOW_H
#define BL_WINDOW_H

#include "region.h"
#include "spill.h"

#define BL_WINDOW ((size_t)1 << 30)

/* The window of p for units of 1 << shift bytes, or NULL. */
bl_region *bl_window_find(const bl_regions *rs, const char *p, int shift);
/* The same, made where there is none; NULL if memory is short. Under the lock of the tapes. */
bl_region *bl_window_make(bl_regions *rs, char *p, int shift);
void bl_window_free(bl_region *r);

/* Planes that are made when first wanted; false if memory is short. */
bool bl_window_print(bl_region *r);
/* For the units from..to-1, in the file if there is one. */
bool bl_window_keep(bl_region *r, size_t from, size_t to, bl_spill *spill);
/* Shadows of zeros, as many as a batch has. Those that there are are cleared. */
bool bl_window_shadows(bl_region *r, int batch);
bool bl_window_mirror(bl_region *r);

/* Has a recorded call seen an element of this annotation when it was undeclared? */
bool bl_windows_seen(const bl_regions *rs, const bl_region *r);
/* Does v have a live unit? Other threads may ask, under the lock. */
bool bl_windows_live(const bl_regions *rs, const bl_view *v);

/* `live` is read by other threads while its owner goes on. */
static inline void bl_live_set(bl_region *r, size_t from, size_t to, bool live)
{
    BL_EACH_WORD(from, to, {
        const uint64_t now = __atomic_load_n(&r->live[word], __ATOMIC_RELAXED);
        __atomic_store_n(&r->live[word], live ? now | mask : now & ~mask, __ATOMIC_RELAXED);
    })
}

static inline bool bl_live_any(const bl_region *r, size_t from, size_t to)
{
    BL_EACH_WORD(from, to, {
        if (__atomic_load_n(&r->live[word], __ATOMIC_RELAXED) & mask)
            return true;
    })
    return false;
}

/* The parts of a view that have one owner each, annotation or window, in order: runs within a column. */
typedef struct bl_parts {
    bl_regions *regions;
    const bl_view *view;
    int shift;      /* of windows: log2 of the width of the call's numbers */
    bool make;      /* windows that are not there yet */
    bool short_of;  /* memory; then the parts are at their end */
    bool straddles; /* a number that belongs to two owners was met; its part ends within it */
    int64_t column;
    char *at;
} bl_parts;

static inline bl_parts bl_parts_of(bl_regions *rs, const bl_view *v, int width, bool make)
{
    const bool odd = width == 8 && ((uintptr_t)v->base & 7);
    return (bl_parts){rs, v, width == 8 && !odd ? 3 : 2, make, false, false, 0, v->base};
}
/* False at the end. *r is NULL for a part that nobody owns, if no windows are to be made. */
bool bl_parts_next(bl_parts *x, bl_region **r, bl_view *part);

#endif
