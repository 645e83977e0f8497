#include "backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "kernels.h"
#include "lacking.h"
#include "record.h"
#include "turned.h"

enum { POOL_SIZE = 4096, /* BL_POOL_SIZE of thunk.S */ BACKENDS = 2 * POOL_SIZE };
extern const char bl_pool_thunks[];
bl_binding bl_pool_binding[POOL_SIZE];

/* Guards the lists below and the default. Tables and bindings are complete before a pointer to them leaves it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void bl_backends_lock(void) { pthread_mutex_lock(&lock); }
void bl_backends_unlock(void) { pthread_mutex_unlock(&lock); }

/* The decorations by which BLAS libraries name `dgemm`, and the ABI that goes with each before the width is probed. */
static const struct {
    const char *pattern;
    bool cblas;
} decorations[] = {
    {"%s_", false},           {"%s_64_", false},           {"%s_64", false},
    {"%s64_", false},         {"scipy_%s_", false},        {"scipy_%s_64_", false},
    {"cblas_%s", true},       {"cblas_%s64_", true},       {"cblas_%s_64", true},
    {"scipy_cblas_%s", true}, {"scipy_cblas_%s64_", true},
};
enum { DECORATIONS = sizeof decorations / sizeof *decorations };

/* Where functions come from: a library and a decoration, or a list of names and addresses. */
typedef struct source {
    void *handle;
    const char *pattern;
    int count;
    const char *const *names;
    void *const *functions;
} source;

static void *find(const source *s, const char *routine)
{
    if (s->handle) {
        char name[64];
        snprintf(name, sizeof name, s->pattern, routine);
        return dlsym(s->handle, name);
    }
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->names[i], routine) == 0)
            return s->functions[i];
    return NULL;
}

/* POSIX gives dlsym's result a meaning as a function pointer; ISO C wants it said. */
static void (*as_function(void *p))(void)
{
    void (*f)(void);
    memcpy(&f, &p, sizeof f);
    return f;
}

/* Width of the integers, in bits; 0 if the library cannot be asked.
 *
 * isamax is told that n is 0xffffffff00000003. Read as 32 bits that is 3 and the answer is where the largest of three
 * elements is; read as 64 bits it is negative, for which isamax answers 0. No n is an error to isamax, so xerbla,
 * which has been known to stop programs, is never provoked (libblastrampoline #101). */
static int probe_width(const source *s, bool cblas)
{
    void *f = find(s, "isamax");
    if (!f)
        return 0;
    const float x[3] = {1, 2, 3};
    const int64_t n = (int64_t)0xffffffff00000003, inc = 1;
    int64_t at = cblas ? ((int64_t (*)(int64_t, const float *, int64_t))as_function(f))(n, x, inc)
                       : ((int64_t (*)(const int64_t *, const float *, const int64_t *))as_function(f))(&n, x, &inc);
    return (int32_t)at == 0 ? 64 : 32; /* the upper half of a 32-bit answer is undefined */
}

/* zdotu is called so that both conventions are harmless and tell themselves apart: read with the value in registers,
 * the arguments are n = 1, x = (0, 1), inc = 1, y = (1, 0), inc = 1. Read with a hidden first pointer they are the
 * place of the result, n = 0 (the first bytes of x), and anything; the result, 0, then overwrites our n. */
static int probe_complex(const source *s)
{
    typedef double _Complex (*zdotu)(void *, void *, void *, void *, void *, void *);
    void *f = find(s, "zdotu");
    if (!f)
        return BL_COMPLEX_UNKNOWN;
    union {
        int64_t i[2];
        double d[2];
    } n = {.i = {1, 1}}, x = {.d = {0, 1}}, inc = {.i = {1, 1}}, y = {.d = {1, 0}};
    double _Complex value = ((zdotu)as_function(f))(&n, &x, &inc, &y, &inc, &inc);
    if (n.i[0] == 0 && n.i[1] == 0)
        return BL_COMPLEX_POINTER;
    double part[2];
    memcpy(part, &value, sizeof part);
    return n.i[0] == 1 && part[0] == 0 && part[1] == 1 ? BL_COMPLEX_REGISTERS : BL_COMPLEX_UNKNOWN;
}

