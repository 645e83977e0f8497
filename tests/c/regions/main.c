/* Annotations cover elements, not the bytes between them: arrays of any strides, parts, wholes and interleaved ones, in
 * any order, accepted, refused and found again as a map of bytes says. Contract: 1. */
#include "../check.h"
#include "record.h"

enum { ROOM = 256, SHADOW = 256, ALL = ROOM + SHADOW, MOST = 40 };

/* One array of bytes for primals and shadows: they may collide in all ways. */
static _Alignas(16) char memory[ALL];

typedef struct annotation {
    bool live, duplicated;
    ptrdiff_t delta;
    int unit, lo; /* bytes; place of the first */
    bool member[ALL];
} annotation;

static annotation known[MOST];
static int count;

/* The elements of an array as a set of bytes; false if it shares elements with itself. */
static bool elements(const bl_array *x, bool *member, int *lo)
{
    int64_t at[4] = {0};
    memset(member, 0, ALL);
    for (;;) {
        const char *p = x->base;
        for (int d = 0; d < x->ndim; d++)
            p += at[d] * x->strides[d];
        for (int64_t i = 0; i < x->element; i++) {
            if (member[p - memory + i])
                return false;
            member[p - memory + i] = true;
        }
        int d = 0;
        while (d < x->ndim && ++at[d] == x->shape[d])
            at[d++] = 0;
        if (d == x->ndim)
            break;
    }
    for (*lo = 0; !member[*lo];)
        (*lo)++;
    return true;
}

static bool meets(const bool *a, ptrdiff_t shift_a, const bool *b, ptrdiff_t shift_b)
{
    for (ptrdiff_t i = 0; i < ALL; i++)
        if (a[i] && i + shift_a - shift_b >= 0 && i + shift_a - shift_b < ALL && b[i + shift_a - shift_b])
            return true;
    return false;
}

static bool within(const bool *a, const bool *b)
{
    for (int i = 0; i < ALL; i++)
        if (a[i] && !b[i])
            return false;
    return true;
}

/* What the contract says of one more annotation; the model is updated if it is accepted. */
static int model(const annotation *x)
{
    bool replaced[MOST] = {false};
    if (x->duplicated && meets(x->member, 0, x->member, x->delta))
        return BLASAD_VALUE;
    for (int i = 0; i < count; i++) {
        const annotation *q = &known[i];
        if (!q->live || !meets(x->member, 0, q->member, 0))
            continue;
        const bool same = q->duplicated == x->duplicated && (!q->duplicated || q->delta == x->delta);
        if (same && within(x->member, q->member))
            return BLASAD_OK;
        if (!same || !within(q->member, x->member))
            return BLASAD_VALUE;
        replaced[i] = true;
    }
    for (int i = 0; i < count; i++) {
        const annotation *q = &known[i];
        if (!q->live || replaced[i])
            continue;
        if ((q->duplicated && meets(x->member, 0, q->member, q->delta)) ||
            (x->duplicated && meets(x->member, x->delta, q->member, 0)) ||
            (x->duplicated && q->duplicated && meets(x->member, x->delta, q->member, q->delta)))
            return BLASAD_VALUE;
    }
    for (int i = 0; i < count; i++)
        known[i].live &= !replaced[i];
    known[count] = *x;
    known[count++].live = true;
    return BLASAD_OK;
}

