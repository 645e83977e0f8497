/* Two operands overlap if they share a byte of an element, not a byte of the boxes around them: compared with sets of
 * bytes, on all small matrices, triangles, bands, packed triangles and vectors and on random larger ones. What a view
 * says of itself is compared likewise. Contract: 1, 4, 5. */
#include "../check.h"
#include "call.h"

enum { ROOM = 1 << 14, SMALL = 64 };
static char memory[ROOM];

enum kind {
    MATRIX,
    UPPER,
    UPPER_UNIT,
    LOWER,
    LOWER_UNIT,
    PACKED_UPPER,
    PACKED_UPPER_UNIT,
    PACKED_LOWER,
    PACKED_LOWER_UNIT,
    BAND,
    BAND_UPPER,
    BAND_UPPER_UNIT,
    BAND_LOWER,
    BAND_LOWER_UNIT,
    VECTOR,
    KINDS
};

typedef struct form {
    enum kind kind;
    int64_t at; /* byte of the first element */
    int64_t rows, cols, ld, size;
    int64_t kl, ku; /* of bands; 0 on the other side of a triangle */
} form;

static bool is_packed(enum kind k) { return k >= PACKED_UPPER && k <= PACKED_LOWER_UNIT; }
static bool is_band(enum kind k) { return k >= BAND && k <= BAND_LOWER_UNIT; }
static bool is_upper(enum kind k)
{
    return k == UPPER || k == UPPER_UNIT || k == PACKED_UPPER || k == PACKED_UPPER_UNIT || k == BAND_UPPER ||
           k == BAND_UPPER_UNIT;
}
static bool is_unit(enum kind k)
{
    return k == UPPER_UNIT || k == LOWER_UNIT || k == PACKED_UPPER_UNIT || k == PACKED_LOWER_UNIT ||
           k == BAND_UPPER_UNIT || k == BAND_LOWER_UNIT;
}

static bl_view view_of(const form *f)
{
    char *base = memory + f->at;
    if (f->kind == MATRIX)
        return bl_view_of(base, f->rows, f->cols, f->ld, f->size);
    if (f->kind == VECTOR)
        return bl_view_vector(base, f->cols, f->ld, f->size);
    const bool upper = is_upper(f->kind), unit = is_unit(f->kind);
    if (f->kind == BAND)
        return bl_view_band(base, f->rows, f->cols, f->kl, f->ku, f->ld, f->size);
    if (is_band(f->kind))
        return bl_view_band_triangle(base, upper, unit, f->cols, f->kl + f->ku, f->ld, f->size);
    if (is_packed(f->kind))
        return bl_view_packed(base, upper, unit, f->cols, f->size);
    return bl_view_triangle(base, upper, unit, f->cols, f->ld, f->size);
}

static bool stored(const form *f, int64_t i, int64_t j)
{
    if (f->kind == MATRIX || f->kind == VECTOR)
        return true;
    if (is_band(f->kind) && (j - i > f->ku || i - j > f->kl))
        return false;
    return f->kind == BAND || ((is_upper(f->kind) ? i <= j : i >= j) && (i != j || !is_unit(f->kind)));
}

/* Where element (i, j) is, in elements: packed, behind those of its column and of the columns before. */
static int64_t place(const form *f, int64_t i, int64_t j)
{
    if (is_band(f->kind))
        return f->ku + i - j + j * f->ld;
    if (!is_packed(f->kind))
        return i + j * (f->ld < 0 ? -f->ld : f->ld);
    int64_t before = is_upper(f->kind) ? i : i - j;
    for (int64_t c = 0; c < j; c++)
        before += is_upper(f->kind) ? c + 1 : f->cols - c;
    return before;
}

static void mark(const form *f, char *map, size_t room)
{
    memset(map, 0, room);
    for (int64_t j = 0; j < f->cols; j++)
        for (int64_t i = 0; i < f->rows; i++)
            if (stored(f, i, j))
                memset(map + f->at + place(f, i, j) * f->size, 1, (size_t)f->size);
}

