# The gradient of a maximum with respect to the features: each bin's goes to its largest point.


cdef void add_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t r, p, y_line, y_bin, x_bin, t
    list_x_lines(call, work, box)
    for r in range(rows):
        y_bin = box * call.y.bins + first + r
        if not bin_reaches(call.y, y_bin, task):
            continue
        find_argmax(call, schedule, work, box, first + r)
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            memset(work.lines, 0, columns * LANES * sizeof(real))
            for p in range(call.x.bins):
                x_bin = box * call.x.bins + p
                add_bin(
                    work, p, x_lines_of(call, work, x_bin),
                    call.x.line_end[x_bin] - call.x.line_begin[x_bin],
                    y_line - call.y.line_begin[y_bin],
                    load_lanes(work.grads + r * work.grad_row + p * work.grad_col),
                )
            for t in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                if call.y.cell[t] < task.first_row or call.y.cell[t] >= task.last_row:
                    continue
                work.term.place = 0
                work.term.weight = <real>call.y.weight[t]
                add_lines(
                    work.lines, work.term, 1, work.gradient_column, columns,
                    work.gradient_row[call.y.cell[t]]
                )


cdef inline void add_bin(
    const Workspace *work, Py_ssize_t p, const XLine *x_line, Py_ssize_t count, Py_ssize_t row,
    lanes grad,
) noexcept nogil:
    """Add what a bin has for the ``row``-th of its lines along y to that line."""
    cdef lanes_mask found = load_mask(work.point + p * LANES)
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
        for t in range(x_line[k].terms):
            cell = work.lines + x_line[k].term[t].place
            store_lanes(cell, plus(load_lanes(cell), scaled(share, x_line[k].term[t].weight)))


cdef inline bint bin_reaches(
    const Axis *axis, Py_ssize_t y_bin, const Task *task
) noexcept nogil:
    """Whether a row of bins reads a row of the task."""
    cdef Py_ssize_t line, t
    for line in range(axis.line_begin[y_bin], axis.line_end[y_bin]):
        for t in range(axis.tap_begin[line], axis.tap_end[line]):
            if axis.cell[t] >= task.first_row and axis.cell[t] < task.last_row:
                return True
    return False


cdef void add_maxima_of_plane(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box, Py_ssize_t channel
) noexcept nogil:
    cdef const char *features = (
        call.features.data + task.image * call.features.image + channel * call.features.channel
    )
    cdef const char *grads = (
        call.out.data + call.target[box] * call.out.image + channel * call.out.channel
    )
    cdef Py_ssize_t r, p, y_bin, y_line, first, last, count
    for r in range(call.y.bins):
        y_bin = box * call.y.bins + r
        if not bin_reaches(call.y, y_bin, task):
            continue
        find_argmax_of_row(call, work, box, r, features)
        for p in range(call.x.bins):
            work.cells[p] = load_element(
                grads + r * call.out.row + p * call.out.col, call.out.stored
            )
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            first, last = call.x.distinct_begin[box], call.x.distinct_end[box]
            while first < last:
                count = min(last - first, <Py_ssize_t>MAX_SEGMENT)
                if gather_chosen(call, work, box, y_line, first, count):
                    add_line(
                        call, task, channel, y_line, call.x.distinct + first, count,
                        work.lines,
                    )
                first += count


cdef bint gather_chosen(
    const Call *call, Workspace *work, Py_ssize_t box, Py_ssize_t y_line, Py_ssize_t first,
    Py_ssize_t count,
) noexcept nogil:
    """What the bins whose largest point is on a line add to ``count`` columns; False if 0."""
    cdef Py_ssize_t base = first - call.x.distinct_begin[box]
    cdef Py_ssize_t p, t, slot
    cdef bint is_any = False
    memset(work.lines, 0, count * sizeof(real))
    for p in range(call.x.bins):
        if work.row_line[p] != y_line:
            continue
        for t in range(call.x.tap_begin[work.col_line[p]], call.x.tap_end[work.col_line[p]]):
            slot = call.x.slot[t] - base
            if 0 <= slot < count:
                work.lines[slot] = work.lines[slot] + <real>call.x.weight[t] * work.cells[p]
                is_any = True
    return is_any
