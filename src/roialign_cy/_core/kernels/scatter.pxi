# Sums that are added to where they belong: weighted sums the other way round.


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
