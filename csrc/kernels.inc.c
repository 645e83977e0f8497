/* The loops of one type, included four times by kernels.c, which defines T (an element), R (its real type), NAME(x),
 * CONJ(x) and VALUE(bl_complex). Matrices are column-major; operands do not overlap. */

static void NAME(mscal)(int64_t m, int64_t n, T beta, T *c, int64_t ldc)
{
    for (int64_t j = 0; j < n; j++, c += ldc) {
        if (beta == 0)
            memset(c, 0, (size_t)m * sizeof *c); /* a store: 0 * NaN is not 0 */
        else
            for (int64_t i = 0; i < m; i++)
                c[i] = beta * c[i];
    }
}

static void NAME(maxpby)(int64_t m, int64_t n, T alpha, const T *a, int64_t lda, T beta, T *restrict c, int64_t ldc)
{
    for (int64_t j = 0; j < n; j++, a += lda, c += ldc) {
        if (beta == 0)
            for (int64_t i = 0; i < m; i++)
                c[i] = alpha * a[i];
        else if (beta == 1)
            for (int64_t i = 0; i < m; i++)
                c[i] += alpha * a[i];
        else
            for (int64_t i = 0; i < m; i++)
                c[i] = alpha * a[i] + beta * c[i];
    }
}

/* Summed by columns, so that the rounding error grows with m + n and not with m n. */
static T NAME(mdot)(int64_t m, int64_t n, const T *a, int64_t lda, const T *b, int64_t ldb)
{
    T sum = 0;
    for (int64_t j = 0; j < n; j++, a += lda, b += ldb) {
        T column = 0;
        for (int64_t i = 0; i < m; i++)
            column += CONJ(a[i]) * b[i];
        sum += column;
    }
    return sum;
}

static void NAME(mconj)(int64_t m, int64_t n, const T *a, int64_t lda, T *restrict c, int64_t ldc)
{
    for (int64_t j = 0; j < n; j++, a += lda, c += ldc)
        for (int64_t i = 0; i < m; i++)
            c[i] = CONJ(a[i]);
}

static void NAME(run)(const bl_call *c)
{
    const int64_t m = c->dim[0], n = c->dim[1];
    const bl_operand *p = c->operand;
    switch (c->routine) {
    case BL_MSCAL:
        NAME(mscal)(m, n, VALUE(c->scalar[0].value), p[0].base, p[0].ld);
        break;
    case BL_MAXPBY:
        NAME(maxpby)(m, n, VALUE(c->scalar[0].value), p[0].base, p[0].ld, VALUE(c->scalar[1].value), p[1].base,
                     p[1].ld);
        break;
    case BL_MCONJ:
        NAME(mconj)(m, n, p[0].base, p[0].ld, p[1].base, p[1].ld);
        break;
    case BL_MDOT: {
        T sum = NAME(mdot)(m, n, p[0].base, p[0].ld, p[1].base, p[1].ld);
        *(T *)p[2].base += c->flag[0] == 'C' ? CONJ(sum) : sum;
        break;
    }
    }
}

#undef T
#undef NAME
#undef CONJ
#undef VALUE
