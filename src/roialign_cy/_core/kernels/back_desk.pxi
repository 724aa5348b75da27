# How a gradient is cut into tasks, and the memory that a task works in.


cdef struct BackPlan:
    Order order
    Py_ssize_t channels     # of a task, at most
    Py_ssize_t bands        # of rows of the map, each a task of its own
    Py_ssize_t ring_rows
    Py_ssize_t distinct_x
    Py_ssize_t terms
    Py_ssize_t group        # rows of sections at a time
    Py_ssize_t splits       # of the boxes of one image (gradient by the boxes)
    bint by_boxes           # which gradient it is
    Py_ssize_t crossings    # lines along x of a box, where the maximum is sought
    Py_ssize_t distinct_y


cdef struct Patch:
    # A task: what it writes, and the boxes of that image.
    Py_ssize_t image
    Py_ssize_t first_channel
    Py_ssize_t channels
    Py_ssize_t first_row
    Py_ssize_t last_row     # exclusive
    Py_ssize_t begin
    Py_ssize_t end


cdef struct BackDesk:
    # Carved from the scratch memory of a thread. The planar order uses few of these.
    real *ring              # rows of the gradient
    real *packed            # rows of the features, where the maximum is sought
    real *cells             # gradients of the sections at hand
    real *lines             # what rows of sections add, at the distinct columns of a box
    real *best
    flag *point             # which one of a section's is the largest
    Crossing *crossing      # the lines along x of a box, and the number of the first in the tables
    Py_ssize_t first_crossing
    Py_ssize_t *row_line    # the same in the planar order: the lines of the tables, -1 for none
    Py_ssize_t *col_line
    real *crossed           # columns combined, at the distinct rows of a box
    # Of means: derivatives by the near side, times the gradient; then by the far side. Of maxima:
    # by how much the points on each line along x rise, times the gradient.
    real *sums
    real *far               # of each term of slopes, that by the far side
    Py_ssize_t *live        # of each section along an axis that reads anything, two offsets
    Py_ssize_t *live_grad
    Term *term              # of the sum at hand
    Py_ssize_t *column      # of each distinct column of the box, its offset in a row of the ring
    Py_ssize_t *feature_column
    real **row              # of each row of the map, its column 0 in the ring
    real **feature_row
    Py_ssize_t *low         # of each row of the map, the columns that are added to: low .. high
    Py_ssize_t *high
    # Of the sections at hand, by what lies on the desk or in the array:
    const real *grads
    Py_ssize_t grad_row
    Py_ssize_t grad_col
    Py_ssize_t opened       # rows before this one are in the ring or past
    Py_ssize_t closed       # rows before this one are written
    Py_ssize_t fetched      # rows of features before this one are packed


cdef Py_ssize_t lay_back_desk(
    BackDesk *desk, char *memory, const Call *call, const BackPlan *plan
) noexcept nogil:
    """As `lay_desk`."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t cell = sizeof(real)
    cdef Py_ssize_t lanes = 1
    cdef Py_ssize_t line = min(plan.distinct_x, <Py_ssize_t>STRETCH)
    cdef Py_ssize_t rows = 0, sought = 0, ring = 0, live = 0, crossed = 0, sums = 0
    if plan.order == TILED:
        cell *= LANES
        lanes = LANES
        line = plan.distinct_x
        rows = call.height
        ring = plan.ring_rows * call.width
    if call.mode == MAX:
        sought = call.x.bins * lanes
    if plan.by_boxes and call.mode == MAX:
        sums = plan.crossings
    elif plan.by_boxes:
        live = max(call.y.bins, call.x.bins)
        sums = 2 * live
        if plan.order == TILED:
            crossed = plan.distinct_y * call.x.bins
    desk.ring = <real *>carve(memory, &at, 0 if plan.by_boxes else ring * cell)
    desk.packed = <real *>carve(
        memory, &at, ring * cell if plan.by_boxes or call.mode == MAX else 0
    )
    desk.crossed = <real *>carve(memory, &at, crossed * cell)
    desk.sums = <real *>carve(memory, &at, sums * cell)
    desk.far = <real *>carve(memory, &at, plan.terms * sizeof(real))
    desk.live = <Py_ssize_t *>carve(
        memory, &at, max(live, plan.distinct_y) * sizeof(Py_ssize_t)
    )
    desk.live_grad = <Py_ssize_t *>carve(memory, &at, live * sizeof(Py_ssize_t))
    desk.cells = <real *>carve(memory, &at, plan.group * call.x.bins * cell)
    desk.lines = <real *>carve(memory, &at, plan.group * line * cell)
    desk.best = <real *>carve(memory, &at, sought * sizeof(real))
    desk.point = <flag *>carve(memory, &at, sought * sizeof(flag))
    desk.crossing = <Crossing *>carve(
        memory, &at, plan.crossings * sizeof(Crossing) if plan.order == TILED else 0
    )
    desk.row_line = <Py_ssize_t *>carve(memory, &at, sought // lanes * sizeof(Py_ssize_t))
    desk.col_line = <Py_ssize_t *>carve(memory, &at, sought // lanes * sizeof(Py_ssize_t))
    desk.term = <Term *>carve(memory, &at, plan.terms * sizeof(Term))
    desk.column = <Py_ssize_t *>carve(memory, &at, line * sizeof(Py_ssize_t))
    desk.feature_column = <Py_ssize_t *>carve(memory, &at, line * sizeof(Py_ssize_t))
    desk.row = <real **>carve(memory, &at, rows * sizeof(void *))
    desk.feature_row = <real **>carve(memory, &at, rows * sizeof(void *))
    desk.low = <Py_ssize_t *>carve(memory, &at, rows * sizeof(Py_ssize_t))
    desk.high = <Py_ssize_t *>carve(memory, &at, rows * sizeof(Py_ssize_t))
    return at
