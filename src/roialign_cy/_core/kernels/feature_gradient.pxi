# The gradient with respect to the features, LANES channels of one image at a time: the forward pass
# reversed. A ring holds the rows of the gradient that the boxes at hand add to. A row is zeroed
# when it opens and written out when no later box reaches it. A task has a tile of the map: some
# rows, and all columns unless the ring would take too much memory.
#
# The order in which a cell's terms are added is the result. It is that of the boxes in the tables,
# in a box that of the bins' rows, and what one row of bins adds to a cell is summed first,
# by its columns. Nothing else (threads, tiles, groups, layout) may enter into it.


cdef void sum_features(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work,
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef Py_ssize_t box, first, last, rows
    work.opened = work.closed = task.first_row
    work.top, rows = 0, call.height
    if call.mode == AVG or schedule.on_demand:
        work.top, rows = task.first_row, task.last_row - task.first_row
    place_rows(
        work.gradient_row, rows, work.gradient_ring, schedule.gradient_rows, schedule.tile_columns
    )
    find_columns(call, task, work, rows)
    if call.mode == MAX:
        place_features(call, schedule, task, work)
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        if call.mode == MAX:
            fetch_features(call, schedule, task, work, box)
        # Boxes ascend by their first row, and in the tile none is taller than the ring.
        first = max(call.y.distinct[call.y.distinct_begin[box]], task.first_row)
        last = min(call.y.distinct[call.y.distinct_end[box] - 1] + 1, task.last_row)
        close_rows(call, task, work, first)
        open_rows(call, task, work, first, last)
        find_tile_columns(call, task, work, box)
        if work.tile_slots == 0:
            continue
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


cdef void find_tile_columns(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """List which of a box's distinct columns lie in the tile, and where in a row of the ring."""
    cdef Py_ssize_t begin = call.x.distinct_begin[box], end = call.x.distinct_end[box], slot
    cdef const Py_ssize_t *column = call.x.distinct
    cdef Py_ssize_t first = begin
    if column[begin] < task.first_column:
        first = lower_bound(column, begin, end, task.first_column)
    if column[end - 1] >= task.last_column:
        end = lower_bound(column, first, end, task.last_column)
    work.tile_slot, work.tile_slots = first - begin, end - first
    for slot in range(end - first):
        work.gradient_column[slot] = (column[first + slot] - task.first_column) * LANES
