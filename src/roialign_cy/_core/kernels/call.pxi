# What every kernel is told about a call.

cdef enum:
    # How the elements of an array are stored; 0 is the working type, native and aligned.
    HALF = 1
    SWAPPED = 2
    UNALIGNED = 4


cdef struct Array:
    char *data
    Py_ssize_t image, channel, row, col  # strides in bytes
    int stored


cdef struct Call:
    Array features
    Array out               # image: one box
    Py_ssize_t channels
    Py_ssize_t height
    Py_ssize_t width
    Mode mode
    const Axis *y
    const Axis *x
    const Py_ssize_t *image   # of a box of the tables, which ascend by it
    const Py_ssize_t *target  # row of the output that a box goes to
