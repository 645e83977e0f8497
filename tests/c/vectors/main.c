/* Level 1 through both conventions, and kernels of vectors and triangles passed to the tape as rules pass them: any
 * increments, operands that are the same, or belong to several annotations, to constants and to nobody; in both modes,
 * of all types, with batches of shadows; random programs against plain loops. Contract: 1-6. */
#include "../world.h"
#include "layer.h"

enum { ROUNDS = 3000, LENGTH = 6, SIDE = 3, TERMS = SIDE * SIDE, OPERANDS = 3 };
enum { NONE = -1 };

/* Operands and scalars as bits of sets; element k of operand o begins at real place[o][k]. */
typedef struct move {
    int routine, type, size; /* reals of a number */
    bool cblas;
    char uplo;
    int m, n; /* of a vector n numbers */
    int operands, scalars;
    int at[OPERANDS], ld[OPERANDS], terms[OPERANDS], place[OPERANDS][TERMS];
    int cell[2]; /* where the scalars are, NONE: constants */
    check_number scalar[2];
    bool scalar_active[2][2];
    check_number old[OPERANDS][TERMS];
    bool active[OPERANDS][2 * TERMS]; /* reals with a shadow before the call */
    unsigned read, write, result, need;
    bool any;
} move;

static move moves[STEPS];
static check_number returned[STEPS];
static int returns;

static bool is_kernel(const move *s) { return s->routine >= BL_FIRST_KERNEL; }
static bool is_matrix(const move *s, int o)
{
    return s->routine == BL_MSCAL || s->routine == BL_MAXPBY || (s->routine == BL_MDOT && o < 2);
}
static bool is_dot(const move *s) { return s->routine == BL_MDOT || s->routine == BL_VDOT; }
static bool is_same(const move *s)
{
    return !is_kernel(s) && s->operands == 2 && s->at[0] == s->at[1] && s->ld[0] == s->ld[1];
}

/* y <- a x + b y, where x and the scalars behind a and b may be NONE; all routines but swap and the sums. */
typedef struct form {
    int x, y, ia, ib;
    check_number a, b;
} form;

static form form_of(const move *s)
{
    switch (s->routine) {
    case BL_COPY:
        return (form){0, 1, NONE, NONE, 1, 0};
    case BL_AXPY:
        return (form){0, 1, 0, NONE, s->scalar[0], 1};
    case BL_MAXPBY:
    case BL_VAXPBY:
        return (form){0, 1, 0, 1, s->scalar[0], s->scalar[1]};
    default:
        return (form){NONE, 0, NONE, 0, 0, s->scalar[0]};
    }
}

/* ---- a random call */

static void lay_out(move *s, int o)
{
    s->terms[o] = 0;
    if (is_matrix(s, o)) {
        for (int j = 0; j < s->n; j++)
            for (int i = 0; i < s->m; i++)
                if (s->uplo == 'A' || (s->uplo == 'U' ? i <= j : i >= j))
                    s->place[o][s->terms[o]++] = s->at[o] + (i + j * s->ld[o]) * s->size;
        return;
    }
    const int n = o == 2 ? 1 : s->n, inc = s->ld[o];
    for (; s->terms[o] < n; s->terms[o]++)
        s->place[o][s->terms[o]] = s->at[o] + (inc < 0 ? s->terms[o] - n + 1 : s->terms[o]) * inc * s->size;
}

