# The entry points of the backward pass.


def feature_gradient(
    grad_output, features, out, Taps taps, Update update, int num_threads, chosen
):
    """Gradient with respect to the features, from the boxes of ``taps``, into ``out``.

    Arrays as those of `forward`, but ``out`` (N, C, H, W) is of the working type. ``features`` is
    None where they are not needed. ``update`` says what becomes of what ``out`` holds.
    """
    cdef View grads = View(grad_output)
    cdef View target = View(out, True)
    cdef View source
    cdef Gradient gradient
    cdef Overrides overrides = overrides_of(chosen)
    memset(&gradient, 0, sizeof(gradient))
    gradient.call = call_of(grads, &target.array, taps)
    gradient.map = target.array
    gradient.update = update
    if features is not None:
        source = View(features)
        gradient.call.features = source.array
    run_feature_gradient(
        &gradient, taps.last - taps.first, target.array.images, num_threads, &overrides
    )


cdef int run_feature_gradient(
    Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, int num_threads,
    const Overrides *overrides
) except -1:
    cdef GradientSchedule schedule
    cdef GradientWorkspace unused
    cdef const Call *call = &gradient.call
    cdef GradientTask *tasks = NULL
    cdef char *tables = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t blocks, size, count, t, at = 0
    with nogil:
        schedule = schedule_feature_gradient(gradient, boxes, images, overrides, &num_threads)
        blocks = (call.channels + schedule.channels - 1) // schedule.channels
        size = lay_out_gradient_workspace(&unused, NULL, call, &schedule) + 64
        lay_out_both_transposed(gradient, boxes, NULL, &at)
        tables = <char *>malloc(at + 64)
        tasks = <GradientTask *>malloc(images * blocks * schedule.bands * sizeof(GradientTask))
        scratch = <char *>malloc(num_threads * size)
    try:
        if tasks == NULL or scratch == NULL or tables == NULL:
            raise MemoryError("no memory for the gradient with respect to the features")
        if max(call.y.tap_capacity, call.x.tap_capacity) > INT32_MAX:  # see TransposedTaps.offset
            raise MemoryError(
                "a box reads too many cells for the gradient with respect to the features"
            )
        with nogil:
            at = 0
            lay_out_both_transposed(gradient, boxes, aligned(tables), &at)
            count = make_map_tasks(gradient, boxes, images, &schedule, tasks)
        num_threads = granted(num_threads)
        if num_threads > 1:
            if call.mode == AVG:
                for t in prange(boxes, nogil=True, num_threads=num_threads, schedule="static"):
                    transpose_taps(&gradient.y, call.y, t)
                    transpose_taps(&gradient.x, call.x, t)
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                feature_gradient_task(gradient, &schedule, &tasks[t], scratch + threadid() * size)
        else:
            with nogil:
                if call.mode == AVG:
                    for t in range(boxes):
                        transpose_taps(&gradient.y, call.y, t)
                        transpose_taps(&gradient.x, call.x, t)
                for t in range(count):
                    feature_gradient_task(gradient, &schedule, &tasks[t], scratch)
    finally:
        free(tasks)
        free(scratch)
        free(tables)
    return 0


cdef void lay_out_both_transposed(
    Gradient *gradient, Py_ssize_t boxes, char *memory, Py_ssize_t *at
) noexcept nogil:
    if gradient.call.mode == AVG:
        lay_out_transposed(&gradient.y, gradient.call.y, boxes, memory, at)
        lay_out_transposed(&gradient.x, gradient.call.x, boxes, memory, at)


cdef bint needs_too_much_memory(const Call *call, const GradientSchedule *schedule) noexcept nogil:
    """Whether the tiled order has no room for the boxes (asked without overflowing)."""
    cdef GradientWorkspace unused
    return (
        call.height > SCRATCH_BUDGET // <Py_ssize_t>sizeof(void *)
        or schedule.ring_rows > SCRATCH_BUDGET // (LANES * <Py_ssize_t>sizeof(real)) // call.width
        or lay_out_gradient_workspace(&unused, NULL, call, schedule) > SCRATCH_BUDGET
    )


