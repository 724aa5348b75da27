# How a gradient is cut into tasks, and the memory that a task works in.


cdef struct GradientSchedule:
    Order order
    Py_ssize_t channels     # of a task, at most
    Py_ssize_t bands        # of rows of the map, each a task of its own
    Py_ssize_t ring_rows
    Py_ssize_t distinct_x
    Py_ssize_t terms
    Py_ssize_t group        # rows of bins at a time
    Py_ssize_t splits       # of the boxes of one image (gradient with respect to the boxes)
    bint by_boxes           # which gradient it is
    Py_ssize_t x_lines    # lines along x of a box, where the maximum is sought
    Py_ssize_t distinct_y


cdef struct GradientTask:
    # A task: what it writes, and the boxes of that image.
    Py_ssize_t image
    Py_ssize_t first_channel
    Py_ssize_t channels
    Py_ssize_t first_row
    Py_ssize_t last_row     # exclusive
    Py_ssize_t begin
    Py_ssize_t end


cdef struct GradientWorkspace:
    # Carved from the scratch memory of a thread. The planar order uses few of these.
    real *ring              # rows of the gradient
    real *packed            # rows of the features, where the maximum is sought
    real *cells             # gradients of the bins at hand
    real *lines             # what rows of bins add, at the distinct columns of a box
    real *best
    flag *point             # which one of a bin's is the largest
    XLine *x_line      # the lines along x of a box, and the number of the first in the tables
    Py_ssize_t first_x_line
    Py_ssize_t *row_line    # the same in the planar order: the lines of the tables, -1 for none
    Py_ssize_t *col_line
    real *crossed           # columns combined, at the distinct rows of a box
    # Of means: derivatives by the near side, times the gradient; then by the far side. Of maxima:
    # by how much the points on each line along x rise, times the gradient.
    real *sums
    real *far               # of each term of slopes, that by the far side
    Py_ssize_t *non_empty        # of each bin along an axis that reads anything, two offsets
    Py_ssize_t *non_empty_grad
    Term *term              # of the sum at hand
    Py_ssize_t *column      # of each distinct column of the box, its offset in a row of the ring
    Py_ssize_t *feature_column
    real **row              # of each row of the map, its column 0 in the ring
    real **feature_row
    Py_ssize_t *low         # of each row of the map, the columns that are added to: low .. high
    Py_ssize_t *high
    # Of the bins at hand, by what lies in the workspace or in the array:
    const real *grads
    Py_ssize_t grad_row
    Py_ssize_t grad_col
    Py_ssize_t opened       # rows before this one are in the ring or past
    Py_ssize_t closed       # rows before this one are written
    Py_ssize_t fetched      # rows of features before this one are packed


cdef Py_ssize_t lay_out_gradient_workspace(
    GradientWorkspace *work, char *memory, const Call *call, const GradientSchedule *schedule
) noexcept nogil:
    """As `lay_out_workspace`."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t cell = sizeof(real)
    cdef Py_ssize_t lanes = 1
    cdef Py_ssize_t line = min(schedule.distinct_x, <Py_ssize_t>MAX_SEGMENT)
    cdef Py_ssize_t rows = 0, sought = 0, ring = 0, non_empty = 0, crossed = 0, sums = 0
    if schedule.order == TILED:
        cell *= LANES
        lanes = LANES
        line = schedule.distinct_x
        rows = call.height
        ring = schedule.ring_rows * call.width
    if call.mode == MAX:
        sought = call.x.bins * lanes
    if schedule.by_boxes and call.mode == MAX:
        sums = schedule.x_lines
    elif schedule.by_boxes:
        non_empty = max(call.y.bins, call.x.bins)
        sums = 2 * non_empty
        if schedule.order == TILED:
            crossed = schedule.distinct_y * call.x.bins
    work.ring = <real *>arena_alloc(memory, &at, 0 if schedule.by_boxes else ring * cell)
    work.packed = <real *>arena_alloc(
        memory, &at, ring * cell if schedule.by_boxes or call.mode == MAX else 0
    )
    work.crossed = <real *>arena_alloc(memory, &at, crossed * cell)
    work.sums = <real *>arena_alloc(memory, &at, sums * cell)
    work.far = <real *>arena_alloc(memory, &at, schedule.terms * sizeof(real))
    work.non_empty = <Py_ssize_t *>arena_alloc(
        memory, &at, max(non_empty, schedule.distinct_y) * sizeof(Py_ssize_t)
    )
    work.non_empty_grad = <Py_ssize_t *>arena_alloc(memory, &at, non_empty * sizeof(Py_ssize_t))
    work.cells = <real *>arena_alloc(memory, &at, schedule.group * call.x.bins * cell)
    work.lines = <real *>arena_alloc(memory, &at, schedule.group * line * cell)
    work.best = <real *>arena_alloc(memory, &at, sought * sizeof(real))
    work.point = <flag *>arena_alloc(memory, &at, sought * sizeof(flag))
    work.x_line = <XLine *>arena_alloc(
        memory, &at, schedule.x_lines * sizeof(XLine) if schedule.order == TILED else 0
    )
    work.row_line = <Py_ssize_t *>arena_alloc(memory, &at, sought // lanes * sizeof(Py_ssize_t))
    work.col_line = <Py_ssize_t *>arena_alloc(memory, &at, sought // lanes * sizeof(Py_ssize_t))
    work.term = <Term *>arena_alloc(memory, &at, schedule.terms * sizeof(Term))
    work.column = <Py_ssize_t *>arena_alloc(memory, &at, line * sizeof(Py_ssize_t))
    work.feature_column = <Py_ssize_t *>arena_alloc(memory, &at, line * sizeof(Py_ssize_t))
    work.row = <real **>arena_alloc(memory, &at, rows * sizeof(void *))
    work.feature_row = <real **>arena_alloc(memory, &at, rows * sizeof(void *))
    work.low = <Py_ssize_t *>arena_alloc(memory, &at, rows * sizeof(Py_ssize_t))
    work.high = <Py_ssize_t *>arena_alloc(memory, &at, rows * sizeof(Py_ssize_t))
    return at
