/* Before a recorded write exactly those elements are saved that it overwrites and that an adjoint needs, undeclared
 * memory is copied once, and the adjoints use the values that the calls saw: random programs of products on blocks of a
 * few matrices, against a count of elements and against plain loops in long double. Contract: 3, 6. */
#include "../check.h"

enum { X, Y, CONSTANT, SCRATCH, ARRAYS, LD = 7, COLS = 6, SIZE = LD * COLS, CELLS = 3, MOST = 3, CALLS = 60 };

static double memory[ARRAYS][SIZE], shadow[2][SIZE], dcell[CELLS];
static double cell[CELLS] = {0.5, 0, 1}; /* active scalars */
static bool need[ARRAYS][SIZE];

typedef struct block {
    int array, at; /* place of its first element */
    int rows, cols;
} block;

typedef struct product {
    char op[2];
    int m, n, k;
    int scalar[2]; /* index of a cell, or -1 */
    double alpha, beta;
    block x[3];
    double old[3][MOST * MOST]; /* what the call saw, columns behind one another */
} product;

static product program[CALLS];

/* What was kept last of undeclared memory. */
static double kept[SIZE];
static bool have[SIZE];

static int element(const block *b, int i, int j) { return b->at + i + j * LD; }
static bool is_active(const block *b) { return b->array == X || b->array == Y; }

static bool overlap(const block *a, const block *b)
{
    for (int p = 0; p < a->rows * a->cols; p++)
        for (int q = 0; q < b->rows * b->cols; q++)
            if (a->array == b->array && element(a, p % a->rows, p / a->rows) == element(b, q % b->rows, q / b->rows))
                return true;
    return false;
}

static block random_block(int rows, int cols, int arrays)
{
    block b = {.array = (int)check_below(arrays), .rows = rows, .cols = cols};
    /* often the same few places */
    const int64_t i = check_below(2) ? 0 : check_below(LD - MOST + 1),
                  j = check_below(2) ? 0 : check_below(COLS - MOST + 1);
    b.at = (int)(i + j * LD);
    return b;
}

static int stored(char op, int rows, int i, int j) { return op == 'N' ? i + j * rows : j + i * rows; }

/* A product whose result stays small, and that no rule of the contract forbids. */
static bool random_product(product *p)
{
    for (int attempt = 0; attempt < 500; attempt++) {
        *p = (product){.op = {"NTC"[check_below(3)], "NTC"[check_below(3)]},
                       .m = 1 + (int)check_below(MOST),
                       .n = 1 + (int)check_below(MOST),
                       .k = (int)check_below(MOST + 1),
                       .scalar = {-1, -1},
                       .alpha = ((double[]){0.5, -0.75, 1, 0})[check_below(4)],
                       .beta = ((double[]){0, 0, 1, 0.5})[check_below(4)]};
        if (check_below(4) == 0)
            p->alpha = cell[p->scalar[0] = (int)check_below(CELLS)];
        if (check_below(4) == 0)
            p->beta = cell[p->scalar[1] = (int)check_below(CELLS)];
        const bool na = p->op[0] == 'N', nb = p->op[1] == 'N';
        p->x[0] = random_block(na ? p->m : p->k, na ? p->k : p->m, ARRAYS);
        p->x[1] = random_block(nb ? p->k : p->n, nb ? p->n : p->k, ARRAYS);
        p->x[2] = random_block(p->m, p->n, check_below(3) ? 2 : ARRAYS);
        const bool cells = p->scalar[0] >= 0 || p->scalar[1] >= 0;
        if (!is_active(&p->x[2]) && (cells || is_active(&p->x[0]) || is_active(&p->x[1])))
            continue;
        if (overlap(&p->x[0], &p->x[2]) || overlap(&p->x[1], &p->x[2]))
            continue;
        for (int o = 0; o < 3; o++)
            for (int e = 0; e < p->x[o].rows * p->x[o].cols; e++)
                p->old[o][e] = memory[p->x[o].array][element(&p->x[o], e % p->x[o].rows, e / p->x[o].rows)];
        double largest = 0;
        for (int i = 0; i < p->m; i++)
            for (int j = 0; j < p->n; j++) {
                double sum = p->beta * p->old[2][i + j * p->m];
                for (int l = 0; l < p->k; l++)
                    sum += p->alpha * p->old[0][stored(p->op[0], p->x[0].rows, i, l)] *
                           p->old[1][stored(p->op[1], p->x[1].rows, l, j)];
                largest = fabs(sum) > largest ? fabs(sum) : largest;
            }
        if (largest < 2)
            return true;
    }
    return false;
}

