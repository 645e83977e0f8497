/* gemm_batch and gemm_batch_strided, as their entries take them: to a tape they are calls of gemm. */
#ifndef BL_BATCHED_H
#define BL_BATCHED_H

#include "entry.h"

/* Each argument points to as many values as there are groups; of what is passed by value, or of a batch with strides,
 * to the only one. */
typedef struct bl_batch {
    int type;
    bool cblas, wide; /* flags are CBLAS's numbers; integers have 64 bits */
    bool arrays;      /* operands point to pointers to each member, or else to the first */
    bool by_value;    /* alpha and beta */
    int layout;
    const void *flag[2], *dim[3], *scalar[2], *ld[3], *stride[3], *operand[3];
    const void *groups; /* how many; NULL: one */
    const void *sizes;
    const void *frame, *caller;
} bl_batch;

/* Makes the calls and tells the layers of each; or, BL_ALONE, leaves all of it to the BLAS, since there is nothing to
 * do or an argument is illegal. */
enum bl_next bl_tell_batch(const bl_batch *b, const bl_binding *g);

#endif
