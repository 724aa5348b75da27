# The sampler of PrRoI Pooling: the exact mean of the interpolated map over a bin. The weight of a
# cell is the integral of its hat function over the bin, divided by the bin's extent: the area of a
# trapezoid on either side of its centre. The map is zero outside. A bin without extent is 0, and
# has no gradient.

from libc.math cimport ceil, fabs, floor


cdef Span span_of_integral(
    const char *roi, const Request *request, const Geometry *g
) noexcept nogil:
    cdef Span span = span_of_points(roi, request, g)
    span.samples = -1  # not counted
    return span


cdef struct Stretch:
    # Where a bin begins and ends, in cells.
    double low
    double high
    bint is_between_cells   # the map is linear in it; it may be as narrow as a point


cdef inline Stretch stretch_of(const Span *span, Py_ssize_t bin) noexcept nogil:
    cdef Stretch stretch
    stretch.low = span.start + <double>bin * span.bin_size
    stretch.high = span.start + <double>(bin + 1) * span.bin_size
    stretch.is_between_cells = stretch.high <= floor(stretch.low) + 1.0
    return stretch


cdef inline double hat(double distance) noexcept nogil:
    return max(1.0 - fabs(distance), 0.0)


cdef inline double integral_between(double low, double high, double cell) noexcept nogil:
    """The integral of a cell's hat on one side of it. (A difference of two would cancel.)"""
    return (high - low) * hat((low + high) / 2.0 - cell) if low < high else 0.0


cdef inline double integral_weight(const Stretch *stretch, double cell) noexcept nogil:
    cdef double low = stretch.low, high = stretch.high, weight
    if stretch.is_between_cells:
        weight = (low + high) / 2.0 - floor(low)  # of the upper of the two
        if cell <= low:
            weight = 1.0 - weight
    else:
        weight = integral_between(max(low, cell - 1.0), min(high, cell), cell)
        weight += integral_between(max(low, cell), min(high, cell + 1.0), cell)
        weight /= high - low
    return weight if weight >= NEGLIGIBLE else 0.0


cdef void range_of_integral(
    const Span *span, Py_ssize_t bin, const Request *request, Py_ssize_t *begin, Py_ssize_t *end
) noexcept nogil:
    cdef Stretch stretch = stretch_of(span, bin)
    begin[0] = end[0] = 0
    if span.bin_size <= 0 or stretch.low >= <double>request.size or stretch.high <= -1.0:
        return
    begin[0] = <Py_ssize_t>max(floor(stretch.low), 0.0)
    end[0] = <Py_ssize_t>min(ceil(stretch.high) + 1.0, <double>request.size)
    while begin[0] < end[0] and integral_weight(&stretch, <double>begin[0]) == 0:
        begin[0] += 1
    while begin[0] < end[0] and integral_weight(&stretch, <double>(end[0] - 1)) == 0:
        end[0] -= 1


cdef inline void add_slopes_of_integral(
    Line *line, Py_ssize_t t, const Stretch *stretch, Py_ssize_t bin, double weight,
    const Request *request, const Geometry *g,
) noexcept nogil:
    """Add the slopes of a tap: by the ends of its bin, and these by the sides of the box."""
    cdef double cell = <double>line.cell[t], by_low, by_high
    cdef double before = <double>bin / <double>request.bins
    cdef double after = <double>(bin + 1) / <double>request.bins
    if stretch.is_between_cells:
        by_low = by_high = -0.5 if cell <= stretch.low else 0.5
    else:
        by_low = (weight - hat(stretch.low - cell)) / (stretch.high - stretch.low)
        by_high = (hat(stretch.high - cell) - weight) / (stretch.high - stretch.low)
    line.near[t] = (by_low * (1.0 - before) + by_high * (1.0 - after)) * g.scale
    line.far[t] = (by_low * before + by_high * after) * g.scale


cdef char add_integral(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Stretch stretch = stretch_of(span, bin)
    cdef double weight, total = 0.0
    cdef Py_ssize_t begin, end, cell, t
    cdef Line line = open_line(axis, at)
    range_of_integral(span, bin, request, &begin, &end)
    if begin >= end:
        return 0
    for cell in range(begin, end):
        weight = integral_weight(&stretch, <double>cell)
        t = add_tap(&line, cell, weight)
        total += weight
        if line.near != NULL:
            add_slopes_of_integral(&line, t, &stretch, bin, weight, request, g)
    if stretch.low >= 0 and stretch.high <= <double>(request.size - 1):
        total = 1.0
    close_line(axis, at, line.taps, min(total, 1.0), 1.0, request.single)
    return 0
