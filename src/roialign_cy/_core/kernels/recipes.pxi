# What the tiled order reads of the tables, boiled down: every block of LANES channels goes through
# all boxes again, so what it needs of each lies side by side, in the working type and in offsets.
# A recipe is for a run of rows of sections of one box: for all of them, unless so many rows of the
# map would not stay in the cache.


cdef struct Directions:
    # Along one axis: how many lines each section has, how many terms each line, and all terms, with
    # their places on the desk. A box has fewer than 2**31 lines: the room for a desk, and
    # STRETCH in the planar order, see to that.
    const int32_t *lines
    const int32_t *counts
    const Term *terms


cdef struct Recipe:
    Py_ssize_t box
    Py_ssize_t image
    Py_ssize_t first            # row of sections, and how many
    Py_ssize_t rows
    Py_ssize_t top              # first and last row of the map that they read; none: bottom < top
    Py_ssize_t bottom
    Py_ssize_t row_begin        # which distinct rows of the tables lie between them
    Py_ssize_t row_end
    uint64_t tiles              # of columns of the map that they read
    Py_ssize_t columns          # distinct ones of the box, and the offset of each in a row
    const Py_ssize_t *column
    Py_ssize_t step             # between those offsets; 0 if the columns are not consecutive
    Directions y                # for these rows of sections
    Directions x                # for the whole box


cdef struct Shelf:
    # What the directions of all boxes along one axis are written to, by section, line and tap of
    # the tables.
    int32_t *lines
    int32_t *counts
    Term *terms


cdef struct Book:
    Recipe *recipe              # in the order of the sweep
    Py_ssize_t count
    Sheet *sheet                # by box; in the planar order only this and x
    Py_ssize_t *column          # by distinct column of the tables
    Shelf y
    Shelf x


cdef inline Py_ssize_t row_place(const Plan *plan, Py_ssize_t y) noexcept nogil:
    """Where a row of the map lies: in the map itself, or in the ring."""
    return (y if plan.in_place else y % plan.ring_rows) * plan.row_step


cdef inline Py_ssize_t runs_of(const Call *call, const Plan *plan) noexcept nogil:
    return (call.y.bins + plan.run - 1) // plan.run


cdef Py_ssize_t lay_book(
    Book *book, char *memory, const Call *call, Py_ssize_t boxes, const Plan *plan
) noexcept nogil:
    """As `lay_desk`."""
    cdef Py_ssize_t at = 0
    lay_shelf(&book.x, memory, &at, call.x, boxes)
    if plan.order == PLANAR:
        book.count = boxes
        book.sheet = <Sheet *>carve(memory, &at, boxes * sizeof(Sheet))
        return at
    book.count = boxes * runs_of(call, plan)
    book.recipe = <Recipe *>carve(memory, &at, book.count * sizeof(Recipe))
    book.column = <Py_ssize_t *>carve(memory, &at, call.x.distinct_room * sizeof(Py_ssize_t))
    lay_shelf(&book.y, memory, &at, call.y, boxes)
    return at


cdef void lay_shelf(
    Shelf *shelf, char *memory, Py_ssize_t *at, const Axis *axis, Py_ssize_t boxes
) noexcept nogil:
    shelf.lines = <int32_t *>carve(memory, at, boxes * axis.bins * sizeof(int32_t))
    shelf.counts = <int32_t *>carve(memory, at, axis.line_room * sizeof(int32_t))
    shelf.terms = <Term *>carve(memory, at, axis.tap_room * sizeof(Term))


cdef void write_recipes(
    const Call *call, const Plan *plan, Py_ssize_t k, const Book *book
) noexcept nogil:
    """Write the recipes of the ``k``-th box of the tables."""
    cdef Py_ssize_t runs = runs_of(call, plan), run
    cdef Recipe *recipe = book.recipe + k * runs
    cdef Shelf y, x
    recipe.box = k
    recipe.image = call.image[recipe.box]
    list_columns(call, plan, recipe, book.column + call.x.distinct_begin[recipe.box])
    x = place_of_box(&book.x, call.x, recipe.box)
    write_directions(call.x, recipe.box, 0, call.x.bins, NULL, &x, &recipe.x)
    y = place_of_box(&book.y, call.y, recipe.box)
    for run in range(1, runs):
        recipe[run] = recipe[0]
    for run in range(runs):
        recipe.first = run * plan.run
        recipe.rows = min(plan.run, call.y.bins - recipe.first)
        find_rows(call.y, recipe.box, recipe.first, recipe.rows, &recipe.top, &recipe.bottom)
        recipe.row_begin = first_row_from(call.y, recipe.box, recipe.top)
        recipe.row_end = first_row_from(call.y, recipe.box, recipe.bottom + 1)
        write_directions(call.y, recipe.box, recipe.first, recipe.rows, plan, &y, &recipe.y)
        recipe += 1


