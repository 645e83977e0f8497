#include "operation.h"

#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "fingerprint.h"
#include "life.h"
#include "site.h"
#include "touch.h"
#include "verify.h"

static int never(const bl_call *c)
{
    (void)c;
    return 0;
}

static const char *const none[] = {NULL};
static const char *const no_pairs[][2] = {{NULL, NULL}};
extern const bl_routine_spec bl_spec_operation;
const bl_routine_spec bl_spec_operation = {.name = "operation",
                                           .flags = none,
                                           .dims = none,
                                           .scalars = none,
                                           .arguments = none,
                                           .row_major = no_pairs,
                                           .result = BL_NEVER,
                                           .check = never};

/* An array of the operation, and room for a copy of it in its own layout. */
typedef struct operand {
    bl_axes axes;
    bl_array array;
    int64_t shape[BL_MAX_AXES], strides[BL_MAX_AXES];
    ptrdiff_t first; /* bytes from the lowest address to the element with all indices 0 */
    int type;
} operand;

/* What a forward tape takes before the operation, and gives to jvp after it. */
typedef struct taken {
    struct taken *next;
    const blasad_tape *tape;
    char *values, *tangents; /* of all inputs; of each of the batch */
} taken;

struct blasad_operation {
    atomic_int users;
    int n_in, n_out;
    bl_layer *top; /* the layers of the thread, while it runs */
    blasad_vjp vjp;
    blasad_jvp jvp;
    void *self;
    void (*done)(void *);
    taken *taken;
    void **pointers; /* for the functions: inputs, outputs, shadows */
    blasad_array *results;
    operand operand[];
};

static size_t round_up(int64_t bytes) { return ((size_t)bytes + 63) & ~(size_t)63; }
static int operands(const blasad_operation *o) { return o->n_in + o->n_out; }
static int width_of(const operand *x) { return x->array.width; }
static int real_type(const operand *x) { return width_of(x) == 8 ? BL_D : BL_S; }

static size_t room(const blasad_operation *o, int from, int to)
{
    size_t bytes = 0;
    for (int i = from; i < to; i++)
        bytes += round_up(o->operand[i].axes.span);
    return bytes;
}

void bl_operation_give(blasad_operation *o)
{
    if (!o || atomic_fetch_sub(&o->users, 1) > 1)
        return;
    while (o->taken) {
        taken *next = o->taken->next;
        free(o->taken->values);
        free(o->taken);
        o->taken = next;
    }
    if (o->done)
        o->done(o->self);
    free(o->pointers);
    free(o->results);
    free(o);
}

/* ---- parts of an operand: runs of contiguous bytes with one owner */

typedef struct walk {
    const operand *x;
    int64_t at[BL_MAX_AXES];
    char *p;
    bool over;
    bl_view run;
    bl_parts parts;
} walk;

static void walk_begin(walk *w, blasad_tape *t, const operand *x, bool make)
{
    memset(w->at, 0, sizeof w->at);
    w->x = x;
    w->p = x->axes.lo;
    w->over = x->axes.bytes == 0;
    w->run = bl_view_run(w->p, x->axes.run);
    w->parts = bl_parts_of(&t->regions, &w->run, width_of(x), make);
}

static bool walk_next(walk *w, bl_region **r, bl_view *part)
{
    while (!w->over) {
        if (bl_parts_next(&w->parts, r, part))
            return true;
        if (w->parts.short_of || !bl_axes_next(&w->x->axes, 0, w->at, &w->p)) {
            w->over = true;
            break;
        }
        w->run = bl_view_run(w->p, w->x->axes.run);
        w->parts.column = 0;
        w->parts.at = w->p;
    }
    return false;
}

static bl_matrix matrix(char *at, int64_t units) { return (bl_matrix){at, units}; }

/* Copies the operand, from memory or from wherever its values or a shadow of it are, into its room. */
enum what { MEMORY, VALUES, SHADOW };
static void fetch(blasad_tape *t, const bl_path *to, const operand *x, enum what what, int shadow, char *copy)
{
    walk w;
    bl_region *r;
    bl_view part;
    walk_begin(&w, t, x, false);
    while (walk_next(&w, &r, &part)) {
        const int64_t n = part.column / width_of(x);
        const bl_matrix there = matrix(copy + (part.base - x->axes.lo), n);
        if (what == SHADOW && !(r->duplicated || r->shadows))
            bl_mscal(to, real_type(x), n, 1, 'N', BL_ZERO, there);
        else
            bl_mcopy(to, real_type(x), n, 1,
                     matrix(what == MEMORY   ? part.base
                            : what == VALUES ? bl_mirror_value(to, r, &part)
                                             : part.base + bl_delta(r, shadow),
                            n),
                     there);
    }
}

