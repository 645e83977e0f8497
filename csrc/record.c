/* Recording: a call comes through, what its adjoint will need is kept, one record is appended. */
#include "record.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "entry.h"
#include "error.h"
#include "families.h"
#include "fingerprint.h"
#include "tape.h"
#include "touch.h"

void bl_tape_fail(blasad_tape *t, int code, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    bl_tapes_lock();
    if (atomic_load(&t->error) == BLASAD_OK) {
        t->error_text = text;
        atomic_store(&t->error, text ? code : BLASAD_MEMORY);
        text = NULL;
    }
    bl_tapes_unlock();
    free(text);
}

const char *bl_describe_call(const blasad_tape *t, const bl_call *c, char buffer[static 128])
{
    char name[16];
    snprintf(buffer, 128, "%s (call %zu, through %s)", bl_call_name(c, name), t->count,
             bl_symbol_table[c->symbol].name);
    return buffer;
}

/* ---- records */

const bl_record *bl_record_at(const blasad_tape *t, size_t index)
{
    return &t->chunk[index / BL_RECORDS_PER_CHUNK][index % BL_RECORDS_PER_CHUNK];
}

static bool more_records(blasad_tape *t)
{
    if (!bl_grow(&t->chunk, &t->chunk_capacity, t->chunks, sizeof *t->chunk))
        return false;
    bl_record *chunk = bl_chunk_take();
    if (!chunk)
        return false;
    t->chunk[t->chunks++] = chunk;
    t->at = chunk;
    t->end = chunk + BL_RECORDS_PER_CHUNK;
    return true;
}

/* Sizes beyond 32 bits, and shadows of scalars. False if memory is short. */
static bool add_extra(blasad_tape *t, bl_record *r, const bl_call *c, const bl_touch *w)
{
    if (!bl_grow(&t->extra, &t->extra_capacity, t->extras, sizeof *t->extra))
        return false;
    bl_extra *x = &t->extra[t->extras++];
    memcpy(x->dim, w->plan->dim, sizeof x->dim);
    memcpy(x->ld, w->plan->ld, sizeof x->ld);
    for (int i = 0; i < bl_routine_table[c->routine]->n_scalars; i++) {
        x->scalar_shadow[i] = w->scalar_shadow[i];
        x->scalar_address[i] = c->scalar[i].address;
    }
    r->extra = (uint32_t)t->extras;
    return true;
}

void bl_unpack(const blasad_tape *t, const bl_record *r, bl_call *c)
{
    const bl_routine_spec *s = bl_routine_table[r->routine];
    c->routine = r->routine;
    c->type = r->type;
    c->size = (uint8_t)bl_element_size(r->type);
    c->width = (uint8_t)bl_real_width(r->type);
    c->row_major = r->row_major;
    memcpy(c->flag, r->flag, sizeof c->flag);
    c->symbol = r->symbol;
    c->backend = bl_backend_of(r->backend);
    c->caller = r->caller;
    const bl_extra *x = r->wide ? &t->extra[r->extra - 1] : NULL;
    for (int i = 0; i < s->n_dims; i++)
        c->dim[i] = x ? x->dim[i] : r->dim[i];
    for (int i = 0; i < s->n_operands; i++)
        c->operand[i] = (bl_operand){r->base[i], x ? x->ld[i] : r->ld[i]};
    for (int i = 0; i < s->n_scalars; i++)
        c->scalar[i] = (bl_scalar){r->scalar[i], NULL};
}

/* ---- what is kept */

static void out_of_memory(blasad_tape *t)
{
    bl_tape_fail(t, BLASAD_MEMORY, "no memory to record call %zu; the program went on, its gradient is lost", t->count);
}

/* What the adjoint needs of memory that may vanish is copied. */
static bool copy_needed(blasad_tape *t, const bl_view *v, uint32_t *place)
{
    size_t index;
    if (!bl_copy_of(&t->copies, &t->values, v, t->count, &index, &t->saved_bytes))
        return false;
    *place = BL_COPY | (uint32_t)index;
    return true;
}

/* Saves what earlier calls, or this one, need of what is about to be overwritten. */
static bool save_overwritten(blasad_tape *t, bl_region *g, const bl_view *v, bl_record *r)
{
    bl_save *s;
    if (!bl_save_under(&t->values, g, v, &s, &t->saved_bytes))
        return false;
    if (!s)
        return true;
    if (r->saved) {
        s->next = t->save[r->saved - 1];
        t->save[r->saved - 1] = s;
        return true;
    }
    if (!bl_grow(&t->save, &t->save_capacity, t->saves, sizeof *t->save))
        return false;
    t->save[t->saves++] = s;
    r->saved = (uint32_t)t->saves;
    return true;
}

