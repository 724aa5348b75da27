# The gradient of a maximum with respect to the boxes: that of each bin's largest point.


cdef void differentiate_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    cdef Py_ssize_t x_lines = lines_of(call.x, box)
    cdef Py_ssize_t first = 0, rows, r, k, stride = call.x.bins * LANES
    cdef int side
    cdef real sums[4 * LANES]
    memset(sums, 0, sizeof(sums))
    memset(work.sums, 0, x_lines * LANES * sizeof(real))
    list_x_lines(call, work, box)
    while first < call.y.bins:
        rows = min(schedule.group, call.y.bins - first)
        take_grads(call, task, work, box, first, rows)
        for r in range(rows):
            differentiate_row_of_maxima(
                call, schedule, task, work, box, first + r, work.cells + r * stride, sums
            )
        first += rows
    for k in range(x_lines):
        add_slopes_of_line(
            call.x, work.first_x_line + k, load_lanes(work.sums + k * LANES), sums, sums + 2 * LANES
        )
    for side in range(4):
        store_side(call, task, box, side, sums + side * LANES)


cdef void differentiate_row_of_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t row, const real *grads, real *sums,
) noexcept nogil:
    """Add the derivatives of a row of bins along y; rises along x are added to `work.sums`."""
    cdef Py_ssize_t begin = call.y.line_begin[box * call.y.bins + row]
    cdef Py_ssize_t lines = call.y.line_end[box * call.y.bins + row] - begin, line
    cdef const real *values
    cdef lanes rise
    find_argmax(call, schedule, task, work, box, row)
    for line in range(lines):
        values = work.lines
        if lines <= schedule.group:
            values += line * work.columns * LANES
        else:
            interpolate_features(call, schedule, task, work, begin + line, work.lines)
        rise = sum_rises(call, schedule, task, work, box, row, line, grads, values)
        add_slopes_of_line(call.y, begin + line, rise, sums + LANES, sums + 3 * LANES)


cdef inline void add_slopes_of_line(
    const Axis *axis, Py_ssize_t line, lanes rise, real *near_sums, real *far_sums
) noexcept nogil:
    """Add the derivatives of a line; ``rise`` is how much its points rise, times the gradient."""
    cdef Py_ssize_t t = axis.tap_end[line] - 1  # the slopes of a tap before it are its negatives
    if has_slopes(axis, line):
        store_lanes(near_sums, plus(load_lanes(near_sums), scaled(rise, <real>axis.near[t])))
        store_lanes(far_sums, plus(load_lanes(far_sums), scaled(rise, <real>axis.far[t])))


cdef enum:
    # With no more lines along x in a bin, nearly each of its points is some channel's largest.
    DENSE_LINES = 2


cdef lanes sum_rises(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t row, Py_ssize_t line, const real *grads, const real *values,
) noexcept nogil:
    """Sum how much the map rises at the bins' largest points on a line, from one row to the next.

    Each rise counts times the gradient of its bin. Those from one column to the next are summed in
    the workspace, for each line along x. Under a border of zeros one of the two rows or columns may
    be off the map, where it is 0.
    """
    cdef Py_ssize_t y_line = call.y.line_begin[box * call.y.bins + row] + line
    cdef Py_ssize_t t = call.y.tap_begin[y_line]
    cdef Py_ssize_t p, k, count
    cdef bint y_has_slopes = has_slopes(call.y, y_line)
    cdef bint y_has_two = call.y.tap_end[y_line] - t == 2
    cdef const real *low_row = row_of_features(call, schedule, task, work, call.y.cell[t])
    cdef const real *high_row = row_of_features(
        call, schedule, task, work, call.y.cell[call.y.tap_end[y_line] - 1]
    )
    cdef const XLine *x_line
    cdef real *sums
    cdef lanes rise = all_lanes(0), grad, step
    cdef lanes_mask found, here
    for p in range(call.x.bins):
        x_line, count = work.x_bin[p].lines, work.x_bin[p].count
        sums = work.sums + (x_line - work.x_line) * LANES
        grad = load_lanes(grads + p * LANES)
        found = load_mask(work.point + p * LANES)
        for k in range(count):
            here = equal_numbers(found, <flag>(line * count + k))
            if count <= DENSE_LINES or is_any(here):
                if x_line.is_sloped:
                    step = load_lanes(values + x_line.slope_place[1])
                    if x_line.slope_place[0] >= 0:
                        step = minus(step, load_lanes(values + x_line.slope_place[0]))
                    store_lanes(sums, plus_where(here, load_lanes(sums), product(step, grad)))
                if y_has_slopes:
                    step = interpolated_on_row(x_line, high_row)
                    if y_has_two:
                        step = minus(step, interpolated_on_row(x_line, low_row))
                    rise = plus_where(here, rise, product(step, grad))
            x_line += 1
            sums += LANES
    return rise


cdef inline lanes plus_where(lanes_mask here, lanes total, lanes value) noexcept nogil:
    # The 0 of other channels changes no total, as totals start from +0.
    return plus(total, chosen(here, value, all_lanes(0)))


cdef inline lanes interpolated_on_row(const XLine *x_line, const real *row) noexcept nogil:
    """What a line along x reads of a row of the map."""
    if x_line.terms == 1:
        return times(row + x_line.column[0], x_line.term[0].weight)
    return plus(
        times(row + x_line.column[0], x_line.term[0].weight),
        times(row + x_line.column[1], x_line.term[1].weight),
    )
