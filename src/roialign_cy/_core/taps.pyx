"""Boxes to taps: the sparse row and column factors of RoI Align, in float64."""

from cython.parallel cimport prange
from libc.math cimport floor, isfinite
from libc.stdint cimport INT32_MAX, int32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from .arena cimport Arena, allocate, arena_alloc, arena_in
from .float_mode cimport float_mode, set_mode, set_standard_mode
from .geometry cimport (
    ROTATED,
    Geometry,
    Span,
    adaptive_count,
    box_extent,
    box_start,
    coordinate,
    extent_in_own_dtype,
    make_geometry,
)
from .ndarray cimport (
    PyArray_BYTES,
    PyArray_DIM,
    PyArray_ITEMSIZE,
    PyArray_STRIDE,
    PyArrayObject,
    ndarray,
)
from .runtime cimport granted

include "rotation.pxi"
include "faults.pxi"
include "weights.pxi"
include "locate.pxi"
include "lines.pxi"
include "sampler_points.pxi"
include "sampler_cells.pxi"
include "sampler_integral.pxi"
include "sampler_corners.pxi"
include "samplers.pxi"
include "sampler_rotated.pxi"
include "point_lists.pxi"
include "point_taps.pxi"


# Bounds on one batch of boxes. Its tables are of the order of the second-level cache, and it is
# still so large that reading the map again for every batch does not show.
cdef size_t MOST_TABLE_BYTES = 8 << 20
cdef Py_ssize_t MOST_BOXES = 16384
# A box takes about half a microsecond, starting threads several.
cdef Py_ssize_t BOXES_WORTH_THREADS = 64


cdef void place_axis(
    Arena *arena, Axis *axis, Py_ssize_t boxes, Py_ssize_t bins, const Cursor *total,
    bint with_slopes,
) noexcept nogil:
    axis.bins = bins
    axis.line_capacity, axis.tap_capacity = total.line, total.tap
    axis.distinct_capacity = total.distinct
    axis.line_begin = <Py_ssize_t *>arena_alloc(arena, boxes * bins, sizeof(Py_ssize_t))
    axis.line_end = <Py_ssize_t *>arena_alloc(arena, boxes * bins, sizeof(Py_ssize_t))
    axis.outside = <char *>arena_alloc(arena, boxes * bins, 1)
    axis.tap_begin = <Py_ssize_t *>arena_alloc(arena, total.line, sizeof(Py_ssize_t))
    axis.tap_end = <Py_ssize_t *>arena_alloc(arena, total.line, sizeof(Py_ssize_t))
    axis.cell = <Py_ssize_t *>arena_alloc(arena, total.tap, sizeof(Py_ssize_t))
    axis.slot = <Py_ssize_t *>arena_alloc(arena, total.tap, sizeof(Py_ssize_t))
    axis.weight = <double *>arena_alloc(arena, total.tap, sizeof(double))
    axis.near = axis.far = NULL
    if with_slopes:
        axis.near = <double *>arena_alloc(arena, total.tap, sizeof(double))
        axis.far = <double *>arena_alloc(arena, total.tap, sizeof(double))
    axis.distinct = <Py_ssize_t *>arena_alloc(arena, total.distinct, sizeof(Py_ssize_t))
    axis.distinct_begin = <Py_ssize_t *>arena_alloc(arena, boxes, sizeof(Py_ssize_t))
    axis.distinct_end = <Py_ssize_t *>arena_alloc(arena, boxes, sizeof(Py_ssize_t))


cdef double bytes_of(const Need *need, const Request *request) noexcept nogil:
    return (
        16.0 * <double>need.lines + 24.0 * <double>need.taps + 8.0 * <double>need.distinct
        + 17.0 * <double>request.bins
    )


cdef void advance(Cursor *cursor, const Need *need) noexcept nogil:
    cursor.line += need.lines
    cursor.tap += need.taps
    cursor.distinct += need.distinct


cdef struct Place:
    # Of one box: where its samples lie and where its tables begin, per axis.
    Span y_span
    Span x_span
    Cursor y
    Cursor x


cdef struct Total:
    # Entries that the tables of a batch can take, along each axis.
    Cursor y
    Cursor x