static const bl_backend *made[BACKENDS];
static int made_count; /* under the lock */

const bl_backend *bl_backend_of(uint16_t id) { return made[id]; }

/* What the routine is called without decoration; C cannot return complex numbers. */
static const char *plain_name(int routine, int type, bool cblas, char buffer[static 32])
{
    snprintf(buffer, 32, "%s%s", bl_routine_name(routine, type),
             cblas && bl_returns_complex(routine, type) ? "_sub" : "");
    return buffer;
}

/* The function that serves the routine; it may have two names, each of them with a function of its own. */
static void *find_routine(const source *s, int routine, int type, bool cblas)
{
    char name[32];
    void *found = find(s, plain_name(routine, type, cblas, name));
    const char *alias = bl_routine_table[routine]->alias[type];
    return found || !alias ? found : find(s, alias);
}

static bool is_called(const source *s, int routine, int type, bool cblas, const void *address)
{
    char name[32];
    const char *alias = bl_routine_table[routine]->alias[type];
    return find(s, plain_name(routine, type, cblas, name)) == address || (alias && find(s, alias) == address);
}

/* A table from a source, or NULL with the error set; under the lock. `width` 0: probe. */
static bl_backend *make(const source *s, bool cblas, int width, const char *path)
{
    bl_backend *b = calloc(1, sizeof *b);
    char *name = strdup(path);
    if (!b || !name || made_count == BACKENDS) {
        free(b);
        free(name);
        bl_fail(BLASAD_MEMORY, "no memory, or no place, for the table of %s", path);
        return NULL;
    }
    b->path = name;
    b->id = (uint16_t)made_count;
    b->width = width ? width : probe_width(s, cblas);
    b->complex_return = cblas ? BL_COMPLEX_UNKNOWN : probe_complex(s);
    for (int r = 0; r < BL_ALL; r++)
        for (int t = 0; t < 4; t++) {
            if ((r >= BL_FIRST_KERNEL && r <= BL_OPERATION) || !bl_routine_table[r]->called[t])
                continue;
            b->function[r][t].run = as_function(find_routine(s, r, t, cblas));
            b->function[r][t].abi = (uint8_t)((cblas ? BL_C32 : BL_F32) + (b->width == 64));
            if (r >= BL_FIRST_KERNEL)
                continue; /* a sequence, which only a program calls */
            b->function[r][t].call = bl_callers[r][t][b->function[r][t].abi];
            if (b->complex_return == BL_COMPLEX_POINTER && bl_returns_complex(r, t))
                b->function[r][t].call = bl_hidden_callers[r][t][b->width == 64];
        }
    made[made_count++] = b;
    return b;
}

/* Of the backend that was made last, before anybody saw it. */
static void discard(bl_backend *b)
{
    made[--made_count] = NULL;
    free((void *)(uintptr_t)b->path);
    free(b);
}

/* Without these there is not much that a BLAS could serve. Any other that it lacks is missed when it is called. */
static const char *first_missing(const bl_backend *b, char buffer[static 32])
{
    for (int t = 0; t < 4; t++)
        if (!b->function[BL_GEMM][t].run) {
            snprintf(buffer, 32, "%cgemm", bl_type_letter[t]);
            return buffer;
        }
    return NULL;
}

/* ---- the default */

static const bl_backend *builtin, *chosen; /* under the lock */
static _Atomic(const bl_backend *) current;

const bl_backend *bl_backend_default(void) { return atomic_load_explicit(&current, memory_order_acquire); }

/* Points every name at `b`. No tape is open anywhere, and a caller that races with this is served by the old or the
 * new BLAS as a whole: the fields are independent of one another. */
static void install(const bl_backend *b)
{
    for (int i = 0; i < BL_SYMBOLS; i++) {
        const bl_symbol_info *s = &bl_symbol_table[i];
        /* blasad's own functions return complex numbers in registers */
        const bool hidden = b && b->complex_return == BL_COMPLEX_POINTER && bl_returns_complex(s->routine, s->type);
        bool same = b && b->function[s->routine][s->type].abi == s->abi && !hidden;
        __atomic_store_n(&bl_name_binding[i].backend, b, __ATOMIC_RELEASE);
        __atomic_store_n(&bl_name_binding[i].real, same ? b->function[s->routine][s->type].run : NULL,
                         __ATOMIC_RELEASE);
    }
    atomic_store_explicit(&current, b, memory_order_release);
}

