# The gradient by the features in the planar order: one channel of one box at a time, straight into
# the array. Sums run in the order that spread.pxi fixes.


cdef void spread_planar(
    const Gradient *gradient, const Patch *patch, BackDesk *desk
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef const Call *call = &gradient.call
    cdef Py_ssize_t box, y, channel
    if gradient.held == ANYTHING:
        for y in range(patch.first_row, patch.last_row):
            zero_cells(
                &gradient.map, row_in_map(gradient, patch, y), patch.channels, 0, call.width
            )
    for box in range(patch.begin, patch.end):
        if not reaches(call, patch, box):
            continue
        for channel in range(patch.first_channel, patch.first_channel + patch.channels):
            if call.mode == AVG:
                spread_plane_of_means(gradient, patch, desk, box, channel)
            else:
                spread_plane_of_maxima(gradient, patch, desk, box, channel)


cdef inline void add_scaled(
    const real *values, real weight, Py_ssize_t count, sole out
) noexcept nogil:
    cdef Py_ssize_t x
    for x in range(count):
        out[x] = with_one_nan(out[x] + weight * values[x])


cdef void add_line(
    const Gradient *gradient, const Patch *patch, Py_ssize_t channel, Py_ssize_t line,
    const Py_ssize_t *column, Py_ssize_t count, const real *values,
) noexcept nogil:
    """Add what a row of sections has for ``count`` columns to the rows that its line reads."""
    cdef const Axis *axis = gradient.call.y
    cdef const Array *map = &gradient.map
    cdef Py_ssize_t t, d
    cdef char *start
    cdef char *cell
    cdef bint side_by_side = (
        map.stored == 0 and map.col == <Py_ssize_t>sizeof(real) and column[count - 1] - column[0] == count - 1
    )
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if axis.cell[t] < patch.first_row or axis.cell[t] >= patch.last_row:
            continue
        start = (
            map.data + patch.image * map.image + channel * map.channel + axis.cell[t] * map.row
        )
        if side_by_side:
            add_scaled(values, <real>axis.weight[t], count, <real *>start + column[0])
        else:
            for d in range(count):
                cell = start + column[d] * map.col
                store(
                    cell, map.stored,
                    load(cell, map.stored) + <real>axis.weight[t] * values[d],
                )


cdef void spread_plane_of_means(
    const Gradient *gradient, const Patch *patch, BackDesk *desk, Py_ssize_t box,
    Py_ssize_t channel,
) noexcept nogil:
    cdef const Call *call = &gradient.call
    cdef const Term *terms = gradient.x.terms + gradient.x.begin[box]
    cdef const int32_t *offset = gradient.x.offset + first_offset(call.x, box)
    cdef const char *grads = (
        call.out.data + call.target[box] * call.out.image + channel * call.out.channel
    )
    cdef const char *row
    cdef Py_ssize_t first = call.x.distinct_begin[box], last = call.x.distinct_end[box]
    cdef Py_ssize_t count, r, d, t, line
    cdef real value
    while first < last:
        count = min(last - first, <Py_ssize_t>STRETCH)
        for r in range(call.y.bins):
            line = call.y.line_begin[box * call.y.bins + r]
            if line == call.y.line_end[box * call.y.bins + r]:
                continue
            row = grads + r * call.out.row
            for d in range(count):
                t = offset[d]
                value = terms[t].weight * load(row + terms[t].place * call.out.col, call.out.stored)
                for t in range(t + 1, offset[d + 1]):
                    value = value + terms[t].weight * load(
                        row + terms[t].place * call.out.col, call.out.stored
                    )
                desk.lines[d] = value
            add_line(gradient, patch, channel, line, call.x.distinct + first, count, desk.lines)
        offset += count
        first += count
