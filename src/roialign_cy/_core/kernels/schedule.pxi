# The cost model: which order a call runs in, how it is cut into tasks, on how many threads.
# Nothing decided here changes a bit of the result.

# Scratch memory that one thread may take, in bytes. If rows that boxes share would take more, they
# are packed on demand: memory then grows with the cells that a box reads along an axis, as the
# tables do, and never with the rows times the columns of anything.
cdef Py_ssize_t SCRATCH_BYTES = 32 << 20
# Interpolated rows, and output rows in the making, that stay in the second-level cache, in bytes.
# Times with less, and what the other choices below were measured by, are in
# docs/design/decisions.md.
cdef Py_ssize_t CACHED_BYTES = 128 << 10
# Packed rows that stay in the second-level cache, in bytes. Instead of more, boxes are worked on by
# fewer rows of bins at a time, which need fewer rows of the map.
cdef Py_ssize_t RING_BYTES = 768 << 10
# Box plans, of 152 bytes each, beyond which runs are not halved any more: there are twice as many
# at most.
cdef Py_ssize_t MOST_BOX_PLANS = 1 << 15
# From this many channels on, packing them side by side pays, though LANES of them are computed.
# (Those that lie in one cell, up to MAX_INTERLEAVED, the planar order interpolates all at once.)
cdef Py_ssize_t TILED_CHANNELS = 4
# Result of a batch of boxes, in bytes, from which on it bypasses the caches. (Whoever reads it next
# finds less of it there.)
cdef Py_ssize_t STREAMED_BYTES = 4 << 20
# Work below which two threads save next to nothing.
cdef Py_ssize_t SERIAL_WORK = 1 << 16
# Tasks per thread that even out their unequal lengths, and boxes that are still worth a task.
cdef Py_ssize_t TASKS_PER_THREAD = 4
cdef Py_ssize_t BOXES_PER_TASK = 8
# The same of a feature gradient, which is cut by rows of the map, and the rows that are worth a
# task: a box that lies in two of them is summed along its columns twice.
cdef Py_ssize_t GRADIENT_TASKS_PER_THREAD = 2
cdef Py_ssize_t ROWS_PER_TASK = 16


cdef Schedule measure_boxes(const Call *call) noexcept nogil:
    """What the boxes need at most, and cost together."""
    cdef Schedule schedule
    cdef Py_ssize_t k, first, last, rows, columns
    memset(&schedule, 0, sizeof(schedule))
    schedule.ring_rows = schedule.distinct_y = schedule.distinct_x = schedule.terms = 1
    schedule.run = call.y.bins
    schedule.cost = call.boxes * call.y.bins * call.x.bins
    for k in range(call.boxes):
        first, last = call.y.distinct_begin[k], call.y.distinct_end[k]
        columns = call.x.distinct_end[k] - call.x.distinct_begin[k]
        rows = last - first
        schedule.distinct_y = max(schedule.distinct_y, rows)
        schedule.distinct_x = max(schedule.distinct_x, columns)
        if rows:
            schedule.ring_rows = max(
                schedule.ring_rows, call.y.distinct[last - 1] - call.y.distinct[first] + 1
            )
        schedule.cells_read += rows * columns
        schedule.terms = max(
            schedule.terms, most_terms(call.y, k), most_terms(call.x, k)
        )
    schedule.cost = (schedule.cost + schedule.cells_read) * call.channels
    return schedule


cdef void shorten_runs(
    const Call *call, const Overrides *overrides, Schedule *schedule
) noexcept nogil:
    """Give a plan so few rows of bins that the ring stays in the cache.

    In a very wide map even one row is too many, but still best: it needs the least memory.
    """
    cdef Py_ssize_t cell = LANES * sizeof(real)
    if overrides.run > 0:
        schedule.run = min(overrides.run, call.y.bins)
        if not schedule.in_place:
            schedule.ring_rows = tallest_run(call, schedule.run)
        return
    while (
        schedule.run > 1 and schedule.ring_rows > RING_BYTES // cell // call.width
        and call.boxes * runs_of(call, schedule) <= MOST_BOX_PLANS
    ):
        schedule.run = (schedule.run + 1) // 2
        schedule.ring_rows = tallest_run(call, schedule.run)


cdef Py_ssize_t tallest_run(const Call *call, Py_ssize_t run) noexcept nogil:
    """Most rows of the map, from the first to the last that a run of ``run`` rows of bins reads."""
    cdef Py_ssize_t tallest = 1, k, first, top, bottom
    for k in range(call.boxes):
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


cdef bint is_large(const Call *call) noexcept nogil:
    """Whether the result is too large to be found in a cache later."""
    cdef Py_ssize_t bytes_of_a_box = call.y.bins * call.x.bins * sizeof(real)
    return call.boxes * call.channels > STREAMED_BYTES // bytes_of_a_box


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


cdef bint can_stream_cells(const Call *call, const Schedule *schedule) noexcept nogil:
    """Whether the channels of a bin that are worked on together are whole cache lines."""
    return (
        schedule.order == TILED
        and call.out.stored == 0
        and call.out.channel == <Py_ssize_t>sizeof(real)
        and not (
            <Py_ssize_t>call.out.data | call.out.image | call.out.row | call.out.col
        ) & (CACHE_LINE - 1)
    )


