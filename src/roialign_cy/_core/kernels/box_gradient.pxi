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


cdef void differentiate_tiled(
    const Call *call, const Schedule *schedule, const Task *task, Workspace *work
) noexcept nogil:
    """Differentiate by the boxes of one task."""
    cdef const Array *features = &call.features
    cdef bint fetches = not lies_packed(features, task.channels)
    cdef Py_ssize_t box, d, y, x0, first, last, col = LANES
    work.fetched = 0
    if fetches:
        find_columns(call, task, work)
        place_rows(work.row, call.height, work.ring, schedule.ring_rows, call.width)
    else:
        col = features.col // <Py_ssize_t>sizeof(real)
        for y in range(call.height):
            work.row[y] = <real *>(
                features.data + task.image * features.image
                + task.first_channel * features.channel + y * features.row
            )
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        if fetches:
            first = call.y.distinct[call.y.distinct_begin[box]]
            last = call.y.distinct[call.y.distinct_end[box] - 1] + 1
            fetch_rows(call, task, work, first, last)
        x0 = call.x.distinct_begin[box]
        for d in range(x0, call.x.distinct_end[box]):
            work.column[d - x0] = call.x.distinct[d] * col
        take_grads(call, task, work, box, 0, call.y.bins)
        if call.mode == AVG:
            differentiate_means_by_x(call, task, work, box)
            differentiate_means_by_y(call, task, work, box)
        else:
            differentiate_maxima(call, schedule, task, work, box)


cdef void differentiate_planar(
    const Call *call, const Task *task, Workspace *work
) noexcept nogil:
    cdef Py_ssize_t channel, box
    cdef const char *cells
    cdef const char *grads
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        for channel in range(task.first_channel, task.first_channel + task.channels):
            cells = (
                call.features.data + task.image * call.features.image
                + channel * call.features.channel
            )
            grads = (
                call.out.data + call.target[box] * call.out.image
                + channel * call.out.channel
            )
            if call.mode == AVG:
                differentiate_plane_of_means(
                    call, work, box, cells, grads, place_of(call, task, box)
                )
            else:
                differentiate_plane_of_maxima(
                    call, work, box, cells, grads, place_of(call, task, box)
                )


cdef void add_blocks(const Call *call) noexcept nogil:
    """Add what the blocks of channels have, in their order."""
    cdef Py_ssize_t k, block, side
    cdef const double *value = call.block_sides
    cdef double *sides
    for k in range(call.boxes):
        sides = call.sides + call.target[k] * 4
        memset(sides, 0, 4 * sizeof(double))
        for block in range(call.blocks):
            for side in range(4):
                sides[side] += value[side]
            value += 4
        for side in range(4):
            if sides[side] != sides[side]:
                sides[side] = NAN  # of one sign and payload
