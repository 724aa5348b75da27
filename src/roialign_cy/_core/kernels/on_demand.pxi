# Rows of a map that are packed when they are needed, at the columns of one box, if a ring of rows
# would be too large. Two rows of the features are kept; one of the gradient is added to and written
# back. Boxes share nothing then, but memory does not grow with their height.


cdef inline char *row_in_map(
    const Array *map, const Task *task, Py_ssize_t y
) noexcept nogil:
    return (
        map.data + task.image * map.image + task.first_channel * map.channel + y * map.row
    )


cdef inline void demand_columns(
    const Call *call, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """From now on, rows are packed at the columns that a box reads."""
    work.demanded = call.x.distinct + call.x.distinct_begin[box]
    work.columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    work.held[0] = work.held[1] = -1


cdef inline Py_ssize_t end_of_run(const Workspace *work, Py_ssize_t begin) noexcept nogil:
    """Where the demanded columns that follow one another from ``begin`` on end."""
    cdef Py_ssize_t end = begin + 1
    while end < work.columns and work.demanded[end] == work.demanded[end - 1] + 1:
        end += 1
    return end


cdef void pack_demanded(
    const Array *map, const Task *task, const Workspace *work, Py_ssize_t y, real *cells
) noexcept nogil:
    cdef const char *row = row_in_map(map, task, y)
    cdef Py_ssize_t begin = 0, end
    while begin < work.columns:
        end = end_of_run(work, begin)
        pack_cells(
            row + work.demanded[begin] * map.col, map.channel, map.col, map.stored, task.channels,
            end - begin, cells + begin * LANES, 0,
        )
        begin = end


cdef void unpack_demanded(
    const Array *map, const Task *task, const Workspace *work, Py_ssize_t y, const real *cells
) noexcept nogil:
    cdef char *row = row_in_map(map, task, y)
    cdef Py_ssize_t begin = 0, end
    while begin < work.columns:
        end = end_of_run(work, begin)
        unpack_cells(
            cells + begin * LANES, 1, end - begin, task.channels,
            row + work.demanded[begin] * map.col, map.channel, (end - begin) * map.col, map.col,
            map.stored,
        )
        begin = end


cdef const real *row_on_demand(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t y
) noexcept nogil:
    """The demanded cells of row ``y`` of the features, side by side.

    They stay until a row is asked for that lies an even number of rows away.
    """
    cdef real *cells = work.ring + (y & 1) * schedule.ring_columns * LANES
    if work.held[y & 1] != y:
        pack_demanded(&call.features, task, work, y, cells)
        work.held[y & 1] = y
    return cells


cdef void interpolate_on_demand(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work,
    const Term *term, Py_ssize_t terms, real *out,
) noexcept nogil:
    """Combine rows, whose numbers are the places of the terms, at the demanded columns."""
    cdef Py_ssize_t t
    cdef const real *row
    cdef Term one
    one.place = 0
    if terms == 0:
        weighted_sum_dense(work.ring, term, 0, work.columns, out)
    for t in range(terms):
        row = row_on_demand(call, schedule, task, work, term[t].place)
        one.weight = term[t].weight
        if t == 0:
            weighted_sum_dense(row, &one, 1, work.columns, out)
        else:
            add_few(row, &one, 1, False, NULL, work.columns, out)
