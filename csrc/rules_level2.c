/* Level 2. <x, y> = Re sum conj(x) y (semantics 3); G is the shadow of the output. op is N, T, C or r, which conjugates
 * and does not transpose; a' = conj(alpha).
 *
 *   gemv   y = alpha op(A) x + beta y_old
 *   symv   the same with S, symmetric, of which a triangle is stored; real
 *   hemv   the same with S, Hermitian; its op is r if a row-major call made it
 *   tangent  dy <- beta dy + alpha (op(dA) x + op(A) dx) + dalpha op(A) x + dbeta y_old
 *   adjoint  with p = op(A)^H G
 *            dx += a' p                      dalpha += sum conj(op(A) x) G = sum conj(x) p
 *            dop(A) += a' G x^H              dbeta  += sum conj(y_old) G
 *            G <- conj(beta) G
 *            dA += a' G x^H, a' conj(x) G^T, alpha x G^H, alpha conj(G) x^T for N, T, C, r
 *            dS += a' G x^H + alpha x G^H off the diagonal, half of it on it; for r alpha conj(G) x^T + a' conj(x) G^T
 *
 *   ger    A = alpha X Y^T + A_old, X = x or conj(x), Y = y or conj(y); G stays
 *   tangent  dA <- dA + alpha (dX Y^T + X dY^T) + dalpha X Y^T
 *   adjoint  with p = G conj(Y)
 *            dX += a' p                      dalpha += sum conj(X) p
 *            dY += a' G^T conj(X)
 *
 *   syr    A = alpha x x^T + A_old, syr2  A = alpha (x y^T + y x^T) + A_old, of one triangle; real; G stays
 *   tangent  dA <- dA + alpha (dx x^T + x dx^T) + dalpha x x^T, and so on for each vector
 *   adjoint  with S = G + G^T of the triangle: G off the diagonal, twice G on it
 *            syr   dx += alpha S x                     dalpha += x^T S x / 2
 *            syr2  dx += alpha S y, dy += alpha S x    dalpha += x^T S y
 *
 *   her    A = alpha X X^H + A_old, alpha real; her2  A = alpha X Y^H + a' Y X^H + A_old; X = x and Y = y, or for r
 * their conjugates; the imaginary diagonal is set to 0 tangent  as of syr and syr2 adjoint  with the Hermitian matrix S
 * of the triangle of G, twice the real part on its diagonal her   dX += alpha S X                     dalpha += X^H S X
 * / 2 her2  dX += a' S Y, dY += alpha S X       dalpha += X^H S Y the imaginary diagonal of G <- 0
 *
 *   trmv   x = op(A) x_old, A triangular
 *   tangent  dx <- op(A) dx + op(dA) x_old
 *   adjoint  dop(A) += G x_old^H in the triangle, then G <- op(A)^H G
 *
 *   trsv   op(A) x = x_old, A triangular
 *   tangent  dx <- op(A)^-1 (dx - op(dA) x)
 *   adjoint  G <- op(A)^-H G, then dop(A) -= G x^H in the triangle
 *
 * BLAS has no r: conj(A) z is conj(A conj(z)). Products into workspace are added to zeros: not every gemv stores them
 * where its beta is 0.
 */
#include "access_level2.h"
#include "made.h"

static const bl_scalar half = {{0.5, 0}, NULL}, two = {{2, 0}, NULL}, minus_one = {{-1, 0}, NULL};

/* ---- parts that rules share */

static char *pointer(bl_matrix x, int64_t offset, int64_t size) { return (char *)x.at + offset * size; }

/* Numbers `first` to first + count - 1 of n. The lowest address is that of the last for a negative increment. */
static bl_matrix part(bl_matrix x, int64_t n, int64_t first, int64_t count, int64_t size)
{
    const int64_t offset = x.ld < 0 ? (n - first - count) * -x.ld : first * x.ld;
    return (bl_matrix){pointer(x, offset, size), x.ld};
}

static bl_matrix diagonal(bl_matrix a) { return (bl_matrix){a.at, a.ld + 1}; }

/* A copy in workspace, conjugated for 'C'. */
static bl_matrix copied(const bl_site *s, int64_t n, char op, bl_matrix x, char *work)
{
    const bl_matrix copy = {work, 1};
    bl_vaxpby(&s->path, s->call->type, n, 'N', BL_ONE, op, x, 'N', BL_ZERO, copy);
    return copy;
}

