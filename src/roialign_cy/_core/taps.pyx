"""Boxes to taps: the sparse row and column factors of RoI Align, in float64."""

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport prange
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset

from .geometry cimport (
    Geometry,
    Span,
    adaptive_count,
    box_extent,
    box_start,
    coordinate,
    extent_in_own_dtype,
    make_geometry,
    sample_position,
)

include "lines.pxi"


# Bounds on one batch of boxes: its tables stay in the second-level cache's order of size, and a
# batch is still large enough that reading the map once for each does not show.
cdef size_t MOST_TABLE_BYTES = 8 << 20
cdef Py_ssize_t MOST_BOXES = 16384


cdef struct Rois:
    const char *data    # of the first box of the batch
    Py_ssize_t stride   # in bytes


cdef struct Arena:
    char *memory
    size_t used


cdef void *take(Arena *arena, Py_ssize_t count, size_t itemsize) noexcept nogil:
    """Room for ``count`` items; with no memory behind it, only counts."""
    cdef size_t here = (arena.used + 15) & ~<size_t>15
    arena.used = here + <size_t>count * itemsize
    return NULL if arena.memory == NULL else <void *>(arena.memory + here)


cdef void place_axis(
    Arena *arena, Axis *axis, Py_ssize_t boxes, Py_ssize_t bins, const Cursor *total
) noexcept nogil:
    axis.bins = bins
    axis.line_begin = <Py_ssize_t *>take(arena, boxes * bins, sizeof(Py_ssize_t))
    axis.line_end = <Py_ssize_t *>take(arena, boxes * bins, sizeof(Py_ssize_t))
    axis.outside = <char *>take(arena, boxes * bins, 1)
    axis.tap_begin = <Py_ssize_t *>take(arena, total.line, sizeof(Py_ssize_t))
    axis.tap_end = <Py_ssize_t *>take(arena, total.line, sizeof(Py_ssize_t))
    axis.cell = <Py_ssize_t *>take(arena, total.tap, sizeof(Py_ssize_t))
    axis.slot = <Py_ssize_t *>take(arena, total.tap, sizeof(Py_ssize_t))
    axis.weight = <double *>take(arena, total.tap, sizeof(double))
    axis.distinct = <Py_ssize_t *>take(arena, total.distinct, sizeof(Py_ssize_t))
    axis.distinct_begin = <Py_ssize_t *>take(arena, boxes, sizeof(Py_ssize_t))
    axis.distinct_end = <Py_ssize_t *>take(arena, boxes, sizeof(Py_ssize_t))


cdef size_t bytes_of(const Need *need) noexcept nogil:
    return 16 * <size_t>need.lines + 24 * <size_t>need.taps + 8 * <size_t>need.distinct


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


cdef struct Rank:
    Py_ssize_t image
    Py_ssize_t row
    Py_ssize_t box


cdef int compare_ranks(const void *a, const void *b) noexcept nogil:
    cdef const Rank *p = <const Rank *>a
    cdef const Rank *q = <const Rank *>b
    if p.image != q.image:
        return -1 if p.image < q.image else 1
    if p.row != q.row:
        return -1 if p.row < q.row else 1
    return -1 if p.box < q.box else 1


cdef Py_ssize_t measure(
    const Rois *rois, Py_ssize_t most, const Request *y_request, const Request *x_request,
    const Geometry *g, Place *places, Cursor *y_total, Cursor *x_total,
) noexcept nogil:
    """Find how many boxes make this batch and where the tables of each begin."""
    cdef Py_ssize_t k = 0
    cdef Need y_need, x_need
    cdef size_t used = 0
    cdef const char *roi
    memset(y_total, 0, sizeof(Cursor))
    memset(x_total, 0, sizeof(Cursor))
    while k < most and (k == 0 or used < MOST_TABLE_BYTES):
        roi = rois.data + k * rois.stride
        places[k].y_span = make_span(roi, y_request, g)
        places[k].x_span = make_span(roi, x_request, g)
        places[k].y, places[k].x = y_total[0], x_total[0]
        y_need = need_of(&places[k].y_span, y_request, g.interior)
        x_need = need_of(&places[k].x_span, x_request, g.interior)
        advance(y_total, &y_need)
        advance(x_total, &x_need)
        used += bytes_of(&y_need) + bytes_of(&x_need)
        k += 1
    return k


