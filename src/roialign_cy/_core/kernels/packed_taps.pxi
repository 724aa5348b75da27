# What the kernels read of the tables, packed: every block of LANES channels goes through all boxes
# again, so what it needs of each lies side by side, in the working type and as offsets. A box plan
# covers a run of rows of bins of one box: all of them, unless the rows of the map that they read
# would not stay in the cache.


cdef struct PackedTaps:
    # Along one axis: how many lines each bin has, how many terms each line, and all terms, with
    # their places in the workspace. A box has fewer than 2**31 taps, or `run_call` refuses it.
    int32_t *lines
    int32_t *counts
    Term *terms


cdef enum:
    FEW_LINES = 3  # of a bin along an axis, whose points are looked at side by side


cdef inline Sums sums_of(const PackedTaps *taps) noexcept nogil:
    """The sums of a mean: one for each bin, without terms where nothing is read."""
    cdef Sums sums
    sums.lines, sums.counts, sums.term = taps.lines, taps.counts, taps.terms
    return sums


cdef struct BoxPlan:
    Py_ssize_t box
    Py_ssize_t image
    Py_ssize_t first            # row of bins, and how many
    Py_ssize_t rows
    Py_ssize_t top              # first and last row of the map that they read; none: bottom < top
    Py_ssize_t bottom
    Py_ssize_t row_begin        # which distinct rows of the tables lie between them
    Py_ssize_t row_end
    uint64_t strips             # of columns of the map that they read
    Py_ssize_t columns          # distinct ones of the box, and the offset of each in a row
    const Py_ssize_t *column
    Py_ssize_t step             # between those offsets; 0 if the columns are not consecutive
    PackedTaps y                # for these rows of bins
    PackedTaps x                # for the whole box
    const char *few             # where a maximum is sought, of each bin along x: `few_lines`


cdef struct TransposedTaps:
    # Along one axis, which bins of a box read a cell: in a mean a bin sums cells, and in its
    # feature gradient a cell sums bins.
    Py_ssize_t *begin       # [box]: its first term
    int32_t *counts         # [first_count + slot]: terms of a distinct cell
    Term *terms             # by cell, then by bin; place: the bin's number


cdef struct PlanarBox:
    # What the planar order reads of a box.
    Py_ssize_t columns          # that are interpolated
    bint has_gaps_filled        # all from the first to the last, not only the distinct ones
    PackedTaps x                # places: of the columns' first channels in the ring


cdef struct Packed:
    # What an operation and order read of the tables, of all boxes.
    BoxPlan *plan               # in the order of the sweep
    Py_ssize_t plans
    PlanarBox *planar           # by box; in the planar order only this and x
    Py_ssize_t *column          # by distinct column of the tables
    char *few                   # by bin along x
    PackedTaps y
    PackedTaps x
    TransposedTaps transposed_y
    TransposedTaps transposed_x


cdef inline Py_ssize_t row_place(const Schedule *schedule, Py_ssize_t y) noexcept nogil:
    """Where a row of the map lies: in the map itself or in the ring; on demand, its number."""
    return (y % schedule.ring_rows if schedule.has_ring else y) * schedule.row_step


cdef inline Py_ssize_t runs_of(const Call *call, const Schedule *schedule) noexcept nogil:
    return (call.y.bins + schedule.run - 1) // schedule.run


cdef void lay_out_packed(
    Packed *packed, Arena *arena, const Call *call, const Schedule *schedule
) noexcept nogil:
    packed.plans = 0
    if call.operation == FEATURE_GRADIENT and call.mode == AVG:
        lay_out_transposed(&packed.transposed_y, arena, call.y, call.boxes)
        lay_out_transposed(&packed.transposed_x, arena, call.x, call.boxes)
    if call.operation != FORWARD:
        return
    lay_out_taps(&packed.x, arena, call.x, call.boxes)
    if schedule.order == PLANAR:
        packed.planar = <PlanarBox *>arena_alloc(arena, call.boxes, sizeof(PlanarBox))
        return
    packed.plans = call.boxes * runs_of(call, schedule)
    packed.plan = <BoxPlan *>arena_alloc(arena, packed.plans, sizeof(BoxPlan))
    packed.column = <Py_ssize_t *>arena_alloc(arena, call.x.distinct_capacity, sizeof(Py_ssize_t))
    packed.few = <char *>arena_alloc(arena, call.boxes * call.x.bins, sizeof(char))
    lay_out_taps(&packed.y, arena, call.y, call.boxes)


cdef void lay_out_taps(
    PackedTaps *taps, Arena *arena, const Axis *axis, Py_ssize_t boxes
) noexcept nogil:
    taps.lines = <int32_t *>arena_alloc(arena, boxes * axis.bins, sizeof(int32_t))
    taps.counts = <int32_t *>arena_alloc(arena, axis.line_capacity, sizeof(int32_t))
    taps.terms = <Term *>arena_alloc(arena, axis.tap_capacity, sizeof(Term))