static void choose(move *s, const int *places, int n_places)
{
    static const int routines[] = {BL_SWAP,  BL_SCAL,   BL_COPY, BL_COPY,   BL_AXPY, BL_AXPY,
                                   BL_MSCAL, BL_MAXPBY, BL_MDOT, BL_VAXPBY, BL_VDOT};
    static const int increments[] = {1, 1, 2, 3, -1, -2, 0};
    *s = (move){.routine = routines[check_below(11)],
                .type = world.base + (check_below(4) == 0 ? 2 : 0),
                .cblas = check_below(2),
                .uplo = "AUL"[check_below(3)],
                .cell = {NONE, NONE},
                .scalar = {((double[]){0.5, -0.75, 1, 0})[check_below(4)], ((double[]){0, 1, 1, 0.5})[check_below(4)]}};
    const bl_routine_spec *spec = bl_routine_table[s->routine];
    s->operands = spec->n_operands;
    s->scalars = spec->n_scalars;
    s->size = s->type == world.base ? 1 : 2;
    s->n = (int)check_below(is_matrix(s, 0) ? SIDE + 1 : LENGTH + 1);
    s->m = is_matrix(s, 0) && s->uplo == 'A' ? (int)check_below(SIDE + 1) : s->n;
    if (!is_kernel(s) && check_below(20) == 0)
        s->n = -1;
    for (int o = 0; o < s->operands; o++) {
        s->at[o] = check_below(3) ? places[check_below(n_places)] + (int)check_below(3) : (int)check_below(WORLD);
        s->ld[o] = is_matrix(s, o) ? (s->m > 1 ? s->m : 1) + (int)check_below(3) : increments[check_below(7)];
        if (is_dot(s) && o == 2)
            s->ld[o] = 1;
    }
    const move *earlier = &moves[world.count ? check_below(world.count) : 0];
    if (world.count && world.steps[earlier - moves].kind != END && check_below(3) == 0) {
        /* of the same shape: the tape has not to find out again what follows from it */
        const move had = *earlier;
        s->routine = had.routine, s->type = had.type, s->size = had.size, s->uplo = had.uplo, s->m = had.m;
        s->n = had.n, s->operands = had.operands, s->scalars = had.scalars;
        memcpy(s->ld, had.ld, sizeof s->ld);
    }
    if (!is_kernel(s) && check_below(4) == 0)
        s->at[1] = s->at[0], s->ld[1] = s->ld[0];
    for (int o = 0; o < s->operands; o++)
        lay_out(s, o);
    for (int i = 0; i < s->scalars; i++)
        if (check_below(3) == 0 && (is_kernel(s) || !s->cblas || s->size == 2)) {
            s->cell[i] = (int)check_below(WORLD - 2);
            s->scalar[i] = world_get(s->cell[i], s->size);
        }
}

static bool shares(const move *s, int o, int first)
{
    for (int k = 0; k < s->terms[o]; k++)
        if (s->place[o][k] < first + s->size && first < s->place[o][k] + s->size)
            return true;
    return false;
}

/* What the call accesses by the reference, and what its adjoint needs. */
static void access_of(move *s)
{
    const bool alpha = s->scalar_active[0][0] || s->scalar_active[0][1];
    const bool beta = s->scalar_active[1][0] || s->scalar_active[1][1];
    const check_number a = s->scalar[0], b = s->scalar[1];
    if (s->terms[0] <= 0)
        return;
    switch (s->routine) {
    case BL_SWAP:
        s->read = s->write = is_same(s) ? 0 : 3;
        break;
    case BL_COPY:
        s->read = is_same(s) ? 0 : 1;
        s->write = is_same(s) ? 0 : 2;
        break;
    case BL_SCAL:
        s->read = s->write = s->ld[0] > 0;
        s->need = s->ld[0] > 0 && alpha;
        break;
    case BL_AXPY:
        s->read = a != 0 || alpha ? 3 : 0;
        s->write = a != 0 ? 2 : 0;
        s->result = alpha ? 2 : 0;
        s->need = alpha;
        break;
    case BL_MSCAL:
        s->read = (a != 0 && a != 1) || alpha;
        s->write = a != 1;
        s->result = s->need = alpha;
        break;
    case BL_MAXPBY:
    case BL_VAXPBY:
        s->read = b != 0 || beta ? 3 : 1;
        s->write = 2;
        s->need = (unsigned)alpha | (unsigned)beta << 1;
        break;
    default:
        s->read = 7;
        s->write = 4;
    }
    s->result |= s->write;
}

/* No rule of the contract forbids where its operands are. */
static bool is_legal(const move *s)
{
    const unsigned outputs = s->routine == BL_SWAP ? 3 : 1u << (is_dot(s) ? 2 : form_of(s).y);
    for (int o = 0; o < s->operands; o++)
        for (int k = 0; k < s->terms[o]; k++)
            if (s->place[o][k] < 0 || s->place[o][k] + s->size > WORLD)
                return false;
    for (int o = 0; o < s->operands; o++) {
        if (s->at[o] >= WORLD)
            return false;
        if (!(outputs >> o & 1))
            continue;
        if (s->ld[o] == 0 && s->n > 1 && s->routine != BL_SCAL &&
            (s->routine != BL_VAXPBY || s->scalar[1] != 1 || s->scalar_active[1][0] || s->scalar_active[1][1]))
            return false;
        if (s->ld[o] == 0 && is_kernel(s) && s->routine != BL_VAXPBY)
            return false;
        for (int i = 0; i < s->operands; i++)
            for (int k = 0; i != o && !is_same(s) && k < s->terms[i]; k++)
                if (shares(s, o, s->place[i][k]))
                    return false;
        for (int i = 0; i < s->scalars; i++)
            if (s->cell[i] != NONE && shares(s, o, s->cell[i]))
                return false;
    }
    return true;
}

