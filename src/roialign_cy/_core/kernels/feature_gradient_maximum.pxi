# The gradient of a maximum with respect to the features: each bin's goes to its largest point.


cdef void add_maxima(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef Py_ssize_t r, bin, line, begin, lines
    cdef const real *grads = work.cells
    for r in range(rows):
        bin = box * call.y.bins + first + r
        find_argmax(call, schedule, task, work, box, first + r)
        line = begin = call.y.line_begin[bin]
        while line < call.y.line_end[bin]:
            lines = min(min(schedule.group, <Py_ssize_t>FEW_LINES), call.y.line_end[bin] - line)
            # On demand, a tall bin has many lines, most of them without a largest point.
            if not schedule.on_demand or is_any_on_lines(call, work, line - begin, lines):
                store_zeros(lines * work.columns, work.lines, LANES)
                add_bins(call, work, line - begin, lines, grads)
                add_lines_to_rows(call, schedule, task, work, line, lines)
            line += lines
        grads += call.x.bins * LANES


cdef void add_bins(
    const Call *call, const Workspace *work, Py_ssize_t first, Py_ssize_t lines, const real *grads
) noexcept nogil:
    """Add the gradients of bins whose largest point is on some of their lines along y."""
    cdef Py_ssize_t p
    cdef const XBin *x_bin
    for p in range(call.x.bins):
        x_bin = work.x_bin + p
        if x_bin.few == 1:
            add_bin(work, p, 1, 2, first, lines, grads)
        elif x_bin.few == 2:
            add_bin(work, p, 2, 2, first, lines, grads)
        elif x_bin.few == 3:
            add_bin(work, p, 3, 2, first, lines, grads)
        elif are_few_cells(x_bin):
            add_bin(work, p, x_bin.count, 1, first, lines, grads)
        else:
            add_points_of_bin(work, p, first, lines, grads)
        grads += LANES


cdef enum:
    FEW_CELLS = 6  # of a bin along x, to which adding is cheaper in all lanes than one by one


cdef inline bint are_few_cells(const XBin *x_bin) noexcept nogil:
    """Whether a bin has few lines along x, of one term each: those of RoI Pooling."""
    cdef Py_ssize_t k
    if x_bin.count > FEW_CELLS:
        return False
    for k in range(x_bin.count):
        if x_bin.lines[k].terms != 1:
            return False
    return True


cdef inline void add_bin(
    const Workspace *work, Py_ssize_t p, Py_ssize_t count, Py_ssize_t terms, Py_ssize_t first,
    Py_ssize_t lines, const real *grads,
) noexcept nogil:
    """The same for one bin with few lines along x, of ``terms`` each, a constant."""
    cdef lanes_mask found = load_mask(work.point + p * LANES)
    cdef lanes grad = load_lanes(grads)
    cdef const XLine *x_line = work.x_bin[p].lines
    cdef lanes share
    cdef real *values = work.lines
    cdef real *cell
    cdef Py_ssize_t line, k, t
    for line in range(first, first + lines):
        for k in range(count):
            # The 0 of other channels, of either sign, changes no sum, as sums start from +0.
            share = chosen(equal_numbers(found, <flag>(line * count + k)), grad, all_lanes(0))
            for t in range(terms):
                cell = values + x_line[k].term[t].place
                store_lanes(cell, plus(load_lanes(cell), scaled(share, x_line[k].term[t].weight)))
        values += work.columns * LANES


cdef void add_points_of_bin(
    const Workspace *work, Py_ssize_t p, Py_ssize_t first, Py_ssize_t lines, const real *grads
) noexcept nogil:
    """The same for any other bin, lane by lane: most of many points are no channel's largest."""
    cdef Py_ssize_t count = work.x_bin[p].count, lane, t
    cdef Py_ssize_t begin = first * count, end = (first + lines) * count, number
    cdef const XLine *x_line
    cdef real *values
    for lane in range(LANES):
        number = work.point[p * LANES + lane]
        if not begin <= number < end:
            continue
        number -= begin
        x_line = work.x_bin[p].lines + number % count
        values = work.lines + number // count * work.columns * LANES + lane
        for t in range(x_line.terms):
            values[x_line.term[t].place] += grads[lane] * x_line.term[t].weight


cdef void add_lines_to_rows(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work,
    Py_ssize_t first, Py_ssize_t lines,
) noexcept nogil:
    """Add the lines to the rows of the gradient that they read of the map, times their weights."""
    cdef const Axis *y = call.y
    cdef Py_ssize_t line, t
    work.term.place = 0
    for line in range(first, first + lines):
        for t in range(y.tap_begin[line], y.tap_end[line]):
            if task.first_row <= y.cell[t] < task.last_row:
                work.term.weight = <real>y.weight[t]
                add_to_row(call, schedule, task, work, y.cell[t], work.term, 1)
        work.term.place += work.columns * LANES


cdef bint is_any_on_lines(
    const Call *call, const Workspace *work, Py_ssize_t first, Py_ssize_t lines
) noexcept nogil:
    """Whether any bin has the largest point of any channel on some of its lines along y."""
    cdef Py_ssize_t p, i, count
    for p in range(call.x.bins):
        count = work.x_bin[p].count
        for i in range(p * LANES, (p + 1) * LANES):
            if count and first <= work.point[i] // count < first + lines:
                return True
    return False
