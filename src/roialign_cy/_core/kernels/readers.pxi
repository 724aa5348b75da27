# The gradient by the features of a mean is a mean the other way round: where a section sums cells,
# a cell sums sections. These are its taps, side by side since every block of channels walks them.


cdef struct Readers:
    # Along one axis, which sections of a box read a cell.
    Py_ssize_t *begin       # [box]: its first term
    # [first_offset + cell]: from there, the first of each distinct cell. A box has fewer than 2**31
    # taps, or `spread_all` refuses it.
    int32_t *offset
    Term *terms             # by cell, then by section; place: the section's number


cdef inline Py_ssize_t first_offset(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """One more than it has cells for each box: the last is that of the end."""
    return axis.distinct_begin[box] + box


cdef void place_readers(
    Readers *readers, const Axis *axis, Py_ssize_t boxes, char *memory, Py_ssize_t *at
) noexcept nogil:
    """Carve room for those of all boxes from ``memory``, as `carve` does."""
    readers.begin = <Py_ssize_t *>carve(memory, at, boxes * sizeof(Py_ssize_t))
    readers.offset = <int32_t *>carve(
        memory, at, (axis.distinct_room + boxes) * sizeof(int32_t)
    )
    readers.terms = <Term *>carve(memory, at, axis.tap_room * sizeof(Term))


cdef void find_readers(const Readers *readers, const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Turn the taps of one box round: by cell, then by section."""
    cdef Py_ssize_t cells = axis.distinct_end[box] - axis.distinct_begin[box]
    cdef Py_ssize_t section, d, line, t
    cdef int32_t *offset = readers.offset + first_offset(axis, box)
    cdef Term *terms = readers.terms + first_tap(axis, box)
    cdef Term *term
    readers.begin[box] = first_tap(axis, box)
    memset(offset, 0, (cells + 1) * sizeof(int32_t))
    for section in range(box * axis.bins, (box + 1) * axis.bins):
        for line in range(axis.line_begin[section], axis.line_end[section]):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] += 1
    for d in range(cells):
        offset[d + 1] += offset[d]
    # Each is the end of its cell now; filled from there on down, it becomes the first.
    for section in range(axis.bins - 1, -1, -1):
        for line in range(
            axis.line_begin[box * axis.bins + section], axis.line_end[box * axis.bins + section]
        ):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] -= 1
                term = terms + offset[axis.slot[t]]
                term.place, term.weight = section, <real>axis.weight[t]
