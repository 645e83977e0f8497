/* What the rules of level 2 share: how a matrix is stored, and products and outer products by its storage. */
#ifndef BL_RULES_LEVEL2_H
#define BL_RULES_LEVEL2_H

#include "access_level2.h"
#include "made.h"

static const bl_scalar half = {{0.5, 0}, NULL}, two = {{2, 0}, NULL}, minus_one = {{-1, 0}, NULL};

/* ---- vectors */

static inline char *pointer(bl_matrix x, int64_t offset, int64_t size) { return (char *)x.at + offset * size; }

/* Numbers `first` to first + count - 1 of n. The lowest address is that of the last for a negative increment. */
static inline bl_matrix part(bl_matrix x, int64_t n, int64_t first, int64_t count, int64_t size)
{
    const int64_t offset = x.ld < 0 ? (n - first - count) * -x.ld : first * x.ld;
    return (bl_matrix){pointer(x, offset, size), x.ld};
}

/* A copy in workspace, conjugated for 'C'. */
static inline bl_matrix copied(const bl_site *s, int64_t n, char op, bl_matrix x, char *work)
{
    const bl_matrix copy = {work, 1};
    bl_vaxpby(&s->path, s->call->type, n, 'N', BL_ONE, op, x, 'N', BL_ZERO, copy);
    return copy;
}

/* Zeros in workspace. */
static inline bl_matrix cleared(const bl_site *s, int64_t n, char *work)
{
    const bl_matrix x = {work, 1};
    bl_vscal(&s->path, s->call->type, n, 'N', BL_ZERO, x);
    return x;
}

/* alpha op(x) in workspace; 0 if that product is not to be made. */
static inline bl_matrix scaled_copy(const bl_site *s, const bl_path *way, int64_t n, bl_scalar alpha, char op,
                                    bl_matrix x, char *work)
{
    const bl_matrix product = cleared(s, n, work);
    bl_vaxpby(way, s->call->type, n, 'N', alpha, op, x, 'N', BL_ONE, product);
    return product;
}

/* ---- flags */

/* A flag as its type has it. */
static inline char op_of(int type, char op)
{
    return bl_is_complex(type) ? op : op == 'C' ? 'T' : op == 'r' ? 'N' : op;
}
/* op(X)^H = adjoint_of(op)(X) */
static inline char adjoint_of(char op) { return op == 'N' ? 'C' : op == 'C' ? 'N' : op == 'T' ? 'r' : 'T'; }
static inline bool transposes(char op) { return op == 'T' || op == 'C'; }

/* ---- matrices */

/* A matrix between vectors. */
typedef struct bl_linear {
    char op, uplo;  /* uplo: of a triangle that is stored of it, else 0 */
    bool hermitian; /* of which a triangle stands for all: not symmetric */
    bool unit;      /* a packed triangle that is one without its diagonal inside another */
    uint8_t storage;
    int64_t m, n;   /* as stored */
    int64_t kl, ku; /* diagonals stored below and above the main one: of a band, or of a packed triangle */
} bl_linear;

static inline bl_linear dense(char op, int64_t m, int64_t n) { return (bl_linear){.op = op, .m = m, .n = n}; }
static inline int64_t length_y(const bl_linear *l) { return transposes(l->op) ? l->n : l->m; }

/* Operand i of a call, as the table has it; the op is the caller's business. */
bl_linear bl_read_linear(const bl_call *c, int i);

/* What is stored of column j of a band or packed triangle: numbers of the rows from `row` on, one after the other. */
typedef struct bl_column {
    char *at;
    int64_t row, count;
} bl_column;
bl_column bl_stored_column(const bl_linear *l, bl_matrix a, int64_t j, int64_t size);

/* A number on the diagonal of a band or packed triangle. */
bl_matrix bl_diagonal_number(const bl_linear *l, bl_matrix a, int64_t j, int64_t size);

/* The diagonal of a stored triangle as a vector: where it is, or if it is nowhere one, a copy in workspace. */
bl_matrix bl_diagonal(const bl_site *s, const bl_linear *l, bl_matrix a, char *work);
/* And from there back to where it belongs. */
void bl_put_diagonal(const bl_site *s, const bl_linear *l, bl_matrix d, bl_matrix a);

/* y <- alpha op(A) x + beta y. Workspace for a vector as x and one as y. */
void bl_multiply(const bl_site *s, const bl_path *way, const bl_linear *l, bl_scalar alpha, bl_matrix a, bl_matrix x,
                 bl_scalar beta, bl_matrix y, char *work);

/* What an input gets of a product p = op(A) x: dz += factor p; and dalpha += sum conj(z) p, or its conjugate, for which
 * p is made by itself. `factor` is alpha or its conjugate. */
void bl_add_product(const bl_site *s, const bl_linear *l, bl_matrix a, bl_matrix x, bl_scalar factor, int z,
                    bool conjugate, void *dalpha, char *work);

/* A <- A + alpha x y^T, y conjugated for 'C'; all of a dense matrix. */
void bl_add_outer(const bl_path *to, int type, int64_t m, int64_t n, bl_scalar alpha, bl_matrix x, char op_y,
                  bl_matrix y, bl_matrix a);
/* A <- A + alpha op(x) op(y)^T, where a band or packed triangle is stored. Workspace for a vector as y. */
void bl_add_columns(const bl_site *s, const bl_path *way, const bl_linear *l, bl_scalar alpha, char op_x, bl_matrix x,
                    char op_y, bl_matrix y, bl_matrix a, char *work);
/* The triangle of A <- A + alpha x y^T + alpha y x^T, of a Hermitian matrix A + alpha x y^H + conj(alpha) y x^H, of
 * which all is stored. */
void bl_add_rank2(const bl_path *to, int type, const bl_linear *l, bl_scalar alpha, bl_matrix x, bl_matrix y,
                  bl_matrix a);

#endif
