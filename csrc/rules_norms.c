/* Norms. r is what they return, g its shadow; x may be complex, r and g are real.
 *
 *   nrm2   r = sqrt(sum |x|^2)      dr <- Re sum conj(x) dx / r          dx += (g / r) x, g <- 0
 *   asum   r = sum |Re x| + |Im x|  dr <- Re sum conj(s) dx, s = sign x  dx += g s, g <- 0
 *
 *   quot   c = a / b                dc <- (da - (a / b) db) / b          da += G / b, db -= (a / b) (G / b), G <- 0
 *   vsign  y = sign x               dy <- 0                              G <- 0
 *
 * At the zero vector, and where b is 0, quotients are 0, and so is the sign of 0. Other norms are computed again from
 * x, by a call, where outer layers want to know what they depend on.
 */
#include <math.h>

#include "access_norms.h"
#include "made.h"

static void *room(const bl_site *s, int i) { return s->work + i * NORM_ROOM; }
static bl_matrix one(void *at) { return (bl_matrix){at, 1}; }

/* A real number as a scalar of the call's type. */
static bl_scalar as_scalar(const bl_site *s, void *number)
{
    const int real = bl_real_type(s->call->type);
    return widened(s, real, bl_scalar_at(real, number), room(s, 2));
}

/* cell <- Re sum conj(x) y; there is room for a complex number. */
static void real_product(const bl_site *s, bl_matrix x, bl_matrix y, void *cell)
{
    const bl_call *c = s->call;
    if (bl_is_complex(c->type))
        bl_dotc(&s->path, c->type, c->dim[0], x, y, cell);
    else
        bl_dot(&s->path, c->type, c->dim[0], x, y, cell);
}

static void clear(const bl_site *s, bl_matrix number)
{
    bl_mscal(&s->path, bl_real_type(s->call->type), 1, 1, 'N', BL_ZERO, number);
}

/* x and its norm, which is left in the first room; both multiplied by a power of two where products with x or quotients
 * by the norm, of `seed` too, would leave the range of numbers. */
static bl_matrix measured(const bl_site *s, bool known, double seed)
{
    const bl_call *c = s->call;
    const int real = bl_real_type(c->type);
    const bl_matrix x = bl_values(s, NORM_X);
    if (!known || s->path.below)
        bl_nrm2(&s->path, c->type, c->dim[0], x, room(s, 0));
    else if (real == BL_S)
        *(float *)room(s, 0) = (float)s->returned.re;
    else
        *(double *)room(s, 0) = s->returned.re;
    const double r = bl_load(real, room(s, 0)).re, large = real == BL_S ? 0x1p60 : 0x1p500;
    if (r == 0 || !isfinite(r) || (r < large && r * large > 1 && fabs(seed) / large <= r))
        return x;
    int exponent;
    frexp(r, &exponent);
    const int most = real == BL_S ? 120 : 1000; /* the factor is a number, too */
    exponent = exponent > most ? most : exponent < -most ? -most : exponent;
    const bl_scalar factor = {{ldexp(1, -exponent), 0}, NULL};
    const bl_matrix scaled = {room(s, NORM_ROOMS), x.ld < 0 ? -1 : x.ld > 0};
    bl_vaxpby(&s->path, c->type, x.ld ? c->dim[0] : 1, 'N', factor, 'N', x, 'N', BL_ZERO, scaled);
    bl_mscal(&s->path, real, 1, 1, 'N', factor, one(room(s, 0)));
    return scaled;
}

void bl_nrm2_tangent(const bl_site *s)
{
    const bl_matrix dr = bl_shadow(s, NORM_RESULT);
    if (!dr.at)
        return;
    if (s->call->dim[0] <= 0 || !s->shadow[NORM_X]) {
        clear(s, dr);
        return;
    }
    const bl_matrix x = measured(s, false, 0);
    real_product(s, x, bl_shadow(s, NORM_X), room(s, 1));
    bl_quot(&s->path, bl_real_type(s->call->type), room(s, 1), room(s, 0), dr.at);
}

