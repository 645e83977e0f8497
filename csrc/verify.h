/* Verification (semantics 7): what recorded events left in memory is what later ones find there. */
#ifndef BL_VERIFY_H
#define BL_VERIFY_H

#include "record.h"

/* Before a call: what it reads of annotations, and what is saved of them, is as it was left; windows are checked when
 * the call is looked at (touch.h). False: an error was left on the tape. */
bool bl_verify_before(blasad_tape *t, const bl_call *c, const bl_touch *w);
/* After it: what it left. */
void bl_verify_after(blasad_tape *t, const bl_call *c, const bl_touch *w);

/* What is read of an annotation (as active, or because its value is needed) and what is saved of it is as the last
 * event left it; else where it is not. */
const char *bl_changed_before(bl_region *r, const bl_view *v, bool read, bool needed, bool written);
/* What an event left in v, of which r is the owner, and the sum of it; or only read. */
uint64_t bl_left_behind(bl_region *r, const bl_view *v, bool written);
/* Tells the tape that the element at p changed before `when`. */
void bl_changed(blasad_tape *t, const bl_region *r, const char *p, const char *when);

#endif
