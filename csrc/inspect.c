/* What was recorded, for whoever wants to look at it. */
#include <dlfcn.h>
#include <string.h>

#include "entry.h"
#include "error.h"
#include "record.h"

BL_EXPORT size_t blasad_tape_length(const blasad_tape *t) { return t->count; }
BL_EXPORT size_t blasad_tape_saved_bytes(const blasad_tape *t) { return t->saved_bytes; }
BL_EXPORT const char *blasad_tape_unexplained(const blasad_tape *t) { return t->unexplained ? t->unexplained : ""; }

BL_EXPORT size_t blasad_tape_assuming(const blasad_tape *t, size_t index)
{
    if (t->assuming == 0)
        return t->count;
    while (index < t->count && !bl_record_at(t, index)->assumed)
        index++;
    return index;
}

static size_t saved_bytes(const blasad_tape *t, const bl_record *e)
{
    size_t bytes = 0;
    for (const bl_save *s = e->saved ? t->save[e->saved - 1] : NULL; s; s = s->next)
        bytes += s->bytes;
    return bytes;
}

/* Index of the name that the program used for what the canonical call calls `name`. */
static int as_spoken(const bl_routine_spec *s, const char *const *names, bool row_major, const char *name)
{
    for (int p = 0; row_major && s->row_major[p][0]; p++)
        if (strcmp(s->row_major[p][0], name) == 0) {
            name = s->row_major[p][1];
            break;
        }
    int i = 0;
    while (strcmp(names[i], name) != 0)
        i++;
    return i;
}

static int activity(const blasad_tape *t, const bl_record *e, int i)
{
    const bool shadow = e->shadowed >> i & 1;
    const uint32_t place = bl_place_of(e, bl_extra_of(t, e), i);
    if (place == BL_PARTS)
        return shadow ? BLASAD_ACT_PARTS : BLASAD_ACT_CONST;
    if (!place)
        return BLASAD_ACT_UNDECLARED;
    if (t->regions.region[place - 1]->window)
        return shadow ? BLASAD_ACT_SCRATCH : BLASAD_ACT_UNDECLARED;
    return shadow ? BLASAD_ACT_DUPLICATED : BLASAD_ACT_CONST;
}

BL_EXPORT int blasad_tape_call(const blasad_tape *t, size_t index, blasad_call *out)
{
    if (index >= t->count)
        return bl_fail(BLASAD_VALUE, "call %zu of a tape of %zu", index, t->count);
    const bl_record *e = bl_record_at(t, index);
    const bl_routine_spec *s = bl_routine_table[e->routine];
    bl_call c;
    bl_unpack(t, e, &c);
    *out = (blasad_call){.routine = s->name,
                         .name = bl_routine_name(e->routine, e->type),
                         .symbol = bl_symbol_name(e->symbol),
                         .type = e->type,
                         .row_major = e->row_major,
                         .active = e->active,
                         .n_flags = s->n_flags - s->hidden,
                         .n_dims = s->n_dims,
                         .n_scalars = s->n_scalars,
                         .n_operands = s->n_operands,
                         .seconds = e->extra ? (double)t->extra[e->extra - 1].seconds : -1};
    Dl_info info;
    if (e->caller && dladdr(e->caller, &info))
        out->caller = info.dli_fname;
    /* Told as the program spoke: a row-major call gets back its own names, and its matrices their own shapes. */
    for (int i = 0; i < s->n_flags; i++) {
        const int k = as_spoken(s, s->flags, e->row_major, s->flags[i]);
        out->flag_names[k] = s->flags[k];
        out->flags[k] = bl_flag_spoken(s, e->row_major, c.flag, i);
    }
    for (int i = 0; i < s->n_dims; i++) {
        const int k = as_spoken(s, s->dims, e->row_major, s->dims[i]);
        out->dim_names[k] = s->dims[k];
        out->dims[k] = c.dim[i];
    }
    for (int i = 0; i < s->n_scalars; i++) {
        out->scalar_names[i] = s->scalars[i];
        out->scalars[i][0] = c.scalar[i].value.re;
        out->scalars[i][1] = c.scalar[i].value.im;
        out->scalar_real[i] = !bl_is_complex(bl_scalar_type(&c, i));
        out->scalar_active[i] = e->extra && t->extra[e->extra - 1].scalar_place[i];
    }
    const char *names[BL_MAX_OPERANDS + 1] = {NULL};
    for (int i = 0; i < s->n_operands; i++)
        names[i] = s->operand[i].name;
    for (int i = 0; i < s->n_operands; i++) {
        const int k = as_spoken(s, names, e->row_major, names[i]);
        blasad_operand *o = &out->operands[k];
        o->name = names[k];
        o->address = c.operand[i].base;
        o->ld = c.operand[i].ld;
        if (s->operand[i].storage == BL_VECTOR)
            bl_operand_shape(&c, i, &o->cols, &o->rows);
        else if (e->row_major)
            bl_operand_shape(&c, i, &o->cols, &o->rows);
        else
            bl_operand_shape(&c, i, &o->rows, &o->cols);
        const bl_view v = bl_operand_view(&c, i);
        o->elements = bl_view_bytes(&v) / bl_size_by(&s->operand[i], &c);
        o->is_vector = s->operand[i].storage == BL_VECTOR;
        o->is_output = s->operand[i].output;
        o->is_read = e->read >> i & 1;
        o->assumed = e->assumed >> i & 1;
        o->activity = activity(t, e, i);
    }
    out->saved_bytes = saved_bytes(t, e);
    return BLASAD_OK;
}