/* Zeros in workspace. */
static bl_matrix cleared(const bl_site *s, int64_t n, char *work)
{
    const bl_matrix x = {work, 1};
    bl_vscal(&s->path, s->call->type, n, 'N', BL_ZERO, x);
    return x;
}

/* A flag as its type has it. */
static char op_of(int type, char op) { return bl_is_complex(type) ? op : op == 'C' ? 'T' : op == 'r' ? 'N' : op; }
/* op(X)^H = adjoint_of(op)(X) */
static char adjoint_of(char op) { return op == 'N' ? 'C' : op == 'C' ? 'N' : op == 'T' ? 'r' : 'T'; }

/* A <- A + alpha x y^T, y conjugated for 'C'. */
static void add_outer(const bl_path *to, int type, int64_t m, int64_t n, bl_scalar alpha, bl_matrix x, char op_y,
                      bl_matrix y, bl_matrix a)
{
    if (!bl_is_complex(type))
        bl_ger(to, type, m, n, alpha, x, y, a);
    else if (op_y == 'C')
        bl_gerc(to, type, m, n, alpha, x, y, a);
    else
        bl_geru(to, type, m, n, alpha, x, y, a);
}

/* ---- gemv, symv and hemv */

/* A matrix between vectors: what gemv, symv and hemv multiply by. */
typedef struct linear {
    char op, uplo;  /* uplo: of a triangle that stands for all of the matrix, else 0 */
    bool hermitian; /* not symmetric */
    int64_t m, n;   /* as stored */
} linear;

static linear read_linear(const bl_call *c)
{
    if (c->routine == BL_SYMV)
        return (linear){'N', c->flag[0], false, c->dim[0], c->dim[0]};
    if (c->routine == BL_HEMV)
        return (linear){c->flag[1] == 'C' ? 'r' : 'N', c->flag[0], true, c->dim[0], c->dim[0]};
    return (linear){op_of(c->type, c->flag[0]), 0, false, c->dim[0], c->dim[1]};
}

static bool transposes(char op) { return op == 'T' || op == 'C'; }
static int64_t length_y(linear l) { return transposes(l.op) ? l.n : l.m; }

static void make_product(const bl_path *to, int type, linear l, bl_scalar alpha, bl_matrix a, bl_matrix x,
                         bl_scalar beta, bl_matrix y)
{
    if (l.hermitian)
        bl_hemv(to, type, l.uplo, l.n, alpha, a, x, beta, y);
    else if (l.uplo)
        bl_symv(to, type, l.uplo, l.n, alpha, a, x, beta, y);
    else
        bl_gemv(to, type, l.op, l.m, l.n, alpha, a, x, beta, y);
}

/* y <- alpha op(A) x + beta y. Workspace for a vector as x and one as y. */
static void multiply(const bl_site *s, const bl_path *way, linear l, bl_scalar alpha, bl_matrix a, bl_matrix x,
                     bl_scalar beta, bl_matrix y, char *work)
{
    const int type = s->call->type;
    if (!bl_always_one(beta) && (way->unmade || bl_is_zero(beta.value))) {
        bl_vscal(&s->path, type, length_y(l), 'N', beta, y);
        beta = BL_ONE;
    }
    if (l.op != 'r') {
        make_product(way, type, l, alpha, a, x, beta, y);
    } else {
        const bl_matrix turned = copied(s, l.n, 'C', x, work);
        const bl_matrix product = cleared(s, l.m, work + bl_room(l.n, s->call->size));
        l.op = 'N';
        make_product(&s->path, type, l, BL_ONE, a, turned, BL_ONE, product);
        bl_vaxpby(way, type, l.m, 'N', alpha, 'C', product, 'N', beta, y);
    }
}

/* What an input gets of a product p = op(A) x: dz += factor p; and dalpha += sum conj(z) p, or its conjugate, for which
 * p is made by itself. `factor` is alpha or its conjugate. */
