/* Two operands overlap if they share a byte of an element, not a byte of the boxes around them: compared with sets of
 * bytes, on all small matrices and on random larger ones. Contract: 1, 5. */
#include "../check.h"
#include "call.h"

enum { ROOM = 1 << 14 };
static char memory[ROOM];

typedef struct small {
    bl_view view;
    uint64_t bytes; /* one bit a byte */
} small;

static uint64_t bytes_of(int64_t at, int64_t rows, int64_t cols, int64_t ld)
{
    uint64_t set = 0;
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++)
            set |= UINT64_C(1) << (at + j * ld + i);
    return set;
}

static void all_small(void)
{
    enum { OFFSETS = 20, MOST = 4 * 5 * 5 * OFFSETS };
    static small all[MOST];
    int n = 0;
    for (int64_t rows = 0; rows <= 3; rows++)
        for (int64_t cols = 0; cols <= 4; cols++)
            for (int64_t ld = rows > 1 ? rows : 1; ld <= 5; ld++)
                for (int64_t at = 0; at < OFFSETS; at++)
                    all[n++] = (small){bl_view_of(memory + at, rows, cols, ld, 1), bytes_of(at, rows, cols, ld)};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (bl_views_overlap(&all[i].view, &all[k].view) != ((all[i].bytes & all[k].bytes) != 0)) {
                const bl_view *a = &all[i].view, *b = &all[k].view;
                CHECK(false, "%lld x %lld by %lld at %td, %lld x %lld by %lld at %td", (long long)a->column,
                      (long long)a->columns, (long long)a->stride, a->base - memory, (long long)b->column,
                      (long long)b->columns, (long long)b->stride, b->base - memory);
                return;
            }
}

static void mark(char *map, int64_t at, int64_t rows, int64_t cols, int64_t ld, int64_t size)
{
    memset(map, 0, ROOM);
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows * size; i++)
            map[at + j * ld * size + i] = 1;
}

static void random_larger(void)
{
    static char map[2][ROOM];
    int overlaps = 0;
    for (int repeat = 0; repeat < 20000; repeat++) {
        bl_view v[2];
        const int64_t pitch = 1 + check_below(40);
        for (int k = 0; k < 2; k++) {
            const int64_t size = INT64_C(4) << check_below(3), most = 1 + check_below(30);
            int64_t rows = check_below(most), ld = check_below(2) ? rows + check_below(most) : pitch;
            ld = ld > rows ? ld : rows;
            ld = ld ? ld : 1;
            const int64_t fit = (ROOM / size - rows) / ld + 1, cols = check_below(fit < 40 ? fit : 40);
            const int64_t span = cols && rows ? ((cols - 1) * ld + rows) * size : 0;
            const int64_t at = check_below((ROOM - span) / 4 + 1) * 4 / (1 + check_below(8)) / 4 * 4;
            v[k] = bl_view_of(memory + at, rows, cols, ld, size);
            mark(map[k], at, rows, cols, ld, size);
            int64_t bytes = 0;
            for (int i = 0; i < ROOM; i++)
                bytes += map[k][i];
            CHECK(bl_view_bytes(&v[k]) == bytes && bl_view_empty(&v[k]) == !bytes && v[k].end - v[k].base == span);
        }
        bool share = false;
        for (int i = 0; i < ROOM; i++)
            share |= map[0][i] & map[1][i];
        CHECK(bl_views_overlap(&v[0], &v[1]) == share && bl_views_overlap(&v[1], &v[0]) == share, "repeat %d", repeat);
        overlaps += share;
    }
    CHECK(overlaps > 1000 && overlaps < 19000, "%d overlaps: the matrices are not what was meant", overlaps);
}

int main(void)
{
    all_small();
    random_larger();
    return check_end();
}