static int adopt(bl_backend *b, const bl_backend **slot)
{
    char missing[32];
    if (!b)
        return BLASAD_MEMORY;
    if (first_missing(b, missing)) {
        int code = bl_fail(BLASAD_BACKEND,
                           "%s cannot be the BLAS behind blasad: it has no %s; name the shared library of a "
                           "BLAS (OpenBLAS, BLIS, MKL, the reference)",
                           b->path, missing);
        discard(b);
        return code;
    }
    if (b->width == 0) {
        int code =
            bl_fail(BLASAD_BACKEND, "the width of the integers of %s cannot be probed: it has no isamax", b->path);
        discard(b);
        return code;
    }
    *slot = b;
    install(chosen ? chosen : builtin);
    return BLASAD_OK;
}

static int nothing_open(void)
{
    if (atomic_load(&bl_armed) == 0)
        return BLASAD_OK;
    return bl_fail(BLASAD_TAPE, "a tape is recording: the BLAS behind blasad can be changed when no tape is open");
}

/* Under the lock. */
static int load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return bl_fail(BLASAD_BACKEND, "%s cannot be loaded: %s", path, dlerror());
    for (int d = 0; d < DECORATIONS; d++) {
        source s = {.handle = handle, .pattern = decorations[d].pattern};
        if (find(&s, "dgemm")) /* the handle is kept, and the library with it */
            return adopt(make(&s, decorations[d].cblas, 0, path), &chosen);
    }
    dlclose(handle);
    return bl_fail(BLASAD_BACKEND, "%s is no BLAS: it has no dgemm under any known name", path);
}

BL_EXPORT int blasad_set_backend(const char *path)
{
    int code = nothing_open();
    if (code != BLASAD_OK)
        return code;
    pthread_mutex_lock(&lock);
    if (path) {
        code = load(path);
    } else {
        chosen = NULL;
        install(builtin);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

BL_EXPORT int blasad_set_backend_functions(const char *label, int count, const char *const *names,
                                           void *const *functions)
{
    int code = nothing_open();
    if (code != BLASAD_OK)
        return code;
    pthread_mutex_lock(&lock);
    source s = {.count = count, .names = names, .functions = functions};
    code = adopt(make(&s, false, 0, label), &builtin);
    pthread_mutex_unlock(&lock);
    return code;
}

BL_EXPORT const char *blasad_backend(int *integer_bits, int *complex_in_registers)
{
    const bl_backend *b = bl_backend_default();
    if (!b)
        return NULL;
    *integer_bits = b->width;
    *complex_in_registers = b->complex_return == BL_COMPLEX_REGISTERS;
    return b->path;
}

/* ---- names and wrapped pointers */

BL_EXPORT int blasad_name_count(void) { return BL_SYMBOLS; }
BL_EXPORT const char *blasad_name(int index) { return bl_symbol_table[index].name; }

static const bl_symbol_info *symbol_of(const char *name)
{
    for (int i = 0; i < BL_SYMBOLS; i++)
        if (strcmp(bl_symbol_table[i].name, name) == 0)
            return &bl_symbol_table[i];
    return NULL;
}

static void *as_pointer(void (*f)(void))
{
    void *p;
    memcpy(&p, &f, sizeof p);
    return p;
}

BL_EXPORT void *blasad_address(const char *name)
{
    const bl_symbol_info *s = symbol_of(name);
    return s ? as_pointer(s->thunk) : NULL;
}

/* Backends of wrapped pointers, one for each library and decoration; under the lock. */
typedef struct known {
    struct known *next;
    void *handle;
    const char *pattern;
    bl_backend *backend;
} known;
static known *libraries;
static int pool_used;

/* The library that `address` comes from, if it is what that library calls this routine. */
static bl_backend *library_of(void *address, const bl_symbol_info *name)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname || !*info.dli_fname)
        return NULL;
    void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!handle)
        return NULL;
    for (int d = 0; d < DECORATIONS; d++) {
        source s = {.handle = handle, .pattern = decorations[d].pattern};
        if (!is_called(&s, name->routine, name->type, bl_abi_is_cblas(name->abi), address))
            continue;
        for (known *k = libraries; k; k = k->next)
            if (k->handle == handle && k->pattern == s.pattern) {
                dlclose(handle); /* the list holds it already */
                return k->backend;
            }
        known *k = malloc(sizeof *k);
        bl_backend *b = k ? make(&s, decorations[d].cblas, 0, info.dli_fname) : NULL;
        if (!b || b->width == 0) { /* a library that cannot be asked is no help */
            if (b)
                discard(b);
            free(k);
            break;
        }
        *k = (known){libraries, handle, s.pattern, b};
        libraries = k; /* and keeps the handle, so that the library stays */
        return b;
    }
    dlclose(handle);
    return NULL;
}