/* Bytes that the contract lets be saved for this call. */
static size_t count_saved(const product *p)
{
    size_t bytes = 0;
    const bool alpha = p->scalar[0] >= 0, beta = p->scalar[1] >= 0, multiplies = p->k > 0 && p->alpha != 0;
    const bool needed[] = {p->k > 0 && (alpha || (multiplies && is_active(&p->x[1]))),
                           p->k > 0 && (alpha || (multiplies && is_active(&p->x[0]))), beta};
    for (int o = 0; o < 3; o++) {
        const block *b = &p->x[o];
        if (!needed[o])
            continue;
        for (int e = 0; e < b->rows * b->cols; e++) {
            const int at = element(b, e % b->rows, e / b->rows);
            if (b->array != SCRATCH) {
                need[b->array][at] = true;
            } else if (!have[at] || memcmp(&kept[at], &p->old[o][e], sizeof *kept) != 0) {
                have[at] = true;
                kept[at] = p->old[o][e];
                bytes += sizeof *kept;
            }
        }
    }
    const block *c = &p->x[2];
    if (c->array != SCRATCH && (multiplies || p->beta != 1))
        for (int e = 0; e < p->m * p->n; e++) {
            bool *bit = &need[c->array][element(c, e % p->m, e / p->m)];
            bytes += *bit * sizeof(double);
            *bit = false;
        }
    return bytes;
}

static void call(check_gemm f, const product *p)
{
    const int32_t m = p->m, n = p->n, k = p->k, ld = LD;
    const double *alpha = p->scalar[0] >= 0 ? &cell[p->scalar[0]] : &p->alpha;
    const double *beta = p->scalar[1] >= 0 ? &cell[p->scalar[1]] : &p->beta;
    f(&p->op[0], &p->op[1], &m, &n, &k, alpha, &memory[p->x[0].array][p->x[0].at], &ld,
      &memory[p->x[1].array][p->x[1].at], &ld, beta, &memory[p->x[2].array][p->x[2].at], &ld);
}

static long double want[2][SIZE], want_cell[CELLS];

static void adjoint(const product *p)
{
    if (!is_active(&p->x[2]))
        return;
    long double *g = want[p->x[2].array], dbeta = 0;
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            const long double seed = g[element(&p->x[2], i, j)];
            for (int l = 0; l < p->k; l++) {
                const int ea = stored(p->op[0], p->x[0].rows, i, l), eb = stored(p->op[1], p->x[1].rows, l, j);
                const long double a = p->old[0][ea], b = p->old[1][eb];
                if (p->scalar[0] >= 0)
                    want_cell[p->scalar[0]] += a * b * seed;
                if (is_active(&p->x[0]))
                    want[p->x[0].array][element(&p->x[0], ea % p->x[0].rows, ea / p->x[0].rows)] += p->alpha * b * seed;
                if (is_active(&p->x[1]))
                    want[p->x[1].array][element(&p->x[1], eb % p->x[1].rows, eb / p->x[1].rows)] += p->alpha * a * seed;
            }
            dbeta += p->old[2][i + j * p->m] * seed;
        }
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++)
            g[element(&p->x[2], i, j)] *= p->beta;
    if (p->scalar[1] >= 0)
        want_cell[p->scalar[1]] += dbeta;
}

