/* Copies of whole active values are recognized in any order of axes, and nothing else is: held against an enumeration
 * of all orders, index by index. Contract: 7, "Unseen reads". */
#include <sys/mman.h>

#include "../check.h"
#include "recognize.h"

enum { AXES = 6, MOST = 1500, ROOM = 1 << 16 };

/* ---- an array and all sequences in which its elements can be */

typedef struct array {
    int64_t shape[AXES], strides[AXES];
    int ndim;
    int64_t count;
    bl_array of;
} array;

static array make(char *base, int ndim, const int64_t *shape, const int64_t *strides, int width, int64_t element)
{
    array a = {.ndim = ndim, .count = 1};
    for (int d = 0; d < ndim; d++) {
        a.shape[d] = shape[d];
        a.strides[d] = strides[d];
        a.count *= shape[d];
    }
    a.of = (bl_array){base, width, width == 4 ? 2 : 3, element, ndim, NULL, NULL};
    return a;
}

/* After copying: pointers into itself. */
static const bl_array *place(array *a)
{
    a->of.shape = a->shape;
    a->of.strides = a->strides;
    return &a->of;
}

/* Offsets of the elements, axis order[0] fastest. */
static void sequence(const array *a, const int *order, int64_t *out)
{
    int64_t at[AXES] = {0};
    for (int64_t n = 0; n < a->count; n++) {
        out[n] = 0;
        for (int d = 0; d < a->ndim; d++)
            out[n] += at[d] * a->strides[d];
        for (int d = 0; d < a->ndim && ++at[order[d]] == a->shape[order[d]]; d++)
            at[order[d]] = 0;
    }
}

static void exchange(void *a, void *b, int64_t bytes)
{
    for (char *p = a, *q = b; bytes-- > 0; p++, q++) {
        const char t = *p;
        *p = *q;
        *q = t;
    }
}

static void swap(int *a, int *b) { exchange(a, b, sizeof *a); }
static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* Every order of the axes, in lexicographic order, the first for k = 0; of more than four axes longer than 1 only the
 * four that are promised. False: no more. */
static bool naive_order(const array *a, int k, int *order)
{
    const int n = a->ndim;
    int longer = 0, i = n - 1, j = n - 1;
    for (int d = 0; d < n; d++)
        longer += a->shape[d] > 1;
    if (k > 0 && longer <= 4) { /* the next permutation */
        while (i > 0 && order[i - 1] > order[i])
            i--;
        if (i <= 0)
            return false;
        while (order[j] < order[i - 1])
            j--;
        swap(&order[i - 1], &order[j]);
        for (j = n - 1; i < j; i++, j--)
            swap(&order[i], &order[j]);
        return true;
    }
    for (int d = 0; d < n; d++)
        order[d] = d;
    for (int pass = 0; k >= 2 && pass < n; pass++)
        for (int d = 0; d + 1 < n; d++)
            if (magnitude(a->strides[order[d]]) > magnitude(a->strides[order[d + 1]]))
                swap(&order[d], &order[d + 1]);
    for (int d = 0; k % 2 && d < n / 2; d++)
        swap(&order[d], &order[n - 1 - d]);
    return k < 4;
}

/* How many different sequences of a's elements now are `flat`: 0, 1, or 2 for more. */
static int naive_matches(const array *a, const char *flat)
{
    static int64_t first[MOST], offset[MOST];
    int order[AXES], found = 0;
    const size_t size = (size_t)a->of.element;
    for (int k = 0; found < 2 && naive_order(a, k, order); k++) {
        sequence(a, order, offset);
        bool equal = true;
        for (int64_t i = 0; i < a->count && equal; i++)
            equal = memcmp(a->of.base + offset[i], flat + i * (int64_t)size, size) == 0;
        if (!equal)
            continue;
        if (found && memcmp(first, offset, (size_t)a->count * sizeof *first) == 0)
            continue;
        memcpy(first, offset, (size_t)a->count * sizeof *first);
        found++;
    }
    return found;
}

