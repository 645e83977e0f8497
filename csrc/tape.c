/* Tapes as the public interface knows them: opened, annotated, closed, looked at, freed. */
#include "tape.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "fingerprint.h"
#include "verify.h"
#include "operation.h"
#include "site.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static blasad_tape *open_tapes; /* under the lock */

void bl_tapes_lock(void) { pthread_mutex_lock(&lock); }
void bl_tapes_unlock(void) { pthread_mutex_unlock(&lock); }

/* Threads by a number that is used once: the address of a thread's state is given to a later thread. */
static atomic_ulong threads;
static atomic_ulong starts; /* of tapes */

static void leave_thread(void *unused);
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void make_key(void)
{
    if (pthread_key_create(&key, leave_thread) != 0)
        abort();
}

static unsigned long my_serial(void)
{
    if (bl_thread_state.serial == 0) {
        bl_thread_state.serial = atomic_fetch_add(&threads, 1) + 1;
        pthread_once(&once, make_key);
        pthread_setspecific(key, &bl_thread_state); /* not NULL: leave_thread shall be called */
    }
    return bl_thread_state.serial;
}

bool bl_is_mine(const blasad_tape *t) { return t->owner == bl_thread_state.serial; }

static bool everywhere(const blasad_tape *t) { return t->options & BLASAD_ALL_THREADS; }

