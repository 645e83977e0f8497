/* What the rules of level 3 share. */
#ifndef BL_RULES_LEVEL3_H
#define BL_RULES_LEVEL3_H

#include "access_level3.h"
#include "made.h"

/* The diagonal as a matrix of one row. */
static inline bl_matrix diagonal_of(bl_matrix x) { return (bl_matrix){x.at, x.ld + 1}; }

/* The strict triangle as one of an order less. */
static inline bl_matrix beside_diagonal(bl_matrix x, char uplo, int64_t size)
{
    return (bl_matrix){(char *)x.at + (uplo == 'U' ? x.ld : 1) * size, x.ld};
}

/* A triangle of out += factor op(X) op(Y), the diagonal excluded if that is 'U'. `twin` adds the transpose of that,
 * 'T', or its adjoint, 'C'; the ops are then N and it, or it and N, and the diagonal of out is real for 'C'. */
typedef struct bl_triangular_product {
    const bl_path *made, *scaled; /* the way of products without alpha and with it */
    int type;
    char uplo, diag, op_x, op_y, conjalpha;
    char twin; /* or 0 */
    int64_t inner, size;
    bl_scalar alpha, factor; /* factor: alpha, or its conjugate if conjalpha says so */
    bl_matrix x, y, out;
    char *work; /* without a twin for a square of order LEAF, or n if that is less */
} bl_triangular_product;

void bl_add_triangle(const bl_triangular_product *p, int64_t n);

/* C <- alpha product(A, B) + beta C, of all of an m x n matrix or of a triangle. */
typedef struct update {
    /* For what has no operand B the product of A by itself, or its derivative: that of A and a tangent of A. */
    void (*product)(const bl_path *to, const bl_site *s, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                    bl_matrix out);
    int out;
    char uplo;
    int64_t m, n;
    bool terms;     /* the product is a sum of any */
    bool hermitian; /* of the triangle the imaginary diagonal is set to 0; beta is real */
} update;

/* The imaginary diagonal of a Hermitian output: it is set to 0, unless the routine returns at once. */
static inline bool clears_diagonal(const bl_call *c, bool terms)
{
    return (terms && !bl_is_zero(c->scalar[ALPHA].value)) || !bl_is_one(c->scalar[BETA].value);
}

/* C <- alpha A + beta C of triangles; of Hermitian ones with real scalars and without the imaginary diagonals. */
static inline void combine(const bl_site *s, const update *u, bl_scalar alpha, bl_matrix a, bl_scalar beta, bl_matrix c,
                           char *cells)
{
    const bl_path *to = &s->path;
    const int type = s->call->type, real = bl_real_type(type);
    const int64_t size = s->call->size;
    if (!u->hermitian) {
        bl_taxpby(to, type, u->uplo, u->m, u->n, 'N', alpha, a, 'N', beta, c);
        return;
    }
    bl_maxpby(to, real, 1, u->n, 'N', alpha, bl_real_part(type, diagonal_of(a)), 'N', beta,
              bl_real_part(type, diagonal_of(c)));
    alpha = widened(s, real, alpha, cells);
    beta = widened(s, real, beta, cells + bl_room(1, size));
    bl_taxpby(to, type, u->uplo, u->n - 1, u->n - 1, 'N', alpha, beside_diagonal(a, u->uplo, size), 'N', beta,
              beside_diagonal(c, u->uplo, size));
}

/* C <- op(beta) C likewise. */
static inline void scale(const bl_site *s, const update *u, char op, bl_scalar beta, bl_matrix c, char *cell)
{
    const bl_path *to = &s->path;
    const int type = s->call->type, real = bl_real_type(type);
    if (!u->hermitian) {
        bl_tscal(to, type, u->uplo, u->m, u->n, op, beta, c);
        return;
    }
    bl_mscal(to, real, 1, u->n, 'N', beta, bl_real_part(type, diagonal_of(c)));
    bl_tscal(to, type, u->uplo, u->n - 1, u->n - 1, 'N', widened(s, real, beta, cell),
             beside_diagonal(c, u->uplo, s->call->size));
}

/* Workspace for a Hermitian C: two cells and a row of real numbers. */
static inline void update_tangent(const bl_site *s, const update u)
{
    const bl_call *c = s->call;
    const bl_path *to = &s->path;
    const bool square = u.out == B; /* no operand B */
    const bl_matrix a = bl_values(s, A), b = square ? a : bl_values(s, B), dc = bl_shadow(s, u.out);
    const bl_scalar alpha = bl_given(s, ALPHA);
    bl_scalar beta = bl_given(s, BETA); /* what is still to be done to the old tangent */
    if (!dc.at)
        return;
    const int real = bl_real_type(c->type);
    const bool clears = u.hermitian && clears_diagonal(c, u.terms);
    const bl_matrix imaginary = bl_imaginary_part(c->type, diagonal_of(dc));
    if (u.hermitian && !clears)
        bl_mcopy(to, real, 1, u.n, imaginary, (bl_matrix){s->work + 2 * bl_room(1, c->size), 1});
    if (s->scalar_shadow[BETA]) {
        combine(s, &u, bl_scalar_shadow(s, BETA), bl_values(s, u.out), beta, dc, s->work);
        beta = BL_ONE;
    }
    const bl_path scaled = times(s, alpha);
    const bool db = !square && s->shadow[B], products = u.terms && !bl_always_zero(alpha) && (s->shadow[A] || db);
    if (products && scaled.unmade && !bl_always_one(beta)) {
        scale(s, &u, 'N', beta, dc, s->work);
        beta = BL_ONE;
    }
    if (products && s->shadow[A]) {
        u.product(&scaled, s, alpha, bl_shadow(s, A), b, beta, dc);
        beta = BL_ONE;
    }
    if (products && db) {
        u.product(&scaled, s, alpha, a, bl_shadow(s, B), beta, dc);
        beta = BL_ONE;
    }
    if (u.terms && s->scalar_shadow[ALPHA]) {
        u.product(to, s, bl_scalar_shadow(s, ALPHA), a, square ? (bl_matrix){NULL, 0} : b, beta, dc);
        beta = BL_ONE;
    }
    if (!bl_always_one(beta))
        scale(s, &u, 'N', beta, dc, s->work);
    if (clears)
        bl_mscal(to, real, 1, u.n, 'N', BL_ZERO, imaginary);
    else if (u.hermitian)
        bl_mcopy(to, real, 1, u.n, (bl_matrix){s->work + 2 * bl_room(1, c->size), 1}, imaginary);
}

#endif
