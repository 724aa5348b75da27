# Means in the tiled order.


cdef void average(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows
    cdef Sums y = sums_of(&plan.y), x
    while first < plan.rows:
        rows = min(schedule.group, plan.rows - first)
        interpolate_lines(call, schedule, task, plan, work, &y, rows)
        # Column outside, rows inside: the weights are set up once for all rows of the group.
        x = sums_of(&plan.x)
        weighted_sums(
            &x, call.x.bins, work.lines, plan.columns * LANES, rows, work.cells,
            call.x.bins * LANES, LANES,
        )
        write_rows(call, schedule, task, plan, work, first, rows)
        first += rows