cdef void place_tables(
    Arena *arena, Tables *tables, Py_ssize_t boxes, const Request *y_request,
    const Request *x_request, const Cursor *y_total, const Cursor *x_total,
) noexcept nogil:
    place_axis(arena, &tables.y, boxes, y_request.bins, y_total)
    place_axis(arena, &tables.x, boxes, x_request.bins, x_total)
    tables.image = <Py_ssize_t *>take(arena, boxes, sizeof(Py_ssize_t))
    tables.order = <Py_ssize_t *>take(arena, boxes, sizeof(Py_ssize_t))


cdef void fill_box(
    const Rois *rois, Tables *tables, Py_ssize_t k, const Place *place, const Request *y_request,
    const Request *x_request, const Geometry *g, Rank *rank,
) noexcept nogil:
    cdef const char *roi = rois.data + k * rois.stride
    tables.image[k] = <Py_ssize_t>coordinate(roi, 0, g.rois_itemsize)
    fill_axis(&tables.y, k, place.y, &place.y_span, y_request, g.interior)
    fill_axis(&tables.x, k, place.x, &place.x_span, x_request, g.interior)
    rank.image = tables.image[k]
    rank.row = 0
    if tables.y.distinct_end[k] > tables.y.distinct_begin[k]:
        rank.row = tables.y.distinct[tables.y.distinct_begin[k]]
    rank.box = k


cdef class Taps:
    """Tables of as many boxes from ``first`` on as fit the batch bounds (at least one)."""

    def __cinit__(
        self, rois, Py_ssize_t first, Py_ssize_t height, Py_ssize_t width, spec, bint single,
        int num_threads,
    ):
        cdef Py_buffer view
        PyObject_GetBuffer(rois, &view, PyBUF_STRIDES)
        try:
            self.first = first
            self.build(&view, height, width, spec, single, num_threads)
        finally:
            PyBuffer_Release(&view)

    def __dealloc__(self):
        free(self.memory)

    cdef int build(
        self, Py_buffer *view, Py_ssize_t height, Py_ssize_t width, spec, bint single,
        int num_threads,
    ) except -1:
        cdef Request y_request, x_request
        cdef Geometry g = make_geometry(spec, view.itemsize)
        cdef Py_ssize_t most = min(view.shape[0] - self.first, MOST_BOXES)
        cdef Py_ssize_t boxes = 0, k
        cdef Rois rois
        cdef Place *places
        cdef Rank *ranks
        cdef Cursor y_total, x_total
        cdef Arena arena
        cdef int mode = {"avg": AVG, "max": MAX, "max_weighted": MAX_WEIGHTED}[spec.mode]
        rois.data = <const char *>view.buf + self.first * view.strides[0]
        rois.stride = view.strides[0]
        y_request.size, x_request.size = height, width
        y_request.bins, x_request.bins = spec.output_size
        y_request.ratio, x_request.ratio = spec.sampling_ratio
        y_request.low_column, y_request.high_column = 2, 4
        x_request.low_column, x_request.high_column = 1, 3
        y_request.mode = x_request.mode = mode
        y_request.single = x_request.single = single

        places = <Place *>malloc(most * sizeof(Place))
        ranks = <Rank *>malloc(most * sizeof(Rank))
        try:
            if places == NULL or ranks == NULL:
                raise MemoryError("no memory for the boxes' sample positions")
            with nogil:
                boxes = measure(
                    &rois, most, &y_request, &x_request, &g, places, &y_total, &x_total
                )
            self.last = self.first + boxes
            arena.memory = NULL
            arena.used = 0
            place_tables(&arena, &self.tables, boxes, &y_request, &x_request, &y_total, &x_total)
            arena.memory = <char *>malloc(arena.used)
            if arena.memory == NULL:
                raise MemoryError("no memory for the boxes' taps")
            self.memory = arena.memory
            arena.used = 0
            place_tables(&arena, &self.tables, boxes, &y_request, &x_request, &y_total, &x_total)
            if num_threads > 1:
                for k in prange(boxes, nogil=True, num_threads=num_threads, schedule="static"):
                    fill_box(
                        &rois, &self.tables, k, &places[k], &y_request, &x_request, &g, &ranks[k]
                    )
            else:
                with nogil:
                    for k in range(boxes):
                        fill_box(
                        &rois, &self.tables, k, &places[k], &y_request, &x_request, &g, &ranks[k]
                    )
            with nogil:
                qsort(ranks, boxes, sizeof(Rank), compare_ranks)
                for k in range(boxes):
                    self.tables.order[k] = ranks[k].box
        finally:
            free(places)
            free(ranks)
        return 0
