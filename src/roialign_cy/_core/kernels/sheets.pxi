# What the planar order reads of the tables, boiled down box by box, as recipes are for the tiled
# order; and where it finds the channels of a task, which are several where those lie in one cell.

cdef enum:
    STRETCH = 16384  # most columns that are interpolated at once; beyond, they are one by one
    GAP = 8          # columns that are read for each that is wanted, rather than picking those
    CROWD = 6        # most values in a cell for its channels to be interpolated at once


cdef struct Sheet:
    # What the planar order wants to know of a box.
    bint goes_by_rows           # else its sections are pooled one by one
    Py_ssize_t columns          # that are interpolated
    bint has_gaps_filled        # they are all from first to last, not the distinct ones only
    Directions x                # places: of the columns' first channels in the ring


cdef bint is_crowd(const Call *call) noexcept nogil:
    """Whether all channels lie in one small cell, in any order, and cells side by side."""
    cdef Py_ssize_t size = sizeof(real)
    cdef Py_ssize_t pitch = call.features.col // size, step = call.features.channel // size
    return (
        call.features.stored == 0
        and call.channels <= CROWD  # of a map that is broadcast there may be any number
        and call.features.col == pitch * size
        and call.features.channel == step * size
        and (call.channels - 1) * (step if step > 0 else -step) < pitch <= CROWD
    )


cdef void lay_rows(const Call *call, Plan *plan) noexcept nogil:
    """How many channels a task has, and how they lie in the ring and among the cells."""
    cdef Py_ssize_t size = sizeof(real)
    plan.channels = plan.cell_step = plan.channel_step = plan.section_cells = 1
    plan.channel_cells = call.x.bins
    plan.is_dense = call.features.stored == 0 and call.features.col == size
    if is_crowd(call):
        plan.channels = call.channels
        plan.is_dense = True
        plan.cell_step = call.features.col // size
        plan.channel_step = call.features.channel // size
        if call.out.channel == size and call.out.col == call.channels * size:
            plan.section_cells, plan.channel_cells = call.channels, 1  # as in the output


cdef void write_sheet(
    const Call *call, const Plan *plan, Py_ssize_t box, const Book *book
) noexcept nogil:
    cdef Sheet *sheet = book.sheet + box
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t span, t
    cdef Shelf place = place_of_box(&book.x, call.x, box)
    cdef Term *terms = place.terms
    sheet.columns = columns
    sheet.has_gaps_filled = False
    sheet.goes_by_rows = 0 < columns <= STRETCH and call.mode != MAX_WEIGHTED
    if not sheet.goes_by_rows:
        return
    write_directions(call.x, box, 0, call.x.bins, NULL, &place, &sheet.x)
    span = column[columns - 1] - column[0] + 1
    if plan.is_dense and span <= min(GAP * columns, <Py_ssize_t>STRETCH):
        sheet.columns, sheet.has_gaps_filled = span, True
        for t in range(place.terms - terms):
            terms[t].place = (column[terms[t].place // LANES] - column[0]) * LANES
    for t in range(place.terms - terms):
        terms[t].place *= plan.cell_step


cdef inline Py_ssize_t before_first(const Plan *plan) noexcept nogil:
    """Values before the first channel of a cell, which others of the task take."""
    return max(-(plan.channels - 1) * plan.channel_step, <Py_ssize_t>0)


cdef Py_ssize_t values_of(const Plan *plan, Py_ssize_t columns) noexcept nogil:
    """From the first of the task's channels in the first column to the last in the last."""
    cdef Py_ssize_t within = (plan.channels - 1) * plan.channel_step
    return (columns - 1) * plan.cell_step + (within if within > 0 else -within) + 1


cdef inline real *cell_of(
    const Plan *plan, const Desk *desk, Py_ssize_t section, Py_ssize_t channel
) noexcept nogil:
    return desk.cells + (
        section * plan.section_cells + channel * plan.channel_cells
    ) * LANES
