# The arithmetic: weighted sums of cells, a cell being LANES consecutive channels. Both stages of
# RoI Align are the same sum: rows combined at the columns that a box reads, then those columns
# combined. Terms are always added in the order of the taps, since that order is part of the result.

cdef extern from "lanes.h" nogil:
    enum:
        LANES
    ctypedef struct lanes:
        pass
    ctypedef struct lanes_mask:
        pass
    ctypedef int flag  # as wide as real
    lanes load_lanes(const real *cell)
    void store_lanes(real *cell, lanes x)
    lanes all_lanes(real value)
    lanes scaled(lanes x, real weight)
    lanes times(const real *cell, real weight)
    lanes plus(lanes a, lanes b)
    lanes minus(lanes a, lanes b)
    lanes product(lanes a, lanes b)
    lanes larger_lanes(lanes a, lanes b)
    lanes_mask no_lanes()
    lanes_mask or_nan(lanes_mask mask, lanes a, lanes b)
    lanes chosen(lanes_mask mask, lanes a, lanes b)
    lanes not_negative(lanes a)
    lanes plus_nan(lanes a, lanes_mask mask)
    lanes_mask all_numbers(flag value)
    lanes_mask load_mask(const flag *cell)
    void store_mask(flag *cell, lanes_mask mask)
    lanes_mask chosen_numbers(lanes_mask mask, lanes_mask m, lanes_mask n)
    lanes_mask is_larger(lanes a, lanes b)
    lanes_mask is_greater(lanes a, lanes b)
    lanes_mask equal_numbers(lanes_mask m, flag n)
    bint is_any(lanes_mask mask)
    lanes with_one_nan_in_lanes(lanes a)


cdef enum:
    TERMS = 8  # of a sum that are added at a time; more would not stay in registers
    SHORT = 4  # terms of most sums: one sample has 2, merged ones of a detector's bins up to 4


cdef struct Term:
    Py_ssize_t place
    real weight


cdef inline void weighted_sum_few(
    const real *base, const Term *term, Py_ssize_t terms, bint go_on, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t step, Py_ssize_t count, real *out, Py_ssize_t out_step,
) noexcept nogil:
    """A sum of 1 to TERMS terms, to be added to what is there if ``go_on``.

    ``terms``, ``go_on`` and ``is_listed`` are constants in every call, so that loops unroll.
    """
    cdef const real *cells[TERMS]  # copied, since a store to out cannot change locals
    cdef real weight[TERMS]
    cdef lanes total
    cdef Py_ssize_t j, t, o = 0
    for t in range(terms):
        cells[t] = base + term[t].place
        weight[t] = term[t].weight
    for j in range(count):
        if is_listed:
            o = offset[j]
        if go_on:
            total = plus(load_lanes(out), times(cells[0] + o, weight[0]))
        else:
            total = times(cells[0] + o, weight[0])
        for t in range(1, terms):
            total = plus(total, times(cells[t] + o, weight[t]))
        store_lanes(out, total)
        out += out_step
        if not is_listed:
            o += step


cdef inline void weighted_sum_short(
    const real *base, const Term *term, Py_ssize_t terms, bint go_on, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t step, Py_ssize_t count, real *out, Py_ssize_t out_step,
) noexcept nogil:
    """The same for up to SHORT terms, whose number is no constant."""
    if terms == 1:
        weighted_sum_few(base, term, 1, go_on, is_listed, offset, step, count, out, out_step)
    elif terms == 2:
        weighted_sum_few(base, term, 2, go_on, is_listed, offset, step, count, out, out_step)
    elif terms == 3:
        weighted_sum_few(base, term, 3, go_on, is_listed, offset, step, count, out, out_step)
    elif terms == 4:
        weighted_sum_few(base, term, 4, go_on, is_listed, offset, step, count, out, out_step)


cdef inline void weighted_sum_long(
    const real *base, const Term *term, Py_ssize_t terms, bint is_listed,
    const Py_ssize_t *offset, Py_ssize_t step, Py_ssize_t count, real *out, Py_ssize_t out_step,
) noexcept nogil:
    """The same for more terms than that."""
    cdef bint go_on = False
    while terms >= TERMS:
        if go_on:
            weighted_sum_few(base, term, TERMS, True, is_listed, offset, step, count, out, out_step)
        else:
            weighted_sum_few(
                base, term, TERMS, False, is_listed, offset, step, count, out, out_step
            )
        go_on = True
        term += TERMS
        terms -= TERMS
    if terms >= SHORT:
        if go_on:
            weighted_sum_few(base, term, SHORT, True, is_listed, offset, step, count, out, out_step)
        else:
            weighted_sum_few(
                base, term, SHORT, False, is_listed, offset, step, count, out, out_step
            )
        term += SHORT
        terms -= SHORT
    weighted_sum_short(base, term, terms, True, is_listed, offset, step, count, out, out_step)


