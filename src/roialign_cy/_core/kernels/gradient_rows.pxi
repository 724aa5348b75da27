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
    cdef Py_ssize_t y, low, high
    cdef real *cells
    work.opened = max(work.opened, first)
    for y in range(work.opened, last):
        columns_of_tile(task, work, y, &low, &high)
        if low >= high:
            continue
        cells = work.gradient_row[y - work.top] + (low - task.first_column) * LANES
        if call.update == ACCUMULATE:
            pack_cells(
                row_in_map(call, task, y) + low * map.col, map.channel, map.col, map.stored,
                task.channels, high - low, cells, 0,
            )
        else:
            memset(cells, 0, (high - low) * LANES * sizeof(real))
    work.opened = max(work.opened, last)


cdef inline void columns_of_tile(
    const Task *task, const Workspace *work, Py_ssize_t y, Py_ssize_t *low, Py_ssize_t *high
) noexcept nogil:
    """The columns of a row of the tile that boxes add to: ``low .. high``; none: low >= high."""
    low[0] = max(work.low[y - work.top], task.first_column)
    high[0] = min(work.high[y - work.top], task.last_column)


cdef void close_rows(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t last
) noexcept nogil:
    """Write the rows before ``last`` out: no box that is still to come reaches them."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t y, low, high
    cdef char *start
    for y in range(work.closed, last):
        columns_of_tile(task, work, y, &low, &high)
        start = row_in_map(call, task, y)
        if low < high:
            unpack_cells(
                work.gradient_row[y - work.top] + (low - task.first_column) * LANES, 1, high - low,
                task.channels, start + low * map.col,
                map.channel, (high - low) * map.col, map.col, map.stored,
            )
        else:
            low = high = task.first_column
        if call.update == OVERWRITE:
            zero_cells(map, start, task.channels, task.first_column, low)
            zero_cells(map, start, task.channels, high, task.last_column)
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
    """Whether a box reads anything, and of the rows and columns of the task's tile."""
    cdef Py_ssize_t y_begin = call.y.distinct_begin[box], y_end = call.y.distinct_end[box]
    cdef Py_ssize_t x_begin = call.x.distinct_begin[box], x_end = call.x.distinct_end[box]
    return (
        y_begin < y_end
        and x_begin < x_end
        and call.y.distinct[y_begin] < task.last_row
        and call.y.distinct[y_end - 1] >= task.first_row
        and call.x.distinct[x_begin] < task.last_column
        and call.x.distinct[x_end - 1] >= task.first_column
    )


cdef void find_columns(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t rows
) noexcept nogil:
    """For each of the ``rows`` from the top, the span of columns that the task's boxes read."""
    cdef Py_ssize_t box, d, y, low, high
    for y in range(rows):
        work.low[y] = call.width
        work.high[y] = 0
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        low = call.x.distinct[call.x.distinct_begin[box]]
        high = call.x.distinct[call.x.distinct_end[box] - 1] + 1
        for d in range(call.y.distinct_begin[box], call.y.distinct_end[box]):
            y = call.y.distinct[d] - work.top
            if 0 <= y < rows:
                work.low[y] = min(work.low[y], low)
                work.high[y] = max(work.high[y], high)


cdef void place_rows(
    real **row, Py_ssize_t rows, real *ring, Py_ssize_t ring_rows, Py_ssize_t columns
) noexcept nogil:
    """Have row y from the top in slot y modulo ring_rows."""
    cdef Py_ssize_t y, slot = 0
    for y in range(rows):
        row[y] = ring + slot * columns * LANES
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


cdef void place_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work
) noexcept nogil:
    """Say where each row of the features lies, or will lie."""
    cdef const Array *features = &call.features
    cdef Py_ssize_t y
    work.fetched = 0
    if schedule.on_demand:
        return
    if not lies_packed(features, task.channels):
        place_rows(work.row, call.height, work.ring, schedule.ring_rows, call.width)
        return
    for y in range(call.height):
        work.row[y] = <real *>(
            features.data + task.image * features.image
            + task.first_channel * features.channel + y * features.row
        )


cdef void fetch_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """Have what a box reads of the features, of which lines have the columns in its window."""
    cdef const Py_ssize_t *column
    cdef Py_ssize_t d, step = LANES
    find_window(call, schedule, task, work, box)
    column = call.x.distinct + call.x.distinct_begin[box] + work.first_slot
    if schedule.on_demand:
        demand_columns(work, column, work.columns)
    elif lies_packed(&call.features, task.channels):
        step = call.features.col // <Py_ssize_t>sizeof(real)
    else:
        fetch_rows(
            call, task, work, call.y.distinct[call.y.distinct_begin[box]],
            call.y.distinct[call.y.distinct_end[box] - 1] + 1,
        )
    for d in range(work.columns):
        work.column[d] = (d if schedule.on_demand else column[d]) * step


cdef inline const real *row_of_features(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t y
) noexcept nogil:
    """A row of the features, whose cells are where `work.column` says."""
    if schedule.on_demand:
        return row_on_demand(call, schedule, task, work, y)
    return work.row[y]


cdef void find_window(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """Find the bins along x that have to be looked at, and the columns that these read.

    All of them, but where a map is cut into tiles those that reach the task's.
    """
    cdef const Axis *x = call.x
    cdef Py_ssize_t end = 0, p, line
    work.first_bin, work.last_bin = 0, x.bins
    work.first_slot, work.columns = 0, x.distinct_end[box] - x.distinct_begin[box]
    if not schedule.on_demand or call.operation == BOX_GRADIENT:
        return
    work.first_bin, work.last_bin = x.bins, 0
    work.first_slot = work.columns
    for p in range(x.bins):
        if not bin_reaches(x, box * x.bins + p, task.first_column, task.last_column):
            continue
        work.first_bin = min(work.first_bin, p)
        work.last_bin = p + 1
        for line in range(x.line_begin[box * x.bins + p], x.line_end[box * x.bins + p]):
            work.first_slot = min(work.first_slot, x.slot[x.tap_begin[line]])
            end = max(end, x.slot[x.tap_end[line] - 1] + 1)
    work.columns = max(end - work.first_slot, 0)


cdef inline bint bin_reaches(
    const Axis *axis, Py_ssize_t bin, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Whether a bin reads any of the cells ``first .. last``."""
    cdef Py_ssize_t line, t
    for line in range(axis.line_begin[bin], axis.line_end[bin]):
        for t in range(axis.tap_begin[line], axis.tap_end[line]):
            if axis.cell[t] >= first and axis.cell[t] < last:
                return True
    return False


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
