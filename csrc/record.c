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
#include "copies.h"
#include "life.h"
#include "site.h"
#include "tape.h"
#include "touch.h"
#include "verify.h"

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
    snprintf(buffer, 128, "%s (call %zu, through %s)", bl_call_name(c, name), t->count, bl_symbol_name(c->symbol));
    return buffer;
}

/* ---- records */

const bl_record *bl_record_at(const blasad_tape *t, size_t index)
{
    return &t->chunk[index / BL_RECORDS_PER_CHUNK][index % BL_RECORDS_PER_CHUNK];
}

bool bl_more_records(blasad_tape *t)
{
    if (t->at != t->end)
        return true;
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

static uint32_t place_of(const bl_region *g) { return g == &bl_mixed ? BL_PARTS : g->id; }

/* A scalar that is active on an outer tape stays a number in memory, where that one sees what it depends on. */
static bool keep_scalar(blasad_tape *t, const bl_call *c, int i, void **cell)
{
    if (!(*cell = bl_arena_take(&t->values, (size_t)bl_scalar_size(c, i))))
        return false;
    const bl_path to = bl_path_below(t, c);
    bl_mcopy(&to, bl_scalar_type(c, i), 1, 1, (bl_matrix){c->scalar[i].address, 1}, (bl_matrix){*cell, 1});
    return true;
}

/* Sizes beyond 32 bits, and what scalars need that are not only values. False if memory is short. */
static bool add_extra(blasad_tape *t, bl_record *r, const bl_call *c, const bl_touch *w)
{
    if (!bl_grow(&t->extra, &t->extra_capacity, t->extras, sizeof *t->extra))
        return false;
    bl_extra *x = &t->extra[t->extras++];
    *x = (bl_extra){.seconds = -1};
    memcpy(x->dim, w->plan->dim, sizeof x->dim);
    memcpy(x->ld, w->plan->ld, sizeof x->ld);
    r->extra = (uint32_t)t->extras;
    for (int i = BL_IN_RECORD; i < bl_routine_table[c->routine]->n_operands; i++) {
        x->base[i - BL_IN_RECORD] = c->operand[i].base;
        x->place[i - BL_IN_RECORD] = w->region[i] ? place_of(w->region[i]) : 0;
    }
    bool good = true;
    for (int i = 0; i < bl_routine_table[c->routine]->n_scalars; i++) {
        x->scalar_address[i] = c->scalar[i].address;
        if (w->scalars & BL_SCALAR(i))
            x->scalar_place[i] = place_of(w->scalar_region[i]);
        if (w->plan->scalars & BL_OUTER(i))
            good &= keep_scalar(t, c, i, &x->cell[i]);
    }
    return good;
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
    const bl_extra *x = bl_extra_of(t, r);
    for (int i = 0; i < s->n_dims; i++)
        c->dim[i] = r->wide ? x->dim[i] : r->dim[i];
    for (int i = 0; i < s->n_operands; i++)
        c->operand[i] = (bl_operand){bl_base_of(r, x, i), bl_ld_of(r, x, i)};
    for (int i = 0; i < s->n_scalars; i++)
        c->scalar[i] = (bl_scalar){r->scalar[i], x ? x->cell[i] : NULL};
}

/* ---- what is kept */

void bl_out_of_memory(blasad_tape *t)
{
    bl_tape_fail(t, BLASAD_MEMORY, "no memory to record call %zu; the program went on, its gradient is lost", t->count);
}

bool bl_add_save(blasad_tape *t, bl_record *r, bl_save *s)
{
    if (!s)
        return true;
    if (r->saved) {
        s->next = t->save[r->saved - 1];
    } else {
        if (!bl_grow(&t->save, &t->save_capacity, t->saves, sizeof *t->save))
            return false;
        r->saved = (uint32_t)++t->saves;
    }
    t->save[r->saved - 1] = s;
    t->saved_bytes += s->bytes;
    return true;
}

/* Saves what earlier calls, or this one, need of what is about to be overwritten. */
static bool save_overwritten(blasad_tape *t, const bl_call *c, bl_region *g, const bl_view *v, bl_record *r)
{
    const bl_path below = bl_path_below(t, c);
    bl_save *s;
    return bl_save_under(&t->values, &below, g, v, &s) && bl_add_save(t, r, s);
}

/* What the adjoint needs of operand i, where no single annotation owns it. */
static bool keep_parts(blasad_tape *t, const bl_call *c, const bl_view *v, bl_record *r)
{
    const bl_path below = bl_path_below(t, c);
    bl_parts parts = bl_parts_of(&t->regions, v, c->width, false);
    bl_region *g;
    bl_view part;
    while (bl_parts_next(&parts, &g, &part)) {
        bl_save *s = NULL;
        if (!(g->window ? bl_keep_read(&t->values, &below, g, &part, &s) && bl_add_save(t, r, s) : bl_need(g, &part)))
            return false;
    }
    return true;
}

/* What the adjoint needs of what the call left. */
static bool keep_left(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    bool good = true;
    for (int i = 0; i < bl_routine_table[c->routine]->n_operands; i++) {
        if (!(w->plan->needs & BL_LEFT(i)))
            continue;
        const bl_view v = bl_touched_view(w, i);
        good &= keep_parts(t, c, &v, w->record);
    }
    return good;
}

/* What a call leaves in the parts of an output. */
static bool overwrite_parts(blasad_tape *t, const bl_call *c, const bl_view *v, bool live, bool saves, bl_record *r)
{
    bl_parts parts = bl_parts_of(&t->regions, v, c->width, false);
    bl_region *g;
    bl_view part;
    while (bl_parts_next(&parts, &g, &part))
        if (!(g->window ? bl_window_mark(t, g, &part, live) : !saves || save_overwritten(t, c, g, &part, r)))
            return false;
    return true;
}

static void want_room(blasad_tape *t, const bl_call *c, const bl_plan *p, const bl_record *r)
{
    const size_t room = bl_site_room(c, r, bl_extra_of(t, r));
    const size_t all = room ? room + bl_rules[c->routine]->workspace(c, p->active | p->access.scalars) : 0;
    t->workspace = t->workspace > all ? t->workspace : all;
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
    r->backend = c->backend ? c->backend->id : 0;
    r->caller = c->caller;
    BL_UNROLL
    for (int i = 0; i < f->spec->n_operands; i++) {
        bl_region *g = w->region[i];
        if (i < BL_IN_RECORD)
            r->base[i] = c->operand[i].base;
        if (!g)
            continue;
        if (i < BL_IN_RECORD)
            r->place[i] = place_of(g);
        if (!(p->needs & BL_OPERAND(i)))
            continue;
        if (!w->plain && (g == &bl_mixed || g->window)) {
            const bl_view v = bl_touched_view(w, i);
            good &= keep_parts(t, c, &v, r);
        } else if (!bl_need_word(g, w->base[i], p->extent[i], p->view[i].columns)) {
            const bl_view v = bl_touched_view(w, i);
            good &= bl_need(g, &v);
        }
    }
    if (p->extra || p->scalars)
        good &= add_extra(t, r, c, bl_publish(t, w));
    BL_UNROLL
    for (int i = 0; i < f->spec->n_operands; i++) {
        bl_region *g = w->region[i];
        if (!f->spec->operand[i].output || !(p->out & BL_OPERAND(i)) || (w->plain && !g->need))
            continue;
        const bl_view v = bl_touched_view(w, i);
        /* else only its derivative changes, which is to be saved for outer tapes alone */
        const bool saves = (p->access.write & BL_OPERAND(i)) || t->layer.below;
        if (g == &bl_mixed || g->window)
            good &= overwrite_parts(t, c, &v, p->active, saves, r);
        else if (saves)
            good &= save_overwritten(t, c, g, &v, r);
    }
    if (!w->plain || r->extra)
        want_room(t, c, p, r);
    const int result = f->spec->result;
    if (result != BL_NEVER && c->cell && (p->shadowed & BL_OPERAND(result))) {
        r->in_cell = true;
        good &= bl_cells_hold(&t->cells, c->operand[result].base);
    }
    return good;
}

/* ---- the layer */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One-element outputs are numbers that a program may pass on by value. */
static void note_returned(blasad_tape *t, const bl_call *c, int type, const void *p)
{
    const bl_complex x = bl_load(type, p);
    if (bl_is_telling(x) && !bl_set_add(&t->returned, bl_number_key(c->width, x)))
        bl_out_of_memory(t);
}

static inline void look_at_returned(blasad_tape *t, const bl_call *c, unsigned outputs)
{
    for (; outputs; outputs &= outputs - 1) {
        const int i = __builtin_ctz(outputs);
        const char *p = t->touch.base[i];
        const bl_operand_spec *s = &bl_routine_table[c->routine]->operand[i];
        const int type = bl_type_by(s, c->type);
        const int64_t size = bl_size_by(s, c);
        bl_key bytes = {0, 0, (uint32_t)type + 1};
        if (size == 8) {
            memcpy(&bytes.a, p, 8);
        } else if (size == 16) {
            memcpy(&bytes.a, p, 8);
            memcpy(&bytes.b, p + 8, 8);
        } else {
            memcpy(&bytes.a, p, 4);
        }
        const bl_key *last = &t->last_returned; /* loops return the same number again */
        if (bytes.a != last->a || bytes.b != last->b || bytes.tag != last->tag) {
            t->last_returned = bytes;
            note_returned(t, c, type, p);
        }
    }
}

/* A call that takes an operand for constant: is that a copy of an active value? */
static __attribute__((noinline)) enum bl_copies_found assume(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    enum bl_copies_found found = BL_COPIES_NONE;
    if (!(t->options & BLASAD_NO_VERIFY))
        found = bl_copies_look(t, c, w);
    if (found == BL_COPIES_NONE && (t->options & BLASAD_UNDECLARED_ERROR)) {
        bl_refuse_assumed(t, c, __builtin_ctz(w->assumed));
        found = BL_COPIES_ERROR;
    }
    return found;
}

BL_HOT enum bl_seen before(blasad_tape *t, const bl_call *c, const bl_family *f)
{
    bl_touch w;
    w.record = NULL;
    w.start = 0;
    if (__builtin_expect((uintptr_t)c->frame > t->stack_low, 0))
        bl_stack_left(t, (uintptr_t)c->frame);
    enum bl_copies_found copies;
    do {
        const enum bl_touched touched = bl_touch_call(t, c, f, &w);
        if (touched != BL_TOUCHED)
            return touched == BL_TOUCHED_BAD_CALL ? BL_ILLEGAL : BL_SEEN;
        copies = w.assumed ? assume(t, c, &w) : BL_COPIES_NONE;
    } while (copies == BL_COPIES_FOLLOWED);
    if (copies == BL_COPIES_ERROR)
        return BL_SEEN;
    bl_plan *p = w.plan;
    if (!f->adjoint && (p->shadowed || p->active)) {
        bl_refuse_rule(t, c);
        return BL_SEEN;
    }
    const bool verify = !(t->options & BLASAD_NO_VERIFY);
    if (verify && !bl_verified(&w, f->spec) && !bl_verify_before(t, c, bl_publish(t, &w)))
        return BL_SEEN;
    if ((!w.plain && !bl_end_twins(t, c, &w)) || !bl_more_records(t)) {
        bl_out_of_memory(t);
        return BL_SEEN;
    }
    bl_record *r = t->at;
    if (!keep(t, c, f, &w, r)) {
        bl_out_of_memory(t);
        return BL_SEEN;
    }
    t->at = r + 1;
    t->count++;
    if (w.assumed)
        t->assuming++;
    if (t->mode == BLASAD_FORWARD && (r->shadowed & r->write) && !bl_tangent_call(t, c, r)) {
        bl_out_of_memory(t);
        return BL_SEEN;
    }
    if (!p->after)
        return BL_SEEN;
    if (verify || p->timed || p->needs >= BL_LEFT(0) || f->spec->result != BL_NEVER) {
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
BL_EACH_KERNEL(BEFORE)

enum bl_seen bl_tape_before(bl_layer *self, const bl_call *c)
{
#define HANDLER(name, NAME) [BL_##NAME] = before_##name,
    static enum bl_seen (*const handlers[BL_ROUTINES])(blasad_tape *, const bl_call *) = {BL_EACH_ROUTINE(HANDLER)
                                                                                              BL_EACH_KERNEL(HANDLER)};
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
        t->extra[w->record->extra - 1].seconds = (float)(now() - w->start);
    const bl_routine_spec *s = bl_routine_table[c->routine];
    if (s->result != BL_NEVER)
        w->record->scalar[BL_VALUE] = bl_load(bl_type_by(&s->operand[s->result], c->type), w->base[s->result]);
    if (!(t->options & BLASAD_NO_VERIFY))
        bl_verify_after(t, c, w);
    if (w->plan->needs >= BL_LEFT(0) && !keep_left(t, c, w))
        bl_out_of_memory(t);
    if (w->plan->active)
        look_at_returned(t, c, w->plan->single);
}

static void tell_flag(char *text, size_t size, const bl_routine_spec *s, const bl_call *c, int i)
{
    const char first = s->flags[i][0];
    if (c->flag[i] == '?')
        snprintf(text, size, "no CBLAS_%s of the reference",
                 first == 't'   ? "TRANSPOSE"
                 : first == 'u' ? "UPLO"
                 : first == 's' ? "SIDE"
                                : "DIAG");
    else
        snprintf(text, size, "'%c'", bl_flag_spoken(s, c->row_major, c->flag, i));
}

void bl_tape_refused(bl_layer *self, const bl_call *c, int argument)
{
    blasad_tape *t = (blasad_tape *)self;
    const bl_routine_spec *s = bl_routine_table[c->routine];
    const bool cblas = bl_abi_is_cblas(bl_symbol_table[c->symbol].abi) && !s->level1;
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
    const bl_routine_spec *called = bl_routine_table[bl_symbol_table[c->symbol].routine];
    const char *name = called->arguments[argument - 1 - cblas], *canonical = name;
    for (int p = 0; c->row_major && s->row_major[p][0]; p++)
        if (strcmp(s->row_major[p][0], name) == 0)
            canonical = s->row_major[p][1];
    for (int i = 0; i < s->n_flags; i++)
        if (strcmp(s->flags[i], canonical) == 0)
            tell_flag(value, sizeof value, s, c, i);
    for (int i = 0; i < s->n_dims; i++)
        if (strcmp(s->dims[i], canonical) == 0)
            snprintf(value, sizeof value, "%lld", (long long)c->dim[i]);
    for (int i = 0; i < s->n_operands; i++)
        if ((strncmp(canonical, "ld", 2) == 0 && strcmp(s->operand[i].name, canonical + 2) == 0) ||
            (strncmp(canonical, "inc", 3) == 0 && strcmp(s->operand[i].name, canonical + 3) == 0))
            snprintf(value, sizeof value, "%lld", (long long)c->operand[i].ld);
    bl_tape_fail(t, BLASAD_INVALID_CALL,
                 "%s: argument %d (%s) = %s is illegal%s; the BLAS was left to deal with it, and nothing "
                 "was recorded: correct the call",
                 call, argument, name, value, cblas ? " (CBLAS counts the layout as argument 1)" : "");
}
