# The gradient with respect to the features, LANES channels of one image at a time: the forward pass
# reversed. A ring holds the rows of the gradient that the boxes at hand add to. A row is zeroed
# when it opens and written out when no later box reaches it. Where the ring would take too much
# memory, rows are added to on demand.
#
# The order in which a cell's terms are added is part of the result: boxes as in the tables; within
# a box, one row of bins after another; and what a row of bins adds to a cell is first summed over
# its columns. Nothing else (threads, bands, groups, layout, rings) may enter into it.


cdef void feature_gradient_task(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work,
) noexcept nogil:
    """Sum the gradient with respect to the features of one task."""
    cdef Py_ssize_t box, y, first, last, rows
    work.opened = work.closed = task.first_row
    if not schedule.on_demand:
        place_rows(call, schedule, work.gradient_ring, work.gradient_row)
        find_columns(call, task, work)
    elif call.update == OVERWRITE:
        for y in range(task.first_row, task.last_row):
            zero_cells(&call.map, row_in_map(&call.map, task, y), task.channels, 0, call.width)
    if call.mode == MAX:
        place_features(call, schedule, task, work)
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        demand_columns(call, work, box)
        if call.mode == MAX:
            fetch_features(call, schedule, task, work, box)
            list_x_lines(call, work, box)
        if not schedule.on_demand:
            open_box(call, task, work, box)
        first, last = 0, call.y.bins
        while first < last and not bin_reaches(call.y, box * call.y.bins + first, task):
            first += 1
        while first < last and not bin_reaches(call.y, box * call.y.bins + last - 1, task):
            last -= 1
        while first < last:
            rows = min(schedule.group, last - first)
            take_grads(call, task, work, box, first, rows)
            if call.mode == AVG:
                add_means(call, schedule, packed, task, work, box, first, rows)
            else:
                add_maxima(call, schedule, task, work, box, first, rows)
            first += rows
    if not schedule.on_demand:
        close_rows(call, task, work, task.last_row)


cdef inline void open_box(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """Put the rows of a box into the ring, and write out those above it."""
    cdef Py_ssize_t d
    cdef Py_ssize_t first = call.y.distinct[call.y.distinct_begin[box]]
    cdef Py_ssize_t last = call.y.distinct[call.y.distinct_end[box] - 1] + 1
    # Boxes ascend by their first row, and none is taller than the ring.
    first = max(first, task.first_row)
    close_rows(call, task, work, first)
    open_rows(call, task, work, first, min(last, task.last_row))
    for d in range(work.columns):
        work.gradient_column[d] = work.demanded[d] * LANES
