# The arithmetic: weighted sums and maxima of cells, a cell being LANES consecutive channels. Both
# stages of RoI Align are the same sum: rows combined at the columns that a box reads, then those
# columns combined. Terms are added in the order of the taps, always: that order is the result.


cdef inline void mix_few(
    const real *const *source, const real *weight, Py_ssize_t terms, bint go_on,
    const Py_ssize_t *offset, Py_ssize_t count, real *out, Py_ssize_t out_stride,
) noexcept nogil:
    """``out[j] (+)= sum of weight[t] * source[t][offset[j]]`` for 1 to 4 terms.

    ``terms`` and ``go_on`` are constants where this is called: the branches on them vanish.
    """
    cdef const real *a = source[0]
    cdef const real *b = source[1 if terms > 1 else 0]
    cdef const real *c = source[2 if terms > 2 else 0]
    cdef const real *d = source[3 if terms > 3 else 0]
    cdef real wa = weight[0]
    cdef real wb = weight[1 if terms > 1 else 0]
    cdef real wc = weight[2 if terms > 2 else 0]
    cdef real wd = weight[3 if terms > 3 else 0]
    cdef real acc[LANES]  # a local, or the compiler must fear that out overlaps the sources
    cdef Py_ssize_t i, j, o
    for j in range(count):
        o = offset[j]
        # A loop to a term: gcc takes products in one loop for interchangeable, and gathers its
        # vectors element by element.
        for i in range(LANES):
            acc[i] = wa * a[o + i]
        if go_on:
            for i in range(LANES):
                acc[i] = out[i] + acc[i]
        if terms > 1:
            for i in range(LANES):
                acc[i] = acc[i] + wb * b[o + i]
        if terms > 2:
            for i in range(LANES):
                acc[i] = acc[i] + wc * c[o + i]
        if terms > 3:
            for i in range(LANES):
                acc[i] = acc[i] + wd * d[o + i]
        for i in range(LANES):
            out[i] = acc[i]
        out += out_stride


cdef void mix(
    const real *const *source, const real *weight, Py_ssize_t terms,
    const Py_ssize_t *offset, Py_ssize_t count, real *out, Py_ssize_t out_stride,
) noexcept nogil:
    """``out[j] = sum of weight[t] * source[t][offset[j]]`` over any number of terms."""
    cdef Py_ssize_t t = 4
    if terms == 2:
        mix_few(source, weight, 2, False, offset, count, out, out_stride)
    elif terms == 3:
        mix_few(source, weight, 3, False, offset, count, out, out_stride)
    elif terms == 1:
        mix_few(source, weight, 1, False, offset, count, out, out_stride)
    elif terms > 3:
        mix_few(source, weight, 4, False, offset, count, out, out_stride)
        while terms - t >= 4:
            mix_few(source + t, weight + t, 4, True, offset, count, out, out_stride)
            t += 4
        if terms - t == 3:
            mix_few(source + t, weight + t, 3, True, offset, count, out, out_stride)
        elif terms - t == 2:
            mix_few(source + t, weight + t, 2, True, offset, count, out, out_stride)
        elif terms - t == 1:
            mix_few(source + t, weight + t, 1, True, offset, count, out, out_stride)
    else:  # nothing is read here
        for t in range(count):
            memset(out + t * out_stride, 0, LANES * sizeof(real))


cdef inline real larger(real best, real value) noexcept nogil:
    """The larger of two; a NaN on either side stays."""
    cdef real most = value if value > best else best  # never leaves a NaN in best
    return value if value != value else most


cdef inline real finish_maximum(real best, bint has_sample_outside) noexcept nogil:
    """A sample outside the map counts as 0. Adding 0 makes -0 one value with it, so that the
    bits do not depend on the order in which equals were met.
    """
    if has_sample_outside and best < 0:
        best = 0
    return best + 0


cdef inline void keep_larger(real *best, const real *value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        best[i] = larger(best[i], value[i])


cdef inline void mix_larger(
    const real *a, const real *b, real wa, real wb, Py_ssize_t terms, bint go_on,
    Py_ssize_t stride, Py_ssize_t count, real *best,
) noexcept nogil:
    """``best[j] = max(best[j] if go_on, wa * a[j] + wb * b[j])`` over ``count`` cells.

    ``terms`` and ``go_on`` are constants where this is called.
    """
    cdef real value[LANES]
    cdef Py_ssize_t i, j
    for j in range(count):
        for i in range(LANES):
            value[i] = wa * a[i]
        if terms > 1:
            for i in range(LANES):
                value[i] = value[i] + wb * b[i]
        if go_on:
            for i in range(LANES):
                value[i] = larger(best[i], value[i])
        for i in range(LANES):
            best[i] = value[i]
        a += stride
        b += stride
        best += LANES
