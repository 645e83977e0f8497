/* The loops of one type, included four times by kernels.c, which defines T (an element), R (its real type), NAME(x),
 * CONJ(x) and VALUE(bl_complex). Matrices are column-major; operands do not overlap. */

static void NAME(mscal)(int64_t m, int64_t n, T beta, T *c, int64_t ldc)
{
    if (beta == 1)
        return;
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
        if (beta == 0 && alpha == 1)
            memcpy(c, a, (size_t)m * sizeof *c); /* exact, NaNs too */
        else if (beta == 0)
            for (int64_t i = 0; i < m; i++)
                c[i] = alpha * a[i];
        else if (beta == 1 && alpha == 1) /* no product: that of complex numbers turns Inf into NaN */
            for (int64_t i = 0; i < m; i++)
                c[i] += a[i];
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

static T NAME(scalar)(const bl_call *c, int i)
{
    const T x = VALUE(c->scalar[i].value);
    return c->flag[i] == 'C' ? CONJ(x) : x;
}

static void NAME(run)(const bl_call *c)
{
    const int64_t m = c->dim[0], n = c->dim[1];
    const bl_operand *p = c->operand;
    if (m == 0 || n == 0)
        return;
    switch (c->routine) {
    case BL_MSCAL:
        NAME(mscal)(m, n, NAME(scalar)(c, 0), p[0].base, p[0].ld);
        break;
    case BL_MAXPBY:
        NAME(maxpby)(m, n, NAME(scalar)(c, 0), p[0].base, p[0].ld, NAME(scalar)(c, 1), p[1].base, p[1].ld);
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