static void add_product(const bl_site *s, linear l, bl_matrix a, bl_matrix x, bl_scalar factor, int z, bool conjugate,
                        void *dalpha, char *work)
{
    const int type = s->call->type;
    const int64_t n = length_y(l);
    const bl_path scaled = times(s, factor);
    const bool to_z = s->shadow[z] && !bl_always_zero(factor);
    if (dalpha) {
        const bl_matrix product = cleared(s, n, work);
        multiply(s, &s->path, l, BL_ONE, a, x, BL_ONE, product, work + bl_room(n, s->call->size));
        bl_vdot(&s->path, type, n, bl_values(s, z), product, conjugate, dalpha);
        if (to_z)
            bl_vaxpby(&scaled, type, n, 'N', factor, 'N', product, 'N', BL_ONE, bl_shadow(s, z));
    } else if (to_z) {
        multiply(s, &scaled, l, factor, a, x, BL_ONE, bl_shadow(s, z), work);
    }
}

static void gemv_like_tangent(const bl_site *s)
{
    const linear l = read_linear(s->call);
    const int type = s->call->type;
    const bl_matrix a = bl_values(s, GEMV_A), x = bl_values(s, GEMV_X), dy = bl_shadow(s, GEMV_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    bl_scalar beta = bl_given(s, LEVEL2_BETA); /* what is still to be done to the old tangent */
    if (l.m == 0 || l.n == 0 || !dy.at)
        return;
    if (s->scalar_shadow[LEVEL2_BETA]) {
        bl_vaxpby(&s->path, type, length_y(l), 'N', bl_scalar_shadow(s, LEVEL2_BETA), 'N', bl_values(s, GEMV_Y), 'N',
                  beta, dy);
        beta = BL_ONE;
    }
    const bl_path scaled = times(s, alpha);
    if (s->shadow[GEMV_A] && !bl_always_zero(alpha)) {
        multiply(s, &scaled, l, alpha, bl_shadow(s, GEMV_A), x, beta, dy, s->work);
        beta = BL_ONE;
    }
    if (s->shadow[GEMV_X] && !bl_always_zero(alpha)) {
        multiply(s, &scaled, l, alpha, a, bl_shadow(s, GEMV_X), beta, dy, s->work);
        beta = BL_ONE;
    }
    if (s->scalar_shadow[LEVEL2_ALPHA]) {
        multiply(s, &s->path, l, bl_scalar_shadow(s, LEVEL2_ALPHA), a, x, beta, dy, s->work);
        beta = BL_ONE;
    }
    if (!bl_always_one(beta))
        bl_vscal(&s->path, type, length_y(l), 'N', beta, dy);
}

/* The triangle of A <- A + alpha x y^T + alpha y x^T, in a Hermitian matrix A + alpha x y^H + conj(alpha) y x^H. */
static void add_rank2(const bl_path *to, int type, linear l, bl_scalar alpha, bl_matrix x, bl_matrix y, bl_matrix a)
{
    if (l.hermitian)
        bl_her2(to, type, l.uplo, l.n, alpha, x, y, a);
    else
        bl_syr2(to, type, l.uplo, l.n, alpha, x, y, a);
}

/* dS += a' G x^H + its transpose or adjoint in the triangle, and half of that on the diagonal, whose imaginary part
 * stays. `turned` is a'. */
static void add_symmetric(const bl_site *s, linear l, bl_scalar alpha, bl_scalar turned, char *work)
{
    const int type = s->call->type;
    const bl_path scaled = times(s, alpha);
    bl_matrix x = bl_values(s, GEMV_X), G = bl_shadow(s, GEMV_Y), dA = bl_shadow(s, GEMV_A);
    const size_t room = bl_room(l.n, s->call->size);
    const bl_matrix kept = copied(s, l.n, 'N', diagonal(dA), work);
    if (l.op == 'r') {
        G = copied(s, l.n, 'C', G, work + room);
        x = copied(s, l.n, 'C', x, work + 2 * room);
    }
    bl_vscal(&s->path, type, l.n, 'N', BL_ZERO, diagonal(dA));
    add_rank2(&scaled, type, l, l.op == 'r' ? alpha : turned, G, x, dA);
    bl_vaxpby(&s->path, bl_real_type(type), l.n, 'N', half, 'N', bl_real_part(type, diagonal(dA)), 'N', BL_ONE,
              bl_real_part(type, kept));
    bl_vaxpby(&s->path, type, l.n, 'N', BL_ONE, 'N', kept, 'N', BL_ZERO, diagonal(dA));
}

/* dA += a' G x^H and so on. `turned` is a'. */
static void add_general(const bl_site *s, linear l, bl_scalar alpha, bl_scalar turned, char *work)
{
    const int type = s->call->type;
    const bl_path scaled = times(s, alpha);
    const bl_matrix x = bl_values(s, GEMV_X), G = bl_shadow(s, GEMV_Y), dA = bl_shadow(s, GEMV_A);
    const bool z = bl_is_complex(type);
    switch (l.op) {
    case 'N':
        add_outer(&scaled, type, l.m, l.n, turned, G, 'C', x, dA);
        break;
    case 'T':
        add_outer(&scaled, type, l.m, l.n, turned, z ? copied(s, l.m, 'C', x, work) : x, 'N', G, dA);
        break;
    case 'C':
        add_outer(&scaled, type, l.m, l.n, alpha, x, 'C', G, dA);
        break;
    default:
        add_outer(&scaled, type, l.m, l.n, alpha, copied(s, l.m, 'C', G, work), 'N', x, dA);
    }
}

static void gemv_like_adjoint(const bl_site *s)
{
    const linear l = read_linear(s->call);
    const int type = s->call->type;
    const bl_matrix G = bl_shadow(s, GEMV_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA), beta = bl_given(s, LEVEL2_BETA);
    if (l.m == 0 || l.n == 0 || !G.at)
        return;
    if (s->scalar_shadow[LEVEL2_BETA])
        bl_vdot(&s->path, type, length_y(l), bl_values(s, GEMV_Y), G, false, s->scalar_shadow[LEVEL2_BETA]);

    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    const bool products = !bl_always_zero(alpha);
    char *work = s->work;
    bl_scalar turned = alpha;
    if (products && (s->shadow[GEMV_A] || s->shadow[GEMV_X])) {
        turned = conjugated(s, type, alpha, work);
        work += bl_room(1, s->call->size);
    }
    if (dalpha || (products && s->shadow[GEMV_X])) {
        linear back = l;
        if (!l.uplo)
            back.op = op_of(type, adjoint_of(l.op));
        add_product(s, back, bl_values(s, GEMV_A), G, turned, GEMV_X, false, dalpha, work);
    }
    if (products && s->shadow[GEMV_A]) {
        if (l.uplo)
            add_symmetric(s, l, alpha, turned, work);
        else
            add_general(s, l, alpha, turned, work);
    }
    if (!bl_always_one(beta))
        bl_vscal(&s->path, type, length_y(l), 'C', beta, G);
}

void bl_gemv_tangent(const bl_site *s) { gemv_like_tangent(s); }
void bl_gemv_adjoint(const bl_site *s) { gemv_like_adjoint(s); }
void bl_symv_tangent(const bl_site *s) { gemv_like_tangent(s); }
void bl_symv_adjoint(const bl_site *s) { gemv_like_adjoint(s); }
void bl_hemv_tangent(const bl_site *s) { gemv_like_tangent(s); }
void bl_hemv_adjoint(const bl_site *s) { gemv_like_adjoint(s); }

/* ---- ger, geru, gerc */

/* Which of the vectors are conjugated: of gerc y, or x if a row-major call made it. */
static void read_ger(const bl_call *c, char *op_x, char *op_y)
{
    const bool conjugates = c->routine == BL_GERC, turned = conjugates && c->flag[0] == 'C';
    *op_x = turned ? 'C' : 'N';
    *op_y = conjugates && !turned ? 'C' : 'N';
}

/* dA <- dA + alpha X Y^T */
static void add_rank1(const bl_site *s, const bl_path *way, bl_scalar alpha, bl_matrix x, bl_matrix y)
{
    const bl_call *c = s->call;
    char op_x, op_y;
    read_ger(c, &op_x, &op_y);
    if (op_x == 'C')
        x = copied(s, c->dim[0], 'C', x, s->work);
    add_outer(way, c->type, c->dim[0], c->dim[1], alpha, x, op_y, y, bl_shadow(s, GER_A));
}

static void ger_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    const bl_path scaled = times(s, alpha);
    const bl_matrix x = bl_values(s, GER_X), y = bl_values(s, GER_Y);
    if (c->dim[0] == 0 || c->dim[1] == 0 || !s->shadow[GER_A])
        return;
    if (s->shadow[GER_X] && !bl_always_zero(alpha))
        add_rank1(s, &scaled, alpha, bl_shadow(s, GER_X), y);
    if (s->shadow[GER_Y] && !bl_always_zero(alpha))
        add_rank1(s, &scaled, alpha, x, bl_shadow(s, GER_Y));
    if (s->scalar_shadow[LEVEL2_ALPHA])
        add_rank1(s, &s->path, bl_scalar_shadow(s, LEVEL2_ALPHA), x, y);
}

