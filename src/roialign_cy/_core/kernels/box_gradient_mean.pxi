# The gradient of a mean with respect to the boxes.


cdef inline void add_slopes(
    const real *base, const Term *term, const real *far, Py_ssize_t terms,
    const Py_ssize_t *offset, const real *grads, const Py_ssize_t *grad_offset, Py_ssize_t count,
    real *near_sums, real *far_sums,
) noexcept nogil:
    """``near_sums[j] += (sum of weight * base[place + offset[j]]) * grads[grad_offset[j]]``.

    The same for the far side, with its own weights; for 1 to 4 terms, a constant where this is
    called.
    """
    cdef const real *cells[4]  # locals, which no store to the sums can change
    cdef real near_weight[4]
    cdef real far_weight[4]
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
    while terms - t >= 4:
        add_slopes(
            base, work.term + t, work.far + t, 4, work.non_empty, grads, work.non_empty_grad, count,
            near_sums, far_sums,
        )
        t += 4
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


cdef Py_ssize_t slopes_of(
    const Axis *axis, Py_ssize_t line, Py_ssize_t stride, const Workspace *work
) noexcept nogil:
    """Put the slopes of a line in the workspace; its cells lie ``stride`` apart by their slots."""
    cdef Py_ssize_t t, terms = 0
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if axis.near[t] != 0 or axis.far[t] != 0:
            work.term[terms].place = axis.slot[t] * stride
            work.term[terms].weight = <real>axis.near[t]
            work.far[terms] = <real>axis.far[t]
            terms += 1
    return terms


cdef Py_ssize_t list_non_empty(
    const Axis *axis, Py_ssize_t box, Py_ssize_t stride, Py_ssize_t grad_stride, Workspace *work
) noexcept nogil:
    """List the bins along an axis that read anything; returns how many."""
    cdef Py_ssize_t p, count = 0
    for p in range(axis.bins):
        if axis.line_begin[box * axis.bins + p] < axis.line_end[box * axis.bins + p]:
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


