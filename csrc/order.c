#include "order.h"

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void bl_axes_sort(bl_axis *axis, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && bl_magnitude(&axis[j - 1]) > bl_magnitude(&axis[j]); j--) {
            bl_axis t = axis[j];
            axis[j] = axis[j - 1];
            axis[j - 1] = t;
        }
}

static void merge(bl_order *o)
{
    int n = 0;
    for (int i = 0; i < o->axes; i++) {
        const bl_axis a = o->axis[i];
        if (n == 0 && a.stride == o->run)
            o->run *= a.length;
        else if (n > 0 && a.stride == o->axis[n - 1].stride * o->axis[n - 1].length)
            o->axis[n - 1].length *= a.length;
        else
            o->axis[n++] = a;
    }
    o->axes = n;
}

bool bl_orders_same(const bl_order *a, const bl_order *b)
{
    return a->base == b->base && a->run == b->run && a->axes == b->axes &&
           memcmp(a->axis, b->axis, (size_t)a->axes * sizeof *a->axis) == 0;
}

bool bl_order_pick(bl_order *o, char *base, int64_t element, const bl_axis *axis, int n, int k)
{
    bl_axis left[BL_MAX_AXES];
    memcpy(left, axis, (size_t)n * sizeof *left);
    o->base = base;
    o->run = element;
    o->axes = n;
    if (n > BL_ALL_ORDERS) {
        if (k >= 4)
            return false;
        if (k >= 2)
            bl_axes_sort(left, n);
        for (int i = 0; i < n; i++)
            o->axis[i] = left[k % 2 ? n - 1 - i : i];
    } else {
        for (int i = 0, rest = n; i < n; i++, rest--) {
            const int pick = k % rest;
            k /= rest;
            o->axis[i] = left[pick];
            memmove(left + pick, left + pick + 1, (size_t)(rest - 1 - pick) * sizeof *left);
        }
        if (k > 0)
            return false;
    }
    merge(o);
    return true;
}

void bl_order_ascending(bl_order *o, char *base, int64_t element, const bl_axis *axis, int n)
{
    *o = (bl_order){.base = base, .run = element, .axes = n};
    for (int i = 0; i < n; i++) {
        o->axis[i] = (bl_axis){axis[i].length, bl_magnitude(&axis[i])};
        if (axis[i].stride < 0)
            o->base += axis[i].stride * (axis[i].length - 1);
    }
    bl_axes_sort(o->axis, n);
    merge(o);
}

int64_t bl_order_slices(const bl_order *o)
{
    int64_t n = 1;
    for (int i = 1; i < o->axes; i++)
        n *= o->axis[i].length;
    return n;
}

bl_view bl_order_slice(const bl_order *o, int64_t k)
{
    char *p = o->base;
    for (int i = 1; i < o->axes; k /= o->axis[i++].length)
        p += k % o->axis[i].length * o->axis[i].stride;
    if (o->axes == 0)
        return bl_view_run(p, o->run);
    const bl_axis a = o->axis[0];
    bl_view v = bl_view_run(p, o->run);
    v.end += (a.length - 1) * a.stride;
    v.stride = a.stride;
    v.columns = a.length;
    return v;
}

/* `columns` runs of `bytes` bytes on both sides. */
typedef struct grid {
    const char *from;
    char *to;
    int64_t bytes, columns, from_stride, to_stride;
} grid;

