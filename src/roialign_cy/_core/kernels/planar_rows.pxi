# The planar order's view of a box, and the sums of rows of the map at the columns of a box, read
# where they lie.


cdef enum:
    DENSE_RATIO = 8      # most columns read for each that is needed, rather than picking those
    MAX_INTERLEAVED = 6  # most values in a cell for its channels to be interpolated at once


cdef struct Row:
    # One line of a box along y.
    const char *cells           # of the first channel of the task, at its column 0
    Py_ssize_t col_stride
    Py_ssize_t itemsize
    int stored
    real *converted             # room for two rows of other types than the working type
    Py_ssize_t *offset          # of each term's row, in bytes
    real *weight
    Py_ssize_t terms


cdef bint is_interleaved(const Call *call) noexcept nogil:
    """Whether all channels lie in one small cell, in any order, and cells side by side."""
    cdef Py_ssize_t size = call.features.itemsize
    cdef Py_ssize_t pitch = call.features.col // size, step = call.features.channel // size
    return (
        call.channels <= MAX_INTERLEAVED  # a broadcast map may have any number of them
        and call.features.col == pitch * size
        and call.features.channel == step * size
        and (call.channels - 1) * (step if step > 0 else -step) < pitch <= MAX_INTERLEAVED
    )


cdef void lay_rows(const Call *call, Schedule *schedule) noexcept nogil:
    """How many channels a task has, and how they lie in the ring and among the cells."""
    cdef Py_ssize_t size = call.features.itemsize, out_size = call.out.itemsize
    schedule.channels = schedule.cell_step = schedule.channel_step = schedule.bin_cells = 1
    schedule.channel_cells = call.x.bins
    schedule.is_dense = call.features.col == size
    if is_interleaved(call):
        schedule.channels = call.channels
        schedule.is_dense = True
        schedule.cell_step = call.features.col // size
        schedule.channel_step = call.features.channel // size
        if call.out.channel == out_size and call.out.col == call.channels * out_size:
            schedule.bin_cells, schedule.channel_cells = call.channels, 1  # as in the output


cdef void write_planar_box(
    const Call *call, const Schedule *schedule, Py_ssize_t box, const Packed *packed
) noexcept nogil:
    cdef PlanarBox *planar = packed.planar + box
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t span, t
    cdef PackedTaps place = taps_of_box(&packed.x, call.x, box)
    cdef Term *terms = place.terms
    planar.columns = columns
    planar.has_gaps_filled = False
    pack_taps(call.x, box, 0, call.x.bins, NULL, &place, &planar.x)
    if columns == 0:
        return
    span = column[columns - 1] - column[0] + 1
    if schedule.is_dense and span <= min(DENSE_RATIO * columns, <Py_ssize_t>MAX_SEGMENT):
        planar.columns, planar.has_gaps_filled = span, True
        for t in range(place.terms - terms):
            terms[t].place = (column[terms[t].place // LANES] - column[0]) * LANES
    for t in range(place.terms - terms):
        terms[t].place *= schedule.cell_step


cdef inline Py_ssize_t before_first(const Schedule *schedule) noexcept nogil:
    """How many values of a cell lie before its first channel, if channels are in reverse order."""
    return max(-(schedule.channels - 1) * schedule.channel_step, <Py_ssize_t>0)


cdef Py_ssize_t values_of(const Schedule *schedule, Py_ssize_t columns) noexcept nogil:
    """How many values there are from the first column's channels to the last column's."""
    cdef Py_ssize_t within = (schedule.channels - 1) * schedule.channel_step
    return (columns - 1) * schedule.cell_step + (within if within > 0 else -within) + 1


cdef inline real *cell_of(
    const Schedule *schedule, const Workspace *work, Py_ssize_t bin, Py_ssize_t channel
) noexcept nogil:
    return work.cells + (
        bin * schedule.bin_cells + channel * schedule.channel_cells
    ) * LANES


cdef inline void add_terms(
    const real *a, const real *b, real wa, real wb, Py_ssize_t terms, bint go_on,
    Py_ssize_t count, restrict_real out,
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


cdef inline const real *values_at(
    const Row *row, const char *cells, Py_ssize_t count, real *converted
) noexcept nogil:
    """``count`` values, side by side, of a row of the map: where they lie, or converted."""
    if row.stored == 0:
        return <const real *>cells
    load_elements(cells, row.itemsize, row.stored, count, converted)
    return converted


cdef void interpolate_dense(
    const Row *row, Py_ssize_t first, Py_ssize_t count, real *out
) noexcept nogil:
    """Combine rows over ``count`` values that lie side by side in memory."""
    cdef const char *start = row.cells + first * row.itemsize
    cdef const real *a
    cdef const real *b
    cdef Py_ssize_t t = 0
    while t < row.terms:
        a = values_at(row, start + row.offset[t], count, row.converted)
        if t + 1 == row.terms:
            if t == 0:
                add_terms(a, a, row.weight[t], 0, 1, False, count, out)
            else:
                add_terms(a, a, row.weight[t], 0, 1, True, count, out)
            return
        b = values_at(row, start + row.offset[t + 1], count, row.converted + count)
        if t == 0:
            add_terms(a, b, row.weight[t], row.weight[t + 1], 2, False, count, out)
        else:
            add_terms(a, b, row.weight[t], row.weight[t + 1], 2, True, count, out)
        t += 2


cdef inline real interpolate_cell(const Row *row, const char *cell) noexcept nogil:
    cdef real value = row.weight[0] * load_element(cell + row.offset[0], row.stored)
    cdef Py_ssize_t t
    for t in range(1, row.terms):
        value = value + row.weight[t] * load_element(cell + row.offset[t], row.stored)
    return value


cdef void find_terms(const Call *call, Row *row, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t t, begin = call.y.tap_begin[line]
    row.terms = call.y.tap_end[line] - begin
    for t in range(row.terms):
        row.offset[t] = call.y.cell[begin + t] * call.features.row
        row.weight[t] = <real>call.y.weight[begin + t]


cdef void interpolate_row(
    const Call *call, const Schedule *schedule, const PlanarBox *planar, const Row *row,
    Py_ssize_t box, real *values,
) noexcept nogil:
    """Combine the rows of a line at the columns of the box."""
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t first = before_first(schedule), d, c
    if planar.has_gaps_filled:
        interpolate_dense(
            row, column[0] * schedule.cell_step - first, values_of(schedule, planar.columns), values
        )
        return
    values += first
    for d in range(planar.columns):
        for c in range(schedule.channels):
            values[d * schedule.cell_step + c * schedule.channel_step] = interpolate_cell(
                row, row.cells + column[d] * row.col_stride + c * call.features.channel
            )
