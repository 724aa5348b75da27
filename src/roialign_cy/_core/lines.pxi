# From a box and one axis to lines and taps: which samples lie in the map, what they read, and how
# they merge. See taps.pxd for the tables that this fills.

# Below this fraction a neighbour counts as not read. It is the smallest normal float32, so that
# the same cells are read (and the same NaN spread) in either working type.
cdef double NEGLIGIBLE = 2.0**-126


cdef struct Request:
    # What to make of every box along one axis.
    Py_ssize_t size     # of the map
    Py_ssize_t bins
    Py_ssize_t ratio    # samples to a section; 0 if adaptive
    int low_column      # of the box's coordinates in its row of five
    int high_column
    int mode
    bint single         # the working type is float32


cdef Span make_span(const char *roi, const Request *request, const Geometry *g) noexcept nogil:
    cdef Span span
    cdef double low = coordinate(roi, request.low_column, g.rois_itemsize)
    cdef double high = coordinate(roi, request.high_column, g.rois_itemsize)
    cdef double count
    span.start = box_start(low, g)
    span.bin = box_extent(low, high, g) / <double>request.bins
    span.samples = request.ratio
    if request.ratio == 0:
        count = adaptive_count(extent_in_own_dtype(low, high, g), request.bins, g)
        span.samples = <Py_ssize_t>count if count > 0 else 0
    return span


cdef inline double ascending_position(
    const Span *span, Py_ssize_t section, Py_ssize_t j, bint interior
) noexcept nogil:
    """Sample ``j`` of a section counted from its low end, also in a reversed box."""
    cdef Py_ssize_t i = j if span.bin >= 0 else span.samples - 1 - j
    return sample_position(span, section, i, interior)


cdef Py_ssize_t samples_below(
    const Span *span, Py_ssize_t section, double bound, bint or_at, bint interior
) noexcept nogil:
    """How many samples of a section lie below ``bound`` (``or_at``: or at it).

    By bisection with the very formula of the positions, so that the samples inside the map are
    those that a loop over all of them would find, whatever their number.
    """
    cdef Py_ssize_t low = 0, high = span.samples, middle
    cdef double position
    while low < high:
        middle = low + (high - low) // 2
        position = ascending_position(span, section, middle, interior)
        if position < bound or (or_at and position == bound):
            low = middle + 1
        else:
            high = middle
    return low


