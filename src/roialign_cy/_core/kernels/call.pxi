# What every kernel is told about a call.

cdef enum:
    # How the elements of an array are stored; 0 is the working type, native and aligned.
    SWAPPED = 1
    UNALIGNED = 2
    HALF = 4
    BFLOAT16 = 8
    BOOL = 16
    UINT8 = 32
    INT8 = 64
    UINT16 = 128
    INT16 = 256


cdef int type_of(char kind, Py_ssize_t itemsize) noexcept nogil:
    """How elements of a dtype are stored, in the terms above."""
    if kind == b"f":
        return HALF if itemsize == 2 else 0
    if kind == b"b":
        return BOOL
    if kind == b"u":
        return UINT8 if itemsize == 1 else UINT16
    if kind == b"i":
        return INT8 if itemsize == 1 else INT16
    return BFLOAT16


cdef struct Array:
    char *data
    Py_ssize_t images, channels, height, width  # of `out`: boxes, ..., rows and columns of bins
    Py_ssize_t image, channel, row, col         # strides in bytes
    Py_ssize_t itemsize
    int stored


cdef Array array_of(ndarray four_axes, bint is_written=False) except *:
    """The memory of an array, which lives as long as that does."""
    cdef const PyArrayObject *given = <const PyArrayObject *>four_axes
    cdef Array array
    if PyArray_NDIM(given) != 4:
        raise ValueError(f"an array must have 4 axes, got {PyArray_NDIM(given)}")
    if is_written and not PyArray_ISWRITEABLE(given):
        raise ValueError("the array to be written is read-only")
    array.data = PyArray_BYTES(given)
    array.images, array.channels = PyArray_DIM(given, 0), PyArray_DIM(given, 1)
    array.height, array.width = PyArray_DIM(given, 2), PyArray_DIM(given, 3)
    array.image, array.channel = PyArray_STRIDE(given, 0), PyArray_STRIDE(given, 1)
    array.row, array.col = PyArray_STRIDE(given, 2), PyArray_STRIDE(given, 3)
    array.itemsize = PyArray_ITEMSIZE(given)
    array.stored = type_of(PyArray_DESCR(given).kind, array.itemsize)
    cdef Py_ssize_t bits = array.image | array.channel | array.row | array.col
    if (bits | <Py_ssize_t>array.data) & (array.itemsize - 1):
        array.stored |= UNALIGNED
    if not PyArray_ISNOTSWAPPED(given):
        array.stored |= SWAPPED
    return array


cdef enum Operation:
    FORWARD = 0
    FEATURE_GRADIENT = 1
    BOX_GRADIENT = 2


cdef struct Call:
    Operation operation
    Mode mode
    Array features
    Array out                 # by boxes: the result, or its gradient, which is only read
    Py_ssize_t boxes          # of the tables
    Py_ssize_t channels
    Py_ssize_t height
    Py_ssize_t width
    const Axis *y
    const Axis *x
    const PointTables *points  # the lists of boxes that do not separate, or NULL
    const Py_ssize_t *image   # [box of the tables]: its image; boxes ascend by it
    const Py_ssize_t *target  # [box of the tables]: its row of `out`
    Array map                 # the feature gradient, in the working type
    Update update
    Py_ssize_t parameters     # of a box: x1, y1, x2, y2, or those of a rotated one
    double *sides             # the box gradient: [row of the result][parameter]
    double *block_sides       # [box][block of LANES channels][parameter]
    Py_ssize_t blocks


cdef Call call_of(Operation operation, const Array *out, const Array *maps, BoxTaps taps):
    """What all operations have; ``out`` is the array by boxes, ``maps`` gives the maps' shape."""
    cdef Call call
    if taps.first == taps.last:
        raise ValueError("taps must have a batch at hand: next_batch() makes one")
    memset(&call, 0, sizeof(call))
    call.operation = operation
    call.out = out[0]
    call.boxes = taps.last - taps.first
    call.channels, call.height, call.width = maps.channels, maps.height, maps.width
    call.blocks = (call.channels + LANES - 1) // LANES
    call.target = taps.target
    if isinstance(taps, PointTaps):
        call.points = &(<PointTaps>taps).tables
        call.mode = call.points.mode
        call.image = call.points.image
        call.parameters = PARAMETERS
    else:
        call.y = &(<Taps>taps).tables.y
        call.x = &(<Taps>taps).tables.x
        call.mode = (<Taps>taps).tables.mode
        call.image = (<Taps>taps).tables.image
        call.parameters = 4
    return call


cdef struct Overrides:
    # What tests, and only they, may force; -1, or 0 from `splits` on, leaves it to the schedule.
    int order
    int parallel
    int streams
    int in_place
    Py_ssize_t splits
    Py_ssize_t run
    Py_ssize_t scratch_bytes


cdef Overrides overrides_of(chosen):
    """From `roialign_cy.backends.cpu.Overrides`, or None."""
    cdef Overrides overrides
    overrides.order = overrides.parallel = overrides.streams = -1
    overrides.in_place = -1
    overrides.splits = overrides.run = overrides.scratch_bytes = 0
    if chosen is not None:
        if chosen.order is not None:
            overrides.order = PLANAR if chosen.order == "planar" else TILED
        if chosen.parallel is not None:
            overrides.parallel = chosen.parallel
        if chosen.streams is not None:
            overrides.streams = chosen.streams
        if chosen.in_place is not None:
            overrides.in_place = chosen.in_place
        overrides.splits = chosen.splits or 0
        overrides.run = chosen.run or 0
        overrides.scratch_bytes = chosen.scratch_bytes or 0
    return overrides
