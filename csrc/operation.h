/* Operations of the program's own, which are no BLAS (semantics 7): recorded with the functions that differentiate
 * them. An operation is shared by the tapes that recorded it; whoever is the last to give it back frees it. */
#ifndef BL_OPERATION_H
#define BL_OPERATION_H

#include "record.h"

void bl_tape_operate(bl_layer *self, blasad_operation *o);
void bl_tape_operated(bl_layer *self, blasad_operation *o);
void bl_operation_give(blasad_operation *o);

/* Replay. First the values of the outputs, as they were left; then, when what the operation overwrote is in the mirrors
 * again, the rest. Returns a blasad_code. */
void bl_operation_outputs(blasad_tape *t, const bl_record *r, const bl_path *to);
int bl_operation_adjoint(blasad_tape *t, const bl_record *r, const bl_path *to);

#endif
