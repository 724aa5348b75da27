# The gradient with respect to the boxes. A sample moves with the sides of its box, and the weights
# of its taps change: their derivatives by the near and the far side, called slopes here, stand in
# the tables beside the weights.
#
# The order of the sums is part of the result here as well. For a mean, derivatives along x are
# summed over the bins of each row of bins, and then over the rows; those along y over the bins of
# each column, and then over the columns; the slopes of a line are added four at a time. For a
# maximum, what counts of a point is how much the map rises from its cell to the next, times the
# gradient. This is summed by row of bins, line along y and bin; then these sums, times the slopes
# of their lines, are added line by line. Channels are added last, in double precision: the LANES of
# a block, then the blocks.


cdef void box_gradient_task(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work
) noexcept nogil:
    """The gradient with respect to the boxes of one task."""
    cdef Py_ssize_t box
    if not schedule.on_demand:
        find_columns(call, task, work)
    place_features(call, schedule, task, work)
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        demand_columns(call, work, box)
        fetch_features(call, schedule, task, work, box)
        if call.mode == AVG:
            differentiate_means(call, schedule, task, work, box)
        else:
            differentiate_maxima(call, schedule, task, work, box)


cdef void add_blocks(const Call *call) noexcept nogil:
    """Add up the gradients of the blocks of channels, in order."""
    cdef Py_ssize_t k, block, side
    cdef const double *value = call.block_sides
    cdef double *sides
    cdef float_mode mode = set_standard_mode()
    for k in range(call.boxes):
        sides = call.sides + call.target[k] * call.parameters
        memset(sides, 0, call.parameters * sizeof(double))
        for block in range(call.blocks):
            for side in range(call.parameters):
                sides[side] += value[side]
            value += call.parameters
        for side in range(call.parameters):
            if sides[side] != sides[side]:
                sides[side] = NAN  # every NaN the same
    set_mode(mode)
