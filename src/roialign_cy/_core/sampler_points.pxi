# The samplers of RoI Align: interpolated points, evenly spaced within each bin.

from .geometry cimport (
    INTERIOR,
    adaptive_count,
    box_extent,
    box_start,
    extent_in_own_dtype,
    is_widened,
    sample_position,
)


cdef Span span_of_points(
    const char *roi, const Request *request, const Geometry *g
) noexcept nogil:
    cdef Span span
    cdef double low = coordinate(roi, request.low_column, g.rois_itemsize)
    cdef double high = coordinate(roi, request.high_column, g.rois_itemsize)
    cdef double count
    span.start, span.end = box_start(low, g), 0.0
    span.bin_size = box_extent(low, high, g) / <double>request.bins
    span.is_widened = is_widened(low, high, g)
    span.samples = request.ratio
    if request.ratio == 0:
        count = adaptive_count(extent_in_own_dtype(low, high, g), request.bins, g)
        span.samples = <Py_ssize_t>count if count > 0 else 0
    return span


cdef inline double ascending_position(
    const Span *span, Py_ssize_t bin, Py_ssize_t j, const Geometry *g
) noexcept nogil:
    """Sample ``j`` of a bin counted from its low end, also in a reversed box."""
    cdef Py_ssize_t i = j if span.bin_size >= 0 else span.samples - 1 - j
    return sample_position(span, bin, i, g.sampling == INTERIOR)


cdef Py_ssize_t samples_below(
    const Span *span, Py_ssize_t bin, double bound, bint or_at, const Geometry *g
) noexcept nogil:
    """How many samples of a bin lie below ``bound`` (``or_at``: or at it).

    By bisection on the formula of the positions itself, so that it finds what a loop over all
    samples would find, however many there are.
    """
    cdef Py_ssize_t low = 0, high = span.samples, middle
    cdef double position
    while low < high:
        middle = low + (high - low) // 2
        position = ascending_position(span, bin, middle, g)
        if position < bound or (or_at and position == bound):
            low = middle + 1
        else:
            high = middle
    return low


cdef void inside_samples(
    const Span *span, Py_ssize_t bin, Py_ssize_t size, const Geometry *g,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The samples within [-1, size], counted from the low end: begin .. end.

    Under a border of zeros, samples at -1 and at ``size`` read nothing, and are outside, too.
    """
    cdef bint is_open = g.zero_border
    cdef double low, high
    begin[0] = 0
    end[0] = span.samples
    if span.samples == 0:
        return
    low = ascending_position(span, bin, 0, g)
    high = ascending_position(span, bin, span.samples - 1, g)
    if high < -1.0 or low > <double>size:
        end[0] = 0
        return
    if low < -1.0 or is_open:
        begin[0] = samples_below(span, bin, -1.0, is_open, g)
    if high > <double>size or is_open:
        end[0] = samples_below(span, bin, <double>size, not is_open, g)


cdef inline void differentiate(
    Sample *sample, const Span *span, Py_ssize_t bin, Py_ssize_t j, const Request *request,
    const Geometry *g,
) noexcept nogil:
    """Set how the sample moves with either side of the box, by its place between them."""
    cdef Py_ssize_t i = j if span.bin_size >= 0 else span.samples - 1 - j
    cdef double within
    if g.sampling == INTERIOR:
        within = (<double>i + 1.0) / (<double>span.samples + 1.0)
    else:
        within = (<double>i + 0.5) / <double>span.samples
    sample.near = g.scale
    if not span.is_widened:
        sample.far = (<double>bin + within) / <double>request.bins * g.scale
        sample.near = g.scale - sample.far


cdef void range_of_points(
    const Span *span, Py_ssize_t bin, const Request *request, const Geometry *g,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    cdef Py_ssize_t first, last
    cdef Sample low, high
    begin[0] = end[0] = 0
    inside_samples(span, bin, request.size, g, &first, &last)
    if first < last:
        low = locate(ascending_position(span, bin, first, g), request.size, g.zero_border)
        high = locate(ascending_position(span, bin, last - 1, g), request.size, g.zero_border)
        begin[0] = max(low.cell, <Py_ssize_t>0)
        end[0] = min(high.cell + (2 if high.fraction > 0 else 1), request.size)


cdef inline double add_sample(
    Axis *axis, Cursor *at, Py_ssize_t line_first, const Sample *sample, const Request *request
) noexcept nogil:
    """Add what a sample reads of the map to a line; returns the sum of its weights there."""
    cdef Py_ssize_t t
    cdef bint is_sloped = axis.near != NULL and not sample.is_clamped
    # Derivatives are from the right, so there is a second cell even where its weight is 0.
    cdef bint has_two = sample.fraction > 0 or is_sloped
    if sample.cell >= 0:
        t = add_tap(axis, at, line_first, sample.cell, 1.0 - sample.fraction)
        if is_sloped:
            axis.near[t] -= sample.near
            axis.far[t] -= sample.far
    if has_two and sample.cell + 1 < request.size:
        t = add_tap(axis, at, line_first, sample.cell + 1, sample.fraction)
        if is_sloped:
            axis.near[t] += sample.near
            axis.far[t] += sample.far
        return 1.0 if sample.cell >= 0 else sample.fraction  # the sum of two, however they round
    return 1.0 - sample.fraction


cdef void single_sample_line(
    Axis *axis, Cursor *at, const Sample *sample, const Request *request
) noexcept nogil:
    cdef Py_ssize_t line_first = at.tap
    cdef double added = add_sample(axis, at, line_first, sample, request)
    close_line(axis, at, line_first, added, 1.0, request.single)


cdef char add_points(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t begin, end, j
    cdef Py_ssize_t line_first = at.tap
    cdef double total = 0.0
    cdef Sample sample, previous
    cdef bint is_pending = False
    memset(&previous, 0, sizeof(Sample))  # for compilers that do not see that it is set when read
    inside_samples(span, bin, request.size, g, &begin, &end)
    for j in range(begin, end):
        sample = locate(ascending_position(span, bin, j, g), request.size, g.zero_border)
        if request.with_slopes:
            differentiate(&sample, span, bin, j, request, g)
        if request.mode == AVG:
            total += add_sample(axis, at, line_first, &sample, request)
            continue
        # Within a stretch the map is linear along this axis, and so is the weight of either
        # neighbour: only its first and its last sample can be the largest, weighted or not.
        if j > begin and sample.stretch == previous.stretch:
            is_pending = True
        else:
            if is_pending:
                single_sample_line(axis, at, &previous, request)
            is_pending = False
            single_sample_line(axis, at, &sample, request)
        previous = sample
    if is_pending:
        single_sample_line(axis, at, &previous, request)
    if request.mode == AVG and begin < end:
        close_line(axis, at, line_first, total, <double>span.samples, request.single)
    return outside_of(span, begin, end)


cdef inline char outside_of(
    const Span *span, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """Which samples are outside, when those inside are begin .. end from the low end."""
    cdef bint before = begin > 0
    cdef bint after = end < span.samples
    if span.samples == 0:
        return 0
    if begin >= end:
        return OUTSIDE_BEFORE
    if span.bin_size < 0:
        before, after = after, before
    return (OUTSIDE_BEFORE if before else 0) | (OUTSIDE_AFTER if after else 0)
