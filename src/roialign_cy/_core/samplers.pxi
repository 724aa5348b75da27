# From a box and one axis to lines and taps. A sampler says where a box lies (a span), which cells a
# bin reads, and what its lines are. Which one it is, is asked here and nowhere else.

from .geometry cimport CELLS, INTEGRAL


cdef Span make_span(const char *roi, const Request *request, const Geometry *g) noexcept nogil:
    if g.sampling == CELLS:
        return span_of_cells(roi, request, g)
    if g.sampling == INTEGRAL:
        return span_of_integral(roi, request, g)
    return span_of_points(roi, request, g)


cdef inline char add_bin(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    """Add the lines of a bin, low end first; returns which of its samples lie outside the map."""
    if g.sampling == CELLS:
        return add_cells(axis, at, span, bin, request, g)
    if g.sampling == INTEGRAL:
        return add_integral(axis, at, span, bin, request, g)
    return add_points(axis, at, span, bin, request, g)


cdef inline void range_of_bin(
    const Span *span, Py_ssize_t bin, const Request *request, const Geometry *g,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The first cell that a bin reads and the one after its last; none: begin >= end."""
    if g.sampling == CELLS:
        cells_of_bin(span, bin, request, g, begin, end)
    elif g.sampling == INTEGRAL:
        range_of_integral(span, bin, request, begin, end)
    else:
        range_of_points(span, bin, request, g, begin, end)


cdef void cells_read(
    const Span *span, const Request *request, const Geometry *g, Py_ssize_t *first, Py_ssize_t *end
) noexcept nogil:
    """The first cell along the axis that a box reads and the one after its last; else 0 and 0."""
    cdef Py_ssize_t p, bin, bin_begin, bin_end
    first[0] = end[0] = 0
    for p in range(request.bins):
        bin = p if span.bin_size >= 0 else request.bins - 1 - p
        range_of_bin(span, bin, request, g, &bin_begin, &bin_end)
        if bin_begin < bin_end:
            if end[0] == 0:
                first[0] = bin_begin
            end[0] = bin_end


cdef void fill_axis(
    Axis *axis, Py_ssize_t box, Cursor at, const Span *span, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t p, bin, bin_index
    at.first_distinct = at.distinct
    axis.distinct_begin[box] = at.distinct
    for p in range(request.bins):
        bin = p if span.bin_size >= 0 else request.bins - 1 - p
        bin_index = box * request.bins + bin
        axis.line_begin[bin_index] = at.line
        axis.outside[bin_index] = add_bin(axis, &at, span, bin, request, g)
        axis.line_end[bin_index] = at.line
        if span.bin_size < 0:  # lines are in the order of the samples: some ask which is first
            reverse_lines(axis, axis.line_begin[bin_index], at.line)
    axis.distinct_end[box] = at.distinct
