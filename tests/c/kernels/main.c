/* The kernels and their rules, called by hand: every kernel, type, flag, shape, increment and set of active arguments
 * against a dense Jacobian made by differences. All numbers are small multiples of 1/8 and no kernel is more than
 * bilinear, so that differences and results are exact. What lies between the numbers of an operand, the other triangle
 * included, is NaN that has to stay. Contract: 2, 3, 4. */
#include "../check.h"
#include "kernels.h"
#include "rules.h"

enum { SIDE = 5, MOST = SIDE * SIDE, PAD = 2, ARGUMENTS = BL_MAX_OPERANDS + BL_MAX_SCALARS };

/* The numbers of all arguments in one row: argument i is operand i, or a scalar after those, as in sets of them. */
enum { ROW = BL_MAX_OPERANDS * MOST + BL_MAX_SCALARS };

typedef struct problem {
    int routine, type, output; /* operand that is written */
    char flag[BL_MAX_FLAGS], uplo;
    int64_t m, n; /* of a vector m numbers, and n is 1 */
    int64_t ld[ARGUMENTS];
    int terms;                           /* elements of the result, or of the sum */
    int at[ARGUMENTS], count[ARGUMENTS]; /* place in the row; 0 numbers if the kernel has no such argument */
    int step[ARGUMENTS];                 /* term k has number k * step of an argument: 0 repeats one */
    int64_t offset[ARGUMENTS][MOST];     /* place of each number in memory */
} problem;

/* Those behind them are not multilinear (tests/c/returned). */
enum { MULTILINEAR_END = BL_VSIGN };
static const char *const kernel_name[] = {"mscal", "maxpby", "mconj", "mdot", "vaxpby", "vdot"};

static bool in_triangle(char uplo, int64_t i, int64_t j) { return uplo == 'A' || (uplo == 'U' ? i <= j : i >= j); }

static int lay_out_vector(problem *p, int a)
{
    const int64_t inc = p->ld[a];
    p->step[a] = inc != 0;
    for (int64_t k = 0; k < p->m; k++) /* the first one has the highest address if the increment is negative */
        p->offset[a][k] = inc < 0 ? (k - p->m + 1) * inc : k * inc;
    return (int)(inc == 0 && p->m > 1 ? 1 : p->m);
}

static int lay_out_matrix(problem *p, int a)
{
    int count = 0;
    p->step[a] = 1;
    p->ld[a] = p->m + PAD;
    for (int64_t j = 0; j < p->n; j++)
        for (int64_t i = 0; i < p->m; i++)
            if (in_triangle(p->uplo, i, j))
                p->offset[a][count++] = i + j * p->ld[a];
    return count;
}

/* Increments of vectors are in p->ld. */
static void lay_out(problem *p)
{
    const bl_routine_spec *s = bl_routine_table[p->routine];
    int at = 0;
    p->uplo = 'A';
    for (int i = 0; i < s->n_flags; i++)
        p->uplo = strcmp(s->flags[i], "uplo") == 0 ? p->flag[i] : p->uplo;
    for (int a = 0; a < ARGUMENTS; a++) {
        const bool operand = a < s->n_operands, scalar = a >= BL_SCALAR_BIT && a < BL_SCALAR_BIT + s->n_scalars;
        p->offset[a][0] = 0;
        if (operand && s->operand[a].storage == BL_VECTOR) {
            p->count[a] = lay_out_vector(p, a);
        } else if (operand && s->operand[a].shape[0][0] != BL_DIM_ONE) {
            p->count[a] = lay_out_matrix(p, a);
        } else {
            p->count[a] = operand || scalar;
            p->ld[a] = 1;
        }
        p->at[a] = at;
        at += p->count[a];
        if (operand && s->operand[a].output)
            p->output = a;
    }
    p->terms = s->n_dims == 1 ? (int)p->m : p->count[0];
}

/* ---- what the kernels are, in the longest numbers */