/* Fills the record in, and marks, copies and saves values. */
BL_HOT bool keep(blasad_tape *t, const bl_call *c, const bl_family *f, const bl_touch *w, bl_record *r)
{
    const bl_plan *p = w->plan;
    bool good = true;
    *r = p->head;
    r->row_major = c->row_major;
    r->assumed = (uint8_t)w->assumed;
    r->symbol = c->symbol;
    r->backend = c->backend->id;
    r->caller = c->caller;
    BL_UNROLL
    for (int i = 0; i < f->spec->n_operands; i++) {
        bl_region *g = w->region[i];
        r->base[i] = c->operand[i].base;
        if (g) {
            r->place[i] = g->id;
            if ((p->needs & BL_OPERAND(i)) && !bl_need_word(g, w->base[i], p->extent[i], p->view[i].columns)) {
                const bl_view v = bl_touched_view(w, i);
                good &= bl_need(g, &v);
            }
        } else if (p->all & BL_OPERAND(i)) {
            t->undeclared++;
            if (p->needs & BL_OPERAND(i)) {
                const bl_view v = bl_touched_view(w, i);
                good &= copy_needed(t, &v, &r->place[i]);
            }
        }
    }
    if (p->extra)
        good &= add_extra(t, r, c, bl_publish(t, w));
    BL_UNROLL
    for (int i = 0; i < f->spec->n_operands; i++)
        if (f->spec->operand[i].output && (p->access.write & BL_OPERAND(i)) && w->region[i] && w->region[i]->need) {
            const bl_view v = bl_touched_view(w, i);
            good &= save_overwritten(t, w->region[i], &v, r);
        }
    return good;
}

/* Undeclared memory that an inactive call fills is constant because a recorded call says so, and no assumption. */
static bool note_scratch(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        if (!(w->plan->access.write & BL_OPERAND(i)) || w->region[i])
            continue;
        const bl_view v = bl_touched_view(w, i);
        if (bl_is_scratch(t, &v))
            continue;
        if (!bl_grow(&t->scratch, &t->scratch_capacity, t->scratches, sizeof *t->scratch))
            return false;
        t->scratch[t->scratches++] = v;
    }
    return true;
}

/* ---- verification (7) */

static bool touches(const blasad_tape *t, size_t index, const char *p, int width)
{
    const bl_record *r = bl_record_at(t, index);
    const bl_view number = bl_view_run((char *)(uintptr_t)p, width);
    bl_call c;
    bl_unpack(t, r, &c);
    for (int i = 0; i < bl_routine_table[c.routine]->n_operands; i++)
        if ((r->read | r->write) >> i & 1) {
            const bl_view v = bl_operand_view(&c, i);
            if (bl_views_overlap(&v, &number))
                return true;
        }
    for (int i = 0; r->extra && i < bl_routine_table[c.routine]->n_scalars; i++) {
        const bl_extra *x = &t->extra[r->extra - 1];
        const bl_view v = bl_view_run(x->scalar_address[i], c.size);
        if (x->scalar_shadow[i] && bl_views_overlap(&v, &number))
            return true;
    }
    return false;
}

size_t bl_last_touching(const blasad_tape *t, const char *p, int width, size_t before)
{
    for (size_t i = before; i-- > 0;)
        if (touches(t, i, p, width))
            return i;
    return before;
}

void bl_changed(blasad_tape *t, const bl_region *r, const char *p, const char *when)
{
    char since[96] = "it was annotated";
    size_t last = bl_last_touching(t, p, 1 << r->shift, t->count);
    if (last < t->count) {
        const bl_record *e = bl_record_at(t, last);
        snprintf(since, sizeof since, "call %zu (%c%s, through %s)", last, bl_type_letter[e->type],
                 bl_routine_table[e->routine]->name, bl_symbol_table[e->symbol].name);
    }
    bl_tape_fail(
        t, BLASAD_UNSEEN_WRITE,
        "%s changed at %p (byte %td from its lowest) between %s and %s, and no recorded call did "
        "it; a derivative depends on it. Write it before the tape opens, or into memory of its own; verify=False "
        "takes the content for what recorded calls left there",
        r->label, (const void *)p, p - r->lo, since, when);
}

