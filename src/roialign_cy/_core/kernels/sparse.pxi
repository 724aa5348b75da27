# The sparse contraction: bins as lists of cells and weights, for boxes that do not separate along
# the axes. LANES channels of one image at a time, whose rows lie in a ring as in the gradients of
# other boxes; or, where a ring would take too much memory, cells are read where they lie.
#
# Terms are added in the order of the lists, and channels by themselves: nothing else can enter into
# a result.


cdef struct Reader:
    # The lists of one bin after another: from the tables, or made as they are read.
    const PointTables *tables
    const RotatedBox *box
    ListCursor cursor
    Lists lists             # those at hand
    Lists room              # where others are made
    bint is_listed
    bint is_read


cdef inline void start_bin(Reader *reader, Py_ssize_t row, Py_ssize_t col) noexcept nogil:
    cdef const PointTables *tables = reader.tables
    cdef const RotatedBox *box = reader.box
    cdef Py_ssize_t bin, line = box.first_line, tap = box.first_tap
    reader.is_listed = box.first_bin >= 0
    reader.is_read = False
    if not reader.is_listed:
        reader.lists = reader.room
        start_lists(tables, box, row, col, &reader.cursor)
        return
    bin = box.first_bin + row * tables.x.bins + col
    if bin > box.first_bin:
        line = tables.line_end[bin - 1]
    if line > box.first_line:
        tap = tables.tap_end[line - 1]
    reader.lists.lines = tables.line_end[bin] - line
    reader.lists.tap_end = tables.tap_end + line
    reader.lists.first_tap = tap
    reader.lists.place, reader.lists.weight = tables.place, tables.weight
    reader.lists.slope = tables.slope


cdef inline bint next_lists(Reader *reader) noexcept nogil:
    """Take the next lists of the bin; False if there are no more."""
    if not reader.is_listed:
        make_lists(reader.tables, reader.box, &reader.cursor, &reader.lists)
    elif reader.is_read:
        return False
    reader.is_read = True
    return reader.lists.lines > 0


cdef void find_columns_of_boxes(
    const Call *call, const Task *task, Workspace *work
) noexcept nogil:
    """For each row of the map, the span of columns that the boxes of the task may read."""
    cdef Py_ssize_t k, y
    cdef const RotatedBox *box
    for y in range(call.height):
        work.low[y] = call.width
        work.high[y] = 0
    for k in range(task.begin, task.end):
        box = &call.points.box[k]
        for y in range(box.y_begin, box.y_end):
            work.low[y] = min(work.low[y], box.x_begin)
            work.high[y] = max(work.high[y], box.x_end)


cdef void begin_sparse(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Reader *reader
) noexcept nogil:
    """Before the first box of a task."""
    reader.tables = call.points
    work.fetched = 0
    work.opened = work.closed = task.first_row
    if schedule.on_demand:
        store_lanes(work.one_cell, all_lanes(0))
        return
    find_columns_of_boxes(call, task, work)
    if call.features.data != NULL:
        place_features(call, schedule, task, work)
    if call.operation == FEATURE_GRADIENT:
        place_rows(call, schedule, work.gradient_ring, work.gradient_row)


cdef void fetch_box(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t k,
    Reader *reader,
) noexcept nogil:
    """Have the rows of the features that a box may read."""
    reader.box = &call.points.box[k]
    if not schedule.on_demand and call.features.data != NULL:
        fetch_rows(call, task, work, reader.box.y_begin, reader.box.y_end)


cdef inline const real *cell_at(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Cell place,
) noexcept nogil:
    """A cell of the features. If these are taken on demand, it stays until the next one is."""
    if schedule.on_demand:
        load_cell(&call.features, task, place, work.one_cell)
        return work.one_cell
    return work.row[place.y] + place.x * LANES


cdef void load_cell(
    const Array *map, const Task *task, Cell place, real *cell
) noexcept nogil:
    """Have the channels of a cell in the first lanes; what is in the others stays."""
    cdef const char *address = row_in_map(map, task, place.y) + place.x * map.col
    cdef Py_ssize_t i
    if task.channels == LANES:
        pack_cells(address, map.channel, map.col, map.stored, LANES, 1, cell, 0)
        return
    for i in range(task.channels):
        cell[i] = load_element(address + i * map.channel, map.stored)


cdef inline real sum_of_elements(
    const char *source, int stored, const Py_ssize_t *offset, const real *weight,
    Py_ssize_t count, real total,
) noexcept nogil:
    cdef Py_ssize_t t
    for t in range(count):
        total = total + weight[t] * load_element(source + offset[t], stored)
    return total