cdef Py_ssize_t measure(
    const Job *job, const Py_ssize_t *target, Py_ssize_t most, Place *places, Total *total
) noexcept nogil:
    """Find how many boxes make this batch, and where the tables of each begin."""
    cdef Py_ssize_t k = 0
    cdef Need y_need, x_need
    cdef double used = 0
    cdef const char *roi
    cdef float_mode mode = set_standard_mode()
    memset(total, 0, sizeof(Total))
    while k < most and (k == 0 or used < <double>job.most_bytes):
        roi = roi_of(job, target[k])
        places[k].y_span = make_span(roi, &job.y, &job.geometry)
        places[k].x_span = make_span(roi, &job.x, &job.geometry)
        places[k].y, places[k].x = total.y, total.x
        y_need = need_of(&places[k].y_span, &job.y, &job.geometry)
        x_need = need_of(&places[k].x_span, &job.x, &job.geometry)
        advance(&total.y, &y_need)
        advance(&total.x, &x_need)
        used += bytes_of(&y_need, &job.y) + bytes_of(&x_need, &job.x) + sizeof(Place)
        k += 1
    set_mode(mode)
    return k


cdef void place_tables(
    const Job *job, Py_ssize_t boxes, const Total *total, Arena *arena, Tables *tables
) noexcept nogil:
    place_axis(arena, &tables.y, boxes, job.y.bins, &total.y, job.y.with_slopes)
    place_axis(arena, &tables.x, boxes, job.x.bins, &total.x, job.x.with_slopes)
    tables.image = <Py_ssize_t *>arena_alloc(arena, boxes, sizeof(Py_ssize_t))


cdef void fill_box(
    const Job *job, Py_ssize_t target, Py_ssize_t k, const Place *place, Tables *tables
) noexcept nogil:
    cdef const char *roi = roi_of(job, target)
    cdef float_mode mode = set_standard_mode()
    tables.image[k] = image_of(roi, &job.geometry) - job.first_image
    fill_axis(&tables.y, k, place.y, &place.y_span, &job.y, &job.geometry)
    fill_axis(&tables.x, k, place.x, &place.x_span, &job.x, &job.geometry)
    set_mode(mode)


cdef inline const char *roi_of(const Job *job, Py_ssize_t box) noexcept nogil:
    return job.rois + box * job.stride


cdef inline Py_ssize_t image_of(const char *roi, const Geometry *g) noexcept nogil:
    return <Py_ssize_t>coordinate(roi, 0, g.rois_itemsize)


cdef Job make_job(spec, ndarray rois, Py_ssize_t height, Py_ssize_t width):
    cdef const PyArrayObject *boxes = <const PyArrayObject *>rois
    cdef Job job
    memset(&job, 0, sizeof(Job))  # what is not set here, the caller sets
    job.rois = PyArray_BYTES(boxes)
    job.stride = PyArray_STRIDE(boxes, 0)
    job.geometry = make_geometry(spec, PyArray_ITEMSIZE(boxes))
    mode = spec.mode
    job.mode = AVG if mode == "avg" else MAX if mode == "max" else MAX_WEIGHTED
    job.y.size, job.x.size = height, width
    job.y.bins, job.x.bins = spec.output_size
    job.y.ratio, job.x.ratio = spec.sampling_ratio
    job.y.low_column, job.y.high_column = 2, 4
    job.x.low_column, job.x.high_column = 1, 3
    job.y.mode = job.x.mode = job.mode
    return job


cdef struct Rank:
    uint64_t key        # what boxes are sorted by: image and first row read, as one number
    Py_ssize_t box


cdef enum:
    DIGIT_BITS = 6      # of a key, by which ranks are sorted at a time


cdef int sort_boxes(
    const Job *job, const Py_ssize_t *rows, Py_ssize_t count, Py_ssize_t *order
) except -1:
    """Sort the boxes by image, by the first row that they read, and by their number.

    That is the order in which one sweep down each image meets them, and in which a cell of the
    feature gradient adds its terms. It is one order for the whole call, whatever the batches.
    """
    cdef Rank *ranks = <Rank *>allocate(count, 2 * sizeof(Rank))
    if ranks == NULL:
        raise MemoryError("no memory for the order of the boxes")
    if count < BOXES_WORTH_RELEASING and job.y.bins < BINS_WORTH_RELEASING:
        rank_boxes(job, rows, count, ranks, order)
    else:
        with nogil:
            rank_boxes(job, rows, count, ranks, order)
    free(ranks)
    return 0