static uint64_t sum_of(const array *a)
{
    static int64_t offset[MOST];
    int order[AXES] = {0, 1, 2, 3, 4, 5};
    uint64_t sum = 0;
    sequence(a, order, offset);
    for (int64_t i = 0; i < a->count; i++) {
        const bl_view one = bl_view_run(a->of.base + offset[i], a->of.element);
        sum += bl_content_sum(&one, a->of.width);
    }
    return sum;
}

/* ---- laying the pieces */

typedef struct laid {
    int width, pieces, most; /* most: stop behind that many */
    bool bad;
} laid;

static bool lay(void *context, const bl_piece *p)
{
    laid *l = context;
    const int64_t w = l->width;
    l->bad |= p->rows < 1 || p->cols < 1 || p->source_ld < p->rows || p->destination_ld < p->rows;
    for (int64_t j = 0; j < p->cols; j++)
        memcpy(p->destination + j * p->destination_ld * w, p->source + j * p->source_ld * w, (size_t)(p->rows * w));
    return ++l->pieces < l->most;
}

/* The pieces make the operand, byte for byte, and touch nothing else. Returns how many there are. */
static int check_pieces(const bl_match *m, const bl_view *operand)
{
    static char other[ROOM];
    laid l = {.width = m->width, .most = 1 << 30};
    bl_view v = *operand;
    v.base = memset(other, 0x5A, sizeof other);
    CHECK(bl_match_pieces(m, &v, lay, &l) && !l.bad);
    int64_t wrong = 0, bytes = 0;
    for (int64_t j = 0; j < v.columns; j++)
        wrong += memcmp(bl_view_column(&v, j), bl_view_column(operand, j), (size_t)v.column) != 0;
    CHECK(wrong == 0, "%lld of %lld columns", (long long)wrong, (long long)v.columns);
    for (int64_t j = 0; j < v.columns; j++)
        memset(bl_view_column(&v, j), 0x5A, (size_t)v.column);
    for (size_t i = 0; i < sizeof other; i++)
        bytes += other[i] != 0x5A;
    CHECK(bytes == 0, "%lld bytes beside the operand", (long long)bytes);
    return l.pieces;
}

/* ---- random arrays and operands */

static _Alignas(16) char memory[ROOM], packed[ROOM], content[ROOM];

static array random_array(int width, int64_t element)
{
    int64_t shape[AXES], strides[AXES], span = element, count = 1;
    int ndim = (int)check_below(AXES + 1), order[AXES];
    for (int d = 0; d < ndim; d++)
        order[d] = d;
    for (int d = ndim - 1; d > 0; d--) {
        swap(&order[d], &order[check_below(d + 1)]);
    }
    char *base = memory + 64;
    for (int i = 0; i < ndim; i++) {
        const int d = order[i];
        const int64_t most = ndim <= 2 ? 12 : ndim <= 4 ? 5 : 3;
        shape[d] = 1 + check_below(most);
        strides[d] = span + (check_below(3) ? 0 : check_below(3) * width);
        span = strides[d] * (shape[d] - 1) + span;
        count *= shape[d];
        if (check_below(8) == 0) { /* backwards */
            base += strides[d] * (shape[d] - 1);
            strides[d] = -strides[d];
        }
    }
    return make(base, ndim, shape, strides, width, element);
}

/* `count` elements as a dense or padded matrix in `content`. */
static bl_view random_operand(int64_t count, int64_t element, int width)
{
    int64_t rows = count;
    for (int tries = 0; tries < 4; tries++) {
        const int64_t r = 1 + check_below(count);
        if (count % r == 0)
            rows = r;
    }
    if (check_below(4) == 0)
        rows = 1;
    const int64_t pad = check_below(2) * check_below(3) * width, column = rows * element;
    return bl_view_of(content + 64, column, count / rows, column + pad, 1);
}

