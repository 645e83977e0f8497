/* gemm_batch and gemm_batch_strided, as the calls of gemm that they stand for, in order: group by group, and in a group
 * member by member. Layers see each of them; under a tape the BLAS is asked for gemm. */
#include "batched.h"

static int64_t integer(const bl_batch *b, const void *array, int64_t i)
{
    return b->wide ? ((const int64_t *)array)[i] : ((const int32_t *)array)[i];
}

static char flag(const bl_batch *b, int i, int64_t group)
{
    return b->cblas ? bl_cblas_trans(((const int *)b->flag[i])[group])
                    : bl_flag_fortran((const char *)b->flag[i] + group);
}

static bl_scalar scalar(const bl_batch *b, int i, int64_t group)
{
    bl_scalar s;
    const char *at = (const char *)b->scalar[i] + group * bl_element_size(b->type);
    switch (b->type) {
    case BL_S:
        bl_take_s(&s, (const void *)at);
        break;
    case BL_D:
        bl_take_d(&s, (const void *)at);
        break;
    case BL_C:
        bl_take_c(&s, (const void *)at);
        break;
    default:
        bl_take_z(&s, (const void *)at);
    }
    if (b->by_value)
        s.address = NULL;
    return s;
}

/* The calls of a group, but for their operands. Row-major, C^T is op(B)^T op(A)^T. */
static bl_call call_of(const bl_batch *b, int64_t group)
{
    const int turned = b->cblas && b->layout == 101;
    return (bl_call){
        .routine = BL_GEMM,
        .type = (uint8_t)b->type,
        .size = (uint8_t)bl_element_size(b->type),
        .width = (uint8_t)bl_real_width(b->type),
        .row_major = turned,
        .flag = {flag(b, turned, group), flag(b, !turned, group)},
        .frame = b->frame,
        .caller = b->caller,
        .dim = {integer(b, b->dim[turned], group), integer(b, b->dim[!turned], group), integer(b, b->dim[2], group)},
        .scalar = {scalar(b, 0, group), scalar(b, 1, group)},
        .operand = {{NULL, integer(b, b->ld[turned], group)},
                    {NULL, integer(b, b->ld[!turned], group)},
                    {NULL, integer(b, b->ld[2], group)}},
    };
}

/* Of the member with this number, all groups counted. */
static void *operand(const bl_batch *b, int i, int64_t member)
{
    if (b->arrays)
        return ((void *const *)b->operand[i])[member];
    return (char *)(uintptr_t)b->operand[i] + member * integer(b, b->stride[i], 0) * bl_element_size(b->type);
}

enum bl_next bl_tell_batch(const bl_batch *b, const bl_binding *g)
{
    const int64_t groups = b->groups ? integer(b, b->groups, 0) : 1;
    const bool layout = b->layout == 101 || b->layout == 102;
    const int turned = b->layout == 101;
    for (int64_t i = 0; i < groups; i++) {
        bl_call call = call_of(b, i);
        if (!layout || bl_routine_table[BL_GEMM]->check(&call))
            return bl_enter(&call, g, layout, b->frame);
    }
    bl_binding gemm = *g;
    gemm.real = NULL; /* is no gemm */
    int64_t member = 0;
    for (int64_t i = 0; i < groups; i++) {
        bl_call call = call_of(b, i);
        for (int64_t end = member + integer(b, b->sizes, i); member < end; member++) {
            call.operand[0].base = operand(b, turned, member);
            call.operand[1].base = operand(b, !turned, member);
            call.operand[2].base = operand(b, 2, member);
            bl_enter(&call, &gemm, true, b->frame);
        }
    }
    return member == 0 && g->real ? BL_ALONE : BL_DONE;
}