cdef Py_ssize_t first_row_from(const Axis *axis, Py_ssize_t box, Py_ssize_t y) noexcept nogil:
    """The first distinct row of a box at ``y`` or below, by bisection."""
    cdef Py_ssize_t low = axis.distinct_begin[box], high = axis.distinct_end[box], middle
    while low < high:
        middle = low + (high - low) // 2
        if axis.distinct[middle] < y:
            low = middle + 1
        else:
            high = middle
    return low


cdef void list_columns(
    const Call *call, const Plan *plan, Recipe *recipe, Py_ssize_t *column
) noexcept nogil:
    cdef const Py_ssize_t *cell = call.x.distinct + call.x.distinct_begin[recipe.box]
    cdef Py_ssize_t d, count = call.x.distinct_end[recipe.box] - call.x.distinct_begin[recipe.box]
    recipe.column, recipe.columns = column, count
    recipe.tiles = 0
    for d in range(count):
        recipe.tiles |= <uint64_t>1 << (cell[d] // plan.tile)
        column[d] = cell[d] * plan.cell_step
    recipe.step = 0
    if count and cell[count - 1] - cell[0] == count - 1:
        recipe.step = plan.cell_step


cdef inline Py_ssize_t first_line(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Of a box in the tables; a reversed one has its last section first."""
    cdef Py_ssize_t first = box * axis.bins
    return min(axis.line_begin[first], axis.line_begin[first + axis.bins - 1])


cdef inline Py_ssize_t lines_of(const Axis *axis, Py_ssize_t box) noexcept nogil:
    cdef Py_ssize_t first = box * axis.bins, last = first + axis.bins - 1
    return max(axis.line_end[first], axis.line_end[last]) - first_line(axis, box)


cdef Shelf place_of_box(const Shelf *shelf, const Axis *axis, Py_ssize_t box) noexcept nogil:
    """Where the directions of a box begin: as in the tables, where boxes lie one by one."""
    cdef Shelf place
    place.lines = shelf.lines + box * axis.bins
    place.counts = shelf.counts + first_line(axis, box)
    place.terms = shelf.terms + first_tap(axis, box)
    return place


cdef Py_ssize_t first_tap(const Axis *axis, Py_ssize_t box) noexcept nogil:
    """The least of a box in the tables; 0 if it has none."""
    cdef Py_ssize_t begin = first_line(axis, box), end = begin + lines_of(axis, box)
    cdef Py_ssize_t line, tap = 0
    if begin < end:
        tap = axis.tap_begin[begin]
    for line in range(begin + 1, end):  # those of a section may stand in either order
        tap = min(tap, axis.tap_begin[line])
    return tap


cdef void write_directions(
    const Axis *axis, Py_ssize_t box, Py_ssize_t first, Py_ssize_t sections, const Plan *rows,
    Shelf *place, Directions *directions,
) noexcept nogil:
    """Write those of some sections to ``place``, and move it on.

    Terms are ``rows`` of the map, lying as that plan says; or with NULL columns of a line.
    """
    cdef Py_ssize_t section, line, t
    directions.lines, directions.counts = place.lines, place.counts
    directions.terms = place.terms
    for section in range(box * axis.bins + first, box * axis.bins + first + sections):
        place.lines[0] = <int32_t>(axis.line_end[section] - axis.line_begin[section])
        place.lines += 1
        for line in range(axis.line_begin[section], axis.line_end[section]):
            place.counts[0] = <int32_t>(axis.tap_end[line] - axis.tap_begin[line])
            place.counts += 1
            for t in range(axis.tap_begin[line], axis.tap_end[line]):
                if rows == NULL:
                    place.terms.place = axis.slot[t] * LANES
                else:
                    place.terms.place = row_place(rows, axis.cell[t])
                place.terms.weight = <real>axis.weight[t]
                place.terms += 1


cdef void find_rows(
    const Axis *axis, Py_ssize_t box, Py_ssize_t first, Py_ssize_t sections, Py_ssize_t *top,
    Py_ssize_t *bottom,
) noexcept nogil:
    """The first and the last row of the map that some rows of sections read."""
    cdef Py_ssize_t section, line
    cdef bint is_any = False
    top[0], bottom[0] = 0, -1
    for section in range(box * axis.bins + first, box * axis.bins + first + sections):
        for line in range(axis.line_begin[section], axis.line_end[section]):
            if not is_any or axis.cell[axis.tap_begin[line]] < top[0]:
                top[0] = axis.cell[axis.tap_begin[line]]
            bottom[0] = max(bottom[0], axis.cell[axis.tap_end[line] - 1])
            is_any = True


cdef int compare_recipes(const void *a, const void *b) noexcept nogil:
    """Order of the sweep: by image, then by first row read."""
    cdef const Recipe *p = <const Recipe *>a
    cdef const Recipe *q = <const Recipe *>b
    if p.image != q.image:
        return -1 if p.image < q.image else 1
    if p.top != q.top:
        return -1 if p.top < q.top else 1
    if p.box != q.box:
        return -1 if p.box < q.box else 1
    return -1 if p.first < q.first else 1
