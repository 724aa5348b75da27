# The gradient of a mean with respect to the boxes.


cdef inline void add_slopes(
    const real *base, const Term *term, const real *far, Py_ssize_t terms,
    const Py_ssize_t *offset, const real *grads, const Py_ssize_t *grad_offset, Py_ssize_t count,
    real *near_sums, real *far_sums,
) noexcept nogil:
    """``near_sums[j] += (sum of weight * base[place + offset[j]]) * grads[grad_offset[j]]``.

    The same for the far side, with its own weights; for 1 to SLOPES terms, a constant in every
    call.
    """
    cdef const real *cells[SLOPES]  # copied, since a store to the sums cannot change locals
    cdef real near_weight[SLOPES]
    cdef real far_weight[SLOPES]
    cdef lanes by_near, by_far, grad
    cdef Py_ssize_t j, t, o
    for t in range(terms):
        cells[t] = base + term[t].place
        near_weight[t] = term[t].weight
        far_weight[t] = far[t]
    for j in range(count):
        o = offset[j]
        by_near = times(cells[0] + o, near_weight[0])
        by_far = times(cells[0] + o, far_weight[0])
        for t in range(1, terms):
            by_near = plus(by_near, times(cells[t] + o, near_weight[t]))
            by_far = plus(by_far, times(cells[t] + o, far_weight[t]))
        grad = load_lanes(grads + grad_offset[j])
        store_lanes(near_sums, plus(load_lanes(near_sums), product(by_near, grad)))
        store_lanes(far_sums, plus(load_lanes(far_sums), product(by_far, grad)))
        near_sums += LANES
        far_sums += LANES


cdef void add_all_slopes(
    const Workspace *work, const real *base, Py_ssize_t terms, const real *grads, Py_ssize_t count,
    real *near_sums, real *far_sums,
) noexcept nogil:
    """The same for any number of terms, at the bins that are listed in the workspace."""
    cdef Py_ssize_t t = 0
    while terms - t >= SLOPES:
        add_slopes(
            base, work.term + t, work.far + t, SLOPES, work.non_empty, grads, work.non_empty_grad,
            count, near_sums, far_sums,
        )
        t += SLOPES
    if terms - t == 3:
        add_slopes(
            base, work.term + t, work.far + t, 3, work.non_empty, grads, work.non_empty_grad, count,
            near_sums, far_sums,
        )
    elif terms - t == 2:
        add_slopes(
            base, work.term + t, work.far + t, 2, work.non_empty, grads, work.non_empty_grad, count,
            near_sums, far_sums,
        )
    elif terms - t == 1:
        add_slopes(
            base, work.term + t, work.far + t, 1, work.non_empty, grads, work.non_empty_grad, count,
            near_sums, far_sums,
        )


cdef inline bint has_slope(const Axis *axis, Py_ssize_t tap) noexcept nogil:
    return axis.near[tap] != 0 or axis.far[tap] != 0


cdef inline void put_slope(
    const Workspace *work, Py_ssize_t nth, const Axis *axis, Py_ssize_t tap, Py_ssize_t place
) noexcept nogil:
    work.term[nth].place = place
    work.term[nth].weight = <real>axis.near[tap]
    work.far[nth] = <real>axis.far[tap]


cdef Py_ssize_t slopes_of(
    const Axis *axis, Py_ssize_t line, Py_ssize_t stride, const Workspace *work
) noexcept nogil:
    """Put the slopes of a line into the workspace; neighbouring slots lie ``stride`` apart."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if has_slope(axis, t):
            put_slope(work, terms, axis, t, axis.slot[t] * stride)
            terms += 1
    return terms


cdef Py_ssize_t list_non_empty(
    const Axis *axis, Py_ssize_t first, Py_ssize_t bins, Py_ssize_t stride, Py_ssize_t grad_stride,
    Workspace *work,
) noexcept nogil:
    """List those bins, from bin ``first`` of the tables on, that read anything; return how many."""
    cdef Py_ssize_t p, count = 0
    for p in range(bins):
        if axis.line_begin[first + p] < axis.line_end[first + p]:
            work.non_empty[count] = p * stride
            work.non_empty_grad[count] = p * grad_stride
            count += 1
    return count


cdef void add_up(real *sums, Py_ssize_t count) noexcept nogil:
    """Add cells ``1 .. count`` to the first."""
    cdef Py_ssize_t j
    for j in range(1, count):
        store_lanes(sums, plus(load_lanes(sums), load_lanes(sums + j * LANES)))


cdef void store_side(
    const Call *call, const Task *task, Py_ssize_t box, int side, const real *sums
) noexcept nogil:
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(task.channels):
        total += <double>sums[i]
    place_of(call, task, box)[side] = total


cdef inline double *place_of(
    const Call *call, const Task *task, Py_ssize_t box
) noexcept nogil:
    return call.block_sides + (box * call.blocks + task.first_channel // LANES) * 4


cdef void differentiate_means(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    """The derivatives of one box, a group of rows of bins at a time."""
    cdef Py_ssize_t first = 0, rows, x_sums = 0, y_sums = 0
    cdef real *by_x = work.sums                             # of a row of bins: near, then far
    cdef real *by_y = by_x + 2 * call.y.bins * LANES        # the same of a column of bins
    memset(work.sums, 0, 2 * (call.y.bins + call.x.bins) * LANES * sizeof(real))
    while first < call.y.bins:
        rows = min(schedule.group, call.y.bins - first)
        take_grads(call, task, work, box, first, rows)
        x_sums += differentiate_means_by_x(
            call, schedule, task, work, box, first, rows, by_x + x_sums * LANES
        )
        y_sums = differentiate_means_by_y(call, schedule, task, work, box, first, rows, by_y)
        first += rows
    add_up(by_x, x_sums)
    add_up(by_x + call.y.bins * LANES, x_sums)
    add_up(by_y, y_sums)
    add_up(by_y + call.x.bins * LANES, y_sums)
    store_side(call, task, box, 0, by_x)
    store_side(call, task, box, 1, by_y)
    store_side(call, task, box, 2, by_x + call.y.bins * LANES)
    store_side(call, task, box, 3, by_y + call.x.bins * LANES)


cdef Py_ssize_t differentiate_means_by_x(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows, real *sums,
) noexcept nogil:
    """Add the derivatives of some rows of bins, each to its own sums; return how many have any."""
    cdef Py_ssize_t stride = work.columns * LANES
    cdef Py_ssize_t r, p, line, terms, non_empty
    for r in range(rows):
        line = call.y.line_begin[box * call.y.bins + first + r]
        if line < call.y.line_end[box * call.y.bins + first + r]:
            interpolate_features(call, schedule, task, work, line, work.lines + r * stride)
    non_empty = list_non_empty(
        call.y, box * call.y.bins + first, rows, stride, call.x.bins * LANES, work
    )
    for p in range(call.x.bins):
        line = call.x.line_begin[box * call.x.bins + p]
        if line < call.x.line_end[box * call.x.bins + p]:
            terms = slopes_of(call.x, line, LANES, work)
            add_all_slopes(
                work, work.lines, terms, work.cells + p * LANES, non_empty, sums,
                sums + call.y.bins * LANES,
            )
    return non_empty


cdef Py_ssize_t terms_by_column(
    const Axis *axis, Py_ssize_t line, const Py_ssize_t *column, Term *term
) noexcept nogil:
    """What a line along x reads, at these offsets of the distinct columns."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if <real>axis.weight[t] != 0:  # where there are slopes, there are taps of weight 0, too
            term[terms].place = column[axis.slot[t]]
            term[terms].weight = <real>axis.weight[t]
            terms += 1
    return terms


