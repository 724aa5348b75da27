# The gradient of a mean with respect to the features.


cdef void add_means(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work, Py_ssize_t box, Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    cdef const Py_ssize_t *y = call.y.distinct + call.y.distinct_begin[box]
    cdef Py_ssize_t height = call.y.distinct_end[box] - call.y.distinct_begin[box]
    cdef Py_ssize_t columns = work.columns
    cdef Py_ssize_t d, t, terms
    cdef const int32_t *offset = packed.transposed_x.offset + first_offset(call.x, box)
    cdef const Term *term = packed.transposed_x.terms + packed.transposed_x.begin[box]
    # Column outside, rows inside: the weights are set up once for all rows of the group.
    for d in range(columns):
        terms = offset[d + 1] - offset[d]
        weighted_sum(
            work.cells, term, terms, call.x.bins * LANES, rows, work.lines + d * LANES,
            columns * LANES,
        )
        term += terms
    offset = packed.transposed_y.offset + first_offset(call.y, box)
    term = packed.transposed_y.terms + packed.transposed_y.begin[box]
    for d in range(height):
        if y[d] < task.first_row or y[d] >= task.last_row:
            continue
        terms = 0
        for t in range(offset[d], offset[d + 1]):
            if term[t].place >= first and term[t].place < first + rows:
                work.term[terms].place = (term[t].place - first) * columns * LANES
                work.term[terms].weight = term[t].weight
                terms += 1
        add_to_row(call, schedule, task, work, y[d], work.term, terms)
