# Which point of a section is the largest, and its gradient by the features.


cdef inline Py_ssize_t terms_of(
    const Axis *axis, Py_ssize_t line, real *const *row, Term *term
) noexcept nogil:
    """The rows that a line reads, with their weights; places count from the first row listed."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if <real>axis.weight[t] != 0:
            term[terms].place = row[axis.cell[t]] - row[0]
            term[terms].weight = <real>axis.weight[t]
            terms += 1
    return terms


cdef void interpolate_features(
    const Call *call, const BackDesk *desk, Py_ssize_t line, Py_ssize_t columns, real *out
) noexcept nogil:
    """Combine the rows of one line of the features at the distinct columns of the box."""
    cdef Py_ssize_t terms = terms_of(call.y, line, desk.feature_row, desk.term)
    mix_listed(
        desk.feature_row[0], desk.term, terms, desk.feature_column, columns, out, LANES
    )


cdef inline void keep_first_larger(
    const real *a, const real *b, real wa, real wb, Py_ssize_t terms, int row, int col,
    bint is_first, real *best, int *row_point, int *col_point,
) noexcept nogil:
    """Let the point ``wa * a + wb * b`` be the largest, if it is larger than all before it."""
    cdef real value[LANES]
    cdef real old[LANES]  # locals, and no branches: or this is not SIMD
    cdef int rows[LANES]
    cdef int cols[LANES]
    cdef int better[LANES]
    cdef Py_ssize_t i
    for i in range(LANES):
        value[i] = wa * a[i]
        if terms > 1:
            value[i] = value[i] + wb * b[i]
    if is_first:
        for i in range(LANES):
            best[i] = value[i]
        for i in range(LANES):
            row_point[i] = row
            col_point[i] = col
        return
    for i in range(LANES):
        old[i] = best[i]
        rows[i] = row_point[i]
        cols[i] = col_point[i]
    for i in range(LANES):
        # A NaN is larger than any number, and then stays.
        better[i] = (value[i] > old[i]) | ((value[i] != value[i]) & (old[i] == old[i]))
    for i in range(LANES):
        old[i] = value[i] if better[i] else old[i]
    for i in range(LANES):
        rows[i] = row if better[i] else rows[i]
        cols[i] = col if better[i] else cols[i]
    for i in range(LANES):
        best[i] = old[i]
    for i in range(LANES):
        row_point[i] = rows[i]
        col_point[i] = cols[i]


cdef inline void meet_outside(real *best, int *row_point, bint is_first) noexcept nogil:
    """A point outside the map: 0, and no line of any axis."""
    cdef Py_ssize_t i
    for i in range(LANES):
        if is_first or best[i] < 0:
            best[i] = 0
            row_point[i] = -1


cdef void find_largest(
    const Call *call, BackDesk *desk, Py_ssize_t box, Py_ssize_t row
) noexcept nogil:
    """For each section of a row, and each channel, the lines that cross in its largest point.

    The first such point in the order of the samples, row by row; -1 for one outside the map.
    """
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t y_bin = box * call.y.bins + row
    cdef Py_ssize_t begin = call.y.line_begin[y_bin]
    cdef Py_ssize_t y_line, x_line, x_begin, x_bin, p
    cdef bint starts, is_first
    cdef real *best
    cdef int *row_point
    for y_line in range(begin, call.y.line_end[y_bin]):
        interpolate_features(call, desk, y_line, columns, desk.lines)
        starts = y_line == begin
        for p in range(call.x.bins):
            x_bin = box * call.x.bins + p
            x_begin = call.x.line_begin[x_bin]
            if x_begin == call.x.line_end[x_bin]:
                continue
            best = desk.best + p * LANES
            row_point = desk.row_point + p * LANES
            is_first = starts
            if starts and (call.y.outside[y_bin] | call.x.outside[x_bin]) & OUTSIDE_BEFORE:
                meet_outside(best, row_point, True)
                is_first = False
            for x_line in range(x_begin, call.x.line_end[x_bin]):
                compare_point(
                    call, desk, p, x_line, <int>(y_line - begin), <int>(x_line - x_begin), is_first
                )
                is_first = False
            if starts and call.x.outside[x_bin] & OUTSIDE_AFTER:
                meet_outside(best, row_point, False)
    if call.y.outside[y_bin] & OUTSIDE_AFTER:
        for p in range(call.x.bins):
            meet_outside(desk.best + p * LANES, desk.row_point + p * LANES, False)


cdef void compare_point(
    const Call *call, BackDesk *desk, Py_ssize_t p, Py_ssize_t x_line, int row, int col,
    bint is_first,
) noexcept nogil:
    cdef Py_ssize_t t, terms = 0
    cdef const real *source[2]
    cdef real weight[2]
    cdef real *best = desk.best + p * LANES
    cdef int *row_point = desk.row_point + p * LANES
    cdef int *col_point = desk.col_point + p * LANES
    source[1] = NULL
    weight[1] = 0
    for t in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
        if <real>call.x.weight[t] != 0:
            source[terms] = desk.lines + call.x.slot[t] * LANES
            weight[terms] = <real>call.x.weight[t]
            terms += 1
    if is_first:
        if terms == 2:
            keep_first_larger(
                source[0], source[1], weight[0], weight[1], 2, row, col, True, best, row_point,
                col_point,
            )
        else:
            keep_first_larger(
                source[0], source[0], weight[0], 0, 1, row, col, True, best, row_point, col_point
            )
    elif terms == 2:
        keep_first_larger(
            source[0], source[1], weight[0], weight[1], 2, row, col, False, best, row_point,
            col_point,
        )
    else:
        keep_first_larger(
            source[0], source[0], weight[0], 0, 1, row, col, False, best, row_point, col_point
        )


cdef inline void choose(
    const real *grads, const int *row_point, const int *col_point, int row, int col,
    const real *nothing, real *chosen,
) noexcept nogil:
    """The gradients of the channels whose largest point is this one, 0 for the others.

    No sum changes a bit by a 0 of either sign: it starts from +0, and so is never -0.
    """
    cdef real values[LANES]
    cdef real others[LANES]  # loaded: with a constant, gcc makes branches of this
    cdef int here[LANES]
    cdef Py_ssize_t i
    for i in range(LANES):
        values[i] = grads[i]
        others[i] = nothing[i]
        here[i] = (row_point[i] == row) & (col_point[i] == col)
    for i in range(LANES):
        values[i] = values[i] if here[i] else others[i]
    for i in range(LANES):
        chosen[i] = values[i]


cdef inline void add_cell(const real *value, real weight, real *out) noexcept nogil:
    put(out, plus(take(out), times(value, weight)))


cdef void spread_maxima(
    const Call *call, const Patch *patch, BackDesk *desk, Py_ssize_t box, Py_ssize_t first,
    Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t r, p, y_line, x_line, y_bin, x_bin, t
    cdef real chosen[LANES]
    for r in range(rows):
        y_bin = box * call.y.bins + first + r
        if not section_reaches(call.y, y_bin, patch):
            continue
        find_largest(call, desk, box, first + r)
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            memset(desk.lines, 0, columns * LANES * sizeof(real))
            for p in range(call.x.bins):
                x_bin = box * call.x.bins + p
                for x_line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
                    choose(
                        desk.grads + r * desk.grad_row + p * desk.grad_col,
                        desk.row_point + p * LANES, desk.col_point + p * LANES,
                        <int>(y_line - call.y.line_begin[y_bin]),
                        <int>(x_line - call.x.line_begin[x_bin]), desk.nothing, chosen,
                    )
                    for t in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
                        add_cell(
                            chosen, <real>call.x.weight[t], desk.lines + call.x.slot[t] * LANES
                        )
            for t in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                if call.y.cell[t] < patch.first_row or call.y.cell[t] >= patch.last_row:
                    continue
                desk.term.place = 0
                desk.term.weight = <real>call.y.weight[t]
                add_lines(
                    desk.lines, desk.term, 1, desk.column, columns, desk.row[call.y.cell[t]]
                )


cdef inline bint section_reaches(
    const Axis *axis, Py_ssize_t y_bin, const Patch *patch
) noexcept nogil:
    """Whether a row of sections reads a row of the task."""
    cdef Py_ssize_t line, t
    for line in range(axis.line_begin[y_bin], axis.line_end[y_bin]):
        for t in range(axis.tap_begin[line], axis.tap_end[line]):
            if axis.cell[t] >= patch.first_row and axis.cell[t] < patch.last_row:
                return True
    return False


cdef struct Largest:
    # The largest point of a section in one channel.
    real value
    Py_ssize_t row          # its lines, counted in the section; -1 for a point outside the map
    Py_ssize_t col


cdef inline real point_value(
    const Call *call, const char *cells, Py_ssize_t y_line, Py_ssize_t x_line
) noexcept nogil:
    """Interpolated rows first, in the arithmetic of `mix` and of the maximum."""
    cdef real value = 0, column
    cdef bint has_value = False, has_column
    cdef Py_ssize_t tx, ty
    cdef const char *cell
    for tx in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
        if <real>call.x.weight[tx] == 0:
            continue
        column = 0
        has_column = False
        for ty in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
            if <real>call.y.weight[ty] == 0:
                continue
            cell = (
                cells + call.y.cell[ty] * call.features.row + call.x.cell[tx] * call.features.col
            )
            if has_column:
                column = column + <real>call.y.weight[ty] * load(cell, call.itemsize)
            else:
                column = <real>call.y.weight[ty] * load(cell, call.itemsize)
            has_column = True
        if has_value:
            value = value + <real>call.x.weight[tx] * column
        else:
            value = <real>call.x.weight[tx] * column
        has_value = True
    return value


cdef inline void meet(
    Largest *largest, real value, Py_ssize_t row, Py_ssize_t col, bint is_first
) noexcept nogil:
    if (
        is_first or value > largest.value
        or (value != value and largest.value == largest.value)
    ):
        largest.value = value
        largest.row, largest.col = row, col


cdef Largest find_largest_of_section(
    const Call *call, const char *cells, Py_ssize_t y_bin, Py_ssize_t x_bin
) noexcept nogil:
    """As `find_largest`, of one section and channel; ``cells`` is the map of that channel."""
    cdef Largest largest
    cdef Py_ssize_t y_line, x_line
    cdef Py_ssize_t y_begin = call.y.line_begin[y_bin], x_begin = call.x.line_begin[x_bin]
    cdef bint is_first = True
    largest.value = 0
    largest.row = largest.col = -1
    if not has_lines(call, y_bin, x_bin):
        return largest
    if (call.y.outside[y_bin] | call.x.outside[x_bin]) & OUTSIDE_BEFORE:
        is_first = False
    for y_line in range(y_begin, call.y.line_end[y_bin]):
        for x_line in range(x_begin, call.x.line_end[x_bin]):
            meet(
                &largest, point_value(call, cells, y_line, x_line), y_line - y_begin,
                x_line - x_begin, is_first,
            )
            is_first = False
        if call.x.outside[x_bin] & OUTSIDE_AFTER:
            meet(&largest, 0, -1, -1, False)
    if call.y.outside[y_bin] & OUTSIDE_AFTER:
        meet(&largest, 0, -1, -1, False)
    return largest


cdef void find_largest_of_row(
    const Call *call, BackDesk *desk, Py_ssize_t box, Py_ssize_t row, const char *cells
) noexcept nogil:
    cdef Largest largest
    cdef Py_ssize_t p, x_bin, y_bin = box * call.y.bins + row
    for p in range(call.x.bins):
        x_bin = box * call.x.bins + p
        largest = find_largest_of_section(call, cells, y_bin, x_bin)
        desk.row_line[p] = desk.col_line[p] = -1
        if largest.row >= 0:
            desk.row_line[p] = call.y.line_begin[y_bin] + largest.row
            desk.col_line[p] = call.x.line_begin[x_bin] + largest.col


cdef void spread_plane_of_maxima(
    const Gradient *gradient, const Patch *patch, BackDesk *desk, Py_ssize_t box,
    Py_ssize_t channel,
) noexcept nogil:
    cdef const Call *call = &gradient.call
    cdef const char *features = (
        call.features.data + patch.image * call.features.image + channel * call.features.channel
    )
    cdef const char *grads = (
        call.out.data + (call.first_box + box) * call.out.image + channel * call.out.channel
    )
    cdef Py_ssize_t r, p, y_bin, y_line, first, last, count
    for r in range(call.y.bins):
        y_bin = box * call.y.bins + r
        if not section_reaches(call.y, y_bin, patch):
            continue
        find_largest_of_row(call, desk, box, r, features)
        for p in range(call.x.bins):
            desk.cells[p] = load(grads + r * call.out.row + p * call.out.col, call.itemsize)
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            first, last = call.x.distinct_begin[box], call.x.distinct_end[box]
            while first < last:
                count = min(last - first, <Py_ssize_t>STRETCH)
                if gather_chosen(call, desk, box, y_line, first, count):
                    add_line(
                        gradient, patch, channel, y_line, call.x.distinct + first, count,
                        desk.lines,
                    )
                first += count


cdef bint gather_chosen(
    const Call *call, BackDesk *desk, Py_ssize_t box, Py_ssize_t y_line, Py_ssize_t first,
    Py_ssize_t count,
) noexcept nogil:
    """What the sections whose largest point is on a line add to ``count`` columns; False if 0."""
    cdef Py_ssize_t base = first - call.x.distinct_begin[box]
    cdef Py_ssize_t p, t, slot
    cdef bint is_any = False
    memset(desk.lines, 0, count * sizeof(real))
    for p in range(call.x.bins):
        if desk.row_line[p] != y_line:
            continue
        for t in range(call.x.tap_begin[desk.col_line[p]], call.x.tap_end[desk.col_line[p]]):
            slot = call.x.slot[t] - base
            if 0 <= slot < count:
                desk.lines[slot] = desk.lines[slot] + <real>call.x.weight[t] * desk.cells[p]
                is_any = True
    return is_any
