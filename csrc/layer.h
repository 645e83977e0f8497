/* The stack of layers a call falls through on its thread, down to the BLAS that serves it.
 *
 * A layer never calls the BLAS: it passes calls to the layer below it (bl_pass). Tapes are layers; so is what may come
 * to log, count or assert. A thread's stack belongs to that thread alone and is linked through the layers, whose owners
 * (tapes) push and pop them; no lock is taken on the way of a call.
 */
#ifndef BL_LAYER_H
#define BL_LAYER_H

#include <stdatomic.h>

#include "call.h"

typedef struct bl_layer bl_layer;
struct bl_layer {
    void (*call)(bl_layer *self, bl_call *c);
    /* The program made a call that BLAS defines as an error: `argument` (1-based, as the program numbered it). */
    void (*refused)(bl_layer *self, const bl_call *c, int argument);
    bl_layer *below;
};

struct bl_binding;

/* What a thread knows. `bound` is first because csrc/thunk.S stores to it. */
typedef struct bl_thread {
    const struct bl_binding *bound; /* the thunk through which the call in progress came in */
    bl_layer *top;
    int depth; /* layers of this thread */
} bl_thread;

extern _Thread_local bl_thread bl_thread_state;

/* Number of layers in the process: while it is 0, entries look no further. */
extern atomic_int bl_armed;

static inline void bl_pass(bl_layer *layer, bl_call *c)
{
    void bl_backend_run(const bl_call *c);
    if (layer)
        layer->call(layer, c);
    else
        bl_backend_run(c);
}

void bl_layer_push(bl_layer *layer);
/* False if the layer is not the innermost of this thread. */
bool bl_layer_pop(bl_layer *layer);

#endif
