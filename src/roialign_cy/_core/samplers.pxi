# From a box and one axis to lines and taps: which samples lie in the map, what they read, and how
# they merge. See taps.pxd for the tables that this fills.

# Below this fraction a neighbour counts as not read. It is the smallest normal float32, so that
# the same cells are read (and the same NaN spread) in either working type.
cdef double NEGLIGIBLE = 2.0**-126


cdef struct Request:
    # What to make of every box along one axis.
    Py_ssize_t size     # of the map
    Py_ssize_t bins
    Py_ssize_t ratio    # samples to a bin; 0 if adaptive
    int low_column      # of the box's coordinates in its row of five
    int high_column
    int mode
    bint single         # the working type is float32
    bint with_slopes    # fill near and far, too


cdef Span make_span(const char *roi, const Request *request, const Geometry *g) noexcept nogil:
    cdef Span span
    cdef double low = coordinate(roi, request.low_column, g.rois_itemsize)
    cdef double high = coordinate(roi, request.high_column, g.rois_itemsize)
    cdef double count
    span.start = box_start(low, g)
    span.bin_size = box_extent(low, high, g) / <double>request.bins
    span.is_widened = is_widened(low, high, g)
    span.samples = request.ratio
    if request.ratio == 0:
        count = adaptive_count(extent_in_own_dtype(low, high, g), request.bins, g)
        span.samples = <Py_ssize_t>count if count > 0 else 0
    return span


cdef inline double ascending_position(
    const Span *span, Py_ssize_t bin, Py_ssize_t j, bint interior
) noexcept nogil:
    """Sample ``j`` of a bin counted from its low end, also in a reversed box."""
    cdef Py_ssize_t i = j if span.bin_size >= 0 else span.samples - 1 - j
    return sample_position(span, bin, i, interior)


cdef Py_ssize_t samples_below(
    const Span *span, Py_ssize_t bin, double bound, bint or_at, bint interior
) noexcept nogil:
    """How many samples of a bin lie below ``bound`` (``or_at``: or at it).

    By bibin with the very formula of the positions, so that the samples inside the map are
    those that a loop over all of them would find, whatever their number.
    """
    cdef Py_ssize_t low = 0, high = span.samples, middle
    cdef double position
    while low < high:
        middle = low + (high - low) // 2
        position = ascending_position(span, bin, middle, interior)
        if position < bound or (or_at and position == bound):
            low = middle + 1
        else:
            high = middle
    return low


