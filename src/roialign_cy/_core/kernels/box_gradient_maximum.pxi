# The gradient by the boxes of a maximum: that of each section's largest point.


cdef void differentiate_maxima(
    const BoxGradient *gradient, const BackPlan *plan, const Patch *patch, BackDesk *desk,
    Py_ssize_t box,
) noexcept nogil:
    cdef const Call *call = &gradient.call
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t crossings = lines_of(call.x, box)
    cdef Py_ssize_t r, begin, lines, line, k
    cdef int side
    cdef real sums[4 * LANES]
    cdef lanes rise
    cdef const real *values
    memset(sums, 0, sizeof(sums))
    memset(desk.sums, 0, crossings * LANES * sizeof(real))
    list_crossings(call, desk, box)
    for r in range(call.y.bins):
        begin = call.y.line_begin[box * call.y.bins + r]
        lines = call.y.line_end[box * call.y.bins + r] - begin
        find_largest(call, plan, desk, box, r)
        for line in range(lines):
            values = desk.lines
            if lines <= plan.group:
                values += line * columns * LANES
            else:
                interpolate_features(call, desk, begin + line, columns, desk.lines)
            rise = sum_rises(call, desk, box, r, line, values)
            add_slopes_of_line(call.y, begin + line, rise, sums + LANES, sums + 3 * LANES)
    for k in range(crossings):
        add_slopes_of_line(
            call.x, desk.first_crossing + k, take(desk.sums + k * LANES), sums, sums + 2 * LANES
        )
    for side in range(4):
        keep_side(gradient, patch, box, side, sums + side * LANES)


cdef inline void add_slopes_of_line(
    const Axis *axis, Py_ssize_t line, lanes rise, real *near_sums, real *far_sums
) noexcept nogil:
    """Add the derivatives of a line whose points rise as much, times the gradient, by a cell."""
    cdef Py_ssize_t t = axis.tap_begin[line] + 1  # the slopes of the first tap are its negatives
    if has_slopes(axis, line):
        put(near_sums, plus(take(near_sums), scaled(rise, <real>axis.near[t])))
        put(far_sums, plus(take(far_sums), scaled(rise, <real>axis.far[t])))


cdef lanes sum_rises(
    const Call *call, const BackDesk *desk, Py_ssize_t box, Py_ssize_t r, Py_ssize_t line,
    const real *values,
) noexcept nogil:
    """Sum by how much the sections' largest points on a line rise to the next row of the map.

    Times the gradient; and on the desk, for each crossing line, to the next column.
    """
    cdef Py_ssize_t y_line = call.y.line_begin[box * call.y.bins + r] + line
    cdef Py_ssize_t t = call.y.tap_begin[y_line]
    cdef Py_ssize_t p, k, x_bin, count
    cdef bint y_has_slopes = has_slopes(call.y, y_line)
    cdef const real *row = desk.feature_row[call.y.cell[t]]
    cdef const real *next_row = desk.feature_row[call.y.cell[t + 1]] if y_has_slopes else row
    cdef const Crossing *crossing
    cdef real *sums
    cdef lanes rise = all_lanes(0), grad, a, b
    cdef lanes_mask found, here
    for p in range(call.x.bins):
        x_bin = box * call.x.bins + p
        count = call.x.line_end[x_bin] - call.x.line_begin[x_bin]
        crossing = crossings_of(call, desk, x_bin)
        sums = desk.sums + (call.x.line_begin[x_bin] - desk.first_crossing) * LANES
        grad = take(desk.grads + r * desk.grad_row + p * desk.grad_col)
        found = take_mask(desk.point + p * LANES)
        for k in range(count):
            here = equal_numbers(found, <flag>(line * count + k))
            if count <= FEW or is_any(here):
                if crossing.has_slopes:
                    a = take(values + crossing.slope_place[0])
                    b = take(values + crossing.slope_place[1])
                    put(sums, plus_where(here, take(sums), product(minus(b, a), grad)))
                if y_has_slopes:
                    a, b = point_on_row(crossing, row), point_on_row(crossing, next_row)
                    rise = plus_where(here, rise, product(minus(b, a), grad))
            crossing += 1
            sums += LANES
    return rise


cdef inline lanes plus_where(lanes_mask here, lanes total, lanes value) noexcept nogil:
    # No total changes by the 0 of the others: it starts from +0.
    return plus(total, chosen(here, value, all_lanes(0)))


cdef inline bint has_slopes(const Axis *axis, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t t = axis.tap_begin[line]
    return axis.tap_end[line] - t == 2 and (axis.near[t] != 0 or axis.far[t] != 0)


cdef inline lanes point_on_row(const Crossing *crossing, const real *row) noexcept nogil:
    """What a line along x reads of a row of the map."""
    if crossing.terms == 1:
        return times(row + crossing.column[0], crossing.term[0].weight)
    return plus(
        times(row + crossing.column[0], crossing.term[0].weight),
        times(row + crossing.column[1], crossing.term[1].weight),
    )


cdef void differentiate_plane_of_maxima(
    const Call *call, BackDesk *desk, Py_ssize_t box, const char *cells, const char *grads,
    double *sides,
) noexcept nogil:
    cdef const Axis *x = call.x
    cdef const Axis *y = call.y
    cdef Py_ssize_t first = first_line(x, box), count = lines_of(x, box)
    cdef Py_ssize_t r, p, y_bin, y_line, x_line, t, side
    cdef real sums[4]
    cdef real grad, rise
    memset(sums, 0, sizeof(sums))
    memset(desk.sums, 0, count * sizeof(real))
    for r in range(y.bins):
        y_bin = box * y.bins + r
        find_largest_of_row(call, desk, box, r, cells)
        for y_line in range(y.line_begin[y_bin], y.line_end[y_bin]):
            rise = 0
            for p in range(x.bins):
                if desk.row_line[p] != y_line:
                    continue
                x_line = desk.col_line[p]
                grad = load(grads + r * call.out.row + p * call.out.col, call.out.stored)
                if has_slopes(x, x_line):
                    desk.sums[x_line - first] = desk.sums[x_line - first] + grad * rise_along(
                        x, x_line, call.features.col, y, y_line, call.features.row, cells,
                        call.features.stored,
                    )
                if has_slopes(y, y_line):
                    rise = rise + grad * rise_along(
                        y, y_line, call.features.row, x, x_line, call.features.col, cells,
                        call.features.stored,
                    )
            if has_slopes(y, y_line):
                t = y.tap_begin[y_line] + 1
                sums[1] = sums[1] + rise * <real>y.near[t]
                sums[3] = sums[3] + rise * <real>y.far[t]
    for x_line in range(first, first + count):
        if has_slopes(x, x_line):
            t = x.tap_begin[x_line] + 1
            sums[0] = sums[0] + desk.sums[x_line - first] * <real>x.near[t]
            sums[2] = sums[2] + desk.sums[x_line - first] * <real>x.far[t]
    for side in range(4):
        sides[side] += <double>sums[side]


cdef real rise_along(
    const Axis *along, Py_ssize_t line, Py_ssize_t along_stride, const Axis *across,
    Py_ssize_t across_line, Py_ssize_t across_stride, const char *cells, int stored,
) noexcept nogil:
    """By how much a point on a line that has slopes rises to the next cell."""
    cdef const Py_ssize_t *cell = along.cell + along.tap_begin[line]
    return sum_along(
        across, across_line, cells + cell[1] * along_stride, across_stride, stored
    ) - sum_along(across, across_line, cells + cell[0] * along_stride, across_stride, stored)
