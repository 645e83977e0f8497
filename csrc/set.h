/* A set of small keys, for what a tape must remember of every call but must not pay for at every call. */
#ifndef BL_SET_H
#define BL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_key {
    uint64_t a, b;
    uint32_t tag; /* 0 is reserved: an empty slot */
} bl_key;

typedef struct bl_set {
    bl_key *slot; /* open addressing; `slots` is a power of two */
    size_t slots, count;
} bl_set;

/* False if memory is short. */
bool bl_set_add(bl_set *s, bl_key key);
bool bl_set_has(const bl_set *s, bl_key key);
void bl_set_free(bl_set *s);

#endif
