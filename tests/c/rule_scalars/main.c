/* What a layer below sees of the calls that rules make: scalars come with the address they were read from, so that they
 * can be active there, and a value of 0 or 1 hides no call; the numbers are the same as with no layer. Contract: 10. */
#include "../check.h"
#include "backend.h"
#include "blas.h"
#include "rules.h"

enum { N = 3, ROOM = 64 + 2 * 192, CALLS = 16, GUARD = 0xA5 };
enum { ALPHA, BETA };

typedef struct spy {
    bl_layer layer;
    bl_call call[CALLS];
    int before, after;
} spy;

static enum bl_seen spy_before(bl_layer *self, const bl_call *c)
{
    spy *s = (spy *)self;
    CHECK(s->before < CALLS);
    s->call[s->before++ % CALLS] = *c;
    return BL_SEEN_AFTER;
}

static void spy_after(bl_layer *self, const bl_call *c)
{
    (void)c;
    ((spy *)self)->after++;
}

/* The calls of a routine, and the last of them. */
static int calls(const spy *s, int routine, const bl_call **last)
{
    int count = 0;
    for (int i = 0; i < s->before; i++)
        if (s->call[i].routine == routine) {
            count++;
            *last = &s->call[i];
        }
    return count;
}

/* A call on N x N matrices with everything that a rule may want, as numbers of any type. */
typedef struct scene {
    bl_call call;
    bl_site site;
    _Alignas(16) double value[3][2 * N * N], shadow[3][2 * N * N], scalar[2][2], scalar_shadow[2][2];
    _Alignas(64) unsigned char work[ROOM + 64];
    size_t room;
    spy spy;
} scene;

enum by { BY_VALUE, BY_ADDRESS };

static void begin(scene *s, int routine, int type, const char *flags, unsigned active, check_number alpha,
                  check_number beta, enum by by)
{
    check_state = 1; /* the same numbers for the same scene */
    memset(s, 0, sizeof *s);
    memset(s->work, GUARD, sizeof s->work);
    s->call = (bl_call){.routine = (uint8_t)routine,
                        .type = (uint8_t)type,
                        .size = (uint8_t)bl_element_size(type),
                        .width = (uint8_t)bl_real_width(type),
                        .flag = {flags[0], flags[1]},
                        .backend = bl_backend_default(),
                        .dim = {N, N, N}};
    s->spy.layer = (bl_layer){.before = spy_before, .after = spy_after};
    s->site = (bl_site){
        .call = &s->call, .path = {.below = &s->spy.layer, .backend = s->call.backend}, .work = (char *)s->work};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < N * N; j++) {
            check_set(type, s->value[i], j, CMPLXL(check_uniform(), check_uniform()));
            check_set(type, s->shadow[i], j, CMPLXL(check_uniform(), check_uniform()));
        }
        s->call.operand[i] = (bl_operand){s->value[i], N};
        s->site.shadow[i] = active & BL_OPERAND(i) ? s->shadow[i] : NULL;
        s->site.shadow_ld[i] = N;
    }
    for (int i = 0; i < 2; i++) {
        check_set(type, s->scalar[i], 0, i == ALPHA ? alpha : beta);
        check_set(type, s->scalar_shadow[i], 0, CMPLXL(check_uniform(), check_uniform()));
        s->call.scalar[i] = (bl_scalar){bl_load(type, s->scalar[i]), by == BY_ADDRESS ? s->scalar[i] : NULL};
        s->site.scalar_shadow[i] = active & BL_SCALAR(i) ? s->scalar_shadow[i] : NULL;
        active |= by == BY_ADDRESS ? BL_OUTER(i) : 0;
    }
    s->room = bl_rules[routine]->workspace(&s->call, active);
    CHECK(s->room <= ROOM);
}

static void end(const scene *s)
{
    CHECK(s->spy.before == s->spy.after, "%d %d", s->spy.before, s->spy.after);
    for (size_t i = s->room; i < sizeof s->work; i++)
        CHECK(s->work[i] == GUARD);
}

static bool reads_from(const bl_call *c, int scalar, const void *address)
{
    const bl_scalar *x = &c->scalar[scalar];
    if (x->address != address || !address)
        return x->address == address;
    const bl_complex there = bl_load(c->type, address);
    return there.re == x->value.re && there.im == x->value.im;
}

enum { MATRICES = BL_OPERAND(0) | BL_OPERAND(1) | BL_OPERAND(2) };