/* Numbers stay small. */
static bool is_small(const move *s)
{
    long double sum = 0;
    for (int k = 0; k < s->terms[0] && s->routine != BL_SWAP; k++) {
        const form f = form_of(s);
        if (is_dot(s)) {
            sum += cabsl(s->old[0][k] * s->old[1][k]);
        } else {
            const long double one = cabsl(f.b * s->old[f.y][k]) + (f.x == NONE ? 0 : cabsl(f.a * s->old[f.x][k]));
            sum = s->ld[f.y] == 0 ? sum + one : fmaxl(sum, one);
        }
    }
    return sum < 2;
}

static bool was_returned(check_number x)
{
    bool was = false;
    for (int i = 0; i < returns; i++)
        was |= returned[i] == x;
    return was && x != 0;
}

static bool random_move(move *s, const int *places, int n_places)
{
    for (int attempt = 0; attempt < 800; attempt++) {
        choose(s, places, n_places);
        bool fits = true;
        for (int i = 0; i < s->scalars; i++) {
            for (int part = 0; part < s->size && s->cell[i] != NONE && s->terms[0] > 0; part++)
                s->scalar_active[i][part] = world_active(s->cell[i] + part);
            /* passed on as a constant it would be refused (8) */
            fits &= s->scalar_active[i][0] || s->scalar_active[i][1] || !was_returned(s->scalar[i]);
        }
        if (s->routine == BL_SCAL && s->ld[0] <= 0)
            s->scalar_active[0][0] = s->scalar_active[0][1] = false;
        if (!fits || !is_legal(s))
            continue;
        access_of(s);
        unsigned active = 0, constant = 0;
        for (int o = 0; o < s->operands; o++)
            for (int k = 0; k < s->terms[o]; k++) {
                s->old[o][k] = world_get(s->place[o][k], s->size);
                for (int part = 0; part < s->size; part++) {
                    const int i = s->place[o][k] + part;
                    s->active[o][k * s->size + part] = world_active(i);
                    active |= (unsigned)world_active(i) << o;
                    constant |= (unsigned)(world.owner[i] == CONSTANT) << o;
                }
            }
        s->any = active & s->read;
        for (int i = 0; i < 2; i++)
            s->any |= s->scalar_active[i][0] || s->scalar_active[i][1];
        if (is_dot(s))
            s->need = (active >> 1 & 1) | (active & 1) << 1;
        if (s->terms[0] <= 0)
            s->need = 0;
        if (!(s->any && (constant & s->result)) && is_small(s))
            return true;
    }
    return false;
}

/* Bytes that the contract lets be saved for it, and what is known of memory afterwards. */
static size_t books(const move *s, bool assumed[OPERANDS])
{
    size_t bytes = 0;
    for (int o = 0; o < s->operands; o++) {
        assumed[o] = false;
        for (int r = 0; r < s->terms[o] * s->size; r++) {
            const int i = s->place[o][r / s->size] + r % s->size;
            assumed[o] |= !is_kernel(s) && (s->read >> o & 1) && world.owner[i] == NOBODY && !world.known[i];
            bytes += s->need >> o & 1 ? world_keep(i) : 0;
        }
    }
    for (int o = 0; o < s->operands; o++)
        for (int r = 0; (s->result >> o & 1) && r < s->terms[o] * s->size; r++)
            bytes += world_leave(s->place[o][r / s->size] + r % s->size, s->write >> o & 1, s->any);
    return bytes;
}

/* ---- the call */

