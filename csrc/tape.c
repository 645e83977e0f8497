/* Tapes as the public interface knows them: opened, annotated, closed, looked at, freed. */
#include "tape.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "fingerprint.h"
#include "record.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static blasad_tape *open_tapes; /* under the lock */

void bl_tapes_lock(void) { pthread_mutex_lock(&lock); }
void bl_tapes_unlock(void) { pthread_mutex_unlock(&lock); }

/* Threads by a number that is used once: the address of a thread's state is given to a later thread. */
static atomic_ulong threads;

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

static bool is_mine(const blasad_tape *t) { return t->owner == bl_thread_state.serial; }

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

/* A thread ends with tapes open, in a suspended generator for instance: they record nobody any more. */
static void leave_thread(void *unused)
{
    (void)unused;
    while (bl_thread_state.top) {
        blasad_tape *t = (blasad_tape *)bl_thread_state.top;
        bl_layer_pop(&t->layer);
        bl_tape_fail(t, BLASAD_TAPE, "the thread that this tape recorded has ended before the tape was closed");
        end_recording(t);
    }
}

/* In a child of fork the other threads are gone, and nobody will close their tapes. */
void bl_tapes_only_mine(void)
{
    for (blasad_tape **p = &open_tapes; *p;)
        if (is_mine(*p))
            p = &(*p)->next;
        else
            *p = (*p)->next;
    atomic_store(&bl_armed, bl_thread_state.depth);
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
    for (int i = 0; i < BL_FIRST_KERNEL; i++)
        t->plan[i].type = UINT8_MAX;
    t->mode = mode;
    t->options = options;
    return t;
}

