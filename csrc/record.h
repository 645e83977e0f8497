/* The tape: what it keeps of each call, and who may touch it.
 *
 * A tape belongs to the thread that started it: that thread alone records, annotates, replays and frees. Other threads
 * only look, under the lock of bl_guard_others, at the index of its regions, and may leave an error on it.
 */
#ifndef BL_RECORD_H
#define BL_RECORD_H

#include "blasad.h"
#include "layer.h"
#include "rules.h"
#include "set.h"
#include "snapshot.h"

/* One call. Two cache lines; dimensions beyond 32 bits and what active scalars need live in an extra (bl_extra). */
typedef struct bl_record {
    uint8_t routine, type;
    char flag[BL_MAX_FLAGS];
    uint8_t row_major : 1, active : 1, wide : 1;
    uint8_t read : 3, write : 3;
    uint8_t assumed; /* operands taken for constant */
    uint16_t symbol, backend;
    float seconds;
    const void *caller;
    void *base[BL_MAX_OPERANDS];
    bl_complex scalar[BL_MAX_SCALARS];
    int32_t dim[BL_MAX_DIMS];
    int32_t ld[BL_MAX_OPERANDS];
    uint32_t place[BL_MAX_OPERANDS]; /* region id; BL_COPY | index of a copy; 0: neither */
    uint32_t saved, extra;           /* 1 + index into the tape's arrays; 0: none */
} bl_record;

#define BL_COPY (UINT32_C(1) << 31)

typedef struct bl_extra {
    int64_t dim[BL_MAX_DIMS], ld[BL_MAX_OPERANDS];
    void *scalar_shadow[BL_MAX_SCALARS]; /* NULL: constant */
} bl_extra;

enum { BL_RECORDS_PER_CHUNK = BL_CHUNK / sizeof(bl_record) };

struct blasad_tape {
    bl_layer layer; /* first: a layer's self is its tape */
    int mode, options;
    bool recording, ended, listed;
    const bl_thread *owner;
    blasad_tape *next; /* of the open tapes, under the lock */

    atomic_int error; /* a blasad_code; once set nothing more is recorded */
    char *error_text; /* written before `error` is; under the lock */

    bl_regions regions;
    bl_record **chunk;
    size_t chunks, chunk_capacity, count;
    bl_extra *extra;
    size_t extras, extra_capacity;
    bl_save **save;
    size_t saves, save_capacity;
    bl_copies copies;
    bl_arena values;
    bl_set returned;  /* active numbers that calls wrote as one-element outputs: they may come back by value (8) */
    bl_set addresses; /* where constant scalars were read: memory that is touched */
    const void *last_address[BL_MAX_SCALARS];
    bl_view *scratch; /* undeclared memory that recorded calls wrote: constant, but no assumption */
    size_t scratches, scratch_capacity;
    size_t saved_bytes;
    size_t workspace; /* the most that an adjoint needs */
    char *unexplained;
};

/* What a call on its way through a tape touches. */
typedef struct bl_touch {
    bl_view view[BL_MAX_OPERANDS];
    bl_region *region[BL_MAX_OPERANDS];
    void *scalar_shadow[BL_MAX_SCALARS];
    bl_access access;
    unsigned active;  /* operands and scalars with a shadow that are read */
    unsigned assumed; /* operands that nobody declared */
} bl_touch;

/* The key of an active number, by its bits; tag 0 for 0 and +-1, which are in every program and tell nothing. */
bl_key bl_number_key(int type, bl_complex value);

/* touch.c: looks everything up and holds it against the contract. False: an error was left on the tape. */
bool bl_touch_call(blasad_tape *t, const bl_call *c, bl_touch *w);

/* tangent.c */
void bl_tangent_call(blasad_tape *t, const bl_call *c, const bl_touch *w);
/* replay.c */
int bl_replay(blasad_tape *t);

/* record.c */
const bl_record *bl_record_at(const blasad_tape *t, size_t index);
void bl_unpack(const blasad_tape *t, const bl_record *r, bl_call *c);
/* Leaves an error on the tape, unless there is one. */
void bl_tape_fail(blasad_tape *t, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "dgemm (call 3, through scipy_dgemm_)" */
const char *bl_describe_call(const blasad_tape *t, const bl_call *c, char buffer[static 128]);
/* The last recorded call before `before` that touched the number at p, as index; `before` if there is none. */
size_t bl_last_touching(const blasad_tape *t, const char *p, int width, size_t before);
void bl_changed(blasad_tape *t, const bl_region *r, const char *p, const char *when);
void bl_layer_record(bl_layer *self, bl_call *c);
void bl_layer_refused(bl_layer *self, const bl_call *c, int argument);

/* A call on this thread that touches memory active on another thread's tape leaves an ActivityError there (9). */
void bl_guard_others(const bl_call *c);

#endif
