# The gradient of a maximum with respect to the boxes: that of each bin's largest point.


cdef void differentiate_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t x_lines = lines_of(call.x, box)
    cdef Py_ssize_t r, begin, lines, line, k
    cdef int side
    cdef real sums[4 * LANES]
    cdef lanes rise
    cdef const real *values
    memset(sums, 0, sizeof(sums))
    memset(work.sums, 0, x_lines * LANES * sizeof(real))
    list_x_lines(call, work, box)
    for r in range(call.y.bins):
        begin = call.y.line_begin[box * call.y.bins + r]
        lines = call.y.line_end[box * call.y.bins + r] - begin
        find_argmax(call, schedule, work, box, r)
        for line in range(lines):
            values = work.lines
            if lines <= schedule.group:
                values += line * columns * LANES
            else:
                interpolate_features(call, work, begin + line, columns, work.lines)
            rise = sum_rises(call, work, box, r, line, values)
            add_slopes_of_line(call.y, begin + line, rise, sums + LANES, sums + 3 * LANES)
    for k in range(x_lines):
        add_slopes_of_line(
            call.x, work.first_x_line + k, load_lanes(work.sums + k * LANES), sums, sums + 2 * LANES
        )
    for side in range(4):
        store_side(call, task, box, side, sums + side * LANES)


cdef inline void add_slopes_of_line(
    const Axis *axis, Py_ssize_t line, lanes rise, real *near_sums, real *far_sums
) noexcept nogil:
    """Add the derivatives of a line whose points rise as much, times the gradient, by a cell."""
    cdef Py_ssize_t t = axis.tap_end[line] - 1  # the slopes of a tap before it are its negatives
    if has_slopes(axis, line):
        store_lanes(near_sums, plus(load_lanes(near_sums), scaled(rise, <real>axis.near[t])))
        store_lanes(far_sums, plus(load_lanes(far_sums), scaled(rise, <real>axis.far[t])))


cdef lanes sum_rises(
    const Call *call, const Workspace *work, Py_ssize_t box, Py_ssize_t r, Py_ssize_t line,
    const real *values,
) noexcept nogil:
    """Sum by how much the bins' largest points on a line rise to the next row of the map.

    Times the gradient; and in the workspace, for each line along x, to the next column. Of two
    neighbours, one may be off the map: under a border of zeros they rise from 0, or to it.
    """
    cdef Py_ssize_t y_line = call.y.line_begin[box * call.y.bins + r] + line
    cdef Py_ssize_t t = call.y.tap_begin[y_line]
    cdef Py_ssize_t p, k, x_bin, count
    cdef bint y_has_slopes = has_slopes(call.y, y_line)
    cdef const real *row = work.row[call.y.cell[t]]
    cdef bint y_has_two = call.y.tap_end[y_line] - t == 2
    cdef const real *next_row = work.row[call.y.cell[call.y.tap_end[y_line] - 1]]
    cdef const XLine *x_line
    cdef real *sums
    cdef lanes rise = all_lanes(0), grad, step
    cdef lanes_mask found, here
    for p in range(call.x.bins):
        x_bin = box * call.x.bins + p
        count = call.x.line_end[x_bin] - call.x.line_begin[x_bin]
        x_line = x_lines_of(call, work, x_bin)
        sums = work.sums + (call.x.line_begin[x_bin] - work.first_x_line) * LANES
        grad = load_lanes(work.grads + r * work.grad_row + p * work.grad_col)
        found = load_mask(work.point + p * LANES)
        for k in range(count):
            here = equal_numbers(found, <flag>(line * count + k))
            if count <= FEW or is_any(here):
                if x_line.is_sloped:
                    step = load_lanes(values + x_line.slope_place[1])
                    if x_line.slope_place[0] >= 0:
                        step = minus(step, load_lanes(values + x_line.slope_place[0]))
                    store_lanes(sums, plus_where(here, load_lanes(sums), product(step, grad)))
                if y_has_slopes:
                    step = interpolated_on_row(x_line, next_row)
                    if y_has_two:
                        step = minus(step, interpolated_on_row(x_line, row))
                    rise = plus_where(here, rise, product(step, grad))
            x_line += 1
            sums += LANES
    return rise


cdef inline lanes plus_where(lanes_mask here, lanes total, lanes value) noexcept nogil:
    # No total changes by the 0 of the others: it starts from +0.
    return plus(total, chosen(here, value, all_lanes(0)))


cdef inline lanes interpolated_on_row(const XLine *x_line, const real *row) noexcept nogil:
    """What a line along x reads of a row of the map."""
    if x_line.terms == 1:
        return times(row + x_line.column[0], x_line.term[0].weight)
    return plus(
        times(row + x_line.column[0], x_line.term[0].weight),
        times(row + x_line.column[1], x_line.term[1].weight),
    )


cdef void differentiate_plane_of_maxima(
    const Call *call, Workspace *work, Py_ssize_t box, const char *cells, const char *grads,
    double *sides,
) noexcept nogil:
    cdef const Axis *x = call.x
    cdef const Axis *y = call.y
    cdef Py_ssize_t first = first_line(x, box), count = lines_of(x, box)
    cdef Py_ssize_t r, p, y_bin, y_line, x_line, t, side
    cdef real sums[4]
    cdef real grad, rise
    memset(sums, 0, sizeof(sums))
    memset(work.sums, 0, count * sizeof(real))
    for r in range(y.bins):
        y_bin = box * y.bins + r
        find_argmax_of_row(call, work, box, r, cells)
        for y_line in range(y.line_begin[y_bin], y.line_end[y_bin]):
            rise = 0
            for p in range(x.bins):
                if work.row_line[p] != y_line:
                    continue
                x_line = work.col_line[p]
                grad = load_element(grads + r * call.out.row + p * call.out.col, call.out.stored)
                if has_slopes(x, x_line):
                    work.sums[x_line - first] = work.sums[x_line - first] + grad * rise_along(
                        x, x_line, call.features.col, y, y_line, call.features.row, cells,
                        call.features.stored,
                    )
                if has_slopes(y, y_line):
                    rise = rise + grad * rise_along(
                        y, y_line, call.features.row, x, x_line, call.features.col, cells,
                        call.features.stored,
                    )
            if has_slopes(y, y_line):
                t = y.tap_end[y_line] - 1
                sums[1] = sums[1] + rise * <real>y.near[t]
                sums[3] = sums[3] + rise * <real>y.far[t]
    for x_line in range(first, first + count):
        if has_slopes(x, x_line):
            t = x.tap_end[x_line] - 1
            sums[0] = sums[0] + work.sums[x_line - first] * <real>x.near[t]
            sums[2] = sums[2] + work.sums[x_line - first] * <real>x.far[t]
    for side in range(4):
        sides[side] += <double>sums[side]


cdef real rise_along(
    const Axis *along, Py_ssize_t line, Py_ssize_t along_stride, const Axis *across,
    Py_ssize_t across_line, Py_ssize_t across_stride, const char *cells, int stored,
) noexcept nogil:
    """By how much a point on a line that has slopes rises to the next cell."""
    cdef Py_ssize_t t = along.tap_end[line] - 1
    cdef const char *upper = cells + along.cell[t] * along_stride
    cdef const char *lower
    cdef real rise = sum_along(across, across_line, upper, across_stride, stored)
    if t > along.tap_begin[line]:
        lower = cells + along.cell[t - 1] * along_stride
        rise = rise - sum_along(across, across_line, lower, across_stride, stored)
    return rise