static int wrap(const bl_symbol_info *name, void *address, int integer_bits, void **out)
{
    Dl_info theirs, ours;
    bool found = dladdr(address, &theirs) != 0,
         theirs_is_known = found && theirs.dli_sname && theirs.dli_saddr == address;
    if (found && dladdr(bl_name_binding, &ours) && theirs.dli_fbase == ours.dli_fbase)
        return bl_fail(BLASAD_VALUE, "wrap(\"%s\", %p): this is a recording pointer of blasad already", name->name,
                       address);

    const bl_symbol_info *known = theirs_is_known ? symbol_of(theirs.dli_sname) : NULL;
    if (known && (known->routine != name->routine || known->type != name->type ||
                  bl_abi_is_cblas(known->abi) != bl_abi_is_cblas(name->abi)))
        return bl_fail(
            BLASAD_VALUE,
            "wrap(\"%s\", %p): the library calls this function %s, which is called with other arguments; wrap "
            "it by that name",
            name->name, address, theirs.dli_sname);

    bl_backend *b = library_of(address, name);
    int width = integer_bits ? integer_bits : b ? b->width : bl_abi_width(name->abi);
    if (b && integer_bits && integer_bits != b->width)
        return bl_fail(BLASAD_BACKEND, "wrap(\"%s\", %p): %s was probed and has %d-bit integers, not %d", name->name,
                       address, b->path, b->width, integer_bits);
    const int abi = (bl_abi_is_cblas(name->abi) ? BL_C32 : BL_F32) + (width == 64);
    char routine[32];
    plain_name(name->routine, name->type, bl_abi_is_cblas(name->abi), routine);
    const source single = {.count = 1, .names = (const char *const[]){routine}, .functions = &address};
    void (*entry)(void) = NULL;
    for (int i = 0; i < BL_SYMBOLS; i++) {
        const bl_symbol_info *s = &bl_symbol_table[i];
        if (s->routine == name->routine && s->type == name->type && s->abi == abi)
            entry = s->entry;
    }
    if (!bl_abi_is_cblas(name->abi) && bl_returns_complex(name->routine, name->type) &&
        (b ? (int)b->complex_return : probe_complex(&single)) == BL_COMPLEX_POINTER)
        entry = bl_hidden_entries[name->routine][name->type][width == 64];
    uint16_t symbol = (uint16_t)(name - bl_symbol_table);
    for (int i = 0; i < pool_used; i++) {
        const bl_binding *g = &bl_pool_binding[i];
        if (as_pointer(g->real) == address && g->symbol == symbol && g->entry == entry) {
            *out = (void *)(uintptr_t)(bl_pool_thunks + 16 * i);
            return BLASAD_OK;
        }
    }
    if (pool_used == POOL_SIZE)
        return bl_fail(BLASAD_MEMORY,
                       "%d pointers are wrapped, more cannot be: wrap a function once and share the pointer",
                       POOL_SIZE);
    if (!b) {
        b = make(&single, bl_abi_is_cblas(name->abi), width, "a wrapped pointer");
        if (!b)
            return BLASAD_MEMORY;
    }
    bl_binding *g = &bl_pool_binding[pool_used];
    *g = (bl_binding){entry, as_function(address), b, symbol};
    *out = (void *)(uintptr_t)(bl_pool_thunks + 16 * pool_used++);
    return BLASAD_OK;
}