/* Before the call: what it reads of annotated memory, and what is saved, is as the last event left it. */
static bool verify_before(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    const unsigned needs = w->plan->needs;
    char text[128];
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        bl_region *r = w->region[i];
        if (!r)
            continue;
        const bl_view v = bl_touched_view(w, i);
        const char *bad = NULL;
        if ((w->plan->access.read & BL_OPERAND(i)) && (r->duplicated || (needs & BL_OPERAND(i))))
            bad = bl_prints_check(r, &v);
        if (!bad && (w->plan->access.write & BL_OPERAND(i)) && r->need)
            for (int64_t j = 0; j < v.columns && !bad; j++) {
                size_t from = bl_unit(r, bl_view_column(&v, j));
                bad = bl_prints_check_bits(r, r->need, from, from + ((size_t)v.column >> r->shift));
            }
        if (bad) {
            bl_changed(t, r, bad, bl_describe_call(t, c, text));
            return false;
        }
    }
    for (int i = 0; i < bl_routine_table[c->routine]->n_scalars; i++)
        if (w->scalar_shadow[i]) {
            const bl_view v = bl_view_run(c->scalar[i].address, c->size);
            const char *bad = bl_prints_check(w->scalar_region[i], &v);
            if (bad) {
                bl_changed(t, w->scalar_region[i], bad, bl_describe_call(t, c, text));
                return false;
            }
        }
    return true;
}

static void mark_seen(bl_region *r, const bl_view *v)
{
    for (int64_t j = 0; j < v->columns; j++) {
        const size_t from = bl_unit(r, bl_view_column(v, j));
        bl_bits_set(r->seen, from, from + ((size_t)v->column >> r->shift));
    }
}

static void verify_after(const bl_call *c, const bl_touch *w)
{
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        bl_region *r = w->region[i];
        if (!r)
            continue;
        const bl_view v = bl_touched_view(w, i);
        mark_seen(r, &v);
        if (w->plan->access.write & BL_OPERAND(i)) {
            if (r->duplicated)
                bl_prints_stamp(r, &v);
            else
                bl_prints_drop(r, &v);
        }
    }
    for (int i = 0; i < bl_routine_table[c->routine]->n_scalars; i++)
        if (w->scalar_shadow[i]) {
            const bl_view v = bl_view_run(c->scalar[i].address, c->size);
            mark_seen(w->scalar_region[i], &v);
        }
}

/* ---- the layer */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One-element outputs are numbers that a program may pass on by value. */
static void note_returned(blasad_tape *t, const bl_call *c, const void *p)
{
    const bl_complex x = bl_load(c->type, p);
    if (bl_is_telling(x) && !bl_set_add(&t->returned, bl_number_key(c->width, x)))
        out_of_memory(t);
}

static inline void look_at_returned(blasad_tape *t, const bl_call *c, unsigned outputs)
{
    for (; outputs; outputs &= outputs - 1) {
        const char *p = t->touch.base[__builtin_ctz(outputs)];
        bl_key bytes = {0, 0, (uint32_t)c->type + 1};
        if (c->size == 8) {
            memcpy(&bytes.a, p, 8);
        } else if (c->size == 16) {
            memcpy(&bytes.a, p, 8);
            memcpy(&bytes.b, p + 8, 8);
        } else {
            memcpy(&bytes.a, p, 4);
        }
        const bl_key *last = &t->last_returned; /* loops return the same number again */
        if (bytes.a != last->a || bytes.b != last->b || bytes.tag != last->tag) {
            t->last_returned = bytes;
            note_returned(t, c, p);
        }
    }
}

BL_HOT enum bl_seen before(blasad_tape *t, const bl_call *c, const bl_family *f)
{
    bl_touch w;
    w.record = NULL;
    w.start = 0;
    const enum bl_touched touched = bl_touch_call(t, c, f, &w);
    if (touched != BL_TOUCHED)
        return touched == BL_TOUCHED_BAD_CALL ? BL_ILLEGAL : BL_SEEN;
    const bl_plan *p = w.plan;
    const bool verify = !(t->options & BLASAD_NO_VERIFY);
    if (verify && !verify_before(t, c, bl_publish(t, &w)))
        return BL_SEEN;
    if (t->at == t->end && !more_records(t)) {
        out_of_memory(t);
        return BL_SEEN;
    }
    bl_record *r = t->at;
    if (!keep(t, c, f, &w, r) || !(p->active || note_scratch(t, c, bl_publish(t, &w)))) {
        out_of_memory(t);
        return BL_SEEN;
    }
    t->at = r + 1;
    t->count++;
    if (w.assumed)
        t->assuming++;
    if (t->mode == BLASAD_FORWARD)
        bl_tangent_call(t, c, bl_publish(t, &w));
    if (!p->after)
        return BL_SEEN;
    if (verify || p->timed) {
        w.record = r;
        w.start = p->timed ? now() : 0;
        bl_publish(t, &w);
    } else { /* all that look_at_returned asks for */
        t->touch.plan = p;
        BL_UNROLL
        for (int i = 0; i < f->spec->n_operands; i++)
            t->touch.base[i] = w.base[i];
    }
    return BL_SEEN_AFTER;
}

