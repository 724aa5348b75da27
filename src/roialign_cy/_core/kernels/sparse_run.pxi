# The driver of calls with lists: as other calls are run, but with nothing of the tables to pack.


cdef Schedule make_sparse_schedule(
    const Call *call, Py_ssize_t images, const Overrides *overrides, int *num_threads
) noexcept nogil:
    cdef const PointTables *tables = call.points
    cdef const RotatedBox *box
    cdef Schedule schedule
    cdef Py_ssize_t k, bins = call.out.height * call.out.width
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t most = overrides.scratch_bytes if overrides.scratch_bytes else SCRATCH_BYTES
    memset(&schedule, 0, sizeof(schedule))
    schedule.channels = LANES
    schedule.ring_rows, schedule.ring_columns = 1, call.width
    schedule.cost = call.boxes * bins
    for k in range(call.boxes):
        box = &tables.box[k]
        schedule.ring_rows = max(schedule.ring_rows, box.y_end - box.y_begin)
        if box.first_bin < 0:
            schedule.cost += SERIAL_WORK  # at least: its lists were too large for the tables
        elif tables.line_end[box.first_bin + bins - 1] > box.first_line:
            schedule.cost += (
                tables.tap_end[tables.line_end[box.first_bin + bins - 1] - 1] - box.first_tap
            )
    schedule.cost *= call.channels
    if call.operation == FEATURE_GRADIENT and call.update == OVERWRITE:
        schedule.cost += call.map.images * call.channels * call.height * call.width // 4
    schedule.group = min(max(CACHED_BYTES // (call.out.width * cell), 1), call.out.height)
    schedule.on_demand = (
        schedule.ring_rows > most // cell // call.width // 2
        or sparse_bytes(call, &schedule) > most
    )
    choose_tasks(call, images, overrides, &schedule, num_threads)
    return schedule


cdef Py_ssize_t sparse_bytes(const Call *call, const Schedule *schedule) noexcept nogil:
    cdef Arena arena = arena_in(NULL)
    cdef Workspace unused
    cdef Reader unread
    lay_out_sparse(&unused, &unread, &arena, call, schedule)
    return <Py_ssize_t>arena.used + CACHE_LINE


cdef void lay_out_sparse(
    Workspace *work, Reader *reader, Arena *arena, const Call *call, const Schedule *schedule
) noexcept nogil:
    cdef Py_ssize_t cell = LANES * sizeof(real), rows = call.height, ring = 0, gradient = 0
    cdef Py_ssize_t slopes = PARAMETERS * TAPS_AT_ONCE if call.points.slope != NULL else 0
    if schedule.on_demand:
        rows = 0
    else:
        if call.features.data != NULL:
            ring = schedule.ring_rows * schedule.ring_columns
        if call.operation == FEATURE_GRADIENT:
            gradient = schedule.ring_rows * schedule.ring_columns
    work.ring = <real *>arena_alloc(arena, ring, cell)
    work.gradient_ring = <real *>arena_alloc(arena, gradient, cell)
    work.cells = <real *>arena_alloc(arena, schedule.group * call.out.width, cell)
    work.one_cell = <real *>arena_alloc(arena, 1, cell)
    work.lowest = <real *>arena_alloc(arena, 1, cell)
    work.row = <real **>arena_alloc(arena, rows, sizeof(void *))
    work.gradient_row = <real **>arena_alloc(arena, rows, sizeof(void *))
    work.low = <Py_ssize_t *>arena_alloc(arena, rows, sizeof(Py_ssize_t))
    work.high = <Py_ssize_t *>arena_alloc(arena, rows, sizeof(Py_ssize_t))
    reader.room.first_tap = 0
    reader.room.tap_end = <Py_ssize_t *>arena_alloc(arena, LINES_AT_ONCE, sizeof(Py_ssize_t))
    reader.room.place = <Cell *>arena_alloc(arena, TAPS_AT_ONCE, sizeof(Cell))
    reader.room.weight = <double *>arena_alloc(arena, TAPS_AT_ONCE, sizeof(double))
    reader.room.slope = <double *>arena_alloc(arena, slopes, sizeof(double))
    if slopes == 0:
        reader.room.slope = NULL


cdef void do_sparse_task(
    const Call *call, const Schedule *schedule, const Task *task, char *scratch
) noexcept nogil:
    cdef Workspace work
    cdef Reader reader
    cdef Arena arena = arena_in(scratch)
    cdef float_mode mode = set_standard_mode()
    lay_out_sparse(&work, &reader, &arena, call, schedule)
    store_lanes(work.lowest, all_lanes(-INFINITY))
    if call.operation == FORWARD:
        pool_lists(call, schedule, task, &work, &reader)
    elif call.operation == FEATURE_GRADIENT:
        sum_lists(call, schedule, task, &work, &reader)
    else:
        differentiate_lists(call, schedule, task, &work, &reader)
    set_mode(mode)


cdef int run_sparse(const Call *call, int num_threads, const Overrides *overrides) except -1:
    cdef Schedule schedule
    cdef Task *tasks = NULL
    cdef char *scratch = NULL
    cdef Py_ssize_t images, count, t
    cdef size_t size
    try:
        with nogil:
            images = images_with_work(call)
            schedule = make_sparse_schedule(call, images, overrides, &num_threads)
            size = sparse_bytes(call, &schedule)
            tasks = <Task *>allocate(images * call.blocks * schedule.splits, sizeof(Task))
            scratch = <char *>allocate(num_threads, size)
            if tasks == NULL or scratch == NULL:
                raise MemoryError("no memory to pool in")
            num_threads = granted(num_threads)
            count = make_tasks(call, &schedule, tasks)
            if num_threads > 1:
                for t in prange(count, num_threads=num_threads, schedule="dynamic"):
                    do_sparse_task(call, &schedule, &tasks[t], scratch + threadid() * size)
            else:
                for t in range(count):
                    do_sparse_task(call, &schedule, &tasks[t], scratch)
    finally:
        free(tasks)
        free(scratch)
    return 0