void bl_nrm2_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix g = bl_shadow(s, NORM_RESULT);
    if (!g.at)
        return;
    if (c->dim[0] > 0 && s->shadow[NORM_X]) {
        const bl_matrix x = measured(s, true, bl_load(bl_real_type(c->type), g.at).re);
        bl_quot(&s->path, bl_real_type(c->type), g.at, room(s, 0), room(s, 1));
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', as_scalar(s, room(s, 1)), 'N', x, 'N', BL_ONE,
                  bl_shadow(s, NORM_X));
    }
    clear(s, g);
}

static bl_matrix signs(const bl_site *s)
{
    const bl_matrix sign = {room(s, NORM_ROOMS), 1};
    bl_vsign(&s->path, s->call->type, s->call->dim[0], bl_values(s, NORM_X), sign);
    return sign;
}

void bl_asum_tangent(const bl_site *s)
{
    const bl_matrix dr = bl_shadow(s, NORM_RESULT);
    if (!dr.at)
        return;
    if (asum_is_empty(s->call) || !s->shadow[NORM_X]) {
        clear(s, dr);
        return;
    }
    real_product(s, signs(s), bl_shadow(s, NORM_X), room(s, 1));
    bl_mcopy(&s->path, bl_real_type(s->call->type), 1, 1, one(room(s, 1)), dr);
}

void bl_asum_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix g = bl_shadow(s, NORM_RESULT);
    if (!g.at)
        return;
    if (!asum_is_empty(c) && s->shadow[NORM_X])
        bl_vaxpby(&s->path, c->type, c->dim[0], 'N', as_scalar(s, g.at), 'N', signs(s), 'N', BL_ONE,
                  bl_shadow(s, NORM_X));
    clear(s, g);
}

static void clear_output(const bl_site *s)
{
    if (s->call->dim[0] > 0 && s->shadow[1])
        bl_vscal(&s->path, s->call->type, s->call->dim[0], 'N', BL_ZERO, bl_shadow(s, 1));
}

void bl_vsign_tangent(const bl_site *s) { clear_output(s); }
void bl_vsign_adjoint(const bl_site *s) { clear_output(s); }

/* to <- a product of two real numbers */
static void times_one(const bl_site *s, void *a, void *b, void *to)
{
    clear(s, one(to));
    bl_mdot(&s->path, s->call->type, 1, 1, one(a), one(b), false, to);
}

void bl_quot_tangent(const bl_site *s)
{
    const int type = s->call->type;
    void *a = bl_values(s, QUOT_A).at, *b = bl_values(s, QUOT_B).at;
    const bl_scalar minus = {{-1, 0}, NULL};
    if (!s->shadow[QUOT_C])
        return;
    clear(s, one(room(s, 1)));
    if (s->shadow[QUOT_B]) {
        bl_quot(&s->path, type, a, b, room(s, 0));
        times_one(s, room(s, 0), s->shadow[QUOT_B], room(s, 1));
    }
    if (s->shadow[QUOT_A])
        bl_maxpby(&s->path, type, 1, 1, 'N', BL_ONE, one(s->shadow[QUOT_A]), 'N', minus, one(room(s, 1)));
    else
        bl_mscal(&s->path, type, 1, 1, 'N', minus, one(room(s, 1)));
    bl_quot(&s->path, type, room(s, 1), b, s->shadow[QUOT_C]);
}

void bl_quot_adjoint(const bl_site *s)
{
    const int type = s->call->type;
    void *a = bl_values(s, QUOT_A).at, *b = bl_values(s, QUOT_B).at, *G = s->shadow[QUOT_C];
    const bl_scalar minus = {{-1, 0}, NULL};
    if (!G)
        return;
    bl_quot(&s->path, type, G, b, room(s, 0));
    if (s->shadow[QUOT_A])
        bl_madd(&s->path, type, 1, 1, one(room(s, 0)), one(s->shadow[QUOT_A]));
    if (s->shadow[QUOT_B]) {
        bl_quot(&s->path, type, a, b, room(s, 1));
        times_one(s, room(s, 1), room(s, 0), room(s, 2));
        bl_maxpby(&s->path, type, 1, 1, 'N', minus, one(room(s, 2)), 'N', BL_ONE, one(s->shadow[QUOT_B]));
    }
    clear(s, one(G));
}