static void clear_shadow(blasad_tape *t, const bl_path *to, const operand *x, int shadow)
{
    walk w;
    bl_region *r;
    bl_view part;
    walk_begin(&w, t, x, false);
    while (walk_next(&w, &r, &part))
        if (r->duplicated || r->shadows)
            bl_mscal(to, real_type(x), part.column / width_of(x), 1, 'N', BL_ZERO,
                     matrix(part.base + bl_delta(r, shadow), part.column / width_of(x)));
}

/* Adds an array of the operand's shape to a shadow of it, line by line along its last axis. */
static void add_line(blasad_tape *t, const bl_path *to, const operand *x, char *at, int64_t step, int64_t count,
                     char *from, int64_t from_step, int shadow)
{
    const int64_t width = width_of(x), m = x->array.element / width;
    if (step < 0) {
        at += step * (count - 1);
        from += from_step * (count - 1);
        step = -step;
        from_step = -from_step;
    }
    bl_view line = bl_view_run(at, m * width);
    line.end += step * (count - 1);
    line.stride = step;
    line.columns = count;
    bl_region *r = bl_regions_search(&t->regions, &line, 0);
    if (r && r != &bl_mixed && from_step >= m * width) {
        if (r->duplicated)
            bl_madd(to, real_type(x), m, count, (bl_matrix){from, from_step / width},
                    (bl_matrix){at + bl_delta(r, shadow), step / width});
        return;
    }
    for (int64_t j = 0; j < count; j++) { /* each number by itself */
        const bl_view element = bl_view_run(at + j * step, m * width);
        bl_parts parts = bl_parts_of(&t->regions, &element, (int)width, false);
        bl_view part;
        while (bl_parts_next(&parts, &r, &part))
            if (r->duplicated || r->shadows)
                bl_madd(to, real_type(x), part.column / width, 1,
                        matrix(from + j * from_step + (part.base - element.base), part.column / width),
                        matrix(part.base + bl_delta(r, shadow), part.column / width));
    }
}

static void add_result(blasad_tape *t, const bl_path *to, const operand *x, const blasad_array *result, int shadow)
{
    const bl_array *a = &x->array;
    int64_t at[BL_MAX_AXES] = {0};
    const int last = a->ndim - 1;
    const int64_t count = last >= 0 ? a->shape[last] : 1;
    if (x->axes.bytes == 0)
        return;
    for (;;) {
        char *p = a->base, *q = result->at;
        for (int d = 0; d < last; d++) {
            p += at[d] * a->strides[d];
            q += at[d] * result->strides[d];
        }
        add_line(t, to, x, p, count > 1 ? a->strides[last] : a->element, count, q,
                 count > 1 ? result->strides[last] : a->element, shadow);
        int d = last - 1;
        while (d >= 0 && ++at[d] == a->shape[d])
            at[d--] = 0;
        if (d < 0)
            return;
    }
}

/* To an outer tape, a result that no recorded call made is constant, which is wrong if anything that it was made of is
 * active there (10). */
static bool meets(const blasad_tape *t, const char *lo, int64_t bytes)
{
    const bl_view v = bl_view_run((char *)(uintptr_t)lo, bytes);
    return bl_regions_meet(&t->regions, &v) || bl_windows_live(&t->regions, &v);
}

static int check_derivative(const bl_path *to, const blasad_operation *o, const char *made_of, size_t bytes, int first)
{
    for (bl_layer *l = to->below; l; l = l->below) {
        blasad_tape *outer = (blasad_tape *)l;
        if (!meets(outer, made_of, (int64_t)bytes))
            continue;
        for (int i = first; i < first + (first ? o->n_out : o->n_in); i++) {
            const operand *x = &o->operand[i];
            const blasad_array *a = &o->results[i - first];
            bl_array made = x->array;
            bl_axes axes;
            made.base = a->at;
            made.strides = a->strides;
            if (!a->at || bl_axes_of(&made, "a result", &axes) != BLASAD_OK || meets(outer, axes.lo, axes.span))
                continue;
            return bl_fail(BLASAD_NO_DERIVATIVE,
                           "tape.record: its derivative was asked for itself, but what its function returned for "
                           "argument %d was not computed by recorded calls, so nothing is known of how it depends on "
                           "what went in; make it with BLAS, or do without the outer tape. Shadows may be partial",
                           i - first);
        }
    }
    return BLASAD_OK;
}