static void ger_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const int64_t m = c->dim[0], n = c->dim[1];
    const bool z = bl_is_complex(c->type);
    const bl_matrix x = bl_values(s, GER_X), y = bl_values(s, GER_Y), G = bl_shadow(s, GER_A);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA);
    const bool products = !bl_always_zero(alpha);
    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    char op_x, op_y;
    if (m == 0 || n == 0 || !G.at)
        return;
    read_ger(c, &op_x, &op_y);
    char *work = s->work;
    bl_scalar turned = alpha;
    if (products && (s->shadow[GER_X] || s->shadow[GER_Y])) {
        turned = conjugated(s, c->type, alpha, work);
        work += bl_room(1, c->size);
    }
    if (op_x == 'C') { /* of p, its conjugate: dx += alpha conj(G) y */
        add_product(s, (linear){'r', 0, false, m, n}, G, y, alpha, GER_X, true, dalpha, work);
    } else if (dalpha || (products && s->shadow[GER_X])) {
        const bool copy = z && op_y == 'N';
        const bl_matrix factor = copy ? copied(s, n, 'C', y, work) : y;
        add_product(s, (linear){'N', 0, false, m, n}, G, factor, turned, GER_X, false, dalpha,
                    work + (copy ? bl_room(n, c->size) : 0));
    }
    if (!products || !s->shadow[GER_Y])
        return;
    if (op_y == 'C') { /* dy += alpha G^H x */
        add_product(s, (linear){'C', 0, false, m, n}, G, x, alpha, GER_Y, false, NULL, work);
    } else {
        const bl_matrix factor = z && op_x == 'N' ? copied(s, m, 'C', x, work) : x;
        add_product(s, (linear){'T', 0, false, m, n}, G, factor, turned, GER_Y, false, NULL, work);
    }
}

