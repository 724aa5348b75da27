# The entry points of the backward pass.

HELD = ("anything", "zeros", "sums")


def spread(
    grad_output, features, out, Taps taps, held, int num_threads, order, parallel, splits
):
    """Gradient by the features, from the boxes of ``taps``, into ``out``.

    Arrays as those of `forward`, but ``out`` (N, C, H, W) is of the working type. ``features`` is
    None where they are not needed. ``held`` is what ``out`` holds: "anything", "zeros", or "sums"
    to add to.
    """
    cdef Py_buffer grads, source, target
    cdef Gradient gradient
    cdef Wishes wishes = wishes_of(order, parallel, splits)
    memset(&gradient, 0, sizeof(gradient))
    PyObject_GetBuffer(grad_output, &grads, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(out, &target, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            set_call(&gradient.call, &grads, target.shape, taps)
            gradient.map = array_of(&target)
            gradient.held = <Held><int>HELD.index(held)
            if features is None:
                spread_all(&gradient, taps.last - taps.first, target.shape[0], num_threads, &wishes)
                return
            PyObject_GetBuffer(features, &source, PyBUF_STRIDES)
            try:
                gradient.call.features = array_of(&source)
                spread_all(&gradient, taps.last - taps.first, target.shape[0], num_threads, &wishes)
            finally:
                PyBuffer_Release(&source)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&grads)


cdef int spread_all(
    Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, int num_threads, const Wishes *wishes
) except -1:
    cdef BackPlan plan
    cdef BackDesk unused
    cdef const Call *call = &gradient.call
    cdef Patch *patches = NULL
    cdef char *tables = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t blocks, size, count, t, at = 0
    with nogil:
        plan = plan_spread(gradient, boxes, images, wishes, &num_threads)
        blocks = (call.channels + plan.channels - 1) // plan.channels
        size = lay_back_desk(&unused, NULL, call, &plan) + 64
        place_both_readers(gradient, boxes, NULL, &at)
        tables = <char *>malloc(at + 64)
        patches = <Patch *>malloc(images * blocks * plan.bands * sizeof(Patch))
        scratch = <char *>malloc(num_threads * size)
    try:
        if patches == NULL or scratch == NULL or tables == NULL:
            raise MemoryError("no memory for the gradient by the features")
        if max(call.y.tap_room, call.x.tap_room) > INT32_MAX:  # see Readers.offset
            raise MemoryError("a box reads too many cells for the gradient by the features")
        with nogil:
            at = 0
            place_both_readers(gradient, boxes, aligned(tables), &at)
            count = make_patches(gradient, boxes, images, &plan, patches)
        num_threads = granted(num_threads)
        if num_threads > 1:
            if call.mode == AVG:
                for t in prange(boxes, nogil=True, num_threads=num_threads, schedule="static"):
                    find_readers(&gradient.y, call.y, t)
                    find_readers(&gradient.x, call.x, t)
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                spread_patch(gradient, &plan, &patches[t], scratch + threadid() * size)
        else:
            with nogil:
                if call.mode == AVG:
                    for t in range(boxes):
                        find_readers(&gradient.y, call.y, t)
                        find_readers(&gradient.x, call.x, t)
                for t in range(count):
                    spread_patch(gradient, &plan, &patches[t], scratch)
    finally:
        free(patches)
        free(scratch)
        free(tables)
    return 0


cdef void place_both_readers(
    Gradient *gradient, Py_ssize_t boxes, char *memory, Py_ssize_t *at
) noexcept nogil:
    if gradient.call.mode == AVG:
        place_readers(&gradient.y, gradient.call.y, boxes, memory, at)
        place_readers(&gradient.x, gradient.call.x, boxes, memory, at)


cdef bint has_no_room_for(const Call *call, const BackPlan *plan) noexcept nogil:
    """Whether the tiled order has no room for the boxes (asked without overflowing)."""
    cdef BackDesk unused
    return (
        call.height > SCRATCH_BUDGET // <Py_ssize_t>sizeof(void *)
        or plan.ring_rows > SCRATCH_BUDGET // (LANES * <Py_ssize_t>sizeof(real)) // call.width
        or lay_back_desk(&unused, NULL, call, plan) > SCRATCH_BUDGET
    )


cdef BackPlan plan_spread(
    const Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const Wishes *wishes,
    int *num_threads,
) noexcept nogil:
    """The cost model of the gradient by the features. Nothing it decides changes a bit."""
    cdef const Call *call = &gradient.call
    cdef Plan measured = measure_boxes(call, boxes)
    cdef BackPlan plan
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t tasks, work = measured.work
    if gradient.held == ANYTHING:  # zeros are written at a fraction of what a term costs
        work += images * call.channels * call.height * call.width // 4
    memset(&plan, 0, sizeof(plan))
    plan.order = TILED
    plan.channels = LANES
    plan.ring_rows = measured.ring_rows
    plan.distinct_x = measured.distinct_x
    plan.terms = max(call.y.bins, call.x.bins, 2)
    plan.crossings = most_lines(call.x, boxes) if call.mode == MAX else 0
    plan.group = min(
        max(CACHED_BYTES // (max(plan.distinct_x, call.x.bins) * cell), 1), call.y.bins
    )
    if wishes.order == PLANAR or (
        wishes.order != TILED and call.channels < TILED_CHANNELS
    ) or has_no_room_for(call, &plan):
        plan.order = PLANAR
        plan.channels = 1
        plan.group = 1
    if wishes.parallel == 0 or (wishes.parallel < 0 and work < SERIAL_WORK):
        num_threads[0] = 1
    tasks = images * ((call.channels + plan.channels - 1) // plan.channels)
    plan.bands = 1
    if wishes.splits > 0:
        plan.bands = wishes.splits
    elif num_threads[0] > 1 and tasks < BANDED_TASKS * num_threads[0]:
        plan.bands = min(
            (BANDED_TASKS * num_threads[0] + tasks - 1) // tasks, call.height // ROWS_PER_BAND
        )
    plan.bands = max(min(plan.bands, call.height), 1)
    num_threads[0] = <int>min(<Py_ssize_t>num_threads[0], tasks * plan.bands)
    return plan


# Tasks per thread below which the map is cut into bands, and the rows that are worth one: a box
# that lies in two of them is summed along its columns twice.
cdef Py_ssize_t BANDED_TASKS = 2
cdef Py_ssize_t ROWS_PER_BAND = 16


cdef Py_ssize_t make_patches(
    const Gradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const BackPlan *plan,
    Patch *patches,
) noexcept nogil:
    """Cut what is written by image, channels and rows; returns the number of tasks."""
    cdef const Call *call = &gradient.call
    cdef Py_ssize_t begin = 0, end, image, channel, band, count = 0
    for image in range(images):
        end = begin
        while end < boxes and call.image[call.order[end]] == image:
            end += 1
        channel = 0
        while channel < call.channels and (gradient.held == ANYTHING or begin < end):
            for band in range(plan.bands):
                patches[count].image = image
                patches[count].first_channel = channel
                patches[count].channels = min(plan.channels, call.channels - channel)
                patches[count].first_row = call.height * band // plan.bands
                patches[count].last_row = call.height * (band + 1) // plan.bands
                patches[count].begin = begin
                patches[count].end = end
                count += 1
            channel += plan.channels
        begin = end
    return count


cdef void spread_patch(
    const Gradient *gradient, const BackPlan *plan, const Patch *patch, char *scratch
) noexcept nogil:
    cdef BackDesk desk
    lay_back_desk(&desk, aligned(scratch), &gradient.call, plan)
    if plan.order == TILED:
        spread_tiled(gradient, plan, patch, &desk)
    else:
        spread_planar(gradient, patch, &desk)


def box_gradient(
    grad_output, features, out, Taps taps, int num_threads, order, parallel, splits
):
    """Gradient by the boxes of ``taps``, which have slopes, into ``out`` (K, 4) of doubles.

    Arrays as those of `forward`.
    """
    cdef Py_buffer grads, source, target
    cdef BoxGradient gradient
    cdef Wishes wishes = wishes_of(order, parallel, splits)
    PyObject_GetBuffer(grad_output, &grads, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(features, &source, PyBUF_STRIDES)
        try:
            # No typed memoryview: their code would be a third of every kernel module.
            PyObject_GetBuffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            try:
                set_call(&gradient.call, &grads, source.shape, taps)
                gradient.call.features = array_of(&source)
                gradient.out = <double *>target.buf + 4 * taps.first
                differentiate_all(&gradient, taps.last - taps.first, num_threads, &wishes)
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)
    finally:
        PyBuffer_Release(&grads)


cdef int differentiate_all(
    BoxGradient *gradient, Py_ssize_t boxes, int num_threads, const Wishes *wishes
) except -1:
    cdef BackPlan plan
    cdef BackDesk unused
    cdef const Call *call = &gradient.call
    cdef Patch *patches = NULL
    cdef double *blocks = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, size, count, t
    gradient.blocks = (call.channels + LANES - 1) // LANES
    with nogil:
        images = count_images(call, boxes)
        plan = plan_box_gradient(gradient, boxes, images, wishes, &num_threads)
        size = lay_back_desk(&unused, NULL, call, &plan) + 64
        blocks = <double *>malloc(boxes * gradient.blocks * 4 * sizeof(double))
        patches = <Patch *>malloc(images * gradient.blocks * plan.splits * sizeof(Patch))
        scratch = <char *>malloc(num_threads * size)
    gradient.of_blocks = blocks
    try:
        if patches == NULL or scratch == NULL or blocks == NULL:
            raise MemoryError("no memory for the gradient by the boxes")
        with nogil:
            memset(blocks, 0, boxes * gradient.blocks * 4 * sizeof(double))
            count = make_box_patches(call, boxes, &plan, patches)
        num_threads = granted(num_threads)
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                differentiate_patch(gradient, &plan, &patches[t], scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    differentiate_patch(gradient, &plan, &patches[t], scratch)
        with nogil:
            add_blocks(gradient, boxes)
    finally:
        free(patches)
        free(blocks)
        free(scratch)
    return 0


cdef BackPlan plan_box_gradient(
    const BoxGradient *gradient, Py_ssize_t boxes, Py_ssize_t images, const Wishes *wishes,
    int *num_threads,
) noexcept nogil:
    """The cost model of the gradient by the boxes. Nothing it decides changes a bit."""
    cdef const Call *call = &gradient.call
    cdef Plan measured = measure_boxes(call, boxes)
    cdef BackPlan plan
    cdef Py_ssize_t tasks = images * gradient.blocks
    memset(&plan, 0, sizeof(plan))
    plan.by_boxes = True
    plan.order = TILED
    plan.channels = LANES
    plan.ring_rows = measured.ring_rows
    plan.distinct_x = measured.distinct_x
    plan.distinct_y = measured.distinct_y
    plan.terms = max(measured.terms, 2)
    plan.crossings = most_lines(call.x, boxes) if call.mode == MAX else 0
    plan.group = call.y.bins
    if wishes.order == PLANAR or has_no_room_for(call, &plan):
        plan.order = PLANAR
        plan.group = 1
    if wishes.parallel == 0 or (wishes.parallel < 0 and measured.work < SERIAL_WORK):
        num_threads[0] = 1
    plan.splits = 1
    if wishes.splits > 0:
        plan.splits = wishes.splits
    elif num_threads[0] > 1 and tasks < TASKS_PER_THREAD * num_threads[0]:
        plan.splits = min(
            (TASKS_PER_THREAD * num_threads[0] + tasks - 1) // tasks,
            max(boxes // images // BOXES_PER_TASK, 1),
        )
    num_threads[0] = <int>min(<Py_ssize_t>num_threads[0], tasks * plan.splits)
    return plan


cdef Py_ssize_t make_box_patches(
    const Call *call, Py_ssize_t boxes, const BackPlan *plan, Patch *patches
) noexcept nogil:
    """Cut the call by image, channels and boxes; returns the number of tasks."""
    cdef Py_ssize_t begin = 0, end, split, channel, count = 0
    while begin < boxes:
        end = begin + 1
        while end < boxes and call.image[call.order[end]] == call.image[call.order[begin]]:
            end += 1
        channel = 0
        while channel < call.channels:
            for split in range(plan.splits):
                patches[count].image = call.image[call.order[begin]]
                patches[count].first_channel = channel
                patches[count].channels = min(<Py_ssize_t>LANES, call.channels - channel)
                patches[count].first_row = 0
                patches[count].last_row = call.height
                patches[count].begin = begin + (end - begin) * split // plan.splits
                patches[count].end = begin + (end - begin) * (split + 1) // plan.splits
                count += 1
            channel += LANES
        begin = end
    return count


cdef void differentiate_patch(
    const BoxGradient *gradient, const BackPlan *plan, const Patch *patch, char *scratch
) noexcept nogil:
    cdef BackDesk desk
    lay_back_desk(&desk, aligned(scratch), &gradient.call, plan)
    if plan.order == TILED:
        differentiate_tiled(gradient, plan, patch, &desk)
    else:
        differentiate_planar(gradient, patch, &desk)


cdef void add_blocks(const BoxGradient *gradient, Py_ssize_t boxes) noexcept nogil:
    """Add what the blocks of channels have, in their order."""
    cdef Py_ssize_t k, block, side
    cdef const double *value = gradient.of_blocks
    for k in range(boxes * 4):
        gradient.out[k] = 0
    for k in range(boxes):
        for block in range(gradient.blocks):
            for side in range(4):
                gradient.out[k * 4 + side] += value[side]
            value += 4
