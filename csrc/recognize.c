#include "recognize.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arena.h"

enum {
    SETS = 1024,         /* of replaced values */
    VECTORS = 256,       /* runs read in one system call, and */
    READ_MOST = 1 << 30, /* bytes, which is less than the kernel's own limit */
};

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static const bl_axis *axes_of(const bl_value *v) { return v->axes > BL_NEAR_AXES ? v->axis.far : v->axis.near; }

bool bl_all_equal(const bl_view *v, int64_t element)
{
    for (int64_t j = 0; j < v->columns; j++) {
        const char *p = bl_view_column(v, j);
        if (memcmp(p, v->base, (size_t)element) != 0 || memcmp(p, p + element, (size_t)(v->column - element)) != 0)
            return false;
    }
    return true;
}

/* ---- values by place */

/* The axes of an array that say where its elements are; -1: there are none. */
static int reduce(const bl_array *a, bl_axis *axis)
{
    int n = 0;
    bool empty = false;
    for (int d = 0; d < a->ndim; d++) {
        empty |= a->shape[d] == 0;
        if (a->shape[d] != 1)
            axis[n++] = (bl_axis){a->shape[d], a->strides[d]};
    }
    if (n > 2 || (n == 2 && bl_magnitude(&axis[0]) > bl_magnitude(&axis[1])))
        if (n <= BL_ALL_ORDERS)
            bl_axes_sort(axis, n);
    return empty ? -1 : n;
}

static inline bool same_axes(const bl_axis *a, const bl_axis *b, int n)
{
    int64_t differ = 0;
    for (int i = 0; i < n; i++)
        differ |= (a[i].length ^ b[i].length) | (a[i].stride ^ b[i].stride);
    return !differ;
}

static uint64_t place_of(const bl_array *a, const bl_axis *axis, int n)
{
    uint64_t h = ((uint64_t)(uintptr_t)a->base ^ (uint64_t)a->element << 56 ^ (uint64_t)a->width << 52) * GOLDEN;
    for (int i = 0; i < n; i++)
        h = (h ^ h >> 32 ^ (uint64_t)axis[i].length ^ (uint64_t)axis[i].stride << 32) * GOLDEN;
    return h;
}

static inline size_t slot_for(const bl_value_set *vs, uint64_t hash) { return (size_t)(hash >> 24) & (vs->slots - 1); }
static inline size_t bucket_for(const bl_value_set *vs, uint64_t sum) { return slot_for(vs, sum * GOLDEN); }

static void file(bl_value_set *vs, uint32_t index)
{
    bl_value *v = &vs->value[index];
    uint32_t *head = &vs->bucket[bucket_for(vs, v->sum)];
    v->next = *head;
    v->filed = v->sum;
    v->waits = false;
    v->is_filed = true;
    *head = index + 1;
}

static bool grow(bl_value_set *vs)
{
    const size_t slots = vs->slots ? vs->slots * 2 : 64;
    uint32_t *table = calloc(slots * 2, sizeof *table);
    if (!table)
        return false;
    free(vs->slot);
    vs->slot = table;
    vs->bucket = table + slots;
    vs->slots = slots;
    vs->waiting = 0;
    for (uint32_t i = 0; i < vs->count; i++) {
        size_t at = slot_for(vs, vs->value[i].place);
        while (table[at])
            at = (at + 1) & (slots - 1);
        table[at] = i + 1;
        file(vs, i);
    }
    return true;
}

/* All that wait go to the bucket of their present sum. */
static void settle(bl_value_set *vs)
{
    while (vs->waiting) {
        const uint32_t index = vs->waiting - 1;
        bl_value *v = &vs->value[index];
        vs->waiting = v->behind;
        if (v->is_filed) {
            uint32_t *link = &vs->bucket[bucket_for(vs, v->filed)];
            while (*link != index + 1)
                link = &vs->value[*link - 1].next;
            *link = v->next;
        }
        file(vs, index);
    }
}

static void wait_to_be_filed(bl_value_set *vs, uint32_t index)
{
    bl_value *v = &vs->value[index];
    if (v->waits)
        return;
    v->waits = true;
    v->behind = vs->waiting;
    vs->waiting = index + 1;
}

/* ---- replaced values */

static uint64_t gone_key(int64_t bytes, int width, uint64_t sum)
{
    uint64_t h = (sum ^ (uint64_t)bytes << 4 ^ (uint64_t)width) * GOLDEN;
    return (h ^ h >> 32) | (h == 0);
}

static bool remember(bl_value_set *vs, const bl_value *v)
{
    if (!vs->gone && !(vs->gone = calloc(SETS, sizeof *vs->gone)))
        return false;
    const uint64_t key = gone_key(v->bytes, v->width, v->sum);
    bl_gone *set = vs->gone[key % SETS];
    int last = 0;
    while (last < BL_GONE_WAYS - 1 && set[last].key != key)
        last++;
    for (; last > 0; last--)
        set[last] = set[last - 1];
    set[0] = (bl_gone){key, v->event};
    return true;
}