void bl_ger_tangent(const bl_site *s) { ger_tangent(s); }
void bl_ger_adjoint(const bl_site *s) { ger_adjoint(s); }
void bl_geru_tangent(const bl_site *s) { ger_tangent(s); }
void bl_geru_adjoint(const bl_site *s) { ger_adjoint(s); }
void bl_gerc_tangent(const bl_site *s) { ger_tangent(s); }
void bl_gerc_adjoint(const bl_site *s) { ger_adjoint(s); }

/* ---- syr, syr2, her and her2 */

/* The triangle that they update, as what its shadow is multiplied by: her and her2 by rows are turned. */
static linear read_triangle(const bl_call *c)
{
    const bool hermitian = c->routine == BL_HER || c->routine == BL_HER2;
    return (linear){hermitian && c->flag[1] == 'C' ? 'r' : 'N', c->flag[0], hermitian, c->dim[0], c->dim[0]};
}

/* What a rule does to a diagonal it does to its real part: of a Hermitian matrix the imaginary part is not read. */
static bl_matrix real_diagonal(const bl_site *s, bl_matrix a) { return bl_real_part(s->call->type, diagonal(a)); }
static bl_matrix imaginary_diagonal(const bl_site *s, bl_matrix a)
{
    return bl_imaginary_part(s->call->type, diagonal(a));
}

/* The shadow of an imaginary diagonal: that of an output is 0, unless alpha = 0 made the routine return at once. */
static bool clears_diagonal(const bl_call *c) { return !bl_is_zero(c->scalar[LEVEL2_ALPHA].value); }

