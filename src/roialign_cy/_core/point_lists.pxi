# Lists of the cells that a bin reads, made from its samples on the map, some at a time. In `avg`
# the cells of these samples are merged, and all lists of a bin are one line; in `max` each sample
# is a line. How many samples make one list is part of the result: it decides the order of sums.


cdef void start_lists(
    const PointTables *tables, const RotatedBox *box, Py_ssize_t row_bin, Py_ssize_t col_bin,
    ListCursor *cursor,
) noexcept nogil:
    """Begin with the samples of a bin."""
    cdef Corners corners
    cdef int condition
    cursor.row_bin, cursor.col_bin = row_bin, col_bin
    cursor.share = 0.0
    cursor.sum = empty_sum()
    cursor.row = cursor.last_row = 0
    cursor.outside_row = -1
    cursor.is_over = False
    cursor.is_inside = cursor.is_amid = box.is_amid
    if box.x_span.samples and box.y_begin < box.y_end:
        rows_inside(box, row_bin, &tables.y, &tables.x, &cursor.row, &cursor.last_row)
        if not box.is_amid:
            corners = corners_of_bin(
                box, row_bin, col_bin, &tables.y, &tables.x, &tables.geometry
            )
            cursor.is_amid = corners.amid == 4
            cursor.is_inside = True
            for condition in range(4):
                cursor.is_inside &= corners.held[condition] == 4
                if corners.held[condition] == 0:
                    cursor.row = cursor.last_row
    if tables.mode != AVG and not cursor.is_inside:
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
        if not cursor.is_inside:
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


cdef enum:
    # Chains of a hash table of cells. Two that are within 7 cells of each other are in different
    # ones.
    CHAINS = 64
    CHAINS_TO_A_ROW = 27


cdef struct OpenList:
    # The list that is being made, and a hash table that says which tap a cell has.
    Cell *place
    double *weight
    double *slope
    Py_ssize_t taps
    Cell corner             # of the sample before: the upper left of the four cells about it
    Py_ssize_t tap[4]       # theirs; -1: not known
    unsigned char first[CHAINS]             # taps, counted from 1 on; 0 is the end of a chain
    unsigned char next[TAPS_AT_ONCE + 1]    # [tap]


cdef inline void open_list(OpenList *it, const Lists *lists, Py_ssize_t first) noexcept nogil:
    """Begin a list whose taps are to be ``first`` and those that follow."""
    it.place, it.weight, it.slope = lists.place + first, lists.weight + first, NULL
    if lists.slope != NULL:
        it.slope = lists.slope + first * PARAMETERS
    it.taps = 0
    it.corner.y = it.corner.x = -2  # no sample's
    memset(it.first, 0, CHAINS)


cdef Py_ssize_t tap_of(OpenList *it, int32_t y, int32_t x) noexcept nogil:
    """Find the tap of a cell, or add it."""
    cdef Py_ssize_t chain = (x + CHAINS_TO_A_ROW * <Py_ssize_t>y) & (CHAINS - 1)
    cdef Py_ssize_t t = it.first[chain]
    while t and (it.place[t - 1].x != x or it.place[t - 1].y != y):
        t = it.next[t]
    if t == 0:
        it.place[it.taps].y, it.place[it.taps].x = y, x
        it.weight[it.taps] = 0.0
        if it.slope != NULL:
            memset(it.slope + it.taps * PARAMETERS, 0, PARAMETERS * sizeof(double))
        it.taps += 1
        t = it.taps
        it.next[t] = it.first[chain]
        it.first[chain] = <unsigned char>t
    return t - 1


cdef inline void add_samples(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor, OpenList *it,
    Py_ssize_t end, bint is_amid, bint with_slopes,
) noexcept nogil:
    """Add the samples of a row up to column ``end``, merging cells that recur.

    ``is_amid``, that all lie amid four cells of the map, and ``with_slopes`` are constants.
    """
    cdef bint zero_border = is_amid or tables.geometry.zero_border
    cdef double down = cursor.down, right, share = cursor.share
    cdef double weight, y_weight, x_weight, slope_y, slope_x, tall = 0.0, wide
    cdef double by_y[PARAMETERS]
    cdef double by_x[PARAMETERS]
    cdef double *slope
    cdef Py_ssize_t col, t
    cdef int i, j, k
    cdef Sample y, x
    memset(by_y, 0, sizeof(by_y))  # for the compiler, which does not see that they are set if read
    memset(by_x, 0, sizeof(by_x))
    if with_slopes:
        tall = share_of_side(&box.y_span, cursor.row_bin, cursor.row, tables.y.bins)
    for col in range(cursor.col, end):
        right = along(&box.x_span, cursor.col_bin, col)
        y = locate(y_of(box, down, right), tables.y.size, zero_border)
        x = locate(x_of(box, down, right), tables.x.size, zero_border)
        share += 1.0 if is_amid else share_of(&y, tables.y.size) * share_of(&x, tables.x.size)
        if with_slopes:
            wide = share_of_side(&box.x_span, cursor.col_bin, col, tables.x.bins)
            find_moves(box, down, right, tall, wide, &tables.geometry, by_y, by_x)
        if y.cell != it.corner.y or x.cell != it.corner.x:
            it.corner.y, it.corner.x = <int32_t>y.cell, <int32_t>x.cell
            for i in range(4):
                it.tap[i] = -1
        for i in range(2):
            y_weight = y.fraction if i else 1.0 - y.fraction
            for j in range(2):
                x_weight = x.fraction if j else 1.0 - x.fraction
                weight = y_weight * x_weight
                if with_slopes:
                    slope_y = 0.0 if y.is_clamped else x_weight if i else -x_weight
                    slope_x = 0.0 if x.is_clamped else y_weight if j else -y_weight
                    if weight < NEGLIGIBLE:
                        weight = 0.0
                        if slope_y == 0 and slope_x == 0:
                            continue
                elif weight < NEGLIGIBLE:
                    continue
                if not is_amid and not (
                    0 <= y.cell + i < tables.y.size and 0 <= x.cell + j < tables.x.size
                ):
                    continue
                t = it.tap[2 * i + j]
                if t < 0:
                    t = tap_of(it, it.corner.y + i, it.corner.x + j)
                    it.tap[2 * i + j] = t
                it.weight[t] += weight
                if with_slopes:
                    slope = it.slope + t * PARAMETERS
                    for k in range(PARAMETERS):
                        slope[k] += slope_y * by_y[k] + slope_x * by_x[k]
    cursor.col, cursor.share = end, share


