/* The loops of one type, included four times by kernels.c, which defines T (an element), R (its real type), NAME(x),
 * CONJ(x) and VALUE(bl_complex). Matrices are column-major; operands do not overlap. */

/* Column j of a triangle, or of all ('A'): from its row *first on, `rows` are returned. */
static int64_t NAME(column)(char uplo, int64_t m, int64_t j, int64_t *first)
{
    *first = uplo == 'L' ? j : 0;
    return uplo == 'A' ? m : uplo == 'U' ? j + 1 : m - j;
}

static void NAME(mscal)(char uplo, int64_t m, int64_t n, T beta, T *to, int64_t ldc)
{
    if (beta == 1)
        return;
    if (uplo == 'A' && ldc == m) { /* without holes it is one column */
        m *= n;
        n = 1;
    }
    for (int64_t j = 0, first; j < n; j++, to += ldc) {
        const int64_t rows = NAME(column)(uplo, m, j, &first);
        T *c = to + first;
        if (beta == 0)
            memset(c, 0, (size_t)rows * sizeof *c); /* a store: 0 * NaN is not 0 */
        else
            for (int64_t i = 0; i < rows; i++)
                c[i] = beta * c[i];
    }
}

/* c <- alpha a + beta c, contiguous */
static inline void NAME(axpby)(int64_t m, T alpha, const T *a, T beta, T *restrict c)
{
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

static void NAME(maxpby)(char uplo, int64_t m, int64_t n, T alpha, const T *a, int64_t lda, T beta, T *c, int64_t ldc)
{
    if (uplo == 'A' && lda == m && ldc == m) {
        m *= n;
        n = 1;
    }
    for (int64_t j = 0, first; j < n; j++, a += lda, c += ldc) {
        const int64_t rows = NAME(column)(uplo, m, j, &first);
        NAME(axpby)(rows, alpha, a + first, beta, c + first);
    }
}

/* The first of n numbers, as BLAS counts them: with a negative increment it has the highest address. */
static int64_t NAME(origin)(int64_t n, int64_t inc) { return inc < 0 ? (1 - n) * inc : 0; }

/* y <- alpha x + beta y. An increment of y that is 0 goes with beta = 1: then all is added to one number. */
static void NAME(vaxpby)(int64_t n, T alpha, bool conjugate, const T *x, int64_t incx, T beta, T *y, int64_t incy)
{
    if (!conjugate && incx == 1 && incy == 1) {
        NAME(axpby)(n, alpha, x, beta, y);
        return;
    }
    x += NAME(origin)(n, incx);
    y += NAME(origin)(n, incy);
    for (int64_t i = 0; i < n; i++, x += incx, y += incy) {
        const T one = conjugate ? CONJ(*x) : *x, product = alpha == 1 ? one : alpha * one;
        *y = beta == 0 ? product : beta == 1 ? *y + product : product + beta * *y;
    }
}

static void NAME(vsign)(int64_t n, const T *x, int64_t incx, T *restrict y, int64_t incy)
{
    x += NAME(origin)(n, incx);
    y += NAME(origin)(n, incy);
    for (int64_t i = 0; i < n; i++, x += incx, y += incy)
        *y = (T)SIGN(*x);
}

static T NAME(vdot)(int64_t n, const T *x, int64_t incx, const T *y, int64_t incy)
{
    T sum = 0;
    x += NAME(origin)(n, incx);
    y += NAME(origin)(n, incy);
    for (int64_t i = 0; i < n; i++, x += incx, y += incy)
        sum += CONJ(*x) * *y;
    return sum;
}

/* Summed by columns, so that the rounding error grows with m + n and not with m n. */
static T NAME(mdot)(char uplo, int64_t m, int64_t n, const T *a, int64_t lda, const T *b, int64_t ldb)
{
    T sum = 0;
    for (int64_t j = 0, first; j < n; j++, a += lda, b += ldb) {
        const int64_t rows = NAME(column)(uplo, m, j, &first);
        T column = 0;
        for (int64_t i = first; i < first + rows; i++)
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
    const bl_operand *p = c->operand;
    if (c->routine == BL_QUOT) {
        const T b = *(const T *)p[1].base;
        *(T *)p[2].base = b == 0 ? 0 : *(const T *)p[0].base / b;
        return;
    }
    const int64_t m = c->dim[0];
    if (m == 0) /* adding no numbers would still turn -0 into 0 */
        return;
    if (c->routine == BL_VAXPBY) {
        NAME(vaxpby)(m, NAME(scalar)(c, 0), c->flag[2] == 'C', p[0].base, p[0].ld, NAME(scalar)(c, 1), p[1].base,
                     p[1].ld);
        return;
    }
    if (c->routine == BL_VSIGN) {
        NAME(vsign)(m, p[0].base, p[0].ld, p[1].base, p[1].ld);
        return;
    }
    if (c->routine == BL_VDOT) {
        const T sum = NAME(vdot)(m, p[0].base, p[0].ld, p[1].base, p[1].ld);
        *(T *)p[2].base += c->flag[0] == 'C' ? CONJ(sum) : sum;
        return;
    }
    const int64_t n = c->dim[1];
    if (n == 0)
        return;
    switch (c->routine) {
    case BL_MSCAL:
        NAME(mscal)(c->flag[1], m, n, NAME(scalar)(c, 0), p[0].base, p[0].ld);
        break;
    case BL_MAXPBY:
        NAME(maxpby)(c->flag[2], m, n, NAME(scalar)(c, 0), p[0].base, p[0].ld, NAME(scalar)(c, 1), p[1].base, p[1].ld);
        break;
    case BL_MCONJ:
        NAME(mconj)(m, n, p[0].base, p[0].ld, p[1].base, p[1].ld);
        break;
    case BL_MDOT: {
        const T sum = NAME(mdot)(c->flag[1], m, n, p[0].base, p[0].ld, p[1].base, p[1].ld);
        *(T *)p[2].base += c->flag[0] == 'C' ? CONJ(sum) : sum;
        break;
    }
    }
}

#undef T
#undef NAME
#undef CONJ
#undef VALUE
#undef SIGN
