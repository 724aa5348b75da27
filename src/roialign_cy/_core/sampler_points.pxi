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


cdef inline Span span_between(
    double low, double high, const Request *request, const Geometry *g
) noexcept nogil:
    """The span of a box between two coordinates, in input units."""
    cdef Span span
    cdef double count
    span.start, span.end = box_start(low, g), 0.0
    span.bin_size = box_extent(low, high, g) / <double>request.bins
    span.is_widened, span.is_amid = is_widened(low, high, g), False
    span.samples = request.ratio
    if request.ratio == 0:
        count = adaptive_count(extent_in_own_dtype(low, high, g), request.bins, g)
        span.samples = <Py_ssize_t>count if count > 0 else 0
    return span


cdef Span span_of_points(
    const char *roi, const Request *request, const Geometry *g
) noexcept nogil:
    cdef double low = coordinate(roi, request.low_column, g.rois_itemsize)
    cdef double high = coordinate(roi, request.high_column, g.rois_itemsize)
    cdef Span span = span_between(low, high, request, g)
    span.is_amid = are_amid(&span, request, g)
    return span


cdef inline Py_ssize_t in_ascending_order(
    const Span *span, Py_ssize_t p, const Request *request
) noexcept nogil:
    """Which bin is the ``p``-th from the low end: a reversed box has its last bin first."""
    return p if span.bin_size >= 0 else request.bins - 1 - p


cdef inline double ascending_position(
    const Span *span, Py_ssize_t bin, Py_ssize_t j, const Geometry *g
) noexcept nogil:
    """Sample ``j`` of a bin counted from its low end, also in a reversed box."""
    cdef Py_ssize_t i = j if span.bin_size >= 0 else span.samples - 1 - j
    return sample_position(span, bin, i, g.sampling == INTERIOR)


cdef inline bint are_amid(
    const Span *span, const Request *request, const Geometry *g
) noexcept nogil:
    """Whether each sample lies between two cells of the map: if the first and the last one do."""
    cdef Py_ssize_t first = in_ascending_order(span, 0, request)
    cdef Py_ssize_t last = in_ascending_order(span, request.bins - 1, request)
    return (
        span.samples > 0
        and ascending_position(span, first, 0, g) >= 0
        and ascending_position(span, last, span.samples - 1, g) < <double>(request.size - 1)
    )


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
    if span.is_amid or span.samples == 0:
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
    Line *line, const Sample *sample, Py_ssize_t size, bint with_slopes
) noexcept nogil:
    """Add what a sample reads of the map to a line; returns the sum of its weights there."""
    cdef Py_ssize_t t
    cdef bint is_sloped = with_slopes and not sample.is_clamped
    # Derivatives are from the right, so there is a second cell even where its weight is 0.
    cdef bint has_two = sample.fraction > 0 or is_sloped
    if sample.cell >= 0:
        t = add_tap(line, sample.cell, 1.0 - sample.fraction)
        if is_sloped:
            line.near[t] -= sample.near
            line.far[t] -= sample.far
    if has_two and sample.cell + 1 < size:
        t = add_tap(line, sample.cell + 1, sample.fraction)
        if is_sloped:
            line.near[t] += sample.near
            line.far[t] += sample.far
        return 1.0 if sample.cell >= 0 else sample.fraction  # the sum of two, however they round
    return 1.0 - sample.fraction


cdef inline void single_sample_line(
    Axis *axis, Cursor *at, const Sample *sample, const Request *request, bint with_slopes
) noexcept nogil:
    cdef Line line = open_line(axis, at)
    cdef double added = add_sample(&line, sample, request.size, with_slopes)
    close_line(axis, at, line.taps, added, 1.0, request.single)


cdef char add_points(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t begin = 0, end = span.samples
    if span.is_amid and not request.with_slopes:
        add_samples_of_bin(axis, at, span[0], bin, 0, end, request, g, True, False)
        return 0
    inside_samples(span, bin, request.size, g, &begin, &end)
    add_samples_of_bin(axis, at, span[0], bin, begin, end, request, g, False, request.with_slopes)
    return outside_of(span, begin, end)


cdef inline void add_samples_of_bin(
    Axis *axis, Cursor *at, Span span, Py_ssize_t bin, Py_ssize_t begin, Py_ssize_t end,
    const Request *request, const Geometry *g, bint is_amid, bint with_slopes,
) noexcept nogil:
    """Add some samples of a bin, each of which lies between two cells of the map if ``is_amid``.

    That is a constant, as often ``with_slopes`` is. The span is a copy, which no store to the
    tables can change.
    """
    if request.mode != AVG:
        add_extreme_points(axis, at, span, bin, begin, end, request, g, is_amid, with_slopes)
    elif begin < end:
        add_mean_of_points(axis, at, span, bin, begin, end, request, g, is_amid, with_slopes)


cdef inline void add_mean_of_points(
    Axis *axis, Cursor *at, Span span, Py_ssize_t bin, Py_ssize_t begin, Py_ssize_t end,
    const Request *request, const Geometry *g, bint is_amid, bint with_slopes,
) noexcept nogil:
    cdef Py_ssize_t j, size = request.size
    cdef double total = 0.0, added
    cdef Sample sample
    cdef Line line = open_line(axis, at)
    for j in range(begin, end):
        sample = locate(ascending_position(&span, bin, j, g), size, is_amid or g.zero_border)
        if with_slopes:
            differentiate(&sample, &span, bin, j, request, g)
        added = add_sample(&line, &sample, size, with_slopes)
        total += 1.0 if is_amid else added
    close_line(axis, at, line.taps, total, <double>span.samples, request.single)


cdef inline void add_extreme_points(
    Axis *axis, Cursor *at, Span span, Py_ssize_t bin, Py_ssize_t begin, Py_ssize_t end,
    const Request *request, const Geometry *g, bint is_amid, bint with_slopes,
) noexcept nogil:
    """Add a line for each sample that can be the largest.

    Within a stretch the map is linear along this axis, and so is the weight of either neighbour:
    only its first and its last sample can be the largest, weighted or not.
    """
    cdef Py_ssize_t j
    cdef Sample sample, previous
    cdef bint is_pending = False
    memset(&previous, 0, sizeof(Sample))  # for compilers that do not see that it is set when read
    for j in range(begin, end):
        sample = locate(
            ascending_position(&span, bin, j, g), request.size, is_amid or g.zero_border
        )
        if with_slopes:
            differentiate(&sample, &span, bin, j, request, g)
        if j > begin and sample.stretch == previous.stretch:
            is_pending = True
        else:
            if is_pending:
                single_sample_line(axis, at, &previous, request, with_slopes)
            is_pending = False
            single_sample_line(axis, at, &sample, request, with_slopes)
        previous = sample
    if is_pending:
        single_sample_line(axis, at, &previous, request, with_slopes)


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
