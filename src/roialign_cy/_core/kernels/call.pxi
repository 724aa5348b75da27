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


cdef int type_of(dtype):
    """How elements of a dtype are stored, in the terms above."""
    kind = dtype.kind
    if kind == "f":
        return HALF if dtype.itemsize == 2 else 0
    if kind == "b":
        return BOOL
    if kind == "u":
        return UINT8 if dtype.itemsize == 1 else UINT16
    if kind == "i":
        return INT8 if dtype.itemsize == 1 else INT16
    return BFLOAT16


cdef struct Array:
    char *data
    Py_ssize_t images, channels, height, width  # of `out`: boxes, ..., rows and columns of bins
    Py_ssize_t image, channel, row, col         # strides in bytes
    Py_ssize_t itemsize
    int stored


cdef class View:
    """A 4-D array's memory, for as long as this object lives."""

    cdef Py_buffer buffer
    cdef Array array

    def __cinit__(self, array, bint writable=False):
        cdef size_t bits
        cdef int axis
        dtype = array.dtype
        self.array.stored = type_of(dtype)
        if self.array.stored == BFLOAT16:  # NumPy exports no buffers of it
            array = array.view("u2")
        PyObject_GetBuffer(
            array, &self.buffer, PyBUF_STRIDES | PyBUF_WRITABLE if writable else PyBUF_STRIDES
        )
        cdef const Py_ssize_t *shape = self.buffer.shape
        cdef const Py_ssize_t *strides = self.buffer.strides
        self.array.data = <char *>self.buffer.buf
        self.array.images, self.array.channels = shape[0], shape[1]
        self.array.height, self.array.width = shape[2], shape[3]
        self.array.image, self.array.channel = strides[0], strides[1]
        self.array.row, self.array.col = strides[2], strides[3]
        self.array.itemsize = self.buffer.itemsize
        bits = <size_t>self.buffer.buf
        for axis in range(4):
            bits |= <size_t>strides[axis]
        if bits & <size_t>(self.buffer.itemsize - 1):
            self.array.stored |= UNALIGNED
        if not dtype.isnative:
            self.array.stored |= SWAPPED

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


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


cdef Call call_of(Operation operation, View out, const Array *maps, BoxTaps taps):
    """What all operations have; ``out`` is the array by boxes, ``maps`` gives the maps' shape."""
    cdef Call call
    if taps.first == taps.last:
        raise ValueError("taps must have a batch at hand: next_batch() makes one")
    memset(&call, 0, sizeof(call))
    call.operation = operation
    call.out = out.array
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
