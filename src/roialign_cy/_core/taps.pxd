"""Where every bin of every box reads, along each axis: the tables that kernels run on.

A bin has *lines*, a line has *taps* (cell, weight). In ``avg`` a bin has one line, with
all its samples merged; in ``max`` it has a line for each sample that can be the largest. A
bin with no sample inside the map has no line.
"""

from libc.stdint cimport int32_t

from .geometry cimport Geometry, Span

cdef enum Mode:
    AVG = 0
    MAX = 1
    MAX_WEIGHTED = 2


cdef enum:
    # Bits of Axis.outside, in the order of the samples. No sample is inside: the first.
    OUTSIDE_BEFORE = 1
    OUTSIDE_AFTER = 2


cpdef enum Update:
    # What a feature gradient does with what its array holds.
    OVERWRITE = 0
    ZEROED = 1      # it holds zeros already
    ACCUMULATE = 2  # it holds the sums of boxes before these


cdef struct Axis:
    Py_ssize_t bins             # bins along this axis
    Py_ssize_t *line_begin      # [box * bins + bin]: its lines are line_begin .. line_end
    Py_ssize_t *line_end
    char *outside               # [box * bins + bin]: which samples lie outside the map
    Py_ssize_t *tap_begin       # [line]: its taps are tap_begin .. tap_end
    Py_ssize_t *tap_end
    Py_ssize_t *cell            # [tap]
    Py_ssize_t *slot            # [tap]: place of the cell among the distinct cells of the box
    double *weight              # [tap], as in the working type; never 0 (but see `near`)
    # [tap]: the derivatives of its weight by the box's near and far side, per input unit. NULL
    # unless asked for; then cells whose weight is 0 but about to grow have taps, too.
    double *near
    double *far
    Py_ssize_t *distinct        # cells that the box reads, ascending
    Py_ssize_t *distinct_begin  # [box]: its cells are distinct_begin .. distinct_end
    Py_ssize_t *distinct_end
    Py_ssize_t line_capacity    # most entries of the tables by line, tap and distinct cell
    Py_ssize_t tap_capacity
    Py_ssize_t distinct_capacity


cdef struct Tables:
    Mode mode
    Axis y
    Axis x
    Py_ssize_t *image           # [box]; boxes stand in the order of `sort_boxes`


cdef struct Request:
    # What to make of every box along one axis.
    Py_ssize_t size     # of the map
    Py_ssize_t bins
    Py_ssize_t ratio    # samples to a bin; 0 if adaptive
    int low_column      # of the box's coordinates in its row
    int high_column
    int mode
    bint single         # the working type is float32
    bint with_slopes    # fill near and far, too


cdef struct Cell:
    # A cell of the map.
    int32_t y
    int32_t x


cdef struct RotatedBox:
    double y                # its centre, in cells
    double x
    Span y_span             # its sides, counted from there
    Span x_span
    double sine
    double cosine
    double blur             # cells that rounding moves a sample by, at most
    Py_ssize_t y_begin      # rows and columns that it may read
    Py_ssize_t y_end
    Py_ssize_t x_begin
    Py_ssize_t x_end
    bint is_amid            # each of its samples lies amid four cells of the map
    Py_ssize_t first_bin    # in the tables; -1: its lists are made where they are read
    Py_ssize_t first_line
    Py_ssize_t first_tap


cdef struct PointTables:
    # The lists of boxes whose bins do not separate along the axes: (cell, weight).
    Mode mode
    Request y
    Request x
    Geometry geometry
    Py_ssize_t *image       # [box]; boxes stand in the order of `sort_boxes`
    RotatedBox *box         # [box]
    Py_ssize_t *line_end    # [bin]: its lines end there, and those of the box's next one begin
    Py_ssize_t *tap_end     # [line]: and its taps
    Cell *place            # [tap]
    double *weight          # [tap], as in the working type; 0 only where there are slopes
    double *slope           # [tap][parameter of the box]: change of the weight; or NULL


cdef enum:
    PARAMETERS = 5          # of a rotated box: cx, cy, width, height, angle
    # Samples whose lists are made at a time, and what they have room for: cells of a sample, and a
    # line for those outside the map.
    SAMPLES_AT_ONCE = 32
    TAPS_AT_ONCE = 4 * SAMPLES_AT_ONCE
    LINES_AT_ONCE = SAMPLES_AT_ONCE + 1


cdef struct Sum:
    # Of the weights of a line so far.
    double total            # of those rounded to the working type, in that type
    double running          # of those before they were rounded
    double carry            # what `running` has lost to rounding


cdef struct ListCursor:
    # Where in the samples of a bin the next list begins.
    Py_ssize_t row_bin
    Py_ssize_t col_bin
    Py_ssize_t row          # of its samples, up to last_row
    Py_ssize_t last_row
    double down             # how far that row is from the centre of the box
    Py_ssize_t col          # of its samples on the map, up to last_col
    Py_ssize_t last_col
    bint is_inside          # all samples of the bin are on the map
    bint is_amid            # and each lies amid four of its cells
    Py_ssize_t outside_row  # the first sample outside the map, in `max`; -1: none, or it is listed
    Py_ssize_t outside_col
    bint is_over            # no sample is left
    double share            # the exact sum of the weights so far, times the samples
    Sum sum


cdef struct Lists:
    # Some lines of a bin. In `avg` a bin is one line, which may come in pieces.
    Py_ssize_t lines
    Py_ssize_t *tap_end     # [line]
    Py_ssize_t first_tap    # of the first line
    Cell *place            # [tap]
    double *weight
    double *slope


cdef void start_lists(
    const PointTables *tables, const RotatedBox *box, Py_ssize_t row_bin, Py_ssize_t col_bin,
    ListCursor *cursor,
) noexcept nogil
cdef void make_lists(
    const PointTables *tables, const RotatedBox *box, ListCursor *cursor, Lists *lists
) noexcept nogil


cdef struct Job:
    # What tables are made from.
    const char *rois
    Py_ssize_t stride       # of their rows, in bytes
    Py_ssize_t first_image  # the caller's index of image 0 of the tables
    size_t most_bytes
    Mode mode
    Geometry geometry
    Request y
    Request x


cdef class BoxTaps:
    """What the boxes of a call read, batch by batch; `next_batch` makes the first one."""

    cdef readonly Py_ssize_t first, last  # of the batch: boxes first .. last of the order
    cdef Py_ssize_t boxes           # of all batches
    cdef Py_ssize_t *order          # of `sort_boxes`: rows of the caller's array
    cdef const Py_ssize_t *target   # those of the batch
    cdef object rois                # the array, whose memory is read
    cdef Job job
    cdef int num_threads
    cdef void *memory
    cdef Py_ssize_t build(self, Py_ssize_t most) except -1


cdef class Taps(BoxTaps):
    """Tables of boxes that separate along the axes."""

    cdef Tables tables


cdef class PointTaps(BoxTaps):
    """Lists of boxes that do not."""

    cdef PointTables tables
