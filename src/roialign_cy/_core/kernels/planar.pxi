# The planar order: one channel of one box at a time, straight from the array as it lies. For maps
# of few channels, where it runs SIMD along x, and for whatever the tiled order has no memory for:
# its own is a stretch of one interpolated row, whatever the size of the map.

cdef enum:
    STRETCH = 16384  # most columns that are interpolated at once; beyond, they are one by one


cdef struct Row:
    # One line of a box along y, in one channel.
    const char *cells           # of the channel, at its column 0
    Py_ssize_t col_stride
    Py_ssize_t itemsize
    const Py_ssize_t *offset    # of each term's row, in bytes
    const real *weight
    Py_ssize_t terms
    const real *values          # interpolated, of the distinct columns; NULL if there are too many
    const Py_ssize_t *place     # of a tap along x, in values once base is taken off
    Py_ssize_t base


cdef inline real larger(real best, real value) noexcept nogil:
    """The larger of two; a NaN on either side stays."""
    cdef real most = value if value > best else best  # never leaves a NaN in best
    return value if value != value else most


cdef inline real finish_maximum(real best, bint has_sample_outside) noexcept nogil:
    """A sample outside the map counts as 0. Adding 0 makes -0 one value with it, so that the
    bits do not depend on the order in which equals were met; and all NaN are one.
    """
    if best != best:
        return NAN
    if has_sample_outside and best < 0:
        best = 0
    return best + 0


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


cdef void interpolate_row(
    const Call *call, Row *row, Py_ssize_t box, real *values
) noexcept nogil:
    """Combine the rows of a line at the distinct columns of the box, if they are not too many."""
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t d, span
    row.values = NULL
    if columns == 0 or columns > STRETCH:
        return
    row.values = values
    span = column[columns - 1] - column[0] + 1
    if (
        span <= min(2 * columns, <Py_ssize_t>STRETCH)
        and row.itemsize == <Py_ssize_t>sizeof(real)
        and row.col_stride == <Py_ssize_t>sizeof(real)
    ):  # reading a few columns too many is cheaper than picking them
        interpolate_dense(row, column[0], span, values)
        row.place, row.base = call.x.cell, column[0]
    else:
        for d in range(columns):
            values[d] = interpolate_column(row, column[d])
        row.place, row.base = call.x.slot, 0


cdef inline real value_of(const Call *call, const Row *row, Py_ssize_t tap) noexcept nogil:
    if row.values == NULL:
        return interpolate_column(row, call.x.cell[tap])
    return row.values[row.place[tap] - row.base]


cdef real mean_of_section(const Call *call, const Row *row, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t tap = call.x.tap_begin[line]
    cdef real total = <real>call.x.weight[tap] * value_of(call, row, tap)
    for tap in range(tap + 1, call.x.tap_end[line]):
        total = total + <real>call.x.weight[tap] * value_of(call, row, tap)
    return total


cdef real largest_of_section(
    const Call *call, const Row *row, Py_ssize_t x_bin, real best
) noexcept nogil:
    cdef Py_ssize_t line, tap
    cdef real value
    for line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
        tap = call.x.tap_begin[line]
        value = <real>call.x.weight[tap] * value_of(call, row, tap)
        if call.x.tap_end[line] - tap == 2:
            value = value + <real>call.x.weight[tap + 1] * value_of(call, row, tap + 1)
        best = larger(best, value)
    return best


cdef real largest_weighted(
    const Call *call, const Row *row, Py_ssize_t y_line, Py_ssize_t x_bin, real best
) noexcept nogil:
    """ONNX's maximum, over weighted neighbours: plain, since it is here for its sake only."""
    cdef Py_ssize_t line, ty, tx
    cdef real value
    cdef const char *cell
    for line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
        for ty in range(row.terms):
            for tx in range(call.x.tap_begin[line], call.x.tap_end[line]):
                cell = row.cells + row.offset[ty] + call.x.cell[tx] * row.col_stride
                value = <real>(
                    call.y.weight[call.y.tap_begin[y_line] + ty] * call.x.weight[tx]
                ) * load(cell, row.itemsize)
                best = larger(best, value)
        if row.terms * (call.x.tap_end[line] - call.x.tap_begin[line]) < 4:
            best = larger(best, 0)  # a neighbour of weight zero counts as 0
    return best


cdef void planar_task(const Call *call, const Task *task, Desk *desk) noexcept nogil:
    """Pool the boxes of one task."""
    cdef Py_ssize_t i, channel
    for i in range(task.begin, task.end):
        for channel in range(task.first_channel, task.first_channel + task.channels):
            planar_box(call, desk, call.order[i], task.image, channel)


cdef void planar_box(
    const Call *call, Desk *desk, Py_ssize_t box, Py_ssize_t image, Py_ssize_t channel
) noexcept nogil:
    cdef Py_ssize_t r, c, line, t, y_bin, x_bin
    cdef Row row
    cdef char *out = (
        call.out.data + (call.first_box + box) * call.out.image + channel * call.out.channel
    )
    memset(&row, 0, sizeof(row))
    row.cells = (
        call.features.data + image * call.features.image + channel * call.features.channel
    )
    row.col_stride = call.features.col
    row.itemsize = call.itemsize
    row.offset = desk.column
    row.weight = desk.weight
    for r in range(call.y.bins):
        y_bin = box * call.y.bins + r
        for c in range(call.x.bins):
            x_bin = box * call.x.bins + c
            desk.cells[c] = (
                -INFINITY if call.mode != AVG and has_lines(call, y_bin, x_bin) else 0
            )
        for line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            row.terms = call.y.tap_end[line] - call.y.tap_begin[line]
            for t in range(row.terms):
                desk.column[t] = call.y.cell[call.y.tap_begin[line] + t] * call.features.row
                desk.weight[t] = <real>call.y.weight[call.y.tap_begin[line] + t]
            if call.mode != MAX_WEIGHTED:
                interpolate_row(call, &row, box, desk.lines)
            for c in range(call.x.bins):
                x_bin = box * call.x.bins + c
                if call.x.line_begin[x_bin] == call.x.line_end[x_bin]:
                    continue
                if call.mode == AVG:
                    desk.cells[c] = mean_of_section(call, &row, call.x.line_begin[x_bin])
                elif call.mode == MAX:
                    desk.cells[c] = largest_of_section(call, &row, x_bin, desk.cells[c])
                else:
                    desk.cells[c] = largest_weighted(call, &row, line, x_bin, desk.cells[c])
        for c in range(call.x.bins):
            if call.mode != AVG:
                desk.cells[c] = finish_maximum(
                    desk.cells[c], call.y.outside[y_bin] or call.x.outside[box * call.x.bins + c]
                )
            store(out + r * call.out.row + c * call.out.col, call.itemsize, desk.cells[c])
