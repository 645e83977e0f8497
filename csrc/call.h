/* The canonical call: what every entry fills and everything below the entries works on. Nothing here knows an ABI. */
#ifndef BL_CALL_H
#define BL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "routines.h"

#define BL_MAX_FLAGS 4
#define BL_MAX_DIMS 4
#define BL_MAX_OPERANDS 4
#define BL_MAX_SCALARS 2

enum bl_type { BL_S, BL_D, BL_C, BL_Z };

static inline bool bl_is_complex(int type) { return type >= BL_C; }
/* bytes of the real numbers that an element is made of */
static inline int64_t bl_real_width(int type) { return type == BL_S || type == BL_C ? 4 : 8; }
static inline int64_t bl_element_size(int type) { return bl_real_width(type) << bl_is_complex(type); }

typedef struct bl_complex {
    double re, im;
} bl_complex;

static inline uint64_t bl_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
/* Compared as bits: no branches, and none on NaN. The sign of a zero is shifted out. */
static inline bool bl_is_zero(bl_complex x) { return (bl_bits(x.re) | bl_bits(x.im)) << 1 == 0; }
static inline bool bl_is_one(bl_complex x) { return ((bl_bits(x.re) ^ bl_bits(1)) | bl_bits(x.im) << 1) == 0; }

/* A scalar argument: its value, widened without loss, and its address if it was passed by one (else NULL). */
typedef struct bl_scalar {
    bl_complex value;
    void *address;
} bl_scalar;

typedef struct bl_operand {
    void *base;
    int64_t ld;
} bl_operand;

struct bl_backend;

typedef struct bl_call {
    uint8_t routine, type;
    uint8_t size, width; /* bytes of an element, and of the real numbers it is made of */
    bool spliced;        /* layers of all threads see it (layer.h) */
    bool row_major;      /* how the program spoke; the arguments below are column-major already */
    bool cell;           /* of a routine with a result: its memory is nobody's but ours (cells.h) */
    char flag[BL_MAX_FLAGS];
    uint16_t symbol;
    const struct bl_backend *backend; /* the BLAS that serves it, and its adjoint */
    const void *frame;                /* of the entry: stack below it belongs to nobody; NULL as the caller */
    const void *caller;               /* return address, NULL for calls that rules make */
    int64_t dim[BL_MAX_DIMS];
    bl_scalar scalar[BL_MAX_SCALARS];
    bl_operand operand[BL_MAX_OPERANDS];
} bl_call;

/* ---- what a routine looks like: the table, generated from routines.toml */

enum { BL_DIM_ONE = -1, BL_NEVER = -1 };

/* How the elements of an operand lie. A vector is a row of `cols` numbers, its increment the leading dimension. The
 * five numbers of a modified rotation are a form, which is no element, h11, h21, h12 and h22: those that the form has.
 * Of those from BL_TRIANGLE on, the first element need not be where the call points. */
enum bl_storage { BL_GENERAL, BL_VECTOR, BL_TRIANGLE, BL_BAND, BL_PACKED, BL_ROTATION };

typedef struct bl_operand_spec {
    const char *name;
    bool output;
    bool real; /* its numbers are real, also in complex types */
    bool wide; /* and of double precision, also in single */
    uint8_t storage;
    int8_t uplo, diag;  /* of a triangle: indices into bl_call.flag, or BL_NEVER */
    int8_t kl, ku;      /* of a band: indices into bl_call.dim; the same for a triangle, which has one of the sides */
    int8_t by;          /* the flag that chooses one of two shapes, or BL_NEVER */
    char letter[2];     /* with these it is the first */
    int8_t shape[2][2]; /* rows and columns as stored: indices into bl_call.dim, or BL_DIM_ONE */
} bl_operand_spec;

typedef struct bl_routine_spec {
    const char *name;
    const char *called[4];                                   /* by type: "ddot"; NULL: there is no such routine */
    const char *alias[4];                                    /* a second name, or NULL */
    const char *const *flags, *const *dims, *const *scalars; /* names, NULL at the end */
    const char *const *arguments;                            /* Fortran order, NULL at the end */
    const char *const (*row_major)[2];                       /* swapped pairs, {NULL, NULL} at the end */
    uint8_t n_flags, n_dims, n_scalars, n_operands;
    bool hidden;    /* the last flag is no argument */
    uint8_t turned; /* flags that a row-major call turns over, one bit each */
    uint8_t real;   /* scalars that are real numbers in complex types too, one bit each */
    bool adjoint;   /* a trans is 'N' or 'C', and turned over the other */
    bool level1;    /* sizes may be negative, then there is nothing to do */
    bool same;      /* its operands may be the same memory */
    bool index;     /* its value is an index: no layer is told of it */
    int8_t result;  /* the operand that is its value, or BL_NEVER */
    bl_operand_spec operand[BL_MAX_OPERANDS];
    int (*check)(const bl_call *c); /* Fortran position of the first argument that the reference calls illegal, or 0 */
} bl_routine_spec;

