# Rows of the map and bins of the boxes, into the workspace of a gradient and out of it.


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


cdef inline char *row_in_map(
    const Call *call, const Task *task, Py_ssize_t y
) noexcept nogil:
    return (
        call.map.data + task.image * call.map.image
        + task.first_channel * call.map.channel + y * call.map.row
    )


cdef void open_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Have rows ``first .. last`` of the gradient in the ring, where they are not."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t y
    cdef real *cells
    work.opened = max(work.opened, first)
    for y in range(work.opened, last):
        if work.low[y] >= work.high[y]:
            continue
        cells = work.gradient_row[y] + work.low[y] * LANES
        if call.update == ACCUMULATE:
            pack_cells(
                row_in_map(call, task, y) + work.low[y] * map.col, map.channel, map.col,
                map.stored, task.channels, work.high[y] - work.low[y], cells, 0,
            )
        else:
            memset(cells, 0, (work.high[y] - work.low[y]) * LANES * sizeof(real))
    work.opened = max(work.opened, last)


cdef void close_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t last
) noexcept nogil:
    """Write the rows before ``last`` out: no box that is still to come reaches them."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t y, low, high
    cdef char *start
    for y in range(work.closed, last):
        low, high = work.low[y], work.high[y]
        start = row_in_map(call, task, y)
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
    """Have rows ``first .. last`` of the features packed."""
    cdef const Array *features = &call.features
    cdef Py_ssize_t y, ahead
    work.fetched = max(work.fetched, first)
    for y in range(work.fetched, last):
        if work.low[y] < work.high[y]:
            ahead = 0
            if y + 1 < call.height and work.low[y + 1] < work.high[y + 1]:  # much the same columns
                ahead = features.row
            pack_cells(
                features.data + task.image * features.image
                + task.first_channel * features.channel + y * features.row
                + work.low[y] * features.col,
                features.channel, features.col, call.features.stored, task.channels,
                work.high[y] - work.low[y], work.row[y] + work.low[y] * LANES,
                ahead,
            )
    work.fetched = max(work.fetched, last)


cdef inline bint reaches(
    const Call *call, const Task *task, Py_ssize_t box
) noexcept nogil:
    """Whether a box reads anything, and between the first and the last row of the task."""
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
    real **row, Py_ssize_t height, real *ring, Py_ssize_t ring_rows, Py_ssize_t width
) noexcept nogil:
    """Row y of the map lies in slot y modulo ring_rows."""
    cdef Py_ssize_t y, slot = 0
    for y in range(height):
        row[y] = ring + slot * width * LANES
        slot += 1
        if slot == ring_rows:
            slot = 0


cdef inline bint lies_packed(const Array *array, Py_ssize_t channels) noexcept nogil:
    """Whether LANES channels lie side by side in the array itself."""
    return (
        channels == LANES
        and array.stored == 0
        and array.channel == <Py_ssize_t>sizeof(real)
    )


cdef void take_grads(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box, Py_ssize_t first,
    Py_ssize_t rows,
) noexcept nogil:
    """Have the gradients of some rows of bins of a box as cells."""
    cdef const Array *out = &call.out
    cdef Py_ssize_t r, ahead = 0
    cdef const char *start = (
        out.data + call.target[box] * out.image + task.first_channel * out.channel
        + first * out.row
    )
    if lies_packed(out, task.channels):
        work.grads = <const real *>start
        work.grad_row = out.row // <Py_ssize_t>sizeof(real)
        work.grad_col = out.col // <Py_ssize_t>sizeof(real)
    else:
        work.grads = work.cells
        work.grad_col = LANES
        work.grad_row = call.x.bins * LANES
        if box + 1 < task.end:
            ahead = (call.target[box + 1] - call.target[box]) * out.image
        if out.row == call.x.bins * out.col:
            pack_cells(
                start, out.channel, out.col, out.stored, task.channels, rows * call.x.bins,
                work.cells, ahead,
            )
        else:
            for r in range(rows):
                pack_cells(
                    start + r * out.row, out.channel, out.col, out.stored, task.channels,
                    call.x.bins, work.cells + r * work.grad_row, ahead,
                )
