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


cdef struct Points:
    # The largest points so far of a section, one in each lane, by the lines that cross in them.
    lanes value
    lanes_mask row          # counted in the section; -1 for a point outside the map
    lanes_mask col


cdef inline Points first_larger(Points best, lanes value, flag row, flag col) noexcept nogil:
    """Let another point be the largest where it is larger than all before, or the first NaN."""
    cdef lanes_mask better = is_larger(value, best.value)
    best.value = chosen(better, value, best.value)
    best.row = chosen_numbers(better, all_numbers(row), best.row)
    best.col = chosen_numbers(better, all_numbers(col), best.col)
    return best


cdef inline Points take_points(const BackDesk *desk, Py_ssize_t p) noexcept nogil:
    cdef Points points
    points.value = take(desk.best + p * LANES)
    points.row = take_mask(desk.row_point + p * LANES)
    points.col = take_mask(desk.col_point + p * LANES)
    return points


cdef inline void put_points(const BackDesk *desk, Py_ssize_t p, Points points) noexcept nogil:
    put(desk.best + p * LANES, points.value)
    put_mask(desk.row_point + p * LANES, points.row)
    put_mask(desk.col_point + p * LANES, points.col)


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
    cdef Points best
    cdef lanes value
    for y_line in range(begin, call.y.line_end[y_bin]):
        interpolate_features(call, desk, y_line, columns, desk.lines)
        for p in range(call.x.bins):
            x_bin = box * call.x.bins + p
            x_begin = x_line = call.x.line_begin[x_bin]
            if x_begin == call.x.line_end[x_bin]:
                continue
            if y_line > begin:
                best = take_points(desk, p)
            elif (call.y.outside[y_bin] | call.x.outside[x_bin]) & OUTSIDE_BEFORE:
                best = point_at(all_lanes(0), -1, -1)
            else:
                best = point_at(point_on(call, desk, x_line), 0, 0)
                x_line += 1
            while x_line < call.x.line_end[x_bin]:
                value = point_on(call, desk, x_line)
                best = first_larger(best, value, <flag>(y_line - begin), <flag>(x_line - x_begin))
                x_line += 1
            if y_line == begin and call.x.outside[x_bin] & OUTSIDE_AFTER:
                best = first_larger(best, all_lanes(0), -1, -1)
            put_points(desk, p, best)
    if call.y.outside[y_bin] & OUTSIDE_AFTER:
        for p in range(call.x.bins):
            if has_lines(call, y_bin, box * call.x.bins + p):
                put_points(desk, p, first_larger(take_points(desk, p), all_lanes(0), -1, -1))


cdef inline Points point_at(lanes value, flag row, flag col) noexcept nogil:
    cdef Points points
    points.value, points.row, points.col = value, all_numbers(row), all_numbers(col)
    return points


cdef inline lanes point_on(
    const Call *call, const BackDesk *desk, Py_ssize_t x_line
) noexcept nogil:
    """The point where a line along x crosses the line along y that is interpolated on the desk."""
    cdef Term term[2]
    return point(desk.lines, term, terms_by_column(call.x, x_line, NULL, term))


cdef inline Py_ssize_t terms_by_column(
    const Axis *axis, Py_ssize_t line, const Py_ssize_t *offset, Term *term
) noexcept nogil:
    """What a line along x reads, at these offsets of the distinct columns, or LANES apart."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if <real>axis.weight[t] != 0:  # where there are slopes, there are taps of weight 0, too
            term[terms].place = axis.slot[t] * LANES if offset == NULL else offset[axis.slot[t]]
            term[terms].weight = <real>axis.weight[t]
            terms += 1
    return terms


cdef inline lanes_mask where_largest(
    const Call *call, const BackDesk *desk, Py_ssize_t p, Py_ssize_t y_bin, Py_ssize_t y_line,
    Py_ssize_t x_bin, Py_ssize_t x_line,
) noexcept nogil:
    """In which channels a section's largest point is the one where these lines cross."""
    return both_equal(
        take_mask(desk.row_point + p * LANES), <flag>(y_line - call.y.line_begin[y_bin]),
        take_mask(desk.col_point + p * LANES), <flag>(x_line - call.x.line_begin[x_bin]),
    )


cdef void spread_maxima(
    const Call *call, const Patch *patch, BackDesk *desk, Py_ssize_t box, Py_ssize_t first,
    Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t r, p, y_line, x_line, y_bin, x_bin, t
    cdef lanes grad
    cdef lanes_mask here
    cdef real *cell
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
                    here = where_largest(call, desk, p, y_bin, y_line, x_bin, x_line)
                    if not is_any(here):
                        continue
                    # No sum changes by the 0 of the others, of either sign: it starts from +0.
                    grad = take(desk.grads + r * desk.grad_row + p * desk.grad_col)
                    grad = chosen(here, grad, all_lanes(0))
                    for t in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
                        cell = desk.lines + call.x.slot[t] * LANES
                        put(cell, plus(take(cell), scaled(grad, <real>call.x.weight[t])))
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
