# The samplers of crop_and_resize: one point for each bin, the first and the last on the sides of
# the box, interpolated or rounded to the nearest cell. A point before the centre of the first
# cell or after that of the last is outside: no border is read.

from libc.math cimport round

from .geometry cimport NEAREST


cdef Span span_of_corners(
    const char *roi, const Request *request, const Geometry *g
) noexcept nogil:
    cdef Span span
    cdef double low = box_start(coordinate(roi, request.low_column, g.rois_itemsize), g)
    cdef double high = box_start(coordinate(roi, request.high_column, g.rois_itemsize), g)
    if request.bins == 1:  # in the middle
        low = high = 0.5 * low + 0.5 * high
    span.start, span.end = low, high
    span.bin_size = (high - low) / <double>max(request.bins - 1, <Py_ssize_t>1)
    span.is_widened = span.is_amid = False
    span.samples = 1
    return span


cdef inline double corner_position(
    const Span *span, Py_ssize_t bin, const Request *request
) noexcept nogil:
    """Where the point of a bin lies; the last is at the very end, which may be the border."""
    if bin == request.bins - 1:
        return span.end
    return span.start + <double>bin * span.bin_size


cdef inline Sample locate_corner(
    double position, const Request *request, const Geometry *g
) noexcept nogil:
    """What a point on the map reads."""
    cdef Sample sample = locate(position, request.size, g.zero_border)
    if g.sampling == NEAREST:
        sample.cell = <Py_ssize_t>round(position)  # halves are rounded up
        sample.fraction = 0.0
        sample.is_clamped = True  # it jumps from cell to cell: no derivative
    return sample


cdef inline bint is_on_map(double position, const Request *request) noexcept nogil:
    return 0 <= position <= <double>(request.size - 1)


cdef void range_of_corner(
    const Span *span, Py_ssize_t bin, const Request *request, const Geometry *g,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    cdef double position = corner_position(span, bin, request)
    cdef Sample sample
    begin[0] = end[0] = 0
    if is_on_map(position, request):
        sample = locate_corner(position, request, g)
        begin[0] = sample.cell
        end[0] = sample.cell + (2 if sample.fraction > 0 else 1)


cdef char add_corner(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef double position = corner_position(span, bin, request)
    cdef double within = 0.5
    cdef Sample sample
    if not is_on_map(position, request):
        return OUTSIDE_BEFORE
    sample = locate_corner(position, request, g)
    if request.with_slopes:
        if request.bins > 1:
            within = <double>bin / <double>(request.bins - 1)
        sample.near, sample.far = (1.0 - within) * g.scale, within * g.scale
    single_sample_line(axis, at, &sample, request, request.with_slopes)
    return 0