/* The view has the bytes that are marked, from its first to its last, its columns are in order and apart. */
static bool tells(const bl_view *v, const char *map, int64_t room)
{
    static char seen[ROOM];
    int64_t bytes = 0, first = 0, end = 0;
    for (int64_t i = room; i-- > 0;) {
        bytes += map[i];
        end = map[i] && !end ? i + 1 : end;
        first = map[i] ? i : first;
    }
    memset(seen, 0, (size_t)room);
    const char *last = v->base;
    bool good = bl_view_bytes(v) == bytes && bl_view_empty(v) == !bytes && v->end - v->base == end - first;
    for (int64_t j = 0; good && j < v->columns; j++) {
        const char *from = bl_view_column(v, j);
        const int64_t n = bl_column_bytes(v, j);
        good = from >= last && n > 0 && from + n <= v->end;
        if (good)
            memset(seen + (from - memory), 1, (size_t)n);
        last = from + n;
    }
    return good && memcmp(seen, map, (size_t)room) == 0 && (!bytes || v->base == memory + first);
}

static void describe(const form *f)
{
    static const char *const name[] = {"matrix",
                                       "upper",
                                       "upper unit",
                                       "lower",
                                       "lower unit",
                                       "packed upper",
                                       "packed upper unit",
                                       "packed lower",
                                       "packed lower unit",
                                       "band",
                                       "band upper",
                                       "band upper unit",
                                       "band lower",
                                       "band lower unit",
                                       "vector"};
    printf("%s %dx%d by %d at %d, size %d, kl %d, ku %d; ", name[f->kind], (int)f->rows, (int)f->cols, (int)f->ld,
           (int)f->at, (int)f->size, (int)f->kl, (int)f->ku);
}

/* ---- all small ones */

typedef struct small {
    form form;
    bl_view view;
    uint64_t bytes; /* one bit a byte */
} small;

enum { OFFSETS = 15, MOST = 20000 };
static small all[MOST];
static int count;

static void add(enum kind kind, int64_t rows, int64_t cols, int64_t ld, int64_t kl, int64_t ku)
{
    for (int64_t at = 0; at < OFFSETS; at++) {
        char map[SMALL];
        if (count == MOST) {
            CHECK(false, "more than %d small ones", MOST);
            return;
        }
        small *s = &all[count++];
        s->form = (form){kind, at, rows, cols, ld, 1, kl, ku};
        s->view = view_of(&s->form);
        mark(&s->form, map, SMALL);
        for (int i = 0; i < SMALL; i++)
            s->bytes |= (uint64_t)map[i] << i;
        if (!tells(&s->view, map, SMALL)) {
            describe(&s->form);
            CHECK(false, "the view says something else");
        }
    }
}

static void all_small(void)
{
    for (int64_t rows = 0; rows <= 3; rows++)
        for (int64_t cols = 0; cols <= 4; cols++)
            for (int64_t ld = rows > 1 ? rows : 1; ld <= 5; ld++)
                add(MATRIX, rows, cols, ld, 0, 0);
    for (int kind = UPPER; kind <= LOWER_UNIT; kind++)
        for (int64_t n = 0; n <= 4; n++)
            for (int64_t ld = n > 1 ? n : 1; ld <= 5; ld++)
                add(kind, n, n, ld, 0, 0);
    for (int kind = PACKED_UPPER; kind <= PACKED_LOWER_UNIT; kind++)
        for (int64_t n = 0; n <= 4; n++)
            add(kind, n, n, 1, 0, 0);
    for (int64_t rows = 0; rows <= 3; rows++)
        for (int64_t cols = 0; cols <= 4; cols++)
            for (int64_t kl = 0; kl <= 3; kl++)
                for (int64_t ku = 0; ku <= 3; ku++)
                    add(BAND, rows, cols, kl + ku + 1 + (rows + cols + kl) % 2, kl, ku);
    for (int kind = BAND_UPPER; kind <= BAND_LOWER_UNIT; kind++)
        for (int64_t n = 0; n <= 4; n++)
            for (int64_t k = 0; k <= 4; k++)
                for (int64_t ld = k + 1; ld <= k + 2; ld++)
                    add(kind, n, n, ld, kind >= BAND_LOWER ? k : 0, kind >= BAND_LOWER ? 0 : k);
    for (int64_t n = -1; n <= 5; n++)
        for (int64_t inc = -6; inc <= 6; inc++)
            add(VECTOR, 1, n, inc, 0, 0);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            if (bl_views_overlap(&all[i].view, &all[k].view) != ((all[i].bytes & all[k].bytes) != 0)) {
                describe(&all[i].form);
                describe(&all[k].form);
                CHECK(false, "share bytes or not");
                return;
            }
}