/* ---- recording */

typedef struct seen {
    bool active, constant_output;
} seen;

/* What the inputs are, and that they are as they were left. */
static bool look(blasad_tape *t, blasad_operation *o, seen *s)
{
    static const char when[] = "an operation that was recorded with tape.record";
    for (int i = 0; i < operands(o); i++) {
        const operand *x = &o->operand[i];
        const bool input = i < o->n_in, verify = !(t->options & BLASAD_NO_VERIFY);
        const bl_call c = {.type = (uint8_t)x->type,
                           .size = (uint8_t)x->array.element,
                           .width = (uint8_t)width_of(x),
                           .routine = BL_OPERATION,
                           .symbol = BL_SYMBOL_OPERATION};
        walk w;
        bl_region *r;
        bl_view part;
        walk_begin(&w, t, x, true);
        while (walk_next(&w, &r, &part)) {
            bl_look k;
            if (r->window ? !bl_look_at(t, &c, &part, input, &k) : !bl_fits_width(t, &c, r))
                return false;
            const char *bad = r->window || !verify ? NULL : bl_changed_before(r, &part, input, input, !input);
            if (bad) {
                bl_changed(t, r, bad, when);
                return false;
            }
            s->active |= input && (r->window ? k.shadow : r->duplicated);
            s->constant_output |= !input && !r->window && !r->duplicated;
        }
        if (w.parts.short_of) {
            bl_out_of_memory(t);
            return false;
        }
    }
    return true;
}

static bool keep_values(blasad_tape *t, const operand *x, bl_record *r, bool after)
{
    const bl_path below = {.below = t->layer.below, .symbol = BL_SYMBOL_OPERATION};
    walk w;
    bl_region *g;
    bl_view part;
    walk_begin(&w, t, x, false);
    while (walk_next(&w, &g, &part)) {
        bl_save *s = NULL;
        if (!(g->window ? bl_keep_read(&t->values, &below, g, &part, &s) : bl_need(g, &part)))
            return false;
        if (s)
            s->by_read = !after; /* replayed backwards, what the outputs were is passed before the inputs are read */
        if (!bl_add_save(t, r, s))
            return false;
    }
    return true;
}

static bool end_twins(blasad_tape *t, const blasad_operation *o)
{
    bool good = true;
    for (int i = o->n_in; good && i < operands(o); i++) {
        walk w;
        bl_region *g;
        bl_view part;
        walk_begin(&w, t, &o->operand[i], false);
        while (good && walk_next(&w, &g, &part))
            good = bl_end_twin(t, g, &part, BL_SYMBOL_OPERATION);
    }
    return good;
}

static bool overwrite(blasad_tape *t, const operand *x, bl_record *r, bool live)
{
    const bl_path below = {.below = t->layer.below, .symbol = BL_SYMBOL_OPERATION};
    walk w;
    bl_region *g;
    bl_view part;
    walk_begin(&w, t, x, false);
    while (walk_next(&w, &g, &part)) {
        bl_save *s = NULL;
        if (g->window ? !bl_window_mark(t, g, &part, live)
                      : !bl_save_under(&t->values, &below, g, &part, &s) || !bl_add_save(t, r, s))
            return false;
    }
    return true;
}

static bool take_tangents(blasad_tape *t, blasad_operation *o)
{
    const bl_path below = {.below = t->layer.below, .symbol = BL_SYMBOL_OPERATION};
    const size_t bytes = room(o, 0, o->n_in), all = bytes * (size_t)(1 + bl_batch(t));
    taken *k = calloc(1, sizeof *k);
    char *at = k ? k->values = aligned_alloc(64, all ? all : 64) : NULL;
    if (!at) {
        free(k);
        return false;
    }
    *k = (taken){o->taken, t, at, at + bytes};
    o->taken = k;
    for (int b = -1; b < bl_batch(t); b++)
        for (int i = 0; i < o->n_in; i++) {
            fetch(t, &below, &o->operand[i], b < 0 ? MEMORY : SHADOW, b, at);
            at += round_up(o->operand[i].axes.span);
        }
    return true;
}

