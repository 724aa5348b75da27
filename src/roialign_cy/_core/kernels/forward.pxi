# The entry point of the forward pass: plans a call, shares it out among threads.

# Scratch memory that one thread may take, in bytes.
cdef Py_ssize_t SCRATCH_BUDGET = 32 << 20
# Of which interpolated rows and output rows in the making should stay in the fast caches.
cdef Py_ssize_t CACHED_BYTES = 64 << 10


def forward(features, out, Taps taps, mode, int num_threads):
    """Pool the boxes of ``taps``.

    ``features`` (N, C, H, W) and ``out`` (K, C, rows, cols) are native and aligned, of one dtype,
    the working type (or float16, where that is float32), with any strides: other layouts come as transposed views.
    """
    cdef Py_buffer source, target
    cdef Call call
    PyObject_GetBuffer(features, &source, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(out, &target, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            call.features = array_of(&source)
            call.out = array_of(&target)
            call.channels = source.shape[1]
            call.height = source.shape[2]
            call.width = source.shape[3]
            call.itemsize = <int>source.itemsize
            call.mode = {"avg": AVG, "max": MAX, "max_weighted": MAX_WEIGHTED}[mode]
            call.y = &taps.tables.y
            call.x = &taps.tables.x
            call.order = taps.tables.order
            call.image = taps.tables.image
            call.first_box = taps.first
            run_tiled(&call, taps.last - taps.first, num_threads)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)


cdef Array array_of(const Py_buffer *view) noexcept nogil:
    cdef Array array
    array.data = <char *>view.buf
    array.image, array.channel = view.strides[0], view.strides[1]
    array.row, array.col = view.strides[2], view.strides[3]
    return array


cdef Tiling plan_tiling(const Call *call, Py_ssize_t boxes) noexcept nogil:
    cdef Tiling t
    cdef Py_ssize_t k, first, last, line, b, cell = LANES * sizeof(real)
    t.ring_rows = t.distinct_y = t.distinct_x = t.terms = 1
    for k in range(boxes):
        first, last = call.y.distinct_begin[k], call.y.distinct_end[k]
        t.distinct_y = max(t.distinct_y, last - first)
        if first < last:
            t.ring_rows = max(t.ring_rows, call.y.distinct[last - 1] - call.y.distinct[first] + 1)
        t.distinct_x = max(t.distinct_x, call.x.distinct_end[k] - call.x.distinct_begin[k])
        for b in range(k * call.y.bins, (k + 1) * call.y.bins):
            for line in range(call.y.line_begin[b], call.y.line_end[b]):
                t.terms = max(t.terms, call.y.tap_end[line] - call.y.tap_begin[line])
        for b in range(k * call.x.bins, (k + 1) * call.x.bins):
            for line in range(call.x.line_begin[b], call.x.line_end[b]):
                t.terms = max(t.terms, call.x.tap_end[line] - call.x.tap_begin[line])
    t.lines = max(CACHED_BYTES // (t.distinct_x * cell), 1)
    t.group = min(t.lines, max(CACHED_BYTES // (call.x.bins * cell), 1), call.y.bins)
    if call.mode == AVG:
        t.lines = t.group
    return t


cdef int run_tiled(const Call *call, Py_ssize_t boxes, int num_threads) except -1:
    cdef Tiling tiling
    cdef Task *tasks = NULL
    cdef Desk unused
    cdef Py_ssize_t images = 0, blocks = (call.channels + LANES - 1) // LANES
    cdef Py_ssize_t count = 0, i, block, begin, size, t
    cdef char *scratch = NULL
    with nogil:
        tiling = plan_tiling(call, boxes)
        for i in range(boxes):
            if i == 0 or call.image[call.order[i]] != call.image[call.order[i - 1]]:
                images += 1
        size = lay_desk(&unused, NULL, call, &tiling) + 64
        num_threads = <int>min(<Py_ssize_t>num_threads, images * blocks)
        tasks = <Task *>malloc(images * blocks * sizeof(Task))
        scratch = <char *>malloc(num_threads * size)
    try:
        if tasks == NULL or scratch == NULL:
            raise MemoryError("no memory to work in")
        with nogil:
            begin = 0
            for i in range(1, boxes + 1):
                if i < boxes and call.image[call.order[i]] == call.image[call.order[begin]]:
                    continue
                for block in range(blocks):
                    tasks[count].image = call.image[call.order[begin]]
                    tasks[count].first_channel = block * LANES
                    tasks[count].channels = min(LANES, call.channels - block * LANES)
                    tasks[count].begin = begin
                    tasks[count].end = i
                    count += 1
                begin = i
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                work_on(call, &tiling, &tasks[t], scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    work_on(call, &tiling, &tasks[t], scratch)
    finally:
        free(tasks)
        free(scratch)
    return 0


cdef void work_on(
    const Call *call, const Tiling *tiling, const Task *task, char *scratch
) noexcept nogil:
    cdef Desk desk
    lay_desk(&desk, scratch, call, tiling)
    tiled_task(call, tiling, task, &desk)