static void fill(const bl_view *v, const char *flat)
{
    for (int64_t j = 0; j < v->columns; j++)
        memcpy(bl_view_column(v, j), flat + j * v->column, (size_t)v->column);
}

enum change { COPY, ONE_BIT, REVERSED, SWAPPED, VALUE_CHANGED, VALUE_SWAPPED, CHANGES };

static int seen[CHANGES][3];

static void random_case(void)
{
    const int width = check_below(2) ? 4 : 8;
    const int64_t element = width << check_below(2), alphabet = check_below(3) ? 250 : 2;
    array a = random_array(width, element);
    static int64_t offset[MOST];
    int order[AXES];
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (char)check_below(alphabet);
    memset(content, 0x77, sizeof content);
    for (int d = 0; d < a.ndim; d++)
        order[d] = d;
    for (int d = a.ndim - 1; d > 0 && check_below(4); d--) { /* some of more than four axes are beyond what is tried */
        swap(&order[d], &order[check_below(d + 1)]);
    }
    sequence(&a, order, offset);
    for (int64_t i = 0; i < a.count; i++)
        memcpy(packed + i * element, a.of.base + offset[i], (size_t)element);
    const enum change change = (enum change)check_below(CHANGES);
    char *some = packed + check_below(a.count) * element, *other = packed + check_below(a.count) * element;
    if (change == ONE_BIT)
        some[check_below(element)] ^= (char)(1 << check_below(8));
    if (change == SWAPPED)
        exchange(some, other, element);
    for (int64_t i = 0; change == REVERSED && i < a.count / 2; i++)
        exchange(packed + i * element, packed + (a.count - 1 - i) * element, element);
    /* a real operand may be a copy of a complex array */
    const int64_t parts = check_below(3) ? 1 : element / width;
    const bl_view v = random_operand(a.count * parts, element / parts, width);
    fill(&v, packed);

    bl_value_set vs = {0};
    bl_match m;
    const bool scratch = check_below(2);
    const uint64_t noted = sum_of(&a), sum = bl_content_sum(&v, width);
    CHECK(bl_values_note(&vs, place(&a), scratch, noted, 17));
    char *p = a.of.base + offset[check_below(a.count)], *q = a.of.base + offset[check_below(a.count)];
    if (change == VALUE_CHANGED)
        p[check_below(element)] ^= 1;
    if (change == VALUE_SWAPPED)
        exchange(p, q, element);
    const int matches = naive_matches(&a, packed);
    const enum bl_match_kind want = matches                               ? BL_MATCH_HERE
                                    : sum == noted && sum_of(&a) != noted ? BL_MATCH_GONE
                                                                          : BL_MATCH_NONE;
    const enum bl_match_kind got = bl_values_find(&vs, &v, width, sum, &m);
    CHECK(got == want, "%d, should be %d: %d axes, change %d", got, want, a.ndim, change);
    seen[change][want]++;
    if (got != BL_MATCH_NONE)
        CHECK(m.event == 17 && m.value == &vs.value[0]);
    if (got == BL_MATCH_HERE && want == got) {
        CHECK(m.ambiguous == (matches > 1), "%d: %d axes", matches, a.ndim);
        check_pieces(&m, &v);
    }
    bl_values_free(&vs);
}

/* ---- single cases */

static double numbers[4096], copied[4096];

static void count_up(void)
{
    for (int i = 0; i < 4096; i++)
        numbers[i] = i + 1;
}

/* m x n with leading dimension ld. */
static array matrix(double *x, int64_t m, int64_t n, int64_t ld)
{
    return make((char *)x, 2, (int64_t[]){m, n}, (int64_t[]){8, 8 * ld}, 8, 8);
}

static bool note(bl_value_set *vs, array a, bool scratch, size_t event)
{
    return bl_values_note(vs, place(&a), scratch, sum_of(&a), event);
}

