# How a call is cut into tasks, and the memory that a task works in.

cdef enum:
    MAX_SEGMENT = 16384  # columns that the planar order interpolates at once
    SLOPES = 4           # of a line that are summed at a time; their order is part of the result


cdef enum Order:
    TILED = 0
    PLANAR = 1


cdef struct Schedule:
    Order order
    # Rows of the features are read in place, if cells lie in the map as the kernels want them; or a
    # ring of packed rows is kept; or, where that would take too much memory, rows are packed on
    # demand, at the columns of one box, and two are kept. A feature gradient has a ring of its own
    # rows, or adds to them on demand.
    bint in_place
    bint has_ring
    bint on_demand
    Py_ssize_t channels     # of a task, at most
    # Tasks that the work on one image and block of channels is cut into: by boxes, or by rows of
    # the map where that is what is written.
    Py_ssize_t splits
    Py_ssize_t run          # rows of bins to a box plan
    Py_ssize_t row_step     # where the kernels read, from one row to the next
    Py_ssize_t cell_step    # and from one cell to the next
    # In the planar order:
    Py_ssize_t channel_step  # within a cell of the map, from one channel to the next
    bint is_dense           # rows of the map can be combined as they lie
    Py_ssize_t bin_cells    # in the workspace, cells from one bin to the next
    Py_ssize_t channel_cells  # and from one channel to the next
    Py_ssize_t strip        # columns that are packed together; a row has 64 strips at most
    Py_ssize_t cells_read   # by all boxes together
    Py_ssize_t cost         # of the whole call, in elements that are read or computed
    # What the largest box of the call needs in a workspace:
    Py_ssize_t ring_rows    # packed rows held at a time, and the cells of each
    Py_ssize_t ring_columns
    Py_ssize_t distinct_y   # rows that a box reads
    Py_ssize_t distinct_x   # columns that a box reads
    Py_ssize_t lines        # interpolated rows held at a time
    Py_ssize_t group        # rows of bins held at a time
    Py_ssize_t terms        # taps of a line
    Py_ssize_t x_lines      # lines along x of a box, if its largest points are sought
    Py_ssize_t points       # points of a bin, likewise
    bint streams            # the result bypasses the caches: all bins of a box at once
    bint streams_cells      # or each by itself


cdef struct Task:
    Py_ssize_t image
    Py_ssize_t first_channel
    Py_ssize_t channels
    Py_ssize_t begin        # box plans of a forward pass, boxes of a gradient: begin .. end
    Py_ssize_t end
    Py_ssize_t lane         # of the cells that has the first channel
    Py_ssize_t first_row    # first_row .. last_row of the map: what a feature gradient writes
    Py_ssize_t last_row


cdef struct XLine:
    # A line along x, as the lines along y that it crosses lie in the workspace.
    Py_ssize_t terms            # without taps of weight 0, which are there for their slopes
    Term term[2]                # places on an interpolated line
    Py_ssize_t column[2]        # and in a row of the features
    bint is_sloped
    Py_ssize_t slope_place[2]   # then of its two taps; -1 for a first one off the map


cdef struct XBin:
    # The lines along x of a bin.
    const XLine *lines
    Py_ssize_t count
    Py_ssize_t few              # the same, if they are few and have two terms each; else 0


cdef struct Workspace:
    # In the scratch memory of a thread. Each operation and order uses some of these.
    real *ring              # packed rows of the features; in the planar order, of one line
    Py_ssize_t held[2]      # which rows those are, where they are packed on demand; or -1
    const Py_ssize_t *demanded  # and at which columns of the map
    Py_ssize_t columns      # how many columns the lines have
    real *lines             # interpolated rows, at the distinct columns of a box
    real *cells             # bins in the making, or their gradients
    Py_ssize_t *column      # of each column of the lines, its offset in a row of the features
    # Forward passes.
    uint64_t *wanted        # of each row of the map, a bit for each strip of columns to pack
    const real *map         # what the terms along y are places in: the ring, or the map itself
    real *stage             # all bins of a box, as they lie in the output
    real *one_cell          # of the features or of their gradient, taken on demand
    real *lowest            # a cell of -inf; were it a constant, gcc would compare by elements
    real *weight            # in the planar order: of the taps at hand
    Py_ssize_t *offset      # and where each of them reads
    # Gradients.
    Term *term              # of the sum at hand
    real **row              # of each row of the map, its column 0 in the ring
    real **gradient_row     # the same of the feature gradient
    Py_ssize_t *low         # of each row of the map, the columns that are read: low .. high
    Py_ssize_t *high
    Py_ssize_t fetched      # rows of features before this one are packed
    # Feature gradients.
    real *gradient_ring     # rows of the gradient; on demand, one
    Py_ssize_t *gradient_column  # as `column`, in a row of the gradient
    Py_ssize_t opened       # rows before this one are in the gradient's ring or past
    Py_ssize_t closed       # rows before this one are written
    # Box gradients. For means: derivatives by the near side, times the gradient; then by the far
    # side. For maxima: how much the points on each line along x rise, times the gradient.
    real *sums
    real *far               # of each term of slopes, the one by the far side
    real *crossed           # columns combined, at the distinct rows of a box
    Py_ssize_t *non_empty   # of each bin along an axis that reads anything: where its cells lie
    Py_ssize_t *non_empty_grad  # and its gradient
    # Gradients of maxima.
    real *best              # the largest value of a bin
    flag *point             # and the number of its point
    XLine *x_line           # the lines along x of a box, and the number of the first in the tables
    Py_ssize_t first_x_line
    XBin *x_bin


