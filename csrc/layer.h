/* The stack of layers that a call falls through on its thread, on its way to the BLAS that serves it.
 *
 * Each layer sees the call before it is made, from the innermost to the outermost, and after it, the other way round;
 * between them the call itself is made once, by the entry with the program's own arguments, or from the canonical call.
 * A layer never calls the BLAS: what it does to numbers are calls, which it passes to the layers below it (bl_pass).
 * Tapes are layers; so is what may come to log, count or assert. A thread's stack belongs to that thread alone and is
 * linked through the layers, whose owners (tapes) push and pop them; no lock is taken on the way of a call.
 *
 * Layers of all threads lie below those of each thread, in a stack of their own. For the time of a call, or whatever
 * else is told to layers, a thread links them below its own (bl_splice) and holds a lock: calls that they see are made
 * one after the other, which is the one order that all threads agree about.
 */
#ifndef BL_LAYER_H
#define BL_LAYER_H

#include <stdatomic.h>

#include "call.h"

typedef struct bl_layer bl_layer;
struct blasad_operation;

enum bl_seen {
    BL_SEEN,       /* nothing to do after the call */
    BL_SEEN_AFTER, /* `after` shall be called as well */
    BL_ILLEGAL     /* not recorded: an argument is illegal, which a layer may notice before it was told (`refused`) */
};

enum { BL_ABANDONED = -1 };

struct bl_layer {
    enum bl_seen (*before)(bl_layer *self, const bl_call *c);
    void (*after)(bl_layer *self, const bl_call *c);
    /* The program made a call that BLAS defines as an error: `argument` (1-based, as the program numbered it); 0: it is
     * too large for the BLAS behind it; BL_ABANDONED: the recorded call before it was left by a jump. */
    void (*refused)(bl_layer *self, const bl_call *c, int argument);
    /* The numbers in [lo, hi) have ended: the memory is freed, or will be used for something else. */
    void (*forget)(bl_layer *self, char *lo, char *hi);
    /* An operation of the program's own begins and ends (operation.h). */
    void (*operate)(bl_layer *self, struct blasad_operation *o);
    void (*operated)(bl_layer *self, struct blasad_operation *o);
    /* Somebody wrote operand 0 of a call that was made before, and says so. */
    void (*rewritten)(bl_layer *self, const bl_call *c);
    bl_layer *below;
    atomic_int held;  /* of all threads: by interludes */
    bool wants_after; /* what `before` said of the call in progress */
};

struct bl_binding;

/* What a thread knows. `bound` is first because csrc/thunk.S stores to it. */
typedef struct bl_thread {
    const struct bl_binding *bound; /* the thunk through which the call in progress came in */
    bl_layer *top;
    int depth;            /* layers of this thread */
    bool paused;          /* an operation of the program's own runs: its calls are not recorded */
    bool in_jvp;          /* the tape that asked for it is not among `top` and those below */
    bl_layer **splice;    /* while the layers of all threads are linked below its own: where */
    unsigned long serial; /* of this thread, from 1; 0 until it opens a tape */
    /* Frame of the entry whose recorded call is in progress, or NULL: what the BLAS itself calls in it, deeper in the
     * stack, is part of it. An entry that is not deeper finds a call that was left by a jump. */
    const void *inside;
} bl_thread;

extern _Thread_local bl_thread bl_thread_state;

/* Number of layers in the process: while it is 0, entries look no further. */
extern atomic_int bl_armed;

/* All layers from `top` down; true if some layer wants to see the call afterwards. */
bool bl_layers_before(bl_layer *top, const bl_call *c);
void bl_layers_after(bl_layer *top, const bl_call *c);

void bl_layers_forget(bl_layer *top, char *lo, char *hi);

/* Makes a call, from the canonical form, under the eyes of `top` and all below it. */
void bl_pass(bl_layer *top, const bl_call *c);

/* Links the layers of all threads below this thread's own, if there are any; true: to be undone. */
bool bl_splice(void);
void bl_unsplice(void);
/* Around a function of the user's that is called while they are linked: it may open tapes, fork, and wait for threads
 * that make calls. What was linked stays (bl_layer_pop refuses it) and is linked again. */
typedef struct bl_interlude {
    bool linked;
    bl_layer *everywhere;
} bl_interlude;
bl_interlude bl_interlude_begin(void);
void bl_interlude_end(bl_interlude i);
/* In a child of fork, under the lock: a layer of all threads whose owner is gone; and the count of what is left. */
void bl_layer_drop(bl_layer *layer);
void bl_layers_count(void);
/* Around fork. */
void bl_layers_lock(void);
void bl_layers_unlock(void);

void bl_layer_push(bl_layer *layer, bool everywhere);
/* False if the layer is not the innermost of this thread, or of all threads. */
bool bl_layer_pop(bl_layer *layer, bool everywhere);
bl_layer *bl_innermost(void);

#endif