extern const bl_routine_spec *const bl_routine_table[BL_ALL];
extern const char bl_type_letter[4];

/* ---- views: the elements of an operand, as a set of columns and never as a box */

typedef struct bl_view {
    char *base, *end; /* of the first and behind the last column; equal if there are no elements */
    int64_t column;   /* bytes of the first column */
    int64_t stride;   /* bytes from one column to the next, in a grid */
    int64_t columns;
    /* What is no grid, if `step` is not 0: columns end `step` bytes later for each column up to `tail`, and begin
     * as much later for each column from `head` on; the stride becomes `bend` bytes longer with each column. */
    int64_t head, tail;
    int32_t step, bend;
} bl_view;

/* `bytes` contiguous bytes. */
static inline bl_view bl_view_run(void *base, int64_t bytes)
{
    return (bl_view){base, (char *)base + bytes, bytes, bytes, bytes > 0, 0, 0, 0, 0};
}

/* A matrix without holes is one long column: most work on elements is then one loop. Nothing is multiplied that the
 * memory behind it does not vouch for: an unused leading dimension may be any number. */
static inline bl_view bl_view_of(void *base, int64_t rows, int64_t cols, int64_t ld, int64_t size)
{
    if (rows == 0 || cols == 0)
        return bl_view_run(base, 0);
    if (rows == ld || cols == 1)
        return bl_view_run(base, rows * cols * size);
    return (bl_view){base, (char *)base + ((cols - 1) * ld + rows) * size, rows * size, ld * size, cols, 0, 0, 0, 0};
}

/* Its elements on `below` diagonals under the main one and `above` over it, rows from max(0, j - above) to
 * min(rows - 1, j + below) of column j; `base` is that of the first one. */
static inline bl_view bl_view_diagonals(char *base, int64_t rows, int64_t cols, int64_t below, int64_t above,
                                        int64_t ld, int64_t size)
{
    if (rows == 0 || cols == 0)
        return bl_view_run(base, 0);
    const int64_t columns = cols - rows > above ? rows + above : cols; /* there is nothing beyond */
    const int64_t head = above < columns ? above : columns, tail = below < rows ? rows - 1 - below : 0;
    const int64_t column = (rows - tail) * size, last = columns - 1;
    if (head == 0 && last <= tail)
        return bl_view_of(base, rows - tail, columns, ld + 1, size);
    if (head >= last && tail == 0)
        return bl_view_of(base, rows, columns, ld, size);
    char *end = base + column + (last * ld + (last < tail ? last : tail)) * size;
    return (bl_view){base, end, column, ld * size, columns, head, tail, (int32_t)size, 0};
}

/* A triangle of n columns and rows, without its diagonal if that is `unit`. */
static inline bl_view bl_view_triangle(char *base, bool upper, bool unit, int64_t n, int64_t ld, int64_t size)
{
    const int64_t columns = n - unit;
    if (columns <= 0)
        return bl_view_run(base, 0);
    base += !unit ? 0 : upper ? ld * size : size;
    return bl_view_diagonals(base, columns, columns, upper ? 0 : columns, upper ? columns : 0, ld, size);
}

/* A band in its array: (i, j) is in column j and row above + i - j, as (i, j) is in columns that are one shorter. */
static inline bl_view bl_view_band(char *base, int64_t rows, int64_t cols, int64_t below, int64_t above, int64_t ld,
                                   int64_t size)
{
    if (rows == 0 || cols == 0)
        return bl_view_run(base, 0);
    return bl_view_diagonals(base + above * size, rows, cols, below, above, ld - 1, size);
}

