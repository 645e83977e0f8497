/* Whole active values, and operands in memory of nobody's that are copies of one (semantics 7, "Unseen reads").
 *
 * A value is what a recorded call left in an active output, or what an annotated array held. It is known by its place:
 * base, lengths and strides of its axes longer than 1. The next value in the same place replaces it, so there are as
 * many as there are distinct places. An operand is looked up by the sum of its content (bl_content_sum), which no order
 * of elements changes, and then compared bit for bit with the elements of the value in each order of its axes. Of more
 * than four axes only four orders are tried: ascending and descending strides, first and last index fastest.
 *
 * Of values that were replaced only the sum is kept, of some thousands of them: a copy can outlive its value.
 *
 * Owned by one tape, used by its thread only.
 */
#ifndef BL_RECOGNIZE_H
#define BL_RECOGNIZE_H

#include "fingerprint.h"
#include "order.h"

enum { BL_NEAR_AXES = 2, BL_GONE_WAYS = 4 };

typedef struct bl_value {
    char *base;
    uint64_t place; /* hash of all that says where it is */
    int64_t bytes;
    uint64_t sum;
    uint64_t filed; /* the sum under which it is in its bucket */
    size_t event;
    uint32_t next;   /* 1 + index of the next one in the bucket, 0 at the end */
    uint32_t behind; /* the same for those that wait to be filed */
    uint8_t element, width;
    uint8_t axes;
    bool scratch; /* its memory may vanish at any time */
    bool waits, is_filed;
    union {
        bl_axis near[BL_NEAR_AXES];
        bl_axis *far;
    } axis; /* up to BL_ALL_ORDERS axes: by ascending stride, whatever its sign; more: as they came */
} bl_value;

typedef struct bl_gone {
    uint64_t key; /* 0: none */
    size_t event;
} bl_gone;

typedef struct bl_value_set {
    bl_value *value;
    size_t count, capacity;
    uint32_t *slot;   /* open addressing over places; 1 + index; `slots` is a power of two */
    uint32_t *bucket; /* as many chains over sums */
    uint32_t waiting; /* a list: noting is frequent, searches are rare, so buckets are set right by a search only */
    bl_gone (*gone)[BL_GONE_WAYS]; /* sets of what was replaced, each with the latest first */
    size_t slots;
    uint32_t last; /* 1 + index of the one noted last */
} bl_value_set;

enum bl_match_kind {
    BL_MATCH_NONE,
    BL_MATCH_GONE, /* has the content of a value that is not in its place any more */
    BL_MATCH_HERE, /* equal, bit for bit, to what is in the value's place now */
};

typedef struct bl_match {
    size_t event;          /* of the value; the latest one if there are several */
    const bl_value *value; /* valid until the next note; NULL: replaced */
    /* only if HERE: */
    bool ambiguous; /* other elements, or the same ones in another order, are as equal (a symmetric matrix) */
    int width;
    bl_order order; /* the value's elements in the order of the operand's */
} bl_match;

/* What `place` holds from `event` on, with the sum of its content. `scratch`: memory that may be given back, and is
 * never read where it is. An array without elements is no value. False: no memory, and nothing is noted. */
bool bl_values_note(bl_value_set *vs, const bl_array *place, bool scratch, uint64_t sum, size_t event);

/* The same for the value of this number (`last` after it was noted), in the same place again. */
bool bl_values_again(bl_value_set *vs, uint32_t last, uint64_t sum, size_t event);

/* Is the operand, in memory order, a copy of a value? A value that shares elements with it is no candidate. `width` is
 * that of the operand's real numbers; complex ones are pairs of them, and compared as what the value is made of.
 * *found is set unless NONE. */
enum bl_match_kind bl_values_find(bl_value_set *vs, const bl_view *operand, int width, uint64_t sum, bl_match *found);

/* The copies that make the operand out of the value that is HERE, until one returns false. */
bool bl_match_pieces(const bl_match *m, const bl_view *operand, bool (*piece)(void *context, const bl_piece *p),
                     void *context);

/* Are all elements of the same bits? */
bool bl_all_equal(const bl_view *v, int64_t element);

void bl_values_free(bl_value_set *vs);

#endif
