# Gradients through the lists of bins: with respect to the features, by the same lists the other way
# round; with respect to the boxes, by the slopes of their weights.


cdef inline lanes_mask argmax_of_bin(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Reader *reader,
) noexcept nogil:
    """The number of each channel's largest point in a bin, whose lists have to be started again.

    The first such point, or the first NaN.
    """
    cdef Points best = point_at(all_lanes(-INFINITY), 0)
    cdef flag number = 0
    cdef Py_ssize_t line, first, end
    while next_lists(reader):
        first = reader.lists.first_tap
        for line in range(reader.lists.lines):
            end = reader.lists.tap_end[line]
            best = first_larger(
                best,
                value_of_line(
                    call, schedule, task, work, &reader.lists, first, end, all_lanes(0)
                ),
                number,
                True,
            )
            number += 1
            first = end
    return best.number


cdef void add_to_cells(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    const Lists *lists, Py_ssize_t first, Py_ssize_t end, lanes grad,
) noexcept nogil:
    """Add a gradient to the cells of the taps ``first .. end``, times their weights."""
    cdef const Array *map = &call.map
    cdef Py_ssize_t t, i
    cdef Cell place
    cdef real weight
    cdef real *cell
    cdef char *address
    cdef real by_channel[LANES]
    store_lanes(by_channel, grad)
    for t in range(first, end):
        place = lists.place[t]
        weight = <real>lists.weight[t]
        if not task.first_row <= place.y < task.last_row:
            continue
        if schedule.on_demand:
            address = row_in_map(map, task, place.y) + place.x * map.col
            for i in range(task.channels):
                store_element(
                    address, map.stored,
                    load_element(address, map.stored) + weight * by_channel[i],
                )
                address += map.channel
        else:
            cell = work.gradient_row[place.y] + place.x * LANES
            store_lanes(cell, plus(load_lanes(cell), scaled(grad, weight)))


cdef void spread_bin(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Reader *reader, Py_ssize_t row, Py_ssize_t col, lanes grad,
) noexcept nogil:
    """Add what a bin's gradient gives to the cells that it reads."""
    cdef lanes_mask largest, here
    cdef flag number = 0
    cdef Py_ssize_t line, first, end
    if call.mode == MAX:
        start_bin(reader, row, col)
        largest = argmax_of_bin(call, schedule, task, work, reader)
    start_bin(reader, row, col)
    while next_lists(reader):
        first = reader.lists.first_tap
        for line in range(reader.lists.lines):
            end = reader.lists.tap_end[line]
            if call.mode == AVG:
                add_to_cells(call, schedule, task, work, &reader.lists, first, end, grad)
            else:
                here = equal_numbers(largest, number)
                if is_any(here):
                    add_to_cells(
                        call, schedule, task, work, &reader.lists, first, end,
                        chosen(here, grad, all_lanes(0)),
                    )
            number += 1
            first = end


cdef void sum_lists(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Reader *reader
) noexcept nogil:
    """Sum the gradient with respect to the features of one task."""
    cdef Py_ssize_t k, y, first, rows, row, col
    cdef const RotatedBox *box
    begin_sparse(call, schedule, task, work, reader)
    if schedule.on_demand and call.update == OVERWRITE:
        for y in range(task.first_row, task.last_row):
            zero_cells(&call.map, row_in_map(&call.map, task, y), task.channels, 0, call.width)
    for k in range(task.begin, task.end):
        box = &call.points.box[k]
        if box.y_begin >= task.last_row or box.y_end <= task.first_row:
            continue
        fetch_box(call, schedule, task, work, k, reader)
        if not schedule.on_demand:
            # Boxes ascend by their first row, and none is taller than the ring.
            y = max(box.y_begin, task.first_row)
            close_rows(call, task, work, y)
            open_rows(call, task, work, y, min(box.y_end, task.last_row))
        first = 0
        while first < call.out.height:
            rows = min(schedule.group, call.out.height - first)
            take_grads(call, task, work, k, first, rows)
            for row in range(rows):
                for col in range(call.out.width):
                    spread_bin(
                        call, schedule, task, work, reader, first + row, col,
                        load_lanes(work.cells + (row * call.out.width + col) * LANES),
                    )
            first += rows
    if not schedule.on_demand:
        close_rows(call, task, work, task.last_row)


cdef void add_sloped_cells(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    const Lists *lists, Py_ssize_t first, Py_ssize_t end, lanes *sums,
) noexcept nogil:
    """Add the cells of the taps ``first .. end``, times each of their slopes."""
    cdef const double *slope
    cdef Py_ssize_t t, p
    cdef lanes cell
    for t in range(first, end):
        slope = lists.slope + t * PARAMETERS
        cell = load_lanes(cell_at(call, schedule, task, work, lists.place[t]))
        for p in range(PARAMETERS):
            if slope[p] != 0:  # else an infinite cell would make a NaN of it
                sums[p] = plus(sums[p], scaled(cell, <real>slope[p]))


cdef void differentiate_bin(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    Reader *reader, Py_ssize_t row, Py_ssize_t col, lanes grad, lanes *total,
) noexcept nogil:
    """Add the derivatives of a bin, times its gradient: summed over its lists first."""
    cdef lanes_mask largest, here
    cdef lanes sums[PARAMETERS]
    cdef lanes own[PARAMETERS]
    cdef flag number = 0
    cdef Py_ssize_t line, first, end, p
    if call.mode == MAX:
        start_bin(reader, row, col)
        largest = argmax_of_bin(call, schedule, task, work, reader)
    for p in range(PARAMETERS):
        sums[p] = all_lanes(0)
    start_bin(reader, row, col)
    while next_lists(reader):
        first = reader.lists.first_tap
        for line in range(reader.lists.lines):
            end = reader.lists.tap_end[line]
            if call.mode == AVG:
                add_sloped_cells(call, schedule, task, work, &reader.lists, first, end, sums)
            else:
                here = equal_numbers(largest, number)
                if is_any(here):
                    for p in range(PARAMETERS):
                        own[p] = all_lanes(0)
                    add_sloped_cells(call, schedule, task, work, &reader.lists, first, end, own)
                    for p in range(PARAMETERS):
                        sums[p] = chosen(here, own[p], sums[p])
            number += 1
            first = end
    if number == 0:  # it has no derivatives, and an infinite gradient times 0 is a NaN
        return
    for p in range(PARAMETERS):
        total[p] = plus(total[p], product(sums[p], grad))


cdef void differentiate_lists(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Reader *reader
) noexcept nogil:
    """Differentiate by the boxes of one task."""
    cdef Py_ssize_t k, first, rows, row, col, p, i
    cdef lanes total[PARAMETERS]
    cdef double *sides
    begin_sparse(call, schedule, task, work, reader)
    for k in range(task.begin, task.end):
        fetch_box(call, schedule, task, work, k, reader)
        for p in range(PARAMETERS):
            total[p] = all_lanes(0)
        first = 0
        while first < call.out.height:
            rows = min(schedule.group, call.out.height - first)
            take_grads(call, task, work, k, first, rows)
            for row in range(rows):
                for col in range(call.out.width):
                    differentiate_bin(
                        call, schedule, task, work, reader, first + row, col,
                        load_lanes(work.cells + (row * call.out.width + col) * LANES), total,
                    )
            first += rows
        sides = call.block_sides + (
            (k * call.blocks + task.first_channel // LANES) * PARAMETERS
        )
        for p in range(PARAMETERS):
            store_lanes(work.one_cell, total[p])
            for i in range(task.channels):
                sides[p] += work.one_cell[i]
