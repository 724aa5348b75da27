"""Where the bins and samples of a box lie along one axis, in float64."""

from libc.math cimport INFINITY, ceil
from libc.stdint cimport uint16_t

from .half cimport half_to_float, round_double_to_half, round_to_half

cdef enum Sampling:
    CENTERED = 0    # points at the centres of equal parts of a bin
    INTERIOR = 1    # points where lines between equal parts cross
    CELLS = 2       # whole cells
    INTEGRAL = 3    # the whole bin
    CORNERS = 4     # one point for each bin, the first and the last on the sides of the box
    NEAREST = 5     # the cell nearest to each point of CORNERS
    ROTATED = 6     # the points of CENTERED, in a box that is turned


cdef struct Geometry:
    double scale        # cells per input unit
    double offset       # cells taken off every scaled coordinate
    double min_size     # smallest extent in cells; -inf for none
    Sampling sampling
    bint zero_border    # neighbours outside the map count as 0; else samples are clamped to it
    int rois_itemsize   # 2, 4 or 8: of the dtype that the adaptive count is computed in
    bint in_degrees     # unit of angles; else radians
    bint is_clockwise   # direction of angles; else counter-clockwise


cdef inline Sampling sampling_of(name):
    if name == "centered":
        return CENTERED
    if name == "interior":
        return INTERIOR
    if name == "rotated":
        return ROTATED
    if name == "cells":
        return CELLS
    if name == "integral":
        return INTEGRAL
    return CORNERS if name == "corners" else NEAREST


cdef inline Geometry make_geometry(spec, Py_ssize_t rois_itemsize):
    cdef Geometry g
    g.scale = spec.spatial_scales[0]
    g.offset = spec.pixel_offset
    g.min_size = -INFINITY if spec.min_size is None else spec.min_size
    g.sampling = sampling_of(spec.sampling)
    g.zero_border = spec.border == "zero"
    g.rois_itemsize = <int>rois_itemsize
    g.in_degrees = spec.angle == "degrees"
    g.is_clockwise = spec.clockwise
    return g


cdef struct Span:
    double start        # of the box, in cells
    double bin_size     # extent of one bin, in cells; negative in a reversed box
    Py_ssize_t samples  # per bin
    bint is_widened     # to the smallest extent
    bint is_amid        # each sample lies between two cells of the map
    double end          # of the box, in cells; of CORNERS and NEAREST only


cdef inline double coordinate(const char *roi, int column, int itemsize) noexcept nogil:
    """Number ``column`` of a row, whatever its dtype."""
    if itemsize == 8:
        return (<const double *>roi)[column]
    if itemsize == 4:
        return (<const float *>roi)[column]
    return half_to_float((<const uint16_t *>roi)[column])


cdef inline double box_start(double low, const Geometry *g) noexcept nogil:
    return low * g.scale - g.offset


cdef inline bint is_widened(double low, double high, const Geometry *g) noexcept nogil:
    return box_start(high, g) - box_start(low, g) < g.min_size


cdef inline double box_extent(double low, double high, const Geometry *g) noexcept nogil:
    cdef double extent = box_start(high, g) - box_start(low, g)
    return g.min_size if extent < g.min_size else extent


cdef inline double extent_in_own_dtype(double low, double high, const Geometry *g) noexcept nogil:
    """The extent, rounded at every step as by libraries that compute in the boxes' dtype.

    The adaptive count follows from it, and has to jump at the same boxes as theirs.
    """
    cdef float f_low, f_high, f_scale, f_offset, f_extent
    if g.rois_itemsize == 8:
        return box_extent(low, high, g)
    f_scale, f_offset = <float>g.scale, <float>g.offset
    f_low, f_high = <float>low, <float>high
    if g.rois_itemsize == 4:
        f_low = f_low * f_scale - f_offset
        f_high = f_high * f_scale - f_offset
        f_extent = f_high - f_low
    else:
        f_scale, f_offset = round_double_to_half(g.scale), round_double_to_half(g.offset)
        f_low = round_to_half(round_to_half(f_low * f_scale) - f_offset)
        f_high = round_to_half(round_to_half(f_high * f_scale) - f_offset)
        f_extent = round_to_half(f_high - f_low)
    if f_extent < g.min_size:
        f_extent = <float>g.min_size
        if g.rois_itemsize == 2:
            f_extent = round_double_to_half(g.min_size)
    return f_extent


cdef inline double adaptive_count(
    double own_extent, Py_ssize_t bins, const Geometry *g
) noexcept nogil:
    """``ceil(extent / bins)``, divided in the boxes' dtype; 0 or less where nothing is sampled."""
    if g.rois_itemsize == 8:
        return ceil(own_extent / <double>bins)
    if g.rois_itemsize == 4:
        return ceil(<float>own_extent / <float>bins)
    return ceil(round_to_half(<float>own_extent / round_to_half(<float>bins)))


cdef inline double sample_position(
    const Span *span, Py_ssize_t bin, Py_ssize_t i, bint interior
) noexcept nogil:
    """Coordinate of sample ``i`` of a bin.

    The order of operations is torchvision's: any other moves samples by an ulp, and across the
    border at -1 or at the map's size that is the whole value. It never decreases in ``i`` (never
    increases, in a reversed box), since each operation rounds monotonically.
    """
    cdef double base = span.start + <double>bin * span.bin_size
    if interior:
        return base + (<double>i + 1.0) * span.bin_size / (<double>span.samples + 1.0)
    return base + (<double>i + 0.5) * span.bin_size / <double>span.samples
