#include "layer.h"

_Thread_local bl_thread bl_thread_state;
atomic_int bl_armed;

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
