# The maximum over interpolated points in the tiled order, and ONNX's over weighted neighbours.


cdef void maximum(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows, lines, count
    cdef Sums y = sums_of(&plan.y)
    cdef bint go_on
    y.lines = NULL  # one for each line
    while first < plan.rows:
        rows, lines = 1, plan.y.lines[first]
        while (
            rows < schedule.group and first + rows < plan.rows
            and lines + plan.y.lines[first + rows] <= schedule.lines
        ):
            lines += plan.y.lines[first + rows]
            rows += 1
        go_on = False
        while lines or not go_on:  # in several passes if one row has more than there is room for
            count = min(lines, schedule.lines)
            interpolate_lines(call, schedule, task, plan, work, &y, count)
            maximum_of_lines(call, plan, work, first, rows, count, go_on)
            lines -= count
            go_on = True
        write_rows(call, schedule, task, plan, work, first, rows)
        first += rows


cdef struct Maximum:
    lanes value             # where is_nan is not set
    lanes_mask is_nan       # in which lanes a NaN was met


cdef inline Maximum max_load(const real *cell) noexcept nogil:
    cdef Maximum best
    best.value = load_lanes(cell)
    best.is_nan = or_nan(no_lanes(), best.value, best.value)
    best.value = chosen(best.is_nan, all_lanes(-INFINITY), best.value)
    return best


cdef inline Maximum max_start(const Workspace *work) noexcept nogil:
    cdef Maximum best
    best.value = load_lanes(work.lowest)
    best.is_nan = no_lanes()
    return best


cdef inline Maximum max_of_pair(lanes a, lanes b) noexcept nogil:
    """That of two points, which may be the same one. Its value may be a NaN."""
    cdef Maximum best
    best.value = larger_lanes(a, b)
    best.is_nan = or_nan(no_lanes(), a, b)
    return best


cdef inline Maximum max_update(Maximum best, lanes a) noexcept nogil:
    """One more point."""
    best.value = larger_lanes(a, best.value)
    best.is_nan = or_nan(best.is_nan, a, a)
    return best


cdef inline Maximum max_update_pair(Maximum best, lanes a, lanes b) noexcept nogil:
    """Two more points, which cost one comparison for NaN."""
    best.value = larger_lanes(larger_lanes(a, b), best.value)
    best.is_nan = or_nan(best.is_nan, a, b)
    return best


cdef inline lanes interpolated_point(
    const real *line, const Term *term, Py_ssize_t terms
) noexcept nogil:
    if terms == 1:
        return times(line + term[0].place, term[0].weight)
    return plus(
        times(line + term[0].place, term[0].weight), times(line + term[1].place, term[1].weight)
    )


cdef inline Maximum max_update_line(
    Maximum best, const real *line, const Term *term, Py_ssize_t x_lines, Py_ssize_t terms,
    bint is_first,
) noexcept nogil:
    """The points of 1 to 3 lines along x, of 1 or 2 terms each, on one line along y.

    ``x_lines``, ``terms`` and ``is_first`` are constants where this is called. ``is_first`` says
    that there is no ``best`` yet.
    """
    cdef lanes a = interpolated_point(line, term, terms)
    cdef lanes b = a
    if x_lines > 1:
        b = interpolated_point(line, term + terms, terms)
    if is_first:
        best = max_of_pair(a, b)
    elif x_lines > 1:
        best = max_update_pair(best, a, b)
    else:
        best = max_update(best, a)
    if x_lines > 2:
        best = max_update(best, interpolated_point(line, term + 2 * terms, terms))
    return best


cdef inline Maximum max_update_lines(
    Maximum best, const real *line, Py_ssize_t stride, Py_ssize_t count, const Term *term,
    Py_ssize_t x_lines, Py_ssize_t terms,
) noexcept nogil:
    """The same on ``count`` lines along y."""
    cdef Py_ssize_t k
    for k in range(count):
        best = max_update_line(best, line, term, x_lines, terms, False)
        line += stride
    return best


cdef void maximum_of_lines(
    const Call *call, const BoxPlan *plan, const Workspace *work, Py_ssize_t first, Py_ssize_t rows,
    Py_ssize_t lines, bint go_on,
) noexcept nogil:
    """The largest of each bin's points on the interpolated lines, and of its cell if ``go_on``."""
    cdef Py_ssize_t row = 0, alike, y_lines
    cdef const int32_t *count = plan.y.lines + first
    cdef const char *outside = call.y.outside + plan.box * call.y.bins + plan.first + first
    cdef const real *line = work.lines
    cdef real *cell = work.cells
    while row < rows:
        # Most rows of a box are alike. They are dispatched together, once for each column of bins:
        # with few samples to a bin, dispatching is what costs.
        alike = 1
        while (
            row + alike < rows and count[row + alike] == count[row]
            and outside[row + alike] == outside[row]
        ):
            alike += 1
        y_lines = min(<Py_ssize_t>count[row], lines)
        maximum_of_rows(call, plan, work, line, y_lines, outside[row], cell, alike, go_on)
        line += alike * y_lines * plan.columns * LANES
        cell += alike * call.x.bins * LANES
        row += alike


cdef void maximum_of_rows(
    const Call *call, const BoxPlan *plan, const Workspace *work, const real *line,
    Py_ssize_t y_lines, bint y_outside, real *cell, Py_ssize_t rows, bint go_on,
) noexcept nogil:
    """Rows of bins that have the same number of lines each."""
    cdef Py_ssize_t p = 0, alike, stride = plan.columns * LANES
    cdef bint is_few = 0 < y_lines <= FEW_LINES and not y_outside and not go_on
    cdef const int32_t *count = plan.x.counts
    cdef const Term *term = plan.x.terms
    while p < call.x.bins:
        alike = 1
        if is_few and plan.few[p]:
            while p + alike < call.x.bins and plan.few[p + alike] == plan.few[p]:
                alike += 1
            maximum_of_few(
                line, stride, y_lines, term, plan.few[p], cell, rows, alike, call.x.bins * LANES
            )
            term += alike * plan.few[p] * 2
        else:
            term = maximum_of_column(
                call, work, line, stride, y_lines, count, plan.x.lines[p], term, cell, rows,
                y_outside or call.x.outside[plan.box * call.x.bins + p], go_on,
            )
        count += alike * plan.x.lines[p]
        cell += alike * LANES
        p += alike


cdef void maximum_of_few(
    const real *line, Py_ssize_t stride, Py_ssize_t y_lines, const Term *term,
    Py_ssize_t x_lines, real *cell, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t step,
) noexcept nogil:
    """Bins that have the same, small number of points each, on lines along x of two terms.

    Not inline: in a function of its own, the loop has the registers to itself.
    """
    if x_lines == 1:  # constants, so that loops unroll
        maximum_of_few_lines(line, stride, y_lines, term, 1, cell, rows, cols, step)
    elif x_lines == 2:
        maximum_of_few_lines(line, stride, y_lines, term, 2, cell, rows, cols, step)
    else:
        maximum_of_few_lines(line, stride, y_lines, term, 3, cell, rows, cols, step)


cdef inline void maximum_of_few_lines(
    const real *line, Py_ssize_t stride, Py_ssize_t y_lines, const Term *term,
    Py_ssize_t x_lines, real *cell, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t step,
) noexcept nogil:
    if y_lines == 1:
        maximum_of_points(line, stride, 1, term, x_lines, cell, rows, cols, step)
    elif y_lines == 2:
        maximum_of_points(line, stride, 2, term, x_lines, cell, rows, cols, step)
    else:
        maximum_of_points(line, stride, 3, term, x_lines, cell, rows, cols, step)


cdef inline void maximum_of_points(
    const real *line, Py_ssize_t stride, Py_ssize_t y_lines, const Term *term,
    Py_ssize_t x_lines, real *cell, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t step,
) noexcept nogil:
    cdef Term own[2 * FEW_LINES]  # locals, which no store to a cell can change
    cdef const real *points
    cdef Py_ssize_t row, col, i
    cdef Maximum best
    for col in range(cols):
        for i in range(2 * x_lines):
            own[i] = term[i]
        points = line
        for row in range(rows):
            best = max_update_line(best, points, own, x_lines, 2, True)
            if y_lines > 1:
                best = max_update_line(best, points + stride, own, x_lines, 2, False)
            if y_lines > 2:
                best = max_update_line(best, points + 2 * stride, own, x_lines, 2, False)
            store_lanes(cell + row * step, plus_nan(best.value, best.is_nan))
            points += y_lines * stride
        term += 2 * x_lines
        cell += LANES


cdef inline const Term *maximum_of_column(
    const Call *call, const Workspace *work, const real *line, Py_ssize_t stride,
    Py_ssize_t y_lines, const int32_t *count, Py_ssize_t x_lines, const Term *term, real *cell,
    Py_ssize_t rows, bint is_outside, bint go_on,
) noexcept nogil:
    """The bins of one column, whatever they are; returns the term after its last."""
    cdef Py_ssize_t row
    cdef const Term *end = term
    cdef Maximum best
    for row in range(rows):
        best = max_load(cell) if go_on else max_start(work)
        end = max_update_bin(&best, count, x_lines, term, line, stride, y_lines)
        put_maximum(cell, best, y_lines == 0 or x_lines == 0, is_outside)
        line += y_lines * stride
        cell += call.x.bins * LANES
    return end


cdef inline const Term *max_update_bin(
    Maximum *best, const int32_t *count, Py_ssize_t x_lines, const Term *term, const real *line,
    Py_ssize_t stride, Py_ssize_t y_lines,
) noexcept nogil:
    """The points of some lines along x on some along y; returns the term after the last."""
    cdef Maximum met = best[0]
    cdef Py_ssize_t i = 0, terms, lines
    while i < x_lines:
        terms, lines = count[i], 1
        if i + 1 < x_lines and count[i + 1] == terms:
            lines = 2
        if terms == 2:
            if lines == 2:
                met = max_update_lines(met, line, stride, y_lines, term, 2, 2)
            else:
                met = max_update_lines(met, line, stride, y_lines, term, 1, 2)
        elif lines == 2:
            met = max_update_lines(met, line, stride, y_lines, term, 2, 1)
        else:
            met = max_update_lines(met, line, stride, y_lines, term, 1, 1)
        term += lines * terms
        i += lines
    best[0] = met
    return term


cdef inline void put_maximum(
    real *cell, Maximum best, bint is_empty, bint has_sample_outside
) noexcept nogil:
    """Store the largest point of a bin, or what is the largest so far.

    A sample outside the map counts as 0, and a bin without samples is 0. -0 becomes +0, so that the
    bits do not depend on the order in which equals were met.
    """
    if is_empty:
        store_lanes(cell, all_lanes(0))
        return
    if has_sample_outside:
        best.value = not_negative(best.value)
    store_lanes(cell, plus_nan(best.value, best.is_nan))


cdef inline bint has_lines(const Call *call, Py_ssize_t y_bin, Py_ssize_t x_bin) noexcept nogil:
    return (
        call.y.line_begin[y_bin] < call.y.line_end[y_bin]
        and call.x.line_begin[x_bin] < call.x.line_end[x_bin]
    )


cdef void weighted_maximum(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work
) noexcept nogil:
    """ONNX's maximum, over weighted neighbours: plain, since it is here for its sake only."""
    cdef Py_ssize_t row, p, x_bin, y_bin, y_line
    cdef real *cell
    for row in range(plan.rows):
        y_bin = plan.box * call.y.bins + plan.first + row
        for p in range(call.x.bins):
            store_lanes(work.cells + p * LANES, load_lanes(work.lowest))
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            for p in range(call.x.bins):
                cell = work.cells + p * LANES
                x_bin = plan.box * call.x.bins + p
                put_maximum(
                    cell,
                    largest_neighbour(
                        call, schedule, task, plan, work, y_line, x_bin, max_load(cell)
                    ),
                    False, False,
                )
        for p in range(call.x.bins):
            cell = work.cells + p * LANES
            x_bin = plan.box * call.x.bins + p
            put_maximum(
                cell, max_load(cell), not has_lines(call, y_bin, x_bin),
                call.y.outside[y_bin] or call.x.outside[x_bin],
            )
        write_rows(call, schedule, task, plan, work, row, 1)


cdef Maximum largest_neighbour(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work, Py_ssize_t y_line, Py_ssize_t x_bin, Maximum best,
) noexcept nogil:
    """The largest so far, or of the neighbours of a bin's points on a line along y."""
    cdef const Axis *y = call.y
    cdef const Axis *x = call.x
    cdef Py_ssize_t x_line, ty, tx
    cdef const real *row
    for ty in range(y.tap_begin[y_line], y.tap_end[y_line]):
        if schedule.on_demand:
            row = row_on_demand(call, schedule, task, work, y.cell[ty])
        else:
            row = work.map + row_place(schedule, y.cell[ty])
        for x_line in range(x.line_begin[x_bin], x.line_end[x_bin]):
            for tx in range(x.tap_begin[x_line], x.tap_end[x_line]):
                best = max_update(
                    best, times(row + plan.column[x.slot[tx]], <real>(y.weight[ty] * x.weight[tx]))
                )
            if (
                y.tap_end[y_line] - y.tap_begin[y_line] == 1
                or x.tap_end[x_line] - x.tap_begin[x_line] == 1
            ):  # a neighbour of weight zero counts as 0
                best.value = not_negative(best.value)
    return best
