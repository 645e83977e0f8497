/* Level 2: triangular matrices. Notation is that of rules_level2.c.
 *
 *   trmv   x = op(A) x_old, A triangular; tbmv of a band, tpmv packed
 *   tangent  dx <- op(A) dx + op(dA) x_old
 *   adjoint  dop(A) += G x_old^H in the triangle, then G <- op(A)^H G
 *
 *   trsv   op(A) x = x_old, A triangular; tbsv of a band, tpsv packed
 *   tangent  dx <- op(A)^-1 (dx - op(dA) x)
 *   adjoint  G <- op(A)^-H G, then dop(A) -= G x^H in the triangle
 */
#include "rules_level2.h"

/* What is stored of a triangular matrix: a triangle with its diagonal, of the matrix itself or, if that is unit, of the
 * block beside its diagonal. Its rows and columns start at these of the matrix. */
typedef struct stored {
    bl_linear form;
    bl_matrix at;
    int64_t n, row, col;
} stored;

static stored stored_part(const bl_call *c, bl_matrix a)
{
    const bool upper = c->flag[0] == 'U', unit = c->flag[2] == 'U';
    stored t = {bl_read_linear(c, TRMV_A), a, c->dim[0], 0, 0};
    if (!unit)
        return t;
    t.row = !upper;
    t.col = upper;
    t.form.unit = true;
    t.form.m = t.form.n = t.n -= 1;
    if (t.form.storage == BL_PACKED)
        return t;
    t.at.at = pointer(a, upper ? a.ld : 1, c->size);
    if (t.form.storage == BL_BAND && t.form.kl + t.form.ku == 0)
        t.form.n = t.n = 0;
    t.form.kl -= t.form.kl > 0;
    t.form.ku -= t.form.ku > 0;
    return t;
}

/* z <- op(A) z or op(A)^-1 z, with the flags of a call or others. */
static void apply(const bl_site *s, bool solve, char op, char diag, const stored *t, bl_matrix z)
{
    const int type = s->call->type;
    const char uplo = t->form.uplo;
    const int64_t n = t->n, k = t->form.kl + t->form.ku; /* one of them is 0 */
    if (t->form.storage == BL_PACKED)
        (solve ? bl_tpsv : bl_tpmv)(&s->path, type, uplo, op, diag, n, t->at, z);
    else if (t->form.storage == BL_BAND)
        (solve ? bl_tbsv : bl_tbmv)(&s->path, type, uplo, op, diag, n, k, t->at, z);
    else
        (solve ? bl_trsv : bl_trmv)(&s->path, type, uplo, op, diag, n, t->at, z);
}

/* The same by the call's matrix. BLAS has no 'r'. */
static void turn(const bl_site *s, bool solve, char op, bl_matrix z)
{
    const bl_call *c = s->call;
    const stored all = {bl_read_linear(c, TRMV_A), bl_values(s, TRMV_A), c->dim[0], 0, 0};
    if (op != 'r') {
        apply(s, solve, op, c->flag[2], &all, z);
        return;
    }
    const bl_matrix turned = copied(s, all.n, 'C', z, s->work);
    apply(s, solve, 'N', c->flag[2], &all, turned);
    bl_vaxpby(&s->path, c->type, all.n, 'N', BL_ONE, 'C', turned, 'N', BL_ZERO, z);
}

/* y += factor op(T) x of a packed triangle without its diagonal, which no call takes: column by column. */
static void add_columns_of_tangent(const bl_site *s, const stored *t, char op, bl_scalar factor, bl_matrix x,
                                   bl_matrix y, char *work)
{
    const int type = s->call->type;
    const int64_t size = s->call->size, n = t->n;
    const char conj = op == 'r' ? 'C' : 'N';
    const bl_matrix w = scaled_copy(s, &s->path, n, factor, op == 'T' ? 'C' : 'N', x, work);
    for (int64_t j = 0; j < n; j++) {
        const bl_column column = bl_stored_column(&t->form, t->at, j, size);
        const bl_matrix a = {column.at, 1}, beside = part(transposes(op) ? w : y, n, column.row, column.count, size);
        if (transposes(op))
            bl_vdot(&s->path, type, column.count, op == 'C' ? a : beside, op == 'C' ? beside : a, false,
                    part(y, n, j, 1, size).at);
        else
            bl_vaxpby(&s->path, type, column.count, 'N', bl_scalar_at(type, pointer(w, j, size)), conj, a, 'N', BL_ONE,
                      beside);
    }
}

/* dx += factor op(dA) x */
static void add_tangent_of_triangle(const bl_site *s, bl_scalar factor, bl_matrix x, char *work)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const char op = op_of(c->type, c->flag[1]), conj = op == 'r' ? 'C' : 'N';
    const stored t = stored_part(c, bl_shadow(s, TRMV_A));
    if (t.n == 0)
        return;
    const int64_t from = transposes(op) ? t.row : t.col, to = transposes(op) ? t.col : t.row;
    const bl_matrix dx = part(bl_shadow(s, TRMV_X), n, to, t.n, c->size);
    x = part(x, n, from, t.n, c->size);
    if (t.form.unit && t.form.storage == BL_PACKED) {
        add_columns_of_tangent(s, &t, op, factor, x, dx, work);
        return;
    }
    const bl_matrix w = copied(s, t.n, conj, x, work);
    apply(s, false, op == 'r' ? 'N' : op, 'N', &t, w);
    bl_vaxpby(&s->path, c->type, t.n, 'N', factor, conj, w, 'N', BL_ONE, dx);
}

