# From arrays of any strides to cells of LANES channels and back: packing rows of a map, and writing
# pooled cells out. Types, byte orders and unaligned addresses are dealt with on the way, so that
# nothing else has to know of them.


cdef inline real load_element(const char *address, int stored) noexcept nogil:
    if stored:
        return load_converted(address, stored)
    return (<const real *>address)[0]


cdef real load_converted(const char *address, int stored) noexcept nogil:
    return converted(address, stored)


cdef inline real converted(const char *address, int stored) noexcept nogil:
    cdef uint16_t bits
    cdef real value
    if stored & UINT8:
        return <real>(<const unsigned char *>address)[0]
    if stored & INT8:
        return <real>(<const signed char *>address)[0]
    if stored & BOOL:
        return 1 if address[0] else 0
    if stored & (HALF | BFLOAT16 | UINT16 | INT16):
        copy_element(&bits, address, sizeof(uint16_t), stored)
        if stored & HALF:
            return half_to_float(bits)
        if stored & BFLOAT16:
            return bfloat16_to_float(bits)
        return <real>bits if stored & UINT16 else <real><int16_t>bits
    copy_element(&value, address, sizeof(real), stored)
    return value


cdef extern from "halves.h" nogil:
    bint HAS_HALVES
    void load_halves(const void *source, Py_ssize_t count, float *out)
    void store_halves(const float *values, Py_ssize_t count, void *target)


