/* Plane rotations. <x, y> = Re sum conj(x) y (semantics 3); G is the shadow of x, H that of y. c and s are real.
 *
 *   rot       x = c x_old + s y_old,          y = c y_old - s x_old
 *   tangent   dx <- c dx + s dy + dc x_old + ds y_old,   dy <- c dy - s dx + dc y_old - ds x_old
 *   adjoint   dc += <x_old, G> + <y_old, H>,  ds += <y_old, G> - <x_old, H>
 *             G <- c G - s H,                 H <- c H + s G: the rotation the other way
 */
#include "access_rotations.h"
#include "made.h"

/* -x, in a cell if a layer below may have x active. */
static bl_scalar negated(const bl_site *s, bl_scalar x)
{
    const int real = bl_real_type(s->call->type);
    if (!x.address)
        return (bl_scalar){{-x.value.re, 0}, NULL};
    bl_maxpby(&s->path, real, 1, 1, 'N', (bl_scalar){{-1, 0}, NULL}, (bl_matrix){x.address, 1}, 'N', BL_ZERO,
              (bl_matrix){s->work, 1});
    return bl_scalar_at(real, s->work);
}

void bl_rot_tangent(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix dx = bl_shadow(s, ROT_X), dy = bl_shadow(s, ROT_Y);
    const bl_matrix x = bl_values(s, ROT_X), y = bl_values(s, ROT_Y);
    const int64_t n = c->dim[0];
    if (n <= 0 || !dx.at || !dy.at)
        return;
    bl_rot(&s->path, c->type, n, dx, dy, bl_given(s, ROT_C), bl_given(s, ROT_S));
    if (s->scalar_shadow[ROT_C]) {
        const bl_scalar dc = bl_scalar_shadow(s, ROT_C);
        bl_pairs_axpby(&s->path, c->type, n, dc, x, BL_ONE, dx);
        bl_pairs_axpby(&s->path, c->type, n, dc, y, BL_ONE, dy);
    }
    if (s->scalar_shadow[ROT_S]) {
        const bl_scalar ds = bl_scalar_shadow(s, ROT_S);
        bl_pairs_axpby(&s->path, c->type, n, ds, y, BL_ONE, dx);
        bl_pairs_axpby(&s->path, c->type, n, negated(s, ds), x, BL_ONE, dy);
    }
}

void bl_rot_adjoint(const bl_site *s)
{
    const bl_call *c = s->call;
    const bl_matrix G = bl_shadow(s, ROT_X), H = bl_shadow(s, ROT_Y);
    const bl_matrix x = bl_values(s, ROT_X), y = bl_values(s, ROT_Y);
    const int64_t n = c->dim[0];
    if (n <= 0 || !G.at || !H.at)
        return;
    if (s->scalar_shadow[ROT_C]) {
        bl_pairs_dot(&s->path, c->type, n, x, G, s->scalar_shadow[ROT_C]);
        bl_pairs_dot(&s->path, c->type, n, y, H, s->scalar_shadow[ROT_C]);
    }
    if (s->scalar_shadow[ROT_S]) {
        void *ds = s->scalar_shadow[ROT_S];
        const int real = bl_real_type(c->type);
        const bl_matrix sum = {s->work, 1};
        bl_pairs_dot(&s->path, c->type, n, y, G, ds);
        bl_mscal(&s->path, real, 1, 1, 'N', BL_ZERO, sum);
        bl_pairs_dot(&s->path, c->type, n, x, H, sum.at);
        bl_maxpby(&s->path, real, 1, 1, 'N', (bl_scalar){{-1, 0}, NULL}, sum, 'N', BL_ONE, (bl_matrix){ds, 1});
    }
    bl_rot(&s->path, c->type, n, G, H, bl_given(s, ROT_C), negated(s, bl_given(s, ROT_S)));
}
