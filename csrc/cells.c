#include "cells.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "arena.h"
#include "record.h"

/* Blocks are aligned to their size, so that a cell tells its own. The count of their holders comes first. */
enum { BLOCK = 4096, CELL = 16, FIRST = 64 };

typedef struct block {
    atomic_int holders;
} block;

static block *block_of(char *cell) { return (block *)(cell - ((uintptr_t)cell & (BLOCK - 1))); }

static bool hold(bl_cells *cells, block *b)
{
    if (!bl_grow(&cells->held, &cells->capacity, cells->count, sizeof *cells->held))
        return false;
    atomic_fetch_add(&b->holders, 1);
    cells->held[cells->count++] = (char *)b;
    return true;
}

void *bl_cells_take(bl_cells *cells)
{
    if (!cells->block || cells->used == BLOCK) {
        block *b = aligned_alloc(BLOCK, BLOCK);
        if (!b)
            return NULL;
        atomic_init(&b->holders, 0);
        if (!hold(cells, b)) {
            free(b);
            return NULL;
        }
        cells->block = (char *)b;
        cells->used = FIRST;
    }
    char *cell = cells->block + cells->used;
    cells->used += CELL;
    return cell;
}

bool bl_cells_hold(bl_cells *cells, void *cell)
{
    block *b = block_of(cell);
    /* calls come in order, so the last one or two are what is asked for again */
    for (size_t i = cells->count; i-- > 0 && i + 2 >= cells->count;)
        if (cells->held[i] == (char *)b)
            return true;
    return hold(cells, b);
}

void bl_cells_free(bl_cells *cells)
{
    for (size_t i = 0; i < cells->count; i++) {
        block *b = (block *)cells->held[i];
        if (atomic_fetch_sub(&b->holders, 1) == 1)
            free(b);
    }
    free(cells->held);
}

void bl_give_cell(bl_layer *top, bl_operand *result)
{
    bool recorded = false;
    for (bl_layer *l = top; l && !recorded; l = l->below)
        recorded = atomic_load_explicit(&((blasad_tape *)l)->error, memory_order_relaxed) == BLASAD_OK;
    if (!recorded)
        return;
    void *cell = bl_cells_take(&((blasad_tape *)top)->cells);
    if (cell)
        result->base = cell;
    for (bl_layer *l = top; !cell && l; l = l->below)
        bl_out_of_memory((blasad_tape *)l);
}
