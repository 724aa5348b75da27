# How samplers write lines into the tables of taps.pxd: taps of a cell are merged, weights rounded,
# and distinct cells listed.

cdef struct Cursor:
    # Where the next line, tap and distinct cell of a box go.
    Py_ssize_t line
    Py_ssize_t tap
    Py_ssize_t distinct
    Py_ssize_t first_distinct


cdef Py_ssize_t add_tap(
    Axis *axis, Cursor *at, Py_ssize_t line_first, Py_ssize_t cell, double weight
) noexcept nogil:
    """Add a cell and its weight to the line being made, and return the tap.

    Cells of a line ascend; only its last two can recur, and are then added to.
    """
    cdef Py_ssize_t t = at.tap - 1
    while t >= line_first and t >= at.tap - 2:
        if axis.cell[t] == cell:
            axis.weight[t] += weight
            return t
        t -= 1
    t = at.tap
    axis.cell[t] = cell
    axis.weight[t] = weight
    if axis.near != NULL:
        axis.near[t] = axis.far[t] = 0.0
    at.tap += 1
    return t


cdef void close_line(
    Axis *axis, Cursor *at, Py_ssize_t line_first, double sum_of_weights, double samples,
    bint single,
) noexcept nogil:
    """Finish the line whose taps begin at ``line_first``: the mean of its ``samples``.

    ``sum_of_weights`` is the exact sum of the weights, before that division. Taps of weight 0 are
    dropped, unless they have slopes, and cells that the box has not read before are listed.
    """
    cdef Py_ssize_t t, kept = line_first, d
    cdef double weight
    for t in range(line_first, at.tap):
        weight = axis.weight[t] / samples
        if single and <float>weight == 0:
            weight = 0.0
        if axis.near != NULL:
            axis.near[kept] = axis.near[t] / samples
            axis.far[kept] = axis.far[t] / samples
        if weight == 0 and (
            axis.near == NULL or (axis.near[kept] == 0 and axis.far[kept] == 0)
        ):
            continue
        axis.weight[kept] = weight
        axis.cell[kept] = axis.cell[t]
        d = at.distinct - 1
        while d >= at.first_distinct and axis.distinct[d] > axis.cell[kept]:
            d -= 1
        if d < at.first_distinct or axis.distinct[d] != axis.cell[kept]:
            # Bins and samples come in ascending order: a cell not seen is above all seen.
            d = at.distinct
            axis.distinct[d] = axis.cell[kept]
            at.distinct += 1
        axis.slot[kept] = d - at.first_distinct
        kept += 1
    if single:
        round_weights(axis.weight + line_first, kept - line_first, sum_of_weights / samples, True)
    else:
        round_weights(axis.weight + line_first, kept - line_first, sum_of_weights / samples, False)
    at.tap = kept
    axis.tap_begin[at.line] = line_first
    axis.tap_end[at.line] = kept
    at.line += 1


cdef void reverse_lines(Axis *axis, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    end -= 1
    while begin < end:
        axis.tap_begin[begin], axis.tap_begin[end] = axis.tap_begin[end], axis.tap_begin[begin]
        axis.tap_end[begin], axis.tap_end[end] = axis.tap_end[end], axis.tap_end[begin]
        begin += 1
        end -= 1
