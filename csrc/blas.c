#include "blas.h"

/* Only what the routine has is filled in: a whole record of zeros costs more than a small product. */
static inline void begin(bl_call *c, const bl_path *to, int routine, int type)
{
    c->routine = (uint8_t)routine;
    c->type = (uint8_t)type;
    c->size = (uint8_t)bl_element_size(type);
    c->width = (uint8_t)bl_real_width(type);
    c->row_major = false;
    c->symbol = to->symbol;
    c->backend = to->backend;
    c->frame = NULL;
    c->caller = NULL;
}

static inline bl_operand operand(bl_matrix x) { return (bl_operand){x.at, x.ld}; }
static inline char conjugation(int type, char flag) { return bl_is_complex(type) ? flag : 'N'; }

static inline void pass(const bl_path *to, const bl_call *c)
{
    if (!to->unmade)
        bl_pass(to->below, c);
    else if (to->below && bl_layers_before(to->below, c))
        bl_layers_after(to->below, c);
}

void bl_gemm(const bl_path *to, int type, char transa, char transb, int64_t m, int64_t n, int64_t k, bl_scalar alpha,
             bl_matrix a, bl_matrix b, bl_scalar beta, bl_matrix c)
{
    bl_call call;
    begin(&call, to, BL_GEMM, type);
    call.flag[0] = transa;
    call.flag[1] = transb;
    call.dim[0] = m;
    call.dim[1] = n;
    call.dim[2] = k;
    call.scalar[0] = alpha;
    call.scalar[1] = beta;
    call.operand[0] = operand(a);
    call.operand[1] = operand(b);
    call.operand[2] = operand(c);
    pass(to, &call);
}

static inline void shape(bl_call *c, int64_t m, int64_t n)
{
    c->dim[0] = m;
    c->dim[1] = n;
}

void bl_mscal(const bl_path *to, int type, int64_t m, int64_t n, char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_call call;
    begin(&call, to, BL_MSCAL, type);
    call.flag[0] = conjugation(type, conjbeta);
    shape(&call, m, n);
    call.scalar[0] = beta;
    call.operand[0] = operand(c);
    pass(to, &call);
}

void bl_maxpby(const bl_path *to, int type, int64_t m, int64_t n, char conjalpha, bl_scalar alpha, bl_matrix a,
               char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_call call;
    begin(&call, to, BL_MAXPBY, type);
    call.flag[0] = conjugation(type, conjalpha);
    call.flag[1] = conjugation(type, conjbeta);
    shape(&call, m, n);
    call.scalar[0] = alpha;
    call.scalar[1] = beta;
    call.operand[0] = operand(a);
    call.operand[1] = operand(c);
    pass(to, &call);
}

void bl_mconj(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c)
{
    bl_call call;
    begin(&call, to, BL_MCONJ, type);
    shape(&call, m, n);
    call.operand[0] = operand(a);
    call.operand[1] = operand(c);
    pass(to, &call);
}

void bl_mdot(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate, void *cell)
{
    bl_call call;
    begin(&call, to, BL_MDOT, type);
    call.flag[0] = conjugation(type, conjugate ? 'C' : 'N');
    shape(&call, m, n);
    call.operand[0] = operand(a);
    call.operand[1] = operand(b);
    call.operand[2] = (bl_operand){cell, 1};
    pass(to, &call);
}

bl_complex bl_load(int type, const void *p)
{
    switch (type) {
    case BL_S:
        return (bl_complex){*(const float *)p, 0};
    case BL_D:
        return (bl_complex){*(const double *)p, 0};
    case BL_C:
        return (bl_complex){((const float *)p)[0], ((const float *)p)[1]};
    default:
        return (bl_complex){((const double *)p)[0], ((const double *)p)[1]};
    }
}