static check_number kept(check_number beta, check_number x) { return beta == 0 ? 0 : beta * x; }

/* The numbers of the output after the call. */
static void evaluate(const problem *p, const check_number *v, check_number *out)
{
    const check_number *a = v + p->at[0], *b = v + p->at[1], *scalar = v + p->at[BL_SCALAR_BIT];
    const char *flag = p->flag;
    check_number sum = 0;
    if (p->routine == BL_VAXPBY)
        memcpy(out, b, (size_t)p->count[1] * sizeof *out);
    for (int k = 0; k < p->terms; k++) {
        const check_number x = a[k * p->step[0]], y = b[k * p->step[1]];
        check_number *to = &out[k * p->step[p->output]];
        switch (p->routine) {
        case BL_MSCAL:
            *to = kept(check_op(flag[0], scalar[0]), x);
            break;
        case BL_MAXPBY:
            *to = check_op(flag[0], scalar[0]) * x + kept(check_op(flag[1], scalar[1]), y);
            break;
        case BL_MCONJ:
            *to = conjl(x);
            break;
        case BL_VAXPBY: /* all on one number if the increment is 0 */
            *to = check_op(flag[0], scalar[0]) * check_op(flag[2], x) + kept(check_op(flag[1], scalar[1]), *to);
            break;
        default:
            sum += conjl(x) * y;
        }
    }
    if (p->routine == BL_MDOT || p->routine == BL_VDOT)
        out[0] = v[p->at[2]] + check_op(flag[0], sum);
}

/* Column of the Jacobian: how the output moves with the real or imaginary part of number i of the row. */
static void column(const problem *p, const check_number *v, int i, bool imaginary, check_number *out)
{
    check_number moved[ROW], before[MOST];
    memcpy(moved, v, sizeof moved);
    moved[i] += imaginary ? (check_number)CMPLXL(0, 1) : 1;
    evaluate(p, v, before);
    evaluate(p, moved, out);
    for (int j = 0; j < p->count[p->output]; j++)
        out[j] -= before[j];
}

static void want_tangent(const problem *p, unsigned active, const check_number *v, const check_number *d,
                         check_number *want)
{
    check_number c[MOST];
    memset(want, 0, (size_t)p->count[p->output] * sizeof *want);
    for (int a = 0; a < ARGUMENTS; a++)
        for (int i = p->at[a]; (active >> a & 1) && i < p->at[a] + p->count[a]; i++)
            for (int part = 0; part <= bl_is_complex(p->type); part++) {
                column(p, v, i, part, c);
                for (int j = 0; j < p->count[p->output]; j++)
                    if (c[j] != 0) /* the old tangent may be NaN where it does not matter */
                        want[j] += (part ? cimagl(d[i]) : creall(d[i])) * c[j];
            }
}

/* All shadows afterwards, in `want`. */
static void want_adjoint(const problem *p, unsigned active, const check_number *v, const check_number *d,
                         check_number *want)
{
    check_number c[MOST];
    const check_number *G = d + p->at[p->output];
    memcpy(want, d, ROW * sizeof *want);
    for (int a = 0; a < ARGUMENTS; a++)
        for (int i = p->at[a]; (active >> a & 1) && i < p->at[a] + p->count[a]; i++) {
            long double sum[2] = {0};
            for (int part = 0; part <= bl_is_complex(p->type); part++) {
                column(p, v, i, part, c);
                for (int j = 0; j < p->count[p->output]; j++)
                    if (c[j] != 0)
                        sum[part] += creall(conjl(G[j]) * c[j]);
            }
            want[i] = (a == p->output ? 0 : d[i]) + CMPLXL(sum[0], sum[1]);
        }
}

/* ---- memory with guards */

enum { WORDS = (SIDE + PAD) * (SIDE + 1) * 4 };

typedef struct store {
    _Alignas(16) uint32_t words[WORDS];
    uint32_t guard; /* a quiet NaN, also as either half of a double */
} store;

