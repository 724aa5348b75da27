# The planar order: one channel of one box at a time, straight from the array as it lies. For maps
# of few channels, and for whatever the tiled order has no memory for. Rows of the map are combined
# along x, as they lie; then up to LANES rows of sections are turned so that they lie side by side,
# as channels do in the tiled order, and columns are combined as there.

cdef enum:
    STRETCH = 16384  # most columns that are interpolated at once; beyond, they are one by one
    GAP = 8          # columns that are read for each that is wanted, rather than picking those


cdef struct Sheet:
    # What the planar order wants to know of a box.
    bint goes_by_rows           # else its sections are pooled one by one
    Py_ssize_t columns          # that are interpolated side by side
    bint has_gaps_filled        # they are all from first to last, not the distinct ones only
    Directions x                # places: among those columns


cdef struct Row:
    # One line of a box along y, in one channel.
    const char *cells           # of the channel, at its column 0
    Py_ssize_t col_stride
    Py_ssize_t itemsize
    Py_ssize_t *offset          # of each term's row, in bytes
    real *weight
    Py_ssize_t terms


cdef void write_sheet(const Call *call, Py_ssize_t box, const Book *book) noexcept nogil:
    cdef Sheet *sheet = book.sheet + box
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t span, t
    cdef Shelf place = place_of_box(&book.x, call.x, box)
    cdef Term *terms = place.terms
    sheet.columns = columns
    sheet.has_gaps_filled = False
    sheet.goes_by_rows = 0 < columns <= STRETCH and call.mode != MAX_WEIGHTED
    if not sheet.goes_by_rows:
        return
    write_directions(call.x, box, 0, call.x.bins, NULL, &place, &sheet.x)
    span = column[columns - 1] - column[0] + 1
    if (
        span <= min(GAP * columns, <Py_ssize_t>STRETCH)
        and call.itemsize == <int>sizeof(real)
        and call.features.col == <Py_ssize_t>sizeof(real)
    ):
        sheet.columns, sheet.has_gaps_filled = span, True
        for t in range(place.terms - terms):
            terms[t].place = (column[terms[t].place // LANES] - column[0]) * LANES


cdef inline void add_terms(
    const real *a, const real *b, real wa, real wb, Py_ssize_t terms, bint go_on,
    Py_ssize_t count, sole out,
) noexcept nogil:
    """``out (+)= wa * a + wb * b``, side by side; ``terms`` and ``go_on`` are constants."""
    cdef Py_ssize_t x
    cdef real value
    for x in range(count):
        value = wa * a[x]
        if go_on:
            value = out[x] + value
        if terms > 1:
            value = value + wb * b[x]
        out[x] = value


cdef void interpolate_dense(
    const Row *row, Py_ssize_t first, Py_ssize_t count, real *out
) noexcept nogil:
    """Combine rows over ``count`` consecutive columns that lie side by side in memory."""
    cdef const char *start = row.cells + first * <Py_ssize_t>sizeof(real)
    cdef const real *a
    cdef const real *b
    cdef Py_ssize_t t = 0
    while t < row.terms:
        a = <const real *>(start + row.offset[t])
        if t + 1 == row.terms:
            if t == 0:
                add_terms(a, a, row.weight[t], 0, 1, False, count, out)
            else:
                add_terms(a, a, row.weight[t], 0, 1, True, count, out)
            return
        b = <const real *>(start + row.offset[t + 1])
        if t == 0:
            add_terms(a, b, row.weight[t], row.weight[t + 1], 2, False, count, out)
        else:
            add_terms(a, b, row.weight[t], row.weight[t + 1], 2, True, count, out)
        t += 2


cdef inline real interpolate_column(const Row *row, Py_ssize_t column) noexcept nogil:
    cdef const char *cell = row.cells + column * row.col_stride
    cdef real value = row.weight[0] * load(cell + row.offset[0], row.itemsize)
    cdef Py_ssize_t t
    for t in range(1, row.terms):
        value = value + row.weight[t] * load(cell + row.offset[t], row.itemsize)
    return value


cdef void find_terms(const Call *call, Row *row, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t t, begin = call.y.tap_begin[line]
    row.terms = call.y.tap_end[line] - begin
    for t in range(row.terms):
        row.offset[t] = call.y.cell[begin + t] * call.features.row
        row.weight[t] = <real>call.y.weight[begin + t]


cdef void interpolate_row(
    const Call *call, const Sheet *sheet, const Row *row, Py_ssize_t box, real *values
) noexcept nogil:
    """Combine the rows of a line at the columns of the box."""
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t d
    if sheet.has_gaps_filled:
        interpolate_dense(row, column[0], sheet.columns, values)
    else:
        for d in range(sheet.columns):
            values[d] = interpolate_column(row, column[d])


cdef void turn_rows(
    const Call *call, const Sheet *sheet, Row *row, const Desk *desk, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows, Py_ssize_t nth,
) noexcept nogil:
    """Have the ``nth`` line of some rows of sections in the ring, each row in its lane.

    A row that has no such line keeps the one before; without any, it has zeros.
    """
    cdef Py_ssize_t r, begin, count
    cdef real *values = desk.lines
    for r in range(box * call.y.bins + first, box * call.y.bins + first + rows):
        begin = call.y.line_begin[r]
        count = call.y.line_end[r] - begin
        if nth < count:
            find_terms(call, row, begin + nth)
            interpolate_row(call, sheet, row, box, values)
        elif count == 0:
            memset(values, 0, sheet.columns * sizeof(real))
        values += sheet.columns
    pack_cells(
        <const char *>desk.lines, sheet.columns * sizeof(real), sizeof(real), sizeof(real), rows,
        sheet.columns, desk.ring, 0,
    )


cdef void average_rows(const Call *call, const Sheet *sheet, const Desk *desk) noexcept nogil:
    """The sections of the rows in the ring."""
    cdef Py_ssize_t p, terms
    cdef const int32_t *count = sheet.x.counts
    cdef const Term *term = sheet.x.terms
    for p in range(call.x.bins):
        terms = 0
        if sheet.x.lines[p]:  # a section has one line at most
            terms = count[0]
            count += 1
        mix_dense(desk.ring, term, terms, 1, desk.cells + p * LANES)
        term += terms


cdef void maximum_rows(
    const Call *call, const Sheet *sheet, const Desk *desk, bint go_on
) noexcept nogil:
    """The largest point of each section on the lines in the ring, and its cell if ``go_on``."""
    cdef Py_ssize_t p
    cdef const int32_t *count = sheet.x.counts
    cdef const Term *term = sheet.x.terms
    cdef real *cell = desk.cells
    cdef Best best
    for p in range(call.x.bins):
        best = met_before(cell) if go_on else nothing_met(desk)
        term = meet_section(&best, count, sheet.x.lines[p], term, desk.ring, 0, 1)
        count += sheet.x.lines[p]
        put(cell, plus_nan(best.value, best.is_nan))
        cell += LANES


cdef void finish_maximum_rows(
    const Call *call, const Sheet *sheet, const Desk *desk, Py_ssize_t box, Py_ssize_t first,
    Py_ssize_t rows,
) noexcept nogil:
    """A sample outside the map counts as 0, and a section without samples is 0.

    (In a row without lines it is so already: there are zeros in the ring.)
    """
    cdef Py_ssize_t p, r, y_bin = box * call.y.bins + first
    cdef flag outside[LANES]
    cdef lanes value
    memset(outside, 0, sizeof(outside))
    for r in range(rows):
        outside[r] = -1 if call.y.outside[y_bin + r] else 0
    for p in range(call.x.bins):
        value = take(desk.cells + p * LANES)
        if call.x.outside[box * call.x.bins + p]:
            value = not_negative(value)
        else:
            value = chosen(take_mask(outside), not_negative(value), value)
        put(desk.cells + p * LANES, value if sheet.x.lines[p] else all_lanes(0))


cdef void planar_task(
    const Call *call, const Book *book, const Task *task, const Desk *desk
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef Py_ssize_t i, box, channel
    cdef Row row
    cdef char *out
    cdef const char *map_start = call.features.data + task.image * call.features.image
    row.col_stride = call.features.col
    row.itemsize = call.itemsize
    row.offset = desk.column
    row.weight = desk.weight
    row.terms = 0
    for i in range(task.begin, task.end):
        box = call.order[i]
        for channel in range(task.first_channel, task.first_channel + task.channels):
            row.cells = map_start + channel * call.features.channel
            out = (
                call.out.data + (call.first_box + box) * call.out.image
                + channel * call.out.channel
            )
            if book.sheet[box].goes_by_rows:
                pool_by_rows(call, &book.sheet[box], &row, desk, box, out)
            else:
                pool_one_by_one(call, &row, desk, box, out)


cdef void pool_by_rows(
    const Call *call, const Sheet *sheet, Row *row, const Desk *desk, Py_ssize_t box, char *out
) noexcept nogil:
    """Pool one channel of one box, up to LANES rows of sections at a time."""
    cdef Py_ssize_t first = 0, rows, nth, lines, r
    while first < call.y.bins:
        rows = min(<Py_ssize_t>LANES, call.y.bins - first)
        if call.mode == AVG:
            turn_rows(call, sheet, row, desk, box, first, rows, 0)
            average_rows(call, sheet, desk)
        else:
            lines = 1
            for r in range(box * call.y.bins + first, box * call.y.bins + first + rows):
                lines = max(lines, call.y.line_end[r] - call.y.line_begin[r])
            for nth in range(lines):
                turn_rows(call, sheet, row, desk, box, first, rows, nth)
                maximum_rows(call, sheet, desk, nth > 0)
            finish_maximum_rows(call, sheet, desk, box, first, rows)
        unpack_cells(
            desk.cells, 1, call.x.bins, rows, out + first * call.out.row, call.out.row,
            call.x.bins * call.out.col, call.out.col, call.itemsize,
        )
        first += rows