cdef void rank_boxes(
    const Job *job, const Py_ssize_t *rows, Py_ssize_t count, Rank *ranks, Py_ssize_t *order
) noexcept nogil:
    cdef Py_ssize_t k, row
    cdef uint64_t largest = 0
    cdef Span span
    cdef const char *roi
    cdef const Rank *ranked
    cdef float_mode mode = set_standard_mode()
    for k in range(count):
        ranks[k].box = k if rows == NULL else rows[k]
        roi = roi_of(job, ranks[k].box)
        if job.geometry.sampling == ROTATED:
            row = rotated_box(roi, &job.y, &job.x, &job.geometry).y_begin
        else:
            span = make_span(roi, &job.y, &job.geometry)
            row = first_cell_read(&span, &job.y, &job.geometry)
        ranks[k].key = <uint64_t>image_of(roi, &job.geometry) * <uint64_t>job.y.size + <uint64_t>row
        largest = max(largest, ranks[k].key)
    set_mode(mode)
    ranked = sorted_ranks(ranks, ranks + count, count, largest)
    for k in range(count):
        order[k] = ranked[k].box


cdef const Rank *sorted_ranks(
    Rank *ranks, Rank *others, Py_ssize_t count, uint64_t largest
) noexcept nogil:
    """Sort by the key, in either of two arrays; equals stay in their order, which is the boxes'."""
    cdef Py_ssize_t place[1 << DIGIT_BITS]
    cdef Py_ssize_t digit, k, begin, next_begin
    while largest and count > 1:
        memset(place, 0, sizeof(place))
        for k in range(count):
            place[ranks[k].key & ((1 << DIGIT_BITS) - 1)] += 1
        begin = 0
        for digit in range(1 << DIGIT_BITS):
            next_begin = begin + place[digit]
            place[digit] = begin
            begin = next_begin
        for k in range(count):
            digit = ranks[k].key & ((1 << DIGIT_BITS) - 1)
            others[place[digit]].box = ranks[k].box
            others[place[digit]].key = ranks[k].key >> DIGIT_BITS
            place[digit] += 1
        ranks, others = others, ranks
        largest >>= DIGIT_BITS
    return ranks


ctypedef void (*Finder)(const char *roi, const Job *job, Py_ssize_t *found) noexcept nogil


def rows_read(ndarray rois not None, Py_ssize_t height, Py_ssize_t width, spec, rows):
    """Write into ``rows`` the first row that each box reads and the one after its last.

    Both are 0 for a box that reads none. ``rows`` is a new array of intp, of shape (K, 2).
    """
    find_for_boxes(rois, height, width, spec, rows, 2, find_rows_read)


def bins_read(ndarray rois not None, Py_ssize_t height, Py_ssize_t width, spec, bins):
    """Write into ``bins`` which rows and columns of bins read the map.

    For each box: the first row of bins that does and the one after the last, then the same of the
    columns; 0 and 0 along an axis that has none. ``bins`` is a new array of intp, of shape (K, 4).
    """
    find_for_boxes(rois, height, width, spec, bins, 4, find_bins_read)


cdef int find_for_boxes(
    rois, Py_ssize_t height, Py_ssize_t width, spec, found, Py_ssize_t numbers, Finder find
) except -1:
    """Fill ``found`` with that many numbers for each box."""
    cdef Job job = make_job(spec, rois, height, width)
    cdef Py_ssize_t *target = <Py_ssize_t *>PyArray_BYTES(<const PyArrayObject *>found)
    cdef Py_ssize_t k, boxes = PyArray_DIM(<const PyArrayObject *>rois, 0)
    cdef float_mode mode
    with nogil:
        mode = set_standard_mode()
        for k in range(boxes):
            find(roi_of(&job, k), &job, target + k * numbers)
        set_mode(mode)
    return 0


