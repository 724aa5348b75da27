# From a box and one axis to lines and taps. A sampler says where a box lies (a span), which cells a
# bin reads, and what its lines are. Samplers are chosen here and nowhere else.

from .geometry cimport CELLS, CORNERS, INTEGRAL, NEAREST


cdef Span make_span(const char *roi, const Request *request, const Geometry *g) noexcept nogil:
    if g.sampling == CELLS:
        return span_of_cells(roi, request, g)
    if g.sampling == INTEGRAL:
        return span_of_integral(roi, request, g)
    if g.sampling == CORNERS or g.sampling == NEAREST:
        return span_of_corners(roi, request, g)
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
    if g.sampling == CORNERS or g.sampling == NEAREST:
        return add_corner(axis, at, span, bin, request, g)
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
    elif g.sampling == CORNERS or g.sampling == NEAREST:
        range_of_corner(span, bin, request, g, begin, end)
    else:
        range_of_points(span, bin, request, g, begin, end)


cdef Py_ssize_t first_cell_read(
    const Span *span, const Request *request, const Geometry *g
) noexcept nogil:
    """The first cell along the axis that a box reads; 0 if it reads none."""
    cdef Py_ssize_t p, begin, end
    for p in range(request.bins):
        range_of_bin(span, in_ascending_order(span, p, request), request, g, &begin, &end)
        if begin < end:
            return begin
    return 0


cdef Py_ssize_t end_of_cells_read(
    const Span *span, const Request *request, const Geometry *g
) noexcept nogil:
    """The cell after the last that a box reads; 0 if it reads none."""
    cdef Py_ssize_t p, begin, end
    for p in range(request.bins - 1, -1, -1):
        range_of_bin(span, in_ascending_order(span, p, request), request, g, &begin, &end)
        if begin < end:
            return end
    return 0


cdef void fill_axis(
    Axis *axis, Py_ssize_t box, Cursor at, const Span *span, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t p, bin, bin_index
    at.first_distinct = at.distinct
    axis.distinct_begin[box] = at.distinct
    for p in range(request.bins):
        bin = in_ascending_order(span, p, request)
        bin_index = box * request.bins + bin
        axis.line_begin[bin_index] = at.line
        axis.outside[bin_index] = add_bin(axis, &at, span, bin, request, g)
        axis.line_end[bin_index] = at.line
        if span.bin_size < 0:  # lines follow the samples' order, which decides between equals
            reverse_lines(axis, axis.line_begin[bin_index], at.line)
    axis.distinct_end[box] = at.distinct


cdef struct Need:
    # Most entries that one box can take in each kind of table.
    Py_ssize_t lines
    Py_ssize_t taps
    Py_ssize_t distinct


# More entries than a table can have: larger numbers are cut to this, so that sums do not wrap.
cdef Py_ssize_t MOST_ENTRIES = <Py_ssize_t>1 << 56


cdef Need need_of(const Span *span, const Request *request, const Geometry *g) noexcept nogil:
    """The most entries that a box can take, however many samples it has.

    Bins follow one another, so the cells that they read overlap by three at most: tables do not
    outgrow the bins and the size of the map.
    """
    cdef Need need
    cdef Py_ssize_t cells = request.size, samples
    if span.samples < 0:
        cells = end_of_cells_read(span, request, g) - first_cell_read(span, request, g)
    cells = min(cells, MOST_ENTRIES) + 3 * min(request.bins, MOST_ENTRIES)
    samples = 2 * cells
    if 0 <= span.samples <= samples // request.bins:
        samples = request.bins * span.samples
    if request.mode == AVG:
        need.lines = request.bins
        need.taps = min(cells, 2 * samples)
    else:
        need.lines = samples
        need.taps = 2 * samples
    need.distinct = min(need.taps, request.size)
    return need
