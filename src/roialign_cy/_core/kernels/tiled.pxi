# The tiled order: LANES channels of one image at a time, packed so that SIMD runs over channels.
#
# The box_plans of an image are sorted by their first row, so one sweep down the map serves them
# all: a ring holds the packed rows that the boxes at hand read, and each row is packed once. NHWC
# maps have their channels side by side already and are read in place.


cdef void find_wanted(
    const Call *call, const Packed *packed, const Task *task, const Workspace *work
) noexcept nogil:
    """For each row of the map, the tiles of columns that any box of the task reads in it."""
    cdef Py_ssize_t i, d
    cdef const BoxPlan *plan
    memset(work.wanted, 0, call.height * sizeof(uint64_t))
    for i in range(task.begin, task.end):
        plan = &packed.plan[i]
        for d in range(plan.row_begin, plan.row_end):
            work.wanted[call.y.distinct[d]] |= plan.tiles


cdef void pack_row(
    const Call *call, const Schedule *schedule, const Task *task, const Workspace *work,
    const char *map_start, Py_ssize_t y,
) noexcept nogil:
    """Pack the wanted tiles of one row of the map, neighbouring ones in one go."""
    cdef uint64_t wanted = work.wanted[y]
    cdef const char *source = map_start + y * call.features.row
    cdef real *cells = work.ring + row_place(schedule, y)
    cdef Py_ssize_t first = 0, last, columns, ahead = 0
    if y + 1 < call.height and work.wanted[y + 1]:  # likely the same tiles
        ahead = call.features.row
    while wanted:
        while not wanted & 1:
            wanted >>= 1
            first += schedule.tile
        last = first
        while wanted & 1:
            wanted >>= 1
            last += schedule.tile
        columns = min(last, call.width) - first
        pack_cells(
            source + first * call.features.col, call.features.channel, call.features.col,
            call.features.stored, task.channels, columns, cells + first * LANES, ahead,
        )
        first = last


cdef void tiled_task(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef const char *map_start = (
        call.features.data + task.image * call.features.image
        + (task.first_channel - task.lane) * call.features.channel
    )
    cdef Py_ssize_t fetched = 0  # rows before this one are in the ring or past
    cdef Py_ssize_t i
    cdef const BoxPlan *plan
    work.map = work.ring
    if schedule.in_place:
        work.map = <const real *>map_start
    else:
        find_wanted(call, packed, task, work)
    for i in range(task.begin, task.end):
        plan = &packed.plan[i]
        if not schedule.in_place:
            # Recipes ascend by their first row and none is taller than the ring, so a row is
            # overwritten only when no box needs it any more.
            fetched = max(fetched, plan.top)
            while fetched <= plan.bottom:
                pack_row(call, schedule, task, work, map_start, fetched)
                fetched += 1
        if call.mode == AVG:
            average(call, schedule, task, plan, work)
        elif call.mode == MAX:
            maximum(call, schedule, task, plan, work)
        else:
            weighted_maximum(call, schedule, task, plan, work)


cdef void write_rows(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    const Workspace *work,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    """Write rows of bins out; ``first`` counts from the plan's first."""
    cdef char *out = (
        call.out.data + call.target[plan.box] * call.out.image
        + task.first_channel * call.out.channel + (plan.first + first) * call.out.row
    )
    cdef bint streams = schedule.streams and rows == call.y.bins
    unpack_cells(
        work.cells + task.lane, rows, call.x.bins, task.channels,
        <char *>work.stage if streams else out,
        call.out.channel, call.out.row, call.out.col, call.out.stored,
    )
    if streams:
        copy_streaming(<const char *>work.stage, out, task.channels * call.out.channel)


cdef inline void interpolate_line(
    const BoxPlan *plan, const Workspace *work, const Term *term, Py_ssize_t terms, real *out
) noexcept nogil:
    """Combine the rows of one line at the distinct columns of the box."""
    if plan.step == LANES:
        weighted_sum_dense(work.map + plan.column[0], term, terms, plan.columns, out)
    elif plan.step:
        weighted_sum(work.map + plan.column[0], term, terms, plan.step, plan.columns, out, LANES)
    else:
        weighted_sum_gathered(work.map, term, terms, plan.column, plan.columns, out, LANES)


cdef void average(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    const Workspace *work
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows, p, terms, line = plan.columns * LANES
    cdef const int32_t *y_count = plan.y.counts
    cdef const Term *y_term = plan.y.terms
    cdef const int32_t *x_count
    cdef const Term *x_term
    while first < plan.rows:
        rows = min(schedule.group, plan.rows - first)
        for p in range(rows):
            terms = 0
            if plan.y.lines[first + p]:  # a bin has one line at most
                terms = y_count[0]
                y_count += 1
            interpolate_line(plan, work, y_term, terms, work.lines + p * line)
            y_term += terms
        # Column outside, rows inside: the weights are set up once for all rows of the group.
        x_count, x_term = plan.x.counts, plan.x.terms
        for p in range(call.x.bins):
            terms = 0
            if plan.x.lines[p]:
                terms = x_count[0]
                x_count += 1
            weighted_sum(
                work.lines, x_term, terms, line, rows, work.cells + p * LANES,
                call.x.bins * LANES,
            )
            x_term += terms
        write_rows(call, schedule, task, plan, work, first, rows)
        first += rows
