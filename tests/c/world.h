/* A small world of real numbers with owners, random programs of products on it, and what their derivatives and books
 * are by plain loops: every real number by itself, no views, no regions. The programs' scenarios say who owns what. */
#ifndef WORLD_H
#define WORLD_H

#include "check.h"

enum { WORLD = 200, MOST = 3, CELLS = 2 * MOST * MOST, STEPS = 40, BATCH = 3, LAYERS = 4 };
enum owner { NOBODY, CONSTANT, ACTIVE };
enum kind { PRODUCT, END };

/* Reals from `at` on: element (i, j) begins at at + (i + j ld) size. */
typedef struct block {
    int at, ld, rows, cols;
} block;

typedef struct step {
    enum kind kind;
    int type, size; /* reals of a number */
    char op[2];
    int m, n, k;
    int cell[2]; /* where the scalars are, -1: passed by value */
    check_number scalar[2];
    bool scalar_active[2][2];
    block x[3];
    check_number old[3][MOST * MOST];
    bool active[3][CELLS]; /* reals with a shadow before the call */
    bool any, out;         /* an active call; it changes its output, or the derivative of it */
    bool ended[WORLD];     /* END: reals whose derivative ends */
} step;

static struct {
    int base; /* BLASAD_FLOAT or BLASAD_DOUBLE */
    int mode, batch;
    bool verify;
    void *memory, *shadow[BATCH]; /* the shadow of real i is in one of LAYERS layers: number shadow_at[i] */
    enum owner owner[WORLD];
    int shadow_at[WORLD];
    bool live[WORLD], known[WORLD], need[WORLD], have[WORLD];
    char kept[WORLD][8];
    step steps[STEPS];
    int count;
    size_t saved;
    check_gemm gemm[4];
    long double want[BATCH][WORLD];
    blasad_tape *tape;
} world;

static inline size_t world_width(void) { return check_size[world.base]; }
static inline void *world_real(int i) { return (char *)world.memory + (size_t)i * world_width(); }
static inline bool world_active(int i) { return world.owner[i] == ACTIVE || world.live[i]; }
static inline int world_element(const step *s, int o, int e)
{
    const block *b = &s->x[o];
    return b->at + (e % b->rows + e / b->rows * b->ld) * s->size;
}
static inline int world_elements(const step *s, int o) { return s->x[o].rows * s->x[o].cols; }
static inline int world_end(const step *s, int o)
{
    return world_elements(s, o) ? world_element(s, o, world_elements(s, o) - 1) + s->size : s->x[o].at;
}
static inline check_number world_get(int i, int size)
{
    const check_number re = check_get(world.base, world.memory, i);
    return size == 1 ? re : re + I * check_get(world.base, world.memory, i + 1);
}
static inline double world_random(void)
{
    return world.base == BLASAD_FLOAT ? (float)check_uniform() : check_uniform();
}

static inline void world_begin(int base, int mode, int batch, bool verify, void *memory)
{
    memset(&world, 0, sizeof world);
    world.base = base;
    world.mode = mode;
    world.batch = batch;
    world.verify = verify;
    world.memory = memory;
    for (int k = 0; k < batch; k++)
        world.shadow[k] = calloc(LAYERS * WORLD, world_width());
    for (int type = 0; type < 4; type++)
        world.gemm[type] = (check_gemm)check_entry(check_gemm_name[type]);
    for (int i = 0; i < WORLD; i++)
        check_set(base, memory, i, world_random());
    world.tape = blasad_tape_new(mode, verify ? 0 : BLASAD_NO_VERIFY);
    if (check_below(8) == 0)
        CHECK_OK(blasad_tape_limit(world.tape, 0)); /* what is saved goes to a file */
}

static inline void world_end_it(void)
{
    CHECK_OK(blasad_tape_free(world.tape));
    for (int k = 0; k < world.batch; k++)
        free(world.shadow[k]);
}

