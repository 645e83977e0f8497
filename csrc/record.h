/* The tape: what it keeps of each call, and who may touch it.
 *
 * A tape belongs to the thread that started it: that thread alone records, annotates and frees; one of all threads
 * records whatever thread holds the lock of its stack (layer.h). Other threads only look, under the lock of
 * bl_guard_others, at the index of its regions, and may leave an error on it.
 */
#ifndef BL_RECORD_H
#define BL_RECORD_H

#include "blasad.h"
#include "cells.h"
#include "layer.h"
#include "recognize.h"
#include "rules.h"
#include "set.h"
#include "snapshot.h"
#include "window.h"

/* One call. Two cache lines; dimensions beyond 32 bits, operands beyond three, and what active scalars need live in an
 * extra (bl_extra). */
enum { BL_IN_RECORD = 3 };
typedef struct bl_record {
    uint8_t routine, type;
    char flag[BL_MAX_FLAGS];
    uint16_t active : 1, wide : 1, shadowed : BL_MAX_OPERANDS, had : BL_MAX_OPERANDS; /* operands with a shadow; those
                                                                                          that had it before the call */
    uint16_t read : BL_MAX_OPERANDS, write : BL_MAX_OPERANDS, in_cell : 1; /* in_cell: its result is in one (cells.h) */
    uint8_t row_major,
        assumed; /* assumed: operands taken for constant; whole bytes, which are set without being read */
    uint16_t symbol, backend;
    const void *caller;
    void *base[BL_IN_RECORD];
    bl_complex scalar[BL_MAX_SCALARS]; /* the last one is the value of a routine that returns one */
    int32_t dim[BL_MAX_DIMS];
    int32_t ld[BL_IN_RECORD];
    uint32_t place[BL_IN_RECORD]; /* region id; BL_PARTS: it has several owners; 0: not accessed */
    uint32_t saved, extra;        /* 1 + index into the tape's arrays; 0: none */
} bl_record;

_Static_assert(sizeof(bl_record) == 128, "two cache lines");
enum { BL_VALUE = BL_MAX_SCALARS - 1 };

/* What follows from the shape of a call alone, its flags, sizes and scalars, whatever memory it is about. Loops repeat
 * shapes, so a tape keeps the plan of each routine's last call. */
typedef struct bl_plan {
    _Alignas(
        64) bl_record head; /* of every record of this shape; copied whole, so that its lines should not be split */

    uint8_t type; /* 255: none yet */
    char flag[BL_MAX_FLAGS];
    unsigned scalars; /* those in duplicated memory */
    bool same;        /* the first two operands of level 1 are at one address */
    int64_t dim[BL_MAX_DIMS], ld[BL_MAX_OPERANDS];
    bl_complex scalar[BL_MAX_SCALARS];

    bl_access access;
    unsigned out, all; /* operands that it writes or whose derivative it changes; these and those it reads */
    bl_view view[BL_MAX_OPERANDS];   /* without a base (bl_touched_view) */
    int64_t skip[BL_MAX_OPERANDS];   /* bytes from what the call names to the first element */
    int64_t extent[BL_MAX_OPERANDS]; /* bytes from the first to behind the last element */
    unsigned telling; /* scalars whose bits would tell that they are a number that an earlier call wrote */
    unsigned single;  /* outputs of one element */
    bool timed;       /* long enough for two clock readings */
    bool extra;       /* a record needs more than fits (bl_extra) */

    unsigned shadowed, had; /* operands with a shadow, and before the call: what the rest is for */
    unsigned active;        /* operands and scalars with a shadow that are read */
    unsigned needs;         /* operands whose values the adjoint needs */
    bool after;             /* there is something to do after the call */

    const void *noted_at; /* where its last output was noted as a whole value (copies.h), which number it has */
    uint32_t noted;
} bl_plan;

/* What a call on its way through a tape touches. */
typedef struct bl_touch {
    char *base[BL_MAX_OPERANDS];              /* of the first element */
    bl_region *region[BL_MAX_OPERANDS];       /* NULL: not accessed; &bl_mixed: several owners */
    bl_region *scalar_region[BL_MAX_SCALARS]; /* NULL: constant; &bl_mixed: several owners, one with a shadow */
    unsigned scalars;                         /* with a shadow, and of influence */
    unsigned assumed;                         /* operands that nobody declared */
    bool plain;                               /* all of it lies in single annotations */
    bl_plan *plan;
    bl_record *record;
    double start; /* of timed calls */
} bl_touch;

static inline bl_view bl_touched_view(const bl_touch *w, int i)
{
    bl_view v = w->plan->view[i];
    v.base = w->base[i];
    v.end = v.base + w->plan->extent[i];
    return v;
}

#define BL_PARTS UINT32_MAX

typedef struct bl_extra {
    int64_t dim[BL_MAX_DIMS], ld[BL_MAX_OPERANDS];
    void *scalar_address[BL_MAX_SCALARS];
    uint32_t scalar_place[BL_MAX_SCALARS];      /* as in a record; 0: constant */
    void *cell[BL_MAX_SCALARS];                 /* its value for outer tapes, NULL where none is open */
    float seconds;                              /* negative: not timed */
    void *base[BL_MAX_OPERANDS - BL_IN_RECORD]; /* of the operands that a record has no room for */
    uint32_t place[BL_MAX_OPERANDS - BL_IN_RECORD];
} bl_extra;

