"""Masks pasted into images, by bilinear interpolation.

A mask reaches a window of its image. A pixel's weights are products of a factor for its row and one
for its column, so rows of the mask are first interpolated to the width of the window, and each row
of the image is then a weighted sum of two of them. Run lengths go down the columns instead; they
are computed from the same products and sums, and so agree to the last bit.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython.parallel cimport prange, threadid
from libc.math cimport NAN, floor
from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from .arena cimport CACHE_LINE, Arena, allocate, arena_alloc, arena_in
from .float_mode cimport float_mode, set_mode, set_standard_mode
from .half cimport float_to_half, half_to_float
from .runtime cimport granted

cdef enum:
    BAND = 128  # rows of an image in a task
    MOST_CHARACTERS = 13  # of a count: 64 bits, five to a character
    # One thread pastes so many in some 16 us, about what it takes to start another.
    SERIAL_PIXELS = 1 << 15

cdef fused real:
    float
    double


cdef struct Side:
    # Where a mask lies along an axis of the image, in pixels: y, then x.
    double start
    double extent  # of the mask and its padding; 0: nothing is pasted


cdef struct Window:
    # Pixels that a mask reaches along an axis.
    Py_ssize_t begin
    Py_ssize_t end


cdef struct Call:
    const char *masks
    Py_ssize_t mask_stride, row_stride, col_stride
    bint is_half
    Py_ssize_t cells        # of a mask along each axis
    int padding             # cells of zeros around it, which belong to the extent
    Py_ssize_t count
    const Side *sides       # [mask][axis]
    const Window *windows   # [mask][axis]
    Py_ssize_t most_pixels  # of a window along an axis
    double pixels           # of all windows
    bint is_binary          # whether the result is bool: where values reach the threshold
    double threshold        # in the working type


cdef inline double cell_at(Py_ssize_t pixel, Side side, const Call *call) noexcept nogil:
    """Where the centre of a pixel lies in the mask, whose cells have their centres at integers."""
    return (
        (<double>pixel + 0.5 - side.start) / side.extent * <double>(call.cells + 2 * call.padding)
        - (0.5 + call.padding)
    )


cdef Py_ssize_t first_pixel(
    Side side, const Call *call, Py_ssize_t begin, Py_ssize_t end, bint is_past
) noexcept nogil:
    """The first pixel that the mask reaches, or with ``is_past`` the first beyond it."""
    cdef Py_ssize_t middle
    cdef double cell
    while begin < end:
        middle = begin + (end - begin) // 2
        cell = cell_at(middle, side, call)
        if (cell >= call.cells) if is_past else (cell > -1):
            end = middle
        else:
            begin = middle + 1
    return begin


cdef Window window_of(Side side, const Call *call, Py_ssize_t size) noexcept nogil:
    """The pixels that the mask reaches along an axis of ``size`` pixels."""
    cdef Window window
    cdef Py_ssize_t begin = 0, end = size
    cdef double after = side.start + side.extent
    window.begin = window.end = 0
    if side.extent <= 0 or call.cells == 0:
        return window
    if call.padding:  # then boxes are of whole pixels, and nothing is pasted beyond them
        if side.start > 0:
            begin = size if side.start >= <double>size else <Py_ssize_t>side.start
        if after < <double>size:
            end = <Py_ssize_t>max(after, 0.0)
    window.begin = first_pixel(side, call, begin, end, False)
    window.end = first_pixel(side, call, window.begin, end, True)
    return window


cdef void make_taps(
    Side side, Window window, const Call *call, Py_ssize_t *cell, real *weight
) noexcept nogil:
    """The two cells of each pixel and their weights, which sum to 1 exactly.

    Cells outside the mask, and cells of weight 0, become cell ``cells``, whose value is 0.
    """
    cdef Py_ssize_t i, near
    cdef double position, low
    for i in range(window.end - window.begin):
        position = cell_at(window.begin + i, side, call)
        low = floor(position)
        near = <Py_ssize_t>low
        weight[2 * i + 1] = <real>(position - low)
        weight[2 * i] = 1 - weight[2 * i + 1]
        cell[2 * i] = near if near >= 0 and weight[2 * i] != 0 else call.cells
        cell[2 * i + 1] = near + 1 if weight[2 * i + 1] != 0 else call.cells  # at most `cells`


cdef void load_line(
    const Call *call, Py_ssize_t mask, bint is_column, Py_ssize_t index, real *line
) noexcept nogil:
    """Load a row or a column of a mask, followed by a zero."""
    cdef Py_ssize_t i, step = call.row_stride if is_column else call.col_stride
    cdef const char *cell = call.masks + mask * call.mask_stride
    cell += index * (call.col_stride if is_column else call.row_stride)
    for i in range(call.cells):
        if call.is_half:
            line[i] = half_to_float((<const uint16_t *>cell)[0])
        else:
            line[i] = (<const real *>cell)[0]
        cell += step
    line[call.cells] = 0


cdef struct Workspace:
    # Scratch memory of a thread, for arrays and run lengths alike, in the working type.
    Py_ssize_t *cell        # taps of all pixels along one side of the window
    void *weight
    Py_ssize_t *along_cell  # taps of the pixels along the other side that are filled at a time
    void *along_weight
    void *line[4]           # rows or columns of a mask
    void *wide[4]           # rows of the window


cdef size_t lay_out(
    Workspace *work, char *scratch, const Call *call, size_t itemsize
) noexcept nogil:
    """Lay the workspace out in ``scratch``, and return its size in bytes."""
    cdef Arena arena = arena_in(scratch)
    cdef int i
    work.cell = <Py_ssize_t *>arena_alloc(&arena, 2 * call.most_pixels, sizeof(Py_ssize_t))
    work.weight = arena_alloc(&arena, 2 * call.most_pixels, itemsize)
    work.along_cell = <Py_ssize_t *>arena_alloc(&arena, 2 * BAND, sizeof(Py_ssize_t))
    work.along_weight = arena_alloc(&arena, 2 * BAND, itemsize)
    for i in range(4):
        work.line[i] = arena_alloc(&arena, call.cells + 1, itemsize)
        work.wide[i] = arena_alloc(&arena, call.most_pixels, itemsize)
    return arena.used + CACHE_LINE


# Arrays


cdef struct Target:
    # Where a window goes.
    char *data
    Py_ssize_t row_stride, col_stride


cdef struct Task:
    Py_ssize_t mask
    Window rows


cdef void paste_rows(
    const Call *call, const Task *task, const Target *target, char *scratch, real threshold
) noexcept nogil:
    """Fill rows of a mask's window."""
    cdef Window columns = call.windows[2 * task.mask + 1]
    cdef Py_ssize_t width = columns.end - columns.begin, i, x, side, wanted
    cdef Py_ssize_t itemsize = 1 if call.is_binary else 2 if call.is_half else sizeof(real)
    cdef Workspace work
    cdef Py_ssize_t[2] held  # which rows of the mask work.wide[0] and [1] hold; [2] is zeros
    cdef real *of_side[2]
    lay_out(&work, scratch, call, sizeof(real))
    cdef real *weight = <real *>work.weight
    cdef real *y_weight = <real *>work.along_weight
    cdef real *line = <real *>work.line[0]
    cdef char *row = <char *>work.wide[3]
    cdef char *to = target.data
    to += (task.rows.begin - call.windows[2 * task.mask].begin) * target.row_stride
    memset(work.wide[2], 0, width * sizeof(real))
    held[0] = held[1] = -1
    make_taps(call.sides[2 * task.mask + 1], columns, call, work.cell, weight)
    make_taps(call.sides[2 * task.mask], task.rows, call, work.along_cell, y_weight)
    for i in range(task.rows.end - task.rows.begin):
        for side in range(2):
            wanted = work.along_cell[2 * i + side]
            of_side[side] = <real *>work.wide[2 if wanted == call.cells else wanted & 1]
            if wanted != call.cells and held[wanted & 1] != wanted:
                held[wanted & 1] = wanted
                load_line(call, task.mask, False, wanted, line)
                for x in range(width):
                    of_side[side][x] = (
                        weight[2 * x] * line[work.cell[2 * x]]
                        + weight[2 * x + 1] * line[work.cell[2 * x + 1]]
                    )
        combine_rows(
            call, of_side[0], y_weight[2 * i], of_side[1], y_weight[2 * i + 1], width, threshold,
            row,
        )
        if target.col_stride == itemsize:
            memcpy(to, row, width * itemsize)
        else:
            for x in range(width):
                memcpy(to + x * target.col_stride, row + x * itemsize, itemsize)
        to += target.row_stride