/* A random array inside memory[from..to). Those of one tape have one width: widths has the mixtures. */
static bool random_array(bl_array *x, int width, int *type, int64_t *shape, int64_t *strides, int from, int to)
{
    *type = (int)check_below(2) * 2 + (width == 8);
    x->width = *type % 2 ? 8 : 4;
    x->shift = x->width == 8 ? 3 : 2;
    x->element = bl_element_size(*type);
    x->ndim = (int)check_below(4);
    x->shape = shape;
    x->strides = strides;
    int64_t low = 0, high = x->element;
    const int64_t pitch = check_below(2) ? 32 : x->element; /* many that interleave */
    for (int d = 0; d < x->ndim; d++) {
        shape[d] = 1 + check_below(5);
        strides[d] = (1 + check_below(3)) * (d && check_below(2) ? strides[d - 1] * shape[d - 1] : pitch);
        strides[d] = (strides[d] < 0 ? -strides[d] : strides[d]) * (check_below(3) ? 1 : -1);
        if (check_below(12) == 0)
            strides[d] = x->width; /* complex elements that share a half */
        const int64_t reach = strides[d] * (shape[d] - 1);
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    if (high - low > to - from)
        return false;
    const int64_t grain = width;
    x->base = memory + (from - low + check_below((to - from - (high - low)) / grain + 1) * grain);
    return x->base + low >= memory + from && x->base + high <= memory + to;
}

/* Which annotation owns a matrix: compared with where the library finds it. */
static void search(blasad_tape *t, int width, bool *whole_found)
{
    const int64_t rows = 1 + check_below(3), cols = 1 + check_below(3), ld = rows + check_below(5);
    const int64_t span = ((cols - 1) * ld + rows) * width;
    if (span > ROOM)
        return;
    const int at = (int)check_below((ROOM - span) / 4 + 1) * 4;
    const bl_view v = bl_view_of(memory + at, rows, cols, ld, width);
    bool member[ALL] = {false};
    for (int64_t j = 0; j < cols; j++)
        memset(member + at + j * ld * width, 1, (size_t)(rows * width));
    const annotation *owner = NULL;
    bool some = false, active = false;
    for (int i = 0; i < count; i++) {
        const annotation *q = &known[i];
        if (!q->live || !meets(member, 0, q->member, 0))
            continue;
        some = true;
        active |= q->duplicated;
        /* a number that straddles two of the annotation's is not followed */
        if (within(member, q->member) && q->unit > width)
            return; /* halves of its numbers: refused as such, whoever owns them (widths) */
        const bool fits = (at - q->lo) % q->unit == 0;
        if (within(member, q->member) && fits)
            owner = q;
    }
    bl_region *r = bl_regions_guess(&t->regions, v.base, v.end, 0);
    if (!r)
        r = bl_regions_search(&t->regions, &v, 0);
    if (owner)
        CHECK(r && r != &bl_mixed && r->duplicated == owner->duplicated && r->lo == memory + owner->lo &&
                  (!r->duplicated || r->delta == owner->delta),
              "%lld x %lld by %lld of width %d at %d: another owner", (long long)rows, (long long)cols, (long long)ld,
              width, at);
    else
        CHECK(r == (some ? &bl_mixed : NULL), "%lld x %lld by %lld of width %d at %d: %s", (long long)rows,
              (long long)cols, (long long)ld, width, at,
              r == &bl_mixed ? "mixed"
              : r            ? r->label
                             : "nobody");
    CHECK((bl_regions_meet(&t->regions, &v) != NULL) == active);
    *whole_found |= owner != NULL;
}

static void one_tape(int round, int *accepted, int *refused, bool *whole_found)
{
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, round % 2 ? BLASAD_NO_VERIFY : 0);
    const ptrdiff_t common = ROOM;
    const int width = round % 4 < 2 ? 8 : 4;
    count = 0;
    for (int step = 0; step < MOST; step++) {
        int64_t shape[4], strides[4];
        bl_array x;
        int type;
        annotation a = {.duplicated = check_below(3) != 0, .delta = common};
        if (check_below(6) == 0)
            a.delta = (check_below(2 * ROOM / width) - ROOM / width) * width;
        const bool in_shadows = check_below(12) == 0;
        if (!random_array(&x, width, &type, shape, strides, in_shadows ? ROOM : 0, in_shadows ? ALL : ROOM))
            continue;
        if (step % 3 == 2 && count) { /* a part of an earlier one, or the same again */
            const annotation *q = &known[check_below(count)];
            a.duplicated = q->duplicated;
            a.delta = q->delta;
        }
        if (!a.duplicated || a.delta == 0)
            a.duplicated = false, a.delta = 0;
        int64_t low = 0, high = x.element;
        for (int d = 0; d < x.ndim; d++) {
            const int64_t reach = strides[d] * (shape[d] - 1);
            low += reach < 0 ? reach : 0;
            high += reach > 0 ? reach : 0;
        }
        if (x.base + low + a.delta < memory || x.base + high + a.delta > memory + ALL)
            continue; /* a shadow outside of memory */
        a.unit = x.width;
        const int want = elements(&x, a.member, &a.lo) ? model(&a) : BLASAD_VALUE;
        const int got =
            check_annotate(t, x.base, a.duplicated ? x.base + a.delta : NULL, type, x.ndim, shape, strides, NULL);
        CHECK(got == want, "round %d, step %d: %d, not %d (%s)", round, step, got, want,
              got == BLASAD_OK ? "" : blasad_last_error());
        if (got != want)
            break;
        got == BLASAD_OK ? ++*accepted : ++*refused;
        for (int i = 0; i < 6; i++)
            search(t, check_below(2) ? 4 : 8, whole_found);
    }
    CHECK_OK(blasad_tape_free(t));
}

int main(void)
{
    int accepted = 0, refused = 0;
    bool whole_found = false;
    for (int round = 0; round < 700 && check_failures < 5; round++)
        one_tape(round, &accepted, &refused, &whole_found);
    CHECK(accepted > 500 && refused > 500 && whole_found, "%d accepted, %d refused: not what was meant", accepted,
          refused);
    return check_end();
}