static void trmv_like_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dx = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !dx.at)
        return;
    turn(s, false, op_of(c->type, c->flag[1]), dx);
    if (s->shadow[TRMV_A])
        add_tangent_of_triangle(s, BL_ONE, bl_values(s, TRMV_X), s->work);
}

static void trsv_like_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const char op = op_of(c->type, c->flag[1]);
    const bl_matrix dx = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !dx.at)
        return;
    if (s->shadow[TRMV_A]) {
        char *work = s->work + bl_room(c->dim[0], c->size);
        const bl_matrix x = copied(s, c->dim[0], 'N', bl_values(s, TRMV_X), work);
        turn(s, true, op, x);
        add_tangent_of_triangle(s, minus_one, x, s->work);
    }
    turn(s, true, op, dx);
}

/* The triangle of dA <- dA + factor u v^T, v conjugated for 'C', by blocks of columns. */
static void add_triangle(const bl_site *s, const stored *t, bl_scalar factor, bl_matrix u, char op_v, bl_matrix v,
                         char *work)
{
    const bl_path *to = &s->path;
    const bl_call *c = s->call;
    const int64_t size = c->size;
    const bool upper = c->flag[0] == 'U';
    for (int64_t j = 0; j < t->n; j += TRMV_BLOCK) {
        const int64_t cols = t->n - j < TRMV_BLOCK ? t->n - j : TRMV_BLOCK;
        const int64_t row = upper ? 0 : j + cols, rows = upper ? j : t->n - row;
        const bl_matrix square = bl_work_matrix(work, cols), part_v = part(v, t->n, j, cols, size);
        if (rows > 0)
            bl_add_outer(to, c->type, rows, cols, factor, part(u, t->n, row, rows, size), op_v, part_v,
                         (bl_matrix){pointer(t->at, row + j * t->at.ld, size), t->at.ld});
        bl_mscal(to, c->type, cols, cols, 'N', BL_ZERO, square);
        bl_add_outer(to, c->type, cols, cols, BL_ONE, part(u, t->n, j, cols, size), op_v, part_v, square);
        bl_taxpby(to, c->type, c->flag[0], cols, cols, 'N', factor, square, 'N', BL_ONE,
                  (bl_matrix){pointer(t->at, j + j * t->at.ld, size), t->at.ld});
    }
}

/* dop(A) += factor G x^H in the stored triangle: factor G x^H, conj(x) G^T, x G^H, conj(G) x^T for N, T, C, r. */
static void add_to_triangle(const bl_site *s, bl_scalar factor, bl_matrix x)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    const char op = op_of(c->type, c->flag[1]);
    const bl_matrix G = bl_shadow(s, TRMV_X);
    const stored t = stored_part(c, bl_shadow(s, TRMV_A));
    if (t.n == 0)
        return;
    const bool turns = bl_is_complex(c->type) && (op == 'T' || op == 'r');
    bl_matrix u = part(transposes(op) ? x : G, n, t.row, t.n, c->size);
    const bl_matrix v = part(transposes(op) ? G : x, n, t.col, t.n, c->size);
    if (t.form.storage != BL_TRIANGLE) {
        bl_add_columns(s, &s->path, &t.form, factor, turns ? 'C' : 'N', u, turns ? 'N' : 'C', v, t.at, s->work);
        return;
    }
    if (turns)
        u = copied(s, t.n, 'C', u, s->work);
    add_triangle(s, &t, factor, u, turns ? 'N' : 'C', v, s->work + bl_room(n, c->size));
}

static void trmv_like_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !G.at)
        return;
    if (s->shadow[TRMV_A])
        add_to_triangle(s, BL_ONE, bl_values(s, TRMV_X));
    if (s->active & BL_OPERAND(TRMV_X))
        turn(s, false, op_of(c->type, adjoint_of(op_of(c->type, c->flag[1]))), G);
    else
        bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, G);
}

static void trsv_like_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !G.at)
        return;
    turn(s, true, op_of(c->type, adjoint_of(op_of(c->type, c->flag[1]))), G);
    if (s->shadow[TRMV_A])
        add_to_triangle(s, minus_one, bl_values(s, TRMV_X));
    if (!(s->active & BL_OPERAND(TRMV_X)))
        bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, G);
}

#define LIKE_TRMV(name)                                                                                                \
    void bl_tr##name##_tangent(const bl_site *s) { tr##name##_like_tangent(s); }                                       \
    void bl_tr##name##_adjoint(const bl_site *s) { tr##name##_like_adjoint(s); }                                       \
    void bl_tb##name##_tangent(const bl_site *s) { tr##name##_like_tangent(s); }                                       \
    void bl_tb##name##_adjoint(const bl_site *s) { tr##name##_like_adjoint(s); }                                       \
    void bl_tp##name##_tangent(const bl_site *s) { tr##name##_like_tangent(s); }                                       \
    void bl_tp##name##_adjoint(const bl_site *s) { tr##name##_like_adjoint(s); }
LIKE_TRMV(mv)
LIKE_TRMV(sv)
