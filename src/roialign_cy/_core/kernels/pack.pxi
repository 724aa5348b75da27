# Between arrays of any strides and cells of LANES channels: packing rows of a map, and writing
# pooled cells out. float16 is converted on the way, so nothing else knows of it.


cdef inline real load(const char *address, int itemsize) noexcept nogil:
    if itemsize == 2:
        return half_to_float((<const uint16_t *>address)[0])
    return (<const real *>address)[0]


cdef inline void store(char *address, int itemsize, real value) noexcept nogil:
    if itemsize == 2:
        (<uint16_t *>address)[0] = float_to_half(<float>value)
    else:
        (<real *>address)[0] = value


cdef extern from "transpose.h" nogil:
    enum:
        FLOAT_TILE
    void transpose_tile(
        const float *source, Py_ssize_t source_row, float *target, Py_ssize_t target_row
    )


cdef inline bint lie_side_by_side(
    Py_ssize_t stride, Py_ssize_t channel_stride, int itemsize
) noexcept nogil:
    """Whether rows of floats can be transposed to or from cells a tile at a time."""
    return (
        FLOAT_TILE > 0
        and sizeof(real) == sizeof(float)
        and itemsize == <int>sizeof(float)
        and stride == <Py_ssize_t>sizeof(float)
        and channel_stride % <Py_ssize_t>sizeof(float) == 0
    )


cdef void pack_cells(
    const char *source, Py_ssize_t channel_stride, Py_ssize_t cell_stride, int itemsize,
    Py_ssize_t channels, Py_ssize_t count, real *cells,
) noexcept nogil:
    """Gather ``count`` cells of a row; lanes beyond ``channels`` become 0."""
    cdef Py_ssize_t x = 0, i
    if channels == LANES and count >= FLOAT_TILE and lie_side_by_side(
        cell_stride, channel_stride, itemsize
    ):
        while x < count:
            x = min(x, count - FLOAT_TILE)  # the last tile overlaps the one before
            i = 0
            while i < LANES:
                transpose_tile(
                    <const float *>(source + i * channel_stride) + x,
                    channel_stride // <Py_ssize_t>sizeof(float),
                    <float *>cells + x * LANES + i, LANES,
                )
                i += FLOAT_TILE
            x += FLOAT_TILE
        return
    for x in range(count):
        for i in range(channels):
            cells[i] = load(source + x * cell_stride + i * channel_stride, itemsize)
        for i in range(channels, LANES):
            cells[i] = 0
        cells += LANES


cdef void unpack_cells(
    const real *cells, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t channels, char *out,
    Py_ssize_t channel_stride, Py_ssize_t row_stride, Py_ssize_t col_stride, int itemsize,
) noexcept nogil:
    """Write ``rows x cols`` cells into an array of any strides."""
    cdef Py_ssize_t r, c, i, x = 0, count = rows * cols
    cdef char *plane
    if (
        channels == LANES
        and count >= FLOAT_TILE
        and row_stride == cols * col_stride
        and lie_side_by_side(col_stride, channel_stride, itemsize)
    ):
        while x < count:
            x = min(x, count - FLOAT_TILE)
            i = 0
            while i < LANES:
                transpose_tile(
                    <const float *>cells + x * LANES + i, LANES,
                    <float *>(out + i * channel_stride) + x,
                    channel_stride // <Py_ssize_t>sizeof(float),
                )
                i += FLOAT_TILE
            x += FLOAT_TILE
        return
    if itemsize == <int>sizeof(real) and channel_stride == <Py_ssize_t>sizeof(real):
        for r in range(rows):
            for c in range(cols):
                plane = out + r * row_stride + c * col_stride
                if channels == LANES:
                    for i in range(LANES):
                        (<real *>plane)[i] = cells[i]
                else:
                    for i in range(channels):
                        (<real *>plane)[i] = cells[i]
                cells += LANES
        return
    for i in range(channels):
        plane = out + i * channel_stride
        for r in range(rows):
            for c in range(cols):
                store(
                    plane + r * row_stride + c * col_stride, itemsize,
                    cells[(r * cols + c) * LANES + i],
                )