static enum bl_match_kind find(bl_value_set *vs, const bl_view *v, bl_match *m)
{
    return bl_values_find(vs, v, 8, bl_content_sum(v, 8), m);
}

static void test_pieces(void)
{
    static const struct {
        int64_t m, n, ld, to;
        bool transposed;
        int pieces;
    } c[] = {
        {6, 5, 6, 6, false, 1},  {6, 5, 9, 6, false, 1},  {6, 5, 9, 8, false, 1},  {6, 5, 6, 8, false, 1},
        {6, 5, 6, 5, true, 5},   {5, 6, 7, 8, true, 5},   {60, 2, 64, 2, true, 2}, {2, 60, 3, 60, true, 2},
        {2, 60, 2, 61, true, 2}, {60, 2, 60, 3, true, 2}, {1, 60, 5, 1, false, 1}, {60, 1, 60, 60, false, 1},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        bl_value_set vs = {0};
        bl_match m;
        count_up();
        CHECK(note(&vs, matrix(numbers, c[i].m, c[i].n, c[i].ld), true, i));
        const int64_t rows = c[i].transposed ? c[i].n : c[i].m, cols = c[i].transposed ? c[i].m : c[i].n;
        for (int64_t k = 0; k < c[i].m; k++)
            for (int64_t j = 0; j < c[i].n; j++)
                copied[c[i].transposed ? j + k * c[i].to : k + j * c[i].to] = numbers[k + j * c[i].ld];
        const bl_view v = bl_view_of(copied, rows, cols, c[i].to, 8);
        CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && !m.ambiguous, "%zu", i);
        int pieces = check_pieces(&m, &v);
        CHECK(pieces == c[i].pieces, "%zu: %d pieces", i, pieces);
        laid l = {.width = 8, .most = 1};
        CHECK(!bl_match_pieces(&m, &v, lay, &l) && l.pieces == 1); /* stopped */
        bl_values_free(&vs);
    }
}

static void test_replaced(void)
{
    bl_value_set vs = {0};
    const bl_view v = bl_view_run(copied, 96);
    bl_match m;
    count_up();
    memcpy(copied, numbers, 96);
    CHECK(find(&vs, &v, &m) == BL_MATCH_NONE);
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 1));
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && m.event == 1);
    CHECK(bl_values_find(&vs, &v, 4, bl_content_sum(&v, 8), &m) == BL_MATCH_NONE); /* other numbers */
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 2));                          /* the same content again */
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && m.event == 2);
    numbers[5] = -1;
    CHECK(find(&vs, &v, &m) == BL_MATCH_GONE && m.event == 2 && m.value); /* changed, and nothing noted */
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 3));
    CHECK(find(&vs, &v, &m) == BL_MATCH_GONE && m.event == 2 && !m.value);         /* replaced */
    CHECK(bl_values_find(&vs, &v, 4, bl_content_sum(&v, 8), &m) == BL_MATCH_NONE); /* other numbers */
    /* a hundred later values do not drive it out, and do not make more */
    for (size_t i = 4; i < 104; i++) {
        numbers[3] = (double)i;
        CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, i));
    }
    CHECK(find(&vs, &v, &m) == BL_MATCH_GONE && m.event == 2);
    CHECK(vs.count == 1);
    int known = 0;
    for (size_t i = 104; i < 604; i++) {
        numbers[3] = (double)i;
        CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, i));
    }
    for (size_t i = 104; i < 603; i++) {
        memcpy(copied, numbers, 96);
        copied[3] = (double)i;
        known += find(&vs, &v, &m) == BL_MATCH_GONE && m.event == i;
    }
    CHECK(known > 490, "%d", known);
    for (int i = 0; i < 12; i++)
        copied[i] = i + 1;
    array a = matrix(numbers, 4, 3, 4);
    for (size_t i = 0; i < 1000000; i++)
        if (!bl_values_note(&vs, place(&a), false, check_bits(), 200 + i))
            CHECK(false);
    CHECK(vs.count == 1 && vs.capacity <= 64 && vs.slots == 64);
    CHECK(find(&vs, &v, &m) == BL_MATCH_NONE); /* forgotten at last */
    bl_values_free(&vs);
}