cdef inline void load_all(
    const char *source, Py_ssize_t step, int stored, Py_ssize_t count, real *out
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = converted(source + i * step, stored)


cdef void load_elements(
    const char *source, Py_ssize_t step, int stored, Py_ssize_t count, real *out
) noexcept nogil:
    """Load elements that lie ``step`` bytes apart.

    If they lie side by side, type and step are constants of the loop, for the sake of SIMD.
    """
    if HAS_HALVES and sizeof(real) == sizeof(float) and stored == HALF and step == 2:
        load_halves(source, count, <float *>out)
    elif stored == UINT8 and step == 1:
        load_all(source, 1, UINT8, count, out)
    elif stored == INT8 and step == 1:
        load_all(source, 1, INT8, count, out)
    elif stored == BOOL and step == 1:
        load_all(source, 1, BOOL, count, out)
    elif stored == UINT16 and step == 2:
        load_all(source, 2, UINT16, count, out)
    elif stored == INT16 and step == 2:
        load_all(source, 2, INT16, count, out)
    elif stored == BFLOAT16 and step == 2:
        load_all(source, 2, BFLOAT16, count, out)
    elif stored == HALF and step == 2:
        load_all(source, 2, HALF, count, out)
    else:
        load_all(source, step, stored, count, out)


cdef inline void store_element(char *address, int stored, real value) noexcept nogil:
    """Write ``value``, or NAN for any NaN: all have one sign and payload in a result."""
    cdef uint16_t bits
    if stored & (HALF | BFLOAT16):
        bits = (
            float_to_half(<float>value) if stored & HALF else float_to_bfloat16(<float>value)
        )
        copy_element(address, &bits, sizeof(uint16_t), stored)
    elif stored:
        value = with_one_nan(value)
        copy_element(address, &value, sizeof(real), stored)
    else:
        (<real *>address)[0] = with_one_nan(value)


cdef void store_elements(
    const real *values, char *target, Py_ssize_t step, int stored, Py_ssize_t count
) noexcept nogil:
    """Write elements ``step`` bytes apart."""
    cdef Py_ssize_t i
    if HAS_HALVES and sizeof(real) == sizeof(float) and stored == HALF and step == 2:
        store_halves(<const float *>values, count, target)
    elif stored == BFLOAT16 and step == 2:
        for i in range(count):
            store_element(target + 2 * i, BFLOAT16, values[i])
    else:
        for i in range(count):
            store_element(target + i * step, stored, values[i])


cdef inline void copy_element(
    void *target, const void *source, int size, int stored
) noexcept nogil:
    cdef int i
    if stored & SWAPPED:
        for i in range(size):
            (<char *>target)[i] = (<const char *>source)[size - 1 - i]
    else:
        memcpy(target, source, size)


cdef inline real with_one_nan(real value) noexcept nogil:
    return value if value == value else <real>NAN


cdef extern from "transpose.h" nogil:
    enum:
        FLOAT_TILE
    void pack_tile(
        const float *const *planes, Py_ssize_t x, float *cells, Py_ssize_t lanes
    )
    void unpack_tiles(
        const float *cells, Py_ssize_t lanes, float *const *planes, Py_ssize_t channels,
        Py_ssize_t count
    )
    void PREFETCH(const void *address)

cdef extern from "stream.h" nogil:
    void copy_streaming(const char *source, char *target, Py_ssize_t size)
    void end_streaming()


cdef inline bint fits_tiles(Py_ssize_t count, Py_ssize_t stride, int stored) noexcept nogil:
    """Whether planes of ``count`` floats can be transposed to or from cells a tile at a time."""
    return (
        FLOAT_TILE > 0
        and count >= FLOAT_TILE
        and sizeof(real) == sizeof(float)
        and stored == 0
        and stride == <Py_ssize_t>sizeof(float)
    )


cdef void pack_cells(
    const char *source, Py_ssize_t channel_stride, Py_ssize_t cell_stride, int stored,
    Py_ssize_t channels, Py_ssize_t count, real *cells, Py_ssize_t ahead,
) noexcept nogil:
    """Gather ``count`` cells of a row; lanes beyond ``channels`` are filled with any numbers.

    What lies ``ahead`` bytes further is prefetched, as it is wanted next; not if that is 0.
    """
    cdef Py_ssize_t x = 0, i
    cdef const float *plane[LANES]
    if stored:
        pack_converted(source, channel_stride, cell_stride, stored, channels, count, cells)
        return
    if fits_tiles(count, cell_stride, stored):
        for i in range(LANES):
            plane[i] = <const float *>(source + min(i, channels - 1) * channel_stride)
        while x < count:
            x = min(x, count - FLOAT_TILE)  # the last tile overlaps the one before
            if ahead and (x * <Py_ssize_t>sizeof(float)) % 64 == 0:
                for i in range(LANES):
                    PREFETCH(<const char *>(plane[i] + x) + ahead)
            i = 0
            while i < LANES:
                pack_tile(plane + i, x, <float *>cells + x * LANES + i, LANES)
                i += FLOAT_TILE
            x += FLOAT_TILE
        return
    if channels == LANES and channel_stride == <Py_ssize_t>sizeof(real):
        for x in range(count):
            if ahead:
                PREFETCH(source + x * cell_stride + ahead)
            store_lanes(cells + x * LANES, load_lanes(<const real *>(source + x * cell_stride)))
        return
    for x in range(count):
        for i in range(channels):
            cells[i] = (<const real *>(source + x * cell_stride + i * channel_stride))[0]
        for i in range(channels, LANES):
            cells[i] = 0
        cells += LANES


cdef enum:
    CONVERTED = 64  # elements of a channel that are converted at a time, and then packed


cdef void pack_converted(
    const char *source, Py_ssize_t channel_stride, Py_ssize_t cell_stride, int stored,
    Py_ssize_t channels, Py_ssize_t count, real *cells,
) noexcept nogil:
    cdef real planes[LANES * CONVERTED]
    cdef Py_ssize_t x = 0, i, columns
    if channels == LANES and channel_stride < cell_stride:
        for x in range(count):
            load_elements(
                source + x * cell_stride, channel_stride, stored, channels, cells + x * LANES
            )
        return
    while x < count:
        columns = min(<Py_ssize_t>CONVERTED, count - x)
        for i in range(channels):
            load_elements(
                source + i * channel_stride + x * cell_stride, cell_stride, stored, columns,
                planes + i * CONVERTED,
            )
        pack_cells(
            <const char *>planes, CONVERTED * sizeof(real), sizeof(real), 0, channels, columns,
            cells + x * LANES, 0,
        )
        x += CONVERTED


cdef void unpack_cells(
    const real *cells, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t channels, char *out,
    Py_ssize_t channel_stride, Py_ssize_t row_stride, Py_ssize_t col_stride, int stored,
) noexcept nogil:
    """Write ``rows x cols`` cells into an array of any strides, every NaN as NAN."""
    cdef Py_ssize_t r, c, i, count = rows * cols
    cdef char *address
    cdef float *plane[LANES]
    if row_stride == cols * col_stride and fits_tiles(count, col_stride, stored):
        for i in range(channels):
            plane[i] = <float *>(out + i * channel_stride)
        unpack_tiles(<const float *>cells, LANES, plane, channels, count)
    elif stored == 0 and channel_stride == <Py_ssize_t>sizeof(real) and channels == LANES:
        for r in range(rows):
            for c in range(cols):
                store_lanes(
                    <real *>(out + r * row_stride + c * col_stride),
                    with_one_nan_in_lanes(load_lanes(cells)),
                )
                cells += LANES
    elif stored:
        unpack_converted(
            cells, rows, cols, channels, out, channel_stride, row_stride, col_stride, stored
        )
    elif has_nan(cells, count):
        for i in range(channels):
            for r in range(rows):
                address = out + i * channel_stride + r * row_stride
                for c in range(cols):
                    store_element(
                        address + c * col_stride, stored, cells[(r * cols + c) * LANES + i]
                    )
    else:
        for i in range(channels):
            for r in range(rows):
                address = out + i * channel_stride + r * row_stride
                for c in range(cols):
                    (<real *>(address + c * col_stride))[0] = cells[(r * cols + c) * LANES + i]


cdef void unpack_converted(
    const real *cells, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t channels, char *out,
    Py_ssize_t channel_stride, Py_ssize_t row_stride, Py_ssize_t col_stride, int stored,
) noexcept nogil:
    cdef real planes[LANES * CONVERTED]
    cdef Py_ssize_t r, c, i, columns
    if row_stride == cols * col_stride:  # then they are one long row
        rows, cols = 1, rows * cols
    for r in range(rows):
        if channel_stride < col_stride:
            for c in range(cols):
                store_elements(
                    cells, out + r * row_stride + c * col_stride, channel_stride, stored, channels
                )
                cells += LANES
            continue
        c = 0
        while c < cols:
            columns = min(<Py_ssize_t>CONVERTED, cols - c)
            unpack_cells(
                cells, 1, columns, channels, <char *>planes, CONVERTED * sizeof(real),
                columns * sizeof(real), sizeof(real), 0,
            )
            for i in range(channels):
                store_elements(
                    planes + i * CONVERTED, out + i * channel_stride + r * row_stride
                    + c * col_stride, col_stride, stored, columns,
                )
            cells += columns * LANES
            c += columns


cdef inline bint has_nan(const real *cells, Py_ssize_t count) noexcept nogil:
    """Whether a NaN is in any lane; in one without a channel, that only costs time."""
    cdef lanes_mask nan = no_lanes()
    cdef Py_ssize_t j
    for j in range(count):
        nan = or_nan(nan, load_lanes(cells + j * LANES), load_lanes(cells + j * LANES))
    return is_any(nan)