typedef void two_vectors(const int32_t *, const void *, const int32_t *, void *, const int32_t *);
typedef void scaled(const int32_t *, const void *, void *, const int32_t *);
typedef void added(const int32_t *, const void *, const void *, const int32_t *, void *, const int32_t *);
typedef void c_two_vectors(int32_t, const void *, int32_t, void *, int32_t);
typedef void c_scaled(int32_t, const void *, void *, int32_t);
typedef void c_scaled_s(int32_t, float, void *, int32_t);
typedef void c_scaled_d(int32_t, double, void *, int32_t);
typedef void c_added(int32_t, const void *, const void *, int32_t, void *, int32_t);
typedef void c_added_s(int32_t, float, const void *, int32_t, void *, int32_t);
typedef void c_added_d(int32_t, double, const void *, int32_t, void *, int32_t);

static void call_fortran(const move *s, check_function f, const void *alpha)
{
    const int32_t n = s->n, inc[] = {s->ld[0], s->ld[1]};
    void *x = world_real(s->at[0]), *y = world_real(s->at[1]);
    if (s->routine == BL_SCAL)
        ((scaled *)f)(&n, alpha, x, inc);
    else if (s->routine == BL_AXPY)
        ((added *)f)(&n, alpha, x, inc, y, inc + 1);
    else
        ((two_vectors *)f)(&n, x, inc, y, inc + 1);
}

static void call_cblas(const move *s, check_function f, const void *alpha)
{
    const int32_t n = s->n, incx = s->ld[0], incy = s->ld[1];
    void *x = world_real(s->at[0]), *y = world_real(s->at[1]);
    if (s->routine == BL_SWAP || s->routine == BL_COPY)
        ((c_two_vectors *)f)(n, x, incx, y, incy);
    else if (s->routine == BL_SCAL && s->size == 2)
        ((c_scaled *)f)(n, alpha, x, incx);
    else if (s->routine == BL_SCAL && s->type == BLASAD_FLOAT)
        ((c_scaled_s *)f)(n, (float)creall(s->scalar[0]), x, incx);
    else if (s->routine == BL_SCAL)
        ((c_scaled_d *)f)(n, (double)creall(s->scalar[0]), x, incx);
    else if (s->size == 2)
        ((c_added *)f)(n, alpha, x, incx, y, incy);
    else if (s->type == BLASAD_FLOAT)
        ((c_added_s *)f)(n, (float)creall(s->scalar[0]), x, incx, y, incy);
    else
        ((c_added_d *)f)(n, (double)creall(s->scalar[0]), x, incx, y, incy);
}

/* As rules of a layer above would. */
static void pass_kernel(const move *s)
{
    bl_call c = {.routine = (uint8_t)s->routine,
                 .type = (uint8_t)s->type,
                 .size = (uint8_t)check_size[s->type],
                 .width = (uint8_t)bl_real_width(s->type),
                 .flag = {'N', 'N', 'N'},
                 .dim = {is_matrix(s, 0) ? s->m : s->n, s->n}};
    const bl_routine_spec *spec = bl_routine_table[s->routine];
    for (int i = 0; i < spec->n_flags; i++)
        if (strcmp(spec->flags[i], "uplo") == 0)
            c.flag[i] = s->uplo;
    for (int o = 0; o < s->operands; o++)
        c.operand[o] = (bl_operand){world_real(s->at[o]), s->ld[o]};
    for (int i = 0; i < s->scalars; i++)
        c.scalar[i] = (bl_scalar){{(double)creall(s->scalar[i]), (double)cimagl(s->scalar[i])},
                                  s->cell[i] == NONE ? NULL : world_real(s->cell[i])};
    bl_pass(bl_thread_state.top, &c);
}

static void make(const move *s)
{
    double value[2] = {0};
    char name[32];
    if (is_kernel(s)) {
        pass_kernel(s);
        return;
    }
    check_set(s->type, value, 0, s->scalar[0]);
    const void *alpha = s->cell[0] == NONE ? value : world_real(s->cell[0]);
    snprintf(name, sizeof name, s->cblas ? "cblas_%c%s" : "%c%s_", "sdcz"[s->type], bl_routine_table[s->routine]->name);
    (s->cblas ? call_cblas : call_fortran)(s, check_entry(name), alpha);
}

