#include "life.h"

#include <pthread.h>

#include "entry.h"
#include "tape.h"

/* A recorded call leaves values in a window: known ones, which are active or not. */
/* This thread's stack; asking the system for it costs a lot. */
static _Thread_local uintptr_t stack_lo, stack_hi;

static bool on_stack(uintptr_t p)
{
    if (!stack_hi) {
        pthread_attr_t attributes;
        void *lo;
        size_t bytes;
        stack_hi = 1; /* not known: nothing is on it */
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            if (pthread_attr_getstack(&attributes, &lo, &bytes) == 0) {
                stack_lo = (uintptr_t)lo;
                stack_hi = stack_lo + bytes;
            }
            pthread_attr_destroy(&attributes);
        }
    }
    return p >= stack_lo && p < stack_hi;
}

void bl_stack_left(blasad_tape *t, uintptr_t frame)
{
    if (!on_stack(frame) || !bl_is_mine(t)) /* a coroutine's stack is somewhere else */
        return;
    char *low = (char *)t->stack_low, *end = (char *)frame;
    bl_tape_forget(&t->layer, low, end);
    t->stack_low = UINTPTR_MAX;
    for (size_t i = 0; i < t->regions.windows; i++) {
        const bl_region *g = t->regions.window[i];
        if (!g->used_lo || end >= g->used_hi || end < g->lo)
            continue;
        const size_t to = bl_unit(g, g->used_hi - 1) + 1, next = bl_bits_next(g->live, bl_unit(g, end), to, 0);
        const uintptr_t at = (uintptr_t)g->lo + (next << g->shift);
        if (next < to && on_stack(at) && at < t->stack_low)
            t->stack_low = at;
    }
}

bool bl_window_mark(blasad_tape *t, bl_region *g, const bl_view *part, bool live)
{
    const size_t from = bl_unit(g, part->base), to = from + ((size_t)part->column >> g->shift);
    if (live && t->mode == BLASAD_FORWARD && !g->shadows && !bl_window_shadows(g, bl_batch(t)))
        return false;
    bl_bits_set(g->known, from, to);
    if (g->twin)
        bl_bits_clear(g->twin->known, bl_unit(g->twin, part->base), bl_unit(g->twin, part->end - 1) + 1);
    if (!g->used_lo || part->base < g->used_lo || part->end > g->used_hi) {
        bl_tapes_lock();
        g->used_hi = g->used_lo && g->used_hi > part->end ? g->used_hi : part->end;
        g->used_lo = g->used_lo && g->used_lo < part->base ? g->used_lo : part->base;
        bl_tapes_unlock();
    }
    if (live || bl_live_any(g, from, to))
        bl_live_set(g, from, to, live);
    g->lived |= live;
    /* of the owner only: the frames of other threads say nothing about it */
    if (live && (uintptr_t)part->base < t->stack_low && bl_is_mine(t) && on_stack((uintptr_t)part->base))
        t->stack_low = (uintptr_t)part->base;
    for (int i = 0; live && i < BL_MAX_SCALARS; i++)
        if ((const char *)t->constant[i] + 16 > part->base && (const char *)t->constant[i] < part->end)
            t->constant[i] = NULL;
    return true;
}

/* The life of live numbers in a window ends: its shadow is cleared here in reverse mode, its tangent in forward mode,
 * as by a call that writes constants. */
bool bl_end_life(blasad_tape *t, bl_region *g, const bl_view *v, uint16_t symbol)
{
    if (!bl_more_records(t))
        return false;
    const bool twice = g->shift == 3;
    bl_record *r = t->at;
    *r = (bl_record){.routine = BL_MSCAL,
                     .type = twice ? BL_D : BL_S,
                     .flag = {'N', 'A'},
                     .write = BL_OPERAND(0),
                     .shadowed = BL_OPERAND(0),
                     .symbol = symbol,
                     .base = {v->base},
                     .dim = {(int32_t)(v->column >> g->shift), (int32_t)v->columns},
                     .ld = {(int32_t)(v->stride >> g->shift)},
                     .place = {g->id}};
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t from = bl_unit(g, bl_view_column(v, j)), to = from + ((size_t)bl_column_bytes(v, j) >> g->shift);
        bl_live_set(g, from, to, false);
    }
    t->at = r + 1;
    t->count++;
    bl_call c;
    bl_unpack(t, r, &c);
    return t->mode == BLASAD_REVERSE || bl_tangent_call(t, &c, r);
}

bool bl_end_lives(blasad_tape *t, const bl_call *c, const bl_view *v)
{
    bl_parts parts = bl_parts_of(&t->regions, v, c->width, false);
    bl_region *g;
    bl_view part;
    while (bl_parts_next(&parts, &g, &part))
        if (g->window && bl_live_any(g, bl_unit(g, part.base), bl_unit(g, part.end - 1) + 1) &&
            !bl_end_life(t, g, &part, BL_SYMBOL_FORGET))
            return false;
    return true;
}

bool bl_end_twin(blasad_tape *t, const bl_region *g, const bl_view *part, uint16_t symbol)
{
    bl_region *q = g->window ? g->twin : NULL;
    if (!q)
        return true;
    char *lo = q->lo + (bl_unit(q, part->base) << q->shift);
    const bl_view whole =
        bl_view_run(lo, ((part->end - 1 - q->lo) >> q->shift << q->shift) + (1 << q->shift) - (lo - q->lo));
    return !bl_live_any(q, bl_unit(q, lo), bl_unit(q, whole.end - 1) + 1) || bl_end_life(t, q, &whole, symbol);
}

bool bl_end_twins(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        if (!(w->plan->access.write & BL_OPERAND(i)) || !w->region[i])
            continue;
        const bl_view v = bl_touched_view(w, i);
        bl_parts parts = bl_parts_of(&t->regions, &v, c->width, false);
        bl_region *g;
        bl_view part;
        while (bl_parts_next(&parts, &g, &part))
            if (!bl_end_twin(t, g, &part, c->symbol))
                return false;
    }
    return true;
}

void bl_tape_forget(bl_layer *self, char *lo, char *hi)
{
    blasad_tape *t = (blasad_tape *)self;
    for (size_t i = 0; i < t->regions.windows && atomic_load(&t->error) == BLASAD_OK; i++) {
        bl_region *g = t->regions.window[i];
        if (!g->used_lo || hi <= g->used_lo || lo >= g->used_hi)
            continue;
        /* from the first to the last live number; in between there is nothing that anybody else could own */
        size_t from = bl_unit(g, lo > g->used_lo ? lo : g->used_lo);
        const size_t to = bl_unit(g, (hi < g->used_hi ? hi : g->used_hi) - 1) + 1;
        const size_t first = bl_bits_next(g->live, from, to, 0);
        size_t last = first;
        for (size_t u = first; u < to; u = bl_bits_next(g->live, last, to, 0))
            last = bl_bits_next(g->live, u, to, ~UINT64_C(0));
        const bl_view v = bl_view_run(g->lo + (first << g->shift), (int64_t)((last - first) << g->shift));
        if (first < last && !bl_end_life(t, g, &v, BL_SYMBOL_FORGET)) {
            bl_out_of_memory(t);
            return;
        }
        bl_bits_clear(g->known, from, to);
    }
}
