/* A recorded call for its rule: where its values and shadows are, gathered into workspace where no single place has all
 * of them, and scattered back. Gathering and scattering are calls to the layer below, like all arithmetic. */
#ifndef BL_SITE_H
#define BL_SITE_H

#include "record.h"

/* Workspace as large as the records so far want it, in t->work; false if memory is short. To the layers below it is
 * memory like any other. */
bool bl_work_begin(blasad_tape *t, bl_layer *below);
void bl_work_end(blasad_tape *t, bl_layer *below);

/* Bytes of workspace that a record takes, its rule's own aside: 0 unless it has operands of several owners. */
size_t bl_site_room(const bl_call *c, const bl_record *r, const bl_extra *x);

/* The values of the operands in `needs` as the call saw them, or left them, into c. Returns where workspace goes on. */
char *bl_site_values(blasad_tape *t, const bl_path *to, const bl_record *r, bl_call *c, unsigned needs, char *work);

/* Shadows of one of the batch. Inputs of several owners get zeros to add to in reverse mode and the tangents in forward
 * mode. */
void bl_site_shadows(blasad_tape *t, const bl_record *r, int shadow, bl_site *s, char *work);
/* What the rule left in workspace goes back: outputs are stored, inputs (in reverse mode) added. */
void bl_site_scatter(blasad_tape *t, const bl_record *r, int shadow, const bl_site *s);

#endif
