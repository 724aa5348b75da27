# The point sampler of rotated boxes: evenly spaced points of a grid that is turned about the centre
# of its box. A point's position along an axis of the map depends on both axes of the grid, and
# monotonically on each.

from libc.math cimport ceil, fabs, floor

from .geometry cimport box_extent


cdef Span span_of_side(double side, const Request *request, const Geometry *g) noexcept nogil:
    """Where the samples lie along a side of the box, counted from its centre."""
    cdef Geometry unmoved = g[0]
    cdef Span span
    unmoved.offset = 0.0
    span = span_between(0.0, side, request, &unmoved)
    span.start = -box_extent(0.0, side, &unmoved) / 2.0
    return span


cdef RotatedBox rotated_box(
    const char *roi, const Request *y, const Request *x, const Geometry *g
) noexcept nogil:
    cdef RotatedBox box
    cdef double y_reach, x_reach, height, width
    box.x = box_start(coordinate(roi, 1, g.rois_itemsize), g)
    box.y = box_start(coordinate(roi, 2, g.rois_itemsize), g)
    box.x_span = span_of_side(coordinate(roi, 3, g.rois_itemsize), x, g)
    box.y_span = span_of_side(coordinate(roi, 4, g.rois_itemsize), y, g)
    find_rotation(coordinate(roi, 5, g.rois_itemsize), g, &box.sine, &box.cosine)
    height, width = fabs(2.0 * box.y_span.start), fabs(2.0 * box.x_span.start)
    box.blur = 2.0**-45 * (fabs(box.y) + fabs(box.x) + height + width)
    y_reach = 0.5 * (height * fabs(box.cosine) + width * fabs(box.sine)) + box.blur
    x_reach = 0.5 * (height * fabs(box.sine) + width * fabs(box.cosine)) + box.blur
    cells_within(box.y - y_reach, box.y + y_reach, y.size, &box.y_begin, &box.y_end)
    cells_within(box.x - x_reach, box.x + x_reach, x.size, &box.x_begin, &box.x_end)
    box.is_amid = (
        box.y - y_reach >= 0.0 and box.y + y_reach < <double>(y.size - 1)
        and box.x - x_reach >= 0.0 and box.x + x_reach < <double>(x.size - 1)
    )
    if (
        box.y_begin >= box.y_end or box.x_begin >= box.x_end
        or box.y_span.samples == 0 or box.x_span.samples == 0
    ):
        box.y_begin = box.y_end = box.x_begin = box.x_end = 0
    return box


cdef void cells_within(
    double low, double high, Py_ssize_t size, Py_ssize_t *begin, Py_ssize_t *end
) noexcept nogil:
    """Cells that samples between two positions may read: begin .. end."""
    begin[0] = end[0] = 0
    if size == 0 or high < -1.0 or low > <double>size:
        return
    begin[0] = <Py_ssize_t>min(max(floor(low), 0.0), <double>(size - 1))
    end[0] = <Py_ssize_t>min(max(floor(high) + 2.0, 1.0), <double>size)


cdef inline double y_of(const RotatedBox *box, double down, double right) noexcept nogil:
    """Where a point of the grid lies, so far down and to the right of the centre of the box."""
    return (down * box.cosine - right * box.sine) + box.y


cdef inline double x_of(const RotatedBox *box, double down, double right) noexcept nogil:
    return (down * box.sine + right * box.cosine) + box.x


cdef inline double along(const Span *span, Py_ssize_t bin, Py_ssize_t i) noexcept nogil:
    return sample_position(span, bin, i, False)


cdef inline bint is_within(
    double position, bint is_low, Py_ssize_t size, bint is_open
) noexcept nogil:
    """Whether a position is not before -1 (``is_low``), or not beyond the map's size."""
    if is_low:
        return position > -1.0 or (position == -1.0 and not is_open)
    return position < <double>size or (position == <double>size and not is_open)


cdef inline bint holds(
    const RotatedBox *box, int condition, double down, double right, const Request *y,
    const Request *x, const Geometry *g,
) noexcept nogil:
    """One of the four conditions for a point to be on the map."""
    if condition & 2:
        return is_within(x_of(box, down, right), condition & 1, x.size, g.zero_border)
    return is_within(y_of(box, down, right), condition & 1, y.size, g.zero_border)


cdef struct Corners:
    # How many of the four outermost samples of a bin meet a condition. If all of these do, or none
    # does, so it is with all samples of the bin: positions are monotonic.
    int held[4]
    int amid    # they lie amid four cells of the map


