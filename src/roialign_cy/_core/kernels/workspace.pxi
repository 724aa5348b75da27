# How a call is cut into tasks, and the memory that a task works in.

cdef enum Order:
    TILED = 0
    PLANAR = 1


cdef struct Schedule:
    Order order
    bint in_place           # cells lie in the map as the kernels want them: nothing is packed
    Py_ssize_t channels     # of a task, at most
    Py_ssize_t splits       # tasks that the boxes of one image and block of channels are cut into
    Py_ssize_t run          # rows of bins to a plan
    Py_ssize_t row_step     # from one row to the next where the kernels read, and from one cell
    Py_ssize_t cell_step
    # In the planar order, where channels lie in one cell: from one to the next, and whether rows
    # can be combined as they lie; then among the cells of the workspace, from one bin, and one
    # channel, to the next.
    Py_ssize_t channel_step
    bint is_dense
    Py_ssize_t bin_cells
    Py_ssize_t channel_cells
    Py_ssize_t tile         # columns that are packed together, so that a row has 64 tiles at most
    Py_ssize_t work         # of the whole call, in cells of the working type computed with
    # Room that the largest box of the call needs in a workspace:
    Py_ssize_t ring_rows    # packed rows update at a time
    Py_ssize_t distinct_y   # rows that a box reads
    Py_ssize_t distinct_x   # columns that a box reads
    Py_ssize_t lines        # interpolated rows update at a time
    Py_ssize_t group        # output rows update at a time
    Py_ssize_t terms        # taps of a line
    bint streams            # the result goes past the caches


cdef struct Task:
    Py_ssize_t image
    Py_ssize_t first_channel
    Py_ssize_t channels
    Py_ssize_t begin        # boxes of the tables' order, or box_plans: begin .. end
    Py_ssize_t end
    Py_ssize_t lane         # of the cells, that the first channel is in


cdef struct Workspace:
    # Carved from the scratch memory of a thread.
    real *ring              # packed rows of the map; in the planar order, one of bins' lines
    uint64_t *wanted        # of each row of the map, a bit for each tile of columns to pack
    const real *map         # what the terms along y are places in: the ring, or the map itself
    real *lines             # interpolated rows, at the distinct columns of a box
    Py_ssize_t *line_start  # of some rows of bins, their first line
    real *cells             # output rows in the making
    real *stage             # all bins of a box, as they lie in the output
    real *lowest            # a cell of -inf: in memory, since of a constant gcc compares elements
    real *weight            # in the planar order: of the taps at hand, and where each reads
    Py_ssize_t *column


cdef Py_ssize_t lay_out_workspace(
    Workspace *work, char *memory, const Call *call, const Schedule *schedule
) noexcept nogil:
    """Lay a workspace out in ``memory``; returns how many bytes it takes (with NULL, only that)."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t cell = LANES * sizeof(real)
    cdef Py_ssize_t ring, line, wanted = 0, terms = 0
    if schedule.order == TILED:
        ring = schedule.ring_rows * call.width
        line = schedule.distinct_x
        wanted = 0 if schedule.in_place else call.height
    else:
        ring = line = min(call.width, <Py_ssize_t>MAX_SEGMENT) * schedule.cell_step
        terms = schedule.terms
    work.ring = <real *>arena_alloc(memory, &at, ring * cell)
    work.wanted = <uint64_t *>arena_alloc(memory, &at, wanted * sizeof(uint64_t))
    work.lines = <real *>arena_alloc(memory, &at, schedule.lines * line * cell)
    work.line_start = <Py_ssize_t *>arena_alloc(
        memory, &at, (schedule.group + 1) * sizeof(Py_ssize_t)
    )
    # One more, for the last block of an NHWC map: it is written out from its lane on.
    work.cells = <real *>arena_alloc(memory, &at, (schedule.group * call.x.bins + 1) * cell)
    work.stage = <real *>arena_alloc(
        memory, &at, call.y.bins * call.x.bins * cell if schedule.streams else 0
    )
    work.lowest = <real *>arena_alloc(memory, &at, LANES * sizeof(real))
    work.weight = <real *>arena_alloc(memory, &at, terms * sizeof(real))
    work.column = <Py_ssize_t *>arena_alloc(memory, &at, terms * sizeof(Py_ssize_t))
    return at


cdef inline void *arena_alloc(char *memory, Py_ssize_t *at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t here = (at[0] + 63) & ~<Py_ssize_t>63  # a cache line
    at[0] = here + size
    return NULL if memory == NULL else <void *>(memory + here)


cdef inline char *aligned(char *memory) noexcept nogil:
    """The first address on a cache line from ``memory`` on."""
    return memory + ((64 - (<size_t>memory & 63)) & 63)