static void fill(store *s, const problem *p, int argument, const check_number *row)
{
    s->guard = UINT32_C(0xFFFCA500) + (uint32_t)argument; /* one guard copied to another is seen */
    for (int i = 0; i < WORDS; i++)
        s->words[i] = s->guard;
    for (int i = 0; i < p->count[argument]; i++)
        check_set(p->type, s->words, p->offset[argument][i], row[p->at[argument] + i]);
}

/* The store holds the argument of the row `want`, and its guards are as they were. It is spoilt thereby. */
static bool holds(store *s, const problem *p, int argument, const check_number *want)
{
    const size_t width = check_size[p->type] / 4;
    bool good = true;
    for (int i = 0; i < p->count[argument]; i++) {
        const int64_t at = p->offset[argument][i];
        const check_number x = check_get(p->type, s->words, at), y = want[p->at[argument] + i];
        good &= x == y || (x != x && y != y);
        for (size_t k = 0; k < width; k++)
            s->words[(size_t)at * width + k] = s->guard;
    }
    for (int i = 0; i < WORDS; i++)
        good &= s->words[i] == s->guard;
    return good;
}

static check_number number(int type)
{
    const double re = (double)(check_below(33) - 16) / 8, im = (double)(check_below(33) - 16) / 8;
    return CMPLXL(re, bl_is_complex(type) ? im : 0);
}

static void spoil(const problem *p, int argument, check_number *row)
{
    for (int i = 0; i < p->count[argument]; i++)
        row[p->at[argument] + i] = NAN;
}

/* ---- one call */

typedef struct trial {
    const problem *p;
    unsigned active;
    const check_number *row;
    store value[ARGUMENTS], shadow[ARGUMENTS];
    bl_call call;
    bl_site site;
} trial;

static void describe(const trial *t, const char *what)
{
    const problem *p = t->p;
    char name[16];
    printf("%s of %s '%.4s' %dx%d, increments %d %d, active %x, scalars %g %g: ", what, bl_call_name(&t->call, name),
           p->flag, (int)p->m, (int)p->n, (int)p->ld[0], (int)p->ld[1], t->active, t->call.scalar[0].value.re,
           t->call.scalar[1].value.re);
}

#define EXPECT(t, what, condition) expect(t, what, #condition, condition)

static void expect(const trial *t, const char *what, const char *condition, bool good)
{
    if (!good)
        describe(t, what);
    CHECK(good, "%s", condition);
}

/* Values in fresh memory, but for operands outside `operands`: those must not be looked at. */
static void place_values(trial *t, unsigned operands)
{
    const problem *p = t->p;
    t->call = (bl_call){.routine = (uint8_t)p->routine,
                        .type = (uint8_t)p->type,
                        .size = (uint8_t)bl_element_size(p->type),
                        .width = (uint8_t)bl_real_width(p->type),
                        .dim = {p->m, p->n}};
    memcpy(t->call.flag, p->flag, sizeof p->flag);
    for (int a = 0; a < ARGUMENTS; a++) {
        fill(&t->value[a], p, a, t->row);
        void *at = t->value[a].words;
        if (a < BL_SCALAR_BIT)
            t->call.operand[a] = (bl_operand){operands >> a & 1 ? at : NULL, p->ld[a]};
        else
            t->call.scalar[a - BL_SCALAR_BIT] = (bl_scalar){bl_load(p->type, at), at};
    }
}

static void place_shadows(trial *t, const check_number *d)
{
    const problem *p = t->p;
    t->site = (bl_site){.call = &t->call};
    for (int a = 0; a < ARGUMENTS; a++) {
        fill(&t->shadow[a], p, a, d);
        void *at = t->active >> a & 1 ? t->shadow[a].words : NULL;
        if (a < BL_SCALAR_BIT) {
            t->site.shadow[a] = at;
            t->site.shadow_ld[a] = p->ld[a];
        } else {
            t->site.scalar_shadow[a - BL_SCALAR_BIT] = at;
        }
    }
}

