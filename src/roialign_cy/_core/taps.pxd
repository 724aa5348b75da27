"""Where every bin of every box reads, along each axis: the tables that kernels run on.

A bin has *lines*, a line has *taps* (cell, weight). In ``avg`` a bin has one line, with
all its samples merged; in ``max`` it has a line for each sample that can be the largest. A
bin with no sample inside the map has no line.
"""

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
    # [tap]: what its weight changes by per input unit of the box's near and far side. NULL unless
    # asked for; then there are taps of weight 0 too, of cells that only come into play.
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


cdef class Taps:
    """The tables of boxes ``first .. last`` of a call, counted in the order of `sort_boxes`."""

    cdef readonly Py_ssize_t first, last
    cdef Tables tables
    cdef const Py_ssize_t *target   # rows of the caller's array that they are from
    cdef Py_buffer _order           # whose memory that is
    cdef void *memory
    cdef int build(self, void *job, Py_ssize_t most, int num_threads) except -1