/* From or to workspace, of real numbers. */
static void move_reals(const bl_site *s, int64_t n, bl_matrix from, bl_matrix to)
{
    bl_vaxpby(&s->path, bl_real_type(s->call->type), n, 'N', BL_ONE, 'N', from, 'N', BL_ZERO, to);
}

/* A vector as the product has it. */
static bl_matrix factor_of(const bl_site *s, linear l, bl_matrix x, char *work)
{
    return l.op == 'r' ? copied(s, l.n, 'C', x, work) : x;
}

/* The triangle of dA <- dA + alpha x x^T, x^H in a Hermitian matrix; alpha is real there. */
static void add_square(const bl_site *s, linear l, bl_scalar alpha, bl_matrix x, bl_matrix a)
{
    if (l.hermitian)
        bl_her(&s->path, s->call->type, l.uplo, l.n, alpha, x, a);
    else
        bl_syr(&s->path, s->call->type, l.uplo, l.n, alpha, x, a);
}

static void syr_like_tangent(const bl_site *s, bool pair)
{
    const bl_call *c = s->call;
    const linear l = read_triangle(c);
    const bl_matrix dA = bl_shadow(s, pair ? SYR2_A : SYR_A);
    const int type = c->type, real = bl_real_type(type);
    if (l.n == 0 || !dA.at)
        return;
    const bl_scalar given = bl_given(s, LEVEL2_ALPHA);
    const bl_path scaled = times(s, given);
    const bool to_x = s->shadow[SYR2_X] && !bl_always_zero(given),
               to_y = pair && s->shadow[SYR2_Y] && !bl_always_zero(given);
    const bool clears = l.hermitian && clears_diagonal(c);
    if (to_x || to_y || s->scalar_shadow[LEVEL2_ALPHA]) {
        char *cell = s->work, *kept_at = cell + bl_room(1, c->size), *one = kept_at + bl_room(l.n, c->size),
             *other = one + bl_room(l.n, c->size);
        const bl_matrix kept = {kept_at, 1};
        if (l.hermitian && !clears)
            move_reals(s, l.n, imaginary_diagonal(s, dA), kept);
        const bl_scalar alpha = to_x || to_y ? widened(s, pair ? type : real, given, cell) : given;
        const bl_matrix x = factor_of(s, l, bl_values(s, SYR2_X), one);
        const bl_matrix y = pair ? factor_of(s, l, bl_values(s, SYR2_Y), other + bl_room(l.n, c->size)) : x;
        if (to_x)
            add_rank2(&scaled, type, l, alpha, factor_of(s, l, bl_shadow(s, SYR2_X), other), y, dA);
        if (to_y)
            add_rank2(&scaled, type, l, alpha, x, factor_of(s, l, bl_shadow(s, SYR2_Y), other), dA);
        if (s->scalar_shadow[LEVEL2_ALPHA] && pair)
            add_rank2(&s->path, type, l, bl_scalar_shadow(s, LEVEL2_ALPHA), x, y, dA);
        else if (s->scalar_shadow[LEVEL2_ALPHA])
            add_square(s, l, bl_scalar_shadow(s, LEVEL2_ALPHA), x, dA);
        if (l.hermitian && !clears)
            move_reals(s, l.n, kept, imaginary_diagonal(s, dA));
    }
    if (clears)
        bl_vscal(&s->path, real, l.n, 'N', BL_ZERO, imaginary_diagonal(s, dA));
}

/* While G is S, its diagonal counts twice. */
static void syr_products(const bl_site *s, linear l, bl_matrix G, bool to_x, char *work)
{
    const int type = s->call->type;
    const bl_matrix sum = {work, 1};
    void *dalpha = s->scalar_shadow[LEVEL2_ALPHA];
    char *cell = work + bl_room(1, s->call->size), *room = cell + bl_room(1, s->call->size);
    const bl_scalar given = bl_given(s, LEVEL2_ALPHA),
                    alpha = to_x ? widened(s, bl_real_type(type), given, cell) : given;
    if (dalpha)
        bl_vscal(&s->path, type, 1, 'N', BL_ZERO, sum);
    add_product(s, l, G, bl_values(s, SYR_X), alpha, SYR_X, false, dalpha ? sum.at : NULL, room);
    if (dalpha)
        bl_vaxpby(&s->path, bl_real_type(type), 1, 'N', half, 'N', sum, 'N', BL_ONE, (bl_matrix){dalpha, 1});
}