/* For whoever reads a failure. */
static void print_program(void)
{
    for (int i = 0; i < world.count; i++) {
        const move *s = &moves[i];
        printf("%3d: ", i);
        if (world.steps[i].kind == END) {
            for (int e = 0; e < WORLD; e++)
                world.steps[i].ended[e] ? (void)printf(" %d", e) : (void)0;
            printf("\n");
            continue;
        }
        printf("%c%s '%c' %dx%d, scalars %g at %d, %g at %d, active %d,", "sdcz"[s->type],
               bl_routine_table[s->routine]->name, s->uplo, s->m, s->n, (double)creall(s->scalar[0]), s->cell[0],
               (double)creall(s->scalar[1]), s->cell[1], s->any);
        for (int o = 0; o < s->operands; o++)
            printf(" %d:%d", s->at[o], s->ld[o]);
        printf("\n");
    }
    for (int i = 0; i < WORLD; i++)
        printf("%s%c", i % 50 ? "" : "\n", world.owner[i] == NOBODY ? '.' : world.owner[i] == ACTIVE ? 'A' : 'c');
    printf("\n");
}

static void random_call(int round, const int *places, int n_places)
{
    move *s = &moves[world.count];
    bool assumed[OPERANDS];
    world.steps[world.count].kind = PRODUCT; /* no end */
    if (!random_move(s, places, n_places))
        return;
    const size_t bytes = books(s, assumed), at = blasad_tape_length(world.tape);
    make(s);
    for (int o = 0; o < s->operands; o++)
        if (s->any && (s->write >> o & 1) && (s->terms[o] == 1 || s->ld[o] == 0))
            returned[returns++ % STEPS] = world_get(s->place[o][0], s->size);
    world_told(round, at, bytes, assumed, s->any);
    if (check_failures)
        print_program();
}

/* ---- derivatives */

static const bool all[2] = {true, true};

static void fetch(const move *s, int o, const long double *shadow, bool masked, check_number *d)
{
    for (int k = 0; k < s->terms[o]; k++)
        d[k] = world_masked(shadow, masked ? &s->active[o][k * s->size] : all, s->place[o][k], s->size);
}

/* Stored where `active`, else nothing is left. */
static void store(const move *s, int o, int k, const bool *active, check_number x, long double *shadow)
{
    const int i = s->place[o][k];
    shadow[i] = shadow[i + s->size - 1] = 0;
    world_add(shadow, active, i, s->size, x);
}

static void add(const move *s, int o, int k, check_number x, long double *shadow)
{
    world_add(shadow, &s->active[o][k * s->size], s->place[o][k], s->size, x);
}

static void add_to_scalar(const move *s, int i, check_number x, long double *shadow)
{
    if (s->cell[i] != NONE)
        world_add(shadow, s->scalar_active[i], s->cell[i], s->size, x);
}

static void back(int step, long double *want)
{
    const move *s = &moves[step];
    check_number g[OPERANDS][TERMS] = {{0}};
    if (world.steps[step].kind == END)
        world_step_back(&world.steps[step], want);
    if (world.steps[step].kind == END || !s->result)
        return;
    for (int o = 0; o < s->operands && s->any; o++)
        fetch(s, o, want, false, g[o]);
    if (s->routine == BL_SWAP) {
        for (int o = 0; o < 2; o++)
            for (int k = 0; k < s->terms[o]; k++)
                store(s, o, k, &s->active[o][k * s->size], g[1 - o][k], want);
        return;
    }
    if (is_dot(s)) {
        store(s, 2, 0, s->active[2], g[2][0], want);
        for (int k = 0; k < s->terms[0]; k++) {
            add(s, 0, k, conjl(g[2][0]) * s->old[1][k], want);
            add(s, 1, k, g[2][0] * s->old[0][k], want);
        }
        return;
    }
    const form f = form_of(s);
    for (int k = 0; k < s->terms[f.y]; k++) {
        store(s, f.y, k, &s->active[f.y][k * s->size], conjl(f.b) * g[f.y][k], want);
        if (f.ib != NONE)
            add_to_scalar(s, f.ib, conjl(s->old[f.y][k]) * g[f.y][k], want);
        if (f.ia != NONE)
            add_to_scalar(s, f.ia, conjl(s->old[f.x][k]) * g[f.y][k], want);
    }
    for (int k = 0; f.x != NONE && k < s->terms[f.x]; k++)
        add(s, f.x, k, conjl(f.a) * g[f.y][k], want);
}

