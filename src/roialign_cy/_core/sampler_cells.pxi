# The sampler of RoI Pooling: whole cells, each a line of its own. Everything is computed in the
# boxes' dtype, as torchvision does it: where a product is nearly an integer, another precision
# would read another cell.

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport ceil, floor, round

from .half cimport round_double_to_half, round_to_half


cdef inline double whole_cell(double side, const Geometry *g) noexcept nogil:
    """The cell that a side of a box lies in: halves are rounded away from 0."""
    cdef double scaled
    if g.rois_itemsize == 8:
        scaled = side * g.scale
    elif g.rois_itemsize == 4:
        scaled = <float>side * <float>g.scale
    else:
        scaled = round_to_half(<float>side * round_double_to_half(g.scale))
    return round(scaled)


cdef inline double in_counting_dtype(double x, Py_ssize_t bins, const Geometry *g) noexcept nogil:
    """``x`` rounded to the boxes' dtype; not rounded if that cannot count so many bins.

    The last bin of an extremely long box could end past the dtype's largest number: it ends there.
    """
    if g.rois_itemsize == 4 and bins <= 1 << 24:
        return min(<float>x, FLT_MAX)
    if g.rois_itemsize == 2 and bins <= 1 << 11:
        return min(round_double_to_half(x), <float>65504.0)
    return min(x, DBL_MAX)


cdef Span span_of_cells(const char *roi, const Request *request, const Geometry *g) noexcept nogil:
    cdef Span span
    cdef double first = whole_cell(coordinate(roi, request.low_column, g.rois_itemsize), g)
    cdef double last = whole_cell(coordinate(roi, request.high_column, g.rois_itemsize), g)
    cdef double length = in_counting_dtype(max(last - first + 1, 1.0), request.bins, g)
    span.start, span.end = first, 0.0
    span.bin_size = in_counting_dtype(length / <double>request.bins, request.bins, g)
    span.is_widened = span.is_amid = False
    span.samples = -1  # as many as there are cells
    return span


cdef inline void cells_of_bin(
    const Span *span, Py_ssize_t bin, const Request *request, const Geometry *g,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The cells that a bin touches: neighbouring bins share a cell that lies in both."""
    cdef double size = <double>request.size
    cdef double low = in_counting_dtype(<double>bin * span.bin_size, request.bins, g)
    cdef double high = in_counting_dtype(<double>(bin + 1) * span.bin_size, request.bins, g)
    begin[0] = <Py_ssize_t>min(max(floor(low) + span.start, 0.0), size)
    end[0] = <Py_ssize_t>min(max(ceil(high) + span.start, 0.0), size)


cdef char add_cells(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t begin, end, cell
    cdef Line line
    cells_of_bin(span, bin, request, g, &begin, &end)
    for cell in range(begin, end):
        line = open_line(axis, at)
        add_tap(&line, cell, 1.0)
        close_line(axis, at, line.taps, 1.0, 1.0, request.single)
    return 0  # cells outside the map do not count
