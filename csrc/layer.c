#include "layer.h"

#include <pthread.h>

#include "backend.h"

_Thread_local bl_thread bl_thread_state;
atomic_int bl_armed;

bool bl_layers_before(bl_layer *top, const bl_call *c)
{
    bool after = false;
    for (bl_layer *l = top; l; l = l->below)
        after |= l->wants_after = l->before(l, c) == BL_SEEN_AFTER;
    return after;
}

void bl_layers_after(bl_layer *top, const bl_call *c)
{
    if (top->below)
        bl_layers_after(top->below, c);
    if (top->wants_after)
        top->after(top, c);
}

void bl_layers_forget(bl_layer *top, char *lo, char *hi)
{
    for (bl_layer *l = top; l; l = l->below)
        l->forget(l, lo, hi);
}

void bl_pass(bl_layer *top, const bl_call *c)
{
    bool after = top && bl_layers_before(top, c);
    bl_backend_run(c);
    if (after)
        bl_layers_after(top, c);
}

/* ---- the stacks */

static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static bl_layer *everywhere; /* of all threads, under the lock */
static atomic_int everywhere_count;

void bl_layers_lock(void) { pthread_mutex_lock(&shared); }
void bl_layers_unlock(void) { pthread_mutex_unlock(&shared); }

bool bl_splice(void)
{
    if (bl_thread_state.splice || bl_thread_state.paused ||
        atomic_load_explicit(&everywhere_count, memory_order_relaxed) == 0)
        return false;
    bl_layers_lock();
    bl_layer **end = &bl_thread_state.top;
    while (*end)
        end = &(*end)->below;
    *end = everywhere;
    bl_thread_state.splice = end;
    return true;
}

void bl_unsplice(void)
{
    *bl_thread_state.splice = NULL;
    bl_thread_state.splice = NULL;
    bl_layers_unlock();
}

bl_interlude bl_interlude_begin(void)
{
    const bool linked = bl_thread_state.splice;
    const bl_interlude i = {linked, linked ? everywhere : NULL};
    for (bl_layer *l = i.everywhere; l; l = l->below)
        atomic_fetch_add(&l->held, 1);
    if (linked)
        bl_unsplice();
    return i;
}

void bl_interlude_end(bl_interlude i)
{
    if (!i.linked)
        return;
    bl_layers_lock();
    for (bl_layer *l = i.everywhere; l; l = l->below)
        atomic_fetch_sub(&l->held, 1);
    bl_layer **end = &bl_thread_state.top;
    while (*end)
        end = &(*end)->below;
    *end = i.everywhere;
    bl_thread_state.splice = end;
}

void bl_layer_push(bl_layer *layer, bool all)
{
    if (all)
        bl_layers_lock();
    bl_layer **top = all ? &everywhere : &bl_thread_state.top;
    layer->below = *top;
    *top = layer;
    if (all) {
        atomic_fetch_add(&everywhere_count, 1);
        bl_layers_unlock();
    } else {
        bl_thread_state.depth++;
    }
    atomic_fetch_add(&bl_armed, 1);
}

bool bl_layer_pop(bl_layer *layer, bool all)
{
    if (all)
        bl_layers_lock();
    bl_layer **top = all ? &everywhere : &bl_thread_state.top;
    const bool innermost = *top == layer && atomic_load(&layer->held) == 0;
    if (innermost) {
        *top = layer->below;
        atomic_fetch_sub(&bl_armed, 1);
        if (all)
            atomic_fetch_sub(&everywhere_count, 1);
        else
            bl_thread_state.depth--;
    }
    if (all)
        bl_layers_unlock();
    return innermost;
}

void bl_layer_drop(bl_layer *layer)
{
    for (bl_layer **p = &everywhere; *p; p = &(*p)->below)
        if (*p == layer) {
            *p = layer->below;
            atomic_fetch_sub(&everywhere_count, 1);
            return;
        }
}

void bl_layers_count(void) { atomic_store(&bl_armed, bl_thread_state.depth + atomic_load(&everywhere_count)); }

bl_layer *bl_innermost(void)
{
    const bl_thread *me = &bl_thread_state;
    if (me->top || me->paused || me->splice || atomic_load(&everywhere_count) == 0)
        return me->top;
    bl_layers_lock();
    bl_layer *top = everywhere;
    bl_layers_unlock();
    return top;
}
