# Weighted sums that are added to cells at given offsets: the transpose of a weighted sum.


cdef inline void add_few(
    const real *lines, const Term *term, Py_ssize_t terms, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t count, real *out,
) noexcept nogil:
    """The sum of `add_lines` for 1 to 4 terms, a constant in every call."""
    cdef const real *cells[TERMS]  # copied, since a store to out cannot change locals
    cdef real weight[TERMS]
    cdef lanes total
    cdef Py_ssize_t j, t, o
    for t in range(terms):
        cells[t] = lines + term[t].place
        weight[t] = term[t].weight
    for j in range(count):
        o = offset[j] if is_listed else j * LANES
        total = load_lanes(out + o)
        for t in range(terms):
            total = plus(total, times(cells[t] + j * LANES, weight[t]))
        store_lanes(out + o, total)


cdef inline void add_any(
    const real *lines, const Term *term, Py_ssize_t terms, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t count, real *out,
) noexcept nogil:
    while terms >= 4:
        add_few(lines, term, 4, is_listed, offset, count, out)
        term += 4
        terms -= 4
    if terms == 1:
        add_few(lines, term, 1, is_listed, offset, count, out)
    elif terms == 2:
        add_few(lines, term, 2, is_listed, offset, count, out)
    elif terms == 3:
        add_few(lines, term, 3, is_listed, offset, count, out)


cdef inline void add_lines(
    const real *lines, const Term *term, Py_ssize_t terms, const Py_ssize_t *offset,
    Py_ssize_t count, real *out,
) noexcept nogil:
    """``out[offset[j]] += weight * lines[place + j]``, term by term; offsets ascend."""
    if offset[count - 1] - offset[0] == (count - 1) * LANES:
        add_any(lines, term, terms, False, NULL, count, out + offset[0])
    else:
        add_any(lines, term, terms, True, offset, count, out)