static void rules_keep_values(trial *t, const char *what)
{
    for (int a = 0; a < ARGUMENTS; a++)
        EXPECT(t, what, holds(&t->value[a], t->p, a, t->row));
}

static void access_is(const trial *t, const bl_access *a)
{
    const problem *p = t->p;
    const unsigned output = BL_OPERAND(p->output), scalars = t->active & BL_SCALARS;
    const int scalars_of = bl_routine_table[p->routine]->n_scalars, beta = scalars_of - 1;
    const bool empty = p->m == 0 || p->n == 0, sums = p->routine == BL_MDOT || p->routine == BL_VDOT;
    const bl_complex value = scalars_of ? t->call.scalar[beta].value : (bl_complex){0, 0};
    const bool active = scalars_of && (scalars & BL_SCALAR(beta)), zero = bl_is_zero(value);
    const bool stays = p->routine == BL_MSCAL && bl_is_one(value);
    const unsigned inputs = sums ? 3 : p->routine == BL_MSCAL ? 0 : 1;
    const bool reads = sums || active || (!zero && !stays);
    EXPECT(t, "read", a->read == (empty ? 0 : inputs | (reads ? output : 0)));
    EXPECT(t, "write", a->write == (empty || stays ? 0 : output));
    EXPECT(t, "result", a->result == (empty || (stays && !active) ? 0 : output));
    EXPECT(t, "scalars", a->scalars == (empty ? 0 : scalars));
}

static void one_call(const problem *p, unsigned active, const check_number *row, const check_number *shadows)
{
    static trial t;
    const bl_family *f = bl_rules[p->routine];
    const int out = p->output, at = p->at[out];
    check_number want[ROW], d[ROW];
    t.p = p;
    t.active = active;
    t.row = row;

    place_values(&t, ~0u);
    EXPECT(&t, "check",
           strcmp(f->spec->name, kernel_name[p->routine - BL_FIRST_KERNEL]) == 0 && f->spec->check(&t.call) == 0);
    bl_access a = {.scalars = active & BL_SCALARS};
    f->access(&t.call, &a);
    access_is(&t, &a);
    place_values(&t, a.read | a.write);
    if (p->terms == 0 && p->count[out]) /* which a sum of nothing would change */
        check_set(p->type, t.value[out].words, 0, CMPLXL(-0.0L, -0.0L));
    const store before = t.value[out];
    bl_run_kernel(&t.call);
    if (p->terms == 0) {
        EXPECT(&t, "empty", memcmp(&before, &t.value[out], sizeof before) == 0);
        fill(&t.value[out], p, out, row);
    }
    memcpy(want, row, sizeof want);
    evaluate(p, row, want + at);
    for (int i = 0; i < ARGUMENTS; i++)
        EXPECT(&t, "value", holds(&t.value[i], p, i, want));

    /* The old output does not matter: its value and its tangent may be anything. */
    memcpy(d, shadows, sizeof d);
    if (!(a.read & BL_OPERAND(out)) && (a.write & BL_OPERAND(out)))
        spoil(p, out, d);
    place_values(&t, a.read);
    place_shadows(&t, d);
    f->tangent(&t.site);
    memcpy(want, d, sizeof want);
    if (active >> out & 1)
        want_tangent(p, active, row, d, want + at);
    for (int i = 0; i < ARGUMENTS; i++)
        EXPECT(&t, "tangent", holds(&t.shadow[i], p, i, want));
    rules_keep_values(&t, "values after the tangent");

    /* A seed of an overwritten output is stored over, whatever it is. */
    memcpy(d, shadows, sizeof d);
    if (active == BL_OPERAND(out) && !(a.read & BL_OPERAND(out)) && (a.write & BL_OPERAND(out)))
        spoil(p, out, d);
    static _Alignas(64) unsigned char work[MOST * 16 + 128];
    memset(work, 0xA5, sizeof work);
    const size_t room = f->workspace(&t.call, active);
    EXPECT(&t, "workspace", room + 64 <= sizeof work);
    place_values(&t, f->needs(&t.call, active));
    place_shadows(&t, d);
    t.site.work = (char *)work;
    f->adjoint(&t.site);
    if (active >> out & 1)
        want_adjoint(p, active, row, d, want);
    else
        memcpy(want, d, sizeof want);
    for (int i = 0; i < ARGUMENTS; i++)
        EXPECT(&t, "adjoint", holds(&t.shadow[i], p, i, want));
    for (size_t i = room; i < sizeof work; i++)
        EXPECT(&t, "workspace after the adjoint", work[i] == 0xA5);
    rules_keep_values(&t, "values after the adjoint");
}

