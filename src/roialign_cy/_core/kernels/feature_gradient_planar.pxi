# The gradient with respect to the features in the planar order: one channel of one box at a time,
# straight into the array. Sums run in the order that feature_gradient.pxi fixes.


cdef void feature_gradient_planar(
    const Call *call, const Packed *packed, const Task *task, Workspace *work
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef Py_ssize_t box, y, channel
    if call.update == OVERWRITE:
        for y in range(task.first_row, task.last_row):
            zero_cells(
                &call.map, row_in_map(call, task, y), task.channels, 0, call.width
            )
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        for channel in range(task.first_channel, task.first_channel + task.channels):
            if call.mode == AVG:
                add_means_of_plane(call, packed, task, work, box, channel)
            else:
                add_maxima_of_plane(call, task, work, box, channel)


cdef inline void add_scaled(
    const real *values, real weight, Py_ssize_t count, sole out
) noexcept nogil:
    cdef Py_ssize_t x
    for x in range(count):
        out[x] = with_one_nan(out[x] + weight * values[x])


cdef void add_line(
    const Call *call, const Task *task, Py_ssize_t channel, Py_ssize_t line,
    const Py_ssize_t *column, Py_ssize_t count, const real *values,
) noexcept nogil:
    """Add what a row of bins has for ``count`` columns to the rows that its line reads."""
    cdef const Axis *axis = call.y
    cdef const Array *map = &call.map
    cdef Py_ssize_t t, d
    cdef char *start
    cdef char *cell
    cdef bint side_by_side = (
        map.stored == 0
        and map.col == <Py_ssize_t>sizeof(real)
        and column[count - 1] - column[0] == count - 1
    )
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if axis.cell[t] < task.first_row or axis.cell[t] >= task.last_row:
            continue
        start = (
            map.data + task.image * map.image + channel * map.channel + axis.cell[t] * map.row
        )
        if side_by_side:
            add_scaled(values, <real>axis.weight[t], count, <real *>start + column[0])
        else:
            for d in range(count):
                cell = start + column[d] * map.col
                store_element(
                    cell, map.stored,
                    load_element(cell, map.stored) + <real>axis.weight[t] * values[d],
                )


cdef void add_means_of_plane(
    const Call *call, const Packed *packed, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t channel,
) noexcept nogil:
    cdef const Term *terms = packed.transposed_x.terms + packed.transposed_x.begin[box]
    cdef const int32_t *offset = packed.transposed_x.offset + first_offset(call.x, box)
    cdef const char *grads = (
        call.out.data + call.target[box] * call.out.image + channel * call.out.channel
    )
    cdef const char *row
    cdef Py_ssize_t first = call.x.distinct_begin[box], last = call.x.distinct_end[box]
    cdef Py_ssize_t count, r, d, t, line
    cdef real value
    while first < last:
        count = min(last - first, <Py_ssize_t>MAX_SEGMENT)
        for r in range(call.y.bins):
            line = call.y.line_begin[box * call.y.bins + r]
            if line == call.y.line_end[box * call.y.bins + r]:
                continue
            row = grads + r * call.out.row
            for d in range(count):
                t = offset[d]
                value = terms[t].weight * load_element(
                    row + terms[t].place * call.out.col, call.out.stored
                )
                for t in range(t + 1, offset[d + 1]):
                    value = value + terms[t].weight * load_element(
                        row + terms[t].place * call.out.col, call.out.stored
                    )
                work.lines[d] = value
            add_line(call, task, channel, line, call.x.distinct + first, count, work.lines)
        offset += count
        first += count