BL_EXPORT int blasad_tape_start(blasad_tape *t)
{
    if (t->recording || t->ended)
        return bl_fail(BLASAD_TAPE, "this tape has been opened before; a tape records once, open another one");
    if (bl_thread_state.top)
        return bl_fail(BLASAD_NOT_YET,
                       "another tape is recording this thread: tapes inside tapes (second order) are not there "
                       "yet in this version; close the outer one first");
    t->owner = my_serial();
    t->recording = true;
    bl_thread_state.inside = NULL; /* of a call that never came back */
    bl_tapes_lock();
    t->next = open_tapes;
    open_tapes = t;
    bl_tapes_unlock();
    bl_layer_push(&t->layer);
    return BLASAD_OK;
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
        if (r->touched) {
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

BL_EXPORT int blasad_tape_close_recording(blasad_tape *t)
{
    if (!t->recording)
        return blasad_tape_error(t);
    if (!is_mine(t))
        return bl_fail(BLASAD_TAPE, "this tape records another thread; only that thread can close it");
    if (bl_thread_state.inside)
        return bl_fail(BLASAD_TAPE,
                       "this tape is in the middle of recording a call; it can be closed when the BLAS is back");
    if (!bl_layer_pop(&t->layer))
        return bl_fail(BLASAD_TAPE, "a tape that was opened inside this one is still recording; close that one first");
    end_recording(t);
    if (!(t->options & BLASAD_NO_VERIFY) && atomic_load(&t->error) == BLASAD_OK)
        verify_end(t);
    return blasad_tape_error(t);
}

BL_EXPORT int blasad_tape_free(blasad_tape *t)
{
    if (!t)
        return BLASAD_OK;
    if (atomic_load(&t->replaying))
        return bl_fail(BLASAD_TAPE, "another thread is in reverse() of this tape; close it after that");
    if (t->recording) {
        if (!is_mine(t))
            return bl_fail(BLASAD_TAPE, "this tape records another thread; it is kept until that thread closes it");
        t->options |= BLASAD_NO_VERIFY; /* nobody will ask */
        blasad_tape_close_recording(t);
        if (t->recording)
            return BLASAD_TAPE; /* an inner tape is open; the text says so */
    }
    for (size_t i = 0; i < t->chunks; i++)
        bl_chunk_give(t->chunk[i]);
    bl_regions_free(&t->regions);
    bl_arena_free(&t->values);
    bl_copies_free(&t->copies);
    bl_set_free(&t->returned);
    bl_set_free(&t->addresses);
    free(t->chunk);
    free(t->extra);
    free(t->save);
    free(t->scratch);
    free(t->unexplained);
    free(t->error_text);
    free(t);
    return BLASAD_OK;
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
    if (bl_thread_state.top)
        return bl_fail(BLASAD_NOT_YET,
                       "reverse() while another tape records this thread: derivatives of derivatives are not there "
                       "yet in this version; close that tape first");
    if (atomic_exchange(&t->replaying, true))
        return bl_fail(BLASAD_TAPE, "another thread is in reverse() of this tape; they would write the same shadows");
    code = bl_replay(t);
    atomic_store(&t->replaying, false);
    return code;
}

/* ---- annotations */

static bool touched(const void *tape, const bl_region *r)
{
    const blasad_tape *t = tape;
    for (size_t k = 0; t->undeclared && k < t->count; k++) {
        const bl_record *e = bl_record_at(t, k);
        bl_call c;
        bl_unpack(t, e, &c);
        for (int i = 0; i < bl_routine_table[c.routine]->n_operands; i++) {
            if (!((e->read | e->write) >> i & 1) || (e->place[i] && !(e->place[i] & BL_COPY)))
                continue;
            const bl_view v = bl_operand_view(&c, i);
            if (bl_region_owned(r, &v) > 0)
                return true;
        }
    }
    for (size_t i = 0; i < t->addresses.slots; i++)
        if (t->addresses.slot[i].tag) {
            const int64_t size = t->addresses.slot[i].tag;
            const bl_view v = bl_view_run((char *)(uintptr_t)t->addresses.slot[i].a, size);
            if (bl_region_owned(r, &v) > 0)
                return true;
        }
    return false;
}

static int annotate(blasad_tape *t, const bl_array *x, void *dx, const char *label)
{
    if (t->ended)
        return bl_fail(BLASAD_TAPE, "%s: this tape has ended recording; annotate before the first use", label);
    if (t->recording && !is_mine(t))
        return bl_fail(BLASAD_TAPE, "%s: this tape records another thread; only that thread can annotate", label);
    bl_region *r;
    bl_tapes_lock();
    int code = bl_regions_add(&t->regions, x, dx != NULL, dx ? (char *)dx - x->base : 0, label, touched, t, &r);
    bl_tapes_unlock();
    memset(t->constant, 0, sizeof t->constant);
    if (code != BLASAD_OK || !r || (t->options & BLASAD_NO_VERIFY))
        return code;
    if (!bl_prints_begin(r)) {
        bl_tape_fail(t, BLASAD_MEMORY, "no memory for the fingerprints of %s; verify=False needs none", label);
        return blasad_tape_error(t);
    }
    for (size_t i = 0; r->contains && i < t->regions.count; i++) {
        const bl_region *q = t->regions.region[i];
        if (q->gone && q->lo >= r->lo && q->hi <= r->hi)
            bl_prints_inherit(r, q);
    }
    return BLASAD_OK;
}

BL_EXPORT int blasad_annotate(blasad_tape *t, void *x, void *dx, int type, int ndim, const int64_t *shape,
                              const int64_t *strides, const char *label)
{
    if (type < BLASAD_FLOAT || type > BLASAD_COMPLEX_DOUBLE)
        return bl_fail(BLASAD_VALUE, "%s: %d is no blasad_type of numbers", label ? label : "an annotation", type);
    const int width = (int)bl_real_width(type);
    const bl_array a = {x, width, width == 4 ? 2 : 3, bl_element_size(type), ndim, shape, strides};
    return annotate(t, &a, dx, label ? label : "an array");
}

static int bytes(blasad_tape *t, void *x, void *dx, size_t n, const char *label)
{
    if (n % 4 != 0)
        return bl_fail(BLASAD_VALUE, "%s: %zu bytes are not a number of floats or doubles", label, n);
    const int64_t shape = (int64_t)(n / 4), stride = 4;
    const bl_array a = {x, 0, 2, 4, 1, &shape, &stride};
    return annotate(t, &a, dx, label);
}

BL_EXPORT int blasad_duplicated(blasad_tape *t, void *x, void *dx, size_t nbytes)
{
    char label[64];
    snprintf(label, sizeof label, "Duplicated(%p, %zu bytes)", x, nbytes);
    if (!dx)
        return bl_fail(BLASAD_VALUE, "%s: the shadow is a NULL pointer", label);
    return bytes(t, x, dx, nbytes, label);
}

BL_EXPORT int blasad_const(blasad_tape *t, void *x, size_t nbytes)
{
    char label[64];
    snprintf(label, sizeof label, "Const(%p, %zu bytes)", x, nbytes);
    return bytes(t, x, NULL, nbytes, label);
}

/* ---- what was recorded */

BL_EXPORT size_t blasad_tape_length(const blasad_tape *t) { return t->count; }
BL_EXPORT size_t blasad_tape_saved_bytes(const blasad_tape *t) { return t->saved_bytes; }
BL_EXPORT const char *blasad_tape_unexplained(const blasad_tape *t) { return t->unexplained ? t->unexplained : ""; }

BL_EXPORT size_t blasad_tape_assuming(const blasad_tape *t, size_t index)
{
    if (t->assuming == 0)
        return t->count;
    while (index < t->count && !bl_record_at(t, index)->assumed)
        index++;
    return index;
}

static size_t saved_bytes(const blasad_tape *t, size_t index, const bl_record *e)
{
    size_t bytes = 0;
    for (const bl_save *s = e->saved ? t->save[e->saved - 1] : NULL; s; s = s->next)
        for (size_t i = 0; i < s->runs; i++)
            bytes += s->run[i].count << s->region->shift;
    for (int i = 0; i < bl_routine_table[e->routine]->n_operands; i++)
        if (e->place[i] & BL_COPY) {
            const bl_copy *copy = &t->copies.copy[e->place[i] & ~BL_COPY];
            bool again = false; /* the same copy for two operands counts once */
            for (int k = 0; k < i; k++)
                again |= e->place[k] == e->place[i];
            bytes += copy->made_by == index && !again ? (size_t)bl_view_bytes(&copy->of) : 0;
        }
    return bytes;
}

/* Index of the name that the program used for what the canonical call calls `name`. */
static int as_spoken(const bl_routine_spec *s, const char *const *names, bool row_major, const char *name)
{
    for (int p = 0; row_major && s->row_major[p][0]; p++)
        if (strcmp(s->row_major[p][0], name) == 0) {
            name = s->row_major[p][1];
            break;
        }
    int i = 0;
    while (strcmp(names[i], name) != 0)
        i++;
    return i;
}

BL_EXPORT int blasad_tape_call(const blasad_tape *t, size_t index, blasad_call *out)
{
    if (index >= t->count)
        return bl_fail(BLASAD_VALUE, "call %zu of a tape of %zu", index, t->count);
    const bl_record *e = bl_record_at(t, index);
    const bl_routine_spec *s = bl_routine_table[e->routine];
    bl_call c;
    bl_unpack(t, e, &c);
    *out = (blasad_call){.routine = s->name,
                         .symbol = bl_symbol_table[e->symbol].name,
                         .type = e->type,
                         .row_major = e->row_major,
                         .active = e->active,
                         .n_flags = s->n_flags,
                         .n_dims = s->n_dims,
                         .n_scalars = s->n_scalars,
                         .n_operands = s->n_operands,
                         .seconds = (double)e->seconds};
    Dl_info info;
    if (e->caller && dladdr(e->caller, &info))
        out->caller = info.dli_fname;
    /* Told as the program spoke: a row-major call gets back its own names, and its matrices their own shapes. */
    for (int i = 0; i < s->n_flags; i++) {
        const int k = as_spoken(s, s->flags, e->row_major, s->flags[i]);
        out->flag_names[k] = s->flags[k];
        out->flags[k] = c.flag[i];
    }
    for (int i = 0; i < s->n_dims; i++) {
        const int k = as_spoken(s, s->dims, e->row_major, s->dims[i]);
        out->dim_names[k] = s->dims[k];
        out->dims[k] = c.dim[i];
    }
    for (int i = 0; i < s->n_scalars; i++) {
        out->scalar_names[i] = s->scalars[i];
        out->scalars[i][0] = c.scalar[i].value.re;
        out->scalars[i][1] = c.scalar[i].value.im;
        out->scalar_active[i] = e->extra && t->extra[e->extra - 1].scalar_shadow[i];
    }
    const char *names[BL_MAX_OPERANDS + 1] = {NULL};
    for (int i = 0; i < s->n_operands; i++)
        names[i] = s->operand[i].name;
    for (int i = 0; i < s->n_operands; i++) {
        const int k = as_spoken(s, names, e->row_major, names[i]);
        blasad_operand *o = &out->operands[k];
        o->name = names[k];
        o->address = c.operand[i].base;
        o->ld = c.operand[i].ld;
        if (e->row_major)
            bl_operand_shape(&c, i, &o->cols, &o->rows);
        else
            bl_operand_shape(&c, i, &o->rows, &o->cols);
        o->is_output = s->operand[i].output;
        o->is_read = e->read >> i & 1;
        o->assumed = e->assumed >> i & 1;
        if (e->place[i] && !(e->place[i] & BL_COPY))
            o->activity = t->regions.region[e->place[i] - 1]->duplicated ? 2 : 1;
    }
    out->saved_bytes = saved_bytes(t, index, e);
    return BLASAD_OK;
}

/* ---- other threads */

void bl_guard_others(const bl_call *c)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    bl_access a = {.scalars = 0};
    bl_rules[c->routine]->access(c, &a);
    bl_tapes_lock();
    for (blasad_tape *t = open_tapes; t; t = t->next) {
        if (is_mine(t) || atomic_load(&t->error) != BLASAD_OK)
            continue;
        const bl_region *r = NULL;
        for (int i = 0; i < s->n_operands && !r; i++)
            if ((a.read | a.write) & BL_OPERAND(i)) {
                const bl_view v = bl_operand_view(c, i);
                r = bl_regions_meet(&t->regions, &v);
            }
        for (int i = 0; i < s->n_scalars && !r; i++)
            if (c->scalar[i].address) {
                const int64_t size = bl_element_size(c->type);
                const bl_view v = bl_view_run(c->scalar[i].address, size);
                r = bl_regions_meet(&t->regions, &v);
            }
        if (!r)
            continue;
        char name[16], *text = NULL;
        if (asprintf(
                &text,
                "%s on another thread touched %s, which is active on this tape; a tape follows the thread that opened "
                "it: call it there, or give the other thread memory of its own",
                bl_call_name(c, name), r->label) < 0)
            text = NULL;
        t->error_text = text;
        atomic_store(&t->error, text ? BLASAD_ACTIVITY : BLASAD_MEMORY);
    }
    bl_tapes_unlock();
}
