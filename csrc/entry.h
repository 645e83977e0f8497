/* What the generated entries use. An entry is a C function with the signature of one routine in one ABI; every name
 * and every wrapped pointer is a thunk (thunk.S), which jumps to the entry when a tape is open.
 *
 * Entries are declared without the hidden lengths of Fortran characters, since most callers do not pass them: declared
 * with them, an entry that ends in a tail call would write the lengths into stack that its caller still owns. They are
 * passed on as arguments of a call of the entry's own, and sibling calls are switched off for the whole library.
 */
#ifndef BL_ENTRY_H
#define BL_ENTRY_H

#include "backend.h"
#include "cells.h"
#include "layer.h"

typedef struct bl_binding {
    void (*entry)(void); /* thunk.S knows the places of these two */
    void (*real)(void);  /* the implementation if it has the entry's own ABI, else NULL */
    const bl_backend *backend;
    uint16_t symbol;
} bl_binding;

typedef struct bl_symbol_info {
    const char *name;
    void (*thunk)(void);
    void (*entry)(void);
    uint8_t routine, type, abi;
} bl_symbol_info;

extern const bl_symbol_info bl_symbol_table[BL_SYMBOLS];
extern bl_binding bl_name_binding[BL_SYMBOLS];
/* Those that stand in for functions which return complex numbers through a hidden first argument; NULL: none does. */
extern void (*const bl_hidden_entries[BL_FIRST_KERNEL][4][2])(void);

/* What is recorded though nobody called it. */
enum { BL_SYMBOL_ASSIGNED = BL_SYMBOLS, BL_SYMBOL_FORGET, BL_SYMBOL_COPY, BL_SYMBOL_OPERATION };
static inline const char *bl_symbol_name(uint16_t symbol)
{
    static const char *const others[] = {"tape.assigned", "tape.forget", "a copy", "tape.record"};
    return symbol < BL_SYMBOLS ? bl_symbol_table[symbol].name : others[symbol - BL_SYMBOLS];
}

/* What an entry does after it has told of its call. */
enum bl_next {
    BL_DONE,      /* nothing: the call was made */
    BL_ALONE,     /* make the call, as the program made it: no layer has to do with it */
    BL_CALL,      /* make it, and note that it has been made */
    BL_CALL_AFTER /* the same, and then tell the layers (bl_leave) */
};

/* Tells the layers of a call. One that BLAS calls an error is made untouched, so that the BLAS says so in its own way;
 * `layout` is false for a CBLAS call that is neither row- nor column-major; `frame` is the entry's. */
enum bl_next bl_enter(bl_call *c, const bl_binding *g, bool layout, const void *frame);
void bl_leave(const bl_call *c);

/* The usual case of bl_enter at once: one tape in the process, on this thread, and a call that it has no objection to.
 * `result` is the operand that is the routine's value, or BL_NEVER. */
static inline __attribute__((always_inline)) enum bl_next bl_tell(bl_call *c, const bl_binding *g, bool layout,
                                                                  int result)
{
    bl_layer *top = bl_thread_state.top;
    c->symbol = g->symbol;
    c->backend = g->backend;
    c->spliced = false;
    c->frame = __builtin_frame_address(0); /* inlined: the entry's */
    if (layout && g->real && top && !top->below && !bl_thread_state.inside &&
        atomic_load_explicit(&bl_armed, memory_order_relaxed) == 1) {
        if (result != BL_NEVER && c->cell)
            bl_give_cell(top, &c->operand[result]);
        const enum bl_seen seen = top->before(top, c);
        if (seen != BL_ILLEGAL) {
            top->wants_after = seen == BL_SEEN_AFTER;
            bl_thread_state.inside = c->frame;
            return seen == BL_SEEN_AFTER ? BL_CALL_AFTER : BL_CALL;
        }
    }
    return bl_enter(c, g, layout, c->frame);
}

static inline char bl_flag_fortran(const char *flag)
{
    char c = *flag;
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* CBLAS's numbers; anything else is no flag that the reference knows. */
static inline char bl_cblas_trans(int x) { return x == 111 ? 'N' : x == 112 ? 'T' : x == 113 ? 'C' : '?'; }
static inline char bl_cblas_uplo(int x) { return x == 121 ? 'U' : x == 122 ? 'L' : '?'; }
static inline char bl_cblas_diag(int x) { return x == 131 ? 'N' : x == 132 ? 'U' : '?'; }
static inline char bl_cblas_side(int x) { return x == 141 ? 'L' : x == 142 ? 'R' : '?'; }

/* Of a row-major matrix read by columns, which is its transpose. Not a letter that a caller can pass: 'r', conjugated
 * but not transposed. */
static inline char bl_turn_trans(char c, bool conjugates)
{
    return c == 'N' ? 'T' : c == 'T' || (c == 'C' && !conjugates) ? 'N' : c == 'C' ? 'r' : c;
}
static inline char bl_turn_adjoint(char c) { return c == 'N' ? 'C' : c == 'C' ? 'N' : c; }
static inline char bl_turn_uplo(char c) { return c == 'U' ? 'L' : c == 'L' ? 'U' : c; }
static inline char bl_turn_side(char c) { return c == 'L' ? 'R' : c == 'R' ? 'L' : c; }

/* A call that returns before it reads its scalars may pass NULL: nothing is read here that BLAS would not. */
static inline void bl_take_s(bl_scalar *s, const float *p) { *s = (bl_scalar){{p ? *p : 0, 0}, (void *)(uintptr_t)p}; }
static inline void bl_take_d(bl_scalar *s, const double *p) { *s = (bl_scalar){{p ? *p : 0, 0}, (void *)(uintptr_t)p}; }
static inline void bl_take_c(bl_scalar *s, const float *p)
{
    *s = (bl_scalar){{p ? p[0] : 0, p ? p[1] : 0}, (void *)(uintptr_t)p};
}
static inline void bl_take_z(bl_scalar *s, const double *p)
{
    *s = (bl_scalar){{p ? p[0] : 0, p ? p[1] : 0}, (void *)(uintptr_t)p};
}

#endif