cdef inline void combine_rows(
    const Call *call, const real *near, real near_weight, const real *far, real far_weight,
    Py_ssize_t width, real threshold, char *row,
) noexcept nogil:
    cdef Py_ssize_t x
    cdef real value
    if call.is_binary:
        for x in range(width):
            row[x] = near_weight * near[x] + far_weight * far[x] >= threshold
        return
    for x in range(width):
        value = near_weight * near[x] + far_weight * far[x]
        value = value if value == value else <real>NAN  # every NaN the same
        if call.is_half:
            (<uint16_t *>row)[x] = float_to_half(<float>value)
        else:
            (<real *>row)[x] = value


# Run lengths


cdef struct Runs:
    # COCO's code of a mask: the lengths of runs of zeros and ones, in turn, down the columns.
    char *text
    Py_ssize_t used
    Py_ssize_t capacity       # -1: there was no memory
    Py_ssize_t counts
    Py_ssize_t[2] before      # the last two counts
    Py_ssize_t begin          # of the current run
    bint value                # of its pixels


cdef void end_run(Runs *runs, Py_ssize_t end) noexcept nogil:
    """Write the count of the current run, and begin the next.

    From the fourth count on, its difference from the last but one is written instead. A character
    is 48 plus five bits, the lowest first, plus 32 if more follow.
    """
    cdef Py_ssize_t count = end - runs.begin, rest = count
    cdef int bits
    cdef char *text
    if runs.counts > 2:
        rest -= runs.before[runs.counts & 1]
    runs.before[runs.counts & 1] = count
    runs.counts += 1
    runs.begin = end
    runs.value = not runs.value
    if runs.capacity < 0:
        return
    if runs.used + MOST_CHARACTERS > runs.capacity:
        text = <char *>realloc(runs.text, 2 * runs.capacity + 64)
        if text == NULL:
            runs.capacity = -1
            return
        runs.text = text
        runs.capacity = 2 * runs.capacity + 64
    while True:
        bits = rest & 31
        rest = (rest - bits) // 32
        if rest == (-1 if bits & 16 else 0):  # the sign follows from the last bits
            break
        runs.text[runs.used] = <char>(48 + 32 + bits)
        runs.used += 1
    runs.text[runs.used] = <char>(48 + bits)
    runs.used += 1