cdef void inside_samples(
    const Span *span, Py_ssize_t bin, Py_ssize_t size, bint interior,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The samples within [-1, size], counted from the low end: begin .. end."""
    cdef double low, high
    begin[0] = 0
    end[0] = span.samples
    if span.samples == 0:
        return
    low = ascending_position(span, bin, 0, interior)
    high = ascending_position(span, bin, span.samples - 1, interior)
    if high < -1.0 or low > <double>size:
        end[0] = 0
        return
    if low < -1.0:
        begin[0] = samples_below(span, bin, -1.0, False, interior)
    if high > <double>size:
        end[0] = samples_below(span, bin, <double>size, True, interior)


cdef struct Sample:
    Py_ssize_t cell     # the lower of its two cells
    double fraction     # weight of the upper one; 0 if there is none
    Py_ssize_t stretch  # samples of one stretch see the map change linearly between them
    bint is_clamped
    double near         # change of the position per input unit of the box's near and far side
    double far


cdef inline Sample locate(double position, Py_ssize_t size) noexcept nogil:
    cdef Sample sample
    cdef double last = <double>(size - 1)
    sample.near = sample.far = 0.0
    sample.is_clamped = True
    if position >= last:
        sample.cell = size - 1
        sample.fraction = 0.0
        sample.stretch = size - 1
        return sample
    if position < 0:
        sample.cell = 0
        sample.fraction = 0.0
        sample.stretch = -1  # clamped: constant here, linear from 0 on
        return sample
    sample.is_clamped = False
    sample.cell = <Py_ssize_t>position
    sample.fraction = position - <double>sample.cell
    if sample.fraction < NEGLIGIBLE:
        sample.fraction = 0.0
    sample.stretch = sample.cell
    return sample


cdef void cells_read(
    const Span *span, const Request *request, const Geometry *g, Py_ssize_t *first, Py_ssize_t *end
) noexcept nogil:
    """The first cell along the axis that a box reads and the one after its last; else 0 and 0."""
    cdef Py_ssize_t p, bin, inside_begin, inside_end
    cdef Sample low, high
    first[0] = end[0] = 0
    for p in range(request.bins):
        bin = p if span.bin_size >= 0 else request.bins - 1 - p
        inside_samples(span, bin, request.size, g.interior, &inside_begin, &inside_end)
        if inside_begin >= inside_end:
            continue
        low = locate(ascending_position(span, bin, inside_begin, g.interior), request.size)
        high = locate(ascending_position(span, bin, inside_end - 1, g.interior), request.size)
        if end[0] == 0:
            first[0] = low.cell
        end[0] = high.cell + (2 if high.fraction > 0 else 1)


cdef struct Need:
    # Most entries that one box can take in each kind of table.
    Py_ssize_t lines
    Py_ssize_t taps
    Py_ssize_t distinct


cdef Need need_of(const Span *span, const Request *request) noexcept nogil:
    """Bins follow one another, so the cells they read overlap by two at most: however many
    samples there are, the tables of a box stay in the order of its bins and the map's size.
    """
    cdef Need need
    cdef Py_ssize_t cells = request.size + 2 * request.bins
    cdef Py_ssize_t samples = 2 * cells
    if span.samples <= samples // request.bins:
        samples = request.bins * span.samples
    if request.mode == AVG:
        need.lines = request.bins
        need.taps = min(cells, 2 * samples)
    else:
        need.lines = samples
        need.taps = 2 * samples
    need.distinct = min(need.taps, request.size)
    return need


cdef struct Cursor:
    # Where the next line, tap and distinct cell of a box go.
    Py_ssize_t line
    Py_ssize_t tap
    Py_ssize_t distinct
    Py_ssize_t first_distinct


cdef inline void differentiate(
    Sample *sample, const Span *span, Py_ssize_t bin, Py_ssize_t j, const Request *request,
    const Geometry *g,
) noexcept nogil:
    """Find how the sample moves with the sides of the box: by its place between them."""
    cdef Py_ssize_t i = j if span.bin_size >= 0 else span.samples - 1 - j
    cdef double within
    if g.interior:
        within = (<double>i + 1.0) / (<double>span.samples + 1.0)
    else:
        within = (<double>i + 0.5) / <double>span.samples
    sample.near = g.scale
    if not span.is_widened:
        sample.far = (<double>bin + within) / <double>request.bins * g.scale
        sample.near = g.scale - sample.far


cdef Py_ssize_t add_tap(
    Axis *axis, Cursor *at, Py_ssize_t line_first, Py_ssize_t cell, double weight
) noexcept nogil:
    """Add to the line that is being made; its cells ascend, and only its last two can recur.

    Returns the tap.
    """
    cdef Py_ssize_t t = at.tap - 1
    while t >= line_first and t >= at.tap - 2:
        if axis.cell[t] == cell:
            axis.weight[t] += weight
            return t
        t -= 1
    t = at.tap
    axis.cell[t] = cell
    axis.weight[t] = weight
    if axis.near != NULL:
        axis.near[t] = axis.far[t] = 0.0
    at.tap += 1
    return t


cdef inline void add_sample(
    Axis *axis, Cursor *at, Py_ssize_t line_first, const Sample *sample
) noexcept nogil:
    cdef Py_ssize_t t = add_tap(axis, at, line_first, sample.cell, 1.0 - sample.fraction)
    cdef bint is_sloped = axis.near != NULL and not sample.is_clamped
    if is_sloped:
        axis.near[t] -= sample.near
        axis.far[t] -= sample.far
    if sample.fraction > 0 or is_sloped:  # from the right: also where the fraction is 0
        t = add_tap(axis, at, line_first, sample.cell + 1, sample.fraction)
    if is_sloped:
        axis.near[t] += sample.near
        axis.far[t] += sample.far


cdef void close_line(
    Axis *axis, Cursor *at, Py_ssize_t line_first, double inside, double samples, bint single
) noexcept nogil:
    """Finish the line whose taps began at ``line_first``: the mean of its ``samples``.

    Those taps sum the ``inside`` ones. Taps of weight 0 go, and distinct cells are noted.
    """
    cdef Py_ssize_t t, kept = line_first, d
    cdef double weight
    for t in range(line_first, at.tap):
        weight = axis.weight[t] / samples
        if single and <float>weight == 0:
            weight = 0.0
        if axis.near != NULL:
            axis.near[kept] = axis.near[t] / samples
            axis.far[kept] = axis.far[t] / samples
        if weight == 0 and (
            axis.near == NULL or (axis.near[kept] == 0 and axis.far[kept] == 0)
        ):
            continue
        axis.weight[kept] = weight
        axis.cell[kept] = axis.cell[t]
        d = at.distinct - 1
        while d >= at.first_distinct and axis.distinct[d] > axis.cell[kept]:
            d -= 1
        if d < at.first_distinct or axis.distinct[d] != axis.cell[kept]:
            # Bins and samples come in ascending order: a cell not seen is above all seen.
            d = at.distinct
            axis.distinct[d] = axis.cell[kept]
            at.distinct += 1
        axis.slot[kept] = d - at.first_distinct
        kept += 1
    round_weights(axis.weight + line_first, kept - line_first, inside / samples, single)
    at.tap = kept
    axis.tap_begin[at.line] = line_first
    axis.tap_end[at.line] = kept
    at.line += 1


cdef void single_sample_line(
    Axis *axis, Cursor *at, const Sample *sample, bint single
) noexcept nogil:
    cdef Py_ssize_t line_first = at.tap
    add_sample(axis, at, line_first, sample)
    close_line(axis, at, line_first, 1.0, 1.0, single)


cdef void reverse_lines(Axis *axis, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    end -= 1
    while begin < end:
        axis.tap_begin[begin], axis.tap_begin[end] = axis.tap_begin[end], axis.tap_begin[begin]
        axis.tap_end[begin], axis.tap_end[end] = axis.tap_end[end], axis.tap_end[begin]
        begin += 1
        end -= 1


cdef void fill_bin(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t bin, const Request *request,
    const Geometry *g, Py_ssize_t begin, Py_ssize_t end,
) noexcept nogil:
    """Make the lines of one bin, low end first, of its samples begin .. end in the map."""
    cdef Py_ssize_t j
    cdef Py_ssize_t line_first = at.tap
    cdef Sample sample, previous
    cdef bint is_pending = False
    if begin >= end:
        return
    if request.mode == AVG:
        for j in range(begin, end):
            sample = locate(ascending_position(span, bin, j, g.interior), request.size)
            if request.with_slopes:
                differentiate(&sample, span, bin, j, request, g)
            add_sample(axis, at, line_first, &sample)
        close_line(
            axis, at, line_first, <double>(end - begin), <double>span.samples, request.single
        )
        return
    for j in range(begin, end):
        sample = locate(ascending_position(span, bin, j, g.interior), request.size)
        if request.with_slopes:
            differentiate(&sample, span, bin, j, request, g)
        # Within a stretch the map is linear along this axis, and so is the weight of either
        # neighbour: only its ends can be the largest, weighted or not.
        if j > begin and sample.stretch == previous.stretch:
            is_pending = True
        else:
            if is_pending:
                single_sample_line(axis, at, &previous, request.single)
            is_pending = False
            single_sample_line(axis, at, &sample, request.single)
        previous = sample
    if is_pending:
        single_sample_line(axis, at, &previous, request.single)


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


cdef void fill_axis(
    Axis *axis, Py_ssize_t box, Cursor at, const Span *span, const Request *request,
    const Geometry *g,
) noexcept nogil:
    cdef Py_ssize_t p, bin, bin_index, begin, end
    at.first_distinct = at.distinct
    axis.distinct_begin[box] = at.distinct
    for p in range(request.bins):
        bin = p if span.bin_size >= 0 else request.bins - 1 - p
        bin_index = box * request.bins + bin
        inside_samples(span, bin, request.size, g.interior, &begin, &end)
        axis.line_begin[bin_index] = at.line
        fill_bin(axis, &at, span, bin, request, g, begin, end)
        axis.line_end[bin_index] = at.line
        axis.outside[bin_index] = outside_of(span, begin, end)
        if span.bin_size < 0:  # lines are in the order of the samples, for whoever asks which is first
            reverse_lines(axis, axis.line_begin[bin_index], at.line)
    axis.distinct_end[box] = at.distinct