static void on(int step, long double *tangent)
{
    const move *s = &moves[step];
    check_number d[OPERANDS][TERMS], dscalar[2] = {0};
    if (world.steps[step].kind == END)
        world_step_on(&world.steps[step], tangent);
    if (world.steps[step].kind == END || !s->result)
        return;
    for (int o = 0; o < s->operands; o++)
        fetch(s, o, tangent, true, d[o]);
    for (int i = 0; i < s->scalars; i++)
        dscalar[i] = s->cell[i] == NONE ? 0 : world_masked(tangent, s->scalar_active[i], s->cell[i], s->size);
    if (s->routine == BL_SWAP) {
        for (int o = 0; o < 2; o++)
            for (int k = 0; k < s->terms[o]; k++)
                store(s, o, k, all, d[1 - o][k], tangent);
        return;
    }
    if (is_dot(s)) {
        check_number sum = d[2][0];
        for (int k = 0; k < s->terms[0]; k++)
            sum += conjl(d[0][k]) * s->old[1][k] + conjl(s->old[0][k]) * d[1][k];
        store(s, 2, 0, all, sum, tangent);
        return;
    }
    const form f = form_of(s);
    check_number sum = 0;
    for (int k = 0; k < s->terms[f.y]; k++) {
        if (k == 0 || s->ld[f.y] != 0) /* else all is added to one number */
            sum = f.b * d[f.y][k] + (f.ib == NONE ? 0 : dscalar[f.ib] * s->old[f.y][k]);
        if (f.x != NONE)
            sum += f.a * d[f.x][k] + (f.ia == NONE ? 0 : dscalar[f.ia] * s->old[f.x][k]);
        store(s, f.y, k, all, sum, tangent);
    }
}

/* ---- programs */

/* Blocks, interleaved columns, real and imaginary parts, single numbers. */
static void random_annotation(void)
{
    static const enum owner owners[] = {ACTIVE, ACTIVE, ACTIVE, CONSTANT};
    const int64_t step = 1 + check_below(3), shape[2] = {1 + check_below(6), 1 + check_below(4)};
    const int64_t strides[2] = {check_below(4) ? step : -step, shape[0] * step + check_below(4)};
    world_annotate(owners[check_below(4)], (int)check_below(WORLD), (int)check_below(3), shape, strides);
}

static int changes, mixed, same;
static size_t saved;

static bool is_mixed(const move *s)
{
    bool mix = false;
    for (int o = 0; o < s->operands && s->any; o++)
        for (int r = 1; r < s->terms[o] * s->size; r++)
            mix |= s->active[o][r] != s->active[o][0];
    return mix;
}

static void random_program(int round)
{
    static const program vectors = {random_call, back, on};
    double memory[WORLD];
    int places[6];
    const int base = round % 4 == 3 ? BLASAD_FLOAT : BLASAD_DOUBLE, batch = round % 3 == 2 ? BATCH : 1;
    world_begin(base, round % 5 < 2 ? BLASAD_FORWARD : BLASAD_REVERSE, batch, round / 2 % 2, memory);
    returns = 0;
    for (int i = 0; i < 6; i++)
        places[i] = (int)check_below(WORLD - 40);
    /* in some, operands have one owner each */
    const bool large = round % 3 == 1;
    for (int i = 0; large && i < 2; i++)
        world_annotate(ACTIVE, 70 * i, 1, &(int64_t){60}, &(int64_t){1});
    for (int i = 0; i < (large ? 3 : 10 + round % 50); i++)
        random_annotation();
    world_run_program(&vectors, round, 5 + round % (STEPS - 5), places, 6);
    if (check_failures)
        print_program();
    for (int i = 0; i < world.count; i++) {
        if (world.steps[i].kind == END)
            continue;
        changes += moves[i].any && moves[i].result;
        mixed += is_mixed(&moves[i]);
        same += moves[i].any && is_same(&moves[i]);
    }
    saved += world.saved;
    world_end_it();
}

int main(void)
{
    check_backend();
    for (int round = 0; round < ROUNDS && !check_failures; round++)
        random_program(round);
    CHECK(check_failures || (mixed > 8000 && changes > 16000 && saved > 80000 && same > 500),
          "%d active calls, %d of mixed operands, %d of the same, %zu bytes saved: not what was meant", changes, mixed,
          same, saved);
    return check_end();
}