cdef bint reads_in_place(
    const Call *call, Py_ssize_t images, const Overrides *overrides, const Schedule *schedule
) noexcept nogil:
    """Whether cells are read where they lie in a map with its channels last.

    Not where boxes read more cells than it has: packed cells lie closer together, and so stay in
    the cache until they are read again.
    """
    cdef Py_ssize_t cell = LANES * sizeof(real)
    if not (
        call.channels >= LANES
        and call.features.stored == 0
        and call.features.channel == <Py_ssize_t>sizeof(real)
    ):
        return False
    if overrides.in_place >= 0:
        return overrides.in_place
    return (
        schedule.cells_read // images <= call.height * call.width
        or schedule.ring_rows > SCRATCH_BYTES // cell // call.width
    )


cdef Py_ssize_t most_lines(const Axis *axis, Py_ssize_t boxes) noexcept nogil:
    cdef Py_ssize_t most = 0, box
    for box in range(boxes):
        most = max(most, lines_of(axis, box))
    return most


cdef Py_ssize_t most_lines_of_a_bin(const Axis *axis, Py_ssize_t boxes) noexcept nogil:
    cdef Py_ssize_t most = 0, bin
    for bin in range(boxes * axis.bins):
        most = max(most, axis.line_end[bin] - axis.line_begin[bin])
    return most


cdef void choose_on_demand(Schedule *schedule) noexcept nogil:
    schedule.on_demand = True
    schedule.ring_rows, schedule.ring_columns = 2, schedule.distinct_x


cdef bint is_planar(
    const Call *call, const Overrides *overrides, const Schedule *schedule
) noexcept nogil:
    """Whether a forward pass runs in the planar order: if it can, and pays, or is forced to."""
    if call.mode == MAX_WEIGHTED or schedule.distinct_x > MAX_SEGMENT:
        return False
    if overrides.order >= 0:
        return overrides.order == PLANAR
    return call.channels < TILED_CHANNELS or is_interleaved(call)


cdef bint needs_too_much(
    const Call *call, const Overrides *overrides, const Schedule *schedule
) noexcept nogil:
    cdef Py_ssize_t most = overrides.scratch_bytes if overrides.scratch_bytes else SCRATCH_BYTES
    cdef Py_ssize_t cell = LANES * sizeof(real)
    return (
        schedule.ring_rows > most // cell // schedule.ring_columns  # whose product may overflow
        or workspace_bytes(call, schedule) > most
    )