cdef GradientSchedule schedule_feature_gradient(
    const Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const Overrides *overrides,
    int *num_threads,
) noexcept nogil:
    """The cost model of the feature gradient. Nothing it decides changes a bit."""
    cdef const Call *call = &gradient.call
    cdef Schedule measured = measure_boxes(call, boxes)
    cdef GradientSchedule schedule
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t tasks, work = measured.work
    if gradient.update == OVERWRITE:  # zeros are written at a fraction of what a term costs
        work += images * call.channels * call.height * call.width // 4
    memset(&schedule, 0, sizeof(schedule))
    schedule.order = TILED
    schedule.channels = LANES
    schedule.ring_rows = measured.ring_rows
    schedule.distinct_x = measured.distinct_x
    schedule.terms = max(call.y.bins, call.x.bins, 2)
    schedule.x_lines = most_lines(call.x, boxes) if call.mode == MAX else 0
    schedule.group = min(
        max(CACHED_BYTES // (max(schedule.distinct_x, call.x.bins) * cell), 1), call.y.bins
    )
    if overrides.order == PLANAR or (
        overrides.order != TILED and call.channels < TILED_CHANNELS
    ) or needs_too_much_memory(call, &schedule):
        schedule.order = PLANAR
        schedule.channels = 1
        schedule.group = 1
    if overrides.parallel == 0 or (overrides.parallel < 0 and work < SERIAL_WORK):
        num_threads[0] = 1
    tasks = images * ((call.channels + schedule.channels - 1) // schedule.channels)
    schedule.bands = 1
    if overrides.splits > 0:
        schedule.bands = overrides.splits
    elif num_threads[0] > 1 and tasks < BANDED_TASKS * num_threads[0]:
        schedule.bands = min(
            (BANDED_TASKS * num_threads[0] + tasks - 1) // tasks, call.height // ROWS_PER_BAND
        )
    schedule.bands = max(min(schedule.bands, call.height), 1)
    num_threads[0] = <int>min(<Py_ssize_t>num_threads[0], tasks * schedule.bands)
    return schedule


# Tasks per thread below which the map is cut into bands, and the rows that are worth one: a box
# that lies in two of them is summed along its columns twice.
cdef Py_ssize_t BANDED_TASKS = 2
cdef Py_ssize_t ROWS_PER_BAND = 16


cdef Py_ssize_t make_map_tasks(
    const Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const GradientSchedule *schedule,
    GradientTask *tasks,
) noexcept nogil:
    """Cut what is written by image, channels and rows; returns the number of tasks."""
    cdef const Call *call = &gradient.call
    cdef Py_ssize_t begin = 0, end, image, channel, band, count = 0
    for image in range(images):
        end = begin
        while end < boxes and call.image[end] == image:
            end += 1
        channel = 0
        while channel < call.channels and (gradient.update == OVERWRITE or begin < end):
            for band in range(schedule.bands):
                tasks[count].image = image
                tasks[count].first_channel = channel
                tasks[count].channels = min(schedule.channels, call.channels - channel)
                tasks[count].first_row = call.height * band // schedule.bands
                tasks[count].last_row = call.height * (band + 1) // schedule.bands
                tasks[count].begin = begin
                tasks[count].end = end
                count += 1
            channel += schedule.channels
        begin = end
    return count


cdef void feature_gradient_task(
    const Gradient *gradient, const GradientSchedule *schedule, const GradientTask *task,
    char *scratch
) noexcept nogil:
    cdef GradientWorkspace work
    lay_out_gradient_workspace(&work, aligned(scratch), &gradient.call, schedule)
    if schedule.order == TILED:
        feature_gradient_tiled(gradient, schedule, task, &work)
    else:
        feature_gradient_planar(gradient, task, &work)


def box_gradient(grad_output, features, out, Taps taps, int num_threads, chosen):
    """Gradient with respect to the boxes of ``taps``, which have slopes, into ``out``.

    ``out`` (K, 4) is C-contiguous and of doubles, the other arrays are as those of `forward`.
    """
    cdef View grads = View(grad_output)
    cdef View source = View(features)
    cdef BoxGradient gradient
    cdef Overrides overrides = overrides_of(chosen)
    cdef Py_buffer target
    gradient.call = call_of(grads, &source.array, taps)
    gradient.call.features = source.array
    # No typed memoryview: their code would be a third of every kernel module.
    PyObject_GetBuffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    try:
        gradient.out = <double *>target.buf
        run_box_gradient(&gradient, taps.last - taps.first, num_threads, &overrides)
    finally:
        PyBuffer_Release(&target)


cdef int run_box_gradient(
    BoxGradient *gradient, Py_ssize_t boxes, int num_threads, const Overrides *overrides
) except -1:
    cdef GradientSchedule schedule
    cdef GradientWorkspace unused
    cdef const Call *call = &gradient.call
    cdef GradientTask *tasks = NULL
    cdef double *blocks = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, size, count, t
    gradient.blocks = (call.channels + LANES - 1) // LANES
    with nogil:
        images = count_images(call, boxes)
        schedule = schedule_box_gradient(gradient, boxes, images, overrides, &num_threads)
        size = lay_out_gradient_workspace(&unused, NULL, call, &schedule) + 64
        blocks = <double *>malloc(boxes * gradient.blocks * 4 * sizeof(double))
        tasks = <GradientTask *>malloc(
            images * gradient.blocks * schedule.splits * sizeof(GradientTask)
        )
        scratch = <char *>malloc(num_threads * size)
    gradient.of_blocks = blocks
    try:
        if tasks == NULL or scratch == NULL or blocks == NULL:
            raise MemoryError("no memory for the gradient with respect to the boxes")
        with nogil:
            memset(blocks, 0, boxes * gradient.blocks * 4 * sizeof(double))
            count = make_box_tasks(call, boxes, &schedule, tasks)
        num_threads = granted(num_threads)
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                box_gradient_task(gradient, &schedule, &tasks[t], scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    box_gradient_task(gradient, &schedule, &tasks[t], scratch)
        with nogil:
            add_blocks(gradient, boxes)
    finally:
        free(tasks)
        free(blocks)
        free(scratch)
    return 0


cdef GradientSchedule schedule_box_gradient(
    const BoxGradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const Overrides *overrides,
    int *num_threads,
) noexcept nogil:
    """The cost model of the box gradient. Nothing it decides changes a bit."""
    cdef const Call *call = &gradient.call
    cdef Schedule measured = measure_boxes(call, boxes)
    cdef GradientSchedule schedule
    cdef Py_ssize_t tasks = images * gradient.blocks
    memset(&schedule, 0, sizeof(schedule))
    schedule.by_boxes = True
    schedule.order = TILED
    schedule.channels = LANES
    schedule.ring_rows = measured.ring_rows
    schedule.distinct_x = measured.distinct_x
    schedule.distinct_y = measured.distinct_y
    schedule.terms = max(measured.terms, 2)
    schedule.x_lines = most_lines(call.x, boxes) if call.mode == MAX else 0
    schedule.group = call.y.bins
    if overrides.order == PLANAR or needs_too_much_memory(call, &schedule):
        schedule.order = PLANAR
        schedule.group = 1
    if overrides.parallel == 0 or (overrides.parallel < 0 and measured.work < SERIAL_WORK):
        num_threads[0] = 1
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


cdef Py_ssize_t make_box_tasks(
    const Call *call, Py_ssize_t boxes, const GradientSchedule *schedule, GradientTask *tasks
) noexcept nogil:
    """Cut the call by image, channels and boxes; returns the number of tasks."""
    cdef Py_ssize_t begin = 0, end, split, channel, count = 0
    while begin < boxes:
        end = begin + 1
        while end < boxes and call.image[end] == call.image[begin]:
            end += 1
        channel = 0
        while channel < call.channels:
            for split in range(schedule.splits):
                tasks[count].image = call.image[begin]
                tasks[count].first_channel = channel
                tasks[count].channels = min(<Py_ssize_t>LANES, call.channels - channel)
                tasks[count].first_row = 0
                tasks[count].last_row = call.height
                tasks[count].begin = begin + (end - begin) * split // schedule.splits
                tasks[count].end = begin + (end - begin) * (split + 1) // schedule.splits
                count += 1
            channel += LANES
        begin = end
    return count


cdef void box_gradient_task(
    const BoxGradient *gradient, const GradientSchedule *schedule, const GradientTask *task,
    char *scratch
) noexcept nogil:
    cdef GradientWorkspace work
    lay_out_gradient_workspace(&work, aligned(scratch), &gradient.call, schedule)
    if schedule.order == TILED:
        differentiate_tiled(gradient, schedule, task, &work)
    else:
        differentiate_planar(gradient, task, &work)


cdef void add_blocks(const BoxGradient *gradient, Py_ssize_t boxes) noexcept nogil:
    """Add what the blocks of channels have, in their order."""
    cdef Py_ssize_t k, block, side
    cdef const double *value = gradient.of_blocks
    cdef double *sides
    for k in range(boxes):
        sides = gradient.out + gradient.call.target[k] * 4
        memset(sides, 0, 4 * sizeof(double))
        for block in range(gradient.blocks):
            for side in range(4):
                sides[side] += value[side]
            value += 4
        for side in range(4):
            if sides[side] != sides[side]:
                sides[side] = NAN  # of one sign and payload
