/* The loops of one set of instructions; included by fingerprint.c for each, which defines NAME(x), TARGET, the
 * types DIFF and SUM and, inlined: differ_run, differs, add_run (with `stamp`, it stores the prints, too) and total.
 * The loop over columns is compiled with them: a view of many small columns is one call. */

TARGET static uint64_t NAME(stamp)(uint32_t *print, const char *p, size_t units, int shift)
{
    const SUM none = {0};
    return NAME(total)(shift == 3 ? NAME(add_run)(none, true, print, p, units, 3)
                                  : NAME(add_run)(none, true, print, p, units, 2));
}

TARGET static bool NAME(differ)(const uint32_t *print, const char *p, size_t units, int shift)
{
    const DIFF none = {0};
    return NAME(differs)(shift == 3 ? NAME(differ_run)(none, print, p, units, 3)
                                    : NAME(differ_run)(none, print, p, units, 2));
}

TARGET static uint64_t NAME(stamp_columns)(const bl_region *r, const bl_view *v)
{
    size_t units = (size_t)v->column >> r->shift;
    const ptrdiff_t step = v->stride >> r->shift;
    uint32_t *print = r->print + bl_unit(r, v->base);
    const char *p = v->base;
    SUM sum = {0};
    if (!bl_view_is_grid(v))
        for (int64_t j = 0; j < v->columns; j++) {
            p = bl_view_column(v, j);
            units = (size_t)bl_column_bytes(v, j) >> r->shift;
            print = r->print + bl_unit(r, p);
            sum = r->shift == 3 ? NAME(add_run)(sum, true, print, p, units, 3)
                                : NAME(add_run)(sum, true, print, p, units, 2);
        }
    else if (r->shift == 3)
        for (int64_t j = v->columns; j > 0; j--, p += v->stride, print += step)
            sum = NAME(add_run)(sum, true, print, p, units, 3);
    else
        for (int64_t j = v->columns; j > 0; j--, p += v->stride, print += step)
            sum = NAME(add_run)(sum, true, print, p, units, 2);
    return NAME(total)(sum);
}

TARGET static bool NAME(differ_columns)(const bl_region *r, const bl_view *v)
{
    size_t units = (size_t)v->column >> r->shift;
    const ptrdiff_t step = v->stride >> r->shift;
    const uint32_t *print = r->print + bl_unit(r, v->base);
    const char *p = v->base;
    DIFF d = {0};
    if (!bl_view_is_grid(v))
        for (int64_t j = 0; j < v->columns; j++) {
            p = bl_view_column(v, j);
            units = (size_t)bl_column_bytes(v, j) >> r->shift;
            print = r->print + bl_unit(r, p);
            d = r->shift == 3 ? NAME(differ_run)(d, print, p, units, 3) : NAME(differ_run)(d, print, p, units, 2);
        }
    else if (r->shift == 3)
        for (int64_t j = v->columns; j > 0; j--, p += v->stride, print += step)
            d = NAME(differ_run)(d, print, p, units, 3);
    else
        for (int64_t j = v->columns; j > 0; j--, p += v->stride, print += step)
            d = NAME(differ_run)(d, print, p, units, 2);
    return NAME(differs)(d);
}

TARGET static uint64_t NAME(sum)(const bl_view *v, int width)
{
    const int shift = width == 8 ? 3 : 2;
    size_t units = (size_t)v->column >> shift;
    const char *p = v->base;
    SUM sum = {0};
    if (!bl_view_is_grid(v))
        for (int64_t j = 0; j < v->columns; j++) {
            p = bl_view_column(v, j);
            units = (size_t)bl_column_bytes(v, j) >> shift;
            sum = width == 8 ? NAME(add_run)(sum, false, NULL, p, units, 3)
                             : NAME(add_run)(sum, false, NULL, p, units, 2);
        }
    else if (width == 8)
        for (int64_t j = v->columns; j > 0; j--, p += v->stride)
            sum = NAME(add_run)(sum, false, NULL, p, units, 3);
    else
        for (int64_t j = v->columns; j > 0; j--, p += v->stride)
            sum = NAME(add_run)(sum, false, NULL, p, units, 2);
    return NAME(total)(sum);
}

#undef NAME
#undef TARGET
#undef DIFF
#undef SUM
