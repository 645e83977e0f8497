/* Level 1. <x, y> = Re sum conj(x) y (semantics 3); G is the shadow of y, g that of the result.
 *
 *   swap   x <-> y               the shadows are swapped
 *   copy   y = x                 dy <- dx                        dx += G, G <- 0
 *   scal   x = alpha x_old       dx <- alpha dx + dalpha x_old   dalpha += sum conj(x_old) G, G <- conj(alpha) G
 *   axpy   y = alpha x + y_old   dy <- dy + alpha dx + dalpha x  dalpha += sum conj(x) G, dx += conj(alpha) G
 *   axpby  y = alpha x + beta y_old: the same, and dy <- beta dy + ..., dbeta += sum conj(y_old) G, G <- conj(beta) G
 *   dot    r = sum x y           dr <- sum dx y + sum x dy       dx += g conj(y), dy += g conj(x), g <- 0
 *   sbdot  r = sb + sum x y      the same, and dr <- dr + dsb  dsb += g
 *   dotc   r = sum conj(x) y     the same with conj(dx), conj(x) dx += conj(g) y, dy += g x, g <- 0
 *
 * A real alpha of complex numbers (rscal) gets the real part of its sum.
 *
 * Each number of a vector with increment 0 is read n times: its adjoint is the sum. Where the operands of axpy are the
 * same, so are their shadows, and what is added is a copy.
 */
#include "access_level1.h"
#include "made.h"

static void swap_shadows(const bl_site *s)
{
    const bl_call *c = s->call;
    if (c->dim[0] > 0 && s->shadow[X] && s->shadow[Y] && !same_vector(c))
        bl_swap(&s->path, c->type, c->dim[0], bl_shadow(s, X), bl_shadow(s, Y));
}

void bl_swap_tangent(const bl_site *s) { swap_shadows(s); }
void bl_swap_adjoint(const bl_site *s) { swap_shadows(s); }

void bl_copy_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dy = bl_shadow(s, Y);
    if (c->dim[0] <= 0 || !dy.at || same_vector(c))
        return;
    if (s->shadow[X])
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', BL_ONE, 'N', bl_shadow(s, X), 'N', BL_ZERO, dy);
    else
        bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, dy);
}

void bl_copy_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, Y);
    if (c->dim[0] <= 0 || !G.at || same_vector(c))
        return;
    if (s->shadow[X])
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', BL_ONE, 'N', G, 'N', BL_ONE, bl_shadow(s, X));
    bl_vscal(&s->path, c->type, c->dim[0], 'N', BL_ZERO, G);
}

void bl_scal_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_scalar alpha = bl_given(s, AXPY_ALPHA);
    const bl_matrix dx = bl_shadow(s, X);
    if (c->dim[0] <= 0 || !dx.at || dx.ld <= 0)
        return;
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', bl_scalar_shadow(s, AXPY_ALPHA), 'N', bl_values(s, X), 'N', alpha,
                  dx);
    else
        bl_vscal(&s->path, c->type, c->dim[0], 'N', alpha, dx);
}

void bl_rscal_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_scalar alpha = bl_given(s, AXPY_ALPHA);
    const bl_matrix dx = bl_shadow(s, X);
    if (c->dim[0] <= 0 || !dx.at || dx.ld <= 0)
        return;
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_pairs_axpby(&s->path, c->type, c->dim[0], bl_scalar_shadow(s, AXPY_ALPHA), bl_values(s, X), alpha, dx);
    else
        bl_pairs_scal(&s->path, c->type, c->dim[0], alpha, dx);
}

void bl_rscal_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, X);
    if (c->dim[0] <= 0 || !G.at || G.ld <= 0)
        return;
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_pairs_dot(&s->path, c->type, c->dim[0], bl_values(s, X), G, s->scalar_shadow[AXPY_ALPHA]);
    bl_pairs_scal(&s->path, c->type, c->dim[0], bl_given(s, AXPY_ALPHA), G);
}