cdef void choose_group(const Call *call, Schedule *schedule) noexcept nogil:
    """How many rows of bins, and lines of them, are worked on at a time in a forward pass."""
    cdef Py_ssize_t cell = LANES * sizeof(real)
    schedule.lines = max(CACHED_BYTES // (schedule.distinct_x * cell), 1)
    schedule.group = min(
        schedule.lines, max(CACHED_BYTES // (call.x.bins * cell), 1), schedule.run
    )
    if call.mode == AVG:  # one line to a row
        schedule.lines = schedule.group


cdef void choose_forward(
    const Call *call, Py_ssize_t images, const Overrides *overrides, Schedule *schedule
) noexcept nogil:
    """The order of a forward pass, and how much of it is done at a time."""
    schedule.strip = 8 * ((call.width + 511) // 512)  # a multiple of what is transposed together
    if is_planar(call, overrides, schedule):
        schedule.order = PLANAR
        lay_rows(call, schedule)
        schedule.lines = 1  # its lanes are rows of bins
        schedule.group = schedule.channels
        return
    schedule.in_place = reads_in_place(call, images, overrides, schedule)
    if schedule.in_place:
        schedule.ring_rows = 0
    shorten_runs(call, overrides, schedule)
    choose_group(call, schedule)
    if not schedule.in_place and needs_too_much(call, overrides, schedule):
        choose_on_demand(schedule)
        schedule.run = call.y.bins
        choose_group(call, schedule)
    if overrides.streams > 0 or overrides.streams < 0 and is_large(call):
        schedule.streams = can_stream(call, schedule)
        schedule.streams_cells = can_stream_cells(call, schedule)
    schedule.has_ring = not schedule.in_place and not schedule.on_demand
    if schedule.in_place:
        schedule.row_step = call.features.row // <Py_ssize_t>sizeof(real)
        schedule.cell_step = call.features.col // <Py_ssize_t>sizeof(real)
    else:
        schedule.row_step = call.width * LANES if schedule.has_ring else 1
        schedule.cell_step = LANES


cdef void choose_gradient(
    const Call *call, Py_ssize_t images, const Overrides *overrides, Schedule *schedule
) noexcept nogil:
    """How much of a gradient is done at a time."""
    cdef Py_ssize_t cell = LANES * sizeof(real)
    schedule.in_place = (
        call.channels % LANES == 0 and reads_in_place(call, images, overrides, schedule)
    )
    schedule.terms = max(schedule.terms, 2)
    schedule.group = call.y.bins
    if call.mode == MAX:
        schedule.x_lines = most_lines(call.x, call.boxes)
        schedule.points = (
            most_lines_of_a_bin(call.y, call.boxes) * most_lines_of_a_bin(call.x, call.boxes)
        )
    if call.operation == FEATURE_GRADIENT:
        schedule.terms = max(schedule.terms, call.y.bins)
        schedule.group = min(
            max(CACHED_BYTES // (max(schedule.distinct_x, call.x.bins) * cell), 1), call.y.bins
        )
        if call.update == OVERWRITE:  # zeros are written at a fraction of what a term costs
            schedule.cost += call.map.images * call.channels * call.height * call.width // 4
    if needs_too_much(call, overrides, schedule):
        choose_on_demand(schedule)
        if call.operation == BOX_GRADIENT:
            schedule.group = 1


cdef Schedule make_schedule(
    const Call *call, Py_ssize_t images, const Overrides *overrides, int *num_threads
) noexcept nogil:
    """Make all choices; ``images`` is how many have work, and ``num_threads`` an upper bound."""
    cdef Schedule schedule = measure_boxes(call)
    schedule.order = TILED
    schedule.channels = LANES
    schedule.ring_columns = call.width
    if call.operation == FORWARD:
        choose_forward(call, images, overrides, &schedule)
    else:
        choose_gradient(call, images, overrides, &schedule)
    choose_tasks(call, images, overrides, &schedule, num_threads)
    return schedule


cdef void choose_tasks(
    const Call *call, Py_ssize_t images, const Overrides *overrides, Schedule *schedule,
    int *num_threads,
) noexcept nogil:
    """How many tasks an image and a block of channels are cut into, for how many threads."""
    cdef Py_ssize_t tasks, wanted
    schedule.splits = 1
    if overrides.parallel == 0 or (overrides.parallel < 0 and schedule.cost < SERIAL_WORK):
        num_threads[0] = 1
    tasks = images * ((call.channels + schedule.channels - 1) // schedule.channels)
    wanted = num_threads[0] * (
        GRADIENT_TASKS_PER_THREAD if call.operation == FEATURE_GRADIENT else TASKS_PER_THREAD
    )
    if overrides.splits > 0:
        schedule.splits = overrides.splits
    elif num_threads[0] > 1 and tasks < wanted:
        schedule.splits = min((wanted + tasks - 1) // tasks, most_splits(call, images))
    if call.operation == FEATURE_GRADIENT:
        schedule.splits = min(schedule.splits, call.height)
    num_threads[0] = <int>min(<Py_ssize_t>num_threads[0], tasks * schedule.splits)


cdef Py_ssize_t most_splits(const Call *call, Py_ssize_t images) noexcept nogil:
    if call.operation == FEATURE_GRADIENT:
        return max(call.height // ROWS_PER_TASK, 1)
    return max(call.boxes // images // BOXES_PER_TASK, 1)


cdef Py_ssize_t images_with_work(const Call *call) noexcept nogil:
    """Those with boxes; all, where zeros have to be written into the others."""
    cdef Py_ssize_t k, images = 1
    if call.operation == FEATURE_GRADIENT and call.update == OVERWRITE:
        return call.map.images
    for k in range(1, call.boxes):
        if call.image[k] != call.image[k - 1]:
            images += 1
    return images


cdef Py_ssize_t make_tasks(
    const Call *call, const Schedule *schedule, Task *tasks
) noexcept nogil:
    """Cut the call by image and channels, then by boxes or by rows; returns how many tasks."""
    cdef bint is_by_rows = call.operation == FEATURE_GRADIENT
    cdef bint is_everywhere = is_by_rows and call.update == OVERWRITE
    cdef bint has_runs = call.operation == FORWARD and call.points == NULL
    cdef Py_ssize_t runs = runs_of(call, schedule) if has_runs else 1
    cdef Py_ssize_t image = 0, begin = 0, end, channel, split, count = 0, share
    cdef Py_ssize_t splits = schedule.splits
    cdef Task task
    while begin < call.boxes or (is_everywhere and image < call.map.images):
        if not is_everywhere:
            image = call.image[begin]
        end = begin
        while end < call.boxes and call.image[end] == image:
            end += 1
        share = (end - begin) * runs
        task.image = image
        channel = 0
        while channel < call.channels:
            task.first_channel = channel
            task.channels = min(schedule.channels, call.channels - channel)
            task.lane = 0
            if schedule.in_place:
                # The last block reads whole cells, too, with channels of the block before.
                task.lane = LANES - task.channels
            for split in range(splits):
                task.begin, task.end = begin, end
                task.first_row, task.last_row = 0, call.height
                if is_by_rows:
                    task.first_row = call.height * split // splits
                    task.last_row = call.height * (split + 1) // splits
                else:
                    task.begin = begin * runs + share * split // splits
                    task.end = begin * runs + share * (split + 1) // splits
                tasks[count] = task
                count += 1
            channel += schedule.channels
        begin = end
        image += 1
    return count
