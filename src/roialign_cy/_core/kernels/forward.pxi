# The entry point of the forward pass.


def forward(features, out, Taps taps, int num_threads, chosen):
    """Pool the boxes of ``taps``.

    ``features`` (N, C, H, W) and ``out`` (K, C, rows, cols) are of one dtype, the working type (or
    float16, where that is float32), with any strides, byte order and alignment: other layouts come
    as transposed views. ``chosen`` are the overrides of the schedule, or None.
    """
    cdef View source = View(features)
    cdef View target = View(out, True)
    cdef Call call = call_of(target, &source.array, taps)
    cdef Overrides overrides = overrides_of(chosen)
    call.features = source.array
    pool(&call, taps.last - taps.first, num_threads, &overrides)


cdef int pool(
    const Call *call, Py_ssize_t boxes, int num_threads, const Overrides *overrides
) except -1:
    cdef Schedule schedule
    cdef Workspace unused
    cdef Plans plans
    cdef Task *tasks = NULL
    cdef char *box_plans = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, blocks, size, count, t
    with nogil:
        images = count_images(call, boxes)
        schedule = make_schedule(call, boxes, images, overrides, &num_threads)
        blocks = (call.channels + schedule.channels - 1) // schedule.channels
        size = lay_out_workspace(&unused, NULL, call, &schedule) + 64
        tasks = <Task *>malloc(images * blocks * schedule.splits * sizeof(Task))
        scratch = <char *>malloc(num_threads * size)
        box_plans = <char *>malloc(lay_out_plans(&plans, NULL, call, boxes, &schedule) + 64)
    try:
        if tasks == NULL or scratch == NULL or box_plans == NULL:
            raise MemoryError("no memory to pool in")
        num_threads = granted(num_threads)
        lay_out_plans(&plans, aligned(box_plans), call, boxes, &schedule)
        if num_threads > 1:
            for t in prange(boxes, nogil=True, num_threads=num_threads, schedule="static"):
                write_box(call, &schedule, t, &plans)
        else:
            with nogil:
                for t in range(boxes):
                    write_box(call, &schedule, t, &plans)
        if plans.count > boxes:
            with nogil:
                qsort(plans.plan, plans.count, sizeof(BoxPlan), compare_box_plans)
        with nogil:
            count = make_tasks(call, boxes, &schedule, tasks)
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                do_task(call, &schedule, &plans, &tasks[t], scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    do_task(call, &schedule, &plans, &tasks[t], scratch)
    finally:
        free(tasks)
        free(box_plans)
        free(scratch)
    return 0


cdef void write_box(
    const Call *call, const Schedule *schedule, Py_ssize_t k, const Plans *plans
) noexcept nogil:
    """Write what the order of the loops reads of the ``k``-th box."""
    if schedule.order == TILED:
        write_box_plans(call, schedule, k, plans)
    else:
        write_planar_box(call, schedule, k, plans)


cdef Py_ssize_t count_images(const Call *call, Py_ssize_t boxes) noexcept nogil:
    cdef Py_ssize_t i, images = 1
    for i in range(1, boxes):
        if call.image[i] != call.image[i - 1]:
            images += 1
    return images


cdef Py_ssize_t make_tasks(
    const Call *call, Py_ssize_t boxes, const Schedule *schedule, Task *tasks
) noexcept nogil:
    """Cut the call by image, channels and boxes; returns the number of tasks."""
    cdef Py_ssize_t begin = 0, end, split, channel, count = 0, share, first
    cdef Py_ssize_t runs = runs_of(call, schedule)
    while begin < boxes:
        end = begin + 1
        while end < boxes and call.image[end] == call.image[begin]:
            end += 1
        channel = 0
        while channel < call.channels:
            for split in range(schedule.splits):
                share = (end - begin) * runs
                first = begin * runs
                tasks[count].image = call.image[begin]
                tasks[count].first_channel = channel
                tasks[count].channels = min(schedule.channels, call.channels - channel)
                tasks[count].begin = first + share * split // schedule.splits
                tasks[count].end = first + share * (split + 1) // schedule.splits
                tasks[count].lane = 0
                if schedule.in_place and schedule.order == TILED:
                    # The last block reads whole cells too, with channels of the one before.
                    tasks[count].lane = LANES - tasks[count].channels
                count += 1
            channel += schedule.channels
        begin = end
    return count


cdef void do_task(
    const Call *call, const Schedule *schedule, const Plans *plans, const Task *task, char *scratch
) noexcept nogil:
    cdef Workspace work
    lay_out_workspace(&work, aligned(scratch), call, schedule)
    store_lanes(work.lowest, all_lanes(-INFINITY))
    if schedule.order == TILED:
        tiled_task(call, schedule, plans, task, &work)
        if schedule.streams:
            end_streaming()
    else:
        planar_task(call, schedule, plans, task, &work)
