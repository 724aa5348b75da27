# The gradient of a mean with respect to the features.


cdef void add_means(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work, Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef const Py_ssize_t *y = call.y.distinct + call.y.distinct_begin[box]
    cdef Py_ssize_t height = call.y.distinct_end[box] - call.y.distinct_begin[box]
    cdef Py_ssize_t columns = work.columns, d, t, count, terms
    cdef Sums x = transposed_sums(&packed.transposed_x, call.x, box)
    cdef Sums sums = transposed_sums(&packed.transposed_y, call.y, box)
    # Column outside, rows inside: the weights are set up once for all rows of the group.
    weighted_sums(
        &x, columns, work.cells, call.x.bins * LANES, rows, work.lines, columns * LANES, LANES
    )
    for d in range(height):
        count, terms = next_count(&sums), 0
        if task.first_row <= y[d] < task.last_row:
            for t in range(count):
                if first <= sums.term[t].place < first + rows:
                    work.term[terms].place = (sums.term[t].place - first) * columns * LANES
                    work.term[terms].weight = sums.term[t].weight
                    terms += 1
            add_to_row(call, schedule, task, work, y[d], work.term, terms)
        sums.term += count
