/* Memory of a tape: chunks that are kept for the next tape, and bytes that are only ever added.
 *
 * First touch of a page is the largest single cost of recording (1.7 us for 4 KiB), so chunks are 2 MiB, aligned for
 * huge pages, and go back to a pool of the process when a tape is freed. Any thread may take and give chunks.
 */
#ifndef BL_ARENA_H
#define BL_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "spill.h"

enum { BL_CHUNK = 2 << 20 };

/* BL_CHUNK bytes of unspecified content, or NULL. */
void *bl_chunk_take(void);
void bl_chunk_give(void *chunk);
/* Zeros that take memory only where they are touched, aligned to their size (a power of two), or NULL. */
void *bl_plane(size_t bytes);
void bl_plane_free(void *plane, size_t bytes);
/* Around fork. */
void bl_pool_lock(void);
void bl_pool_unlock(void);

/* Blocks that live as long as the arena. Owned by one tape, used by its thread only. */
typedef struct bl_arena {
    struct {
        void *memory;
        size_t bytes;
        enum { BL_HEAP, BL_POOLED, BL_FILE } from;
    } *block;
    size_t count, capacity;
    char *at, *end;
    bl_spill *spill; /* where blocks come from when `limit` bytes were taken; NULL: never */
    size_t limit, taken;
} bl_arena;

/* `bytes` bytes, aligned to 64; NULL if memory is short. */
void *bl_arena_take(bl_arena *a, size_t bytes);
void bl_arena_free(bl_arena *a);

/* Room for one more element in an array that doubles: returns false and leaves it alone if memory is short. */
bool bl_grow(void *array, size_t *capacity, size_t count, size_t size);

#endif