/* Reals from `at` on, strides in reals. False, and nothing is annotated, where something is annotated already. */
static inline bool world_annotate(enum owner owner, int at, int ndim, const int64_t *shape, const int64_t *strides)
{
    static int layer;
    int64_t bytes[2];
    void *dx[BATCH];
    bool mine[WORLD] = {false};
    const int64_t rows = ndim > 0 ? shape[0] : 1, cols = ndim > 1 ? shape[1] : 1;
    for (int64_t e = 0; e < rows * cols; e++) {
        const int64_t i = at + (ndim > 0 ? e % rows * strides[0] : 0) + (ndim > 1 ? e / rows * strides[1] : 0);
        if (i < 0 || i >= WORLD || world.owner[i] != NOBODY || mine[i])
            return false;
        mine[i] = true;
    }
    layer = (layer + 1) % LAYERS;
    for (int d = 0; d < ndim; d++)
        bytes[d] = strides[d] * (int64_t)world_width();
    for (int k = 0; k < world.batch; k++)
        dx[k] = (char *)world.shadow[k] + (size_t)(layer * WORLD + at) * world_width();
    CHECK_OK(blasad_annotate(world.tape, world_real(at), owner == ACTIVE ? world.batch : 0, dx, world.batch > 1,
                             world.base, ndim, shape, bytes, NULL));
    for (int i = 0; i < WORLD; i++)
        if (mine[i]) {
            world.owner[i] = owner;
            world.shadow_at[i] = layer * WORLD + i;
        }
    return true;
}

/* ---- random calls */

/* For whoever reads a failure. */
static inline void world_print(void)
{
    for (int i = 0; i < world.count; i++) {
        const step *s = &world.steps[i];
        printf("%3d: ", i);
        if (s->kind == END)
            for (int e = 0; e < WORLD; e++)
                s->ended[e] ? (void)printf(" %d", e) : (void)0;
        else
            printf("%s %c%c %d %d %d, alpha %g at %d, beta %g at %d, active %d", check_gemm_name[s->type], s->op[0],
                   s->op[1], s->m, s->n, s->k, (double)creall(s->scalar[0]), s->cell[0], (double)creall(s->scalar[1]),
                   s->cell[1], s->any);
        for (int o = 0; s->kind == PRODUCT && o < 3; o++)
            printf(", %d:%d", s->x[o].at, s->x[o].ld);
        printf("\n");
    }
    for (int i = 0; i < WORLD; i++)
        printf("%s%c", i % 50 ? "" : "\n", world.owner[i] == NOBODY ? '.' : world.owner[i] == ACTIVE ? 'A' : 'c');
    printf("\n");
}

static inline bool world_overlap(const step *s, int o, int first, int last)
{
    for (int e = 0; e < world_elements(s, o); e++) {
        const int i = world_element(s, o, e);
        if (i < last && first < i + s->size)
            return true;
    }
    return false;
}

static inline void world_place(step *s, int o, int rows, int cols, const int *places, int n_places)
{
    block *b = &s->x[o];
    b->rows = rows;
    b->cols = cols;
    b->ld = check_below(2) ? 7 : (rows > 1 ? rows : 1) + (int)check_below(3);
    b->at = check_below(3) ? places[check_below(n_places)] + (int)check_below(3) : (int)check_below(WORLD);
}