cdef inline bint has_slope(const double *slope) noexcept nogil:
    cdef int k
    for k in range(PARAMETERS):
        if slope[k] != 0:
            return True
    return False


cdef Py_ssize_t close_list(
    const PointTables *tables, ListCursor *cursor, OpenList *it, double samples
) noexcept nogil:
    """Turn the taps into a mean of ``samples``, and drop those that are not read.

    Returns how many are left. Their weights continue the rounded sum of the lists before.
    """
    cdef bint single = tables.y.single, is_mean = tables.mode == AVG
    cdef bint with_slopes = tables.y.with_slopes
    cdef bint weighs, matters
    cdef Py_ssize_t t, k, kept = 0
    cdef bint has_weights = False
    cdef double weight
    cdef double *slope
    for t in range(it.taps):
        weight = it.weight[t] / samples
        if single and <float>weight == 0:
            weight = 0.0
        matters = weighs = weight != 0
        if with_slopes:
            slope = it.slope + kept * PARAMETERS
            for k in range(PARAMETERS):
                slope[k] = it.slope[t * PARAMETERS + k] / samples
            matters = has_slope(slope) or weighs and not is_mean
        if matters:
            has_weights |= weighs
            it.weight[kept] = weight
            if kept < t:
                it.place[kept] = it.place[t]
            kept += 1
    if not has_weights or with_slopes and is_mean:  # then no weight is read
        return kept
    if single:
        round_next_weights(&cursor.sum, it.weight, kept, cursor.share / samples, True)
    else:
        round_next_weights(&cursor.sum, it.weight, kept, cursor.share / samples, False)
    return kept


cdef void make_lists(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor, Lists *lists
) noexcept nogil:
    """Make the lists of the next samples: ``lists.lines`` is 0 where there are no more."""
    cdef Py_ssize_t samples = 0, end = lists.first_tap, stop
    cdef bint is_mean = tables.mode == AVG
    cdef double of_bin
    cdef OpenList it
    lists.lines = 0
    if cursor.is_over:
        return
    open_list(&it, lists, end)
    while samples < SAMPLES_AT_ONCE:
        while cursor.col >= cursor.last_col and cursor.row < cursor.last_row:
            cursor.row += 1
            start_row(tables, box, cursor)
        cursor.is_over = cursor.row >= cursor.last_row
        if cursor.outside_row >= 0 and (
            cursor.is_over or cursor.outside_row < cursor.row
            or cursor.outside_row == cursor.row and cursor.outside_col < cursor.col
        ):
            cursor.outside_row = -1
            lists.tap_end[lists.lines] = end
            lists.lines += 1
        if cursor.is_over:
            break
        stop = cursor.col + 1
        if is_mean:
            stop = min(cursor.last_col, cursor.col + SAMPLES_AT_ONCE - samples)
        samples += stop - cursor.col
        if tables.y.with_slopes:
            if cursor.is_amid:
                add_samples(tables, box, cursor, &it, stop, True, True)
            else:
                add_samples(tables, box, cursor, &it, stop, False, True)
        elif cursor.is_amid:
            add_samples(tables, box, cursor, &it, stop, True, False)
        else:
            add_samples(tables, box, cursor, &it, stop, False, False)
        if not is_mean:
            end += close_list(tables, cursor, &it, 1.0)
            cursor.share = 0.0
            cursor.sum = empty_sum()
            lists.tap_end[lists.lines] = end
            lists.lines += 1
            open_list(&it, lists, end)
    if is_mean and samples:
        of_bin = <double>box.y_span.samples * <double>box.x_span.samples
        lists.tap_end[0] = end + close_list(tables, cursor, &it, of_bin)
        lists.lines = 1