void bl_scal_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, X);
    if (c->dim[0] <= 0 || !G.at || G.ld <= 0)
        return;
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_vdot(&s->path, c->type, c->dim[0], bl_values(s, X), G, false, s->scalar_shadow[AXPY_ALPHA]);
    bl_vscal(&s->path, c->type, c->dim[0], 'C', bl_given(s, AXPY_ALPHA), G);
}

/* y <- y + op(alpha) x, shadows; through a copy where they are the same. */
static void add_shadow(const bl_site *s, char op, bl_matrix x, bl_matrix y)
{
    const bl_call *c = s->call;
    const bl_scalar alpha = bl_given(s, AXPY_ALPHA);
    if (bl_always_zero(alpha))
        return;
    if (x.at == y.at && x.ld == y.ld) {
        const bl_matrix copy = {s->work, x.ld < 0 ? -1 : 1};
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', BL_ONE, 'N', x, 'N', BL_ZERO, copy);
        x = copy;
    }
    bl_path to = s->path;
    to.unmade = bl_is_zero(alpha.value); /* it has a derivative if a layer below has alpha active */
    bl_vaxpby(&to, c->type, c->dim[0], op, alpha, 'N', x, 'N', BL_ONE, y);
}

void bl_axpy_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dy = bl_shadow(s, Y);
    if (c->dim[0] <= 0 || !dy.at)
        return;
    if (s->shadow[X])
        add_shadow(s, 'N', bl_shadow(s, X), dy);
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', bl_scalar_shadow(s, AXPY_ALPHA), 'N', bl_values(s, X), 'N', BL_ONE,
                  dy);
}

void bl_axpy_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, Y);
    if (c->dim[0] <= 0 || !G.at)
        return;
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_vdot(&s->path, c->type, c->dim[0], bl_values(s, X), G, false, s->scalar_shadow[AXPY_ALPHA]);
    if (s->shadow[X])
        add_shadow(s, 'C', G, bl_shadow(s, X));
}

void bl_axpby_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dy = bl_shadow(s, Y);
    const bl_scalar alpha = bl_given(s, AXPY_ALPHA);
    bl_scalar keep = bl_given(s, AXPBY_BETA); /* what is still to be done to the old tangent */
    if (c->dim[0] <= 0 || !dy.at)
        return;
    if (s->scalar_shadow[AXPBY_BETA]) {
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', bl_scalar_shadow(s, AXPBY_BETA), 'N', bl_values(s, Y), 'N', keep,
                  dy);
        keep = BL_ONE;
    }
    if (s->scalar_shadow[AXPY_ALPHA]) {
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', bl_scalar_shadow(s, AXPY_ALPHA), 'N', bl_values(s, X), 'N', keep,
                  dy);
        keep = BL_ONE;
    }
    const bl_path to = times(s, alpha);
    if (!bl_always_one(keep) && (!s->shadow[X] || to.unmade)) {
        bl_vscal(&s->path, c->type, c->dim[0], 'N', keep, dy);
        keep = BL_ONE;
    }
    if (s->shadow[X])
        bl_vaxpby(&to, c->type, c->dim[0], 'N', alpha, 'N', bl_shadow(s, X), 'N', keep, dy);
}

void bl_axpby_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, Y);
    const bl_scalar alpha = bl_given(s, AXPY_ALPHA), beta = bl_given(s, AXPBY_BETA);
    if (c->dim[0] <= 0 || !G.at)
        return;
    if (s->scalar_shadow[AXPBY_BETA])
        bl_vdot(&s->path, c->type, c->dim[0], bl_values(s, Y), G, false, s->scalar_shadow[AXPBY_BETA]);
    if (s->scalar_shadow[AXPY_ALPHA])
        bl_vdot(&s->path, c->type, c->dim[0], bl_values(s, X), G, false, s->scalar_shadow[AXPY_ALPHA]);
    const bl_path to = times(s, alpha);
    if (s->shadow[X])
        bl_vaxpby(&to, c->type, c->dim[0], 'C', alpha, 'N', G, 'N', BL_ONE, bl_shadow(s, X));
    if (!bl_always_one(beta))
        bl_vscal(&s->path, c->type, c->dim[0], 'C', beta, G);
}