/* A product whose result stays small and that no rule forbids. `places` are where operands often begin. */
static inline bool world_product(step *s, const int *places, int n_places)
{
    for (int attempt = 0; attempt < 800; attempt++) {
        *s = (step){
            .kind = PRODUCT,
            .type = world.base + (check_below(4) == 0 ? 2 : 0),
            .op = {"NTC"[check_below(3)], "NTC"[check_below(3)]},
            .m = 1 + (int)check_below(MOST),
            .n = 1 + (int)check_below(MOST),
            .k = (int)check_below(MOST + 1),
            .cell = {-1, -1},
            .scalar = {((double[]){0.5, -0.75, 1, 0})[check_below(4)], ((double[]){0, 0, 1, 0.5})[check_below(4)]}};
        s->size = s->type == world.base ? 1 : 2;
        const bool na = s->op[0] == 'N', nb = s->op[1] == 'N';
        world_place(s, 0, na ? s->m : s->k, na ? s->k : s->m, places, n_places);
        world_place(s, 1, nb ? s->k : s->n, nb ? s->n : s->k, places, n_places);
        world_place(s, 2, s->m, s->n, places, n_places);
        bool fits = true;
        for (int o = 0; o < 3; o++)
            fits &= s->x[o].at >= 0 && world_end(s, o) <= WORLD;
        for (int i = 0; i < 2 && fits; i++)
            if (check_below(4) == 0) {
                s->cell[i] = (int)check_below(WORLD - 2);
                s->scalar[i] = world_get(s->cell[i], s->size);
                fits = !world_overlap(s, 2, s->cell[i], s->cell[i] + s->size);
            }
        for (int o = 0; o < 2 && fits; o++)
            for (int e = 0; e < world_elements(s, o) && fits; e++)
                fits = !world_overlap(s, 2, world_element(s, o, e), world_element(s, o, e) + s->size);
        if (!fits)
            continue;
        for (int i = 0; i < 2; i++)
            for (int part = 0; part < s->size && s->cell[i] >= 0; part++)
                s->scalar_active[i][part] = world_active(s->cell[i] + part) && (i == 1 || s->k > 0);
        const bool alpha = s->scalar_active[0][0] || s->scalar_active[0][1];
        const bool beta = s->scalar_active[1][0] || s->scalar_active[1][1];
        const bool multiplies = s->k > 0 && s->scalar[0] != 0, writes = multiplies || s->scalar[1] != 1;
        const bool read[3] = {multiplies || alpha, multiplies || alpha,
                              ((writes || alpha) && s->scalar[1] != 0) || beta};
        s->any = alpha || beta;
        bool constant = false;
        for (int o = 0; o < 3; o++)
            for (int e = 0; e < world_elements(s, o); e++) {
                const int i = world_element(s, o, e);
                s->old[o][e] = world_get(i, s->size);
                for (int part = 0; part < s->size; part++) {
                    s->active[o][e * s->size + part] = world_active(i + part);
                    s->any |= read[o] && world_active(i + part);
                    constant |= o == 2 && world.owner[i + part] == CONSTANT;
                }
            }
        s->out = writes || alpha || beta;
        if (s->any && s->out && constant)
            continue;
        long double largest = 0;
        for (int i = 0; i < s->m; i++)
            for (int j = 0; j < s->n; j++) {
                long double sum = cabsl(s->scalar[1] * s->old[2][i + j * s->m]);
                for (int l = 0; l < s->k; l++)
                    sum += cabsl(s->scalar[0] * s->old[0][check_at(s->op[0], i, l, s->x[0].rows)] *
                                 s->old[1][check_at(s->op[1], l, j, s->x[1].rows)]);
                largest = fmaxl(largest, sum);
            }
        if (largest < 2)
            return true;
    }
    return false;
}

/* An adjoint needs what real i holds. Bytes that the contract lets be saved for that. */
static inline size_t world_keep(int i)
{
    const size_t width = world_width();
    if (world.mode != BLASAD_REVERSE)
        return 0;
    if (world.owner[i] != NOBODY) {
        world.need[i] = true;
        return 0;
    }
    if (world.have[i] && memcmp(world.kept[i], world_real(i), width) == 0)
        return 0;
    world.have[i] = true;
    memcpy(world.kept[i], world_real(i), width);
    return width;
}

/* A call leaves real i: written, or only with another derivative; and active or not. Bytes saved of what it was. */
static inline size_t world_leave(int i, bool writes, bool active)
{
    const size_t bytes = writes && world.need[i] ? world_width() : 0;
    world.need[i] = world.need[i] && !writes;
    if (world.owner[i] == NOBODY) {
        world.live[i] = active;
        world.known[i] = true;
    }
    return bytes;
}

/* Bytes that the contract lets be saved for it, and what is known of memory afterwards. */
static inline size_t world_books(const step *s, bool assumed[3])
{
    size_t bytes = 0;
    const bool alpha = s->scalar_active[0][0] || s->scalar_active[0][1];
    const bool beta = s->scalar_active[1][0] || s->scalar_active[1][1];
    const bool multiplies = s->k > 0 && s->scalar[0] != 0, writes = multiplies || s->scalar[1] != 1;
    const bool read[3] = {multiplies || alpha, multiplies || alpha, ((writes || alpha) && s->scalar[1] != 0) || beta};
    bool active[3] = {false, false, false};
    for (int o = 0; o < 3; o++) {
        assumed[o] = false;
        for (int e = 0; e < world_elements(s, o); e++)
            for (int part = 0; part < s->size; part++) {
                const int i = world_element(s, o, e) + part;
                active[o] |= world_active(i);
                assumed[o] |= read[o] && world.owner[i] == NOBODY && !world.known[i];
            }
    }
    const bool needed[3] = {alpha || (multiplies && active[1]), alpha || (multiplies && active[0]), beta};
    for (int o = 0; o < 3; o++)
        for (int e = 0; needed[o] && e < world_elements(s, o); e++)
            for (int part = 0; part < s->size; part++)
                bytes += world_keep(world_element(s, o, e) + part);
    for (int e = 0; s->out && e < world_elements(s, 2); e++)
        for (int part = 0; part < s->size; part++)
            bytes += world_leave(world_element(s, 2, e) + part, writes, s->any);
    return bytes;
}

