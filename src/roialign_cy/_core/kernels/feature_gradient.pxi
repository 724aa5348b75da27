# The gradient with respect to the features, LANES channels of one image at a time: the tiled order
# reversed. A ring holds the rows of the gradient that the boxes at hand add to. A row is zeroed
# when it opens and written out when no later box reaches it.
#
# The order in which a cell's terms are added is the result. It is that of the boxes in the tables,
# in a box that of the bins' rows, and what one row of bins adds to a cell is summed first,
# by its columns. Nothing else (threads, bands, groups, layout, loop order) may enter into it.


cdef void feature_gradient_tiled(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work,
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef const Array *features = &call.features
    cdef bint fetches = call.mode == MAX and not lies_packed(
        features, task.channels
    )
    cdef Py_ssize_t box, d, y, x0, first, last, rows
    cdef Py_ssize_t feature_col = LANES
    work.opened = work.closed = task.first_row
    work.fetched = 0
    place_rows(work.gradient_row, call.height, work.gradient_ring, schedule.ring_rows, call.width)
    if fetches:
        place_rows(work.row, call.height, work.ring, schedule.ring_rows, call.width)
    elif call.mode == MAX:
        feature_col = features.col // <Py_ssize_t>sizeof(real)
        for y in range(call.height):
            work.row[y] = <real *>(
                features.data + task.image * features.image
                + task.first_channel * features.channel + y * features.row
            )
    find_columns(call, task, work)
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        first = call.y.distinct[call.y.distinct_begin[box]]
        last = call.y.distinct[call.y.distinct_end[box] - 1] + 1
        if fetches:
            fetch_rows(call, task, work, first, last)
        # Boxes ascend by their first row, and none is taller than the ring.
        first = max(first, task.first_row)
        close_rows(call, task, work, first)
        open_rows(call, task, work, first, min(last, task.last_row))
        x0 = call.x.distinct_begin[box]
        for d in range(x0, call.x.distinct_end[box]):
            work.gradient_column[d - x0] = call.x.distinct[d] * LANES
            work.column[d - x0] = call.x.distinct[d] * feature_col
        first = 0
        while first < call.y.bins:
            rows = min(schedule.group, call.y.bins - first)
            take_grads(call, task, work, box, first, rows)
            if call.mode == AVG:
                add_means(call, packed, task, work, box, first, rows)
            else:
                add_maxima(call, schedule, task, work, box, first, rows)
            first += rows
    close_rows(call, task, work, task.last_row)
