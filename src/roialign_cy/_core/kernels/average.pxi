# Means in the tiled order.


cdef void average(
    const Call *call, const Schedule *schedule, const Task *task, const BoxPlan *plan,
    Workspace *work
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
            interpolate_line(
                call, schedule, task, plan, work, y_term, terms, work.lines + p * line
            )
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
