# The sampler of PrRoI Pooling: the mean of the interpolated map over a bin, exactly. A cell weighs
# the integral of its hat function over the bin, divided by the bin: a trapezoid on either side of
# it. The map is zero outside. A bin without extent is 0, and has no gradient.

from libc.math cimport ceil, fabs, floor


cdef Span span_of_integral(
    const char *roi, const Request *request, const Geometry *g
) noexcept nogil:
    cdef Span span = span_of_points(roi, request, g)
    span.samples = -1  # not counted
    return span


cdef inline double hat(double distance) noexcept nogil:
    return max(1.0 - fabs(distance), 0.0)


cdef inline double weight_between(
    double low, double high, double cell, double bin_size
) noexcept nogil:
    """Of a cell, over a stretch on one side of it. No difference of integrals: they cancel."""
    if low >= high:
        return 0.0
    return (high - low) / bin_size * hat((low + high) / 2.0 - cell)


cdef inline double integral_weight(
    const Span *span, Py_ssize_t bin, Py_ssize_t cell
) noexcept nogil:
    cdef double low = span.start + <double>bin * span.bin_size
    cdef double high = span.start + <double>(bin + 1) * span.bin_size
    cdef double at = <double>cell
    cdef double weight = weight_between(max(low, at - 1.0), min(high, at), at, span.bin_size)
    weight += weight_between(max(low, at), min(high, at + 1.0), at, span.bin_size)
    return weight if weight >= NEGLIGIBLE else 0.0


cdef void range_of_integral(
    const Span *span, Py_ssize_t bin, const Request *request, Py_ssize_t *begin, Py_ssize_t *end
) noexcept nogil:
    cdef double low = span.start + <double>bin * span.bin_size
    cdef double high = span.start + <double>(bin + 1) * span.bin_size
    begin[0] = end[0] = 0
    if span.bin_size <= 0 or low >= <double>request.size or high <= -1.0:
        return
    begin[0] = <Py_ssize_t>max(floor(low), 0.0)
    end[0] = <Py_ssize_t>min(ceil(high) + 1.0, <double>request.size)
    while begin[0] < end[0] and integral_weight(span, bin, begin[0]) == 0:
        begin[0] += 1
    while begin[0] < end[0] and integral_weight(span, bin, end[0] - 1) == 0:
        end[0] -= 1


cdef char add_integral(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef double low = span.start + <double>bin * span.bin_size
    cdef double high = span.start + <double>(bin + 1) * span.bin_size
    cdef double before = <double>bin / <double>request.bins
    cdef double after = <double>(bin + 1) / <double>request.bins
    cdef double weight, at_low, at_high, total = 0.0
    cdef Py_ssize_t begin, end, cell, t, line_first = at.tap
    range_of_integral(span, bin, request, &begin, &end)
    if begin >= end:
        return 0
    for cell in range(begin, end):
        weight = integral_weight(span, bin, cell)
        t = add_tap(axis, at, line_first, cell, weight)
        total += weight
        if axis.near != NULL:
            # By the ends of the bin, and by its size, which the integral is divided by.
            at_low = -hat(low - <double>cell) / span.bin_size * g.scale
            at_high = hat(high - <double>cell) / span.bin_size * g.scale
            weight = weight / span.bin_size * g.scale / <double>request.bins
            axis.near[t] = at_low * (1.0 - before) + at_high * (1.0 - after) + weight
            axis.far[t] = at_low * before + at_high * after - weight
    if low >= 0 and high <= <double>(request.size - 1):
        total = 1.0
    close_line(axis, at, line_first, min(total, 1.0), 1.0, request.single)
    return 0
