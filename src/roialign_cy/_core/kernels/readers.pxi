# The gradient by the features of a mean is a mean the other way round: where a section sums cells,
# a cell sums sections. These are its taps.


cdef struct Readers:
    # Along one axis, which sections of a box read a cell.
    Py_ssize_t *begin       # [distinct]: they are begin .. end
    Py_ssize_t *end
    Py_ssize_t *section     # ascending
    real *weight


cdef void place_readers(
    Readers *readers, const Axis *axis, Py_ssize_t boxes, char *memory, Py_ssize_t *at
) noexcept nogil:
    """Carve room for those of all boxes from ``memory``, as `carve` does."""
    cdef Py_ssize_t cells = 0, taps = 0, k, line, b
    for k in range(boxes):
        cells = max(cells, axis.distinct_end[k])
    for b in range(boxes * axis.bins):
        for line in range(axis.line_begin[b], axis.line_end[b]):
            taps = max(taps, axis.tap_end[line])
    readers.begin = <Py_ssize_t *>carve(memory, at, cells * sizeof(Py_ssize_t))
    readers.end = <Py_ssize_t *>carve(memory, at, cells * sizeof(Py_ssize_t))
    readers.section = <Py_ssize_t *>carve(memory, at, taps * sizeof(Py_ssize_t))
    readers.weight = <real *>carve(memory, at, taps * sizeof(real))


cdef void find_readers(const Readers *readers, const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Turn the taps of one box round: by cell, then by section."""
    cdef Py_ssize_t first = axis.distinct_begin[box]
    cdef Py_ssize_t d, p, line, t, count, at = -1
    for d in range(first, axis.distinct_end[box]):
        readers.end[d] = 0
    for p in range(box * axis.bins, (box + 1) * axis.bins):
        for line in range(axis.line_begin[p], axis.line_end[p]):
            if at < 0 or axis.tap_begin[line] < at:
                at = axis.tap_begin[line]
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                readers.end[first + axis.slot[t]] += 1
    for d in range(first, axis.distinct_end[box]):
        count = readers.end[d]
        readers.begin[d] = readers.end[d] = at
        at += count
    for p in range(axis.bins):
        line = axis.line_begin[box * axis.bins + p]
        if line == axis.line_end[box * axis.bins + p]:
            continue
        for t in range(axis.tap_begin[line], axis.tap_end[line]):
            d = first + axis.slot[t]
            readers.section[readers.end[d]] = p
            readers.weight[readers.end[d]] = <real>axis.weight[t]
            readers.end[d] += 1
