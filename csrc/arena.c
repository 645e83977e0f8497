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

void *bl_arena_take(bl_arena *a, size_t bytes)
{
    bytes = (bytes + 63) & ~(size_t)63;
    if (a->at && bytes <= (size_t)(a->end - a->at)) {
        char *p = a->at;
        a->at += bytes;
        return p;
    }
    if (!bl_grow(&a->block, &a->capacity, a->count, sizeof *a->block))
        return NULL;
    bool small = bytes <= BL_CHUNK / 2;
    char *p = small ? bl_chunk_take() : aligned_alloc(64, bytes);
    if (!p)
        return NULL;
    a->block[a->count].is_chunk = small;
    a->block[a->count].bytes = small ? BL_CHUNK : bytes;
    a->block[a->count++].memory = p;
    if (small) {
        a->at = p + bytes;
        a->end = p + BL_CHUNK;
    }
    return p;
}

void bl_arena_free(bl_arena *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->block[i].is_chunk)
            bl_chunk_give(a->block[i].memory);
        else
            free(a->block[i].memory);
    }
    free(a->block);
    *a = (bl_arena){0};
}
