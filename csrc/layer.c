#include "layer.h"

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

void bl_layer_push(bl_layer *layer)
{
    layer->below = bl_thread_state.top;
    bl_thread_state.top = layer;
    bl_thread_state.depth++;
    atomic_fetch_add(&bl_armed, 1);
}

bool bl_layer_pop(bl_layer *layer)
{
    if (bl_thread_state.top != layer)
        return false;
    bl_thread_state.top = layer->below;
    bl_thread_state.depth--;
    atomic_fetch_sub(&bl_armed, 1);
    return true;
}