static void every_activity(const problem *p)
{
    static const double special[] = {0, 1, 0.5};
    const bl_routine_spec *s = bl_routine_table[p->routine];
    const int beta = s->n_scalars - 1, choices = s->n_scalars == 2 ? 9 : s->n_scalars == 1 ? 3 : 1;
    const bool adds = p->step[p->output] == 0 && p->routine == BL_VAXPBY; /* goes with beta = 1 */
    const int numbers = p->at[ARGUMENTS - 1] + p->count[ARGUMENTS - 1];
    check_number row[ROW] = {0}, shadows[ROW] = {0};
    for (int choice = 0; choice < choices; choice++)
        for (unsigned active = 0; active < 1u << ARGUMENTS; active++) {
            const unsigned scalars = active >> BL_SCALAR_BIT;
            if ((active & 7) >> s->n_operands || scalars >> s->n_scalars)
                continue;
            if (adds && ((scalars >> beta & 1) || special[choice / 3] != 1))
                continue;
            for (int i = 0; i < numbers; i++) {
                row[i] = number(p->type);
                shadows[i] = number(p->type);
            }
            for (int i = 0, c = choice; i < s->n_scalars; i++, c /= 3)
                if (c % 3 < 2)
                    row[p->at[BL_SCALAR_BIT + i]] = special[c % 3];
            if (beta >= 0 && row[p->at[BL_SCALAR_BIT + beta]] == 0 && !(scalars >> beta & 1))
                spoil(p, p->output, row);
            one_call(p, active, row, shadows);
        }
}

/* Sets the flags to choice number `choice`; false if there are not so many. */
static bool choose_flags(problem *p, int choice)
{
    const bl_routine_spec *s = bl_routine_table[p->routine];
    for (int i = 0; i < s->n_flags; i++) {
        const char *letters = strcmp(s->flags[i], "uplo") == 0 ? "AUL" : "NC";
        const int count = (int)strlen(letters);
        p->flag[i] = letters[choice % count];
        choice /= count;
    }
    return choice == 0;
}

static void every_matrix(problem p)
{
    static const int64_t sizes[] = {0, 1, 2, 3, SIDE};
    for (int i = 0; i < 25; i++) {
        p.m = sizes[i / 5];
        p.n = sizes[i % 5];
        lay_out(&p);
        if (p.uplo == 'A' || p.m == p.n)
            every_activity(&p);
    }
}

static void every_vector(problem p)
{
    static const int64_t sizes[] = {0, 1, 2, SIDE}, increments[] = {1, 2, -1, -3, 0};
    p.n = 1;
    for (int i = 0; i < 100; i++) {
        p.m = sizes[i / 25];
        p.ld[0] = increments[i / 5 % 5];
        p.ld[1] = increments[i % 5];
        lay_out(&p);
        every_activity(&p);
    }
}

static void every_call(void)
{
    for (int routine = BL_FIRST_KERNEL; routine < MULTILINEAR_END; routine++)
        for (int type = routine == BL_MCONJ ? BL_C : BL_S; type <= BL_Z; type++) {
            problem p = {.routine = routine, .type = type};
            for (int choice = 0; choose_flags(&p, choice); choice++)
                if (bl_routine_table[routine]->n_dims == 1)
                    every_vector(p);
                else
                    every_matrix(p);
        }
}