static void end_recording(blasad_tape *t) /* whose layer was popped */
{
    bl_tapes_lock();
    for (blasad_tape **p = &open_tapes; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->recording = false;
    t->ended = true;
    bl_tapes_unlock();
}

/* Tapes that were freed where their owner's outer tapes could not be told what ends with them: on another thread
 * (garbage is collected anywhere), or while a function of the user's runs. They wait for their owner. */
static blasad_tape *orphans; /* linked by `next`, under the lock */

static bool has_outer(const blasad_tape *t) /* under the lock */
{
    for (const blasad_tape *o = open_tapes; o; o = o->next)
        if (o->serial < t->serial && o->owner == t->owner && !everywhere(o))
            return true;
    return false;
}

static void free_tape(blasad_tape *t);

static void bury(void)
{
    while (!bl_thread_state.paused && !bl_thread_state.in_jvp) {
        bl_tapes_lock();
        blasad_tape **p = &orphans;
        while (*p && !bl_is_mine(*p))
            p = &(*p)->next;
        blasad_tape *t = *p;
        if (t)
            *p = t->next;
        bl_tapes_unlock();
        if (!t)
            return;
        free_tape(t);
    }
}

/* The tape of all threads that this thread has opened last, or NULL. */
static blasad_tape *mine_everywhere(void)
{
    bl_tapes_lock();
    blasad_tape *t = open_tapes;
    while (t && !(everywhere(t) && bl_is_mine(t)))
        t = t->next;
    bl_tapes_unlock();
    return t;
}

/* A thread ends with tapes open, in a suspended generator for instance: they record nobody any more. */
static void leave_thread(void *unused)
{
    (void)unused;
    blasad_tape *t;
    bury();
    while ((t = (blasad_tape *)bl_thread_state.top) || (t = mine_everywhere())) {
        while (!bl_layer_pop(&t->layer, everywhere(t))) /* under one of all threads that another thread has opened */
            sched_yield();
        bl_tape_fail(t, BLASAD_TAPE, "the thread that this tape recorded has ended before the tape was closed");
        end_recording(t);
    }
}

/* In a child of fork the other threads are gone, and nobody will close their tapes. */
void bl_tapes_only_mine(void)
{
    for (blasad_tape **p = &open_tapes; *p;)
        if (bl_is_mine(*p)) {
            if ((*p)->spill.fd > 0 && atomic_load(&(*p)->error) == BLASAD_OK) /* the file is the parent's */
                atomic_store(&(*p)->error, BLASAD_MEMORY);
            p = &(*p)->next;
        } else {
            bl_layer_drop(&(*p)->layer);
            *p = (*p)->next;
        }
    bl_layers_count();
}

BL_EXPORT blasad_tape *blasad_tape_new(int mode, int options)
{
    if (mode != BLASAD_REVERSE && mode != BLASAD_FORWARD) {
        bl_fail(BLASAD_VALUE, "%d is no mode of a tape: BLASAD_REVERSE or BLASAD_FORWARD", mode);
        return NULL;
    }
    blasad_tape *t = aligned_alloc(_Alignof(blasad_tape), sizeof *t);
    if (!t) {
        bl_fail(BLASAD_MEMORY, "no memory for a tape");
        return NULL;
    }
    memset(t, 0, sizeof *t);
    t->layer.before = bl_tape_before;
    t->layer.after = bl_tape_after;
    t->layer.refused = bl_tape_refused;
    t->layer.forget = bl_tape_forget;
    t->layer.rewritten = bl_tape_rewritten;
    t->layer.operate = bl_tape_operate;
    t->layer.operated = bl_tape_operated;
    for (int i = 0; i < BL_ROUTINES; i++)
        t->plan[i].type = UINT8_MAX;
    t->stack_low = UINTPTR_MAX;
    t->mode = mode;
    t->options = options;
    return t;
}

BL_EXPORT int blasad_tape_limit(blasad_tape *t, size_t bytes)
{
    if (t->recording || t->ended)
        return bl_fail(BLASAD_TAPE, "the limit of saved values is set before the tape starts");
    t->values.spill = bytes == SIZE_MAX ? NULL : &t->spill;
    t->values.limit = bytes;
    return BLASAD_OK;
}

BL_EXPORT int blasad_tape_start(blasad_tape *t)
{
    if (t->recording || t->ended)
        return bl_fail(BLASAD_TAPE, "this tape has been opened before; a tape records once, open another one");
    t->owner = my_serial();
    bury();
    t->serial = atomic_fetch_add(&starts, 1) + 1;
    t->recording = true;
    bl_thread_state.inside = NULL; /* of a call that never came back */
    bl_tapes_lock();
    t->next = open_tapes;
    open_tapes = t;
    bl_tapes_unlock();
    bl_layer_push(&t->layer, everywhere(t));
    return BLASAD_OK;
}

BL_EXPORT blasad_tape *blasad_current_tape(void) { return (blasad_tape *)bl_innermost(); }

BL_EXPORT int blasad_tape_records(const blasad_tape *t)
{
    bl_tapes_lock(); /* its own thread may be closing it */
    const bool records = t->recording && (everywhere(t) || bl_is_mine(t));
    bl_tapes_unlock();
    return records;
}

BL_EXPORT blasad_tape *blasad_tape_open(int mode)
{
    blasad_tape *t = blasad_tape_new(mode, 0);
    if (t && blasad_tape_start(t) != BLASAD_OK) {
        blasad_tape_free(t);
        t = NULL;
    }
    return t;
}

BL_EXPORT int blasad_tape_error(blasad_tape *t)
{
    int code = atomic_load(&t->error);
    return code == BLASAD_OK ? code
                             : bl_fail(code, "%s", t->error_text ? t->error_text : "out of memory while recording");
}

/* Every touched element of duplicated memory must be what the last recorded event left, and a range that changed
 * though no recorded call touched it is told to the user (7). */
static void verify_end(blasad_tape *t)
{
    size_t length = 0;
    char *text = NULL;
    for (size_t i = 0; i < t->regions.count; i++) {
        bl_region *r = t->regions.region[i];
        const size_t units = bl_region_units(r);
        if (!r->duplicated || !r->print || r->gone)
            continue;
        const char *bad = NULL;
        if (bl_bits_next(r->seen, 0, units, 0) < units) { /* touched: after the early returns of the routines */
            bad = bl_prints_check_bits(r, r->seen, 0, units);
            if (bad) {
                bl_changed(t, r, bad, "the end of the recording");
                break;
            }
            continue;
        }
        const bl_view whole = bl_view_run(r->lo, r->hi - r->lo);
        bad = r->member ? bl_prints_check_bits(r, r->member, 0, units) : bl_prints_check(r, &whole);
        if (!bad)
            continue;
        if (t->options & BLASAD_UNDECLARED_ERROR) {
            bl_tape_fail(t, BLASAD_ACTIVITY,
                         "%s changed while recording, though no recorded call touched it: what was written there "
                         "would be taken for constant; annotate what the program computes with, or open the tape with "
                         "undeclared=\"warn\"",
                         r->label);
            break;
        }
        size_t more = strlen(r->label) + 1;
        char *longer = realloc(text, length + more + 1);
        if (!longer) {
            bl_tape_fail(t, BLASAD_MEMORY, "no memory to list what changed while recording");
            break;
        }
        text = longer;
        snprintf(text + length, more + 1, "%s\n", r->label);
        length += more;
    }
    t->unexplained = text;
}

static int close_recording(blasad_tape *t, bool verify)
{
    if (!t->recording)
        return blasad_tape_error(t);
    if (!bl_is_mine(t))
        return bl_fail(BLASAD_TAPE, "this tape records another thread; only that thread can close it");
    if (bl_thread_state.inside)
        return bl_fail(BLASAD_TAPE,
                       "this tape is in the middle of recording a call; it can be closed when the BLAS is back");
    bury();
    if (atomic_load(&t->layer.held))
        return bl_fail(BLASAD_TAPE,
                       "the derivative of an operation of tape.record is being computed under this tape of "
                       "all threads; close it after that");
    if (!bl_layer_pop(&t->layer, everywhere(t)))
        return bl_fail(BLASAD_TAPE, "a tape that was opened inside this one is still recording; close that one first");
    end_recording(t);
    if (verify && !(t->options & BLASAD_NO_VERIFY) && atomic_load(&t->error) == BLASAD_OK)
        verify_end(t);
    return blasad_tape_error(t);
}

BL_EXPORT int blasad_tape_close_recording(blasad_tape *t) { return close_recording(t, true); }

/* To tapes that are open around this one, the numbers that it kept end with it. */
static void forget_values(const blasad_tape *t)
{
    bl_layer *below = bl_thread_state.top;
    for (size_t i = 0; below && i < t->values.count; i++) {
        char *memory = t->values.block[i].memory;
        bl_layers_forget(below, memory, memory + t->values.block[i].bytes);
    }
    if (below && t->work)
        bl_layers_forget(below, t->work, t->work + t->work_size);
    for (size_t i = 0; below && i < t->seeds; i++)
        for (int k = 0; k < bl_batch(t); k++) {
            char *at = t->seed[i].shadow[k];
            bl_layers_forget(below, at, at + t->seed[i].bytes);
        }
    for (size_t i = 0; below && i < t->regions.count; i++) {
        const bl_region *r = t->regions.region[i];
        if (r->mirror)
            bl_layers_forget(below, r->mirror, r->mirror + (r->hi - r->lo));
        if (r->kept)
            bl_layers_forget(below, r->kept, r->kept + (r->hi - r->lo));
        for (int k = 0; k < r->shadows; k++)
            bl_layers_forget(below, r->lo + bl_delta(r, k), r->hi + bl_delta(r, k));
    }
}

BL_EXPORT int blasad_tape_free(blasad_tape *t)
{
    if (!t)
        return BLASAD_OK;
    if (atomic_load(&t->replaying))
        return bl_fail(BLASAD_TAPE, "another thread is in reverse() of this tape; close it after that");
    if (t->recording) {
        if (!bl_is_mine(t))
            return bl_fail(BLASAD_TAPE, "this tape records another thread; it is kept until that thread closes it");
        close_recording(t, false); /* nobody will ask */
        if (t->recording)
            return BLASAD_TAPE; /* an inner tape is open; the text says so */
    }
    bl_tapes_lock();
    const bool early = has_outer(t) && (!bl_is_mine(t) || bl_thread_state.paused || bl_thread_state.in_jvp);
    if (early) {
        t->next = orphans;
        orphans = t;
    }
    bl_tapes_unlock();
    if (!early)
        free_tape(t);
    return BLASAD_OK;
}

static void free_tape(blasad_tape *t)
{
    const bool spliced = bl_splice();
    forget_values(t);
    if (spliced)
        bl_unsplice();
    for (size_t i = 0; i < t->chunks; i++)
        bl_chunk_give(t->chunk[i]);
    bl_work_end(t, NULL);
    bl_regions_free(&t->regions);
    bl_arena_free(&t->values);
    bl_spill_close(&t->spill);
    bl_cells_free(&t->cells);
    for (size_t i = 0; i < t->seeds; i++)
        free(t->seed[i].shadow);
    free(t->seed);
    for (size_t i = 0; i < t->operations; i++)
        bl_operation_give(t->operation[i]);
    free(t->operation);
    bl_set_free(&t->returned);
    bl_values_free(&t->seen_values);
    free(t->stale);
    free(t->chunk);
    free(t->extra);
    free(t->save);
    free(t->unexplained);
    free(t->error_text);
    free(t);
}

static bool is_active_on(const blasad_tape *t, char *lo, char *hi)
{
    const bl_view v = bl_view_run(lo, hi - lo);
    return bl_regions_meet(&t->regions, &v) || bl_windows_live(&t->regions, &v);
}

/* Undeclared memory of which the adjoints have copies, and which another tape has annotated with that very content; if
 * the content is another one it has been used for something else since, and is nothing of this recording's. */
static bool kept_active_on(const blasad_tape *outer, const bl_region *r)
{
    const size_t units = bl_region_units(r), width = (size_t)1 << r->shift;
    for (size_t u = r->have ? bl_bits_next(r->have, 0, units, 0) : units; u < units;
         u = bl_bits_next(r->have, u + 1, units, 0)) {
        char *at = r->lo + (u << r->shift);
        const bl_view v = bl_view_run(at, (int64_t)width);
        if (bl_regions_meet(&outer->regions, &v) && memcmp(at, at + bl_source(r), width) == 0)
            return true;
    }
    return false;
}

/* Elements of r, of a window those that recorded calls left, or their shadows. */
static bool some_active_on(const blasad_tape *outer, const bl_region *r, int batch)
{
    if (r->gone || (r->window && !r->used_lo))
        return false;
    const uint64_t *member = r->window ? r->known : r->member;
    const size_t end = r->window ? bl_unit(r, r->used_hi - 1) + 1 : bl_region_units(r);
    size_t to;
    for (size_t from = r->window ? bl_unit(r, r->used_lo) : 0; from < end; from = to) {
        from = member ? bl_bits_next(member, from, end, 0) : from;
        to = member ? bl_bits_next(member, from, end, ~UINT64_C(0)) : end;
        char *lo = r->lo + (from << r->shift), *hi = r->lo + (to << r->shift);
        if (from < to && is_active_on(outer, lo, hi))
            return true;
        for (int k = 0; r->duplicated && k < batch; k++)
            if (from < to && is_active_on(outer, lo + bl_delta(r, k), hi + bl_delta(r, k)))
                return true;
    }
    return false;
}

static bool seed_active_on(const blasad_tape *outer, const blasad_tape *t)
{
    for (size_t i = 0; i < t->seeds; i++) {
        const bl_record *r = bl_record_at(t, t->seed[i].index);
        const bl_routine_spec *s = bl_routine_table[r->routine];
        const int64_t size = bl_element_size(bl_type_by(&s->operand[s->result], r->type));
        for (int k = 0; k < bl_batch(t); k++) {
            char *at = t->seed[i].shadow[k];
            if (is_active_on(outer, at, at + size))
                return true;
        }
    }
    return false;
}

/* Every layer that will see the adjoints has seen the calls, or has nothing to do with their memory (10). */
static bool opened_around(const blasad_tape *t)
{
    for (const bl_layer *l = bl_thread_state.top; l; l = l->below) {
        const blasad_tape *outer = (const blasad_tape *)l;
        if (outer->serial >= t->serial && seed_active_on(outer, t))
            return false;
        for (size_t i = 0; outer->serial >= t->serial && i < t->regions.count; i++)
            if (some_active_on(outer, t->regions.region[i], t->regions.batch) ||
                kept_active_on(outer, t->regions.region[i]))
                return false;
    }
    return true;
}

/* Tapes of other threads on which memory of this recording is active: they do not see the adjoints (9). */
static void guard_others(const blasad_tape *t)
{
    bl_tapes_lock();
    for (blasad_tape *o = open_tapes; o; o = o->next) {
        if (bl_is_mine(o) || everywhere(o) || atomic_load(&o->error) != BLASAD_OK)
            continue;
        for (size_t i = 0; i < t->regions.count; i++) {
            const bl_region *r = t->regions.region[i]; /* what adjoints use of windows is the tape's own */
            if (r->window || !some_active_on(o, r, t->regions.batch))
                continue;
            o->error_text = strdup("reverse() on another thread wrote shadows that are active on this tape; a tape "
                                   "follows the thread that opened it: call it there");
            atomic_store(&o->error, o->error_text ? BLASAD_ACTIVITY : BLASAD_MEMORY);
            break;
        }
    }
    bl_tapes_unlock();
}

BL_EXPORT int blasad_reverse(blasad_tape *t)
{
    int code = blasad_tape_error(t);
    if (code != BLASAD_OK)
        return code;
    if (t->mode != BLASAD_REVERSE)
        return bl_fail(BLASAD_TAPE, "this tape was opened in forward mode: the tangents are in the shadows already");
    if (t->recording)
        return bl_fail(BLASAD_TAPE,
                       "reverse() inside the tape's own block: leave the block first, seed the shadows, then call it");
    if (!t->ended)
        return bl_fail(BLASAD_TAPE, "this tape has not recorded anything yet: run the program in its block first");
    bury();
    if (atomic_exchange(&t->replaying, true))
        return bl_fail(BLASAD_TAPE, "another thread is in reverse() of this tape; they would write the same shadows");
    if (atomic_load(&bl_armed) > bl_thread_state.depth)
        guard_others(t);
    const bool spliced = bl_splice();
    if (opened_around(t))
        code = bl_replay(t);
    else
        code = bl_fail(
            BLASAD_TAPE,
            "reverse() under a tape that was opened after this one had begun to record, and on which memory of this "
            "recording is active: it has not seen the calls that these adjoints belong to; open it around the "
            "recording as well");
    if (spliced)
        bl_unsplice();
    atomic_store(&t->replaying, false);
    return code;
}

/* ---- other threads */

void bl_guard_others(const bl_call *c)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    bl_access a = {.scalars = 0};
    bl_rules[c->routine]->access(c, &a);
    bl_tapes_lock();
    for (blasad_tape *t = open_tapes; t; t = t->next) {
        if (bl_is_mine(t) || everywhere(t) || atomic_load(&t->error) != BLASAD_OK)
            continue;
        const bl_region *r = NULL;
        bool live = false;
        for (int i = 0; i < s->n_operands + s->n_scalars && !r && !live; i++) {
            const int k = i - s->n_operands;
            if (k < 0 ? !((a.read | a.write) & BL_OPERAND(i)) : !bl_reads_scalar(c, k))
                continue;
            const bl_view v = k < 0 ? bl_operand_view(c, i) : bl_view_run(c->scalar[k].address, bl_scalar_size(c, k));
            r = bl_regions_meet(&t->regions, &v);
            live = bl_windows_live(&t->regions, &v);
        }
        if (!r && !live)
            continue;
        char name[16], *text = NULL;
        if (asprintf(
                &text,
                "%s on another thread touched %s, which is active on this tape; a tape follows the thread that opened "
                "it: call it there, open the tape with threads=\"all\", or give the other thread memory of its own",
                bl_call_name(c, name), r ? r->label : "memory that its calls have written") < 0)
            text = NULL;
        t->error_text = text;
        atomic_store(&t->error, text ? BLASAD_ACTIVITY : BLASAD_MEMORY);
    }
    bl_tapes_unlock();
}