cdef void find_rows_read(const char *roi, const Job *job, Py_ssize_t *found) noexcept nogil:
    cdef Span span = make_span(roi, &job.y, &job.geometry)
    found[0] = first_cell_read(&span, &job.y, &job.geometry)
    found[1] = end_of_cells_read(&span, &job.y, &job.geometry)


cdef void find_bins_read(const char *roi, const Job *job, Py_ssize_t *found) noexcept nogil:
    find_bins_along(roi, &job.y, &job.geometry, found)
    find_bins_along(roi, &job.x, &job.geometry, found + 2)


cdef void find_bins_along(
    const char *roi, const Request *request, const Geometry *g, Py_ssize_t *found
) noexcept nogil:
    cdef Span span = make_span(roi, request, g)
    cdef Py_ssize_t bin, begin, end
    found[0] = found[1] = 0
    for bin in range(request.bins):
        range_of_bin(&span, bin, request, g, &begin, &end)
        if begin < end:
            if found[1] == 0:
                found[0] = bin
            found[1] = bin + 1


cdef class BoxTaps:
    """What boxes read, in batches that fit the bounds above or have a single box.

    Parameters
    ----------
    rois : ndarray of shape (K, 5), or (K, 6) if the boxes are rotated
    rows : ndarray of intp, contiguous, or None
        Which of them to take, ascending; None for all.
    height, width : int
        Size of the map.
    spec : CallSpec
    single : bool
        Whether the working type is float32.
    num_threads : int
        Most threads that make the tables.
    with_slopes : bool, default False
        Whether to make derivatives with respect to the boxes.
    first_image : int, default 0
        Subtracted from the indices of their images.
    most_bytes : int, default 0
        Bound on a batch, in tests; 0 is MOST_TABLE_BYTES.
    """

    def __cinit__(
        self, ndarray rois not None, ndarray rows, Py_ssize_t height, Py_ssize_t width, spec,
        bint single, int num_threads,
        bint with_slopes=False, Py_ssize_t first_image=0, size_t most_bytes=0,
    ):
        cdef const Py_ssize_t *chosen = NULL
        self.rois = rois
        self.job = make_job(spec, rois, height, width)
        self.job.y.single = self.job.x.single = single
        self.job.y.with_slopes = self.job.x.with_slopes = with_slopes
        self.job.first_image = first_image
        self.job.most_bytes = most_bytes or MOST_TABLE_BYTES
        self.num_threads = num_threads
        self.boxes = len(rois)
        if rows is not None:
            self.boxes = len(rows)
            chosen = <const Py_ssize_t *>PyArray_BYTES(<const PyArrayObject *>rows)
        self.order = <Py_ssize_t *>allocate(self.boxes, sizeof(Py_ssize_t))
        if self.order == NULL:
            raise MemoryError("no memory for the order of the boxes")
        sort_boxes(&self.job, chosen, self.boxes, self.order)

    def __dealloc__(self):
        free(self.memory)
        free(self.order)

    def next_batch(self):
        """Make the tables of the next boxes; False if there are none left."""
        if self.last == self.boxes:
            return False
        free(self.memory)
        self.memory = NULL
        self.first = self.last
        self.target = self.order + self.first
        self.last += self.build(min(self.boxes - self.first, MOST_BOXES))
        return True

    cdef Py_ssize_t build(self, Py_ssize_t most) except -1:
        """Make the tables of ``most`` boxes or fewer, and say of how many."""
        raise NotImplementedError