static const bl_gone *recall(const bl_value_set *vs, int64_t bytes, int width, uint64_t sum)
{
    const uint64_t key = gone_key(bytes, width, sum);
    for (int i = 0; vs->gone && i < BL_GONE_WAYS; i++)
        if (vs->gone[key % SETS][i].key == key)
            return &vs->gone[key % SETS][i];
    return NULL;
}

bool bl_values_again(bl_value_set *vs, uint32_t last, uint64_t sum, size_t event)
{
    bl_value *v = &vs->value[last - 1];
    if (v->sum != sum) {
        if (!remember(vs, v))
            return false;
        v->sum = sum;
        wait_to_be_filed(vs, last - 1);
    }
    v->event = event;
    return true;
}

bool bl_values_note(bl_value_set *vs, const bl_array *place, bool scratch, uint64_t sum, size_t event)
{
    bl_axis axis[BL_MAX_AXES];
    const int n = reduce(place, axis);
    if (n < 0)
        return true;
    if (vs->count * 2 >= vs->slots && (vs->count >= UINT32_MAX / 4 || !grow(vs)))
        return false;
    const uint64_t hash = place_of(place, axis, n);
    size_t at = slot_for(vs, hash);
    for (; vs->slot[at]; at = (at + 1) & (vs->slots - 1)) {
        const uint32_t index = vs->slot[at] - 1;
        bl_value *v = &vs->value[index];
        if (v->place != hash || v->base != place->base || v->element != place->element || v->width != place->width ||
            v->axes != n || !same_axes(axes_of(v), axis, n))
            continue;
        v->scratch = scratch;
        return bl_values_again(vs, vs->last = index + 1, sum, event);
    }
    if (!bl_grow(&vs->value, &vs->capacity, vs->count, sizeof *vs->value))
        return false;
    bl_value v = {.base = place->base,
                  .place = hash,
                  .bytes = place->element,
                  .sum = sum,
                  .event = event,
                  .element = (uint8_t)place->element,
                  .width = (uint8_t)place->width,
                  .axes = (uint8_t)n,
                  .scratch = scratch};
    if (n > BL_NEAR_AXES && !(v.axis.far = malloc((size_t)n * sizeof *axis)))
        return false;
    memcpy(n > BL_NEAR_AXES ? v.axis.far : v.axis.near, axis, (size_t)n * sizeof *axis);
    for (int i = 0; i < n; i++)
        v.bytes *= axis[i].length;
    vs->value[vs->count] = v;
    vs->slot[at] = vs->last = (uint32_t)vs->count + 1;
    wait_to_be_filed(vs, (uint32_t)vs->count++);
    return true;
}

void bl_values_free(bl_value_set *vs)
{
    for (size_t i = 0; i < vs->count; i++)
        if (vs->value[i].axes > BL_NEAR_AXES)
            free(vs->value[i].axis.far);
    free(vs->value);
    free(vs->slot);
    free(vs->gone);
    *vs = (bl_value_set){0};
}

/* ---- memory that may have vanished */

typedef struct reader {
    char *to;
    size_t bytes;
    unsigned long n;
    struct iovec from[VECTORS];
} reader;

static bool flush(reader *r)
{
    struct iovec to = {r->to, r->bytes};
    if (r->n && process_vm_readv(getpid(), &to, 1, r->from, r->n, 0) != (ssize_t)r->bytes)
        return false;
    r->to += r->bytes;
    r->bytes = 0;
    r->n = 0;
    return true;
}

/* Through the kernel, for which an address that is none any more is an error like others. */
static bool read_all(const bl_order *o, char *to)
{
    reader r = {.to = to};
    for (int64_t k = 0, n = bl_order_slices(o); k < n; k++) {
        const bl_view v = bl_order_slice(o, k);
        for (int64_t j = 0; j < v.columns; j++)
            for (int64_t i = 0, bytes; i < v.column; i += bytes) {
                if ((r.n == VECTORS || r.bytes == READ_MOST) && !flush(&r))
                    return false;
                bytes = least(v.column - i, READ_MOST - (int64_t)r.bytes);
                r.from[r.n++] = (struct iovec){bl_view_column(&v, j) + i, (size_t)bytes};
                r.bytes += (size_t)bytes;
            }
    }
    return flush(&r);
}

/* ---- matching */

