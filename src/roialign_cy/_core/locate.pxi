# Where a point lies among the cells of an axis.

# Below this a neighbour counts as not read. It is the smallest normal float32, so that the same
# cells are read (and the same NaN spread) in either working type.
cdef double NEGLIGIBLE = 2.0**-126


cdef struct Sample:
    Py_ssize_t cell     # the lower of its two cells; -1 if that is in a border of zeros
    double fraction     # weight of the upper one; 0 if there is none
    Py_ssize_t stretch  # between samples of the same stretch, the map is linear
    bint is_clamped
    double near         # change of the position per input unit of the box's near and far side
    double far


cdef inline Sample locate(double position, Py_ssize_t size, bint zero_border) noexcept nogil:
    """Which cells a sample on the map lies between."""
    cdef Sample sample
    cdef double last = <double>(size - 1)
    sample.near = sample.far = 0.0
    sample.is_clamped = not zero_border and (position >= last or position < 0)
    if sample.is_clamped:
        sample.cell = size - 1 if position >= last else 0
        sample.fraction = 0.0
        # The map is constant before 0 and linear from there on: not the stretch of cell 0.
        sample.stretch = sample.cell if position >= last else -1
        return sample
    sample.cell = <Py_ssize_t>position
    if position < 0:  # but not before -1: such a sample is off the map
        sample.cell = -1
    sample.fraction = position - <double>sample.cell
    if sample.fraction < NEGLIGIBLE:
        sample.fraction = 0.0
    sample.stretch = sample.cell
    return sample