cdef Corners corners_of_bin(
    const RotatedBox *box, Py_ssize_t row_bin, Py_ssize_t col_bin, const Request *y,
    const Request *x, const Geometry *g,
) noexcept nogil:
    cdef Corners corners
    cdef double down, right, at_y, at_x
    cdef int corner, condition
    memset(&corners, 0, sizeof(Corners))
    for corner in range(4):
        down = along(&box.y_span, row_bin, (corner >> 1) * (box.y_span.samples - 1))
        right = along(&box.x_span, col_bin, (corner & 1) * (box.x_span.samples - 1))
        for condition in range(4):
            corners.held[condition] += holds(box, condition, down, right, y, x, g)
        at_y, at_x = y_of(box, down, right), x_of(box, down, right)
        corners.amid += (
            at_y >= 0.0 and at_y < <double>(y.size - 1)
            and at_x >= 0.0 and at_x < <double>(x.size - 1)
        )
    return corners


cdef void inside_row(
    const RotatedBox *box, double down, Py_ssize_t bin, const Request *y, const Request *x,
    const Geometry *g, Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The samples on the map in a row of a bin's samples: begin .. end, which may be none."""
    cdef Py_ssize_t low, high, middle
    cdef bint first, last
    cdef int condition
    begin[0], end[0] = 0, box.x_span.samples
    for condition in range(4):
        low, high = 0, box.x_span.samples - 1
        first = holds(box, condition, down, along(&box.x_span, bin, low), y, x, g)
        last = holds(box, condition, down, along(&box.x_span, bin, high), y, x, g)
        if not first and not last:
            end[0] = begin[0]
            return
        if first and last:  # so do all between them
            continue
        while high - low > 1:
            middle = low + (high - low) // 2
            if holds(box, condition, down, along(&box.x_span, bin, middle), y, x, g) == first:
                low = middle
            else:
                high = middle
        if first:
            end[0] = min(end[0], high)
        else:
            begin[0] = max(begin[0], high)


cdef enum:
    ROWS_WORTH_A_SEARCH = 64


cdef void rows_inside(
    const RotatedBox *box, Py_ssize_t bin, const Request *y, const Request *x,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """Rows of a bin's samples, begin .. end, beyond which all are outside the map.

    Found for huge boxes only, so that their rows beyond the map are not gone through one by one.
    """
    cdef double low, high, pad, per_row, first
    cdef Py_ssize_t samples = box.y_span.samples
    begin[0], end[0] = 0, samples
    if samples <= ROWS_WORTH_A_SEARCH:  # as many as may be asked for: others are adaptive
        return
    # The corners of the map, turned back.
    pad = box.blur + 2.0
    low = (
        min((-1.0 - box.y) * box.cosine, (<double>y.size - box.y) * box.cosine)
        + min((-1.0 - box.x) * box.sine, (<double>x.size - box.x) * box.sine)
    )
    high = (
        max((-1.0 - box.y) * box.cosine, (<double>y.size - box.y) * box.cosine)
        + max((-1.0 - box.x) * box.sine, (<double>x.size - box.x) * box.sine)
    )
    first = along(&box.y_span, bin, 0)
    per_row = box.y_span.bin_size / <double>samples
    low = floor((low - pad - first) / per_row) - 1.0
    high = ceil((high + pad - first) / per_row) + 2.0
    begin[0] = <Py_ssize_t>min(max(low, 0.0), <double>samples)
    end[0] = <Py_ssize_t>min(max(high, <double>begin[0]), <double>samples)


cdef inline double share_of(const Sample *sample, Py_ssize_t size) noexcept nogil:
    """What the weights of a point along an axis sum to, of two however they round."""
    if sample.cell < 0:
        return sample.fraction
    return 1.0 if sample.fraction == 0 or sample.cell + 1 < size else 1.0 - sample.fraction


cdef inline void find_moves(
    const RotatedBox *box, double down, double right, double tall, double wide, const Geometry *g,
    double *by_y, double *by_x,
) noexcept nogil:
    """How a point moves along either axis with each parameter of its box, per input unit.

    ``tall`` and ``wide`` are its `share_of_side`.
    """
    cdef double turn = RADIANS_PER_DEGREE if g.in_degrees else 1.0
    if g.is_clockwise:
        turn = -turn
    tall, wide = tall * g.scale, wide * g.scale
    by_y[0], by_x[0] = 0.0, g.scale
    by_y[1], by_x[1] = g.scale, 0.0
    by_y[2], by_x[2] = -wide * box.sine, wide * box.cosine
    by_y[3], by_x[3] = tall * box.cosine, tall * box.sine
    by_y[4] = -(down * box.sine + right * box.cosine) * turn
    by_x[4] = (down * box.cosine - right * box.sine) * turn


cdef inline double share_of_side(
    const Span *span, Py_ssize_t bin, Py_ssize_t i, Py_ssize_t bins
) noexcept nogil:
    """How far from the centre a sample is, in sides of the box; 0 if those are widened."""
    if span.is_widened:
        return 0.0
    return (<double>bin + (<double>i + 0.5) / <double>span.samples) / <double>bins - 0.5
