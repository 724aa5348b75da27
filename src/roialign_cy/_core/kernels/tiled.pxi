# The tiled order: LANES channels of one image at a time, packed so that SIMD runs over channels.
#
# The boxes of an image come sorted by their first row, so one sweep down the map serves them all:
# a ring holds the packed rows that the boxes at hand read, and each row is packed once. NHWC maps
# have their channels side by side already and are read in place.


cdef void find_wanted(
    const Call *call, const Plan *plan, const Task *task, Desk *desk
) noexcept nogil:
    """For each row of the map, the tiles of columns that any box of the task reads in it."""
    cdef Py_ssize_t i, box, d
    cdef uint64_t tiles
    memset(desk.wanted, 0, call.height * sizeof(uint64_t))
    for i in range(task.begin, task.end):
        box = call.order[i]
        tiles = 0
        for d in range(call.x.distinct_begin[box], call.x.distinct_end[box]):
            tiles |= <uint64_t>1 << (call.x.distinct[d] // plan.tile)
        for d in range(call.y.distinct_begin[box], call.y.distinct_end[box]):
            desk.wanted[call.y.distinct[d]] |= tiles


cdef void pack_row(
    const Call *call, const Plan *plan, const Task *task, uint64_t wanted, const char *source,
    real *cells,
) noexcept nogil:
    """Pack the wanted tiles of one row of the map, neighbouring ones in one go."""
    cdef Py_ssize_t first = 0, last, columns
    while wanted:
        while not wanted & 1:
            wanted >>= 1
            first += plan.tile
        last = first
        while wanted & 1:
            wanted >>= 1
            last += plan.tile
        columns = min(last, call.width) - first
        pack_cells(
            source + first * call.features.col, call.features.channel, call.features.col,
            call.itemsize, task.channels, columns, cells + first * LANES,
        )
        first = last


cdef void tiled_task(
    const Call *call, const Plan *plan, const Task *task, Desk *desk
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef const char *map_start = (
        call.features.data + task.image * call.features.image
        + (task.first_channel - task.lane) * call.features.channel
    )
    cdef real *ring = desk.ring
    cdef Py_ssize_t ring_row = call.width * LANES
    cdef Py_ssize_t packed = 0  # rows before this one are in the ring or past
    cdef Py_ssize_t i, box, d, y, slot, begin, end
    cdef Py_ssize_t cell_stride = LANES
    if plan.in_place:
        cell_stride = call.features.col // <Py_ssize_t>sizeof(real)
    else:
        find_wanted(call, plan, task, desk)
    for i in range(task.begin, task.end):
        box = call.order[i]
        begin, end = call.y.distinct_begin[box], call.y.distinct_end[box]
        if plan.in_place:
            for d in range(begin, end):
                desk.row[d - begin] = <const real *>(
                    map_start + call.y.distinct[d] * call.features.row
                )
        elif begin < end:
            slot = call.y.distinct[begin] % plan.ring_rows
            y = call.y.distinct[begin]
            for d in range(begin, end):
                slot += call.y.distinct[d] - y
                y = call.y.distinct[d]
                while slot >= plan.ring_rows:
                    slot -= plan.ring_rows
                desk.row[d - begin] = ring + slot * ring_row
            # Boxes ascend by their first row and none is taller than the ring, so a row is
            # overwritten only when no box needs it any more.
            packed = max(packed, call.y.distinct[begin])
            while packed <= y:
                pack_row(
                    call, plan, task, desk.wanted[packed],
                    map_start + packed * call.features.row,
                    ring + (packed % plan.ring_rows) * ring_row,
                )
                packed += 1
        for d in range(call.x.distinct_begin[box], call.x.distinct_end[box]):
            desk.column[d - call.x.distinct_begin[box]] = call.x.distinct[d] * cell_stride
        if call.mode == AVG:
            average_box(call, plan, task, desk, box)
        else:
            maximum_box(call, plan, task, desk, box)


cdef void write_rows(
    const Call *call, const Task *task, Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows,
    const real *cells,
) noexcept nogil:
    unpack_cells(
        cells + task.lane, rows, call.x.bins, task.channels,
        call.out.data + (call.first_box + box) * call.out.image
        + task.first_channel * call.out.channel + first * call.out.row,
        call.out.channel, call.out.row, call.out.col, call.itemsize,
    )


cdef void interpolate_line(
    const Call *call, const Desk *desk, Py_ssize_t line, Py_ssize_t columns, real *out
) noexcept nogil:
    """Combine the rows of one line at the distinct columns of the box."""
    cdef Py_ssize_t t, terms = call.y.tap_end[line] - call.y.tap_begin[line]
    cdef Py_ssize_t first = call.y.tap_begin[line]
    cdef real *weight = desk.weight
    for t in range(terms):
        desk.source[t] = desk.row[call.y.slot[first + t]]
        weight[t] = <real>call.y.weight[first + t]
    mix(desk.source, weight, terms, desk.column, columns, out, LANES)


cdef void average_box(
    const Call *call, const Plan *plan, const Task *task, Desk *desk, Py_ssize_t box,
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t first, rows, p, line, terms, t, tap
    cdef real *lines = desk.lines
    cdef real *cells = desk.cells
    cdef real *weight = desk.weight
    for p in range(plan.group):
        desk.line_start[p] = p * columns * LANES
    first = 0
    while first < call.y.bins:
        rows = min(plan.group, call.y.bins - first)
        for p in range(rows):
            line = call.y.line_begin[box * call.y.bins + first + p]
            if line < call.y.line_end[box * call.y.bins + first + p]:
                interpolate_line(call, desk, line, columns, lines + desk.line_start[p])
            else:
                memset(lines + desk.line_start[p], 0, columns * LANES * sizeof(real))
        # Column outside, rows inside: the weights are set up once for all rows of the group.
        for p in range(call.x.bins):
            line = call.x.line_begin[box * call.x.bins + p]
            terms = 0
            if line < call.x.line_end[box * call.x.bins + p]:
                tap = call.x.tap_begin[line]
                terms = call.x.tap_end[line] - tap
                for t in range(terms):
                    desk.source[t] = lines + call.x.slot[tap + t] * LANES
                    weight[t] = <real>call.x.weight[tap + t]
            mix(
                desk.source, weight, terms, desk.line_start, rows,
                cells + p * LANES, call.x.bins * LANES,
            )
        write_rows(call, task, box, first, rows, cells)
        first += rows


cdef void maximum_box(
    const Call *call, const Plan *plan, const Task *task, Desk *desk, Py_ssize_t box
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows
    while first < call.y.bins:
        rows = 1
        if call.mode == MAX:
            rows = maximum_rows(call, plan, desk, box, first)
        else:
            weighted_maximum_row(call, desk, box, first)
        finish_rows(call, desk, box, first, rows)
        write_rows(call, task, box, first, rows, desk.cells)
        first += rows


cdef void finish_rows(
    const Call *call, Desk *desk, Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows
) noexcept nogil:
    """Sections without samples, and samples outside the map."""
    cdef Py_ssize_t row, p, i, x_bin, y_bin
    cdef bint outside
    cdef real *cell = desk.cells
    for row in range(first, first + rows):
        y_bin = box * call.y.bins + row
        for p in range(call.x.bins):
            x_bin = box * call.x.bins + p
            if not has_lines(call, y_bin, x_bin):
                memset(cell, 0, LANES * sizeof(real))
            else:
                outside = call.y.outside[y_bin] or call.x.outside[x_bin]
                for i in range(LANES):
                    cell[i] = finish_maximum(cell[i], outside)
            cell += LANES


cdef inline bint has_lines(const Call *call, Py_ssize_t y_bin, Py_ssize_t x_bin) noexcept nogil:
    return (
        call.y.line_begin[y_bin] < call.y.line_end[y_bin]
        and call.x.line_begin[x_bin] < call.x.line_end[x_bin]
    )


cdef Py_ssize_t maximum_rows(
    const Call *call, const Plan *plan, Desk *desk, Py_ssize_t box, Py_ssize_t first
) noexcept nogil:
    """The largest points of the sections in rows from ``first`` on; returns how many rows.

    As many as have room for all their lines, or else one, its lines in several passes.
    """
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t row = first, count = 0, line, end, begin
    while row < call.y.bins and row - first < plan.group:
        line = call.y.line_begin[box * call.y.bins + row]
        end = call.y.line_end[box * call.y.bins + row]
        if count + end - line > plan.lines:
            break
        desk.line_start[row - first] = count
        while line < end:
            interpolate_line(call, desk, line, columns, desk.lines + count * columns * LANES)
            line += 1
            count += 1
        row += 1
    desk.line_start[row - first] = count
    if row > first:
        maximum_pass(call, desk, box, columns, row - first, False)
        return row - first
    begin = line
    while line < end:
        count = min(plan.lines, end - line)
        for row in range(count):
            interpolate_line(call, desk, line + row, columns, desk.lines + row * columns * LANES)
        desk.line_start[0], desk.line_start[1] = 0, count
        maximum_pass(call, desk, box, columns, 1, line > begin)
        line += count
    return 1


cdef void maximum_pass(
    const Call *call, Desk *desk, Py_ssize_t box, Py_ssize_t columns, Py_ssize_t rows, bint go_on
) noexcept nogil:
    """Largest point of each section over the interpolated lines at hand, and the cell if go_on.

    First over columns for all lines at once, then over the lines of each row: straight runs of
    cells, with nothing carried from one to the next.
    """
    cdef Py_ssize_t count = desk.line_start[rows]
    cdef Py_ssize_t p, line, begin, row, k
    cdef real *cell
    for p in range(call.x.bins):
        begin = call.x.line_begin[box * call.x.bins + p]
        for line in range(begin, call.x.line_end[box * call.x.bins + p]):
            maximum_column(call, desk, line, columns, count, line > begin)
        if begin == call.x.line_end[box * call.x.bins + p]:
            continue
        for row in range(rows):
            cell = desk.cells + (row * call.x.bins + p) * LANES
            k = desk.line_start[row]
            if not go_on and k < desk.line_start[row + 1]:
                memcpy(cell, desk.best + k * LANES, LANES * sizeof(real))
                k += 1
            while k < desk.line_start[row + 1]:
                keep_larger(cell, desk.best + k * LANES)
                k += 1


cdef void maximum_column(
    const Call *call, Desk *desk, Py_ssize_t line, Py_ssize_t columns, Py_ssize_t count, bint go_on
) noexcept nogil:
    """One line along x, at all interpolated lines along y."""
    cdef Py_ssize_t tap = call.x.tap_begin[line]
    cdef const real *a = desk.lines + call.x.slot[tap] * LANES
    cdef const real *b = a
    cdef real wa = <real>call.x.weight[tap], wb = 0
    cdef Py_ssize_t stride = columns * LANES
    if call.x.tap_end[line] - tap == 2:
        b = desk.lines + call.x.slot[tap + 1] * LANES
        wb = <real>call.x.weight[tap + 1]
        if go_on:
            mix_larger(a, b, wa, wb, 2, True, stride, count, desk.best)
        else:
            mix_larger(a, b, wa, wb, 2, False, stride, count, desk.best)
    elif go_on:
        mix_larger(a, b, wa, wb, 1, True, stride, count, desk.best)
    else:
        mix_larger(a, b, wa, wb, 1, False, stride, count, desk.best)


cdef void weighted_maximum_row(
    const Call *call, Desk *desk, Py_ssize_t box, Py_ssize_t row
) noexcept nogil:
    """ONNX's maximum, over weighted neighbours: plain, since it is here for its sake only."""
    cdef real *cells = desk.cells
    cdef real best[LANES]
    cdef real value[LANES]
    cdef real weight
    cdef const real *source
    cdef Py_ssize_t p, x_bin, y_line, x_line, ty, tx, i
    cdef Py_ssize_t y_bin = box * call.y.bins + row
    for p in range(call.x.bins):
        x_bin = box * call.x.bins + p
        for i in range(LANES):
            best[i] = -INFINITY
        for y_line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            for x_line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
                for ty in range(call.y.tap_begin[y_line], call.y.tap_end[y_line]):
                    for tx in range(call.x.tap_begin[x_line], call.x.tap_end[x_line]):
                        weight = <real>(call.y.weight[ty] * call.x.weight[tx])
                        source = desk.row[call.y.slot[ty]] + desk.column[call.x.slot[tx]]
                        for i in range(LANES):
                            value[i] = weight * source[i]
                        keep_larger(best, value)
                if (
                    call.y.tap_end[y_line] - call.y.tap_begin[y_line] == 1
                    or call.x.tap_end[x_line] - call.x.tap_begin[x_line] == 1
                ):  # a neighbour of weight zero counts as 0
                    memset(value, 0, sizeof(value))
                    keep_larger(best, value)
        for i in range(LANES):
            cells[p * LANES + i] = best[i]