/* Row-major and column-major, with axes of length 1, are one place; another leading dimension is another. */
static void test_places(void)
{
    bl_value_set vs = {0};
    count_up();
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 1));
    CHECK(note(&vs, make((char *)numbers, 2, (int64_t[]){3, 4}, (int64_t[]){32, 8}, 8, 8), false, 2));
    CHECK(note(&vs, make((char *)numbers, 4, (int64_t[]){1, 3, 1, 4}, (int64_t[]){0, 32, 5, 8}, 8, 8), false, 3));
    CHECK(vs.count == 1 && vs.value[0].event == 3);
    CHECK(note(&vs, matrix(numbers, 4, 3, 5), false, 4) && vs.count == 2);
    CHECK(note(&vs, matrix(numbers, 4, 0, 5), false, 4) && vs.count == 2); /* nothing is no value */
    CHECK(note(&vs, make((char *)numbers, 1, (int64_t[]){24}, (int64_t[]){4}, 4, 4), false, 5) && vs.count == 3);
    CHECK(note(&vs, make((char *)numbers, 1, (int64_t[]){6}, (int64_t[]){16}, 8, 16), false, 6) && vs.count == 4);
    CHECK(note(&vs, make((char *)numbers, 0, NULL, NULL, 8, 8), false, 7) && vs.count == 5);
    CHECK(note(&vs, matrix(numbers, 4, 3, 9), false, 8) && vs.count == 6);
    CHECK(note(&vs, make((char *)numbers, 2, (int64_t[]){4, 3}, (int64_t[]){8, 72}, 4, 8), false, 9) && vs.count == 7);
    bl_values_free(&vs);
}

static void test_growth(void)
{
    enum { PLACES = 20000, SIZE = 9 };
    double *x = malloc(PLACES * SIZE * sizeof *x), y[SIZE];
    bl_value_set vs = {0};
    bl_match m;
    for (int i = 0; i < PLACES * SIZE; i++)
        x[i] = check_uniform();
    int missed = 0;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < PLACES; i++) {
            x[i * SIZE + 4] += round * (i % 3 == 0); /* the others stay where they are */
            CHECK(note(&vs, matrix(x + i * SIZE, 3, 3, 3), i % 16 == 0, i));
            if (i % 7 == 0) { /* searches between notes */
                const size_t k = (size_t)check_below((int64_t)i + 1);
                memcpy(y, x + k * SIZE, sizeof y);
                const bl_view v = bl_view_run(y, sizeof y);
                missed += find(&vs, &v, &m) != BL_MATCH_HERE || m.event != k;
            }
        }
        for (size_t i = 0; i < PLACES; i++) {
            for (int k = 0; k < SIZE; k++)
                y[k] = x[i * SIZE + (size_t)(k / 3 + k % 3 * 3)];
            const bl_view v = bl_view_run(y, sizeof y);
            missed += find(&vs, &v, &m) != BL_MATCH_HERE || m.event != i;
            y[3] = 5;
            missed += find(&vs, &v, &m) != BL_MATCH_NONE;
        }
    }
    CHECK(missed == 0, "%d", missed);
    CHECK(vs.count == PLACES);
    bl_values_free(&vs);
    free(x);
}

