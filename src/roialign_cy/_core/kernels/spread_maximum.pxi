# The gradient by the features of a maximum: each section's goes to its largest point.


cdef void spread_maxima(
    const Call *call, const BackPlan *plan, const Patch *patch, BackDesk *desk, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t r, p, y_line, y_bin, x_bin, t
    list_crossings(call, desk, box)
    for r in range(rows):
        y_bin = box * call.y.bins + first + r
        if not section_reaches(call.y, y_bin, patch):
            continue
        find_largest(call, plan, desk, box, first + r)
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            memset(desk.lines, 0, columns * LANES * sizeof(real))
            for p in range(call.x.bins):
                x_bin = box * call.x.bins + p
                spread_section(
                    desk, p, crossings_of(call, desk, x_bin),
                    call.x.line_end[x_bin] - call.x.line_begin[x_bin],
                    y_line - call.y.line_begin[y_bin],
                    take(desk.grads + r * desk.grad_row + p * desk.grad_col),
                )
            for t in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                if call.y.cell[t] < patch.first_row or call.y.cell[t] >= patch.last_row:
                    continue
                desk.term.place = 0
                desk.term.weight = <real>call.y.weight[t]
                add_lines(
                    desk.lines, desk.term, 1, desk.column, columns, desk.row[call.y.cell[t]]
                )


cdef inline void spread_section(
    const BackDesk *desk, Py_ssize_t p, const Crossing *crossing, Py_ssize_t count, Py_ssize_t row,
    lanes grad,
) noexcept nogil:
    """Add what a section has for the ``row``-th of its lines along y to that line."""
    cdef lanes_mask found = take_mask(desk.point + p * LANES)
    cdef lanes_mask here
    cdef lanes share
    cdef real *cell
    cdef Py_ssize_t k, t
    for k in range(count):
        here = equal_numbers(found, <flag>(row * count + k))
        if count > FEW and not is_any(here):
            continue
        # No sum changes by the 0 of the others, of either sign: it starts from +0.
        share = chosen(here, grad, all_lanes(0))
        for t in range(crossing[k].terms):
            cell = desk.lines + crossing[k].term[t].place
            put(cell, plus(take(cell), scaled(share, crossing[k].term[t].weight)))


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


cdef void spread_plane_of_maxima(
    const Gradient *gradient, const Patch *patch, BackDesk *desk, Py_ssize_t box,
    Py_ssize_t channel,
) noexcept nogil:
    cdef const Call *call = &gradient.call
    cdef const char *features = (
        call.features.data + patch.image * call.features.image + channel * call.features.channel
    )
    cdef const char *grads = (
        call.out.data + call.target[box] * call.out.image + channel * call.out.channel
    )
    cdef Py_ssize_t r, p, y_bin, y_line, first, last, count
    for r in range(call.y.bins):
        y_bin = box * call.y.bins + r
        if not section_reaches(call.y, y_bin, patch):
            continue
        find_largest_of_row(call, desk, box, r, features)
        for p in range(call.x.bins):
            desk.cells[p] = load(grads + r * call.out.row + p * call.out.col, call.out.stored)
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
