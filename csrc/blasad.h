/* blasad: derivatives of programs at their BLAS calls. The C interface; no Python behind it.
 *
 * A tape records the BLAS calls that its thread makes through blasad's entries between blasad_tape_open and
 * blasad_tape_close_recording, and blasad_reverse replays the adjoint calls on the shadows. What a derivative means is
 * docs/semantics.md; section numbers below refer to it.
 *
 * Functions that can fail return BLASAD_OK or one of the codes; blasad_last_error() is then the text, valid until the
 * calling thread's next failure. A tape belongs to the thread that opened it, also one of all threads: that one opens,
 * annotates, closes and frees it. A call that a tape of all threads sees holds a lock until the BLAS is back.
 */
#ifndef BLASAD_H
#define BLASAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

typedef struct blasad_tape blasad_tape;

enum blasad_code {
    BLASAD_OK = 0,
    BLASAD_VALUE,         /* an argument of the interface makes no sense */
    BLASAD_MEMORY,        /* an allocation failed */
    BLASAD_TAPE,          /* the tape cannot do this now */
    BLASAD_BACKEND,       /* no BLAS, or not one that can serve the call */
    BLASAD_ALIAS,         /* an output shares elements with another operand (5) */
    BLASAD_ACTIVITY,      /* an active value goes where no shadow follows (1, 7) */
    BLASAD_INVALID_CALL,  /* the BLAS calls an argument illegal (4) */
    BLASAD_UNSEEN_WRITE,  /* memory changed between two recorded calls (7) */
    BLASAD_NO_DERIVATIVE, /* something without a rule touches active memory (7) */
    BLASAD_USER,          /* a function of the user's failed; what it raised says more */
    BLASAD_NOT_YET        /* the contract has it, this version does not */
};

/* Types of elements: the letters of BLAS, and bytes whose width the first call tells. */
enum blasad_type { BLASAD_FLOAT, BLASAD_DOUBLE, BLASAD_COMPLEX_FLOAT, BLASAD_COMPLEX_DOUBLE, BLASAD_BYTES };

enum blasad_mode { BLASAD_REVERSE, BLASAD_FORWARD };

enum blasad_option {
    BLASAD_NO_VERIFY = 1,        /* no fingerprints: content is taken to be what recorded calls left there (7) */
    BLASAD_UNDECLARED_ERROR = 2, /* the first operand taken for constant is an error (7) */
    BLASAD_FOLLOW_COPIES = 4,    /* copies of whole active values are differentiated, not refused (7) */
    BLASAD_ALL_THREADS = 8       /* record every thread, not only the one that opens the tape (9) */
};

const char *blasad_last_error(void);
const char *blasad_version(void);

/* ---- the tape */

/* A tape that does not record yet; NULL if memory is short or the mode is none. */
blasad_tape *blasad_tape_new(int mode, int options);
/* Begins recording the calling thread. */
int blasad_tape_start(blasad_tape *tape);
/* Both at once; NULL on failure. */
blasad_tape *blasad_tape_open(int mode);
/* Saved values beyond so many bytes go to a temporary file (6), in TMPDIR or /tmp; those of undeclared memory always,
 * once there is a limit. Before the tape starts. SIZE_MAX: no limit. Such a tape cannot go on in a child of fork. */
int blasad_tape_limit(blasad_tape *tape, size_t bytes);
/* Ends recording; returns the first error that was found while recording, if there was one (11). */
int blasad_tape_close_recording(blasad_tape *tape);
/* Replays the adjoints, last call first. Repeatable. On failure every shadow is as it was. */
int blasad_reverse(blasad_tape *tape);
/* Gives everything back. A tape that still records on another thread is left alone (BLASAD_TAPE). */
int blasad_tape_free(blasad_tape *tape);
/* The error found while recording, if any: what closing and reverse return. */
int blasad_tape_error(blasad_tape *tape);

/* ---- annotations (1) */

/* nbytes bytes at x have their shadow at dx. Which real type they hold is learned from the first call. */
int blasad_duplicated(blasad_tape *tape, void *x, void *dx, size_t nbytes);
int blasad_const(blasad_tape *tape, void *x, size_t nbytes);
/* An array of `ndim` axes, strides in bytes, with its shadows: none (constant), one, or a batch that is propagated
 * together (`batch` true, be it a batch of one). Of BLASAD_BYTES shape[0] is the number and strides is not read.
 * `label` names it in messages and may be NULL. */
int blasad_annotate(blasad_tape *tape, void *x, int shadows, void *const *dx, int batch, int type, int ndim,
                    const int64_t *shape, const int64_t *strides, const char *label);

/* ---- announcements (7) */

/* The program writes fresh constant content into x between the two: what earlier calls need of it is saved, its shadow
 * is zeroed there in reverse mode and its tangent in forward mode. All tapes of the thread are told. */
int blasad_assigned_begin(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides);
int blasad_assigned_end(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides);
/* The life of what undeclared memory holds has ended: it was freed, or holds something else from now on. All tapes of
 * the thread are told. Memory that one of them has annotated is refused (BLASAD_VALUE). */
int blasad_forget(void *x, int type, int ndim, const int64_t *shape, const int64_t *strides);
/* The innermost tape that records the calling thread, or NULL. */
blasad_tape *blasad_current_tape(void);
/* Does this one? A tape of all threads does while it is open. */
int blasad_tape_records(const blasad_tape *tape);

/* ---- operations of the program's own, which are no BLAS (7) */

typedef struct {
    void *at; /* of the element with all indices 0 */
    int type, ndim;
    const int64_t *shape, *strides; /* bytes */
} blasad_array;

