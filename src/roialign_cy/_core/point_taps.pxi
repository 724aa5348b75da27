# Tables of lists: what room they need, and how they are filled.


cdef inline double most_taps(const PointTables *tables, const RotatedBox *box) noexcept nogil:
    """Most taps that the lists of a box can have."""
    if box.y_begin >= box.y_end:
        return 0.0
    return (
        4.0 * <double>box.y_span.samples * <double>box.x_span.samples
        * <double>tables.y.bins * <double>tables.x.bins
    )


cdef inline double most_lines(const PointTables *tables, const RotatedBox *box) noexcept nogil:
    """Most lines; in `max` a bin has one for each sample, and one for those outside the map."""
    cdef double bins = <double>tables.y.bins * <double>tables.x.bins
    return bins if tables.mode == AVG else bins + most_taps(tables, box) / 4.0


cdef struct PointTotal:
    # Entries that the tables take.
    Py_ssize_t bins
    Py_ssize_t lines
    Py_ssize_t taps


cdef void place_lists(
    PointTables *tables, Py_ssize_t boxes, const PointTotal *total, Arena *arena
) noexcept nogil:
    cdef Py_ssize_t slopes = total.taps * PARAMETERS if tables.y.with_slopes else 0
    tables.image = <Py_ssize_t *>arena_alloc(arena, boxes, sizeof(Py_ssize_t))
    tables.box = <RotatedBox *>arena_alloc(arena, boxes, sizeof(RotatedBox))
    tables.line_end = <Py_ssize_t *>arena_alloc(arena, total.bins, sizeof(Py_ssize_t))
    tables.tap_end = <Py_ssize_t *>arena_alloc(arena, total.lines, sizeof(Py_ssize_t))
    tables.place = <Cell *>arena_alloc(arena, total.taps, sizeof(Cell))
    tables.weight = <double *>arena_alloc(arena, total.taps, sizeof(double))
    tables.slope = <double *>arena_alloc(arena, slopes, sizeof(double))
    if not tables.y.with_slopes:
        tables.slope = NULL


cdef void fill_lists(const PointTables *tables, const RotatedBox *box) noexcept nogil:
    """Make all lists of a box."""
    cdef Py_ssize_t bin, line = box.first_line, tap = box.first_tap, begin
    cdef ListCursor cursor
    cdef Lists lists
    cdef float_mode mode
    if box.first_bin < 0:
        return
    mode = set_standard_mode()
    lists.place, lists.weight, lists.slope = tables.place, tables.weight, tables.slope
    for bin in range(tables.y.bins * tables.x.bins):
        start_lists(tables, box, bin // tables.x.bins, bin % tables.x.bins, &cursor)
        begin = line
        while True:
            # A mean is one line, of however many lists.
            lists.tap_end = tables.tap_end + (begin if tables.mode == AVG else line)
            lists.first_tap = tap
            make_lists(tables, box, &cursor, &lists)
            if lists.lines == 0:
                break
            tap = lists.tap_end[lists.lines - 1]
            line = begin + 1 if tables.mode == AVG else line + lists.lines
        tables.line_end[box.first_bin + bin] = line
    set_mode(mode)
