# The planar order where rows of bins do not go side by side: one bin after the other, for
# boxes that read too many columns, and for ONNX's maximum, which is here for its sake only.


cdef inline real larger(real best, real value) noexcept nogil:
    """The larger of two; a NaN on either side stays."""
    cdef real most = value if value > best else best  # never leaves a NaN in best
    return value if value != value else most


cdef inline real finish_maximum(real best, bint has_sample_outside) noexcept nogil:
    """A sample outside the map counts as 0. Adding 0 makes -0 one value with it, so that the
    bits do not depend on the order in which equals were met; and all NaN are one.
    """
    if best != best:
        return NAN
    if has_sample_outside and best < 0:
        best = 0
    return best + 0


cdef real mean_of_bin(const Call *call, const Row *row, Py_ssize_t line) noexcept nogil:
    cdef Py_ssize_t tap = call.x.tap_begin[line]
    cdef real total = <real>call.x.weight[tap] * interpolate_column(row, call.x.cell[tap])
    for tap in range(tap + 1, call.x.tap_end[line]):
        total = total + <real>call.x.weight[tap] * interpolate_column(row, call.x.cell[tap])
    return total


cdef real largest_of_bin(
    const Call *call, const Row *row, Py_ssize_t x_bin, real best
) noexcept nogil:
    cdef Py_ssize_t line, tap
    cdef real value
    for line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
        tap = call.x.tap_begin[line]
        value = <real>call.x.weight[tap] * interpolate_column(row, call.x.cell[tap])
        if call.x.tap_end[line] - tap == 2:
            value = value + (
                <real>call.x.weight[tap + 1] * interpolate_column(row, call.x.cell[tap + 1])
            )
        best = larger(best, value)
    return best


cdef real largest_weighted(
    const Call *call, const Row *row, Py_ssize_t y_line, Py_ssize_t x_bin, real best
) noexcept nogil:
    """ONNX's maximum, over weighted neighbours: plain, since it is here for its sake only."""
    cdef Py_ssize_t line, ty, tx
    cdef real value
    cdef const char *cell
    for line in range(call.x.line_begin[x_bin], call.x.line_end[x_bin]):
        for ty in range(row.terms):
            for tx in range(call.x.tap_begin[line], call.x.tap_end[line]):
                cell = row.cells + row.offset[ty] + call.x.cell[tx] * row.col_stride
                value = <real>(
                    call.y.weight[call.y.tap_begin[y_line] + ty] * call.x.weight[tx]
                ) * load_element(cell, row.stored)
                best = larger(best, value)
        if row.terms * (call.x.tap_end[line] - call.x.tap_begin[line]) < 4:
            best = larger(best, 0)  # a neighbour of weight zero counts as 0
    return best


cdef void pool_one_by_one(
    const Call *call, Row *row, const Workspace *work, Py_ssize_t box, char *out
) noexcept nogil:
    """Pool one channel of one box, one bin after the other."""
    cdef Py_ssize_t r, c, line, y_bin, x_bin
    for r in range(call.y.bins):
        y_bin = box * call.y.bins + r
        for c in range(call.x.bins):
            x_bin = box * call.x.bins + c
            work.cells[c] = (
                -INFINITY if call.mode != AVG and has_lines(call, y_bin, x_bin) else 0
            )
        for line in range(call.y.line_begin[y_bin], call.y.line_end[y_bin]):
            find_terms(call, row, line)
            for c in range(call.x.bins):
                x_bin = box * call.x.bins + c
                if call.x.line_begin[x_bin] == call.x.line_end[x_bin]:
                    continue
                if call.mode == AVG:
                    work.cells[c] = mean_of_bin(call, row, call.x.line_begin[x_bin])
                elif call.mode == MAX:
                    work.cells[c] = largest_of_bin(call, row, x_bin, work.cells[c])
                else:
                    work.cells[c] = largest_weighted(call, row, line, x_bin, work.cells[c])
        for c in range(call.x.bins):
            if call.mode != AVG:
                work.cells[c] = finish_maximum(
                    work.cells[c], call.y.outside[y_bin] or call.x.outside[box * call.x.bins + c]
                )
            store_element(out + r * call.out.row + c * call.out.col, call.out.stored, work.cells[c])
