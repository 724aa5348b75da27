# The gradient with respect to the features, LANES channels of one image at a time: the tiled order
# reversed. A ring holds the rows of the gradient that the boxes at hand add to. A row is zeroed
# when it opens and written out when no later box reaches it.
#
# The order in which a cell's terms are added is the result. It is that of the boxes in the tables,
# in a box that of the bins' rows, and what one row of bins adds to a cell is summed first,
# by its columns. Nothing else (threads, bands, groups, layout, loop order) may enter into it.


cdef inline void add_few(
    const real *lines, const Term *term, Py_ssize_t terms, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t count, real *out,
) noexcept nogil:
    """The sum of `add_lines` for 1 to 4 terms, a constant where this is called."""
    cdef const real *cells[TERMS]  # locals, which no store to out can change
    cdef real weight[TERMS]
    cdef lanes total
    cdef Py_ssize_t j, t, o
    for t in range(terms):
        cells[t] = lines + term[t].place
        weight[t] = term[t].weight
    for j in range(count):
        o = offset[j] if is_listed else j * LANES
        total = load_lanes(out + o)
        for t in range(terms):
            total = plus(total, times(cells[t] + j * LANES, weight[t]))
        store_lanes(out + o, total)


cdef inline void add_any(
    const real *lines, const Term *term, Py_ssize_t terms, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t count, real *out,
) noexcept nogil:
    while terms >= 4:
        add_few(lines, term, 4, is_listed, offset, count, out)
        term += 4
        terms -= 4
    if terms == 1:
        add_few(lines, term, 1, is_listed, offset, count, out)
    elif terms == 2:
        add_few(lines, term, 2, is_listed, offset, count, out)
    elif terms == 3:
        add_few(lines, term, 3, is_listed, offset, count, out)


cdef void add_lines(
    const real *lines, const Term *term, Py_ssize_t terms, const Py_ssize_t *offset,
    Py_ssize_t count, real *out,
) noexcept nogil:
    """``out[offset[j]] += weight * lines[place + j]``, term by term; offsets ascend."""
    if offset[count - 1] - offset[0] == (count - 1) * LANES:
        add_any(lines, term, terms, False, NULL, count, out + offset[0])
    else:
        add_any(lines, term, terms, True, offset, count, out)


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
    const Call *call, const Task *task, Workspace *work, Py_ssize_t first,
    Py_ssize_t last,
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
    const Call *call, const Task *task, Workspace *work, Py_ssize_t first,
    Py_ssize_t last
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
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first,
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


cdef void feature_gradient_tiled(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work,
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef const Array *features = &call.features
    cdef bint fetches = call.mode == MAX and not lies_packed(
        features, task.channels
    )
    cdef Py_ssize_t box, d, y, x0, first, last, rows
    cdef Py_ssize_t feature_col = LANES
    work.opened = work.closed = task.first_row
    work.fetched = 0
    place_rows(work.gradient_row, call.height, work.gradient_ring, schedule.ring_rows, call.width)
    if fetches:
        place_rows(work.row, call.height, work.ring, schedule.ring_rows, call.width)
    elif call.mode == MAX:
        feature_col = features.col // <Py_ssize_t>sizeof(real)
        for y in range(call.height):
            work.row[y] = <real *>(
                features.data + task.image * features.image
                + task.first_channel * features.channel + y * features.row
            )
    find_columns(call, task, work)
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        first = call.y.distinct[call.y.distinct_begin[box]]
        last = call.y.distinct[call.y.distinct_end[box] - 1] + 1
        if fetches:
            fetch_rows(call, task, work, first, last)
        # Boxes ascend by their first row, and none is taller than the ring.
        first = max(first, task.first_row)
        close_rows(call, task, work, first)
        open_rows(call, task, work, first, min(last, task.last_row))
        x0 = call.x.distinct_begin[box]
        for d in range(x0, call.x.distinct_end[box]):
            work.gradient_column[d - x0] = call.x.distinct[d] * LANES
            work.column[d - x0] = call.x.distinct[d] * feature_col
        first = 0
        while first < call.y.bins:
            rows = min(schedule.group, call.y.bins - first)
            take_grads(call, task, work, box, first, rows)
            if call.mode == AVG:
                add_means(call, packed, task, work, box, first, rows)
            else:
                add_maxima(call, schedule, task, work, box, first, rows)
            first += rows
    close_rows(call, task, work, task.last_row)


cdef void add_means(
    const Call *call, const Packed *packed, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef const Py_ssize_t *y = call.y.distinct + call.y.distinct_begin[box]
    cdef Py_ssize_t height = call.y.distinct_end[box] - call.y.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t d, t, terms
    cdef const int32_t *offset = packed.transposed_x.offset + first_offset(call.x, box)
    cdef const Term *term = packed.transposed_x.terms + packed.transposed_x.begin[box]
    # Column outside, rows inside: the weights are set up once for all rows of the group.
    for d in range(columns):
        terms = offset[d + 1] - offset[d]
        for t in range(terms):
            work.term[t].place = term[t].place * work.grad_col
            work.term[t].weight = term[t].weight
        term += terms
        weighted_sum(
            work.grads, work.term, terms, work.grad_row, rows, work.lines + d * LANES,
            columns * LANES,
        )
    offset = packed.transposed_y.offset + first_offset(call.y, box)
    term = packed.transposed_y.terms + packed.transposed_y.begin[box]
    for d in range(height):
        if y[d] < task.first_row or y[d] >= task.last_row:
            continue
        terms = 0
        for t in range(offset[d], offset[d + 1]):
            if term[t].place >= first and term[t].place < first + rows:
                work.term[terms].place = (term[t].place - first) * columns * LANES
                work.term[terms].weight = term[t].weight
                terms += 1
        add_lines(
            work.lines, work.term, terms, work.gradient_column, columns, work.gradient_row[y[d]]
        )
