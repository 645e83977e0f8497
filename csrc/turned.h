/* Calls that are made of others, because no BLAS has them by columns: what a row-major program asked for where its
 * routine conjugates without transposing. */
#ifndef BL_TURNED_H
#define BL_TURNED_H

#include "call.h"

/* Only entries make such calls: rules know better. */
static inline bool bl_is_turned(const bl_call *c)
{
    return c->row_major &&
           ((c->routine == BL_GEMV && c->flag[0] == 'r') ||
            ((c->routine == BL_TRMV || c->routine == BL_TRSV) && c->flag[1] == 'r') ||
            (c->routine == BL_GERC && c->flag[0] == 'C') ||
            ((c->routine == BL_HEMV || c->routine == BL_HER || c->routine == BL_HER2) && c->flag[1] == 'C'));
}

void bl_run_turned(const bl_call *c);

#endif
