/* Operations of the program's own, which are no BLAS (semantics 7). */
#include "backend.h"
#include "error.h"
#include "record.h"

BL_EXPORT int blasad_tape_limit(blasad_tape *t, size_t bytes)
{
    (void)t, (void)bytes;
    return bl_fail(BLASAD_NOT_YET, "memory_limit");
}
BL_EXPORT blasad_operation *blasad_record_begin(int n_in, const blasad_array *in, int n_out, const blasad_array *out)
{
    (void)n_in, (void)in, (void)n_out, (void)out;
    bl_fail(BLASAD_NOT_YET, "record");
    return NULL;
}
BL_EXPORT int blasad_record_end(blasad_operation *o, blasad_vjp vjp, blasad_jvp jvp, void *self, void (*done)(void *))
{
    (void)o, (void)vjp, (void)jvp, (void)self, (void)done;
    return bl_fail(BLASAD_NOT_YET, "record");
}
BL_EXPORT void blasad_record_abandon(blasad_operation *o) { (void)o; }
