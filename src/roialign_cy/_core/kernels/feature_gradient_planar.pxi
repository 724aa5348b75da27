# The gradient with respect to the features in the planar order: one channel of one box at a time,
# straight into the array. Sums run in the order that feature_gradient.pxi fixes.


cdef void feature_gradient_planar(
    const Call *call, const Packed *packed, const Task *task, Workspace *work
) noexcept nogil:
    """Sum the gradient of one task."""
    cdef Py_ssize_t box, y, channel
    if call.update == OVERWRITE:
        for y in range(task.first_row, task.last_row):
            zero_cells(
                &call.map, row_in_map(call, task, y), task.channels, 0, call.width
            )
    for box in range(task.begin, task.end):
        if not reaches(call, task, box):
            continue
        for channel in range(task.first_channel, task.first_channel + task.channels):
            if call.mode == AVG:
                add_means_of_plane(call, packed, task, work, box, channel)
            else:
                add_maxima_of_plane(call, task, work, box, channel)
