# The cost model: which order a call runs in, how it is cut into tasks, on how many threads.
# Nothing decided here changes a bit of the result.

# Scratch memory that one thread may take, in bytes; without room for the tiled order within it,
# the planar order runs, which always has room.
cdef Py_ssize_t SCRATCH_BUDGET = 32 << 20
# Of which the interpolated rows and the output rows in the making stay in the second-level cache.
# With 64 KiB, maxima took 1.0 to 1.14 times as long (v3, one thread), since fewer boxes were worked
# on as a whole; with 24 KiB 1.1 to 1.2 times.
cdef Py_ssize_t CACHED_BYTES = 128 << 10
# Packed rows beyond which they do not stay in the second-level cache: boxes are then worked on by
# fewer of their rows at a time, which need fewer rows of the map.
cdef Py_ssize_t RING_BYTES = 768 << 10
# Recipes beyond which runs are not shortened any more, of 128 bytes each: at most twice as many.
cdef Py_ssize_t MOST_BOX_PLANS = 1 << 15
# Channels from which on packing them side by side pays, though it computes LANES of them. Time of
# the planar order over that of the tiled one (v3, one thread; 512 FPN boxes, 32 large adaptive, 32
# large of ratio 2 and photographs): with three channels 1.06, 0.44, 0.63 and 0.36 for means, 1.05,
# 0.64, 0.91 and 0.34 for maxima; with four 1.16, 0.61 and 0.77, and 1.29, 0.97 and 0.82; with six
# 1.55, 0.76 and 0.94, and 1.67, 1.28 and 1.14. Of channels that lie in one cell (MAX_INTERLEAVED)
# the planar order interpolates all at once, and the tiled one packs few of them slowly: with three
# 0.33, 0.40, 0.43 and 0.22, and 0.67, 0.62, 0.47 and 0.26; with six 0.44, 0.66, 0.43 and 0.39, and
# 0.87, 1.05, 0.60 and 0.38; with eight 0.72, 0.61 and 0.51, and 1.03, 1.18 and 0.58.
cdef Py_ssize_t TILED_CHANNELS = 4
# Result of a batch of boxes beyond which it is written past the caches, where whoever reads it next
# finds less of it. Time of the common stores over that of these, a sum over the result after each
# counted in (v3, one thread): 0.93 at 0.8 MiB, 1.18 at 3.1, 1.06 at 4.6, 1.21 at 24.5.
cdef Py_ssize_t STREAMED_BYTES = 4 << 20
# Work below which two threads save next to nothing. Time of one over that of two (v3, teams at
# hand): 0.98 to 1.09 from an eighth to half of it, 1.04 to 1.26 at it, 1.25 to 1.33 at twice and
# four times, 1.58 at 17 times.
cdef Py_ssize_t SERIAL_WORK = 1 << 16
# Tasks per thread that even out their unequal lengths, and boxes that are still worth a task.
cdef Py_ssize_t TASKS_PER_THREAD = 4
cdef Py_ssize_t BOXES_PER_TASK = 8


cdef Schedule measure_boxes(const Call *call, Py_ssize_t boxes) noexcept nogil:
    """The room and the work that the boxes need."""
    cdef Schedule schedule
    cdef Py_ssize_t k, first, last, rows, columns
    memset(&schedule, 0, sizeof(schedule))
    schedule.ring_rows = schedule.distinct_y = schedule.distinct_x = schedule.terms = 1
    schedule.run = call.y.bins
    schedule.work = boxes * call.y.bins * call.x.bins
    for k in range(boxes):
        first, last = call.y.distinct_begin[k], call.y.distinct_end[k]
        columns = call.x.distinct_end[k] - call.x.distinct_begin[k]
        rows = last - first
        schedule.distinct_y = max(schedule.distinct_y, rows)
        schedule.distinct_x = max(schedule.distinct_x, columns)
        if rows:
            schedule.ring_rows = max(
                schedule.ring_rows, call.y.distinct[last - 1] - call.y.distinct[first] + 1
            )
        schedule.work += rows * columns
        schedule.terms = max(
            schedule.terms, most_terms(call.y, k), most_terms(call.x, k)
        )
    schedule.work *= call.channels
    return schedule


cdef void shorten_runs(
    const Call *call, Py_ssize_t boxes, const Overrides *overrides, Schedule *schedule
) noexcept nogil:
    """Have few enough rows of bins to a plan for the ring to stay in the cache.

    In a very wide map none are few enough; one is best there, for the room it needs.
    """
    cdef Py_ssize_t cell = LANES * sizeof(real)
    if overrides.run > 0:
        schedule.run = min(overrides.run, call.y.bins)
        if not schedule.in_place:
            schedule.ring_rows = tallest_run(call, boxes, schedule.run)
        return
    while (
        schedule.run > 1 and schedule.ring_rows > RING_BYTES // cell // call.width
        and boxes * runs_of(call, schedule) <= MOST_BOX_PLANS
    ):
        schedule.run = (schedule.run + 1) // 2
        schedule.ring_rows = tallest_run(call, boxes, schedule.run)