static bool overlaps(const bl_order *o, const bl_view *operand)
{
    const char *end = o->base + o->run;
    for (int i = 0; i < o->axes; i++)
        end += (o->axis[i].length - 1) * o->axis[i].stride;
    if (end <= operand->base || operand->end <= o->base)
        return false;
    for (int64_t k = 0, n = bl_order_slices(o); k < n; k++) {
        const bl_view v = bl_order_slice(o, k);
        if (bl_views_overlap(&v, operand))
            return true;
    }
    return false;
}

static uint64_t sum_of(const bl_order *o, int width)
{
    uint64_t sum = 0;
    for (int64_t k = 0, n = bl_order_slices(o); k < n; k++) {
        const bl_view v = bl_order_slice(o, k);
        sum += bl_content_sum(&v, width);
    }
    return sum;
}

/* Where the value's elements are in what read_all made of them: without holes, in the order of their addresses. */
static char *packed(const bl_value *v, char *to, bl_axis *axis)
{
    const bl_axis *real = axes_of(v);
    for (int i = 0; i < v->axes; i++) {
        int64_t stride = v->element;
        for (int j = 0; j < v->axes; j++)
            if (bl_magnitude(&real[j]) < bl_magnitude(&real[i]))
                stride *= real[j].length;
        axis[i] = (bl_axis){real[i].length, real[i].stride < 0 ? -stride : stride};
        to += real[i].stride < 0 ? stride * (real[i].length - 1) : 0;
    }
    return to;
}

/* Finds the orders of the value's elements in which the operand has them, too. They are read at `base` and `axis`, but
 * told in terms of their real place. */
static bool match_order(const bl_value *v, char *base, const bl_axis *axis, const bl_view *operand, bl_match *m)
{
    bool found = false;
    bl_order o;
    for (int k = 0; bl_order_pick(&o, base, v->element, axis, v->axes, k); k++) {
        if (!bl_order_equals(&o, operand))
            continue;
        bl_order_pick(&o, v->base, v->element, axes_of(v), v->axes, k);
        if (found && !bl_orders_same(&m->order, &o)) {
            m->ambiguous = true;
            break;
        }
        found = true;
        m->order = o;
    }
    return found;
}

static enum bl_match_kind compare(const bl_value *v, const bl_view *operand, bl_match *m)
{
    bl_order o;
    bl_order_ascending(&o, v->base, v->element, axes_of(v), v->axes);
    if (overlaps(&o, operand))
        return BL_MATCH_NONE;
    m->event = v->event;
    m->value = v;
    m->ambiguous = false;
    m->width = v->width;
    if (!v->scratch)
        return match_order(v, v->base, axes_of(v), operand, m) ? BL_MATCH_HERE
               : sum_of(&o, v->width) == v->sum                ? BL_MATCH_NONE
                                                               : BL_MATCH_GONE;
    enum bl_match_kind kind = BL_MATCH_GONE;
    char *now = malloc((size_t)v->bytes);
    if (now && read_all(&o, now)) {
        bl_axis axis[BL_MAX_AXES];
        const bl_view all = bl_view_run(now, v->bytes);
        if (match_order(v, packed(v, now, axis), axis, operand, m))
            kind = BL_MATCH_HERE;
        else if (bl_content_sum(&all, v->width) == v->sum)
            kind = BL_MATCH_NONE;
    }
    free(now);
    return kind;
}

enum bl_match_kind bl_values_find(bl_value_set *vs, const bl_view *operand, int width, uint64_t sum, bl_match *found)
{
    const int64_t bytes = bl_view_bytes(operand);
    enum bl_match_kind kind = BL_MATCH_NONE;
    if (bytes == 0 || vs->count == 0)
        return BL_MATCH_NONE;
    settle(vs);
    for (uint32_t next = vs->bucket[bucket_for(vs, sum)]; next;) {
        const bl_value *v = &vs->value[next - 1];
        bl_match m;
        next = v->next;
        if (v->sum != sum || v->bytes != bytes || v->width != width)
            continue;
        const enum bl_match_kind k = compare(v, operand, &m);
        if (k == BL_MATCH_NONE || k < kind)
            continue;
        const bool ambiguous = k == BL_MATCH_HERE && kind == k &&
                               (found->ambiguous || m.ambiguous || !bl_orders_same(&found->order, &m.order));
        if (k > kind || m.event > found->event)
            *found = m;
        found->ambiguous |= ambiguous;
        kind = k;
    }
    const bl_gone *g = kind == BL_MATCH_NONE ? recall(vs, bytes, width, sum) : NULL;
    if (!g)
        return kind;
    found->event = g->event;
    found->value = NULL;
    found->ambiguous = false;
    return BL_MATCH_GONE;
}

bool bl_match_pieces(const bl_match *m, const bl_view *operand, bool (*piece)(void *, const bl_piece *), void *context)
{
    return bl_order_copies(&m->order, operand, m->width, piece, context);
}
