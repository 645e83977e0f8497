/* Lives of numbers in undeclared memory (semantics 1, 7): recorded calls begin them, overwriting and forgetting ends
 * them. The end of an active life is a record of its own, which clears. */
#ifndef BL_LIFE_H
#define BL_LIFE_H

#include "record.h"

/* A recorded call leaves values in a part of a window: known ones, active or not. False if memory is short. */
bool bl_window_mark(blasad_tape *t, bl_region *g, const bl_view *part, bool live);
/* What lies below this frame on the thread's stack has been left: its lives have ended. */
void bl_stack_left(blasad_tape *t, uintptr_t frame);
/* Ends the life of v, of which something is live. False if memory is short. */
bool bl_end_life(blasad_tape *t, bl_region *g, const bl_view *v, uint16_t symbol);
/* Whatever is live in v. */
bool bl_end_lives(blasad_tape *t, const bl_call *c, const bl_view *v);
/* Numbers of the other width that are overwritten in a part, or by a call: nothing is left of them. Before the record
 * of that is made. False if memory is short. */
bool bl_end_twin(blasad_tape *t, const bl_region *g, const bl_view *part, uint16_t symbol);
bool bl_end_twins(blasad_tape *t, const bl_call *c, const bl_touch *w);

#endif
