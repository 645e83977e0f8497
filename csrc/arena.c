#include "arena.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { KEPT = 64 }; /* chunks in the pool: 128 MiB; what is given beyond that goes back to the system */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *pool[KEPT];
static int pooled;

void bl_pool_lock(void) { pthread_mutex_lock(&lock); }
void bl_pool_unlock(void) { pthread_mutex_unlock(&lock); }

void *bl_chunk_take(void)
{
    void *chunk = NULL;
    pthread_mutex_lock(&lock);
    if (pooled)
        chunk = pool[--pooled];
    pthread_mutex_unlock(&lock);
    if (!chunk && (chunk = aligned_alloc(BL_CHUNK, BL_CHUNK)))
        madvise(chunk, BL_CHUNK, MADV_HUGEPAGE); /* a wish; without it everything works, more slowly */
    return chunk;
}

void bl_chunk_give(void *chunk)
{
    pthread_mutex_lock(&lock);
    if (pooled < KEPT) {
        pool[pooled++] = chunk;
        chunk = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(chunk);
}

void *bl_plane(size_t bytes)
{
    char *all = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    char *p = all + (-(uintptr_t)all & (bytes - 1));
    if (p > all)
        munmap(all, (size_t)(p - all));
    if (p < all + bytes)
        munmap(p + bytes, (size_t)(all + bytes - p));
    return p;
}

void bl_plane_free(void *plane, size_t bytes)
{
    if (plane)
        munmap(plane, bytes);
}

bool bl_grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *old, *larger = NULL;
    memcpy(&old, array, sizeof old); /* `array` is the address of a pointer of any type */
    if (wanted <= SIZE_MAX / size)
        larger = realloc(old, wanted * size);
    if (!larger)
        return false;
    memcpy(array, &larger, sizeof larger);
    *capacity = wanted;
    return true;
}

/* A block of `bytes` for what is asked for now, or more for what comes. */
static void *new_block(bl_arena *a, size_t *bytes, int *from)
{
    const bool small = *bytes <= BL_CHUNK / 2;
    if (a->spill && a->taken + *bytes > a->limit) {
        size_t offset;
        *bytes = small ? (size_t)BL_CHUNK : (*bytes + BL_SPILL_BLOCK - 1) & ~(size_t)(BL_SPILL_BLOCK - 1);
        *from = BL_FILE;
        void *p = bl_spill_map(a->spill, *bytes, BL_CHUNK, &offset);
        if (p && !bl_spill_reserve(a->spill, offset, *bytes)) {
            munmap(p, *bytes);
            p = NULL;
        }
        return p;
    }
    *from = small ? BL_POOLED : BL_HEAP;
    if (!small)
        return aligned_alloc(64, *bytes);
    *bytes = BL_CHUNK;
    return bl_chunk_take();
}

void *bl_arena_take(bl_arena *a, size_t bytes)
{
    bytes = (bytes + 63) & ~(size_t)63;
    const bool fits = a->at && bytes <= (size_t)(a->end - a->at);
    const bool spilling =
        a->spill && a->taken + bytes > a->limit && !(a->count && a->block[a->count - 1].from == BL_FILE);
    if (!fits || spilling) {
        size_t size = bytes;
        int from;
        if (!bl_grow(&a->block, &a->capacity, a->count, sizeof *a->block))
            return NULL;
        char *p = new_block(a, &size, &from);
        if (!p)
            return NULL;
        a->block[a->count].from = from;
        a->block[a->count].bytes = size;
        a->block[a->count++].memory = p;
        if (bytes > BL_CHUNK / 2) {
            a->taken += bytes;
            return p;
        }
        a->at = p;
        a->end = p + size;
    }
    char *p = a->at;
    a->at += bytes;
    a->taken += bytes;
    return p;
}

void bl_arena_free(bl_arena *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->block[i].from == BL_POOLED)
            bl_chunk_give(a->block[i].memory);
        else if (a->block[i].from == BL_HEAP)
            free(a->block[i].memory);
        else
            munmap(a->block[i].memory, a->block[i].bytes);
    }
    free(a->block);
    *a = (bl_arena){0};
}
