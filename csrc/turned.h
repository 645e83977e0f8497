/* Calls that are made of others, because no BLAS has them by columns: what a row-major program asked for where its
 * routine conjugates without transposing. */
#ifndef BL_TURNED_H
#define BL_TURNED_H

#include "call.h"

/* Only entries make such calls: rules know better. */
static inline bool bl_is_turned(const bl_call *c)
{
    if (!c->row_major)
        return false;
    switch (c->routine) {
    case BL_GEMV:
    case BL_GBMV:
        return c->flag[0] == 'r';
    case BL_TRMV:
    case BL_TRSV:
    case BL_TBMV:
    case BL_TBSV:
    case BL_TPMV:
    case BL_TPSV:
        return c->flag[1] == 'r';
    case BL_GERC:
        return c->flag[0] == 'C';
    case BL_HEMV:
    case BL_HBMV:
    case BL_HPMV:
    case BL_HER:
    case BL_HPR:
    case BL_HER2:
    case BL_HPR2:
        return c->flag[1] == 'C';
    default:
        return false;
    }
}

void bl_run_turned(const bl_call *c);

#endif