cdef void lay_out_transposed(
    TransposedTaps *transposed, Arena *arena, const Axis *axis, Py_ssize_t boxes
) noexcept nogil:
    transposed.begin = <Py_ssize_t *>arena_alloc(arena, boxes, sizeof(Py_ssize_t))
    transposed.counts = <int32_t *>arena_alloc(
        arena, axis.distinct_capacity + boxes, sizeof(int32_t)
    )
    transposed.terms = <Term *>arena_alloc(arena, axis.tap_capacity, sizeof(Term))


cdef void write_box_plans(
    const Call *call, const Schedule *schedule, Py_ssize_t k, const Packed *packed
) noexcept nogil:
    """Write the box plans of the ``k``-th box of the tables."""
    cdef Py_ssize_t runs = runs_of(call, schedule), run, bin
    cdef Py_ssize_t first = call.y.distinct_begin[k], last = call.y.distinct_end[k]
    cdef BoxPlan *plan = packed.plan + k * runs
    cdef PackedTaps y, x
    plan.box = k
    plan.image = call.image[plan.box]
    list_columns(call, schedule, plan, packed.column + call.x.distinct_begin[plan.box])
    x = taps_of_box(&packed.x, call.x, plan.box)
    pack_taps(call.x, plan.box, 0, call.x.bins, NULL, &x, &plan.x)
    if call.mode == MAX:
        for bin in range(plan.box * call.x.bins, (plan.box + 1) * call.x.bins):
            packed.few[bin] = few_lines(call.x, bin)
        plan.few = packed.few + plan.box * call.x.bins
    y = taps_of_box(&packed.y, call.y, plan.box)
    for run in range(1, runs):
        plan[run] = plan[0]
    for run in range(runs):
        plan.first = run * schedule.run
        plan.rows = min(schedule.run, call.y.bins - plan.first)
        find_rows(call.y, plan.box, plan.first, plan.rows, &plan.top, &plan.bottom)
        plan.row_begin = lower_bound(call.y.distinct, first, last, plan.top)
        plan.row_end = lower_bound(call.y.distinct, first, last, plan.bottom + 1)
        pack_taps(call.y, plan.box, plan.first, plan.rows, schedule, &y, &plan.y)
        plan += 1


