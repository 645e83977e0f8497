/* Fingerprints: what the last recorded event left in each unit of a region, to notice writes that no hook saw. */
#ifndef BL_FINGERPRINT_H
#define BL_FINGERPRINT_H

#include "region.h"

/* Room for the fingerprints of a region; duplicated regions are stamped as a whole. False if memory is short. */
bool bl_prints_begin(bl_region *r);
/* A region takes the place of `part`, which lies in it and was stamped before: a write since then must not go
 * unnoticed. */
void bl_prints_inherit(bl_region *r, const bl_region *part);
/* Takes the fingerprints of v's elements, which r owns. */
void bl_prints_stamp(bl_region *r, const bl_view *v);
/* The first element of v that changed since its last fingerprint, or NULL. Constant elements that have none get one. */
char *bl_prints_check(bl_region *r, const bl_view *v);
/* The same for the units from..to-1 whose bit is set in `which`. */
char *bl_prints_check_bits(const bl_region *r, const uint64_t *which, size_t from, size_t to);
/* A recorded write to constant memory: the next needed read takes new fingerprints. */
void bl_prints_drop(bl_region *r, const bl_view *v);

#endif
