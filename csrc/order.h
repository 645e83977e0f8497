/* The elements of an array of any number of axes in an order of its axes: which orders there are, whether an operand
 * has the same content, and which plain copies would make it so. */
#ifndef BL_ORDER_H
#define BL_ORDER_H

#include "region.h"

typedef struct bl_axis {
    int64_t length, stride; /* bytes */
} bl_axis;

enum { BL_ALL_ORDERS = 4 }; /* axes; of more, not all orders are tried */

/* The elements of an array in one order: runs of contiguous bytes, and the axes over them, fastest first. Contiguous
 * ones are joined, so that equal sequences of addresses are equal orders. */
typedef struct bl_order {
    char *base;
    int64_t run;
    int axes;
    bl_axis axis[BL_MAX_AXES];
} bl_order;

/* A plain copy of rows x cols real numbers between column-major matrices; ld >= rows, in real numbers. */
typedef struct bl_piece {
    char *source, *destination;
    int64_t rows, cols, source_ld, destination_ld;
} bl_piece;

static inline int64_t bl_magnitude(const bl_axis *a) { return a->stride < 0 ? -a->stride : a->stride; }
/* By ascending stride, whatever its sign. */
void bl_axes_sort(bl_axis *axis, int n);

/* The k-th order of the elements of `element` bytes, the first one being that of the axes as they are; false: there are
 * no more. */
bool bl_order_pick(bl_order *o, char *base, int64_t element, const bl_axis *axis, int n, int k);
/* That of their addresses. */
void bl_order_ascending(bl_order *o, char *base, int64_t element, const bl_axis *axis, int n);
bool bl_orders_same(const bl_order *a, const bl_order *b);

/* The elements of an ascending order, as views along its fastest axis. */
int64_t bl_order_slices(const bl_order *o);
bl_view bl_order_slice(const bl_order *o, int64_t k);

/* Is the content the same, bit for bit, and in this order? Both have as many bytes. */
bool bl_order_equals(const bl_order *o, const bl_view *v);
/* The copies of numbers of `width` bytes that lay the elements out as those of `to`, until one returns false. */
bool bl_order_copies(const bl_order *o, const bl_view *to, int width, bool (*piece)(void *context, const bl_piece *p),
                     void *context);

#endif
