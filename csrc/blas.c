#include "blas.h"

static inline bl_operand operand(bl_matrix x) { return (bl_operand){x.at, x.ld}; }
static inline char conjugation(int type, char flag) { return bl_is_complex(type) ? flag : 'N'; }

void bl_made_pass(const bl_path *to, const bl_call *c)
{
    if (!to->unmade)
        bl_pass(to->below, c);
    else if (to->below && bl_layers_before(to->below, c))
        bl_layers_after(to->below, c);
}

void bl_tscal(const bl_path *to, int type, char uplo, int64_t m, int64_t n, char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_call call;
    bl_made_begin(&call, to, BL_MSCAL, type);
    call.flag[0] = conjugation(type, conjbeta);
    call.flag[1] = uplo;
    call.dim[0] = m;
    call.dim[1] = n;
    call.scalar[0] = beta;
    call.operand[0] = operand(c);
    bl_made_pass(to, &call);
}

void bl_taxpby(const bl_path *to, int type, char uplo, int64_t m, int64_t n, char conjalpha, bl_scalar alpha,
               bl_matrix a, char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_call call;
    bl_made_begin(&call, to, BL_MAXPBY, type);
    call.flag[0] = conjugation(type, conjalpha);
    call.flag[1] = conjugation(type, conjbeta);
    call.flag[2] = uplo;
    call.dim[0] = m;
    call.dim[1] = n;
    call.scalar[0] = alpha;
    call.scalar[1] = beta;
    call.operand[0] = operand(a);
    call.operand[1] = operand(c);
    bl_made_pass(to, &call);
}

void bl_tdot(const bl_path *to, int type, char uplo, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate,
             void *cell)
{
    bl_call call;
    bl_made_begin(&call, to, BL_MDOT, type);
    call.flag[0] = conjugation(type, conjugate ? 'C' : 'N');
    call.flag[1] = uplo;
    call.dim[0] = m;
    call.dim[1] = n;
    call.operand[0] = operand(a);
    call.operand[1] = operand(b);
    call.operand[2] = (bl_operand){cell, 1};
    bl_made_pass(to, &call);
}

void bl_mscal(const bl_path *to, int type, int64_t m, int64_t n, char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_tscal(to, type, 'A', m, n, conjbeta, beta, c);
}

void bl_maxpby(const bl_path *to, int type, int64_t m, int64_t n, char conjalpha, bl_scalar alpha, bl_matrix a,
               char conjbeta, bl_scalar beta, bl_matrix c)
{
    bl_taxpby(to, type, 'A', m, n, conjalpha, alpha, a, conjbeta, beta, c);
}

void bl_mdot(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix b, bool conjugate, void *cell)
{
    bl_tdot(to, type, 'A', m, n, a, b, conjugate, cell);
}

void bl_mconj(const bl_path *to, int type, int64_t m, int64_t n, bl_matrix a, bl_matrix c)
{
    bl_call call;
    bl_made_begin(&call, to, BL_MCONJ, type);
    call.dim[0] = m;
    call.dim[1] = n;
    call.operand[0] = operand(a);
    call.operand[1] = operand(c);
    bl_made_pass(to, &call);
}

void bl_vaxpby(const bl_path *to, int type, int64_t n, char conjalpha, bl_scalar alpha, char conjx, bl_matrix x,
               char conjbeta, bl_scalar beta, bl_matrix y)
{
    bl_call call;
    bl_made_begin(&call, to, BL_VAXPBY, type);
    call.flag[0] = conjugation(type, conjalpha);
    call.flag[1] = conjugation(type, conjbeta);
    call.flag[2] = conjugation(type, conjx);
    call.dim[0] = n;
    call.scalar[0] = alpha;
    call.scalar[1] = beta;
    call.operand[0] = operand(x);
    call.operand[1] = operand(y);
    bl_made_pass(to, &call);
}

void bl_vdot(const bl_path *to, int type, int64_t n, bl_matrix x, bl_matrix y, bool conjugate, void *cell)
{
    bl_call call;
    bl_made_begin(&call, to, BL_VDOT, type);
    call.flag[0] = conjugation(type, conjugate ? 'C' : 'N');
    call.dim[0] = n;
    call.operand[0] = operand(x);
    call.operand[1] = operand(y);
    call.operand[2] = (bl_operand){cell, 1};
    bl_made_pass(to, &call);
}

void bl_vsign(const bl_path *to, int type, int64_t n, bl_matrix x, bl_matrix y)
{
    bl_call call;
    bl_made_begin(&call, to, BL_VSIGN, type);
    call.dim[0] = n;
    call.operand[0] = operand(x);
    call.operand[1] = operand(y);
    bl_made_pass(to, &call);
}

void bl_quot(const bl_path *to, int type, void *a, void *b, void *c)
{
    bl_call call;
    bl_made_begin(&call, to, BL_QUOT, type);
    call.operand[0] = (bl_operand){a, 1};
    call.operand[1] = (bl_operand){b, 1};
    call.operand[2] = (bl_operand){c, 1};
    bl_made_pass(to, &call);
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