cdef void encode_mask(
    const Call *call, Py_ssize_t mask, Py_ssize_t height, Py_ssize_t width, Runs *runs,
    char *scratch, real threshold,
) noexcept nogil:
    """Encode the image of one mask."""
    cdef Window rows = call.windows[2 * mask], columns = call.windows[2 * mask + 1], column
    cdef Py_ssize_t i, side, x, wanted, position
    cdef Workspace work
    cdef Py_ssize_t[2] held  # which columns of the mask work.line[0] and [1] hold; [2] is zeros
    cdef real *of_side[2]
    lay_out(&work, scratch, call, sizeof(real))
    cdef real *weight = <real *>work.weight
    cdef real *x_weight = <real *>work.along_weight
    cdef real *tall = <real *>work.line[3]
    memset(work.line[2], 0, (call.cells + 1) * sizeof(real))
    held[0] = held[1] = -1
    make_taps(call.sides[2 * mask], rows, call, work.cell, weight)
    for x in range(columns.begin, columns.end):
        column.begin, column.end = x, x + 1
        make_taps(call.sides[2 * mask + 1], column, call, work.along_cell, x_weight)
        for side in range(2):
            wanted = work.along_cell[side]
            of_side[side] = <real *>work.line[2 if wanted == call.cells else wanted & 1]
            if wanted != call.cells and held[wanted & 1] != wanted:
                held[wanted & 1] = wanted
                load_line(call, mask, True, wanted, of_side[side])
        for i in range(call.cells + 1):
            tall[i] = x_weight[0] * of_side[0][i] + x_weight[1] * of_side[1][i]
        position = x * height
        if runs.value and rows.begin > 0:
            end_run(runs, position)
        position += rows.begin
        for i in range(rows.end - rows.begin):
            if runs.value != (
                weight[2 * i] * tall[work.cell[2 * i]]
                + weight[2 * i + 1] * tall[work.cell[2 * i + 1]]
                >= threshold
            ):
                end_run(runs, position + i)
        if runs.value and rows.end < height:
            end_run(runs, x * height + rows.end)
    if runs.value and columns.end < width:
        end_run(runs, columns.end * height)
    end_run(runs, height * width)


