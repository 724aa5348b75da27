# How samplers write lines into the tables of taps.pxd: taps of a cell are merged, weights rounded,
# and distinct cells listed.

cdef struct Cursor:
    # Where the next line, tap and distinct cell of a box go.
    Py_ssize_t line
    Py_ssize_t tap
    Py_ssize_t distinct
    Py_ssize_t first_distinct


cdef struct Line:
    # The taps of a line that is being made, in the tables.
    Py_ssize_t *cell
    double *weight
    double *near        # NULL without slopes
    double *far
    Py_ssize_t taps


cdef inline Line open_line(const Axis *axis, const Cursor *at) noexcept nogil:
    cdef Line line
    line.cell, line.weight = axis.cell + at.tap, axis.weight + at.tap
    line.near = line.far = NULL
    if axis.near != NULL:
        line.near, line.far = axis.near + at.tap, axis.far + at.tap
    line.taps = 0
    return line


cdef inline Py_ssize_t add_tap(Line *line, Py_ssize_t cell, double weight) noexcept nogil:
    """Add a cell and its weight to the line being made, and return the tap.

    Cells of a line ascend; only its last two can recur, and are then added to.
    """
    cdef Py_ssize_t t = line.taps
    if t > 0 and line.cell[t - 1] == cell:
        line.weight[t - 1] += weight
        return t - 1
    if t > 1 and line.cell[t - 2] == cell:
        line.weight[t - 2] += weight
        return t - 2
    line.cell[t] = cell
    line.weight[t] = weight
    if line.near != NULL:
        line.near[t] = line.far[t] = 0.0
    line.taps = t + 1
    return t


cdef void close_line(
    Axis *axis, Cursor *at, Py_ssize_t taps, double sum_of_weights, double samples, bint single,
) noexcept nogil:
    """Finish a line of so many taps: the mean of its ``samples``.

    ``sum_of_weights`` is the exact sum of the weights, before that division. Taps of weight 0 are
    dropped, unless they have slopes, and cells that the box has not read before are listed.
    """
    cdef Line line = open_line(axis, at)
    cdef Py_ssize_t *distinct = axis.distinct + at.first_distinct
    cdef Py_ssize_t *slot = axis.slot + at.tap
    cdef Py_ssize_t count = at.distinct - at.first_distinct, t, kept = 0, cell, d
    cdef double weight
    for t in range(taps):
        weight = line.weight[t] / samples
        if single and <float>weight == 0:
            weight = 0.0
        if line.near != NULL:
            line.near[kept] = line.near[t] / samples
            line.far[kept] = line.far[t] / samples
        if weight == 0 and (
            line.near == NULL or (line.near[kept] == 0 and line.far[kept] == 0)
        ):
            continue
        cell = line.cell[t]
        line.weight[kept] = weight
        line.cell[kept] = cell
        d = count - 1
        while d >= 0 and distinct[d] > cell:
            d -= 1
        if d < 0 or distinct[d] != cell:
            # Bins and samples come in ascending order: a cell not seen is above all seen.
            d = count
            distinct[d] = cell
            count += 1
        slot[kept] = d
        kept += 1
    if single:
        round_weights(line.weight, kept, sum_of_weights / samples, True)
    else:
        round_weights(line.weight, kept, sum_of_weights / samples, False)
    at.distinct = at.first_distinct + count
    axis.tap_begin[at.line] = at.tap
    at.tap += kept
    axis.tap_end[at.line] = at.tap
    at.line += 1


cdef void reverse_lines(Axis *axis, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    end -= 1
    while begin < end:
        axis.tap_begin[begin], axis.tap_begin[end] = axis.tap_begin[end], axis.tap_begin[begin]
        axis.tap_end[begin], axis.tap_end[end] = axis.tap_end[end], axis.tap_end[begin]
        begin += 1
        end -= 1