cdef lanes sum_by_channels(
    const Array *map, const Task *task, const Lists *lists, Py_ssize_t first, Py_ssize_t end,
    lanes total,
) noexcept nogil:
    """Add cells straight from the map, a channel at a time: few are not worth packing."""
    cdef Py_ssize_t offset[TAPS_AT_ONCE]
    cdef real weight[TAPS_AT_ONCE]
    cdef real sums[LANES]
    cdef const char *source = row_in_map(map, task, 0)
    cdef const Cell *place = lists.place
    cdef const double *weights = lists.weight
    cdef Py_ssize_t i, t, count, row = map.row, col = map.col
    store_lanes(sums, total)
    while first < end:
        count = 0
        for t in range(first, min(end, first + TAPS_AT_ONCE)):
            if weights[t] != 0:
                offset[count] = place[t].y * row + place[t].x * col
                weight[count] = <real>weights[t]
                count += 1
        first += TAPS_AT_ONCE
        for i in range(task.channels):
            if map.stored == 0:
                sums[i] = sum_of_elements(source, 0, offset, weight, count, sums[i])
            elif map.stored == UINT8:
                sums[i] = sum_of_elements(source, UINT8, offset, weight, count, sums[i])
            else:
                sums[i] = sum_of_elements(source, map.stored, offset, weight, count, sums[i])
            source += map.channel
        source -= task.channels * map.channel
    return load_lanes(sums)


cdef inline lanes value_of_line(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    const Lists *lists, Py_ssize_t first, Py_ssize_t end, lanes total,
) noexcept nogil:
    """Add the cells of the taps ``first .. end``, times their weights."""
    cdef const Cell *place = lists.place
    cdef const double *weight = lists.weight
    cdef real *const *row = work.row
    cdef const real *cell
    cdef Py_ssize_t t
    if lists.slope == NULL and not schedule.on_demand:  # then no weight is 0
        for t in range(first, end):
            cell = row[place[t].y] + <Py_ssize_t>place[t].x * LANES
            total = plus(total, times(cell, <real>weight[t]))
        return total
    if schedule.on_demand and task.channels < LANES:
        return sum_by_channels(&call.features, task, lists, first, end, total)
    for t in range(first, end):
        if weight[t] != 0:
            total = plus(
                total, times(cell_at(call, schedule, task, work, place[t]), <real>weight[t])
            )
    return total


cdef void mean_of_bin(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Reader *reader, real *cell,
) noexcept nogil:
    store_lanes(cell, all_lanes(0))
    while next_lists(reader):
        # The sum so far is stored, since no register outlives the call that makes lists.
        store_lanes(
            cell,
            value_of_line(
                call, schedule, task, work, &reader.lists, reader.lists.first_tap,
                reader.lists.tap_end[0], load_lanes(cell),
            ),
        )


cdef void maximum_of_bin(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Reader *reader, real *cell,
) noexcept nogil:
    cdef Maximum best = max_start(work)
    cdef bint is_empty = True
    cdef Py_ssize_t line, first, end
    while next_lists(reader):
        is_empty = False
        first = reader.lists.first_tap
        for line in range(reader.lists.lines):
            end = reader.lists.tap_end[line]
            best = max_update(
                best,
                value_of_line(
                    call, schedule, task, work, &reader.lists, first, end, all_lanes(0)
                ),
            )
            first = end
    put_maximum(cell, best, is_empty, False)  # a sample outside is a line without taps


cdef void pool_lists(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Reader *reader
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef Py_ssize_t k, first, rows, row, col
    cdef real *cell
    begin_sparse(call, schedule, task, work, reader)
    for k in range(task.begin, task.end):
        fetch_box(call, schedule, task, work, k, reader)
        first = 0
        while first < call.out.height:
            rows = min(schedule.group, call.out.height - first)
            cell = work.cells
            for row in range(first, first + rows):
                for col in range(call.out.width):
                    start_bin(reader, row, col)
                    if call.mode == AVG:
                        mean_of_bin(call, schedule, task, work, reader, cell)
                    else:
                        maximum_of_bin(call, schedule, task, work, reader, cell)
                    cell += LANES
            unpack_cells(
                work.cells, rows, call.out.width, task.channels,
                call.out.data + call.target[k] * call.out.image
                + task.first_channel * call.out.channel + first * call.out.row,
                call.out.channel, call.out.row, call.out.col, call.out.stored,
            )
            first += rows
