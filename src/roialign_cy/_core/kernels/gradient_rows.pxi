# Rows of the map and bins of the boxes: into the workspace of a gradient, and out of it.


cdef void zero_cells(
    const Array *map, char *start, Py_ssize_t channels, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """Write zeros into columns ``begin .. end`` of the row that starts there."""
    cdef Py_ssize_t i, x
    cdef char *plane
    if begin >= end:
        return
    if map.channel == <Py_ssize_t>sizeof(real):
        for x in range(begin, end):
            memset(start + x * map.col, 0, channels * sizeof(real))
        return
    for i in range(channels):
        plane = start + i * map.channel
        if map.col == <Py_ssize_t>sizeof(real):
            memset(plane + begin * map.col, 0, (end - begin) * sizeof(real))
        else:
            for x in range(begin, end):
                memset(plane + x * map.col, 0, sizeof(real))


cdef void open_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Put rows ``first .. last`` of the gradient into the ring, but for those that are there."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t y, low, high
    cdef real *cells
    work.opened = max(work.opened, first)
    for y in range(work.opened, last):
        low, high = work.low[y], work.high[y]
        if low >= high:
            continue
        cells = work.gradient_row[y] + low * LANES
        if call.update == ACCUMULATE:
            pack_cells(
                row_in_map(map, task, y) + low * map.col, map.channel, map.col, map.stored,
                task.channels, high - low, cells, 0,
            )
        else:
            memset(cells, 0, (high - low) * LANES * sizeof(real))
    work.opened = max(work.opened, last)


cdef void close_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t last
) noexcept nogil:
    """Write out the rows before ``last``: no box that is still to come reaches them."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t y, low, high
    cdef char *start
    for y in range(work.closed, last):
        low, high = work.low[y], work.high[y]
        start = row_in_map(map, task, y)
        if low < high:
            unpack_cells(
                work.gradient_row[y] + low * LANES, 1, high - low, task.channels,
                start + low * map.col,
                map.channel, (high - low) * map.col, map.col, map.stored,
            )
        else:
            low = high = 0
        if call.update == OVERWRITE:
            zero_cells(map, start, task.channels, 0, low)
            zero_cells(map, start, task.channels, high, call.width)
    work.closed = max(work.closed, last)


cdef void fetch_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Pack rows ``first .. last`` of the features, but for those that are packed."""
    cdef const Array *features = &call.features
    cdef Py_ssize_t y, ahead
    work.fetched = max(work.fetched, first)
    for y in range(work.fetched, last):
        if work.low[y] < work.high[y]:
            ahead = 0
            if y + 1 < call.height and work.low[y + 1] < work.high[y + 1]:  # much the same columns
                ahead = features.row
            pack_cells(
                row_in_map(features, task, y) + work.low[y] * features.col,
                features.channel, features.col, call.features.stored, task.channels,
                work.high[y] - work.low[y], work.row[y] + work.low[y] * LANES,
                ahead,
            )
    work.fetched = max(work.fetched, last)


cdef inline bint reaches(
    const Call *call, const Task *task, Py_ssize_t box
) noexcept nogil:
    """Whether a box reads anything between the first and the last row of the task."""
    cdef Py_ssize_t begin = call.y.distinct_begin[box], end = call.y.distinct_end[box]
    return (
        begin < end
        and call.x.distinct_begin[box] < call.x.distinct_end[box]
        and call.y.distinct[begin] < task.last_row
        and call.y.distinct[end - 1] >= task.first_row
    )


cdef void find_columns(
    const Call *call, const Task *task, Workspace *work
) noexcept nogil:
    """For each row of the map, the span of columns that the boxes of the task read."""
    cdef Py_ssize_t box, d, y, low, high
    for y in range(call.height):
        work.low[y] = call.width
        work.high[y] = 0
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        low = call.x.distinct[call.x.distinct_begin[box]]
        high = call.x.distinct[call.x.distinct_end[box] - 1] + 1
        for d in range(call.y.distinct_begin[box], call.y.distinct_end[box]):
            y = call.y.distinct[d]
            work.low[y] = min(work.low[y], low)
            work.high[y] = max(work.high[y], high)


cdef void place_rows(
    const Call *call, const Schedule *schedule, real *ring, real **row
) noexcept nogil:
    """Row y of the map lies in slot y modulo the rows of the ring."""
    cdef Py_ssize_t y, slot = 0
    for y in range(call.height):
        row[y] = ring + slot * call.width * LANES
        slot += 1
        if slot == schedule.ring_rows:
            slot = 0


cdef void place_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work
) noexcept nogil:
    """Say where each row of the features lies, or will lie."""
    cdef Py_ssize_t y
    work.fetched = 0
    if schedule.on_demand:
        return
    if not schedule.in_place:
        place_rows(call, schedule, work.ring, work.row)
        return
    for y in range(call.height):
        work.row[y] = <real *>row_in_map(&call.features, task, y)


cdef void fetch_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """Pack the rows of the features that a box reads, and note where its columns lie in them."""
    cdef Py_ssize_t d, step = LANES
    if schedule.on_demand:
        for d in range(work.columns):
            work.column[d] = d * LANES
        return
    if schedule.in_place:
        step = call.features.col // <Py_ssize_t>sizeof(real)
    else:
        fetch_rows(
            call, task, work, call.y.distinct[call.y.distinct_begin[box]],
            call.y.distinct[call.y.distinct_end[box] - 1] + 1,
        )
    for d in range(work.columns):
        work.column[d] = work.demanded[d] * step


cdef inline const real *row_of_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t y
) noexcept nogil:
    """A row of the features, whose cells are where `work.column` says."""
    if schedule.on_demand:
        return row_on_demand(call, schedule, task, work, y)
    return work.row[y]


cdef inline void add_to_row(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Py_ssize_t y, const Term *term, Py_ssize_t terms,
) noexcept nogil:
    """Add a weighted sum of `work.lines` to a row of the gradient."""
    if not schedule.on_demand:
        add_lines(
            work.lines, term, terms, work.gradient_column, work.columns, work.gradient_row[y]
        )
    elif terms:
        pack_demanded(&call.map, task, work, y, work.gradient_ring)
        add_any(work.lines, term, terms, False, NULL, work.columns, work.gradient_ring)
        unpack_demanded(&call.map, task, work, y, work.gradient_ring)


cdef inline bint bin_reaches(
    const Axis *axis, Py_ssize_t bin, const Task *task
) noexcept nogil:
    """Whether a row of bins reads a row of the task."""
    cdef Py_ssize_t line
    for line in range(axis.line_begin[bin], axis.line_end[bin]):
        if (
            axis.cell[axis.tap_begin[line]] < task.last_row
            and axis.cell[axis.tap_end[line] - 1] >= task.first_row
        ):
            return True
    return False


cdef void take_grads(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box, Py_ssize_t first,
    Py_ssize_t rows,
) noexcept nogil:
    """Pack the gradients of some rows of a box's bins into `work.cells`."""
    cdef const Array *out = &call.out
    cdef Py_ssize_t r, ahead = 0
    cdef const char *start = (
        out.data + call.target[box] * out.image + task.first_channel * out.channel
        + first * out.row
    )
    if box + 1 < task.end:
        ahead = (call.target[box + 1] - call.target[box]) * out.image
    if out.row == out.width * out.col:
        pack_cells(
            start, out.channel, out.col, out.stored, task.channels, rows * out.width,
            work.cells, ahead,
        )
    else:
        for r in range(rows):
            pack_cells(
                start + r * out.row, out.channel, out.col, out.stored, task.channels,
                out.width, work.cells + r * out.width * LANES, ahead,
            )