cdef Py_ssize_t workspace_bytes(const Call *call, const Schedule *schedule) noexcept nogil:
    cdef Arena arena = arena_in(NULL)
    cdef Workspace unused
    lay_out_workspace(&unused, &arena, call, schedule)
    return <Py_ssize_t>arena.used + CACHE_LINE


cdef void lay_out_workspace(
    Workspace *work, Arena *arena, const Call *call, const Schedule *schedule
) noexcept nogil:
    if call.operation == FORWARD:
        lay_out_forward(work, arena, call, schedule)
    else:
        lay_out_gradient(work, arena, call, schedule)


cdef void lay_out_forward(
    Workspace *work, Arena *arena, const Call *call, const Schedule *schedule
) noexcept nogil:
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t ring, line, wanted = 0, terms = 0
    if schedule.order == TILED:
        ring = schedule.ring_rows * schedule.ring_columns
        line = schedule.distinct_x
        wanted = 0 if schedule.in_place or schedule.on_demand else call.height
    else:
        ring = line = min(call.width, <Py_ssize_t>MAX_SEGMENT) * schedule.cell_step
        terms = schedule.terms
    work.ring = <real *>arena_alloc(arena, ring, cell)
    work.wanted = <uint64_t *>arena_alloc(arena, wanted, sizeof(uint64_t))
    work.lines = <real *>arena_alloc(arena, schedule.lines * line, cell)
    # One more, since the last block of an NHWC map is written out from its lane on.
    work.cells = <real *>arena_alloc(arena, schedule.group * call.x.bins + 1, cell)
    work.stage = <real *>arena_alloc(
        arena, call.y.bins * call.x.bins if schedule.streams else 0, cell
    )
    work.lowest = <real *>arena_alloc(arena, 1, cell)
    work.weight = <real *>arena_alloc(arena, terms, sizeof(real))
    work.offset = <Py_ssize_t *>arena_alloc(arena, terms, sizeof(Py_ssize_t))


cdef void lay_out_gradient(
    Workspace *work, Arena *arena, const Call *call, const Schedule *schedule
) noexcept nogil:
    cdef bint by_boxes = call.operation == BOX_GRADIENT
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t ring = 0, gradient = 0, rows = 0, sums = 0, crossed = 0, sought = 0
    cdef Py_ssize_t bins = 0, offsets = 0
    if (by_boxes or call.mode == MAX) and (schedule.on_demand or not schedule.in_place):
        ring = schedule.ring_rows * schedule.ring_columns
    if not by_boxes:
        gradient = (1 if schedule.on_demand else schedule.ring_rows) * schedule.ring_columns
    if not schedule.on_demand:
        rows = call.height
    if call.mode == MAX:
        sought = call.x.bins
        sums = schedule.x_lines if by_boxes else 0
    elif by_boxes:
        bins = max(call.y.bins, call.x.bins)
        sums = 2 * (call.y.bins + call.x.bins)
        crossed = call.x.bins * (SLOPES if schedule.on_demand else schedule.distinct_y)
        offsets = max(bins, 0 if schedule.on_demand else schedule.distinct_y)
    work.gradient_ring = <real *>arena_alloc(arena, gradient, cell)
    work.ring = <real *>arena_alloc(arena, ring, cell)
    work.crossed = <real *>arena_alloc(arena, crossed, cell)
    work.sums = <real *>arena_alloc(arena, sums, cell)
    work.far = <real *>arena_alloc(arena, schedule.terms, sizeof(real))
    work.non_empty = <Py_ssize_t *>arena_alloc(arena, offsets, sizeof(Py_ssize_t))
    work.non_empty_grad = <Py_ssize_t *>arena_alloc(arena, bins, sizeof(Py_ssize_t))
    work.cells = <real *>arena_alloc(arena, schedule.group * call.x.bins, cell)
    work.lines = <real *>arena_alloc(arena, schedule.group * schedule.distinct_x, cell)
    work.best = <real *>arena_alloc(arena, sought, cell)
    work.point = <flag *>arena_alloc(arena, sought, LANES * sizeof(flag))
    work.x_line = <XLine *>arena_alloc(arena, schedule.x_lines, sizeof(XLine))
    work.x_bin = <XBin *>arena_alloc(arena, sought, sizeof(XBin))
    work.term = <Term *>arena_alloc(arena, schedule.terms, sizeof(Term))
    work.column = <Py_ssize_t *>arena_alloc(arena, schedule.distinct_x, sizeof(Py_ssize_t))
    work.gradient_column = <Py_ssize_t *>arena_alloc(arena, schedule.distinct_x, sizeof(Py_ssize_t))
    work.row = <real **>arena_alloc(arena, rows, sizeof(void *))
    work.gradient_row = <real **>arena_alloc(arena, rows, sizeof(void *))
    work.low = <Py_ssize_t *>arena_alloc(arena, rows, sizeof(Py_ssize_t))
    work.high = <Py_ssize_t *>arena_alloc(arena, rows, sizeof(Py_ssize_t))