static void adjoint_of_gemm(void)
{
    static scene s;
    for (int type = BL_S; type <= BL_Z; type++)
        for (int by = BY_VALUE; by <= BY_ADDRESS; by++) {
            begin(&s, BL_GEMM, type, "NN", MATRICES, CMPLXL(2, 0.5), CMPLXL(0.25, 3), (enum by)by);
            bl_rules[BL_GEMM]->adjoint(&s.site);
            end(&s);
            const bl_call *gemm = NULL, *conj = NULL, *scale = NULL;
            const bool cell = bl_is_complex(type) && by == BY_ADDRESS;
            CHECK(calls(&s.spy, BL_GEMM, &gemm) == 2 && calls(&s.spy, BL_MSCAL, &scale) == 1);
            CHECK(calls(&s.spy, BL_MCONJ, &conj) == cell + 0);
            if (cell)
                CHECK(conj->dim[0] == 1 && conj->dim[1] == 1 && conj->operand[0].base == s.scalar[ALPHA] &&
                      conj->operand[1].base == s.work);
            CHECK(reads_from(gemm, 0, cell ? (void *)s.work : by == BY_ADDRESS ? s.scalar[ALPHA] : NULL));
            CHECK(gemm->scalar[0].value.re == 2 && gemm->scalar[0].value.im == (bl_is_complex(type) ? -0.5 : 0));
            CHECK(reads_from(gemm, 1, NULL) && bl_is_one(gemm->scalar[1].value));
            CHECK(scale->flag[0] == (bl_is_complex(type) ? 'C' : 'N'));
            CHECK(reads_from(scale, 0, by == BY_ADDRESS ? s.scalar[BETA] : NULL));

            begin(&s, BL_GEMM, type, "NN", MATRICES | BL_SCALARS, 2, 1, (enum by)by);
            bl_rules[BL_GEMM]->adjoint(&s.site);
            end(&s);
            const bl_call *add = NULL, *dot = NULL;
            CHECK(calls(&s.spy, BL_MAXPBY, &add) == 1 && calls(&s.spy, BL_MDOT, &dot) == 2);
            CHECK(reads_from(add, 0, by == BY_ADDRESS ? s.scalar[ALPHA] : NULL));
            CHECK(dot->operand[2].base == s.scalar_shadow[ALPHA]);
            CHECK(calls(&s.spy, BL_MSCAL, &scale) == by); /* by 1: only where it might be active */
        }
}

static void tangent_of_gemm(void)
{
    static scene s;
    for (int type = BL_S; type <= BL_Z; type++) {
        begin(&s, BL_GEMM, type, "NN", MATRICES | BL_SCALARS, 2, 3, BY_ADDRESS);
        bl_rules[BL_GEMM]->tangent(&s.site);
        end(&s);
        const bl_call *gemm = NULL, *add = NULL;
        CHECK(calls(&s.spy, BL_GEMM, &gemm) == 3 && calls(&s.spy, BL_MAXPBY, &add) == 1);
        CHECK(reads_from(gemm, 0, s.scalar_shadow[ALPHA]) && reads_from(gemm, 1, NULL));
        CHECK(reads_from(gemm - 1, 0, s.scalar[ALPHA]));
        CHECK(reads_from(add, 0, s.scalar_shadow[BETA]) && reads_from(add, 1, s.scalar[BETA]));
    }
}

static void rules_of_kernels(void)
{
    static scene s;
    for (int type = BL_S; type <= BL_Z; type++) {
        const bl_call *add = NULL, *scale = NULL;
        begin(&s, BL_MDOT, type, "NA", MATRICES, 0, 0, BY_VALUE);
        bl_rules[BL_MDOT]->adjoint(&s.site);
        end(&s);
        CHECK(calls(&s.spy, BL_MAXPBY, &add) == 2);
        CHECK(reads_from(add, 0, s.shadow[2]) && reads_from(add - 1, 0, s.shadow[2]) && reads_from(add, 1, NULL));

        begin(&s, BL_MSCAL, type, "NA", BL_OPERAND(0), 1, 0, BY_ADDRESS); /* beta is its first scalar */
        bl_rules[BL_MSCAL]->adjoint(&s.site);
        end(&s);
        CHECK(calls(&s.spy, BL_MSCAL, &scale) == 1 && reads_from(scale, 0, s.scalar[0]));

        begin(&s, BL_MAXPBY, type, "NNA", MATRICES, 0, 1, BY_ADDRESS);
        bl_rules[BL_MAXPBY]->adjoint(&s.site);
        end(&s);
        CHECK(calls(&s.spy, BL_MAXPBY, &add) == 1 && calls(&s.spy, BL_MSCAL, &scale) == 1);
        CHECK(reads_from(add, 0, s.scalar[ALPHA]) && reads_from(scale, 0, s.scalar[BETA]));
    }
}

