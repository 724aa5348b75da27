# The gradient of a maximum with respect to the features: each bin's goes to its largest point.


cdef void add_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t r, y_line, y_bin, t
    for r in range(rows):
        y_bin = box * call.y.bins + first + r
        find_argmax(call, schedule, task, work, box, first + r)
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            if schedule.on_demand and not is_any_on_line(
                call, work, y_line - call.y.line_begin[y_bin]
            ):
                continue  # a tall bin has many lines, most of them without one
            memset(work.lines, 0, work.columns * LANES * sizeof(real))
            add_bins(
                call, work, y_line - call.y.line_begin[y_bin], work.cells + r * call.x.bins * LANES
            )
            for t in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                if call.y.cell[t] < task.first_row or call.y.cell[t] >= task.last_row:
                    continue
                work.term.place = 0
                work.term.weight = <real>call.y.weight[t]
                add_to_row(call, schedule, task, work, call.y.cell[t], work.term, 1)


cdef void add_bins(
    const Call *call, const Workspace *work, Py_ssize_t row, const real *grads
) noexcept nogil:
    """Add the gradients of bins whose largest point is on the ``row``-th of their lines along y."""
    cdef Py_ssize_t p
    cdef const XBin *x_bin
    cdef lanes grad
    for p in range(call.x.bins):
        x_bin = work.x_bin + p
        grad = load_lanes(grads + p * LANES)
        if x_bin.few == 1:
            add_bin(work, p, x_bin.lines, 1, 2, row, grad)
        elif x_bin.few == 2:
            add_bin(work, p, x_bin.lines, 2, 2, row, grad)
        elif x_bin.few == 3:
            add_bin(work, p, x_bin.lines, 3, 2, row, grad)
        else:
            add_bin(work, p, x_bin.lines, x_bin.count, 0, row, grad)


cdef inline void add_bin(
    const Workspace *work, Py_ssize_t p, const XLine *x_line, Py_ssize_t count, Py_ssize_t terms,
    Py_ssize_t row, lanes grad,
) noexcept nogil:
    """The same for one bin; ``count`` and ``terms`` are those of `find_point`."""
    cdef lanes_mask found = load_mask(work.point + p * LANES)
    cdef lanes_mask here
    cdef lanes share
    cdef real *cell
    cdef Py_ssize_t k, t
    for k in range(count):
        here = equal_numbers(found, <flag>(row * count + k))
        if count > DENSE_LINES and not is_any(here):
            continue
        # The 0 of other channels, of either sign, changes no sum, as sums start from +0.
        share = chosen(here, grad, all_lanes(0))
        for t in range(terms if terms else x_line[k].terms):
            cell = work.lines + x_line[k].term[t].place
            store_lanes(cell, plus(load_lanes(cell), scaled(share, x_line[k].term[t].weight)))


cdef bint is_any_on_line(const Call *call, const Workspace *work, Py_ssize_t row) noexcept nogil:
    """Whether any bin has the largest point of any channel on the ``row``-th of its lines."""
    cdef Py_ssize_t p, i, count
    for p in range(call.x.bins):
        count = work.x_bin[p].count
        for i in range(p * LANES, (p + 1) * LANES):
            if count and work.point[i] // count == row:
                return True
    return False
