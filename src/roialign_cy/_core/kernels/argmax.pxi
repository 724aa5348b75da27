# Which point of a bin is the largest: what the gradients of maxima begin with.


cdef inline bint has_slopes(const Axis *axis, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t t = axis.tap_begin[line]
    return 0 < axis.tap_end[line] - t <= 2 and (axis.near[t] != 0 or axis.far[t] != 0)


cdef inline Py_ssize_t terms_of(
    const Axis *axis, Py_ssize_t line, real *const *row, Term *term
) noexcept nogil:
    """The terms of a line: places relative to ``row[0]``, or with no ``row`` numbers of cells."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if <real>axis.weight[t] != 0:  # where there are slopes, there are taps of weight 0, too
            term[terms].place = axis.cell[t] if row == NULL else row[axis.cell[t]] - row[0]
            term[terms].weight = <real>axis.weight[t]
            terms += 1
    return terms


cdef void interpolate_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work,
    Py_ssize_t line, real *out,
) noexcept nogil:
    """Combine the rows of one line of the features at the columns of the box."""
    cdef const Py_ssize_t *column = work.column
    cdef const real *base
    cdef Py_ssize_t terms
    if schedule.on_demand:
        terms = terms_of(call.y, line, NULL, work.term)
        interpolate_on_demand(call, schedule, task, work, work.term, terms, out)
        return
    base = work.row[0]
    terms = terms_of(call.y, line, work.row, work.term)
    if column[work.columns - 1] - column[0] == (work.columns - 1) * LANES:
        weighted_sum_dense(base + column[0], work.term, terms, work.columns, out)
    else:
        weighted_sum_gathered(base, work.term, terms, column, work.columns, out, LANES)


cdef void list_x_lines(const Call *call, Workspace *work, Py_ssize_t box) noexcept nogil:
    """List the lines along x of a box in the workspace."""
    cdef const Axis *axis = call.x
    cdef Py_ssize_t line, t, begin, p, first = first_line(axis, box)
    cdef XBin *x_bin
    cdef XLine *x_line = work.x_line
    work.first_x_line = first
    for line in range(first, first + lines_of(axis, box)):
        begin = axis.tap_begin[line]
        x_line.terms = 0
        for t in range(begin, axis.tap_end[line]):
            if <real>axis.weight[t] != 0:
                x_line.term[x_line.terms].place = axis.slot[t] * LANES
                x_line.term[x_line.terms].weight = <real>axis.weight[t]
                x_line.column[x_line.terms] = work.column[axis.slot[t]]
                x_line.terms += 1
        x_line.is_sloped = axis.near != NULL and has_slopes(axis, line)
        if x_line.is_sloped:
            x_line.slope_place[0] = -1
            if axis.tap_end[line] - begin == 2:
                x_line.slope_place[0] = axis.slot[begin] * LANES
            x_line.slope_place[1] = axis.slot[axis.tap_end[line] - 1] * LANES
        x_line += 1
    for p in range(axis.bins):
        x_bin = work.x_bin + p
        line = axis.line_begin[box * axis.bins + p]
        x_bin.lines = work.x_line + (line - first)
        x_bin.count = axis.line_end[box * axis.bins + p] - line
        x_bin.few = 0
        if not axis.outside[box * axis.bins + p]:
            x_bin.few = few_x_lines(x_bin.lines, x_bin.count)


cdef inline Py_ssize_t few_x_lines(const XLine *x_line, Py_ssize_t count) noexcept nogil:
    """How many lines along x, if they are few and have two terms each; else 0."""
    cdef Py_ssize_t k
    if count > FEW_LINES:
        return 0
    for k in range(count):
        if x_line[k].terms != 2:
            return 0
    return count


cdef struct Points:
    # The largest point of a bin so far, in each lane.
    lanes value
    lanes_mask number       # counted row by row in the bin; -1 for a point outside the map


cdef inline Points point_at(lanes value, flag number) noexcept nogil:
    cdef Points points
    points.value, points.number = value, all_numbers(number)
    return points


cdef inline Points first_larger(
    Points best, lanes value, flag number, bint nan_aware
) noexcept nogil:
    """Let another point be the largest where it is larger than all before, or the first NaN."""
    cdef lanes_mask better
    if nan_aware:
        better = is_larger(value, best.value)
        best.value = chosen(better, value, best.value)
    else:
        better = is_greater(value, best.value)
        best.value = larger_lanes(value, best.value)
    best.number = chosen_numbers(better, all_numbers(number), best.number)
    return best


cdef inline Points take_points(const Workspace *work, Py_ssize_t p) noexcept nogil:
    cdef Points points
    points.value = load_lanes(work.best + p * LANES)
    points.number = load_mask(work.point + p * LANES)
    return points


cdef inline void put_points(
    const Workspace *work, Py_ssize_t p, Points points
) noexcept nogil:
    store_lanes(work.best + p * LANES, points.value)
    store_mask(work.point + p * LANES, points.number)


cdef void find_argmax(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t row,
) noexcept nogil:
    """For each bin of a row, and each channel, the number of its largest point.

    Of equal points it is the first in the order of the samples, row by row; a point outside the map
    has the number -1. The lines of the row are then in the workspace, if there are no more of them
    than the schedule's group.
    """
    cdef Py_ssize_t y_bin = box * call.y.bins + row, p, q, alike, met = 0
    cdef Py_ssize_t first = call.y.line_begin[y_bin], end = call.y.line_end[y_bin], lines, k
    cdef const XBin *x_bin
    cdef char outside
    cdef bint has_nan
    cdef bint is_few = (
        end - first <= min(<Py_ssize_t>FEW_LINES, schedule.group) and not call.y.outside[y_bin]
    )
    while first < end:
        lines = min(schedule.group, end - first)
        for k in range(lines):
            interpolate_features(
                call, schedule, task, work, first + k, work.lines + k * work.columns * LANES
            )
        p = 0
        while p < call.x.bins:
            x_bin = work.x_bin + p
            alike = 1
            if is_few and x_bin.few:
                outside = 0
                while p + alike < call.x.bins and work.x_bin[p + alike].few == x_bin.few:
                    alike += 1
                has_nan = find_few_points(work, p, alike, lines, x_bin.few)
            else:
                outside = outside_lines(call, box, y_bin, p, first + lines == end)
                has_nan = x_bin.count > 0 and find_point(
                    work, p, x_bin, met, lines, outside, False
                )
            if has_nan:  # search again, by the slower comparison that respects them
                for q in range(p, p + alike):
                    find_point(work, q, work.x_bin + q, met, lines, outside, True)
            p += alike
        first += lines
        met += lines


cdef enum:
    AFTER_FIRST_LINE = 4  # with those of Axis.outside: samples outside along x


cdef inline char outside_lines(
    const Call *call, Py_ssize_t box, Py_ssize_t y_bin, Py_ssize_t p, bint is_last
) noexcept nogil:
    """Where points outside the map are met among some lines of a bin; ``is_last``, if its last."""
    cdef char y_outside = call.y.outside[y_bin], x_outside = call.x.outside[box * call.x.bins + p]
    cdef char outside = (y_outside | x_outside) & OUTSIDE_BEFORE
    if x_outside & OUTSIDE_AFTER:
        outside |= AFTER_FIRST_LINE
    if is_last:
        outside |= y_outside & OUTSIDE_AFTER
    return outside


cdef struct Search:
    Points best
    lanes last      # the point before
    lanes_mask nan  # where one was among the points so far, which are looked at in pairs


cdef bint find_few_points(
    const Workspace *work, Py_ssize_t p, Py_ssize_t cols, Py_ssize_t y_lines, Py_ssize_t x_lines,
) noexcept nogil:
    """`find_point` for ``cols`` bins that have the same, small number of points each."""
    if x_lines == 1:  # constants, so that loops unroll
        return find_few_on_lines(work, p, cols, y_lines, 1)
    if x_lines == 2:
        return find_few_on_lines(work, p, cols, y_lines, 2)
    return find_few_on_lines(work, p, cols, y_lines, 3)


cdef inline bint find_few_on_lines(
    const Workspace *work, Py_ssize_t p, Py_ssize_t cols, Py_ssize_t y_lines, Py_ssize_t x_lines,
) noexcept nogil:
    if y_lines == 1:
        return find_few_among(work, p, cols, 1, x_lines)
    if y_lines == 2:
        return find_few_among(work, p, cols, 2, x_lines)
    return find_few_among(work, p, cols, 3, x_lines)


cdef inline bint find_few_among(
    const Workspace *work, Py_ssize_t p, Py_ssize_t cols, Py_ssize_t y_lines, Py_ssize_t x_lines,
) noexcept nogil:
    cdef const real *values = work.lines
    cdef Py_ssize_t stride = work.columns * LANES, col
    cdef const XLine *x_line
    cdef Search search
    search.nan = no_lanes()
    for col in range(p, p + cols):
        x_line = work.x_bin[col].lines
        search = search_line(search, values, x_line, x_lines, 0)
        if y_lines > 1:
            search = search_line(search, values + stride, x_line, x_lines, x_lines)
        if y_lines > 2:
            search = search_line(search, values + 2 * stride, x_line, x_lines, 2 * x_lines)
        if y_lines * x_lines % 2:
            search.nan = or_nan(search.nan, search.last, search.last)
        store_mask(work.point + col * LANES, search.best.number)
    return is_any(search.nan)


cdef inline Search search_line(
    Search search, const real *values, const XLine *x_line, Py_ssize_t x_lines, Py_ssize_t number
) noexcept nogil:
    """Go on with the points of 1 to 3 lines along x on one along y; ``number`` is the first's.

    ``x_lines`` and ``number`` are constants where this is called.
    """
    search = search_point(search, interpolated_point(values, x_line.term, 2), number)
    if x_lines > 1:
        search = search_point(search, interpolated_point(values, x_line[1].term, 2), number + 1)
    if x_lines > 2:
        search = search_point(search, interpolated_point(values, x_line[2].term, 2), number + 2)
    return search


cdef inline Search search_point(Search search, lanes value, Py_ssize_t number) noexcept nogil:
    if number == 0:
        search.best = point_at(value, 0)
    else:
        search.best = first_larger(search.best, value, <flag>number, False)
    if number % 2:
        search.nan = or_nan(search.nan, search.last, value)
    search.last = value
    return search


cdef bint find_point(
    const Workspace *work, Py_ssize_t p, const XBin *x_bin, Py_ssize_t met, Py_ssize_t lines,
    char outside, bint nan_aware,
) noexcept nogil:
    """Continue the search for the largest point of a bin on the lines at hand, after ``met`` lines.

    Returns whether there is a NaN; then nothing is found, unless the search is ``nan_aware``.
    """
    cdef Py_ssize_t number = met * x_bin.count, stride = work.columns * LANES, line, k
    cdef const XLine *x_line
    cdef const real *values = work.lines
    cdef Points best
    cdef lanes value, other
    cdef lanes_mask nan = no_lanes()
    if met > 0:
        best = take_points(work, p)  # a NaN among them stays in either search
    elif outside & OUTSIDE_BEFORE:
        best = point_at(all_lanes(0), -1)
    else:
        best = point_at(all_lanes(-INFINITY), 0)
    for line in range(met, met + lines):
        x_line = x_bin.lines
        k = 0
        while k + 1 < x_bin.count and x_line.terms == 2 and x_line[1].terms == 2:
            value = interpolated_point(values, x_line.term, 2)
            other = interpolated_point(values, x_line[1].term, 2)
            nan = or_nan(nan, value, other)
            best = first_larger(best, value, <flag>number, nan_aware)
            best = first_larger(best, other, <flag>(number + 1), nan_aware)
            number += 2
            x_line += 2
            k += 2
        for k in range(k, x_bin.count):
            value = interpolated_point(values, x_line.term, x_line.terms)
            nan = or_nan(nan, value, value)
            best = first_larger(best, value, <flag>number, nan_aware)
            number += 1
            x_line += 1
        if line == 0 and outside & AFTER_FIRST_LINE:
            best = first_larger(best, all_lanes(0), -1, nan_aware)
        values += stride
    if outside & OUTSIDE_AFTER:
        best = first_larger(best, all_lanes(0), -1, nan_aware)
    if not nan_aware and is_any(nan):
        return True
    put_points(work, p, best)
    return False