/* ---- random larger ones */

static form random_form(int64_t pitch)
{
    form f = {.kind = (enum kind)check_below(KINDS), .size = INT64_C(4) << check_below(3)};
    const int64_t most = 1 + check_below(30);
    if (f.kind == VECTOR) {
        f.rows = 1;
        f.ld = check_below(2) ? check_below(2 * most) - most : check_below(2) ? pitch : -pitch;
    } else {
        f.rows = check_below(most);
        f.ld = check_below(2) ? f.rows + check_below(most) : pitch;
        f.ld = f.ld > f.rows ? f.ld : f.rows;
        f.ld = f.ld ? f.ld : 1;
    }
    if (is_band(f.kind)) {
        f.kl = f.kind == BAND_UPPER || f.kind == BAND_UPPER_UNIT ? 0 : check_below(8);
        f.ku = f.kind == BAND_LOWER || f.kind == BAND_LOWER_UNIT ? 0 : check_below(8);
        f.ld = f.kl + f.ku + 1 + (check_below(2) ? check_below(most) : pitch);
    }
    const int64_t step = f.ld < 0 ? -f.ld : f.ld, height = f.rows + f.kl + f.ku;
    const int64_t fit = step ? (ROOM / f.size - height) / step + 1 : 40;
    f.cols = check_below(fit < 40 ? fit : 40);
    if (f.kind != MATRIX && f.kind != VECTOR && f.kind != BAND)
        f.rows = f.cols = f.rows < fit ? f.rows : fit;
    const int64_t span = f.cols && f.rows ? ((f.cols - 1) * step + height) * f.size : 0;
    f.at = check_below((ROOM - span) / 4 + 1) * 4 / (1 + check_below(8)) / 4 * 4;
    return f;
}

static void random_larger(void)
{
    static char map[2][ROOM];
    int overlaps = 0;
    for (int repeat = 0; repeat < 20000; repeat++) {
        form f[2];
        bl_view v[2];
        const int64_t pitch = 1 + check_below(40);
        for (int k = 0; k < 2; k++) {
            f[k] = random_form(pitch);
            v[k] = view_of(&f[k]);
            mark(&f[k], map[k], ROOM);
        }
        bool share = false;
        for (int i = 0; i < ROOM; i++)
            share |= map[0][i] & map[1][i];
        const bool good = tells(&v[0], map[0], ROOM) && tells(&v[1], map[1], ROOM) &&
                          bl_views_overlap(&v[0], &v[1]) == share && bl_views_overlap(&v[1], &v[0]) == share;
        if (!good) {
            describe(&f[0]);
            describe(&f[1]);
            CHECK(good, "repeat %d", repeat);
        }
        overlaps += share;
    }
    CHECK(overlaps > 1000 && overlaps < 19000, "%d overlaps: the operands are not what was meant", overlaps);
}

int main(void)
{
    all_small();
    random_larger();
    return check_end();
}
