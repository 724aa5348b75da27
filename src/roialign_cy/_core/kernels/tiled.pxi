# The tiled order: LANES channels of one image at a time, packed so that SIMD runs over channels.
#
# The box plans of an image are sorted by their first row, so one sweep down the map serves them
# all: a ring holds the packed rows that the boxes at hand read, and each row is packed once. NHWC
# maps have their channels side by side already and are read in place.


cdef void tiled_task(
    const Call *call, const Schedule *schedule, const Packed *packed, const Task *task,
    Workspace *work
) noexcept nogil:
    """Pool the boxes of one task."""
    cdef const char *map_start = (
        call.features.data + task.image * call.features.image
        + (task.first_channel - task.lane) * call.features.channel
    )
    cdef Py_ssize_t fetched = 0  # rows before this one are in the ring or past
    cdef Py_ssize_t i
    cdef const BoxPlan *plan
    work.map = work.ring
    if task.lane:  # cells are written out from there on, up to lanes that nothing is put into
        memset(
            work.cells, 0, (schedule.group * call.x.bins + 1) * LANES * <Py_ssize_t>sizeof(real)
        )
    if schedule.in_place:
        work.map = <const real *>map_start
    elif schedule.has_ring:
        find_wanted(call, packed, task, work)
    for i in range(task.begin, task.end):
        plan = &packed.plan[i]
        if schedule.has_ring:
            # Plans ascend by their first row and none is taller than the ring, so a row is
            # overwritten only when no box needs it any more.
            fetched = max(fetched, plan.top)
            while fetched <= plan.bottom:
                pack_row(call, schedule, task, work, map_start, fetched)
                fetched += 1
        elif schedule.on_demand:
            demand_columns(call, work, plan.box)
        if call.mode == AVG:
            average(call, schedule, task, plan, work)
        elif call.mode == MAX:
            maximum(call, schedule, task, plan, work)
        else:
            weighted_maximum(call, schedule, task, plan, work)