void bl_tape_operate(bl_layer *self, blasad_operation *o)
{
    blasad_tape *t = (blasad_tape *)self;
    seen s = {false, false};
    if (atomic_load(&t->error) != BLASAD_OK || !look(t, o, &s))
        return;
    if (s.active && s.constant_output) {
        bl_tape_fail(t, BLASAD_ACTIVITY,
                     "an operation of tape.record has an active input and writes to memory that is annotated as "
                     "constant: the gradient would be cut there; make it Duplicated");
        return;
    }
    bool good = end_twins(t, o) && bl_more_records(t) &&
                bl_grow(&t->operation, &t->operation_capacity, t->operations, sizeof *t->operation);
    if (good) {
        bl_record *r = t->at++;
        t->count++;
        *r = (bl_record){.routine = BL_OPERATION, .active = s.active, .symbol = BL_SYMBOL_OPERATION, .base = {o}};
        t->operation[t->operations++] = o;
        atomic_fetch_add(&o->users, 1);
        const bool reverse = t->mode == BLASAD_REVERSE;
        for (int i = 0; good && s.active && reverse && i < o->n_in; i++)
            good = keep_values(t, &o->operand[i], r, false);
        good = good && (reverse || take_tangents(t, o));
        for (int i = o->n_in; good && i < operands(o); i++)
            good = overwrite(t, &o->operand[i], r, s.active);
        const size_t all = room(o, 0, operands(o)) + room(o, o->n_in, operands(o));
        t->workspace = t->workspace > all ? t->workspace : all;
    }
    if (!good)
        bl_out_of_memory(t);
}

static int call_jvp(blasad_tape *t, blasad_operation *o, const taken *k, int shadow)
{
    const bl_path below = {.below = t->layer.below, .symbol = BL_SYMBOL_OPERATION};
    const size_t bytes = room(o, 0, o->n_in);
    char *values = k->values, *tangents = k->tangents + bytes * (size_t)shadow;
    void **p = o->pointers;
    for (int i = 0; i < o->n_in; i++) {
        const operand *x = &o->operand[i];
        p[i] = values + x->first;
        p[operands(o) + i] = tangents + x->first;
        values += round_up(x->axes.span);
        tangents += round_up(x->axes.span);
    }
    for (int i = o->n_in; i < operands(o); i++)
        p[i] = o->operand[i].array.base;
    memset(o->results, 0, (size_t)operands(o) * sizeof *o->results);
    /* Its calls are told to the layers below this tape; those of a tape of all threads to nobody. */
    const bl_interlude pause = bl_interlude_begin();
    bl_layer *top = bl_thread_state.top;
    bl_thread_state.paused = t->options & BLASAD_ALL_THREADS;
    bl_thread_state.top = bl_thread_state.paused ? NULL : t->layer.below;
    bl_thread_state.in_jvp = true;
    const bool failed = o->jvp(o->self, shadow, p, p + o->n_in, p + operands(o), o->results);
    bl_thread_state.top = top;
    bl_thread_state.paused = bl_thread_state.in_jvp = false;
    bl_interlude_end(pause);
    if (failed)
        return bl_fail(BLASAD_USER, "the jvp of an operation of tape.record failed");
    int code = check_derivative(&below, o, k->values, (size_t)bytes * (size_t)(1 + bl_batch(t)), o->n_in);
    for (int i = o->n_in; i < operands(o) && code == BLASAD_OK; i++) {
        clear_shadow(t, &below, &o->operand[i], shadow);
        if (o->results[i - o->n_in].at)
            add_result(t, &below, &o->operand[i], &o->results[i - o->n_in], shadow);
    }
    return code;
}

/* Behind it there may be calls of other threads. */
static bl_record *record_of(const blasad_tape *t, const blasad_operation *o)
{
    for (size_t i = t->count; i-- > 0;) {
        bl_record *r = &t->chunk[i / BL_RECORDS_PER_CHUNK][i % BL_RECORDS_PER_CHUNK];
        if (r->routine == BL_OPERATION && r->base[0] == o)
            return r;
    }
    return NULL;
}

