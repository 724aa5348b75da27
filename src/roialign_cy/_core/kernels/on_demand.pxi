# Rows of the features that are packed when they are wanted, at the columns that are demanded, and
# two of which are kept. For boxes whose rows would not fit a ring: nothing is shared among boxes
# then, and memory does not grow with their height.


cdef inline void demand_columns(
    Workspace *work, const Py_ssize_t *column, Py_ssize_t columns
) noexcept nogil:
    """From now on, rows are packed at these columns of the map, which ascend."""
    work.demanded, work.columns = column, columns
    work.held[0] = work.held[1] = -1


cdef const real *row_on_demand(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t y
) noexcept nogil:
    """The demanded cells of row ``y`` of the map, side by side.

    They stay until a row is asked for that is an even number of rows away.
    """
    cdef const Array *features = &call.features
    cdef const Py_ssize_t *column = work.demanded
    cdef Py_ssize_t end = 0, begin
    cdef real *cells = work.ring + (y & 1) * schedule.ring_columns * LANES
    cdef const char *source = (
        features.data + task.image * features.image + task.first_channel * features.channel
        + y * features.row
    )
    if work.held[y & 1] == y:
        return cells
    work.held[y & 1] = y
    while end < work.columns:
        begin = end
        end += 1
        while end < work.columns and column[end] == column[end - 1] + 1:
            end += 1
        pack_cells(
            source + column[begin] * features.col, features.channel, features.col, features.stored,
            task.channels, end - begin, cells + begin * LANES, 0,
        )
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
