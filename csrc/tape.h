/* The open tapes of the process. The lock guards their list, the indexes of their regions while another thread may look
 * at them, and the errors that other threads leave. */
#ifndef BL_TAPE_H
#define BL_TAPE_H

#include <stdbool.h>

#include "blasad.h"

void bl_tapes_lock(void);
void bl_tapes_unlock(void);
/* In a child of fork, under the lock: forgets the tapes of threads that it does not have. */
void bl_tapes_only_mine(void);

/* Is it the calling thread's? */
bool bl_is_mine(const blasad_tape *t);

#endif