/* Of more than four axes: the order of addresses, too, and no arbitrary one. */
static void test_many_axes(void)
{
    static const int ascending[] = {2, 0, 4, 1, 3}, descending[] = {3, 1, 4, 0, 2}, other[] = {2, 0, 4, 3, 1};
    const array a = make((char *)numbers, 5, (int64_t[]){2, 2, 3, 2, 2}, (int64_t[]){24, 96, 8, 192, 48}, 8, 8);
    bl_value_set vs = {0};
    bl_match m;
    count_up();
    CHECK(note(&vs, a, false, 1));
    for (int i = 0; i < 3; i++) {
        int64_t offset[48];
        const bl_view v = bl_view_run(copied, 384);
        sequence(&a, i == 0 ? ascending : i == 1 ? descending : other, offset);
        for (int k = 0; k < 48; k++)
            copied[k] = numbers[offset[k] / 8];
        CHECK(find(&vs, &v, &m) == (i < 2 ? BL_MATCH_HERE : BL_MATCH_NONE), "%d", i);
        if (i == 0)
            CHECK(check_pieces(&m, &v) == 1); /* without holes */
    }
    bl_values_free(&vs);
    /* two axes that are one, over a third */
    CHECK(note(&vs, make((char *)numbers, 3, (int64_t[]){3, 4, 5}, (int64_t[]){8, 32, 128}, 8, 8), false, 1));
    const bl_view v = bl_view_run(copied, 480);
    for (int k = 0; k < 60; k++)
        copied[k] = numbers[k % 3 + k / 3 * 4];
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && check_pieces(&m, &v) == 1);
    bl_values_free(&vs);
}

static void test_ambiguous(void)
{
    static double twice[4096];
    bl_value_set vs = {0};
    const bl_view v = bl_view_run(copied, 96);
    bl_match m;
    count_up();
    memcpy(twice, numbers, sizeof twice);
    memcpy(copied, numbers, 96);
    CHECK(note(&vs, matrix(twice, 4, 3, 4), true, 9));
    CHECK(note(&vs, make((char *)twice, 1, (int64_t[]){12}, (int64_t[]){8}, 8, 8), false, 8));
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && !m.ambiguous && m.event == 9); /* the same elements */
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 7));
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && m.ambiguous && m.event == 9);
    copied[0] = 0;
    CHECK(find(&vs, &v, &m) == BL_MATCH_NONE);
    copied[0] = 1;
    twice[1] = 0; /* one of them is no more */
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && !m.ambiguous && m.event == 7);
    bl_values_free(&vs);

    for (int i = 0; i < 9; i++)
        numbers[i] = copied[i] = i / 3 + i % 3; /* symmetric */
    const bl_view square = bl_view_run(copied, 72);
    CHECK(note(&vs, matrix(numbers, 3, 3, 3), false, 1));
    CHECK(find(&vs, &square, &m) == BL_MATCH_HERE && m.ambiguous);
    bl_values_free(&vs);
}

/* Operands that share elements with the value are the value; those between its elements are not. */
static void test_overlap(void)
{
    bl_value_set vs = {0};
    bl_match m;
    count_up();
    for (int i = 0; i < 8; i++)
        numbers[2 * i + 1] = numbers[2 * i];
    CHECK(note(&vs, make((char *)numbers, 1, (int64_t[]){8}, (int64_t[]){16}, 8, 8), false, 1));
    const bl_view self = bl_view_of(numbers, 1, 8, 2, 8), between = bl_view_of(numbers + 1, 1, 8, 2, 8);
    CHECK(find(&vs, &self, &m) == BL_MATCH_NONE);
    CHECK(find(&vs, &between, &m) == BL_MATCH_HERE);
    numbers[2] = 99;
    CHECK(find(&vs, &between, &m) == BL_MATCH_GONE);
    bl_values_free(&vs);
}