cdef Py_ssize_t lower_bound(
    const Py_ssize_t *cells, Py_ssize_t low, Py_ssize_t high, Py_ssize_t wanted
) noexcept nogil:
    """The first of ``cells[low:high]``, which ascend, that is no less than ``wanted``."""
    cdef Py_ssize_t middle
    while low < high:
        middle = low + (high - low) // 2
        if cells[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


cdef void list_columns(
    const Call *call, const Schedule *schedule, BoxPlan *plan, Py_ssize_t *column
) noexcept nogil:
    cdef const Py_ssize_t *cell = call.x.distinct + call.x.distinct_begin[plan.box]
    cdef Py_ssize_t d, count = call.x.distinct_end[plan.box] - call.x.distinct_begin[plan.box]
    plan.column, plan.columns = column, count
    plan.strips = 0
    for d in range(count):
        plan.strips |= <uint64_t>1 << (cell[d] // schedule.strip)
        column[d] = cell[d] * schedule.cell_step
    plan.step = 0
    if count and cell[count - 1] - cell[0] == count - 1:
        plan.step = schedule.cell_step
    if schedule.on_demand:
        for d in range(count):
            column[d] = d * LANES


cdef inline Py_ssize_t first_line(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Of a box in the tables, where a reversed one has its last bin first."""
    cdef Py_ssize_t first = box * axis.bins
    return min(axis.line_begin[first], axis.line_begin[first + axis.bins - 1])


cdef inline Py_ssize_t lines_of(const Axis *axis, Py_ssize_t box) noexcept nogil:
    cdef Py_ssize_t first = box * axis.bins, last = first + axis.bins - 1
    return max(axis.line_end[first], axis.line_end[last]) - first_line(axis, box)


cdef PackedTaps taps_of_box(
    const PackedTaps *taps, const Axis *axis, Py_ssize_t box
) noexcept nogil:
    """Where the taps of a box begin: as in the tables, where boxes lie one by one."""
    cdef PackedTaps place
    place.lines = taps.lines + box * axis.bins
    place.counts = taps.counts + first_line(axis, box)
    place.terms = taps.terms + first_tap(axis, box)
    return place


cdef Py_ssize_t first_tap(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """The first tap of a box in the tables; 0 if it has none."""
    cdef Py_ssize_t begin = first_line(axis, box), end = begin + lines_of(axis, box)
    cdef Py_ssize_t line, tap = 0
    if begin < end:
        tap = axis.tap_begin[begin]
    for line in range(begin + 1, end):  # those of a bin may stand in either order
        tap = min(tap, axis.tap_begin[line])
    return tap


cdef void pack_taps(
    const Axis *axis, Py_ssize_t box, Py_ssize_t first, Py_ssize_t bins, const Schedule *rows,
    PackedTaps *place, PackedTaps *taps,
) noexcept nogil:
    """Write the taps of some bins to ``place``, and move it past them.

    They read rows of the map, which lie as the schedule ``rows`` says; if it is NULL, columns.
    """
    cdef Py_ssize_t bin, line, t
    taps.lines, taps.counts = place.lines, place.counts
    taps.terms = place.terms
    for bin in range(box * axis.bins + first, box * axis.bins + first + bins):
        place.lines[0] = <int32_t>(axis.line_end[bin] - axis.line_begin[bin])
        place.lines += 1
        for line in range(axis.line_begin[bin], axis.line_end[bin]):
            place.counts[0] = <int32_t>(axis.tap_end[line] - axis.tap_begin[line])
            place.counts += 1
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                if rows == NULL:
                    place.terms.place = axis.slot[t] * LANES
                else:
                    place.terms.place = row_place(rows, axis.cell[t])
                place.terms.weight = <real>axis.weight[t]
                place.terms += 1


cdef inline char few_lines(const Axis *axis, Py_ssize_t bin) noexcept nogil:
    """How many a bin has, if they are few, of two taps each, and no sample is outside; else 0."""
    cdef Py_ssize_t begin = axis.line_begin[bin], end = axis.line_end[bin], line
    if end - begin > FEW_LINES or axis.outside[bin]:
        return 0
    for line in range(begin, end):
        if axis.tap_end[line] - axis.tap_begin[line] != 2:
            return 0
    return <char>(end - begin)


cdef void find_rows(
    const Axis *axis, Py_ssize_t box, Py_ssize_t first, Py_ssize_t bins, Py_ssize_t *top,
    Py_ssize_t *bottom,
) noexcept nogil:
    """The first and the last row of the map that some rows of bins read."""
    cdef Py_ssize_t bin, line
    cdef bint is_any = False
    top[0], bottom[0] = 0, -1
    for bin in range(box * axis.bins + first, box * axis.bins + first + bins):
        for line in range(axis.line_begin[bin], axis.line_end[bin]):
            if not is_any or axis.cell[axis.tap_begin[line]] < top[0]:
                top[0] = axis.cell[axis.tap_begin[line]]
            bottom[0] = max(bottom[0], axis.cell[axis.tap_end[line] - 1])
            is_any = True


cdef int compare_box_plans(const void *a, const void *b) noexcept nogil:
    """Order of the sweep: by image, then by first row read."""
    cdef const BoxPlan *p = <const BoxPlan *>a
    cdef const BoxPlan *q = <const BoxPlan *>b
    if p.image != q.image:
        return -1 if p.image < q.image else 1
    if p.top != q.top:
        return -1 if p.top < q.top else 1
    if p.box != q.box:
        return -1 if p.box < q.box else 1
    return -1 if p.first < q.first else 1


cdef inline Py_ssize_t first_count(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Where the counts of a box begin: one for each cell, and a place for the end."""
    return axis.distinct_begin[box] + box


cdef inline Sums transposed_sums(
    const TransposedTaps *transposed, const Axis *axis, Py_ssize_t box
) noexcept nogil:
    """The sums of a gradient: one for each distinct cell of a box."""
    cdef Sums sums
    sums.lines = NULL
    sums.counts = transposed.counts + first_count(axis, box)
    sums.term = transposed.terms + transposed.begin[box]
    return sums


cdef void transpose_taps(
    const TransposedTaps *transposed, const Axis *axis, Py_ssize_t box, Py_ssize_t step
) noexcept nogil:
    """Transpose the taps of one box: by cell, then by bin. Bins are ``step`` places apart."""
    cdef Py_ssize_t cells = axis.distinct_end[box] - axis.distinct_begin[box]
    cdef Py_ssize_t bin, d, line, t
    cdef int32_t *offset = transposed.counts + first_count(axis, box)
    cdef Term *terms = transposed.terms + first_tap(axis, box)
    cdef Term *term
    transposed.begin[box] = first_tap(axis, box)
    memset(offset, 0, (cells + 1) * sizeof(int32_t))
    for bin in range(box * axis.bins, (box + 1) * axis.bins):
        for line in range(axis.line_begin[bin], axis.line_end[bin]):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] += 1
    for d in range(cells):
        offset[d + 1] += offset[d]
    # Each is now where the terms of its cell end; filling them from the last on makes it the first.
    for bin in range(axis.bins - 1, -1, -1):
        for line in range(
            axis.line_begin[box * axis.bins + bin], axis.line_end[box * axis.bins + bin]
        ):
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                offset[axis.slot[t]] -= 1
                term = terms + offset[axis.slot[t]]
                term.place, term.weight = bin * step, <real>axis.weight[t]
    for d in range(cells):  # to counts
        offset[d] = offset[d + 1] - offset[d]


cdef void sort_plans(const Call *call, const Packed *packed) noexcept nogil:
    """Sort the plans into the order of the sweep; with one plan a box, they are in it already."""
    if packed.plans > call.boxes:
        qsort(packed.plan, packed.plans, sizeof(BoxPlan), compare_box_plans)
