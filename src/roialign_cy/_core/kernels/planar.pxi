# The planar order, for maps of few channels: one box at a time, straight from the array. Rows of
# the map are combined where they lie, of one channel, or of all that lie in one cell as in
# photographs. Then up to LANES rows of bins are transposed so that they lie side by side, as
# channels do in the tiled order, and columns are combined as there.


cdef void transpose_rows(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, Row *row,
    const Workspace *work, Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t nth,
) noexcept nogil:
    """Put the ``nth`` line of some rows of bins into the ring, each row in a lane of its own.

    A row that has no such line keeps the one before; a row without any has zeros.
    """
    cdef Py_ssize_t r, begin, count, size = values_of(schedule, planar.columns)
    cdef real *values = work.lines
    if planar.columns == 0:  # nor any term that would read the ring
        return
    for r in range(box * call.y.bins + first, box * call.y.bins + first + rows):
        begin = call.y.line_begin[r]
        count = call.y.line_end[r] - begin
        if nth < count:
            find_terms(call, row, begin + nth)
            interpolate_row(call, schedule, planar, row, box, values)
        elif count == 0:
            memset(values, 0, size * sizeof(real))
        values += size
    pack_cells(
        <const char *>work.lines, size * sizeof(real), sizeof(real), 0, rows, size,
        work.ring, 0,
    )


cdef void average_rows(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, const Workspace *work
) noexcept nogil:
    """The bins of the rows in the ring."""
    cdef Sums x = sums_of(&planar.x)
    weighted_sums(
        &x, call.x.bins, work.ring + before_first(schedule) * LANES,
        schedule.channel_step * LANES, schedule.channels, work.cells,
        schedule.channel_cells * LANES, schedule.bin_cells * LANES,
    )


cdef void maximum_rows(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, const Workspace *work,
    bint go_on
) noexcept nogil:
    """The largest of each bin's points on the lines in the ring, and of its cell if ``go_on``."""
    cdef Py_ssize_t p, c
    cdef const int32_t *count = planar.x.counts
    cdef const Term *term = planar.x.terms
    cdef const Term *next_term = term
    cdef const real *base
    cdef real *cell
    cdef Maximum best
    for p in range(call.x.bins):
        base = work.ring + before_first(schedule) * LANES
        for c in range(schedule.channels):
            cell = cell_of(schedule, work, p, c)
            best = max_load(cell) if go_on else max_start(work)
            next_term = max_update_bin(&best, count, planar.x.lines[p], term, base, 0, 1)
            store_lanes(cell, plus_nan(best.value, best.is_nan))
            base += schedule.channel_step * LANES
        count += planar.x.lines[p]
        term = next_term


cdef void finish_maximum_rows(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, const Workspace *work,
    Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    """A sample outside the map counts as 0, and a bin without samples is 0.

    (A row without lines is 0 already: it has zeros in the ring.)
    """
    cdef Py_ssize_t p, c, r, y_bin = box * call.y.bins + first
    cdef real *cell
    cdef flag outside[LANES]
    cdef lanes value
    memset(outside, 0, sizeof(outside))
    for r in range(rows):
        outside[r] = -1 if call.y.outside[y_bin + r] else 0
    for p in range(call.x.bins):
        for c in range(schedule.channels):
            cell = cell_of(schedule, work, p, c)
            value = load_lanes(cell)
            if call.x.outside[box * call.x.bins + p]:
                value = not_negative(value)
            else:
                value = chosen(load_mask(outside), not_negative(value), value)
            store_lanes(cell, value if planar.x.lines[p] else all_lanes(0))


cdef void planar_task(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    const Workspace *work
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef Py_ssize_t box
    cdef Row row
    row.cells = (
        call.features.data + task.image * call.features.image
        + task.first_channel * call.features.channel
    )
    row.col_stride = call.features.col
    row.itemsize = call.features.itemsize
    row.stored = call.features.stored
    row.converted = work.ring  # which is not in use until the rows are interpolated
    row.offset = work.offset
    row.weight = work.weight
    row.terms = 0
    for box in range(task.begin, task.end):
        pool_by_rows(
            call, schedule, &packed.planar[box], &row, work, box,
            call.out.data + call.target[box] * call.out.image
            + task.first_channel * call.out.channel,
        )


cdef void pool_by_rows(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, Row *row,
    const Workspace *work, Py_ssize_t box, char *out,
) noexcept nogil:
    """Pool the channels of a task of one box, up to LANES rows of bins at a time."""
    cdef Py_ssize_t first = 0, rows, nth, lines, r
    while first < call.y.bins:
        rows = min(<Py_ssize_t>LANES, call.y.bins - first)
        if call.mode == AVG:
            transpose_rows(call, schedule, planar, row, work, box, first, rows, 0)
            average_rows(call, schedule, planar, work)
        else:
            lines = 1
            for r in range(box * call.y.bins + first, box * call.y.bins + first + rows):
                lines = max(lines, call.y.line_end[r] - call.y.line_begin[r])
            for nth in range(lines):
                transpose_rows(call, schedule, planar, row, work, box, first, rows, nth)
                maximum_rows(call, schedule, planar, work, nth > 0)
            finish_maximum_rows(call, schedule, planar, work, box, first, rows)
        write_transposed(call, schedule, work, rows, out + first * call.out.row)
        first += rows


cdef void write_transposed(
    const Call *call, const Schedule *schedule, const Workspace *work, Py_ssize_t rows, char *out
) noexcept nogil:
    """Write out rows of bins, each of which has a lane."""
    cdef Py_ssize_t channel, values = schedule.channels * call.x.bins
    if schedule.channel_cells == 1:
        unpack_cells(
            work.cells, 1, values, rows, out, call.out.row, values * call.out.channel,
            call.out.channel, call.out.stored,
        )
        return
    for channel in range(schedule.channels):
        unpack_cells(
            cell_of(schedule, work, 0, channel), 1, call.x.bins, rows,
            out + channel * call.out.channel, call.out.row, call.x.bins * call.out.col,
            call.out.col, call.out.stored,
        )
