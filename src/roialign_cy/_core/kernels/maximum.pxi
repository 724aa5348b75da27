# The maximum over interpolated points in the tiled order, and ONNX's over weighted neighbours.


cdef void maximum(
    const Call *call, const Plan *plan, const Task *task, const Recipe *recipe, const Desk *desk
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows, line = 0, left
    cdef const Term *term = recipe.y.terms
    while first < recipe.rows:
        left = recipe.y.lines[first]
        if left > plan.lines:  # in several passes
            rows = 1
            term = interpolate_lines(recipe, desk, &line, plan.lines, term)
            left -= plan.lines
            desk.line_start[0], desk.line_start[1] = 0, plan.lines
            maximum_of_lines(call, recipe, desk, first, 1, False)
            while left:
                desk.line_start[1] = min(left, plan.lines)
                term = interpolate_lines(recipe, desk, &line, desk.line_start[1], term)
                maximum_of_lines(call, recipe, desk, first, 1, True)
                left -= desk.line_start[1]
        else:
            rows = 0
            desk.line_start[0] = 0
            while (
                rows < plan.group and first + rows < recipe.rows
                and desk.line_start[rows] + recipe.y.lines[first + rows] <= plan.lines
            ):
                desk.line_start[rows + 1] = desk.line_start[rows] + recipe.y.lines[first + rows]
                rows += 1
            term = interpolate_lines(recipe, desk, &line, desk.line_start[rows], term)
            maximum_of_lines(call, recipe, desk, first, rows, False)
        write_rows(call, plan, task, recipe, desk, first, rows)
        first += rows


cdef const Term *interpolate_lines(
    const Recipe *recipe, const Desk *desk, Py_ssize_t *line, Py_ssize_t count, const Term *term
) noexcept nogil:
    """Interpolate ``count`` lines from ``line`` on, and move it on; returns the next term."""
    cdef Py_ssize_t k, terms
    for k in range(count):
        terms = recipe.y.counts[line[0] + k]
        interpolate_line(recipe, desk, term, terms, desk.lines + k * recipe.columns * LANES)
        term += terms
    line[0] += count
    return term


cdef struct Best:
    lanes value             # where is_nan is not set
    lanes_mask is_nan       # in which lanes a NaN was met


cdef inline Best met_before(const real *cell) noexcept nogil:
    cdef Best best
    best.value = take(cell)
    best.is_nan = or_nan(no_lanes(), best.value, best.value)
    best.value = chosen(best.is_nan, all_lanes(-INFINITY), best.value)
    return best


cdef inline Best nothing_met(const Desk *desk) noexcept nogil:
    cdef Best best
    best.value = take(desk.lowest)
    best.is_nan = no_lanes()
    return best


cdef inline Best meet_point(Best best, lanes a) noexcept nogil:
    """One point more."""
    best.value = larger_lanes(a, best.value)
    best.is_nan = or_nan(best.is_nan, a, a)
    return best


cdef inline Best meet_points(Best best, lanes a, lanes b) noexcept nogil:
    """Two points more, which cost one look for a NaN."""
    best.value = larger_lanes(larger_lanes(a, b), best.value)
    best.is_nan = or_nan(best.is_nan, a, b)
    return best


cdef inline lanes point(const real *line, const Term *term, Py_ssize_t terms) noexcept nogil:
    if terms == 1:
        return times(line + term[0].place, term[0].weight)
    return plus(
        times(line + term[0].place, term[0].weight), times(line + term[1].place, term[1].weight)
    )


cdef inline Best meet_lines(
    Best best, const real *line, Py_ssize_t stride, Py_ssize_t count, const Term *term,
    Py_ssize_t x_lines, Py_ssize_t terms,
) noexcept nogil:
    """The points of 1 to 3 lines along x, of 1 or 2 terms each, on ``count`` lines along y.

    ``x_lines`` and ``terms`` are constants where this is called, and may be ``count``.
    """
    cdef lanes a
    cdef Py_ssize_t k
    for k in range(count):
        a = point(line, term, terms)
        if x_lines == 1:
            best = meet_point(best, a)
        else:
            best = meet_points(best, a, point(line, term + terms, terms))
        if x_lines == 3:
            best = meet_point(best, point(line, term + 2 * terms, terms))
        line += stride
    return best


cdef void maximum_of_lines(
    const Call *call, const Recipe *recipe, const Desk *desk, Py_ssize_t first, Py_ssize_t rows,
    bint go_on,
) noexcept nogil:
    """The largest point of each section on the interpolated lines, and its cell if ``go_on``."""
    cdef Py_ssize_t p, x_lines
    cdef const int32_t *count = recipe.x.counts
    cdef const Term *term = recipe.x.terms
    for p in range(call.x.bins):
        # Dispatched on once for all rows: with few samples to a section, that is what costs.
        x_lines = 0 if go_on else lines_of_two_terms(count, recipe.x.lines[p])
        if x_lines == 1:
            term = maximum_of_column(call, recipe, desk, first, rows, False, p, count, term, 1)
        elif x_lines == 2:
            term = maximum_of_column(call, recipe, desk, first, rows, False, p, count, term, 2)
        elif x_lines == 3:
            term = maximum_of_column(call, recipe, desk, first, rows, False, p, count, term, 3)
        else:
            term = maximum_of_column(call, recipe, desk, first, rows, go_on, p, count, term, 0)
        count += recipe.x.lines[p]


cdef inline Py_ssize_t lines_of_two_terms(const int32_t *count, Py_ssize_t lines) noexcept nogil:
    """How many lines, if they are few and have two terms each; else 0."""
    cdef Py_ssize_t i
    if lines > 3:
        return 0
    for i in range(lines):
        if count[i] != 2:
            return 0
    return lines


cdef inline const Term *maximum_of_column(
    const Call *call, const Recipe *recipe, const Desk *desk, Py_ssize_t first, Py_ssize_t rows,
    bint go_on, Py_ssize_t p, const int32_t *count, const Term *term, Py_ssize_t few,
) noexcept nogil:
    """The sections of one column; returns the term after its last.

    ``few`` is what `lines_of_two_terms` says, a constant.
    """
    cdef Py_ssize_t row, begin, y_lines, stride = recipe.columns * LANES
    cdef Py_ssize_t t, bins = call.x.bins, x_lines = few if few else recipe.x.lines[p]
    cdef const char *y_outside = call.y.outside + recipe.box * call.y.bins + recipe.first + first
    cdef bint x_outside = call.x.outside[recipe.box * bins + p]
    cdef const Py_ssize_t *starts = desk.line_start
    cdef const Term *end = term + 2 * few
    cdef const real *line
    cdef real *cell = desk.cells + p * LANES
    cdef Term own[6]  # locals, which no store to cell can change
    cdef Best best, nothing = nothing_met(desk)
    for t in range(2 * few):
        own[t] = term[t]
    for row in range(rows):
        begin = starts[row]
        y_lines = starts[row + 1] - begin
        line = desk.lines + begin * stride
        best = met_before(cell) if go_on else nothing
        if few == 0:
            end = meet_section(&best, count, x_lines, term, line, stride, y_lines)
        elif y_lines == 1:  # these are said, so that they unroll
            best = meet_lines(best, line, stride, 1, own, few, 2)
        elif y_lines == 2:
            best = meet_lines(best, line, stride, 2, own, few, 2)
        else:
            best = meet_lines(best, line, stride, y_lines, own, few, 2)
        put_maximum(
            cell, best, y_lines == 0 or x_lines == 0, y_outside[row] or x_outside
        )
        cell += bins * LANES
    return end


cdef inline const Term *meet_section(
    Best *best, const int32_t *count, Py_ssize_t x_lines, const Term *term, const real *line,
    Py_ssize_t stride, Py_ssize_t y_lines,
) noexcept nogil:
    """The points of some lines along x on some along y; returns the term after the last."""
    cdef Best met = best[0]
    cdef Py_ssize_t i = 0
    while i < x_lines:
        if i + 1 < x_lines and count[i] == 2 and count[i + 1] == 2:
            met = meet_lines(met, line, stride, y_lines, term, 2, 2)
            term += 4
            i += 2
        elif count[i] == 2:
            met = meet_lines(met, line, stride, y_lines, term, 1, 2)
            term += 2
            i += 1
        else:
            met = meet_lines(met, line, stride, y_lines, term, 1, 1)
            term += 1
            i += 1
    best[0] = met
    return term


cdef inline void put_maximum(
    real *cell, Best best, bint is_empty, bint has_sample_outside
) noexcept nogil:
    """As `finish_maximum`; a section without samples is 0."""
    if is_empty:
        put(cell, all_lanes(0))
        return
    if has_sample_outside:
        best.value = not_negative(best.value)
    put(cell, plus_nan(best.value, best.is_nan))


cdef inline bint has_lines(const Call *call, Py_ssize_t y_bin, Py_ssize_t x_bin) noexcept nogil:
    return (
        call.y.line_begin[y_bin] < call.y.line_end[y_bin]
        and call.x.line_begin[x_bin] < call.x.line_end[x_bin]
    )


cdef void weighted_maximum(
    const Call *call, const Plan *plan, const Task *task, const Recipe *recipe, const Desk *desk
) noexcept nogil:
    """ONNX's maximum, over weighted neighbours: plain, since it is here for its sake only."""
    cdef Py_ssize_t row, p, y_bin, x_bin
    cdef Best best
    for row in range(recipe.rows):
        y_bin = recipe.box * call.y.bins + recipe.first + row
        for p in range(call.x.bins):
            x_bin = recipe.box * call.x.bins + p
            best = largest_neighbour(call, plan, recipe, desk, y_bin, x_bin)
            put_maximum(
                desk.cells + p * LANES, best, not has_lines(call, y_bin, x_bin),
                call.y.outside[y_bin] or call.x.outside[x_bin],
            )
        write_rows(call, plan, task, recipe, desk, row, 1)


cdef Best largest_neighbour(
    const Call *call, const Plan *plan, const Recipe *recipe, const Desk *desk, Py_ssize_t y_bin,
    Py_ssize_t x_bin,
) noexcept nogil:
    cdef Py_ssize_t y_line, x_line, ty, tx
    cdef const real *source
    cdef lanes value
    cdef Best best = nothing_met(desk)
    for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
        for x_line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
            for ty in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                for tx in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
                    source = (
                        desk.map + row_place(plan, call.y.cell[ty])
                        + recipe.column[call.x.slot[tx]]
                    )
                    value = times(source, <real>(call.y.weight[ty] * call.x.weight[tx]))
                    best = meet_point(best, value)
            if (
                call.y.tap_end[y_line] - call.y.tap_begin[y_line] == 1
                or call.x.tap_end[x_line] - call.x.tap_begin[x_line] == 1
            ):  # a neighbour of weight zero counts as 0
                best.value = not_negative(best.value)
    return best