/* A triangle of which k diagonals beside the main one are stored. */
static inline bl_view bl_view_band_triangle(char *base, bool upper, bool unit, int64_t n, int64_t k, int64_t ld,
                                            int64_t size)
{
    if (n <= unit || k < unit)
        return bl_view_run(base, 0);
    base += !unit ? 0 : upper ? ld * size : size;
    return bl_view_band(base, n - unit, n - unit, upper ? 0 : k - unit, upper ? k - unit : 0, ld, size);
}

/* A triangle whose columns follow on each other. */
static inline bl_view bl_view_packed(char *base, bool upper, bool unit, int64_t n, int64_t size)
{
    const int64_t columns = n - 1, total = n * (n + 1) / 2 * size;
    if (!unit || n <= 1)
        return bl_view_run(base, unit ? 0 : total);
    base += size; /* of both, the first element is behind that of the diagonal */
    bl_view v =
        bl_view_diagonals(base, columns, columns, upper ? 0 : columns, upper ? columns : 0, upper ? 2 : columns, size);
    v.bend = columns == 1 ? 0 : upper ? v.step : -v.step;
    v.end = base + total - 2 * size;
    return v;
}

/* n numbers, the first of which in memory is at base: the increment's sign is the routine's business. One number with
 * an increment of 0 is n times the same. */
static inline bl_view bl_view_vector(void *base, int64_t n, int64_t inc, int64_t size)
{
    return bl_view_of(base, 1, n > 0 && inc == 0 ? 1 : n > 0 ? n : 0, inc < 0 ? -inc : inc, size);
}

/* The form of a modified rotation, by its first number, and what it has; the rest are 1, or 1 above and -1 below. */
enum { BL_IDENTITY = 'I', BL_FULL = 'F', BL_BESIDE = 'B' /* the diagonal */, BL_DIAGONAL = 'D' };
static inline char bl_rotation_form(int type, const void *param)
{
    const double x = !param ? -2 : type == BL_S ? (double)*(const float *)param : *(const double *)param;
    return x == -2 ? BL_IDENTITY : x < 0 ? BL_FULL : x == 0 ? BL_BESIDE : BL_DIAGONAL;
}
static inline bl_view bl_view_rotation(char *param, char form, int64_t size)
{
    const int64_t first = form == BL_BESIDE ? 2 : 1;
    if (form == BL_DIAGONAL)
        return bl_view_of(param + size, 1, 2, 3, size);
    return bl_view_run(param + first * size, form == BL_IDENTITY ? 0 : (form == BL_FULL ? 4 : 2) * size);
}

static inline bool bl_view_empty(const bl_view *v) { return v->columns == 0; }
static inline bool bl_view_is_grid(const bl_view *v) { return v->step == 0; }
/* By how many steps column j begins, and ends, behind its place in a grid. */
static inline int64_t bl_steps_head(const bl_view *v, int64_t j) { return j > v->head ? j - v->head : 0; }
static inline int64_t bl_steps_tail(const bl_view *v, int64_t j) { return j < v->tail ? j : v->tail; }
static inline char *bl_view_column(const bl_view *v, int64_t j)
{
    char *at = v->base + j * v->stride;
    return bl_view_is_grid(v) ? at : at + bl_steps_head(v, j) * v->step + j * (j - 1) / 2 * v->bend;
}
static inline int64_t bl_column_bytes(const bl_view *v, int64_t j)
{
    return bl_view_is_grid(v) ? v->column : v->column + (bl_steps_tail(v, j) - bl_steps_head(v, j)) * v->step;
}
static inline int64_t bl_view_bytes(const bl_view *v)
{
    const int64_t bytes = v->column * v->columns;
    if (bl_view_is_grid(v))
        return bytes;
    const int64_t head = bl_steps_head(v, v->columns), tail = bl_steps_tail(v, v->columns);
    return bytes + (tail * (tail - 1) / 2 + (v->columns - tail) * tail - head * (head - 1) / 2) * v->step;
}

/* Exact on elements: true if some byte belongs to both. */
bool bl_views_overlap(const bl_view *a, const bl_view *b);

/* Where scalar i of a call is a number of another type than the operands' it is a real one. */
static inline int bl_real_type(int type) { return bl_is_complex(type) ? type - BL_C + BL_S : type; }
static inline int bl_scalar_type(const bl_call *c, int i)
{
    return bl_routine_table[c->routine]->real >> i & 1 ? bl_real_type(c->type) : c->type;
}
static inline int64_t bl_scalar_size(const bl_call *c, int i) { return bl_element_size(bl_scalar_type(c, i)); }

