# The entry points, and the one driver of all operations: what they read of the tables is packed,
# box by box; then tasks are done, each of which writes where no other does.


def forward(
    ndarray features not None, ndarray out not None, BoxTaps taps, int num_threads, chosen
):
    """Pool the boxes of ``taps``.

    ``features`` (N, C, H, W) are of any type that `type_of` knows, ``out`` (K, C, rows, cols) of
    the working type or, if that is float32, of a two-byte float. Both have any strides, byte order
    and alignment: other layouts come as transposed views. ``chosen`` are the overrides of the
    schedule, or None.
    """
    cdef Array source = array_of(features)
    cdef Array target = array_of(out, True)
    cdef Call call = call_of(FORWARD, &target, &source, taps)
    call.features = source
    run_call(&call, num_threads, chosen)


def feature_gradient(
    ndarray grad_output not None, ndarray features, ndarray out not None, BoxTaps taps,
    Update update, int num_threads, chosen,
):
    """Gradient with respect to the features, from the boxes of ``taps``, into ``out``.

    Arrays as those of `forward`, but ``out`` (N, C, H, W) is of the working type. ``features`` is
    None if they are not needed. ``update`` says what ``out`` holds, and whether it is added to.
    """
    cdef Array grads = array_of(grad_output)
    cdef Array target = array_of(out, True)
    cdef Call call = call_of(FEATURE_GRADIENT, &grads, &target, taps)
    call.map = target
    call.update = update
    if features is not None:
        call.features = array_of(features)
    run_call(&call, num_threads, chosen)


def box_gradient(
    ndarray grad_output not None, ndarray features not None, ndarray out not None, BoxTaps taps,
    int num_threads, chosen,
):
    """Gradient with respect to the boxes of ``taps``, which have slopes, into ``out``.

    ``out`` (K, 4), or (K, 5) if they are rotated, is C-contiguous and of doubles; the other arrays
    are as those of `forward`.
    """
    cdef Array grads = array_of(grad_output)
    cdef Array source = array_of(features)
    cdef Call call = call_of(BOX_GRADIENT, &grads, &source, taps)
    cdef size_t of_a_box = bytes_for(call.blocks, call.parameters * sizeof(double))
    call.features = source
    call.sides = <double *>PyArray_BYTES(<const PyArrayObject *>out)
    call.block_sides = <double *>allocate(call.boxes, of_a_box)
    try:
        if call.block_sides == NULL:
            raise MemoryError("no memory for the gradient with respect to the boxes")
        memset(call.block_sides, 0, call.boxes * of_a_box)
        run_call(&call, num_threads, chosen)
        with nogil:
            add_blocks(&call)
    finally:
        free(call.block_sides)


cdef int run_call(const Call *call, int num_threads, chosen) except -1:
    cdef Overrides overrides = overrides_of(chosen)
    cdef Schedule schedule
    cdef Packed packed
    cdef Arena arena
    cdef Task *tasks = NULL
    cdef void *tables = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, blocks, count, t
    cdef size_t size
    if call.points != NULL:
        return run_sparse(call, num_threads, &overrides)
    try:
        with nogil:
            images = images_with_work(call)
            schedule = make_schedule(call, images, &overrides, &num_threads)
            blocks = (call.channels + schedule.channels - 1) // schedule.channels
            size = workspace_bytes(call, &schedule)
            arena = arena_in(NULL)
            lay_out_packed(&packed, &arena, call, &schedule)
            tables = allocate(1, arena.used)
            tasks = <Task *>allocate(images * blocks * schedule.splits, sizeof(Task))
            scratch = <char *>allocate(num_threads, size)
            if tasks == NULL or scratch == NULL or tables == NULL:
                raise MemoryError("no memory to pool in")
            if is_too_large(call, &schedule):
                raise MemoryError("a box reads too many cells")
            num_threads = granted(num_threads)
            arena = arena_in(tables)
            lay_out_packed(&packed, &arena, call, &schedule)
            count = make_tasks(call, &schedule, tasks)
            if num_threads > 1:
                for t in prange(call.boxes, num_threads=num_threads, schedule="static"):
                    pack_box(call, &schedule, t, &packed)
                sort_plans(call, &packed)
                for t in prange(count, num_threads=num_threads, schedule="dynamic"):
                    do_task(call, &schedule, &packed, &tasks[t], scratch + threadid() * size)
            else:
                for t in range(call.boxes):
                    pack_box(call, &schedule, t, &packed)
                sort_plans(call, &packed)
                for t in range(count):
                    do_task(call, &schedule, &packed, &tasks[t], scratch)
    finally:
        free(tasks)
        free(tables)
        free(scratch)
    return 0


cdef bint is_too_large(const Call *call, const Schedule *schedule) noexcept nogil:
    """Whether there may be more taps, or points of a bin, than their integers can count."""
    return (
        max(call.y.tap_capacity, call.x.tap_capacity) > INT32_MAX
        or sizeof(flag) == sizeof(int32_t) and schedule.points > INT32_MAX
    )


cdef void pack_box(
    const Call *call, const Schedule *schedule, Py_ssize_t box, const Packed *packed
) noexcept nogil:
    """Pack what the operation and the order of the loops read of a box."""
    cdef float_mode mode = set_standard_mode()
    if call.operation == FORWARD:
        if schedule.order == TILED:
            write_box_plans(call, schedule, box, packed)
        else:
            write_planar_box(call, schedule, box, packed)
    elif call.operation == FEATURE_GRADIENT and call.mode == AVG:
        transpose_taps(&packed.transposed_y, call.y, box, 1)
        transpose_taps(&packed.transposed_x, call.x, box, LANES)
    set_mode(mode)


cdef void do_task(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    char *scratch,
) noexcept nogil:
    cdef Workspace work
    cdef Arena arena = arena_in(scratch)
    cdef float_mode mode = set_standard_mode()
    lay_out_workspace(&work, &arena, call, schedule)
    if call.operation == BOX_GRADIENT:
        box_gradient_task(call, schedule, task, &work)
    elif call.operation == FEATURE_GRADIENT:
        feature_gradient_task(call, schedule, packed, task, &work)
    else:
        store_lanes(work.lowest, all_lanes(-INFINITY))
        if schedule.order == PLANAR:
            planar_task(call, schedule, packed, task, &work)
        else:
            tiled_task(call, schedule, packed, task, &work)
        if schedule.streams or schedule.streams_cells:
            end_streaming()
    set_mode(mode)
