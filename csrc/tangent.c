/* Forward mode: tangents are propagated at the call, before it changes the values that they depend on. */
#include "site.h"

bool bl_tangent_call(blasad_tape *t, const bl_call *c, const bl_record *r)
{
    if (!bl_work_begin(t, t->layer.below))
        return false;
    bl_site site = {.call = c, .path = bl_path_below(t, c)};
    for (int k = 0; k < bl_batch(t); k++) {
        bl_site_shadows(t, r, k, &site, t->work);
        bl_rules[c->routine]->tangent(&site);
        bl_site_scatter(t, r, k, &site);
    }
    return true;
}