static inline void world_call(const step *s)
{
    const int32_t m = s->m, n = s->n, k = s->k, ld[3] = {s->x[0].ld, s->x[1].ld, s->x[2].ld};
    double value[2][2] = {{0}};
    const void *scalar[2];
    for (int i = 0; i < 2; i++) {
        check_set(s->type, value[i], 0, s->scalar[i]);
        scalar[i] = s->cell[i] >= 0 ? world_real(s->cell[i]) : value[i];
    }
    world.gemm[s->type](&s->op[0], &s->op[1], &m, &n, &k, scalar[0], world_real(s->x[0].at), &ld[0],
                        world_real(s->x[1].at), &ld[1], scalar[1], world_real(s->x[2].at), &ld[2]);
}

/* What the tape tells of the call that was just made, after `at` events. */
static inline void world_told(int round, size_t at, size_t bytes, const bool assumed[3], bool active)
{
    blasad_call told;
    CHECK(blasad_tape_length(world.tape) > at, "round %d, step %d: %s", round, world.count,
          blasad_tape_error(world.tape) ? blasad_last_error() : "not recorded");
    if (check_failures)
        return;
    CHECK_OK(blasad_tape_call(world.tape, blasad_tape_length(world.tape) - 1, &told)); /* behind ends of lives */
    CHECK(told.saved_bytes == bytes, "round %d, step %d: %zu bytes, not %zu", round, world.count, told.saved_bytes,
          bytes);
    for (int o = 0; o < told.n_operands; o++)
        CHECK(told.operands[o].assumed == assumed[o], "round %d, step %d: operand %d", round, world.count, o);
    CHECK(!told.active == !active, "round %d, step %d", round, world.count);
    world.saved += bytes;
    world.count++;
}

static inline void world_random_call(int round, const int *places, int n_places)
{
    step *s = &world.steps[world.count];
    bool assumed[3];
    if (!world_product(s, places, n_places))
        return;
    const size_t bytes = world_books(s, assumed), at = blasad_tape_length(world.tape);
    world_call(s);
    world_told(round, at, bytes, assumed, s->any);
    if (check_failures)
        world_print();
}

/* Elements of undeclared memory that are not active get other values, by code that no hook sees. */
static inline void world_refill(int from, int to)
{
    for (int i = from; i < to; i++)
        if (world.owner[i] == NOBODY && !world.live[i] && check_below(3)) {
            check_set(world.base, world.memory, i, world_random());
            world.known[i] = world.known[i] && !world.verify;
        }
}

/* A random array is announced to hold fresh content (assigned), or to have ended its life (forget). */
static inline void world_announce(bool assign)
{
    step *s = &world.steps[world.count];
    const int64_t shape[2] = {1 + check_below(6), 1 + check_below(4)}, size = (int64_t)world_width();
    const int64_t step0 = 1 + check_below(3), step1 = shape[0] * step0 + check_below(4);
    const int64_t strides[2] = {step0 * size, step1 * size};
    const int at = (int)check_below(WORLD - (int)((shape[0] - 1) * step0 + (shape[1] - 1) * step1));
    bool owned = false;
    *s = (step){.kind = END};
    for (int64_t e = 0; e < shape[0] * shape[1]; e++) {
        const int64_t i = at + e % shape[0] * step0 + e / shape[0] * step1;
        owned |= world.owner[i] != NOBODY;
        s->ended[i] = true;
    }
    if (!assign && owned) {
        CHECK_CODE(blasad_forget(world_real(at), world.base, 2, shape, strides), BLASAD_VALUE, "annotated memory");
        return;
    }
    if (assign)
        CHECK_OK(blasad_assigned_begin(world_real(at), world.base, 2, shape, strides));
    else
        CHECK_OK(blasad_forget(world_real(at), world.base, 2, shape, strides));
    for (int i = 0; i < WORLD; i++)
        if (s->ended[i]) {
            world.saved += world.need[i] ? world_width() : 0;
            world.need[i] = world.live[i] = false;
            world.known[i] = assign;
            check_set(world.base, world.memory, i, world_random());
        }
    if (assign)
        CHECK_OK(blasad_assigned_end(world_real(at), world.base, 2, shape, strides));
    world.count++;
}