static void test_vanished(void)
{
    const size_t bytes = 1 << 16;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    double *x = (double *)(void *)p;
    bl_value_set vs = {0};
    bl_match m;
    count_up();
    /* more runs than are read at once */
    for (int i = 0; i < 1200; i++)
        x[2 * i] = copied[i] = numbers[i];
    const array a = make(p, 2, (int64_t[]){300, 4}, (int64_t[]){16, 4800}, 8, 8);
    const bl_view v = bl_view_run(copied, 9600);
    CHECK(note(&vs, a, true, 3));
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE && m.event == 3);
    CHECK(munmap(p + 4096, 4096) == 0);
    CHECK(find(&vs, &v, &m) == BL_MATCH_GONE && m.event == 3);
    CHECK(munmap(p, bytes) == 0);
    CHECK(find(&vs, &v, &m) == BL_MATCH_GONE && m.event == 3);
    bl_values_free(&vs);
}

static void test_bits(void)
{
    bl_value_set vs = {0};
    const bl_view v = bl_view_run(copied, 96);
    bl_match m;
    count_up();
    numbers[2] = 0.0;
    numbers[3] = (double)NAN;
    memcpy(copied, numbers, 96);
    CHECK(note(&vs, matrix(numbers, 4, 3, 4), false, 1));
    CHECK(find(&vs, &v, &m) == BL_MATCH_HERE);
    copied[2] = -0.0;
    CHECK(find(&vs, &v, &m) == BL_MATCH_NONE);
    for (int i = 0; i < 12; i++)
        numbers[2 * i] = copied[i] = 0; /* the same numbers, but the sign is elsewhere */
    numbers[2 * 5] = copied[7] = -0.0;
    CHECK(note(&vs, matrix(numbers, 1, 12, 2), false, 1));
    CHECK(find(&vs, &v, &m) == BL_MATCH_NONE);
    bl_values_free(&vs);
    float f[24] = {0}, *g = (float *)(void *)copied;
    memset(copied, 0, 96);
    f[4] = g[7] = -0.0f;
    const array a = make((char *)f, 1, (int64_t[]){12}, (int64_t[]){8}, 4, 4);
    const bl_view w = bl_view_run(copied, 48);
    CHECK(bl_values_note(&vs, &(bl_array){(char *)f, 4, 2, 4, 1, a.shape, a.strides}, false, sum_of(&a), 1));
    CHECK(bl_values_find(&vs, &w, 4, bl_content_sum(&w, 4), &m) == BL_MATCH_NONE);
    bl_values_free(&vs);

    for (int i = 0; i < 12; i++)
        copied[i] = 2;
    const bl_view padded = bl_view_of(copied, 3, 3, 4, 8), one = bl_view_run(copied, 8);
    copied[3] = copied[7] = 1; /* between the columns */
    CHECK(bl_all_equal(&padded, 8) && bl_all_equal(&one, 8) && !bl_all_equal(&v, 8));
    copied[10] = 3;
    CHECK(!bl_all_equal(&padded, 8));
    copied[8] = copied[9] = 3; /* a column of its own */
    CHECK(!bl_all_equal(&padded, 8));
    for (int i = 0; i < 12; i++)
        copied[i] = i % 2;
    CHECK(bl_all_equal(&v, 16) && !bl_all_equal(&v, 8));
    copied[0] = -0.0;
    CHECK(!bl_all_equal(&v, 16));
}

int main(void)
{
    for (int i = 0; i < 6000; i++)
        random_case();
    /* what was tried has to be what was meant */
    CHECK(seen[COPY][BL_MATCH_HERE] > 300 && seen[COPY][BL_MATCH_NONE] > 5);
    CHECK(seen[ONE_BIT][BL_MATCH_NONE] > 300 && seen[REVERSED][BL_MATCH_NONE] > 300);
    CHECK(seen[SWAPPED][BL_MATCH_NONE] > 300 && seen[VALUE_SWAPPED][BL_MATCH_NONE] > 300);
    CHECK(seen[VALUE_CHANGED][BL_MATCH_GONE] > 300);
    test_pieces();
    test_replaced();
    test_places();
    test_growth();
    test_many_axes();
    test_ambiguous();
    test_overlap();
    test_vanished();
    test_bits();
    return check_end();
}
