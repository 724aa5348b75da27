# The entry point of the forward pass.

ORDERS = ("tiled", "planar")


cdef struct Wishes:
    # What tests may force, and nobody else: -1 (0 for splits and run) leaves it to the plan.
    int order
    int parallel
    Py_ssize_t splits
    Py_ssize_t run
    int streams


def forward(features, out, Taps taps, int num_threads, order, parallel, splits, run, streams):
    """Pool the boxes of ``taps``.

    ``features`` (N, C, H, W) and ``out`` (K, C, rows, cols) are of one dtype, the working type (or
    float16, where that is float32), with any strides, byte order and alignment: other layouts come
    as transposed views.
    """
    cdef Py_buffer source, target
    cdef Call call
    cdef Wishes wishes = wishes_of(order, parallel, splits, run, streams)
    PyObject_GetBuffer(features, &source, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(out, &target, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            set_call(&call, array_of(out, &target), source.shape, taps)
            call.features = array_of(features, &source)
            pool(&call, taps.last - taps.first, num_threads, &wishes)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)


cdef Wishes wishes_of(order, parallel, splits, run=None, streams=None):
    cdef Wishes wishes
    wishes.order = -1 if order is None else ORDERS.index(order)
    wishes.parallel = -1 if parallel is None else parallel
    wishes.splits = splits or 0
    wishes.run = run or 0
    wishes.streams = -1 if streams is None else streams
    return wishes


cdef void set_call(Call *call, Array out, const Py_ssize_t *shape, Taps taps):
    """All but the features: ``out`` is the array by boxes, ``shape`` that of the maps."""
    call.out = out
    call.channels = shape[1]
    call.height = shape[2]
    call.width = shape[3]
    call.mode = taps.tables.mode
    call.y = &taps.tables.y
    call.x = &taps.tables.x
    call.image = taps.tables.image
    call.target = taps.target


cdef Array array_of(array, const Py_buffer *view):
    cdef Array found
    cdef int axis
    cdef size_t bits = <size_t>view.buf
    found.data = <char *>view.buf
    found.image, found.channel = view.strides[0], view.strides[1]
    found.row, found.col = view.strides[2], view.strides[3]
    for axis in range(4):
        bits |= <size_t>view.strides[axis]
    found.stored = HALF if view.itemsize == 2 else 0
    if bits & <size_t>(view.itemsize - 1):
        found.stored |= UNALIGNED
    if not array.dtype.isnative:
        found.stored |= SWAPPED
    return found


cdef int pool(
    const Call *call, Py_ssize_t boxes, int num_threads, const Wishes *wishes
) except -1:
    cdef Plan plan
    cdef Desk unused
    cdef Book book
    cdef Task *tasks = NULL
    cdef char *recipes = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, blocks, size, count, t
    with nogil:
        images = count_images(call, boxes)
        plan = make_plan(call, boxes, images, wishes, &num_threads)
        blocks = (call.channels + plan.channels - 1) // plan.channels
        size = lay_desk(&unused, NULL, call, &plan) + 64
        tasks = <Task *>malloc(images * blocks * plan.splits * sizeof(Task))
        scratch = <char *>malloc(num_threads * size)
        recipes = <char *>malloc(lay_book(&book, NULL, call, boxes, &plan) + 64)
    try:
        if tasks == NULL or scratch == NULL or recipes == NULL:
            raise MemoryError("no memory to pool in")
        num_threads = granted(num_threads)
        lay_book(&book, aligned(recipes), call, boxes, &plan)
        if num_threads > 1:
            for t in prange(boxes, nogil=True, num_threads=num_threads, schedule="static"):
                write_box(call, &plan, t, &book)
        else:
            with nogil:
                for t in range(boxes):
                    write_box(call, &plan, t, &book)
        if book.count > boxes:
            with nogil:
                qsort(book.recipe, book.count, sizeof(Recipe), compare_recipes)
        with nogil:
            count = make_tasks(call, boxes, &plan, tasks)
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                do_task(call, &plan, &book, &tasks[t], scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    do_task(call, &plan, &book, &tasks[t], scratch)
    finally:
        free(tasks)
        free(recipes)
        free(scratch)
    return 0


cdef void write_box(
    const Call *call, const Plan *plan, Py_ssize_t k, const Book *book
) noexcept nogil:
    """Write what the order of the loops reads of the ``k``-th box."""
    if plan.order == TILED:
        write_recipes(call, plan, k, book)
    else:
        write_sheet(call, plan, k, book)


cdef Py_ssize_t count_images(const Call *call, Py_ssize_t boxes) noexcept nogil:
    cdef Py_ssize_t i, images = 1
    for i in range(1, boxes):
        if call.image[i] != call.image[i - 1]:
            images += 1
    return images


cdef Py_ssize_t make_tasks(
    const Call *call, Py_ssize_t boxes, const Plan *plan, Task *tasks
) noexcept nogil:
    """Cut the call by image, channels and boxes; returns the number of tasks."""
    cdef Py_ssize_t begin = 0, end, split, channel, count = 0, share, first
    cdef Py_ssize_t runs = runs_of(call, plan)
    while begin < boxes:
        end = begin + 1
        while end < boxes and call.image[end] == call.image[begin]:
            end += 1
        channel = 0
        while channel < call.channels:
            for split in range(plan.splits):
                share = (end - begin) * runs
                first = begin * runs
                tasks[count].image = call.image[begin]
                tasks[count].first_channel = channel
                tasks[count].channels = min(plan.channels, call.channels - channel)
                tasks[count].begin = first + share * split // plan.splits
                tasks[count].end = first + share * (split + 1) // plan.splits
                tasks[count].lane = 0
                if plan.in_place and plan.order == TILED:
                    # The last block reads whole cells too, with channels of the one before.
                    tasks[count].lane = LANES - tasks[count].channels
                count += 1
            channel += plan.channels
        begin = end
    return count


cdef void do_task(
    const Call *call, const Plan *plan, const Book *book, const Task *task, char *scratch
) noexcept nogil:
    cdef Desk desk
    lay_desk(&desk, aligned(scratch), call, plan)
    put(desk.lowest, all_lanes(-INFINITY))
    if plan.order == TILED:
        tiled_task(call, plan, book, task, &desk)
        if plan.streams:
            end_streaming()
    else:
        planar_task(call, plan, book, task, &desk)
