/* A temporary file for saved values that memory shall not hold (semantics 6, memory_limit). It has no name from the
 * start, so that it is gone however the process ends. Blocks are reserved on the disk before they are written: a full
 * disk is an error that is returned, and no signal. */
#ifndef BL_SPILL_H
#define BL_SPILL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bl_spill {
    int fd; /* 0: none yet */
    size_t size;
} bl_spill;

enum { BL_SPILL_BLOCK = 2 << 20 };

/* `bytes` of the file, a multiple of a block, mapped at a multiple of `alignment` (a power of two, of at least a
 * page); NULL if there is no room, or no file. Not reserved: see below. *offset is where in the file. */
void *bl_spill_map(bl_spill *s, size_t bytes, size_t alignment, size_t *offset);
bool bl_spill_reserve(const bl_spill *s, size_t offset, size_t bytes);
void bl_spill_close(bl_spill *s);

#endif
