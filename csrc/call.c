#include "call.h"

#include <stdio.h>

const char bl_type_letter[4] = {'s', 'd', 'c', 'z'};

const char *bl_routine_name(int routine, int type)
{
    const bl_routine_spec *s = bl_routine_table[routine];
    return s->called[type] ? s->called[type] : s->name;
}

const char *bl_call_name(const bl_call *c, char buffer[static 16])
{
    snprintf(buffer, 16, "%s", bl_routine_name(c->routine, c->type));
    return buffer;
}

char bl_flag_spoken(const bl_routine_spec *spec, bool row_major, const char *flag, int i)
{
    const char c = flag[i];
    if (!row_major || !(spec->turned >> i & 1))
        return c;
    switch (spec->flags[i][0]) {
    case 't':
        if (spec->adjoint)
            return c == 'N' ? 'C' : c == 'C' ? 'N' : c;
        return c == 'N' ? 'T' : c == 'r' ? 'C' : 'N';
    case 'u':
        return c == 'U' ? 'L' : 'U';
    default:
        return c == 'L' ? 'R' : 'L';
    }
}

/* First j with column j of v ending after `from`; v->columns if there is none. */
static int64_t first_column_after(const bl_view *v, const char *from)
{
    const char *first_end = v->base + v->column;
    if (first_end > from)
        return 0;
    if (bl_view_is_grid(v)) { /* smallest j with first_end + j * stride > from */
        const int64_t j = (from - first_end) / v->stride + 1;
        return j < v->columns ? j : v->columns;
    }
    int64_t low = 1, high = v->columns;
    while (low < high) {
        const int64_t j = low + (high - low) / 2;
        if (bl_view_column(v, j) + bl_column_bytes(v, j) > from)
            high = j;
        else
            low = j + 1;
    }
    return low;
}

bool bl_views_overlap(const bl_view *a, const bl_view *b)
{
    if (bl_view_empty(a) || bl_view_empty(b) || a->end <= b->base || b->end <= a->base)
        return false;
    if (a->columns == 1 && b->columns == 1)
        return true;
    if (a->columns > b->columns) {
        const bl_view *t = a;
        a = b;
        b = t;
    }
    if (a->columns > 1 && a->stride == b->stride && bl_view_is_grid(a) && bl_view_is_grid(b)) {
        /* Two grids of one pitch: only the offset of b's columns against a's matters, at most two values of it. */
        int64_t d = b->base - a->base, s = a->stride;
        int64_t k = d >= 0 ? d / s : -((-d + s - 1) / s); /* floor(d / s) */
        int64_t r = d - k * s;                            /* 0 <= r < s: b's column 0 starts r after a's column k */
        /* a's column j meets b's column j - k if r < a.column, and b's column j - k - 1 if r + b.column > s */
        bool same = r < a->column && k < a->columns && k + b->columns > 0;
        bool next = r + b->column > s && k + 1 < a->columns && k + 1 + b->columns > 0;
        return same || next;
    }
    for (int64_t j = 0; j < a->columns; j++) {
        const char *lo = bl_view_column(a, j), *hi = lo + bl_column_bytes(a, j);
        int64_t i = first_column_after(b, lo);
        if (i < b->columns && bl_view_column(b, i) < hi)
            return true;
    }
    return false;
}
