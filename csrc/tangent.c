/* Forward mode: tangents are propagated at the call, before it changes the values that they depend on. */
#include "touch.h"

void bl_tangent_call(blasad_tape *t, const bl_call *c, const bl_touch *w)
{
    const bl_routine_spec *s = bl_routine_table[c->routine];
    bl_site site = {.call = c, .path = {t->layer.below, c->backend, c->symbol}};
    for (int i = 0; i < s->n_operands; i++) {
        const bl_region *r = w->region[i];
        site.shadow[i] = r && r->duplicated ? (char *)c->operand[i].base + r->delta : NULL;
        site.shadow_ld[i] = c->operand[i].ld;
    }
    for (int i = 0; i < s->n_scalars; i++)
        site.scalar_shadow[i] = w->scalar_shadow[i];
    bl_rules[c->routine]->tangent(&site);
}