# Entry points


cdef class Masks:
    """The masks and where they go: what every call has. Keeps the arrays alive.

    Parameters
    ----------
    masks : (N, M, M) array of native, aligned float16, float32 or float64
    sides : (N, 2, 2) array of double
        Start and extent in pixels along y and x.
    padding : int
        Cells of zeros around a mask that belong to the extent.
    image_size : (int, int)
    windows : (N, 2, 2) array of intp
        Filled with the pixels that each mask reaches along y and x: begin and end.
    """

    cdef Call call
    cdef Py_buffer masks, sides, windows

    def __cinit__(self, masks, sides, int padding, image_size, windows):
        cdef Call *call = &self.call
        cdef Py_ssize_t height, width, n
        cdef Window *window
        cdef float_mode mode
        height, width = image_size
        PyObject_GetBuffer(masks, &self.masks, PyBUF_STRIDES)
        PyObject_GetBuffer(sides, &self.sides, PyBUF_C_CONTIGUOUS)
        PyObject_GetBuffer(windows, &self.windows, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        call.masks = <const char *>self.masks.buf
        call.mask_stride, call.row_stride, call.col_stride = [
            self.masks.strides[axis] for axis in range(3)
        ]
        call.is_half = self.masks.itemsize == 2
        call.count, call.cells = self.masks.shape[0], self.masks.shape[1]
        call.padding = padding
        call.sides = <const Side *>self.sides.buf
        call.windows = window = <Window *>self.windows.buf
        with nogil:
            mode = set_standard_mode()
            for n in range(call.count):
                window[0] = window_of(call.sides[2 * n], call, height)
                window[1] = window_of(call.sides[2 * n + 1], call, width)
                if window[0].begin == window[0].end or window[1].begin == window[1].end:
                    memset(window, 0, 2 * sizeof(Window))
                call.most_pixels = max(
                    call.most_pixels,
                    max(window[0].end - window[0].begin, window[1].end - window[1].begin),
                )
                call.pixels += (
                    <double>(window[0].end - window[0].begin) * (window[1].end - window[1].begin)
                )
                window += 2
            set_mode(mode)

    def __dealloc__(self):
        PyBuffer_Release(&self.masks)
        PyBuffer_Release(&self.sides)
        PyBuffer_Release(&self.windows)


def paste(Masks masks, targets, threshold, int num_threads):
    """Fill ``targets``, which has an array of the size of its window for each mask.

    With a ``threshold``, in the working type, they are of bool; else of the masks' dtype.
    """
    cdef Call call = masks.call
    cdef Py_ssize_t n, t, y, count = 0
    cdef Py_buffer *views = <Py_buffer *>allocate(call.count, sizeof(Py_buffer))
    cdef Target *to = <Target *>allocate(call.count, sizeof(Target))
    cdef Task *tasks = NULL
    cdef char *scratch = NULL
    cdef size_t size
    cdef Py_ssize_t taken = 0
    cdef Window rows
    set_threshold(&call, threshold)
    try:
        if views == NULL or to == NULL:
            raise MemoryError("no memory to paste in")
        for n, target in enumerate(targets):
            PyObject_GetBuffer(target, &views[n], PyBUF_STRIDES | PyBUF_WRITABLE)
            taken += 1
            to[n].data = <char *>views[n].buf
            to[n].row_stride, to[n].col_stride = views[n].strides[0], views[n].strides[1]
            count += (views[n].shape[0] + BAND - 1) // BAND
        num_threads = threads_for(&call, num_threads)
        size = scratch_bytes(&call, masks.masks.itemsize)
        tasks = <Task *>allocate(count, sizeof(Task))
        scratch = <char *>allocate(num_threads, size)
        if tasks == NULL or scratch == NULL:
            raise MemoryError("no memory to paste in")
        t = 0
        for n in range(call.count):
            rows = call.windows[2 * n]
            for y in range(rows.begin, rows.end, BAND):
                tasks[t].mask = n
                tasks[t].rows.begin, tasks[t].rows.end = y, min(y + BAND, rows.end)
                t += 1
        if num_threads > 1:
            for t in prange(count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                do_task(&call, &tasks[t], to, masks.masks.itemsize, scratch + threadid() * size)
        else:
            with nogil:
                for t in range(count):
                    do_task(&call, &tasks[t], to, masks.masks.itemsize, scratch)
    finally:
        free(scratch)
        free(tasks)
        for n in range(taken):
            PyBuffer_Release(&views[n])
        free(to)
        free(views)


def encode(Masks masks, image_size, threshold, int num_threads):
    """COCO's compressed run lengths of the image of every mask, as a list of bytes."""
    cdef Call call = masks.call
    cdef Py_ssize_t height, width, n
    cdef Runs *runs = <Runs *>calloc(call.count + 1, sizeof(Runs))
    cdef char *scratch = NULL
    cdef size_t size
    height, width = image_size
    set_threshold(&call, threshold)
    try:
        num_threads = threads_for(&call, num_threads)
        size = scratch_bytes(&call, masks.masks.itemsize)
        scratch = <char *>allocate(num_threads, size)
        if runs == NULL or scratch == NULL:
            raise MemoryError("no memory to encode in")
        if num_threads > 1:
            for n in prange(call.count, nogil=True, num_threads=num_threads, schedule="dynamic"):
                encode_one(
                    &call, n, height, width, runs, masks.masks.itemsize, scratch + threadid() * size
                )
        else:
            with nogil:
                for n in range(call.count):
                    encode_one(&call, n, height, width, runs, masks.masks.itemsize, scratch)
        for n in range(call.count):
            if runs[n].capacity < 0:
                raise MemoryError("no memory for the run lengths")
        return [runs[n].text[:runs[n].used] for n in range(call.count)]
    finally:
        free(scratch)
        if runs != NULL:
            for n in range(call.count):
                free(runs[n].text)
        free(runs)


cdef int set_threshold(Call *call, threshold) except -1:
    call.is_binary = threshold is not None
    call.threshold = threshold if call.is_binary else 0.0
    return 0


cdef int threads_for(const Call *call, int num_threads) noexcept nogil:
    return 1 if call.pixels < SERIAL_PIXELS else granted(num_threads)


cdef size_t scratch_bytes(const Call *call, Py_ssize_t itemsize) noexcept nogil:
    cdef Workspace work
    return lay_out(&work, NULL, call, max(itemsize, <Py_ssize_t>sizeof(float)))


cdef void do_task(
    const Call *call, const Task *task, const Target *targets, Py_ssize_t itemsize, char *scratch
) noexcept nogil:
    cdef float_mode mode = set_standard_mode()
    if itemsize == sizeof(double):
        paste_rows[double](call, task, &targets[task.mask], scratch, call.threshold)
    else:
        paste_rows[float](call, task, &targets[task.mask], scratch, <float>call.threshold)
    set_mode(mode)


cdef void encode_one(
    const Call *call, Py_ssize_t n, Py_ssize_t height, Py_ssize_t width, Runs *runs,
    Py_ssize_t itemsize, char *scratch,
) noexcept nogil:
    cdef float_mode mode = set_standard_mode()
    if itemsize == sizeof(double):
        encode_mask[double](call, n, height, width, &runs[n], scratch, call.threshold)
    else:
        encode_mask[float](call, n, height, width, &runs[n], scratch, <float>call.threshold)
    set_mode(mode)
