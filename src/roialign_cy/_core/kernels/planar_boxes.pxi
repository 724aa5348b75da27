# What the planar order reads of the tables, boiled down box by box, as box_plans are for the tiled
# order; and where it finds the channels of a task, which are several where those lie in one cell.

cdef enum:
    MAX_SEGMENT = 16384  # most columns that are interpolated at once; beyond, they are one by one
    DENSE_RATIO = 8      # columns read for each that is wanted, rather than picking those
    MAX_INTERLEAVED = 6        # most values in a cell for its channels to be interpolated at once


cdef struct PlanarBox:
    # What the planar order wants to know of a box.
    bint goes_by_rows           # else its bins are pooled one by one
    Py_ssize_t columns          # that are interpolated
    bint has_gaps_filled        # they are all from first to last, not the distinct ones only
    PackedTaps x                # places: of the columns' first channels in the ring


cdef bint is_interleaved(const Call *call) noexcept nogil:
    """Whether all channels lie in one small cell, in any order, and cells side by side."""
    cdef Py_ssize_t size = sizeof(real)
    cdef Py_ssize_t pitch = call.features.col // size, step = call.features.channel // size
    return (
        call.features.stored == 0
        and call.channels <= MAX_INTERLEAVED  # of a map that is broadcast there may be any number
        and call.features.col == pitch * size
        and call.features.channel == step * size
        and (call.channels - 1) * (step if step > 0 else -step) < pitch <= MAX_INTERLEAVED
    )


cdef void lay_rows(const Call *call, Schedule *schedule) noexcept nogil:
    """How many channels a task has, and how they lie in the ring and among the cells."""
    cdef Py_ssize_t size = sizeof(real)
    schedule.channels = schedule.cell_step = schedule.channel_step = schedule.bin_cells = 1
    schedule.channel_cells = call.x.bins
    schedule.is_dense = call.features.stored == 0 and call.features.col == size
    if is_interleaved(call):
        schedule.channels = call.channels
        schedule.is_dense = True
        schedule.cell_step = call.features.col // size
        schedule.channel_step = call.features.channel // size
        if call.out.channel == size and call.out.col == call.channels * size:
            schedule.bin_cells, schedule.channel_cells = call.channels, 1  # as in the output


cdef void write_planar_box(
    const Call *call, const Schedule *schedule, Py_ssize_t box, const Plans *plans
) noexcept nogil:
    cdef PlanarBox *planar = plans.planar + box
    cdef const Py_ssize_t *column = call.x.distinct + call.x.distinct_begin[box]
    cdef Py_ssize_t columns = call.x.distinct_end[box] - call.x.distinct_begin[box]
    cdef Py_ssize_t span, t
    cdef PackedTaps place = taps_of_box(&plans.x, call.x, box)
    cdef Term *terms = place.terms
    planar.columns = columns
    planar.has_gaps_filled = False
    planar.goes_by_rows = 0 < columns <= MAX_SEGMENT and call.mode != MAX_WEIGHTED
    if not planar.goes_by_rows:
        return
    pack_taps(call.x, box, 0, call.x.bins, NULL, &place, &planar.x)
    span = column[columns - 1] - column[0] + 1
    if schedule.is_dense and span <= min(DENSE_RATIO * columns, <Py_ssize_t>MAX_SEGMENT):
        planar.columns, planar.has_gaps_filled = span, True
        for t in range(place.terms - terms):
            terms[t].place = (column[terms[t].place // LANES] - column[0]) * LANES
    for t in range(place.terms - terms):
        terms[t].place *= schedule.cell_step


cdef inline Py_ssize_t before_first(const Schedule *schedule) noexcept nogil:
    """Values before the first channel of a cell, which others of the task take."""
    return max(-(schedule.channels - 1) * schedule.channel_step, <Py_ssize_t>0)


cdef Py_ssize_t values_of(const Schedule *schedule, Py_ssize_t columns) noexcept nogil:
    """From the first of the task's channels in the first column to the last in the last."""
    cdef Py_ssize_t within = (schedule.channels - 1) * schedule.channel_step
    return (columns - 1) * schedule.cell_step + (within if within > 0 else -within) + 1


cdef inline real *cell_of(
    const Schedule *schedule, const Workspace *work, Py_ssize_t bin, Py_ssize_t channel
) noexcept nogil:
    return work.cells + (
        bin * schedule.bin_cells + channel * schedule.channel_cells
    ) * LANES
