/* Unseen reads (semantics 7): operands that nobody declared, and that are copies of a whole active value. */
#ifndef BL_COPIES_H
#define BL_COPIES_H

#include "record.h"

/* A copy may be one of what an annotated array holds. False if memory is short. */
bool bl_copies_annotated(blasad_tape *t, bl_region *r, const bl_array *x);
/* Or of what a call left in output i, with the sum of that content. */
void bl_copies_output(blasad_tape *t, const bl_call *c, const bl_touch *w, int i, uint64_t sum);

/* Is v a copy of a value that is still in its place? */
bool bl_copies_is_one(blasad_tape *t, const bl_call *c, const bl_view *v);

enum bl_copies_found { BL_COPIES_NONE, BL_COPIES_FOLLOWED /* look at the call again */, BL_COPIES_ERROR };

/* Looks for copies among the operands that a call is about to take for constant. */
enum bl_copies_found bl_copies_look(blasad_tape *t, const bl_call *c, const bl_touch *w);

#endif
