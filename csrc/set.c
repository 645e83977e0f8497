#include "set.h"

#include <stdlib.h>

/* The slot that holds the key, or the empty one where it belongs. */
static size_t place(const bl_set *s, bl_key k)
{
    uint64_t h = (k.a ^ (k.b << 1 | k.b >> 63) ^ k.tag) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 24) & (s->slots - 1);
    while (s->slot[i].tag && (s->slot[i].tag != k.tag || s->slot[i].a != k.a || s->slot[i].b != k.b))
        i = (i + 1) & (s->slots - 1);
    return i;
}

bool bl_set_add(bl_set *s, bl_key key)
{
    if (s->count * 2 >= s->slots) {
        bl_set larger = {.slots = s->slots ? s->slots * 2 : 64, .count = s->count};
        larger.slot = calloc(larger.slots, sizeof *larger.slot);
        if (!larger.slot)
            return false;
        for (size_t i = 0; i < s->slots; i++)
            if (s->slot[i].tag)
                larger.slot[place(&larger, s->slot[i])] = s->slot[i];
        free(s->slot);
        *s = larger;
    }
    size_t i = place(s, key);
    s->count += !s->slot[i].tag;
    s->slot[i] = key;
    return true;
}

bool bl_set_has(const bl_set *s, bl_key key) { return s->count && s->slot[place(s, key)].tag; }

void bl_set_free(bl_set *s)
{
    free(s->slot);
    *s = (bl_set){0};
}