cdef void inside_samples(
    const Span *span, Py_ssize_t section, Py_ssize_t size, bint interior,
    Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """The samples within [-1, size], counted from the low end: begin .. end."""
    cdef double low, high
    begin[0] = 0
    end[0] = span.samples
    if span.samples == 0:
        return
    low = ascending_position(span, section, 0, interior)
    high = ascending_position(span, section, span.samples - 1, interior)
    if high < -1.0 or low > <double>size:
        end[0] = 0
        return
    if low < -1.0:
        begin[0] = samples_below(span, section, -1.0, False, interior)
    if high > <double>size:
        end[0] = samples_below(span, section, <double>size, True, interior)


cdef struct Need:
    # Most entries that one box can take in each kind of table.
    Py_ssize_t lines
    Py_ssize_t taps
    Py_ssize_t distinct


cdef Need need_of(const Span *span, const Request *request) noexcept nogil:
    """Sections follow one another, so the cells they read overlap by two at most: however many
    samples there are, the tables of a box stay in the order of its sections and the map's size.
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


cdef struct Sample:
    Py_ssize_t cell     # the lower of its two cells
    double fraction     # weight of the upper one; 0 if there is none
    Py_ssize_t stretch  # samples of one stretch see the map change linearly between them


cdef inline Sample locate(double position, Py_ssize_t size) noexcept nogil:
    cdef Sample sample
    cdef double last = <double>(size - 1)
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
    sample.cell = <Py_ssize_t>position
    sample.fraction = position - <double>sample.cell
    if sample.fraction < NEGLIGIBLE:
        sample.fraction = 0.0
    sample.stretch = sample.cell
    return sample


cdef void add_tap(
    Axis *axis, Cursor *at, Py_ssize_t line_first, Py_ssize_t cell, double weight
) noexcept nogil:
    """Add to the line that is being made; its cells ascend, and only its last two can recur."""
    cdef Py_ssize_t t = at.tap - 1
    while t >= line_first and t >= at.tap - 2:
        if axis.cell[t] == cell:
            axis.weight[t] += weight
            return
        t -= 1
    axis.cell[at.tap] = cell
    axis.weight[at.tap] = weight
    at.tap += 1


cdef void close_line(
    Axis *axis, Cursor *at, Py_ssize_t line_first, double divisor, bint single
) noexcept nogil:
    """Finish the line whose taps began at ``line_first``: mean, zero weights, distinct cells."""
    cdef Py_ssize_t t, kept = line_first, d
    cdef double weight
    for t in range(line_first, at.tap):
        weight = axis.weight[t] / divisor
        if weight == 0 or (single and <float>weight == 0):
            continue
        axis.weight[kept] = weight
        axis.cell[kept] = axis.cell[t]
        d = at.distinct - 1
        while d >= at.first_distinct and axis.distinct[d] > axis.cell[kept]:
            d -= 1
        if d < at.first_distinct or axis.distinct[d] != axis.cell[kept]:
            # Sections and samples come in ascending order: a cell not seen is above all seen.
            d = at.distinct
            axis.distinct[d] = axis.cell[kept]
            at.distinct += 1
        axis.slot[kept] = d - at.first_distinct
        kept += 1
    at.tap = kept
    axis.tap_begin[at.line] = line_first
    axis.tap_end[at.line] = kept
    at.line += 1


cdef void single_sample_line(Axis *axis, Cursor *at, Sample sample, bint single) noexcept nogil:
    cdef Py_ssize_t line_first = at.tap
    add_tap(axis, at, line_first, sample.cell, 1.0 - sample.fraction)
    if sample.fraction > 0:
        add_tap(axis, at, line_first, sample.cell + 1, sample.fraction)
    close_line(axis, at, line_first, 1.0, single)


cdef void reverse_lines(Axis *axis, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    end -= 1
    while begin < end:
        axis.tap_begin[begin], axis.tap_begin[end] = axis.tap_begin[end], axis.tap_begin[begin]
        axis.tap_end[begin], axis.tap_end[end] = axis.tap_end[end], axis.tap_end[begin]
        begin += 1
        end -= 1


cdef Py_ssize_t fill_section(
    Axis *axis, Cursor *at, const Span *span, Py_ssize_t section, const Request *request,
    bint interior,
) noexcept nogil:
    """Make the lines of one section, low end first; returns its number of samples in the map."""
    cdef Py_ssize_t begin, end, j
    cdef Py_ssize_t line_first = at.tap
    cdef Sample sample, previous
    cdef bint is_pending = False
    inside_samples(span, section, request.size, interior, &begin, &end)
    if begin >= end:
        return 0
    if request.mode == AVG:
        for j in range(begin, end):
            sample = locate(ascending_position(span, section, j, interior), request.size)
            add_tap(axis, at, line_first, sample.cell, 1.0 - sample.fraction)
            if sample.fraction > 0:
                add_tap(axis, at, line_first, sample.cell + 1, sample.fraction)
        close_line(axis, at, line_first, <double>span.samples, request.single)
        return end - begin
    for j in range(begin, end):
        sample = locate(ascending_position(span, section, j, interior), request.size)
        # Within a stretch the map is linear along this axis, and so is the weight of either
        # neighbour: only its ends can be the largest, weighted or not.
        if j > begin and sample.stretch == previous.stretch:
            is_pending = True
        else:
            if is_pending:
                single_sample_line(axis, at, previous, request.single)
            is_pending = False
            single_sample_line(axis, at, sample, request.single)
        previous = sample
    if is_pending:
        single_sample_line(axis, at, previous, request.single)
    return end - begin


cdef void fill_axis(
    Axis *axis, Py_ssize_t box, Cursor at, const Span *span, const Request *request, bint interior
) noexcept nogil:
    cdef Py_ssize_t p, section, bin_index, inside
    at.first_distinct = at.distinct
    axis.distinct_begin[box] = at.distinct
    for p in range(request.bins):
        section = p if span.bin >= 0 else request.bins - 1 - p
        bin_index = box * request.bins + section
        axis.line_begin[bin_index] = at.line
        inside = fill_section(axis, &at, span, section, request, interior)
        axis.line_end[bin_index] = at.line
        axis.outside[bin_index] = inside < span.samples
        if span.bin < 0:  # lines are in the order of the samples, for whoever asks which is first
            reverse_lines(axis, axis.line_begin[bin_index], at.line)
    axis.distinct_end[box] = at.distinct