/* One copy of all this for each routine, its table folded in. */
#define BEFORE(name, NAME)                                                                                             \
    static enum bl_seen before_##name(blasad_tape *t, const bl_call *c) { return before(t, c, &bl_family_##name); }
BL_EACH_ROUTINE(BEFORE)

enum bl_seen bl_tape_before(bl_layer *self, const bl_call *c)
{
#define HANDLER(name, NAME) [BL_##NAME] = before_##name,
    static enum bl_seen (*const handlers[BL_FIRST_KERNEL])(blasad_tape *, const bl_call *) = {BL_EACH_ROUTINE(HANDLER)};
    blasad_tape *t = (blasad_tape *)self;
    if (atomic_load_explicit(&t->error, memory_order_relaxed) == BLASAD_OK)
        return handlers[c->routine](t, c);
    return bl_routine_table[c->routine]->check(c) ? BL_ILLEGAL : BL_SEEN;
}

void bl_tape_after(bl_layer *self, const bl_call *c)
{
    blasad_tape *t = (blasad_tape *)self;
    const bl_touch *w = &t->touch;
    if (w->plan->timed)
        w->record->seconds = (float)(now() - w->start);
    if (!(t->options & BLASAD_NO_VERIFY))
        verify_after(c, w);
    if (w->plan->active)
        look_at_returned(t, c, w->plan->single);
}

void bl_tape_refused(bl_layer *self, const bl_call *c, int argument)
{
    blasad_tape *t = (blasad_tape *)self;
    const bl_routine_spec *s = bl_routine_table[c->routine];
    const bool cblas = bl_abi_is_cblas(bl_symbol_table[c->symbol].abi);
    char call[128], value[64] = "?";
    bl_describe_call(t, c, call);
    if (argument == BL_ABANDONED) {
        bl_tape_fail(t, BLASAD_TAPE,
                     "the call recorded before %s never came back: the BLAS was left by a jump or an exception, so "
                     "nobody knows what it had computed; record again without that",
                     call);
        return;
    }
    if (argument == 0) {
        bl_tape_fail(t, BLASAD_BACKEND,
                     "%s: a dimension or leading dimension is beyond 32 bits, and the BLAS behind it, %s, has "
                     "32-bit integers; choose one with 64-bit integers (blasad.set_backend)",
                     call, c->backend->path);
        return;
    }
    if (cblas && argument == 1) {
        bl_tape_fail(t, BLASAD_INVALID_CALL,
                     "%s: argument 1 (layout) is neither 101 (row-major) nor 102 (column-major); the BLAS "
                     "was left to deal with it, and nothing was recorded",
                     call);
        return;
    }
    /* The value stands where the canonical call keeps the argument, under its column-major name. */
    const char *name = s->arguments[argument - 1 - cblas], *canonical = name;
    for (int p = 0; c->row_major && s->row_major[p][0]; p++)
        if (strcmp(s->row_major[p][0], name) == 0)
            canonical = s->row_major[p][1];
    for (int i = 0; i < s->n_flags; i++)
        if (strcmp(s->flags[i], canonical) == 0)
            snprintf(value, sizeof value, c->flag[i] == '?' ? "no CBLAS_TRANSPOSE of the reference" : "'%c'",
                     c->flag[i]);
    for (int i = 0; i < s->n_dims; i++)
        if (strcmp(s->dims[i], canonical) == 0)
            snprintf(value, sizeof value, "%lld", (long long)c->dim[i]);
    for (int i = 0; i < s->n_operands; i++)
        if (strncmp(canonical, "ld", 2) == 0 && strcmp(s->operand[i].name, canonical + 2) == 0)
            snprintf(value, sizeof value, "%lld", (long long)c->operand[i].ld);
    bl_tape_fail(t, BLASAD_INVALID_CALL,
                 "%s: argument %d (%s) = %s is illegal%s; the BLAS was left to deal with it, and nothing "
                 "was recorded: correct the call",
                 call, argument, name, value, cblas ? " (CBLAS counts the layout as argument 1)" : "");
}