cdef class Taps(BoxTaps):
    """Tables of boxes that separate along the axes."""

    cdef Py_ssize_t build(self, Py_ssize_t most) except -1:
        cdef const Job *job = &self.job
        cdef Tables *tables = &self.tables
        cdef Total total
        cdef Py_ssize_t boxes, k
        cdef int num_threads = 1
        cdef Arena arena
        cdef Place *places = <Place *>allocate(most, sizeof(Place))
        tables.mode = job.mode
        try:
            with nogil:
                if places == NULL:
                    raise MemoryError("no memory for the boxes' sample positions")
                boxes = measure(job, self.target, most, places, &total)
                arena = arena_in(NULL)
                place_tables(job, boxes, &total, &arena, tables)
                self.memory = allocate(1, arena.used)
                if self.memory == NULL:
                    raise MemoryError("no memory for the boxes' taps")
                arena = arena_in(self.memory)
                place_tables(job, boxes, &total, &arena, tables)
                if boxes >= BOXES_WORTH_THREADS:
                    num_threads = granted(self.num_threads)
                if num_threads > 1:
                    for k in prange(boxes, num_threads=num_threads, schedule="static"):
                        fill_box(job, self.target[k], k, &places[k], tables)
                else:
                    for k in range(boxes):
                        fill_box(job, self.target[k], k, &places[k], tables)
        finally:
            free(places)
        return boxes


cdef Py_ssize_t measure_points(
    const PointTables *tables, const Job *job, const Py_ssize_t *target, Py_ssize_t most,
    RotatedBox *boxes, PointTotal *total,
) noexcept nogil:
    """Find how many boxes make this batch, and where the lists of each begin."""
    cdef Py_ssize_t k = 0, bins = tables.y.bins * tables.x.bins
    cdef double used = 0, lines, taps, size
    cdef float_mode mode = set_standard_mode()
    cdef double of_tap = sizeof(Cell) + sizeof(double)
    if tables.y.with_slopes:
        of_tap += PARAMETERS * sizeof(double)
    memset(total, 0, sizeof(PointTotal))
    while k < most and (k == 0 or used < <double>job.most_bytes):
        boxes[k] = rotated_box(roi_of(job, target[k]), &job.y, &job.x, &job.geometry)
        lines, taps = most_lines(tables, &boxes[k]), most_taps(tables, &boxes[k])
        size = taps * of_tap + (lines + <double>bins) * sizeof(Py_ssize_t)
        boxes[k].first_bin = -1
        # Larger lists are made where they are read, again for each block of channels: tables of
        # them would grow with rows times columns.
        if size <= <double>job.most_bytes:
            boxes[k].first_bin = total.bins
            boxes[k].first_line, boxes[k].first_tap = total.lines, total.taps
            total.bins += bins
            total.lines += <Py_ssize_t>lines
            total.taps += <Py_ssize_t>taps
            used += size
        used += sizeof(RotatedBox) + sizeof(Py_ssize_t)
        k += 1
    set_mode(mode)
    return k


cdef class PointTaps(BoxTaps):
    """Lists of boxes that do not."""

    cdef Py_ssize_t build(self, Py_ssize_t most) except -1:
        cdef const Job *job = &self.job
        cdef PointTables *tables = &self.tables
        cdef PointTotal total
        cdef Py_ssize_t boxes, k
        cdef int num_threads = 1
        cdef Arena arena
        cdef RotatedBox *made
        if max(job.y.size, job.x.size) > INT32_MAX:
            raise MemoryError("features have more rows or columns than places have numbers")
        made = <RotatedBox *>allocate(most, sizeof(RotatedBox))
        tables.mode, tables.geometry = job.mode, job.geometry
        tables.y, tables.x = job.y, job.x
        try:
            with nogil:
                if made == NULL:
                    raise MemoryError("no memory for the boxes' sample positions")
                boxes = measure_points(tables, job, self.target, most, made, &total)
                arena = arena_in(NULL)
                place_lists(tables, boxes, &total, &arena)
                self.memory = allocate(1, arena.used)
                if self.memory == NULL:
                    raise MemoryError("no memory for the boxes' lists")
                arena = arena_in(self.memory)
                place_lists(tables, boxes, &total, &arena)
                for k in range(boxes):
                    tables.box[k] = made[k]
                    tables.image[k] = (
                        image_of(roi_of(job, self.target[k]), &job.geometry) - job.first_image
                    )
                if boxes >= BOXES_WORTH_THREADS:
                    num_threads = granted(self.num_threads)
                if num_threads > 1:
                    for k in prange(boxes, num_threads=num_threads, schedule="dynamic"):
                        fill_lists(tables, &tables.box[k])
                else:
                    for k in range(boxes):
                        fill_lists(tables, &tables.box[k])
        finally:
            free(made)
        return boxes
