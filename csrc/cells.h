/* Cells: where the numbers are that BLAS routines return (semantics 8).
 *
 * A returned number has no memory that a tape could follow, so the entry gives its call some: the canonical call's
 * result operand is a cell, and what the program gets is a copy of it. All layers that see a call see one cell, which
 * none of them owns: cells come in blocks that live as long as some tape which has recorded an active number there.
 */
#ifndef BL_CELLS_H
#define BL_CELLS_H

#include "call.h"

typedef struct bl_cells {
    char *block; /* the one that cells are taken from, or NULL */
    size_t used; /* bytes of it */
    char **held;
    size_t count, capacity;
} bl_cells;

struct bl_layer;

/* Points the result of a call at a new cell of the innermost tape's, unless all tapes have an error. If memory is short
 * it stays where it is, and all tapes that would see the call get an error. */
void bl_give_cell(struct bl_layer *top, bl_operand *result);

/* The next cell, NULL if memory is short. */
void *bl_cells_take(bl_cells *cells);
/* Keeps a cell for as long as these are there. False if memory is short. */
bool bl_cells_hold(bl_cells *cells, void *cell);
void bl_cells_free(bl_cells *cells);

#endif
