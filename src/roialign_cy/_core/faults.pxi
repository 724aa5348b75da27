# Which boxes cannot be pooled: every call looks at all of its boxes before anything is computed.

from libc.math cimport fabs

from .geometry cimport ROTATED

# Up to this many samples in a bin, i + 0.5 is exact.
cdef double MOST_SAMPLES = 2.0**51

# If the centre and sides of a rotated box add up to no more cells than this, rounding moves its
# samples by 1024 cells at most (`RotatedBox.blur`).
cdef double MOST_ROTATED_CELLS = 2.0**55

# Fewer boxes, of fewer rows of bins, are looked at in less time than the lock takes to be let go
# and taken again.
cdef Py_ssize_t BOXES_WORTH_RELEASING = 16
cdef Py_ssize_t BINS_WORTH_RELEASING = 64


cdef enum Fault:
    GOOD = 0
    NOT_FINITE = 1
    BAD_BATCH_INDEX = 2
    EXTENT_OVERFLOWS = 3
    TOO_MANY_SAMPLES = 4
    NEGATIVE_SIZE = 5
    ANGLE_TOO_LARGE = 6


_FAULT_NAMES = {
    NOT_FINITE: "not finite",
    BAD_BATCH_INDEX: "bad batch index",
    EXTENT_OVERFLOWS: "extent overflows",
    TOO_MANY_SAMPLES: "too many samples",
    NEGATIVE_SIZE: "negative size",
    ANGLE_TOO_LARGE: "angle too large",
}


def find_fault(ndarray rois not None, Py_ssize_t num_images, spec):
    """Find the first box that cannot be pooled: (row, what is wrong with it), or None.

    ``rois`` is an array of native float16, float32 or float64 and of shape (K, 5), or (K, 6) if the
    boxes are rotated.
    """
    cdef const PyArrayObject *boxes = <const PyArrayObject *>rois
    cdef Py_ssize_t row, rows, cols, ratio_rows, ratio_cols
    cdef int fault
    rows, cols = spec.output_size
    ratio_rows, ratio_cols = spec.sampling_ratio
    geometry = make_geometry(spec, PyArray_ITEMSIZE(boxes))
    if PyArray_DIM(boxes, 0) < BOXES_WORTH_RELEASING:
        fault = first_fault(boxes, num_images, rows, cols, ratio_rows, ratio_cols, &geometry, &row)
    else:
        with nogil:
            fault = first_fault(
                boxes, num_images, rows, cols, ratio_rows, ratio_cols, &geometry, &row
            )
    return None if fault == GOOD else (row, _FAULT_NAMES[fault])


cdef int first_fault(
    const PyArrayObject *boxes, Py_ssize_t num_images, Py_ssize_t rows, Py_ssize_t cols,
    Py_ssize_t ratio_rows, Py_ssize_t ratio_cols, const Geometry *g, Py_ssize_t *row,
) noexcept nogil:
    """What is wrong with the first box that cannot be pooled, and its row."""
    cdef int fault = GOOD
    cdef float_mode mode = set_standard_mode()
    row[0] = 0
    while row[0] < PyArray_DIM(boxes, 0):
        fault = box_fault(
            PyArray_BYTES(boxes) + row[0] * PyArray_STRIDE(boxes, 0),
            num_images, rows, cols, ratio_rows, ratio_cols, g,
        )
        if fault != GOOD:
            break
        row[0] += 1
    set_mode(mode)
    return fault


cdef int box_fault(
    const char *roi, Py_ssize_t num_images, Py_ssize_t rows, Py_ssize_t cols,
    Py_ssize_t ratio_rows, Py_ssize_t ratio_cols, const Geometry *g,
) noexcept nogil:
    cdef double index = coordinate(roi, 0, g.rois_itemsize)
    cdef int axis
    cdef double low, high, own
    if not (0 <= index < <double>num_images and floor(index) == index):
        return BAD_BATCH_INDEX
    if g.sampling == ROTATED:
        return rotated_fault(roi, rows, cols, ratio_rows, ratio_cols, g)
    for axis in range(2):  # x, then y
        low = coordinate(roi, 1 + axis, g.rois_itemsize)
        high = coordinate(roi, 3 + axis, g.rois_itemsize)
        if not (isfinite(low) and isfinite(high)):
            return NOT_FINITE
        own = extent_in_own_dtype(low, high, g)
        if not (
            isfinite(own)
            and isfinite(box_start(low, g))
            and isfinite(box_extent(low, high, g))
        ):
            return EXTENT_OVERFLOWS
        if has_too_many(
            own, rows if axis else cols, ratio_rows if axis else ratio_cols, g
        ):
            return TOO_MANY_SAMPLES
    return GOOD


cdef inline bint has_too_many(
    double own_extent, Py_ssize_t bins, Py_ssize_t ratio, const Geometry *g
) noexcept nogil:
    return ratio == 0 and adaptive_count(own_extent, bins, g) > MOST_SAMPLES


cdef int rotated_fault(
    const char *roi, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t ratio_rows, Py_ssize_t ratio_cols,
    const Geometry *g,
) noexcept nogil:
    cdef int column
    cdef double number, own, room = 2.0 * fabs(g.offset)
    cdef Geometry unmoved = g[0]
    unmoved.offset = 0.0
    for column in range(1, 6):
        number = coordinate(roi, column, g.rois_itemsize)
        if not isfinite(number):
            return NOT_FINITE
        if column < 5:
            room += fabs(number * g.scale)
    # Whatever is computed from a box is a sum of small multiples of these, and must not overflow.
    if not isfinite(1024.0 * room):
        return EXTENT_OVERFLOWS
    for column in range(3, 5):  # width, height
        number = coordinate(roi, column, g.rois_itemsize)
        if number < 0:
            return NEGATIVE_SIZE
        own = extent_in_own_dtype(0.0, number, &unmoved)
        if not isfinite(own):
            return EXTENT_OVERFLOWS
        if has_too_many(
            own, rows if column == 4 else cols, ratio_rows if column == 4 else ratio_cols, g
        ):
            return TOO_MANY_SAMPLES
        # Rows of samples within `blur` of the map are gone through one by one: if it is that large,
        # there could be too many of them.
        if (
            column == 4 and ratio_rows == 0 and room > MOST_ROTATED_CELLS
            and adaptive_count(own, rows, g) > 1024
        ):
            return TOO_MANY_SAMPLES
    if not g.in_degrees and fabs(coordinate(roi, 5, g.rois_itemsize)) > MOST_RADIANS:
        return ANGLE_TOO_LARGE
    return GOOD