/* dotu is dot of complex numbers. */
static void product(const bl_site *s, bl_matrix x, bl_matrix y, void *to)
{
    const bl_call *c = s->call;
    if (c->routine == BL_DOTC)
        bl_dotc(&s->path, c->type, c->dim[0], x, y, to);
    else if (c->routine == BL_DOTU)
        bl_dotu(&s->path, c->type, c->dim[0], x, y, to);
    else
        bl_dot(&s->path, c->type, c->dim[0], x, y, to);
}

void bl_dot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dr = bl_shadow(s, RESULT);
    if (!dr.at)
        return;
    const bool dx = c->dim[0] > 0 && s->shadow[X], dy = c->dim[0] > 0 && s->shadow[Y];
    if (dx)
        product(s, bl_shadow(s, X), bl_values(s, Y), dr.at);
    if (dy)
        product(s, bl_values(s, X), bl_shadow(s, Y), dx ? s->work : dr.at);
    if (dx && dy)
        bl_madd(&s->path, c->type, 1, 1, (bl_matrix){s->work, 1}, dr);
    if (!dx && !dy)
        bl_mscal(&s->path, c->type, 1, 1, 'N', BL_ZERO, dr);
}

void bl_dot_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, RESULT);
    if (!G.at)
        return;
    const int64_t n = c->dim[0];
    const bl_scalar g = bl_scalar_at(c->type, G.at);
    const char op = c->routine == BL_DOTC ? 'N' : 'C';
    if (n > 0 && s->shadow[X])
        bl_vaxpby(&s->path, c->type, n, op == 'N' ? 'C' : 'N', g, op, bl_values(s, Y), 'N', BL_ONE, bl_shadow(s, X));
    if (n > 0 && s->shadow[Y])
        bl_vaxpby(&s->path, c->type, n, 'N', g, op, bl_values(s, X), 'N', BL_ONE, bl_shadow(s, Y));
    bl_mscal(&s->path, c->type, 1, 1, 'N', BL_ZERO, G);
}

/* Sums of products in double precision, as the routine makes them. */
void bl_sbdot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dr = bl_shadow(s, RESULT);
    if (!dr.at)
        return;
    const int64_t nx = s->shadow[X] ? c->dim[0] : 0, ny = s->shadow[Y] ? c->dim[0] : 0;
    const bl_scalar dsb = s->scalar_shadow[SBDOT_SB] ? bl_scalar_shadow(s, SBDOT_SB) : BL_ZERO;
    bl_sbdot(&s->path, c->type, nx, dsb, bl_shadow(s, X), bl_values(s, Y), s->work);
    bl_sbdot(&s->path, c->type, ny, bl_scalar_at(c->type, s->work), bl_values(s, X), bl_shadow(s, Y), dr.at);
}

void bl_sbdot_adjoint(const bl_site *s)
{
    if (s->shadow[RESULT] && s->scalar_shadow[SBDOT_SB])
        bl_madd(&s->path, s->call->type, 1, 1, bl_shadow(s, RESULT), (bl_matrix){s->scalar_shadow[SBDOT_SB], 1});
    bl_dot_adjoint(s);
}

void bl_dotu_tangent(const bl_site *s) { bl_dot_tangent(s); }
void bl_dotu_adjoint(const bl_site *s) { bl_dot_adjoint(s); }
void bl_dotc_tangent(const bl_site *s) { bl_dot_tangent(s); }
void bl_dotc_adjoint(const bl_site *s) { bl_dot_adjoint(s); }