/* ---- what numbers of every kind come out of */

static void copies_are_exact(void)
{
    const bl_path nowhere = {0};
    for (int type = BL_S; type <= BL_Z; type++) {
        unsigned char a[96], c[96];
        for (size_t i = 0; i < sizeof a; i++)
            a[i] = (unsigned char)(check_below(2) ? 0xFF : check_below(256)); /* many NaNs of many kinds */
        memset(c, 0, sizeof c);
        const int64_t rows = 2, ld = 3;
        bl_mcopy(&nowhere, type, rows, 2, (bl_matrix){a, ld}, (bl_matrix){c, ld});
        const size_t size = check_size[type], column = (size_t)ld * size;
        for (size_t j = 0; j < 2; j++)
            CHECK(memcmp(a + j * column, c + j * column, (size_t)rows * size) == 0, "type %d", type);
        for (size_t i = (size_t)rows * size; i < column; i++)
            CHECK(c[i] == 0);
    }
    for (int type = BL_S; type <= BL_Z; type++)
        for (int k = 0; k < 4; k++) {
            const int64_t inc[2] = {k & 1 ? -2 : 2, k & 2 ? -1 : 1};
            const size_t size = check_size[type];
            unsigned char x[6 * 16], y[3 * 16];
            for (size_t i = 0; i < sizeof x; i++)
                x[i] = (unsigned char)(check_below(2) ? 0xFF : check_below(256));
            bl_vaxpby(&nowhere, type, 3, 'N', BL_ONE, 'N', (bl_matrix){x, inc[0]}, 'N', BL_ZERO,
                      (bl_matrix){y, inc[1]});
            for (size_t i = 0; i < 3; i++)
                CHECK(memcmp(y + (k == 0 || k == 3 ? i : 2 - i) * size, x + 2 * i * size, size) == 0, "type %d, %d",
                      type, k);
        }
    double z[] = {INFINITY, 1, 2, -INFINITY}, sum[] = {1, 1, 1, 1};
    bl_madd(&nowhere, BL_Z, 2, 1, (bl_matrix){z, 2}, (bl_matrix){sum, 2});
    CHECK(sum[0] == INFINITY && sum[1] == 2 && sum[2] == 3 && sum[3] == -INFINITY);
    double v[] = {1, 1, 0, 0, 1, 1};
    bl_vaxpby(&nowhere, BL_Z, 2, 'N', BL_ONE, 'N', (bl_matrix){z, -1}, 'N', BL_ONE, (bl_matrix){v, 2});
    CHECK(v[0] == 3 && v[1] == -INFINITY && v[2] == 0 && v[3] == 0 && v[4] == INFINITY && v[5] == 2);
}

static void flags_that_are_none(void)
{
    bl_call c = {.routine = BL_MAXPBY, .flag = {'N', 'T', 'A'}, .dim = {1, 1}, .operand = {{NULL, 1}, {NULL, 1}}};
    CHECK(bl_routine_table[BL_MAXPBY]->check(&c) == 2);
    c.flag[1] = 'C';
    CHECK(bl_routine_table[BL_MAXPBY]->check(&c) == 0);
    c.flag[0] = '?';
    CHECK(bl_routine_table[BL_MAXPBY]->check(&c) == 1);
}

int main(void)
{
    for (int i = BL_FIRST_KERNEL; i < MULTILINEAR_END; i++)
        CHECK(i - BL_FIRST_KERNEL < (int)(sizeof kernel_name / sizeof *kernel_name) &&
                  strcmp(bl_routine_table[i]->name, kernel_name[i - BL_FIRST_KERNEL]) == 0,
              "%s has no test here", bl_routine_table[i]->name);
    every_call();
    copies_are_exact();
    flags_that_are_none();
    return check_end();
}
