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


cdef void pack_cells(
    const char *source, Py_ssize_t channel_stride, Py_ssize_t cell_stride, int itemsize,
    Py_ssize_t channels, Py_ssize_t count, real *cells,
) noexcept nogil:
    """Gather ``count`` cells of a row; lanes beyond ``channels`` become 0."""
    cdef Py_ssize_t x, i
    cdef const real *p[LANES]
    if (
        channels == LANES
        and itemsize == <Py_ssize_t>sizeof(real)
        and cell_stride == <Py_ssize_t>sizeof(real)
    ):
        for i in range(LANES):
            p[i] = <const real *>(source + i * channel_stride)
        pack_planes(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11],
                    p[12], p[13], p[14], p[15], count, cells)
        return
    for x in range(count):
        for i in range(channels):
            cells[i] = load(source + x * cell_stride + i * channel_stride, itemsize)
        for i in range(channels, LANES):
            cells[i] = 0
        cells += LANES


cdef void pack_planes(
    const real *p0, const real *p1, const real *p2, const real *p3, const real *p4,
    const real *p5, const real *p6, const real *p7, const real *p8, const real *p9,
    const real *p10, const real *p11, const real *p12, const real *p13, const real *p14,
    const real *p15, Py_ssize_t count, sole cells,
) noexcept nogil:
    # Written out, and into a pointer known to be the only one to its memory: so the compiler
    # sees a transposition, and makes it one of whole vectors.
    cdef Py_ssize_t x
    for x in range(count):
        cells[LANES * x] = p0[x]
        cells[LANES * x + 1] = p1[x]
        cells[LANES * x + 2] = p2[x]
        cells[LANES * x + 3] = p3[x]
        cells[LANES * x + 4] = p4[x]
        cells[LANES * x + 5] = p5[x]
        cells[LANES * x + 6] = p6[x]
        cells[LANES * x + 7] = p7[x]
        cells[LANES * x + 8] = p8[x]
        cells[LANES * x + 9] = p9[x]
        cells[LANES * x + 10] = p10[x]
        cells[LANES * x + 11] = p11[x]
        cells[LANES * x + 12] = p12[x]
        cells[LANES * x + 13] = p13[x]
        cells[LANES * x + 14] = p14[x]
        cells[LANES * x + 15] = p15[x]


cdef void unpack_planes(
    const real *cells, Py_ssize_t count, sole p0, sole p1, sole p2, sole p3, sole p4, sole p5,
    sole p6, sole p7, sole p8, sole p9, sole p10, sole p11, sole p12, sole p13, sole p14, sole p15,
) noexcept nogil:
    """The reverse of `pack_planes`."""
    cdef Py_ssize_t x
    for x in range(count):
        p0[x] = cells[LANES * x]
        p1[x] = cells[LANES * x + 1]
        p2[x] = cells[LANES * x + 2]
        p3[x] = cells[LANES * x + 3]
        p4[x] = cells[LANES * x + 4]
        p5[x] = cells[LANES * x + 5]
        p6[x] = cells[LANES * x + 6]
        p7[x] = cells[LANES * x + 7]
        p8[x] = cells[LANES * x + 8]
        p9[x] = cells[LANES * x + 9]
        p10[x] = cells[LANES * x + 10]
        p11[x] = cells[LANES * x + 11]
        p12[x] = cells[LANES * x + 12]
        p13[x] = cells[LANES * x + 13]
        p14[x] = cells[LANES * x + 14]
        p15[x] = cells[LANES * x + 15]


cdef void unpack_cells(
    const real *cells, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t channels, char *out,
    Py_ssize_t channel_stride, Py_ssize_t row_stride, Py_ssize_t col_stride, int itemsize,
) noexcept nogil:
    """Write ``rows x cols`` cells into an array of any strides."""
    cdef Py_ssize_t r, c, i
    cdef char *plane
    cdef real *p[LANES]
    if (
        channels == LANES
        and itemsize == <Py_ssize_t>sizeof(real)
        and col_stride == <Py_ssize_t>sizeof(real)
        and row_stride == cols * <Py_ssize_t>sizeof(real)
    ):
        for i in range(LANES):
            p[i] = <real *>(out + i * channel_stride)
        unpack_planes(
            cells, rows * cols, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10],
            p[11], p[12], p[13], p[14], p[15],
        )
        return
    if itemsize == <Py_ssize_t>sizeof(real) and channel_stride == <Py_ssize_t>sizeof(real):
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
