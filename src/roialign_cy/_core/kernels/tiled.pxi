# The tiled order: LANES channels of one image at a time, packed so that SIMD runs over channels.
#
# The recipes of an image are sorted by their first row, so one sweep down the map serves them all:
# a ring holds the packed rows that the boxes at hand read, and each row is packed once. NHWC maps
# have their channels side by side already and are read in place.


cdef void find_wanted(
    const Call *call, const Book *book, const Task *task, const Desk *desk
) noexcept nogil:
    """For each row of the map, the tiles of columns that any box of the task reads in it."""
    cdef Py_ssize_t i, d
    cdef const Recipe *recipe
    memset(desk.wanted, 0, call.height * sizeof(uint64_t))
    for i in range(task.begin, task.end):
        recipe = &book.recipe[i]
        for d in range(recipe.row_begin, recipe.row_end):
            desk.wanted[call.y.distinct[d]] |= recipe.tiles


cdef void pack_row(
    const Call *call, const Plan *plan, const Task *task, const Desk *desk,
    const char *map_start, Py_ssize_t y,
) noexcept nogil:
    """Pack the wanted tiles of one row of the map, neighbouring ones in one go."""
    cdef uint64_t wanted = desk.wanted[y]
    cdef const char *source = map_start + y * call.features.row
    cdef real *cells = desk.ring + row_place(plan, y)
    cdef Py_ssize_t first = 0, last, columns, ahead = 0
    if y + 1 < call.height and desk.wanted[y + 1]:  # likely the same tiles
        ahead = call.features.row
    while wanted:
        while not wanted & 1:
            wanted >>= 1
            first += plan.tile
        last = first
        while wanted & 1:
            wanted >>= 1
            last += plan.tile
        columns = min(last, call.width) - first
        pack_cells(
            source + first * call.features.col, call.features.channel, call.features.col,
            call.features.stored, task.channels, columns, cells + first * LANES, ahead,
        )
        first = last


cdef void tiled_task(
    const Call *call, const Plan *plan, const Book *book, const Task *task, Desk *desk
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef const char *map_start = (
        call.features.data + task.image * call.features.image
        + (task.first_channel - task.lane) * call.features.channel
    )
    cdef Py_ssize_t packed = 0  # rows before this one are in the ring or past
    cdef Py_ssize_t i
    cdef const Recipe *recipe
    desk.map = desk.ring
    if plan.in_place:
        desk.map = <const real *>map_start
    else:
        find_wanted(call, book, task, desk)
    for i in range(task.begin, task.end):
        recipe = &book.recipe[i]
        if not plan.in_place:
            # Recipes ascend by their first row and none is taller than the ring, so a row is
            # overwritten only when no box needs it any more.
            packed = max(packed, recipe.top)
            while packed <= recipe.bottom:
                pack_row(call, plan, task, desk, map_start, packed)
                packed += 1
        if call.mode == AVG:
            average(call, plan, task, recipe, desk)
        elif call.mode == MAX:
            maximum(call, plan, task, recipe, desk)
        else:
            weighted_maximum(call, plan, task, recipe, desk)


cdef void write_rows(
    const Call *call, const Plan *plan, const Task *task, const Recipe *recipe, const Desk *desk,
    Py_ssize_t first, Py_ssize_t rows,
) noexcept nogil:
    """Write rows of sections out; ``first`` counts from the recipe's first."""
    cdef char *out = (
        call.out.data + call.target[recipe.box] * call.out.image
        + task.first_channel * call.out.channel + (recipe.first + first) * call.out.row
    )
    cdef bint streams = plan.streams and rows == call.y.bins
    unpack_cells(
        desk.cells + task.lane, rows, call.x.bins, task.channels,
        <char *>desk.stage if streams else out,
        call.out.channel, call.out.row, call.out.col, call.out.stored,
    )
    if streams:
        copy_streaming(<const char *>desk.stage, out, task.channels * call.out.channel)


cdef inline void interpolate_line(
    const Recipe *recipe, const Desk *desk, const Term *term, Py_ssize_t terms, real *out
) noexcept nogil:
    """Combine the rows of one line at the distinct columns of the box."""
    if recipe.step == LANES:
        mix_dense(desk.map + recipe.column[0], term, terms, recipe.columns, out)
    elif recipe.step:
        mix(desk.map + recipe.column[0], term, terms, recipe.step, recipe.columns, out, LANES)
    else:
        mix_listed(desk.map, term, terms, recipe.column, recipe.columns, out, LANES)


cdef void average(
    const Call *call, const Plan *plan, const Task *task, const Recipe *recipe, const Desk *desk
) noexcept nogil:
    cdef Py_ssize_t first = 0, rows, p, terms, line = recipe.columns * LANES
    cdef const int32_t *y_count = recipe.y.counts
    cdef const Term *y_term = recipe.y.terms
    cdef const int32_t *x_count
    cdef const Term *x_term
    while first < recipe.rows:
        rows = min(plan.group, recipe.rows - first)
        for p in range(rows):
            terms = 0
            if recipe.y.lines[first + p]:  # a section has one line at most
                terms = y_count[0]
                y_count += 1
            interpolate_line(recipe, desk, y_term, terms, desk.lines + p * line)
            y_term += terms
        # Column outside, rows inside: the weights are set up once for all rows of the group.
        x_count, x_term = recipe.x.counts, recipe.x.terms
        for p in range(call.x.bins):
            terms = 0
            if recipe.x.lines[p]:
                terms = x_count[0]
                x_count += 1
            mix(
                desk.lines, x_term, terms, line, rows, desk.cells + p * LANES,
                call.x.bins * LANES,
            )
            x_term += terms
        write_rows(call, plan, task, recipe, desk, first, rows)
        first += rows
