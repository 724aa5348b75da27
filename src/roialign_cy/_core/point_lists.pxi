# Lists of the cells that a bin reads, made from its samples on the map, some at a time. In `avg`
# the cells of these samples are merged, and all lists of a bin are one line; in `max` each sample
# is a line. How many samples make one list is part of the result: it decides the order of sums.


cdef void start_lists(
    const PointTables *tables, const RotatedBox *box, Py_ssize_t row_bin, Py_ssize_t col_bin,
    ListCursor *cursor,
) noexcept nogil:
    """Begin with the samples of a bin."""
    cursor.row_bin, cursor.col_bin = row_bin, col_bin
    cursor.share = 0.0
    cursor.sum = empty_sum()
    cursor.row = cursor.last_row = 0
    if box.x_span.samples and box.y_begin < box.y_end:
        rows_inside(box, row_bin, &tables.y, &tables.x, &cursor.row, &cursor.last_row)
    cursor.outside_row = -1
    if tables.mode != AVG and not box.is_inside:
        find_first_outside(tables, box, cursor)
    start_row(tables, box, cursor)


cdef inline void start_row(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor
) noexcept nogil:
    """Find the samples on the map in a row of them."""
    cursor.col, cursor.last_col = 0, 0
    if cursor.row < cursor.last_row:
        cursor.down = along(&box.y_span, cursor.row_bin, cursor.row)
        cursor.last_col = box.x_span.samples
        if not box.is_inside:
            inside_row(
                box, cursor.down, cursor.col_bin, &tables.y, &tables.x, &tables.geometry,
                &cursor.col, &cursor.last_col,
            )


cdef void find_first_outside(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor
) noexcept nogil:
    """The first sample of a bin that is outside the map: it takes part in a maximum, with 0."""
    cdef Py_ssize_t row, samples = box.x_span.samples
    cdef ListCursor ahead = cursor[0]
    cursor.outside_col = 0
    if samples == 0 or box.y_span.samples == 0:
        return
    if cursor.row == 0:
        for row in range(cursor.last_row):
            ahead.row = row
            start_row(tables, box, &ahead)
            if ahead.col > 0 or ahead.last_col < samples:
                cursor.outside_row = row
                if ahead.col == 0 and ahead.last_col > 0:
                    cursor.outside_col = ahead.last_col
                return
        if cursor.last_row == box.y_span.samples:
            return
        cursor.outside_row = cursor.last_row
    else:
        cursor.outside_row = 0


cdef Py_ssize_t add_point(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor, const Lists *lists,
    Py_ssize_t first, Py_ssize_t end,
) noexcept nogil:
    """Add a sample to the taps ``first .. end``, merging cells that recur; return the new end."""
    cdef double right = along(&box.x_span, cursor.col_bin, cursor.col)
    cdef double by_y[PARAMETERS]
    cdef double by_x[PARAMETERS]
    cdef Py_ssize_t t, i, k
    cdef Point point
    memset(by_y, 0, sizeof(by_y))  # for the compiler, which does not see that they are set if read
    memset(by_x, 0, sizeof(by_x))
    find_point(box, cursor.down, right, &tables.y, &tables.x, &tables.geometry, &point)
    cursor.share += point.share
    if tables.y.with_slopes:
        find_moves(
            box, cursor.down, right, cursor.row_bin, cursor.row, cursor.col_bin, cursor.col,
            &tables.y, &tables.x, &tables.geometry, by_y, by_x,
        )
    for i in range(point.cells):
        t = end - 1
        while t >= first and (
            lists.place[t].x != point.place[i].x or lists.place[t].y != point.place[i].y
        ):
            t -= 1
        if t < first:
            t = end
            end += 1
            lists.place[t] = point.place[i]
            lists.weight[t] = 0.0
            if tables.y.with_slopes:
                memset(lists.slope + t * PARAMETERS, 0, PARAMETERS * sizeof(double))
        lists.weight[t] += point.weight[i]
        if tables.y.with_slopes:
            for k in range(PARAMETERS):
                lists.slope[t * PARAMETERS + k] += (
                    point.by_y[i] * by_y[k] + point.by_x[i] * by_x[k]
                )
    return end


cdef inline bint has_slope(const double *slope) noexcept nogil:
    cdef int k
    for k in range(PARAMETERS):
        if slope[k] != 0:
            return True
    return False


cdef Py_ssize_t close_list(
    const PointTables *tables, ListCursor *cursor, const Lists *lists, Py_ssize_t first,
    Py_ssize_t end, double samples,
) noexcept nogil:
    """Turn the taps ``first .. end`` into a mean of ``samples``, and drop those that are not read.

    Returns where they end then. Their weights continue the rounded sum of the lists before.
    """
    cdef bint single = tables.y.single, with_slopes = tables.y.with_slopes
    cdef bint weighs, matters
    cdef Py_ssize_t t, k, kept = first
    cdef bint has_weights = False
    cdef double weight
    for t in range(first, end):
        weight = lists.weight[t] / samples
        if single and <float>weight == 0:
            weight = 0.0
        weighs = weight != 0
        matters = weighs
        if with_slopes:
            for k in range(PARAMETERS):
                lists.slope[kept * PARAMETERS + k] = lists.slope[t * PARAMETERS + k] / samples
            matters = has_slope(lists.slope + kept * PARAMETERS) or weighs and tables.mode != AVG
        if matters:
            has_weights |= weighs
            lists.weight[kept] = weight
            lists.place[kept] = lists.place[t]
            kept += 1
    if not has_weights or with_slopes and tables.mode == AVG:  # then no weight is read
        return kept
    if single:
        round_next_weights(
            &cursor.sum, lists.weight + first, kept - first, cursor.share / samples, True
        )
    else:
        round_next_weights(
            &cursor.sum, lists.weight + first, kept - first, cursor.share / samples, False
        )
    return kept


cdef void make_lists(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor, Lists *lists
) noexcept nogil:
    """Make the lists of the next samples: ``lists.lines`` is 0 where there are no more."""
    cdef Py_ssize_t samples = 0, end = lists.first_tap, first = end
    cdef bint is_mean = tables.mode == AVG, is_over
    lists.lines = 0
    while samples < SAMPLES_AT_ONCE:
        while cursor.col >= cursor.last_col and cursor.row < cursor.last_row:
            cursor.row += 1
            start_row(tables, box, cursor)
        is_over = cursor.row >= cursor.last_row
        if cursor.outside_row >= 0 and (
            is_over or cursor.outside_row < cursor.row
            or cursor.outside_row == cursor.row and cursor.outside_col < cursor.col
        ):
            cursor.outside_row = -1
            lists.tap_end[lists.lines] = end
            lists.lines += 1
        if is_over:
            break
        end = add_point(tables, box, cursor, lists, first, end)
        cursor.col += 1
        samples += 1
        if not is_mean:
            end = close_list(tables, cursor, lists, first, end, 1.0)
            cursor.share = 0.0
            cursor.sum = empty_sum()
            lists.tap_end[lists.lines] = first = end
            lists.lines += 1
    if is_mean and samples:
        lists.tap_end[0] = close_list(
            tables, cursor, lists, first, end,
            <double>box.y_span.samples * <double>box.x_span.samples,
        )
        lists.lines = 1