cdef void cross_rows(
    const Call *call, Workspace *work, Py_ssize_t box, const real *start, Py_ssize_t rows,
    real *crossed,
) noexcept nogil:
    """Combine columns of rows of the features, whose offsets from ``start`` are in `non_empty`."""
    cdef Py_ssize_t p, line, terms
    for p in range(call.x.bins):
        line = call.x.line_begin[box * call.x.bins + p]
        if line < call.x.line_end[box * call.x.bins + p]:
            terms = terms_by_column(call.x, line, work.column, work.term)
            weighted_sum_gathered(
                start, work.term, terms, work.non_empty, rows, crossed + p * LANES,
                call.x.bins * LANES,
            )


cdef Py_ssize_t differentiate_means_by_y(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t first, Py_ssize_t rows, real *sums,
) noexcept nogil:
    """Add the derivatives of some rows of bins to the columns' sums; return how many have any."""
    cdef const Py_ssize_t *row = call.y.distinct + call.y.distinct_begin[box]
    cdef Py_ssize_t distinct = call.y.distinct_end[box] - call.y.distinct_begin[box]
    cdef Py_ssize_t stride = call.x.bins * LANES
    cdef Py_ssize_t r, d, line, terms, non_empty
    if not schedule.on_demand:
        for d in range(distinct):
            work.non_empty[d] = work.row[row[d]] - work.row[row[0]]
        cross_rows(call, work, box, work.row[row[0]], distinct, work.crossed)
    non_empty = list_non_empty(call.x, box * call.x.bins, call.x.bins, LANES, LANES, work)
    for r in range(rows):
        line = call.y.line_begin[box * call.y.bins + first + r]
        if line == call.y.line_end[box * call.y.bins + first + r]:
            continue
        if schedule.on_demand:
            add_slopes_on_demand(
                call, schedule, task, work, box, line, work.cells + r * call.x.bins * LANES, sums
            )
        else:
            terms = slopes_of(call.y, line, stride, work)
            add_all_slopes(
                work, work.crossed, terms, work.cells + r * call.x.bins * LANES, non_empty, sums,
                sums + stride,
            )
    return non_empty


cdef void add_slopes_on_demand(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work, Py_ssize_t box,
    Py_ssize_t line, const real *grads, real *sums,
) noexcept nogil:
    """Add the derivatives of a row of bins, with SLOPES rows of the features combined at a time."""
    cdef const Axis *y = call.y
    cdef Py_ssize_t stride = call.x.bins * LANES
    cdef Py_ssize_t t = y.tap_begin[line], end = y.tap_end[line], first, tap, terms, non_empty
    while t < end:
        first, terms = t, 0
        while t < end and terms < SLOPES:
            if has_slope(y, t):
                work.non_empty[0] = 0
                cross_rows(
                    call, work, box, row_on_demand(call, schedule, task, work, y.cell[t]), 1,
                    work.crossed + terms * stride,
                )
                terms += 1
            t += 1
        terms = 0
        for tap in range(first, t):
            if has_slope(y, tap):
                put_slope(work, terms, y, tap, terms * stride)
                terms += 1
        non_empty = list_non_empty(
            call.x, box * call.x.bins, call.x.bins, LANES, LANES, work
        )
        add_all_slopes(work, work.crossed, terms, grads, non_empty, sums, sums + stride)