/* The layer is told of a product by 0 that may be active; nobody makes it, so NaN in A does not get anywhere. */
static void products_by_zero(void)
{
    static scene s;
    for (int type = BL_S; type <= BL_Z; type++)
        for (int by = BY_VALUE; by <= BY_ADDRESS; by++)
            for (int tangent = 0; tangent <= 1; tangent++) {
                const bl_call *gemm = NULL;
                begin(&s, BL_GEMM, type, "NN", MATRICES, 0, 2, (enum by)by);
                double before[2][2 * N * N], sum = 0;
                memcpy(before, s.shadow, sizeof before);
                memset(s.value, 0xFF, sizeof s.value); /* NaN */
                (tangent ? bl_rules[BL_GEMM]->tangent : bl_rules[BL_GEMM]->adjoint)(&s.site);
                end(&s);
                CHECK(calls(&s.spy, BL_GEMM, &gemm) == 2 * by);
                CHECK(memcmp(before, s.shadow, sizeof before) == 0);
                for (int i = 0; i < N * N; i++)
                    sum += (double)creall(check_get(type, s.shadow[2], i));
                CHECK(isfinite(sum));
                if (by == BY_ADDRESS)
                    CHECK(bl_is_zero(gemm->scalar[0].value) && gemm->scalar[0].address && reads_from(gemm, 1, NULL));

                bl_access a = {.scalars = by == BY_ADDRESS ? BL_OUTER(ALPHA) : 0};
                const unsigned ab = BL_OPERAND(0) | BL_OPERAND(1);
                bl_rules[BL_GEMM]->access(&s.call, &a);
                CHECK((a.read & ab) == (by == BY_ADDRESS ? ab : 0));
                CHECK((bl_rules[BL_GEMM]->needs(&s.call, ab | a.scalars) & ab) == (by == BY_ADDRESS ? ab : 0));
            }
}

/* With a layer or without, by value or by address: one gradient. */
static void same_numbers(void)
{
    static scene alone, seen;
    static const double special[] = {0, 1, -0.75};
    for (int type = BL_S; type <= BL_Z; type++)
        for (int flags = 0; flags < 9; flags++)
            for (unsigned active = 0; active < 1u << 5; active++)
                for (int choice = 0; choice < 9; choice++)
                    for (int tangent = 0; tangent <= 1; tangent++) {
                        const char op[] = {"NTC"[flags / 3], "NTC"[flags % 3]};
                        check_number x[2] = {special[choice / 3], special[choice % 3]};
                        for (int i = 0; i < 2; i++)
                            x[i] += creall(x[i]) < 0 ? CMPLXL(0, 0.5) : 0;
                        begin(&alone, BL_GEMM, type, op, active, x[0], x[1], BY_VALUE);
                        begin(&seen, BL_GEMM, type, op, active, x[0], x[1], BY_ADDRESS);
                        alone.site.path.below = NULL;
                        const bl_family *f = bl_rules[BL_GEMM];
                        (tangent ? f->tangent : f->adjoint)(&alone.site);
                        (tangent ? f->tangent : f->adjoint)(&seen.site);
                        end(&alone);
                        end(&seen);
                        for (int i = 0; i < 3; i++)
                            for (int j = 0; j < N * N; j++)
                                CHECK(check_close(type, check_get(type, seen.shadow[i], j),
                                                  check_get(type, alone.shadow[i], j)),
                                      "type %d %c%c active %x", type, op[0], op[1], active);
                        for (int i = 0; i < 2; i++)
                            CHECK(check_close(type, check_get(type, seen.scalar_shadow[i], 0),
                                              check_get(type, alone.scalar_shadow[i], 0)));
                    }
}

int main(void)
{
    check_backend();
    adjoint_of_gemm();
    tangent_of_gemm();
    rules_of_kernels();
    products_by_zero();
    same_numbers();
    return check_end();
}