void bl_tape_operated(bl_layer *self, blasad_operation *o)
{
    blasad_tape *t = (blasad_tape *)self;
    const bl_path below = {.below = t->layer.below, .symbol = BL_SYMBOL_OPERATION};
    bl_record *r = atomic_load(&t->error) == BLASAD_OK ? record_of(t, o) : NULL;
    if (!r)
        return;
    for (int i = 0; i < operands(o) && !(t->options & BLASAD_NO_VERIFY); i++) {
        walk w;
        bl_region *g;
        bl_view part;
        walk_begin(&w, t, &o->operand[i], false);
        while (walk_next(&w, &g, &part))
            bl_left_behind(g, &part, i >= o->n_in);
    }
    bool good = true;
    for (int i = o->n_in; r->active && t->mode == BLASAD_REVERSE && good && i < operands(o); i++)
        good = keep_values(t, &o->operand[i], r, true);
    if (!good)
        bl_out_of_memory(t);
    if (r->active && !(t->mode == BLASAD_REVERSE ? (void *)o->vjp : (void *)o->jvp)) {
        bl_tape_fail(t, BLASAD_NO_DERIVATIVE, "an operation of tape.record has an active input, but no %s; give it one",
                     t->mode == BLASAD_REVERSE ? "vjp, which reverse mode needs" : "jvp, which forward mode needs");
        return;
    }
    for (taken *k = o->taken; k && t->mode == BLASAD_FORWARD; k = k->next)
        for (int b = 0; k->tape == t && b < bl_batch(t) && atomic_load(&t->error) == BLASAD_OK; b++) {
            int code = BLASAD_OK;
            if (r->active)
                code = call_jvp(t, o, k, b);
            else
                for (int i = o->n_in; i < operands(o); i++)
                    clear_shadow(t, &below, &o->operand[i], b);
            if (code != BLASAD_OK)
                bl_tape_fail(t, code, "%s", blasad_last_error());
        }
}

/* ---- replaying: workspace holds the outputs' values, the inputs', then the outputs' shadows */

void bl_operation_outputs(blasad_tape *t, const bl_record *r, const bl_path *to)
{
    const blasad_operation *o = r->base[0];
    char *at = t->work;
    for (int i = o->n_in; r->active && i < operands(o); i++) {
        fetch(t, to, &o->operand[i], VALUES, 0, at);
        o->pointers[i] = at + o->operand[i].first;
        at += round_up(o->operand[i].axes.span);
    }
}

int bl_operation_adjoint(blasad_tape *t, const bl_record *r, const bl_path *to)
{
    blasad_operation *o = r->base[0];
    char *at = t->work + room(o, o->n_in, operands(o));
    for (int i = 0; r->active && i < o->n_in; i++) {
        fetch(t, to, &o->operand[i], VALUES, 0, at);
        o->pointers[i] = at + o->operand[i].first;
        at += round_up(o->operand[i].axes.span);
    }
    for (int b = 0; b < bl_batch(t); b++) {
        char *shadow = at;
        for (int i = o->n_in; i < operands(o); i++) {
            const operand *x = &o->operand[i];
            if (r->active)
                fetch(t, to, x, SHADOW, b, shadow);
            o->pointers[operands(o) + i - o->n_in] = shadow + x->first;
            shadow += round_up(x->axes.span);
        }
        memset(o->results, 0, (size_t)operands(o) * sizeof *o->results);
        if (r->active) {
            void **p = o->pointers;
            const bl_interlude pause = bl_interlude_begin();
            const bool failed = o->vjp(o->self, b, p, p + o->n_in, p + operands(o), o->results);
            bl_interlude_end(pause);
            if (failed)
                return bl_fail(BLASAD_USER, "the vjp of an operation of tape.record failed; shadows may be partial");
            const int code = check_derivative(to, o, t->work, (size_t)(shadow - t->work), 0);
            if (code != BLASAD_OK)
                return code;
        }
        for (int i = o->n_in; i < operands(o); i++)
            clear_shadow(t, to, &o->operand[i], b);
        for (int i = 0; i < o->n_in; i++)
            if (o->results[i].at)
                add_result(t, to, &o->operand[i], &o->results[i], b);
    }
    return BLASAD_OK;
}

/* ---- the interface */

static int take_operand(operand *x, const blasad_array *a, const char *what)
{
    if (a->type < BLASAD_FLOAT || a->type > BLASAD_COMPLEX_DOUBLE)
        return bl_fail(BLASAD_VALUE, "%s: %d is no blasad_type of numbers", what, a->type);
    if (a->ndim < 0 || a->ndim > BL_MAX_AXES)
        return bl_fail(BLASAD_VALUE, "%s has %d axes; blasad takes up to %d", what, a->ndim, BL_MAX_AXES);
    if (a->ndim > 0) { /* else the pointers may be NULL */
        memcpy(x->shape, a->shape, (size_t)a->ndim * sizeof *x->shape);
        memcpy(x->strides, a->strides, (size_t)a->ndim * sizeof *x->strides);
    }
    const int width = (int)bl_real_width(a->type);
    x->type = a->type;
    x->array = (bl_array){a->at, width, width == 4 ? 2 : 3, bl_element_size(a->type), a->ndim, x->shape, x->strides};
    const int code = bl_axes_of(&x->array, what, &x->axes);
    x->first = x->array.base - x->axes.lo;
    return code;
}

