# Rows of the map into the ring, rows of bins out of the workspace, and the sum between them: what
# means and maxima of the tiled order share.


cdef void find_wanted(
    const Call *call, const Packed *packed, const Task *task, const Workspace *work
) noexcept nogil:
    """For each row of the map, the strips of columns that any box of the task reads in it."""
    cdef Py_ssize_t i, d
    cdef const BoxPlan *plan
    memset(work.wanted, 0, call.height * sizeof(uint64_t))
    for i in range(task.begin, task.end):
        plan = &packed.plan[i]
        for d in range(plan.row_begin, plan.row_end):
            work.wanted[call.y.distinct[d]] |= plan.strips


cdef void pack_row(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    const char *map_start, Py_ssize_t y,
) noexcept nogil:
    """Pack the wanted strips of one row of the map, neighbouring ones in one go."""
    cdef uint64_t wanted = work.wanted[y]
    cdef const char *source = map_start + y * call.features.row
    cdef real *cells = work.ring + row_place(schedule, y)
    cdef Py_ssize_t first = 0, last, columns, ahead = 0
    if y + 1 < call.height and work.wanted[y + 1]:  # likely the same strips
        ahead = call.features.row
    while wanted:
        while not wanted & 1:
            wanted >>= 1
            first += schedule.strip
        last = first
        while wanted & 1:
            wanted >>= 1
            last += schedule.strip
        columns = min(last, call.width) - first
        pack_cells(
            source + first * call.features.col, call.features.channel, call.features.col,
            call.features.stored, task.channels, columns, cells + first * LANES, ahead,
        )
        first = last


cdef void write_rows(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    const Workspace *work, Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    """Write rows of bins out; ``first`` counts from the plan's first."""
    cdef char *out = (
        call.out.data + call.target[plan.box] * call.out.image
        + task.first_channel * call.out.channel + (plan.first + first) * call.out.row
    )
    cdef bint streams = schedule.streams and rows == call.y.bins
    if schedule.streams_cells and task.channels == LANES:
        stream_cells(call, work.cells, rows, out)
        return
    unpack_cells(
        work.cells + task.lane, rows, call.x.bins, task.channels,
        <char *>work.stage if streams else out,
        call.out.channel, call.out.row, call.out.col, call.out.stored,
    )
    if streams:
        copy_streaming(<const char *>work.stage, out, task.channels * call.out.channel)


cdef void stream_cells(
    const Call *call, real *cells, Py_ssize_t rows, char *out
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(rows):
        for c in range(call.x.bins):
            store_lanes(cells, with_one_nan_in_lanes(load_lanes(cells)))
            copy_streaming(
                <const char *>cells, out + r * call.out.row + c * call.out.col,
                LANES * <Py_ssize_t>sizeof(real),
            )
            cells += LANES


cdef void interpolate_lines(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work, Sums *sums, Py_ssize_t number,
) noexcept nogil:
    """Combine the rows of the next lines at the distinct columns of the box."""
    cdef Py_ssize_t k, terms
    cdef real *out = work.lines
    if plan.step and not schedule.on_demand:
        weighted_sums(
            sums, number, work.map + plan.column[0], plan.step, plan.columns, out, LANES,
            plan.columns * LANES,
        )
        return
    for k in range(number):
        terms = next_count(sums)
        if schedule.on_demand:
            interpolate_on_demand(call, schedule, task, work, sums.term, terms, out)
        else:
            weighted_sum_gathered(
                work.map, sums.term, terms, plan.column, plan.columns, out, LANES
            )
        sums.term += terms
        out += plan.columns * LANES