/* ---- derivatives */

static inline check_number world_masked(const long double *shadow, const bool *active, int i, int size)
{
    check_number x = active[0] ? shadow[i] : 0;
    return size == 2 && active[1] ? x + I * (check_number)shadow[i + 1] : x;
}

static inline void world_add(long double *shadow, const bool *active, int i, int size, check_number x)
{
    shadow[i] += active[0] ? creall(x) : 0;
    if (size == 2)
        shadow[i + 1] += active[1] ? cimagl(x) : 0;
}

static inline void world_step_back(const step *s, long double *want)
{
    for (int i = 0; s->kind == END && i < WORLD; i++)
        want[i] = s->ended[i] ? 0 : want[i];
    if (s->kind == END || !s->out)
        return;
    static const bool all[2] = {true, true};
    check_number dalpha = 0, dbeta = 0, da[MOST * MOST] = {0}, db[MOST * MOST] = {0};
    const int z = s->size;
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < s->n; j++) {
            const int c = i + j * s->m;
            const check_number g = s->any ? world_masked(want, all, world_element(s, 2, c), z) : 0;
            for (int l = 0; l < s->k; l++) {
                const int64_t ea = check_at(s->op[0], i, l, s->x[0].rows), eb = check_at(s->op[1], l, j, s->x[1].rows);
                const check_number x = check_op(s->op[0], s->old[0][ea]), y = check_op(s->op[1], s->old[1][eb]);
                dalpha += conjl(x * y) * g;
                da[ea] += check_op(s->op[0], conjl(s->scalar[0] * y) * g);
                db[eb] += check_op(s->op[1], conjl(s->scalar[0] * x) * g);
            }
            dbeta += conjl(s->old[2][c]) * g;
        }
    for (int c = 0; c < s->m * s->n; c++) {
        const int i = world_element(s, 2, c);
        const check_number g = s->any ? conjl(s->scalar[1]) * world_masked(want, all, i, z) : 0;
        want[i] = want[z == 2 ? i + 1 : i] = 0;
        world_add(want, &s->active[2][c * z], i, z, g);
    }
    for (int e = 0; e < world_elements(s, 0); e++)
        world_add(want, &s->active[0][e * z], world_element(s, 0, e), z, da[e]);
    for (int e = 0; e < world_elements(s, 1); e++)
        world_add(want, &s->active[1][e * z], world_element(s, 1, e), z, db[e]);
    if (s->cell[0] >= 0)
        world_add(want, s->scalar_active[0], s->cell[0], z, dalpha);
    if (s->cell[1] >= 0)
        world_add(want, s->scalar_active[1], s->cell[1], z, dbeta);
}

static inline void world_step_on(const step *s, long double *tangent)
{
    for (int i = 0; s->kind == END && i < WORLD; i++)
        tangent[i] = s->ended[i] ? 0 : tangent[i];
    if (s->kind == END || !s->out)
        return;
    const int z = s->size;
    check_number dc[MOST * MOST];
    const check_number dalpha = s->cell[0] >= 0 ? world_masked(tangent, s->scalar_active[0], s->cell[0], z) : 0;
    const check_number dbeta = s->cell[1] >= 0 ? world_masked(tangent, s->scalar_active[1], s->cell[1], z) : 0;
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < s->n; j++) {
            const int c = i + j * s->m;
            dc[c] = s->scalar[1] * world_masked(tangent, &s->active[2][c * z], world_element(s, 2, c), z) +
                    dbeta * s->old[2][c];
            for (int l = 0; l < s->k; l++) {
                const int ea = (int)check_at(s->op[0], i, l, s->x[0].rows),
                          eb = (int)check_at(s->op[1], l, j, s->x[1].rows);
                const check_number x = check_op(s->op[0], s->old[0][ea]), y = check_op(s->op[1], s->old[1][eb]);
                const check_number dx =
                    check_op(s->op[0], world_masked(tangent, &s->active[0][ea * z], world_element(s, 0, ea), z));
                const check_number dy =
                    check_op(s->op[1], world_masked(tangent, &s->active[1][eb * z], world_element(s, 1, eb), z));
                dc[c] += dalpha * x * y + s->scalar[0] * (dx * y + x * dy);
            }
        }
    for (int c = 0; c < s->m * s->n; c++) {
        const int i = world_element(s, 2, c);
        tangent[i] = creall(dc[c]);
        tangent[z == 2 ? i + 1 : i] = z == 2 ? cimagl(dc[c]) : creall(dc[c]);
    }
}

