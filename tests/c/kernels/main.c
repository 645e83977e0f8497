/* The kernels and their rules, called by hand: every kernel, type, flag, shape and set of active arguments against a
 * dense Jacobian made by differences. All numbers are small multiples of 1/8 and no kernel is more than bilinear, so
 * that differences and results are exact. Contract: 2, 3, 4. */
#include "../check.h"
#include "kernels.h"
#include "rules.h"

enum { SIDE = 5, MOST = SIDE * SIDE, PAD = 2, GUARD = 0xA5, ARGUMENTS = BL_MAX_OPERANDS + BL_MAX_SCALARS };

/* The numbers of all arguments in one row: argument i is operand i, or a scalar after those, as in sets of them. */
enum { ROW = BL_MAX_OPERANDS * MOST + BL_MAX_SCALARS };

typedef struct problem {
    int routine, type, output; /* operand that is written */
    char flag[2];
    int64_t m, n;
    int64_t rows[ARGUMENTS], cols[ARGUMENTS];
    int at[ARGUMENTS], count[ARGUMENTS]; /* place in the row; 0 numbers if the kernel has no such argument */
} problem;

static const char *const kernel_name[] = {"mscal", "maxpby", "mconj", "mdot"};

static void lay_out(problem *p)
{
    const bl_routine_spec *s = bl_routine_table[p->routine];
    int at = 0;
    for (int i = 0; i < ARGUMENTS; i++) {
        const bool operand = i < BL_MAX_OPERANDS && i < s->n_operands,
                   scalar = i >= BL_SCALAR_BIT && i < BL_SCALAR_BIT + s->n_scalars;
        const bool single = scalar || (operand && s->operand[i].shape[0][0] == BL_DIM_ONE);
        p->rows[i] = single ? 1 : operand ? p->m : 0;
        p->cols[i] = single ? 1 : operand ? p->n : 0;
        p->at[i] = at;
        p->count[i] = (int)(p->rows[i] * p->cols[i]);
        at += p->count[i];
        if (operand && s->operand[i].output)
            p->output = i;
    }
}

/* ---- what the kernels are, in the longest numbers */

static check_number kept(check_number beta, check_number x) { return beta == 0 ? 0 : beta * x; }

/* The numbers of the output after the call. */
static void evaluate(const problem *p, const check_number *v, check_number *out)
{
    const check_number *a = v + p->at[0], *b = v + p->at[1], *scalar = v + p->at[BL_SCALAR_BIT];
    check_number sum = 0;
    for (int i = 0; i < p->count[0]; i++)
        switch (p->routine) {
        case BL_MSCAL:
            out[i] = kept(check_op(p->flag[0], scalar[0]), a[i]);
            break;
        case BL_MAXPBY:
            out[i] = check_op(p->flag[0], scalar[0]) * a[i] + kept(check_op(p->flag[1], scalar[1]), b[i]);
            break;
        case BL_MCONJ:
            out[i] = conjl(a[i]);
            break;
        default:
            sum += conjl(a[i]) * b[i];
        }
    if (p->routine == BL_MDOT)
        out[0] = v[p->at[2]] + check_op(p->flag[0], sum);
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

typedef struct store {
    _Alignas(16) unsigned char bytes[(SIDE + PAD) * (SIDE + 1) * 16];
    int type;
    int64_t rows, cols, ld;
} store;

static void fill(store *s, const problem *p, int argument, const check_number *row)
{
    memset(s->bytes, GUARD, sizeof s->bytes);
    s->type = p->type;
    s->rows = p->rows[argument];
    s->cols = p->cols[argument];
    s->ld = s->rows + PAD;
    for (int64_t j = 0; j < s->cols; j++)
        for (int64_t i = 0; i < s->rows; i++)
            check_set(s->type, s->bytes, i + j * s->ld, row[p->at[argument] + i + j * s->rows]);
}

/* The store holds `want`, and its guards are as they were. It is spoilt thereby. */
static bool holds(store *s, const check_number *want)
{
    bool good = true;
    for (int64_t j = 0; j < s->cols; j++)
        for (int64_t i = 0; i < s->rows; i++) {
            const check_number x = check_get(s->type, s->bytes, i + j * s->ld), y = want[i + j * s->rows];
            good &= x == y || (x != x && y != y);
            memset(s->bytes + (size_t)(i + j * s->ld) * check_size[s->type], GUARD, check_size[s->type]);
        }
    for (size_t i = 0; i < sizeof s->bytes; i++)
        good &= s->bytes[i] == GUARD;
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
    printf("%s of %s '%c%c' %dx%d, active %x, scalars %g %g: ", what, bl_call_name(&t->call, name), p->flag[0],
           p->flag[1], (int)p->m, (int)p->n, t->active, t->call.scalar[0].value.re, t->call.scalar[1].value.re);
}

#define EXPECT(t, what, condition)                                                                                     \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            describe(t, what);                                                                                         \
            CHECK(condition);                                                                                          \
        }                                                                                                              \
    } while (0)