static size_t one_program(int round)
{
    check_gemm f = (check_gemm)check_entry("dgemm_");
    for (int k = 0; k < ARRAYS * SIZE; k++)
        memory[k / SIZE][k % SIZE] = check_uniform();
    memset(need, 0, sizeof need);
    memset(have, 0, sizeof have);
    blasad_tape *t = blasad_tape_new(BLASAD_REVERSE, round % 2 ? BLASAD_NO_VERIFY : 0);
    CHECK_OK(blasad_duplicated(t, memory[X], shadow[X], sizeof shadow[X]));
    CHECK_OK(blasad_duplicated(t, memory[Y], shadow[Y], sizeof shadow[Y]));
    CHECK_OK(blasad_const(t, memory[CONSTANT], sizeof memory[CONSTANT]));
    CHECK_OK(blasad_duplicated(t, cell, dcell, sizeof cell));
    CHECK_OK(blasad_tape_start(t));
    size_t bytes = 0;
    int calls = 0;
    for (; calls < 10 + round % (CALLS - 10); calls++) {
        if (check_below(10) == 0)
            for (int i = 0; i < SIZE; i++)
                memory[SCRATCH][i] = check_below(3) ? check_uniform() : memory[SCRATCH][i];
        if (!random_product(&program[calls]))
            break;
        const size_t more = count_saved(&program[calls]);
        bytes += more;
        call(f, &program[calls]);
        blasad_call told;
        CHECK_OK(blasad_tape_call(t, (size_t)calls, &told));
        CHECK(told.saved_bytes == more, "round %d, call %d: %zu bytes, not %zu", round, calls, told.saved_bytes, more);
    }
    CHECK_OK(blasad_tape_close_recording(t));
    CHECK(blasad_tape_saved_bytes(t) == bytes, "round %d: %zu bytes, not %zu", round, blasad_tape_saved_bytes(t),
          bytes);
    for (int i = 0; i < SIZE; i++)
        memory[SCRATCH][i] = NAN; /* nothing may be read there any more */
    for (int repeat = 0; repeat < 2; repeat++) {
        static double before[ARRAYS][SIZE];
        memcpy(before, memory, sizeof memory);
        for (int i = 0; i < 2 * SIZE; i++)
            want[i / SIZE][i % SIZE] = shadow[i / SIZE][i % SIZE] = check_uniform();
        for (int i = 0; i < CELLS; i++)
            want_cell[i] = dcell[i] = check_uniform();
        for (int i = calls; i-- > 0;)
            adjoint(&program[i]);
        CHECK_OK(blasad_reverse(t));
        CHECK(memcmp(before, memory, sizeof memory) == 0, "round %d: primal memory was written", round);
        long double scale = 1, error = 0;
        for (int i = 0; i < 2 * SIZE; i++) {
            scale = fmaxl(scale, fabsl(want[i / SIZE][i % SIZE]));
            error = fmaxl(error, fabsl(want[i / SIZE][i % SIZE] - shadow[i / SIZE][i % SIZE]));
            CHECK(!isnan(shadow[i / SIZE][i % SIZE]), "round %d: NaN", round);
        }
        for (int i = 0; i < CELLS; i++) {
            scale = fmaxl(scale, fabsl(want_cell[i]));
            error = fmaxl(error, fabsl(want_cell[i] - dcell[i]));
            CHECK(!isnan(dcell[i]), "round %d: NaN", round);
        }
        CHECK(error <= 1e-12L * scale, "round %d, reverse %d: off by %Lg, where the largest is %Lg", round, repeat,
              error, scale);
    }
    CHECK_OK(blasad_tape_free(t));
    return bytes;
}

int main(void)
{
    check_backend();
    size_t bytes = 0;
    for (int round = 0; round < 1500 && check_failures < 5; round++)
        bytes += one_program(round);
    CHECK(bytes > 500000, "%zu: the programs are not what was meant", bytes);
    return check_end();
}