/* Where its dimensions are. */
static inline const int8_t *bl_dims_of(const bl_operand_spec *s, const char *flag)
{
    return s->shape[s->by != BL_NEVER && flag[s->by] != s->letter[0] && flag[s->by] != s->letter[1]];
}

/* The type of its numbers, and their size in bytes. */
static inline int bl_type_by(const bl_operand_spec *s, int type)
{
    return s->wide ? BL_D : s->real && type >= BL_C ? type - 2 : type;
}
static inline int64_t bl_size_by(const bl_operand_spec *s, const bl_call *c)
{
    return s->wide ? 8 : s->real ? c->width : c->size;
}

/* Does it return a complex number? */
static inline bool bl_returns_complex(int routine, int type)
{
    const bl_routine_spec *s = bl_routine_table[routine];
    return s->result != BL_NEVER && bl_is_complex(bl_type_by(&s->operand[s->result], type));
}

/* Stored rows and columns of operand i; of a vector 1 and its length. */
static inline void bl_shape_by(const bl_routine_spec *spec, const bl_call *c, int i, int64_t *rows, int64_t *cols)
{
    const int8_t *dims = bl_dims_of(&spec->operand[i], c->flag);
    *rows = dims[0] == BL_DIM_ONE ? 1 : c->dim[dims[0]];
    *cols = dims[1] == BL_DIM_ONE ? 1 : c->dim[dims[1]];
}

static inline bl_view bl_view_by(const bl_routine_spec *spec, const bl_call *c, int i)
{
    const bl_operand_spec *s = &spec->operand[i];
    int64_t rows, cols;
    bl_shape_by(spec, c, i, &rows, &cols);
    if (s->storage == BL_VECTOR)
        return bl_view_vector(c->operand[i].base, cols, c->operand[i].ld, c->size);
    if (s->storage == BL_ROTATION)
        return bl_view_rotation(c->operand[i].base, c->flag[spec->n_flags - 1], c->size);
    if (s->storage == BL_BAND && s->uplo == BL_NEVER)
        return bl_view_band(c->operand[i].base, rows, cols, c->dim[s->kl], c->dim[s->ku], c->operand[i].ld, c->size);
    if (s->storage >= BL_TRIANGLE && c->flag[s->uplo] != 'A') {
        char *base = c->operand[i].base;
        const bool upper = c->flag[s->uplo] == 'U', unit = s->diag != BL_NEVER && c->flag[s->diag] == 'U';
        return s->storage == BL_TRIANGLE ? bl_view_triangle(base, upper, unit, cols, c->operand[i].ld, c->size)
               : s->storage == BL_BAND
                   ? bl_view_band_triangle(base, upper, unit, cols, c->dim[s->kl], c->operand[i].ld, c->size)
                   : bl_view_packed(base, upper, unit, cols, c->size);
    }
    return bl_view_of(c->operand[i].base, rows, cols, c->operand[i].ld, bl_size_by(s, c));
}

/* Rows and columns of the array that it is stored in, as the leading dimension has it. */
static inline void bl_array_shape(const bl_call *c, int i, int64_t *rows, int64_t *cols)
{
    const bl_operand_spec *s = &bl_routine_table[c->routine]->operand[i];
    bl_shape_by(bl_routine_table[c->routine], c, i, rows, cols);
    if (s->storage == BL_BAND)
        *rows = s->kl == s->ku ? c->dim[s->kl] + 1 : c->dim[s->kl] + c->dim[s->ku] + 1;
    if (s->storage == BL_PACKED) {
        *rows = 1;
        *cols = *cols * (*cols + 1) / 2;
    }
}

static inline void bl_operand_shape(const bl_call *c, int i, int64_t *rows, int64_t *cols)
{
    bl_shape_by(bl_routine_table[c->routine], c, i, rows, cols);
}

static inline bl_view bl_operand_view(const bl_call *c, int i)
{
    return bl_view_by(bl_routine_table[c->routine], c, i);
}

/* Flag i as a row-major call gave it. */
char bl_flag_spoken(const bl_routine_spec *spec, bool row_major, const char *flag, int i);

/* "gemm" of type d is "dgemm", nrm2 of type z "dznrm2". */
const char *bl_routine_name(int routine, int type);
/* "dgemm" */
const char *bl_call_name(const bl_call *c, char buffer[static 16]);

#endif