static void syr2_products(const bl_site *s, linear l, bl_matrix G, bool products, char *work)
{
    const bl_matrix x = bl_values(s, SYR2_X), y = bl_values(s, SYR2_Y);
    const bl_scalar alpha = bl_given(s, LEVEL2_ALPHA),
                    turned = products ? conjugated(s, s->call->type, alpha, work) : alpha;
    const bool r = l.op == 'r'; /* of what X and Y get, the conjugate */
    work += bl_room(1, s->call->size);
    add_product(s, l, G, y, r ? alpha : turned, SYR2_X, r, s->scalar_shadow[LEVEL2_ALPHA], work);
    add_product(s, l, G, x, r ? turned : alpha, SYR2_Y, false, NULL, work);
}

static void syr_like_adjoint(const bl_site *s, bool pair)
{
    const bl_call *c = s->call;
    const linear l = read_triangle(c);
    const bl_matrix G = bl_shadow(s, pair ? SYR2_A : SYR_A), kept = {s->work, 1};
    const int real = bl_real_type(c->type);
    if (l.n == 0 || !G.at)
        return;
    const bool products =
        !bl_always_zero(bl_given(s, LEVEL2_ALPHA)) && (s->shadow[SYR2_X] || (pair && s->shadow[SYR2_Y]));
    if (products || s->scalar_shadow[LEVEL2_ALPHA]) {
        char *work = s->work + bl_room(l.n, c->size);
        move_reals(s, l.n, real_diagonal(s, G), kept);
        bl_vscal(&s->path, real, l.n, 'N', two, real_diagonal(s, G));
        if (pair)
            syr2_products(s, l, G, products, work);
        else
            syr_products(s, l, G, products, work);
        move_reals(s, l.n, kept, real_diagonal(s, G));
    }
    if (l.hermitian && clears_diagonal(c))
        bl_vscal(&s->path, real, l.n, 'N', BL_ZERO, imaginary_diagonal(s, G));
}

void bl_syr_tangent(const bl_site *s) { syr_like_tangent(s, false); }
void bl_syr_adjoint(const bl_site *s) { syr_like_adjoint(s, false); }
void bl_her_tangent(const bl_site *s) { syr_like_tangent(s, false); }
void bl_her_adjoint(const bl_site *s) { syr_like_adjoint(s, false); }
void bl_syr2_tangent(const bl_site *s) { syr_like_tangent(s, true); }
void bl_syr2_adjoint(const bl_site *s) { syr_like_adjoint(s, true); }
void bl_her2_tangent(const bl_site *s) { syr_like_tangent(s, true); }
void bl_her2_adjoint(const bl_site *s) { syr_like_adjoint(s, true); }

/* ---- trmv trsv */

/* What is stored of a triangular matrix: a triangle with its diagonal, of the matrix itself or, if that is unit, of the
 * block beside its diagonal. Its rows and columns start at these of the matrix. */
typedef struct stored {
    bl_matrix at;
    int64_t n, row, col;
} stored;

static stored stored_part(const bl_call *c, bl_matrix a)
{
    const bool upper = c->flag[0] == 'U', unit = c->flag[2] == 'U';
    const int64_t row = unit && !upper, col = unit && upper;
    return (stored){{pointer(a, row + col * a.ld, c->size), a.ld}, c->dim[0] - unit, row, col};
}

typedef void by_triangle(const bl_path *to, int type, char uplo, char trans, char diag, int64_t n, bl_matrix a,
                         bl_matrix x);

/* z <- op(A) z or op(A)^-1 z. BLAS has no 'r'. */
static void turn(const bl_site *s, by_triangle *by, char op, bl_matrix a, bl_matrix z)
{
    const bl_call *c = s->call;
    const int64_t n = c->dim[0];
    if (op != 'r') {
        by(&s->path, c->type, c->flag[0], op, c->flag[2], n, a, z);
        return;
    }
    const bl_matrix turned = copied(s, n, 'C', z, s->work);
    by(&s->path, c->type, c->flag[0], 'N', c->flag[2], n, a, turned);
    bl_vaxpby(&s->path, c->type, n, 'N', BL_ONE, 'C', turned, 'N', BL_ZERO, z);
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
    const bl_matrix w = copied(s, t.n, conj, part(x, n, from, t.n, c->size), work);
    bl_trmv(&s->path, c->type, c->flag[0], op == 'r' ? 'N' : op, 'N', t.n, t.at, w);
    bl_vaxpby(&s->path, c->type, t.n, 'N', factor, conj, w, 'N', BL_ONE,
              part(bl_shadow(s, TRMV_X), n, to, t.n, c->size));
}