/* Memory is short: whatever the program does now, the tapes know that they miss it. */
static void tell_loss(void)
{
    const bool spliced = bl_splice();
    for (bl_layer *l = bl_thread_state.top; l; l = l->below)
        bl_out_of_memory((blasad_tape *)l);
    if (spliced)
        bl_unsplice();
}

BL_EXPORT blasad_operation *blasad_record_begin(int n_in, const blasad_array *in, int n_out, const blasad_array *out)
{
    const size_t n = (size_t)n_in + (size_t)n_out;
    blasad_operation *o = calloc(1, sizeof *o + n * sizeof *o->operand);
    if (!o || !(o->pointers = calloc(2 * n + 1, sizeof *o->pointers)) ||
        !(o->results = calloc(n + 1, sizeof *o->results))) {
        if (o)
            free(o->pointers);
        free(o);
        tell_loss();
        bl_fail(BLASAD_MEMORY, "no memory to record an operation");
        return NULL;
    }
    atomic_init(&o->users, 1);
    o->n_in = n_in;
    o->n_out = n_out;
    for (int i = 0; i < operands(o); i++)
        if (take_operand(&o->operand[i], i < n_in ? &in[i] : &out[i - n_in],
                         i < n_in ? "an input of tape.record" : "an output of tape.record") != BLASAD_OK) {
            bl_operation_give(o);
            return NULL;
        }
    bl_array arrays[BL_MAX_BATCH];
    for (int i = 0; i < n_out && i < BL_MAX_BATCH; i++)
        arrays[i] = o->operand[n_in + i].array;
    const int code = bl_arrays_check(arrays, n_out < BL_MAX_BATCH ? n_out : BL_MAX_BATCH, "an output of tape.record");
    if (code != BLASAD_OK) {
        if (code == BLASAD_MEMORY)
            tell_loss();
        bl_operation_give(o);
        return NULL;
    }
    const bool spliced = bl_splice();
    for (bl_layer *l = bl_thread_state.top; l; l = l->below)
        l->operate(l, o);
    if (spliced)
        bl_unsplice();
    o->top = bl_thread_state.top;
    bl_thread_state.top = NULL;
    bl_thread_state.paused = true;
    return o;
}

/* The layers of the thread are told again; below a tape that was opened in the operation and is still open, if so. */
static bool go_on(const blasad_operation *o)
{
    bl_layer **end = &bl_thread_state.top;
    const bool clean = !*end;
    while (*end)
        end = &(*end)->below;
    *end = o->top;
    bl_thread_state.paused = false;
    return clean;
}

/* From the outermost to the innermost: what one does with its numbers the outer ones shall find in order. */
static void tell_end(bl_layer *l, blasad_operation *o)
{
    if (!l)
        return;
    tell_end(l->below, o);
    l->operated(l, o);
}

static void abandon(blasad_operation *o)
{
    const bool spliced = bl_splice();
    for (bl_layer *l = bl_thread_state.top; l; l = l->below)
        bl_tape_fail((blasad_tape *)l, BLASAD_TAPE,
                     "an operation of tape.record was left by an error, and nothing tells what it had written");
    if (spliced)
        bl_unsplice();
    bl_operation_give(o);
}

BL_EXPORT int blasad_record_end(blasad_operation *o, blasad_vjp vjp, blasad_jvp jvp, void *self, void (*done)(void *))
{
    o->vjp = vjp;
    o->jvp = jvp;
    o->self = self;
    o->done = done;
    if (!go_on(o)) {
        abandon(o);
        return bl_fail(BLASAD_TAPE, "a tape that was opened inside an operation of tape.record is still recording; it "
                                    "has to be closed there");
    }
    const bool spliced = bl_splice();
    int code = BLASAD_OK;
    tell_end(bl_thread_state.top, o);
    for (bl_layer *l = bl_thread_state.top; l; l = l->below) {
        const int error = blasad_tape_error((blasad_tape *)l);
        code = code == BLASAD_OK && error == BLASAD_USER ? error : code;
    }
    if (spliced)
        bl_unsplice();
    bl_operation_give(o);
    return code;
}

BL_EXPORT void blasad_record_abandon(blasad_operation *o)
{
    go_on(o);
    abandon(o);
}
