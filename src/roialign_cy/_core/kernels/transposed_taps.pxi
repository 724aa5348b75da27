# The gradient of a mean with respect to the features is a mean the other way round: where a
# bin sums cells, a cell sums bins. These are its taps, side by side since every block of
# channels walks them.


cdef struct TransposedTaps:
    # Along one axis, which bins of a box read a cell.
    Py_ssize_t *begin       # [box]: its first term
    # [first_offset + cell]: from there, the first of each distinct cell. A box has fewer than 2**31
    # taps, or `run_feature_gradient` refuses it.
    int32_t *offset
    Term *terms             # by cell, then by bin; place: the bin's number


cdef inline Py_ssize_t first_offset(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """One more than it has cells for each box: the last is that of the end."""
    return axis.distinct_begin[box] + box


cdef void lay_out_transposed(
    TransposedTaps *transposed, const Axis *axis, Py_ssize_t boxes, char *memory, Py_ssize_t *at
) noexcept nogil:
    """Carve room for those of all boxes from ``memory``, as `carve` does."""
    transposed.begin = <Py_ssize_t *>arena_alloc(memory, at, boxes * sizeof(Py_ssize_t))
    transposed.offset = <int32_t *>arena_alloc(
        memory, at, (axis.distinct_capacity + boxes) * sizeof(int32_t)
    )
    transposed.terms = <Term *>arena_alloc(memory, at, axis.tap_capacity * sizeof(Term))


cdef void transpose_taps(
    const TransposedTaps *transposed, const Axis *axis, Py_ssize_t box
) noexcept nogil:
    """Turn the taps of one box round: by cell, then by bin."""
    cdef Py_ssize_t cells = axis.distinct_end[box] - axis.distinct_begin[box]
    cdef Py_ssize_t bin, d, line, t
    cdef int32_t *offset = transposed.offset + first_offset(axis, box)
    cdef Term *terms = transposed.terms + first_tap(axis, box)
    cdef Term *term
    transposed.begin[box] = first_tap(axis, box)
    memset(offset, 0, (cells + 1) * sizeof(int32_t))
    for bin in range(box * axis.bins, (box + 1) * axis.bins):
        for line in range(axis.line_begin[bin], axis.line_end[bin]):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] += 1
    for d in range(cells):
        offset[d + 1] += offset[d]
    # Each is the end of its cell now; filled from there on down, it becomes the first.
    for bin in range(axis.bins - 1, -1, -1):
        for line in range(
            axis.line_begin[box * axis.bins + bin], axis.line_end[box * axis.bins + bin]
        ):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] -= 1
                term = terms + offset[axis.slot[t]]
                term.place, term.weight = bin, <real>axis.weight[t]