/* The adjoint of an operation. `inputs` and `outputs` hold the values that it saw and left, `douts` the shadows of its
 * outputs, each at the address of the element with all indices 0 and with the strides that were announced. For each
 * input it leaves in dinputs[i] an array of that input's type and shape, with strides of its own, which is added to the
 * input's shadow and has to stay valid until the next call; or `at` NULL for none. `shadow` counts through a batch.
 * Nonzero: it failed. */
typedef int (*blasad_vjp)(void *self, int shadow, void *const *inputs, void *const *outputs, void *const *douts,
                          blasad_array *dinputs);
/* The tangent: values before the operation and tangents of the inputs, values after it; leaves the tangents of the
 * outputs in the same way. */
typedef int (*blasad_jvp)(void *self, int shadow, void *const *inputs, void *const *outputs, void *const *dinputs,
                          blasad_array *doutputs);

/* An operation that reads `in` and writes `out` begins: until it ends, BLAS calls of this thread are not recorded. An
 * array may be both. All tapes of the thread are told. NULL on failure. */
typedef struct blasad_operation blasad_operation;
blasad_operation *blasad_record_begin(int n_in, const blasad_array *in, int n_out, const blasad_array *out);
/* It has ended. jvp may be NULL (then a forward tape gets an error). `self` goes to the functions; `done`, if not NULL,
 * is called with it when no tape needs it any more. */
int blasad_record_end(blasad_operation *operation, blasad_vjp vjp, blasad_jvp jvp, void *self, void (*done)(void *));
/* It was left by an error: nothing is recorded, and the tapes say so if its outputs could have changed. */
void blasad_record_abandon(blasad_operation *operation);

/* ---- returned numbers (8) */

typedef struct {
    int type;        /* blasad_type */
    double value[2]; /* real and imaginary part */
    int active;      /* does it depend on annotated memory that has a shadow? */
    int shadows;     /* of a tape: one, or a batch */
} blasad_number;

/* What call `index` returned, or, of cblas_zdotu_sub and kin, stored. BLASAD_VALUE: that routine returns nothing. */
int blasad_returned(const blasad_tape *tape, size_t index, blasad_number *out);
/* The shadows of that number, which the user owns and keeps as long as the tape: `shadow` points to one number of its
 * type each. In reverse mode blasad_reverse adds them to the adjoint of the number, and clears them; in forward mode
 * the tangents are copied there, now. After the tape has ended; the number is active. */
int blasad_returned_shadow(blasad_tape *tape, size_t index, void *const *shadow);
/* The call that returned the number with these bits. BLASAD_TAPE: none did, or several on different operands;
 * BLASAD_ACTIVITY: it is not active. */
int blasad_returned_find(const blasad_tape *tape, double re, double im, size_t *index);

/* ---- what was recorded */

enum blasad_activity {
    BLASAD_ACT_UNDECLARED,
    BLASAD_ACT_CONST,
    BLASAD_ACT_DUPLICATED,
    BLASAD_ACT_SCRATCH, /* undeclared, with a shadow of blasad's own */
    BLASAD_ACT_PARTS    /* several owners, some with a shadow */
};

typedef struct {
    const char *name; /* "a" */
    void *address;
    int64_t rows, cols, ld; /* as stored, column-major; of a vector its length, 1 and its increment */
    int64_t elements;       /* of a triangle, for instance, less than rows times cols */
    int is_output, is_read, is_vector;
    int activity; /* blasad_activity */
    int assumed;  /* taken for constant without a word from anybody (7) */
} blasad_operand;

typedef struct {
    const char *routine, *name, *symbol, *caller; /* "gemm", "dgemm", "scipy_dgemm_", a library's file or NULL */
    int type, row_major, active;
    int n_flags, n_dims, n_scalars, n_operands;
    const char *flag_names[4], *dim_names[4], *scalar_names[2];
    char flags[4];
    int64_t dims[4];
    double scalars[2][2];
    int scalar_active[2], scalar_real[2]; /* real: in complex routines too */
    blasad_operand operands[4];
    double seconds; /* negative: too short to be timed without being felt */
    size_t saved_bytes;
} blasad_call;

size_t blasad_tape_length(const blasad_tape *tape);
int blasad_tape_call(const blasad_tape *tape, size_t index, blasad_call *out);
/* The first call from `index` on that took an operand for constant; the length of the tape if there is none (7). */
size_t blasad_tape_assuming(const blasad_tape *tape, size_t index);
/* Bytes of values that were saved for the adjoint (6). */
size_t blasad_tape_saved_bytes(const blasad_tape *tape);
/* Duplicated ranges that changed while recording though no recorded call touched them (7): their labels, one a line;
 * valid as long as the tape. Known once recording has ended. */
const char *blasad_tape_unexplained(const blasad_tape *tape);

/* ---- the BLAS behind */

/* Loads and probes the BLAS that serves blasad's own names. NULL: back to what was set as built-in, if anything. */
int blasad_set_backend(const char *path);
/* A BLAS given as `count` Fortran functions, e.g. the capsules of scipy.linalg.cython_blas; becomes the built-in one.
 */
int blasad_set_backend_functions(const char *label, int count, const char *const *names, void *const *functions);
/* What serves blasad's names now: a path or label, and the width of its integers; NULL if nothing does. */
const char *blasad_backend(int *integer_bits, int *complex_in_registers);

/* Every name that has an entry. */
int blasad_name_count(void);
const char *blasad_name(int index);
/* The pointer to put in somebody's function table; NULL for an unknown name. */
void *blasad_address(const char *name);
/* A recording pointer in front of `implementation`, which has the ABI that `name` says; integer_bits 0: probed where
 * the library can be asked, else by the name. */
int blasad_wrap(const char *name, void *implementation, int integer_bits, void **out);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
