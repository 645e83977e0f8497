/* fork: the child has one thread, and every lock in the state of that moment. All locks are taken around it, so that
 * they are free in parent and child. Tapes that other threads of the parent have open have no thread in the child that
 * could call for them; the forking thread's own tape goes on in both, each with its copy of the memory. */
#include <pthread.h>
#include <stdlib.h>

#include "arena.h"
#include "backend.h"
#include "layer.h"
#include "tape.h"

static void take(void)
{
    bl_layers_lock();
    bl_tapes_lock();
    bl_backends_lock();
    bl_pool_lock();
}

static void release(void)
{
    bl_pool_unlock();
    bl_backends_unlock();
    bl_tapes_unlock();
    bl_layers_unlock();
}

static void release_in_child(void)
{
    bl_tapes_only_mine();
    release();
}

__attribute__((constructor)) static void install(void)
{
    if (pthread_atfork(take, release, release_in_child) != 0)
        abort();
}
