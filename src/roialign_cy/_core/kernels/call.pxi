# What every kernel is told about a call.

cdef struct Array:
    char *data
    Py_ssize_t image, channel, row, col  # strides in bytes


cdef struct Call:
    Array features
    Array out               # image: one box
    Py_ssize_t channels
    Py_ssize_t height
    Py_ssize_t width
    int itemsize            # of both arrays
    Mode mode
    const Axis *y
    const Axis *x
    const Py_ssize_t *order  # of the boxes
    const Py_ssize_t *image  # of a box
    Py_ssize_t first_box    # row of the output that box 0 of the tables goes to