/* Values in fresh memory, but for operands outside `operands`: those must not be looked at. */
static void place_values(trial *t, unsigned operands)
{
    const problem *p = t->p;
    t->call = (bl_call){.routine = (uint8_t)p->routine,
                        .type = (uint8_t)p->type,
                        .size = (uint8_t)bl_element_size(p->type),
                        .width = (uint8_t)bl_real_width(p->type),
                        .flag = {p->flag[0], p->routine == BL_MAXPBY ? p->flag[1] : 'A', 'A'},
                        .dim = {p->m, p->n}};
    for (int a = 0; a < ARGUMENTS; a++) {
        fill(&t->value[a], p, a, t->row);
        void *at = t->value[a].bytes;
        if (a < BL_SCALAR_BIT)
            t->call.operand[a] = (bl_operand){operands >> a & 1 ? at : NULL, t->value[a].ld};
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
        void *at = t->active >> a & 1 ? t->shadow[a].bytes : NULL;
        if (a < BL_SCALAR_BIT) {
            t->site.shadow[a] = at;
            t->site.shadow_ld[a] = t->shadow[a].ld;
        } else {
            t->site.scalar_shadow[a - BL_SCALAR_BIT] = at;
        }
    }
}

static void rules_keep_values(trial *t, const char *what)
{
    for (int a = 0; a < ARGUMENTS; a++)
        EXPECT(t, what, holds(&t->value[a], t->row + t->p->at[a]));
}

static void access_is(const trial *t, const bl_access *a)
{
    const problem *p = t->p;
    const unsigned output = BL_OPERAND(p->output), scalars = t->active & BL_SCALARS;
    const bool empty = p->m == 0 || p->n == 0, has_beta = p->routine == BL_MSCAL || p->routine == BL_MAXPBY;
    const int beta = p->routine == BL_MSCAL ? 0 : 1;
    const bl_complex value = t->call.scalar[beta].value;
    const bool active = has_beta && (scalars & BL_SCALAR(beta)), zero = has_beta && bl_is_zero(value);
    const bool stays = p->routine == BL_MSCAL && bl_is_one(value);
    const unsigned inputs = p->routine == BL_MDOT ? 3 : p->routine == BL_MSCAL ? 0 : 1;
    const bool reads = p->routine == BL_MDOT || active || (has_beta && !zero && !stays);
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
    bl_run_kernel(&t.call);
    memcpy(want, row, sizeof want);
    evaluate(p, row, want + at);
    for (int i = 0; i < ARGUMENTS; i++)
        EXPECT(&t, "value", holds(&t.value[i], want + p->at[i]));

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
        EXPECT(&t, "tangent", holds(&t.shadow[i], want + p->at[i]));
    rules_keep_values(&t, "values after the tangent");

    /* A seed of an overwritten output is stored over, whatever it is. */
    memcpy(d, shadows, sizeof d);
    if (active == BL_OPERAND(out) && !(a.read & BL_OPERAND(out)) && (a.write & BL_OPERAND(out)))
        spoil(p, out, d);
    static _Alignas(64) unsigned char work[MOST * 16 + 128];
    memset(work, GUARD, sizeof work);
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
        EXPECT(&t, "adjoint", holds(&t.shadow[i], want + p->at[i]));
    for (size_t i = room; i < sizeof work; i++)
        EXPECT(&t, "workspace after the adjoint", work[i] == GUARD);
    rules_keep_values(&t, "values after the adjoint");
}

static void every_activity(const problem *p)
{
    static const double special[] = {0, 1, 0.5};
    const bl_routine_spec *s = bl_routine_table[p->routine];
    const int beta = s->n_scalars - 1, choices = s->n_scalars == 2 ? 9 : s->n_scalars == 1 ? 3 : 1;
    check_number row[ROW], shadows[ROW];
    for (int choice = 0; choice < choices; choice++)
        for (unsigned active = 0; active < 1u << ARGUMENTS; active++) {
            const unsigned scalars = active >> BL_SCALAR_BIT;
            if ((active & 7) >> s->n_operands || scalars >> s->n_scalars)
                continue;
            for (int i = 0; i < ROW; i++) {
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

static void every_call(void)
{
    static const int64_t sizes[] = {0, 1, 2, 3, SIDE};
    for (int routine = BL_FIRST_KERNEL; routine < BL_VAXPBY; routine++)
        for (int type = routine == BL_MCONJ ? BL_C : BL_S; type <= BL_Z; type++)
            for (int flags = 0; flags < 1 << bl_routine_table[routine]->n_flags; flags++)
                for (int i = 0; i < 25; i++) {
                    problem p = {.routine = routine,
                                 .type = type,
                                 .flag = {flags & 1 ? 'C' : 'N', flags & 2 ? 'C' : 'N'},
                                 .m = sizes[i / 5],
                                 .n = sizes[i % 5]};
                    lay_out(&p);
                    every_activity(&p);
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
    double z[] = {INFINITY, 1, 2, -INFINITY}, sum[] = {1, 1, 1, 1};
    bl_madd(&nowhere, BL_Z, 2, 1, (bl_matrix){z, 2}, (bl_matrix){sum, 2});
    CHECK(sum[0] == INFINITY && sum[1] == 2 && sum[2] == 3 && sum[3] == -INFINITY);
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
    for (int i = BL_FIRST_KERNEL; i < BL_VAXPBY; i++)
        CHECK(strcmp(bl_routine_table[i]->name, kernel_name[i - BL_FIRST_KERNEL]) == 0, "%s has no test here",
              bl_routine_table[i]->name);
    every_call();
    copies_are_exact();
    flags_that_are_none();
    return check_end();
}