cdef void store_zeros(Py_ssize_t count, real *out, Py_ssize_t out_step) noexcept nogil:
    """The sum of no terms: nothing is read."""
    cdef Py_ssize_t j
    for j in range(count):
        store_lanes(out + j * out_step, all_lanes(0))


cdef void weighted_sum_of_many(
    const real *base, const Term *term, Py_ssize_t terms, Py_ssize_t step, Py_ssize_t count,
    real *out, Py_ssize_t out_step,
) noexcept nogil:
    """Not inline, as sums of fewer terms are spared saving the registers of this."""
    if step == LANES and out_step == LANES:  # constant steps are cheaper
        weighted_sum_long(base, term, terms, False, NULL, LANES, count, out, LANES)
    else:
        weighted_sum_long(base, term, terms, False, NULL, step, count, out, out_step)


cdef struct Sums:
    # The terms of sums that are computed one after another.
    const int32_t *lines    # of each, whether it has terms; NULL: all do
    const int32_t *counts   # of those that have: how many
    const Term *term


cdef inline Py_ssize_t next_count(Sums *sums) noexcept nogil:
    """How many terms the next sum has; the caller then moves ``term`` past them."""
    cdef Py_ssize_t terms = 0
    if sums.lines == NULL or sums.lines[0]:
        terms = sums.counts[0]
        sums.counts += 1
    if sums.lines != NULL:
        sums.lines += 1
    return terms


cdef inline void weighted_sums_by(
    Sums *sums, Py_ssize_t number, const real *base, Py_ssize_t step, Py_ssize_t count, real *out,
    Py_ssize_t out_step, Py_ssize_t next_out,
) noexcept nogil:
    cdef Sums left = sums[0]  # a local, which no store to out can change
    cdef Py_ssize_t k, terms
    for k in range(number):
        terms = next_count(&left)
        if 0 < terms <= SHORT:
            weighted_sum_short(
                base, left.term, terms, False, False, NULL, step, count, out, out_step
            )
        elif terms:
            weighted_sum_of_many(base, left.term, terms, step, count, out, out_step)
        else:
            store_zeros(count, out, out_step)
        left.term += terms
        out += next_out
    sums[0] = left


cdef void weighted_sums(
    Sums *sums, Py_ssize_t number, const real *base, Py_ssize_t step, Py_ssize_t count, real *out,
    Py_ssize_t out_step, Py_ssize_t next_out,
) noexcept nogil:
    """Compute the next sums: ``out[j] = sum of weight * base[place + j * step]`` for each.

    In one call, since there are many of few terms. Each has ``count`` results, which are
    ``out_step`` apart, and begin ``next_out`` after those of the sum before.
    """
    if step == LANES and out_step == LANES:  # constant steps are cheaper
        weighted_sums_by(sums, number, base, LANES, count, out, LANES, next_out)
    else:
        weighted_sums_by(sums, number, base, step, count, out, out_step, next_out)


cdef void weighted_sum_dense(
    const real *base, const Term *term, Py_ssize_t terms, Py_ssize_t count, real *out
) noexcept nogil:
    """A sum of any number of terms, of contiguous cells to contiguous cells."""
    if terms > SHORT:
        weighted_sum_of_many(base, term, terms, LANES, count, out, LANES)
    elif terms:
        weighted_sum_short(base, term, terms, False, False, NULL, LANES, count, out, LANES)
    else:
        store_zeros(count, out, LANES)


cdef void weighted_sum_gathered(
    const real *base, const Term *term, Py_ssize_t terms, const Py_ssize_t *offset,
    Py_ssize_t count, real *out, Py_ssize_t out_step,
) noexcept nogil:
    """``out[j] = sum of weight * base[place + offset[j]]`` over any number of terms."""
    if terms > SHORT:
        weighted_sum_long(base, term, terms, True, offset, 0, count, out, out_step)
    elif terms:
        weighted_sum_short(base, term, terms, False, True, offset, 0, count, out, out_step)
    else:
        store_zeros(count, out, out_step)