/* ---- the whole */

static inline void world_seed(void)
{
    for (int k = 0; k < world.batch; k++) {
        for (int i = 0; i < LAYERS * WORLD; i++)
            check_set(world.base, world.shadow[k], i, 7); /* what is nobody's shadow stays as it is */
        for (int i = 0; i < WORLD; i++) {
            const double seed = world_random();
            world.want[k][i] = world.owner[i] == ACTIVE ? seed : 0;
            if (world.owner[i] == ACTIVE)
                check_set(world.base, world.shadow[k], world.shadow_at[i], seed);
        }
    }
}

static inline void world_compare(int round)
{
    const long double tolerance = world.base == BLASAD_FLOAT ? 1e-4L : 1e-12L;
    for (int k = 0; k < world.batch; k++) {
        bool shadow[LAYERS * WORLD] = {false};
        long double scale = 1;
        for (int i = 0; i < WORLD; i++)
            scale = fmaxl(scale, fabsl(world.want[k][i]));
        for (int i = 0; i < WORLD; i++)
            if (world.owner[i] == ACTIVE) {
                const long double got = creall(check_get(world.base, world.shadow[k], world.shadow_at[i]));
                shadow[world.shadow_at[i]] = true;
                CHECK(fabsl(got - world.want[k][i]) <= tolerance * scale, "round %d, shadow %d of %d: %Lg, not %Lg",
                      round, k, i, got, world.want[k][i]);
            }
        for (int i = 0; i < LAYERS * WORLD; i++)
            CHECK(shadow[i] || creall(check_get(world.base, world.shadow[k], i)) == 7, "round %d: %d was written",
                  round, i);
    }
}

/* What a program is made of: a random call, which adds a step, and the derivatives of a step. */
typedef struct program {
    void (*call)(int round, const int *places, int n_places);
    void (*back)(int step, long double *want);
    void (*on)(int step, long double *tangent);
} program;

/* Runs a random program after the annotations are made, and checks everything. */
static inline void world_run_program(const program *p, int round, int steps, const int *places, int n_places)
{
    if (world.mode == BLASAD_FORWARD)
        world_seed();
    CHECK_OK(blasad_tape_start(world.tape));
    while (world.count < steps && !check_failures) {
        const int64_t what = check_below(12);
        const int before = world.count;
        if (what == 0)
            world_refill(0, WORLD);
        else if (what == 1)
            world_announce(check_below(2));
        p->call(round, places, n_places);
        if (world.count == before)
            break;
    }
    CHECK_OK(blasad_tape_close_recording(world.tape));
    CHECK(world.mode == BLASAD_FORWARD || blasad_tape_saved_bytes(world.tape) == world.saved, "round %d: %zu, not %zu",
          round, blasad_tape_saved_bytes(world.tape), world.saved);
    if (check_failures)
        return;
    if (world.mode == BLASAD_FORWARD) {
        for (int k = 0; k < world.batch; k++)
            for (int i = 0; i < world.count; i++)
                p->on(i, world.want[k]);
        world_compare(round);
        return;
    }
    for (int i = 0; i < WORLD; i++)
        if (world.owner[i] == NOBODY) /* it may be gone */
            check_set(world.base, world.memory, i, NAN);
    void *before = malloc(WORLD * world_width());
    memcpy(before, world.memory, WORLD * world_width());
    for (int repeat = 0; repeat < 2 && !check_failures; repeat++) {
        world_seed();
        for (int k = 0; k < world.batch; k++)
            for (int i = world.count; i-- > 0;)
                p->back(i, world.want[k]);
        CHECK_OK(blasad_reverse(world.tape));
        CHECK(memcmp(before, world.memory, WORLD * world_width()) == 0, "round %d: primal memory was written", round);
        world_compare(round);
    }
    free(before);
}

static inline void world_back(int step, long double *want) { world_step_back(&world.steps[step], want); }
static inline void world_on(int step, long double *tangent) { world_step_on(&world.steps[step], tangent); }

/* The same with products. */
static inline void world_run(int round, int steps, const int *places, int n_places)
{
    static const program products = {world_random_call, world_back, world_on};
    world_run_program(&products, round, steps, places, n_places);
}

#endif