/* Calls f for grids that together lay the elements of `o` out as those of `to`, until one returns false. */
static bool each_grid(const bl_order *o, const bl_view *to, bool (*f)(void *, const grid *), void *context)
{
    const int64_t total = bl_view_bytes(to), run = o->run, column = to->column;
    const bl_axis one = {1, 0}, inner = o->axes > 0 ? o->axis[0] : one, outer = o->axes > 1 ? o->axis[1] : one;
    for (int64_t at = 0; at < total;) {
        const int64_t i = at / run, x = at % run, j = at / column, y = at % column;
        const int64_t bytes = least(run - x, column - y);
        const int64_t first = i % inner.length, second = i / inner.length % outer.length;
        const char *from = o->base + x;
        int64_t rest = i;
        for (int d = 0; d < o->axes; rest /= o->axis[d++].length)
            from += rest % o->axis[d].length * o->axis[d].stride;
        grid g = {from, bl_view_column(to, j) + y, bytes, 1, bytes, bytes};
        /* how many of them follow at equal distances on both sides */
        g.columns = (run - x) / bytes;
        if (bytes == run) {
            g.columns = inner.length - first;
            g.from_stride = inner.stride;
        }
        int64_t fit = (column - y) / bytes;
        if (bytes == column) {
            fit = to->columns - j;
            g.to_stride = to->stride;
        }
        g.columns = least(g.columns, fit);
        /* Or as many grids as the inner axis is long, along the outer one, if that is longer. */
        if (bytes == run && first == 0) {
            const int64_t sweep = run * inner.length;
            int64_t sweeps = (column - y) / sweep, step = sweep;
            if (bytes == column) {
                sweeps = (to->columns - j) / inner.length;
                step = to->stride * inner.length;
            } else if (sweep == column) {
                sweeps = to->columns - j;
                step = to->stride;
            }
            sweeps = least(sweeps, outer.length - second);
            if (sweeps > inner.length) {
                for (int64_t k = 0; k < inner.length; k++) {
                    const grid h = {from + k * inner.stride, g.to + k * g.to_stride, run, sweeps, outer.stride, step};
                    if (!f(context, &h))
                        return false;
                }
                at += sweep * sweeps;
                continue;
            }
        }
        if (!f(context, &g))
            return false;
        at += bytes * g.columns;
    }
    return true;
}

static bool equal4(const grid *g)
{
    uint32_t differ = 0, a, b;
    for (int64_t j = 0; j < g->columns && !differ; j++) {
        memcpy(&a, g->from + j * g->from_stride, 4);
        memcpy(&b, g->to + j * g->to_stride, 4);
        differ = a ^ b;
    }
    return !differ;
}

static bool equal8(const grid *g)
{
    uint64_t differ = 0, a, b;
    for (int64_t j = 0; j < g->columns && !differ; j++) {
        memcpy(&a, g->from + j * g->from_stride, 8);
        memcpy(&b, g->to + j * g->to_stride, 8);
        differ = a ^ b;
    }
    return !differ;
}

static bool equal(void *nothing, const grid *g)
{
    (void)nothing;
    if (g->bytes == 8)
        return equal8(g);
    if (g->bytes == 4)
        return equal4(g);
    for (int64_t j = 0; j < g->columns; j++)
        if (memcmp(g->from + j * g->from_stride, g->to + j * g->to_stride, (size_t)g->bytes) != 0)
            return false;
    return true;
}

bool bl_order_equals(const bl_order *o, const bl_view *v) { return each_grid(o, v, equal, NULL); }

typedef struct receiver {
    bool (*piece)(void *, const bl_piece *);
    void *context;
    int width;
} receiver;

static bool emit(void *context, const grid *g)
{
    const receiver *r = context;
    const int64_t rows = g->bytes / r->width;
    bl_piece p = {(char *)(uintptr_t)g->from, g->to, rows, g->columns, rows, rows};
    if (g->columns > 1 && (g->from_stride < 0 || g->from_stride % r->width || g->to_stride % r->width)) {
        p.cols = 1; /* no matrix: column by column */
        for (int64_t j = 0; j < g->columns; j++, p.source += g->from_stride, p.destination += g->to_stride)
            if (!r->piece(r->context, &p))
                return false;
        return true;
    }
    if (g->columns > 1) {
        p.source_ld = g->from_stride / r->width;
        p.destination_ld = g->to_stride / r->width;
    }
    return r->piece(r->context, &p);
}

bool bl_order_copies(const bl_order *o, const bl_view *to, int width, bool (*piece)(void *, const bl_piece *),
                     void *context)
{
    receiver r = {piece, context, width};
    return each_grid(o, to, emit, &r);
}
