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

/* A triangle of out += alpha op(X) op(Y), the diagonal excluded if that is 'U'. `symmetric`: what the square adds to a
 * symmetric matrix of which one triangle is stored, that is op(X) op(Y) + its transpose, with half the diagonal; the
 * ops are then N and T, or T and N. */
typedef struct bl_triangular_product {
    const bl_path *made, *scaled; /* the way of products without alpha and with it */
    int type;
    char uplo, diag, op_x, op_y, conjalpha;
    bool symmetric;
    int64_t inner, size;
    bl_scalar alpha, factor; /* factor: alpha, or its conjugate if conjalpha says so */
    bl_matrix x, y, out;
    char *work; /* for a square of order LEAF, or n if that is less */
} bl_triangular_product;

void bl_add_triangle(const bl_triangular_product *p, int64_t n);

/* C <- alpha product(A, B) + beta C, of all of an m x n matrix or of a triangle. */
typedef struct update {
    /* For what has no operand B the product of A by itself, or its derivative: that of A and a tangent of A. */
    void (*product)(const bl_path *to, const bl_call *c, bl_scalar alpha, bl_matrix a, bl_matrix b, bl_scalar beta,
                    bl_matrix out);
    int out;
    char uplo;
    int64_t m, n;
    bool terms; /* the product is a sum of any */
} update;

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
    if (s->scalar_shadow[BETA]) {
        bl_taxpby(to, c->type, u.uplo, u.m, u.n, 'N', bl_scalar_shadow(s, BETA), bl_values(s, u.out), 'N', beta, dc);
        beta = BL_ONE;
    }
    const bl_path scaled = times(s, alpha);
    const bool db = !square && s->shadow[B], products = u.terms && !bl_always_zero(alpha) && (s->shadow[A] || db);
    if (products && scaled.unmade && !bl_always_one(beta)) {
        bl_tscal(to, c->type, u.uplo, u.m, u.n, 'N', beta, dc);
        beta = BL_ONE;
    }
    if (products && s->shadow[A]) {
        u.product(&scaled, c, alpha, bl_shadow(s, A), b, beta, dc);
        beta = BL_ONE;
    }
    if (products && db) {
        u.product(&scaled, c, alpha, a, bl_shadow(s, B), beta, dc);
        beta = BL_ONE;
    }
    if (u.terms && s->scalar_shadow[ALPHA]) {
        u.product(to, c, bl_scalar_shadow(s, ALPHA), a, square ? (bl_matrix){NULL, 0} : b, beta, dc);
        beta = BL_ONE;
    }
    if (!bl_always_one(beta))
        bl_tscal(to, c->type, u.uplo, u.m, u.n, 'N', beta, dc);
}

#endif