cdef void differentiate_means_by_x(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t r, p, line, terms, non_empty
    cdef real *far_sums
    for r in range(call.y.bins):
        line = call.y.line_begin[box * call.y.bins + r]
        if line < call.y.line_end[box * call.y.bins + r]:
            interpolate_features(call, work, line, columns, work.lines + r * columns * LANES)
    non_empty = list_non_empty(call.y, box, columns * LANES, work.grad_row, work)
    far_sums = work.sums + non_empty * LANES
    memset(work.sums, 0, 2 * non_empty * LANES * sizeof(real))
    for p in range(call.x.bins):
        line = call.x.line_begin[box * call.x.bins + p]
        if line < call.x.line_end[box * call.x.bins + p]:
            terms = slopes_of(call.x, line, LANES, work)
            add_all_slopes(
                work, work.lines, terms, work.grads + p * work.grad_col, non_empty, work.sums,
                far_sums
            )
    add_up(work.sums, non_empty)
    add_up(far_sums, non_empty)
    store_side(call, task, box, 0, work.sums)
    store_side(call, task, box, 2, far_sums)


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


cdef void differentiate_means_by_y(
    const Call *call, const Task *task, Workspace *work, Py_ssize_t box
) noexcept nogil:
    cdef const Py_ssize_t *row = call.y.distinct + call.y.distinct_begin[box]
    cdef Py_ssize_t rows = call.y.distinct_end[box] - call.y.distinct_begin[box]
    cdef Py_ssize_t stride = call.x.bins * LANES
    cdef Py_ssize_t r, p, d, line, terms, non_empty
    cdef const real *start = work.row[row[0]]
    cdef real *far_sums
    for d in range(rows):
        work.non_empty[d] = work.row[row[d]] - start
    for p in range(call.x.bins):
        line = call.x.line_begin[box * call.x.bins + p]
        if line == call.x.line_end[box * call.x.bins + p]:
            continue
        terms = terms_by_column(call.x, line, work.column, work.term)
        weighted_sum_gathered(
            start, work.term, terms, work.non_empty, rows, work.crossed + p * LANES, stride
        )
    non_empty = list_non_empty(call.x, box, LANES, work.grad_col, work)
    far_sums = work.sums + non_empty * LANES
    memset(work.sums, 0, 2 * non_empty * LANES * sizeof(real))
    for r in range(call.y.bins):
        line = call.y.line_begin[box * call.y.bins + r]
        if line < call.y.line_end[box * call.y.bins + r]:
            terms = slopes_of(call.y, line, stride, work)
            add_all_slopes(
                work, work.crossed, terms, work.grads + r * work.grad_row, non_empty, work.sums,
                far_sums,
            )
    add_up(work.sums, non_empty)
    add_up(far_sums, non_empty)
    store_side(call, task, box, 1, work.sums)
    store_side(call, task, box, 3, far_sums)


# The planar order: sums in the same order, one channel at a time and nothing kept. For maps that
# the tiled order has no memory for.


cdef inline real sum_along(
    const Axis *axis, Py_ssize_t line, const char *cells, Py_ssize_t stride, int stored
) noexcept nogil:
    """What a line reads of one row or column of the map, in the arithmetic of `weighted_sum`."""
    cdef Py_ssize_t t
    cdef real value = 0
    cdef bint has_value = False
    for t in range(axis.tap_begin[line], axis.tap_end[line]):
        if <real>axis.weight[t] == 0:
            continue
        if has_value:
            value = value + <real>axis.weight[t] * load_element(
                cells + axis.cell[t] * stride, stored
            )
        else:
            value = <real>axis.weight[t] * load_element(cells + axis.cell[t] * stride, stored)
        has_value = True
    return value


cdef void differentiate_plane_along(
    const Call *call, const Axis *along, Py_ssize_t along_stride, Py_ssize_t along_grad,
    const Axis *across, Py_ssize_t across_stride, Py_ssize_t across_grad, Workspace *work,
    Py_ssize_t box, const char *cells, const char *grads, double *near_total, double *far_total,
) noexcept nogil:
    """Add the derivatives along one axis, that of ``along``."""
    cdef real *far_sums = work.sums + across.bins
    cdef Py_ssize_t p, q, t, end, few, line, across_line
    cdef real by_near, by_far, value, grad
    cdef real near_sum = 0, far_sum = 0
    cdef bint has_sum = False
    memset(work.sums, 0, 2 * across.bins * sizeof(real))
    for p in range(along.bins):
        line = along.line_begin[box * along.bins + p]
        if line == along.line_end[box * along.bins + p]:
            continue
        end = along.tap_begin[line]
        while end < along.tap_end[line]:
            t = end
            few = 0
            while end < along.tap_end[line] and few < 4:
                if along.near[end] != 0 or along.far[end] != 0:
                    few += 1
                end += 1
            if few == 0:
                break
            for q in range(across.bins):
                across_line = across.line_begin[box * across.bins + q]
                if across_line == across.line_end[box * across.bins + q]:
                    continue
                grad = load_element(grads + p * along_grad + q * across_grad, call.out.stored)
                sum_slopes(
                    along, t, end, across, across_line, cells, along_stride, across_stride,
                    call.features.stored, &by_near, &by_far,
                )
                work.sums[q] = work.sums[q] + by_near * grad
                far_sums[q] = far_sums[q] + by_far * grad
    for q in range(across.bins):
        if across.line_begin[box * across.bins + q] == across.line_end[box * across.bins + q]:
            continue
        near_sum = near_sum + work.sums[q] if has_sum else work.sums[q]
        far_sum = far_sum + far_sums[q] if has_sum else far_sums[q]
        has_sum = True
    near_total[0] += <double>near_sum
    far_total[0] += <double>far_sum


cdef void sum_slopes(
    const Axis *along, Py_ssize_t begin, Py_ssize_t end, const Axis *across,
    Py_ssize_t across_line, const char *cells, Py_ssize_t along_stride, Py_ssize_t across_stride,
    int stored, real *by_near, real *by_far,
) noexcept nogil:
    """Sum the slopes of taps ``begin .. end`` of a line, where it crosses another."""
    cdef Py_ssize_t t
    cdef real value
    cdef bint has_value = False
    for t in range(begin, end):
        if along.near[t] == 0 and along.far[t] == 0:
            continue
        value = sum_along(
            across, across_line, cells + along.cell[t] * along_stride, across_stride, stored
        )
        if has_value:
            by_near[0] = by_near[0] + <real>along.near[t] * value
            by_far[0] = by_far[0] + <real>along.far[t] * value
        else:
            by_near[0] = <real>along.near[t] * value
            by_far[0] = <real>along.far[t] * value
        has_value = True


cdef void differentiate_plane_of_means(
    const Call *call, Workspace *work, Py_ssize_t box, const char *cells, const char *grads,
    double *sides,
) noexcept nogil:
    differentiate_plane_along(
        call, call.x, call.features.col, call.out.col, call.y, call.features.row, call.out.row,
        work, box, cells, grads, sides, sides + 2,
    )
    differentiate_plane_along(
        call, call.y, call.features.row, call.out.row, call.x, call.features.col, call.out.col,
        work, box, cells, grads, sides + 1, sides + 3,
    )