BL_EXPORT int blasad_wrap(const char *name, void *implementation, int integer_bits, void **out)
{
    const bl_symbol_info *s = symbol_of(name);
    if (!s)
        return bl_fail(BLASAD_VALUE, "wrap(\"%s\", …): no routine that blasad knows has this name", name);
    if (!implementation)
        return bl_fail(BLASAD_VALUE,
                       "wrap(\"%s\", NULL): there is nothing to call; pass the address of the real routine", name);
    if (integer_bits != 0 && integer_bits != 32 && integer_bits != 64)
        return bl_fail(BLASAD_VALUE, "wrap(\"%s\", …): integers of %d bits; 32, 64 or 0 (probe)", name, integer_bits);
    pthread_mutex_lock(&lock);
    int code = wrap(s, implementation, integer_bits, out);
    pthread_mutex_unlock(&lock);
    return code;
}

/* ---- calls on their way down */

/* What serves a call: its own BLAS; where that is no more than a wrapped pointer, or lacks the routine, the one behind
 * blasad's names; or none. */
static const bl_backend *server(const bl_call *c)
{
    const bl_backend *b = c->backend;
    if (__builtin_expect(!b->function[c->routine][c->type].run, 0))
        b = bl_backend_default();
    return b && b->function[c->routine][c->type].run ? b : NULL;
}

static bool has(const bl_backend *b, const bl_call *c) { return b && b->function[c->routine][c->type].run; }

/* An extension that not every BLAS has, and that one of our loops computes. */
static void run_axpby(const bl_call *c)
{
    bl_call kernel = *c;
    kernel.routine = BL_VAXPBY;
    memset(kernel.flag, 'N', sizeof kernel.flag);
    if (c->dim[0] > 0)
        bl_run_kernel(&kernel);
}

void bl_backend_run(const bl_call *c)
{
    if (c->routine >= BL_FIRST_KERNEL) {
        bl_run_kernel(c);
        return;
    }
    if (bl_is_turned(c)) {
        bl_run_turned(c);
        return;
    }
    if (c->routine == BL_AXPBY && !has(c->backend, c) && !has(bl_backend_default(), c)) {
        run_axpby(c);
        return;
    }
    const bl_backend *b = server(c);
    if (__builtin_expect(b != NULL, 1)) {
        b->function[c->routine][c->type].call(c, b->function[c->routine][c->type].run);
    } else if (!bl_run_lacking(c)) { /* then the program ends, as one ends whose library lacks a symbol */
        char name[16];
        fprintf(stderr, "blasad: %s is wanted, and %s has none: set BLASAD_BACKEND=/path/to/a/whole/BLAS\n",
                bl_call_name(c, name), c->backend->path);
        abort();
    }
}

static bool fits(const bl_call *c)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    bool good = true;
    for (int i = 0; i < s->n_dims; i++)
        good &= c->dim[i] == (int32_t)c->dim[i];
    for (int i = 0; i < s->n_operands; i++)
        good &= c->operand[i].ld == (int32_t)c->operand[i].ld;
    return good;
}

/* The position that the program itself gave to Fortran argument `argument`. */
static int as_numbered(const bl_call *c, int argument)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    if (c->row_major) {
        const char *name = s->arguments[argument - 1];
        for (int p = 0; s->row_major[p][0]; p++)
            if (strcmp(s->row_major[p][0], name) == 0)
                for (argument = 1; strcmp(s->arguments[argument - 1], s->row_major[p][1]) != 0;)
                    argument++;
    }
    const bl_symbol_info *symbol = &bl_symbol_table[c->symbol];
    if (symbol->routine != c->routine) { /* a call of a sequence, which has the arguments of its own */
        const char *const *names = bl_routine_table[symbol->routine]->arguments, *name = s->arguments[argument - 1];
        for (argument = 1; strcmp(names[argument - 1], name) != 0;)
            argument++;
    }
    return argument + (bl_abi_is_cblas(symbol->abi) && !s->level1);
}