void bl_trmv_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dx = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !dx.at)
        return;
    turn(s, bl_trmv, op_of(c->type, c->flag[1]), bl_values(s, TRMV_A), dx);
    if (s->shadow[TRMV_A])
        add_tangent_of_triangle(s, BL_ONE, bl_values(s, TRMV_X), s->work);
}

void bl_trsv_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const char op = op_of(c->type, c->flag[1]);
    const bl_matrix a = bl_values(s, TRMV_A), dx = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !dx.at)
        return;
    if (s->shadow[TRMV_A]) {
        char *work = s->work + bl_room(c->dim[0], c->size);
        const bl_matrix x = copied(s, c->dim[0], 'N', bl_values(s, TRMV_X), work);
        turn(s, bl_trsv, op, a, x);
        add_tangent_of_triangle(s, minus_one, x, s->work);
    }
    turn(s, bl_trsv, op, a, dx);
}

/* The triangle of dA <- dA + factor u v^T, v conjugated for 'C', by blocks of columns. */
static void add_triangle(const bl_site *s, stored t, bl_scalar factor, bl_matrix u, char op_v, bl_matrix v, char *work)
{
    const bl_path *to = &s->path;
    const bl_call *c = s->call;
    const int64_t size = c->size;
    const bool upper = c->flag[0] == 'U';
    for (int64_t j = 0; j < t.n; j += TRMV_BLOCK) {
        const int64_t cols = t.n - j < TRMV_BLOCK ? t.n - j : TRMV_BLOCK;
        const int64_t row = upper ? 0 : j + cols, rows = upper ? j : t.n - row;
        const bl_matrix square = bl_work_matrix(work, cols), part_v = part(v, t.n, j, cols, size);
        if (rows > 0)
            add_outer(to, c->type, rows, cols, factor, part(u, t.n, row, rows, size), op_v, part_v,
                      (bl_matrix){pointer(t.at, row + j * t.at.ld, size), t.at.ld});
        bl_mscal(to, c->type, cols, cols, 'N', BL_ZERO, square);
        add_outer(to, c->type, cols, cols, BL_ONE, part(u, t.n, j, cols, size), op_v, part_v, square);
        bl_taxpby(to, c->type, c->flag[0], cols, cols, 'N', factor, square, 'N', BL_ONE,
                  (bl_matrix){pointer(t.at, j + j * t.at.ld, size), t.at.ld});
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
    const bool turns = bl_is_complex(c->type) && (op == 'T' || op == 'r');
    bl_matrix u = transposes(op) ? x : G, v = transposes(op) ? G : x;
    if (turns)
        u = copied(s, n, 'C', u, s->work);
    add_triangle(s, t, factor, part(u, n, t.row, t.n, c->size), turns ? 'N' : 'C', part(v, n, t.col, t.n, c->size),
                 s->work + bl_room(n, c->size));
}

void bl_trmv_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !G.at)
        return;
    if (s->shadow[TRMV_A])
        add_to_triangle(s, BL_ONE, bl_values(s, TRMV_X));
    if (s->active & BL_OPERAND(TRMV_X))
        turn(s, bl_trmv, op_of(c->type, adjoint_of(op_of(c->type, c->flag[1]))), bl_values(s, TRMV_A), G);
    else
        bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, G);
}

void bl_trsv_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, TRMV_X);
    if (c->dim[0] == 0 || !G.at)
        return;
    turn(s, bl_trsv, op_of(c->type, adjoint_of(op_of(c->type, c->flag[1]))), bl_values(s, TRMV_A), G);
    if (s->shadow[TRMV_A])
        add_to_triangle(s, minus_one, bl_values(s, TRMV_X));
    if (!(s->active & BL_OPERAND(TRMV_X)))
        bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, G);
}