/* Where operand i is; `x` is the record's extra. */
static inline void *bl_base_of(const bl_record *r, const bl_extra *x, int i)
{
    return i < BL_IN_RECORD ? r->base[i] : x->base[i - BL_IN_RECORD];
}
static inline int64_t bl_ld_of(const bl_record *r, const bl_extra *x, int i)
{
    return r->wide || i >= BL_IN_RECORD ? x->ld[i] : r->ld[i];
}
static inline uint32_t bl_place_of(const bl_record *r, const bl_extra *x, int i)
{
    return i < BL_IN_RECORD ? r->place[i] : x->place[i - BL_IN_RECORD];
}

/* Shadows that are the user's own, of the number that call `index` returned; as many as a batch has. */
typedef struct bl_seed {
    size_t index;
    int64_t bytes; /* of one */
    void **shadow;
} bl_seed;

enum { BL_RECORDS_PER_CHUNK = BL_CHUNK / sizeof(bl_record) };

struct blasad_tape {
    bl_layer layer; /* first: a layer's self is its tape */
    int mode, options;
    bool recording, ended;
    unsigned long owner; /* bl_thread.serial */
    atomic_bool replaying;
    blasad_tape *next; /* of the open tapes, under the lock */

    atomic_int error; /* a blasad_code; once set nothing more is recorded */
    char *error_text; /* written before `error` is; under the lock */

    bl_regions regions;
    bl_record *at, *end; /* where the next record goes */
    bl_record **chunk;
    size_t chunks, chunk_capacity, count;
    bl_plan plan[BL_ROUTINES];
    bl_touch touch; /* of the call in progress */
    bl_extra *extra;
    size_t extras, extra_capacity;
    blasad_operation **operation; /* each time one was recorded */
    size_t operations, operation_capacity;
    bl_save **save;
    size_t saves, save_capacity;
    bl_arena values;
    bl_spill spill;
    bl_cells cells; /* of returned numbers */
    bl_seed *seed;  /* what the user adds to the adjoints of some of them, by ascending index (returned.c) */
    size_t seeds, seed_capacity;
    bl_value_set seen_values; /* whole active values, to know copies of them */
    bl_region **stale;        /* annotations whose value is not noted any more */
    size_t stales, stale_capacity;
    bl_set returned; /* active numbers that calls wrote as one-element outputs: they may come back by value (8) */
    const void *constant[BL_MAX_SCALARS]; /* where the last constant scalars were: nobody annotated that memory */
    int constant_type;                    /* what type they had */
    bl_key last_returned;                 /* what was added last, by its bytes in memory */
    size_t assuming;                      /* calls that took an operand for constant */
    size_t saved_bytes;
    size_t workspace; /* the most that an adjoint needs */
    char *work;       /* of that size while tangents are made or adjoints replayed */
    size_t work_size;
    uintptr_t stack_low;  /* the lowest live number on this thread's stack; UINTPTR_MAX: none is there */
    unsigned long serial; /* tapes in the order in which they were started, from 1 */
    char *unexplained;
};

/* An active number by its bits; a real one has those of the complex one that a program may make of it. */
static inline bl_key bl_number_key(int width, bl_complex x)
{
    return (bl_key){bl_bits(x.re), bl_bits(x.im), (uint32_t)width};
}
/* 0 and +-1 are in every program: their bits tell nothing. */
static inline bool bl_is_telling(bl_complex x) { return x.im != 0 || (x.re != 0 && x.re != 1 && x.re != -1); }

static inline int bl_batch(const blasad_tape *t) { return t->regions.batch ? t->regions.batch : 1; }
/* Where a call's bytes are copied from here on: by the layers below this tape, if there are any. */
static inline bl_path bl_path_below(const blasad_tape *t, const bl_call *c)
{
    return (bl_path){.below = t->layer.below, .backend = c->backend, .symbol = c->symbol};
}

/* returned.c: adds a seed to the shadow of a result, and clears it. */
void bl_seed_add(const bl_seed *seed, int shadow, const bl_site *site);

/* tangent.c */
bool bl_tangent_call(blasad_tape *t, const bl_call *c, const bl_record *r);
/* replay.c */
int bl_replay(blasad_tape *t);

/* record.c */
const bl_record *bl_record_at(const blasad_tape *t, size_t index);
void bl_unpack(const blasad_tape *t, const bl_record *r, bl_call *c);
static inline const bl_extra *bl_extra_of(const blasad_tape *t, const bl_record *r)
{
    return r->extra ? &t->extra[r->extra - 1] : NULL;
}
/* Leaves an error on the tape, unless there is one. */
void bl_tape_fail(blasad_tape *t, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "dgemm (call 3, through scipy_dgemm_)" */
const char *bl_describe_call(const blasad_tape *t, const bl_call *c, char buffer[static 128]);
void bl_out_of_memory(blasad_tape *t);
/* Adds what was saved for a record, if anything was. False if memory is short. */
bool bl_add_save(blasad_tape *t, bl_record *r, bl_save *s);
/* Room for one more at t->at; false if memory is short. */
bool bl_more_records(blasad_tape *t);
enum bl_seen bl_tape_before(bl_layer *self, const bl_call *c);
void bl_tape_after(bl_layer *self, const bl_call *c);
void bl_tape_refused(bl_layer *self, const bl_call *c, int argument);
void bl_tape_rewritten(bl_layer *self, const bl_call *c);
void bl_tape_forget(bl_layer *self, char *lo, char *hi);

/* Other threads have open tapes: if this call touches memory that is active on one, that tape gets an ActivityError
 * (9). */
void bl_guard_others(const bl_call *c);

#endif
