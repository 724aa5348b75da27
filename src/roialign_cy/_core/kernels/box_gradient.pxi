# The gradient with respect to the boxes. A sample moves with the sides of its box, and the taps
# with it: their derivatives by the near and the far side, called slopes here, stand in the tables
# beside them.
#
# The order of the sums is part of the result here as well. Of a mean: for each row of bins the
# derivatives along x are summed over its bins, and the rows then; along y, for each column of
# bins over its rows, and the columns then; the slopes of a line count four at a time. Of a
# maximum: by how much the points on a line rise to the next cell, times the gradient, is summed row
# by row of bins, by the line of the point along y, then by bin; these sums, times the
# slopes of their lines, line by line. Then channels are added in double precision: the LANES of a
# block, then the blocks.


cdef void differentiate(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work
) noexcept nogil:
    """Differentiate by the boxes of one task."""
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
    """Add what the blocks of channels have, in their order."""
    cdef Py_ssize_t k, block, side
    cdef const double *value = call.block_sides
    cdef double *sides
    for k in range(call.boxes):
        sides = call.sides + call.target[k] * call.parameters
        memset(sides, 0, call.parameters * sizeof(double))
        for block in range(call.blocks):
            for side in range(call.parameters):
                sides[side] += value[side]
            value += call.parameters
        for side in range(call.parameters):
            if sides[side] != sides[side]:
                sides[side] = NAN  # of one sign and payload