cdef Py_ssize_t tallest_run(const Call *call, Py_ssize_t boxes, Py_ssize_t run) noexcept nogil:
    """Most rows of the map from the first to the last that ``run`` rows of bins read."""
    cdef Py_ssize_t tallest = 1, k, first, top, bottom
    for k in range(boxes):
        first = 0
        while first < call.y.bins:
            find_rows(call.y, k, first, min(run, call.y.bins - first), &top, &bottom)
            tallest = max(tallest, bottom - top + 1)
            first += run
    return tallest


cdef Py_ssize_t most_terms(const Axis *axis, Py_ssize_t box) noexcept nogil:
    cdef Py_ssize_t most = 0, b, line
    for b in range(box * axis.bins, (box + 1) * axis.bins):
        for line in range(axis.line_begin[b], axis.line_end[b]):
            most = max(most, axis.tap_end[line] - axis.tap_begin[line])
    return most


cdef bint can_stream(const Call *call, const Schedule *schedule) noexcept nogil:
    """Whether the bins of a box lie side by side, channel by channel, and are all at hand."""
    return (
        schedule.order == TILED
        and schedule.group == call.y.bins
        and call.out.stored == 0
        and call.out.col == <Py_ssize_t>sizeof(real)
        and call.out.row == call.x.bins * call.out.col
        and call.out.channel == call.y.bins * call.out.row
    )


cdef bint is_too_large(const Call *call, const Schedule *schedule) noexcept nogil:
    """Whether the tiled order has no room within the budget (asked without overflowing)."""
    cdef Workspace unused
    cdef Py_ssize_t cell = LANES * sizeof(real)
    return (
        call.height > SCRATCH_BUDGET // <Py_ssize_t>sizeof(void *)
        or schedule.ring_rows > SCRATCH_BUDGET // cell // call.width
        or lay_out_workspace(&unused, NULL, call, schedule) > SCRATCH_BUDGET
    )


cdef Schedule make_schedule(
    const Call *call, Py_ssize_t boxes, Py_ssize_t images, const Overrides *overrides,
    int *num_threads
) noexcept nogil:
    cdef Schedule schedule = measure_boxes(call, boxes)
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t tasks
    schedule.in_place = (
        call.channels >= LANES
        and call.features.stored == 0
        and call.features.channel == <Py_ssize_t>sizeof(real)
    )
    schedule.order = TILED
    schedule.channels = LANES
    if schedule.in_place:
        schedule.ring_rows = 0
    if overrides.order == PLANAR or overrides.order != TILED and (
        call.channels < TILED_CHANNELS or is_interleaved(call) and call.mode != MAX_WEIGHTED
    ):
        schedule.order = PLANAR
    else:
        shorten_runs(call, boxes, overrides, &schedule)
        schedule.lines = max(CACHED_BYTES // (schedule.distinct_x * cell), 1)
        schedule.group = min(
            schedule.lines, max(CACHED_BYTES // (call.x.bins * cell), 1), schedule.run
        )
        if call.mode == AVG:  # one line to a row
            schedule.lines = schedule.group
        schedule.streams = can_stream(call, &schedule) and (
            overrides.streams > 0 or overrides.streams < 0
            and boxes * call.channels > STREAMED_BYTES // call.out.channel
        )
        if is_too_large(call, &schedule) and overrides.order != TILED:
            schedule.order = PLANAR
    if schedule.order == PLANAR:
        schedule.streams = False
        lay_rows(call, &schedule)
        schedule.run = call.y.bins
        schedule.ring_rows = 0
        schedule.lines = 1  # its lanes are rows of bins
        schedule.group = schedule.channels
    elif schedule.in_place:
        schedule.row_step = call.features.row // <Py_ssize_t>sizeof(real)
        schedule.cell_step = call.features.col // <Py_ssize_t>sizeof(real)
    else:
        schedule.row_step = call.width * LANES
        schedule.cell_step = LANES
    schedule.tile = 8 * ((call.width + 511) // 512)  # multiples of what is transposed together
    if overrides.parallel == 0 or (overrides.parallel < 0 and schedule.work < SERIAL_WORK):
        num_threads[0] = 1
    tasks = images * ((call.channels + schedule.channels - 1) // schedule.channels)
    schedule.splits = 1
    if overrides.splits > 0:
        schedule.splits = overrides.splits
    elif num_threads[0] > 1 and tasks < TASKS_PER_THREAD * num_threads[0]:
        schedule.splits = min(
            (TASKS_PER_THREAD * num_threads[0] + tasks - 1) // tasks,
            max(boxes // images // BOXES_PER_TASK, 1),
        )
    num_threads[0] = <int>min(<Py_ssize_t>num_threads[0], tasks * schedule.splits)
    return schedule