/* A name was called, and nobody has chosen what serves it: the environment may. Else the program ends, as one ends
 * whose library lacks a symbol: there is nothing that could be computed instead. */
static const bl_backend *last_resort(const bl_binding *g)
{
    const char *path = getenv("BLASAD_BACKEND"), *why = "there is no BLAS behind it";
    pthread_mutex_lock(&lock);
    if (!bl_backend_default() && path && load(path) != BLASAD_OK)
        why = blasad_last_error();
    pthread_mutex_unlock(&lock);
    if (!bl_backend_default()) {
        fprintf(stderr,
                "blasad: %s was called and %s: set BLASAD_BACKEND=/path/to/library, or call blasad_set_backend "
                "first\n",
                bl_symbol_table[g->symbol].name, why);
        abort();
    }
    return bl_backend_default();
}

/* A call that cannot be recorded, or not even made: the layers are told, the BLAS is asked where it can be. */
static enum bl_next refuse(const bl_call *c, const bl_binding *g, int argument)
{
    const bool spliced = bl_splice();
    for (bl_layer *l = bl_thread_state.top; l; l = l->below)
        l->refused(l, c, argument);
    if (spliced)
        bl_unsplice();
    if (argument && g->real)
        return BL_ALONE;
    if (argument)
        fprintf(stderr, "blasad: on entry to %s argument %d had an illegal value\n", bl_symbol_table[g->symbol].name,
                argument);
    else
        fprintf(stderr,
                "blasad: %s was called with a dimension beyond 32 bits, and the BLAS behind it has 32-bit integers: "
                "nothing was computed\n",
                bl_symbol_table[g->symbol].name);
    return BL_DONE;
}

enum bl_next bl_enter(bl_call *c, const bl_binding *g, bool layout, const void *frame)
{
    c->symbol = g->symbol;
    c->backend = g->backend;
    if (!c->backend)
        c->backend = last_resort(g);
    const int argument = layout ? bl_routine_table[c->routine]->check(c) : 0;
    if (!layout || argument)
        return refuse(c, g, layout ? as_numbered(c, argument) : 1);
    if (!g->real && bl_abi_width(c->backend->function[c->routine][c->type].abi) == 32 && !fits(c))
        return refuse(c, g, 0);
    if (bl_routine_table[c->routine]->index) /* layers are about derivatives */
        goto make;
    if (bl_thread_state.inside) {
        if ((uintptr_t)frame < (uintptr_t)bl_thread_state.inside)
            goto make;
        bl_thread_state.inside = NULL;
        for (bl_layer *l = bl_thread_state.top; l; l = l->below)
            l->refused(l, c, BL_ABANDONED);
        if (bl_thread_state.splice)
            bl_unsplice();
    }
    if (__builtin_expect(atomic_load_explicit(&bl_armed, memory_order_relaxed) > bl_thread_state.depth, 0))
        bl_guard_others(c);
    const bool spliced = bl_splice();
    bl_layer *top = bl_thread_state.top;
    if (top) {
        const int result = bl_routine_table[c->routine]->result;
        if (result != BL_NEVER && c->cell)
            bl_give_cell(top, &c->operand[result]);
        if (!g->real) {
            bl_thread_state.inside = frame;
            bl_pass(top, c);
            bl_thread_state.inside = NULL;
            if (spliced)
                bl_unsplice();
            return BL_DONE;
        }
        bool after = bl_layers_before(top, c);
        c->spliced = spliced;
        bl_thread_state.inside = frame;
        return after || spliced ? BL_CALL_AFTER : BL_CALL;
    }
    if (spliced)
        bl_unsplice();
make:
    if (g->real)
        return BL_ALONE;
    bl_backend_run(c);
    return BL_DONE;
}

void bl_leave(const bl_call *c)
{
    bl_layer *top = bl_thread_state.top;
    if (top->below)
        bl_layers_after(top, c);
    else if (top->wants_after)
        top->after(top, c);
    if (c->spliced)
        bl_unsplice();
}
