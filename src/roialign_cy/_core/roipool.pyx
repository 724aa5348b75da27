"""RoI Pooling: the maximum over the whole cells of a section."""

from cython.parallel cimport prange
from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint16_t

from .half cimport float_to_half, half_to_float
from .team cimport granted

ctypedef fused cell:
    uint16_t  # the bits of a float16
    float
    double


def pool(
    const cell[:, :, :, :] features,
    const Py_ssize_t[::1] images,
    const Py_ssize_t[:, :, ::1] rows,
    const Py_ssize_t[:, :, ::1] cols,
    cell[:, :, :, :] out,
    int num_threads,
):
    """Pool ``features`` (N, C, H, W) into ``out`` (K, C, sections down, sections across).

    Box ``k`` is on image ``images[k]``; its section (p, q) has the rows ``rows[k, p, 0]`` up to,
    not including, ``rows[k, p, 1]``, and its columns likewise. They are trusted, unless they end
    before they begin: that is a section without cells. No array may be empty.
    """
    cdef Py_ssize_t channels = out.shape[1]
    cdef Py_ssize_t t, tasks = out.shape[0] * channels
    num_threads = granted(num_threads)
    if num_threads > 1:
        # Each task writes a plane of its own: the result cannot depend on the number of threads.
        for t in prange(tasks, nogil=True, num_threads=num_threads, schedule="guided"):
            pool_plane(features, images, rows, cols, out, t // channels, t % channels)
    else:
        with nogil:
            for t in range(tasks):
                pool_plane(features, images, rows, cols, out, t // channels, t % channels)


cdef inline void pool_plane(
    const cell[:, :, :, :] features,
    const Py_ssize_t[::1] images,
    const Py_ssize_t[:, :, ::1] rows,
    const Py_ssize_t[:, :, ::1] cols,
    cell[:, :, :, :] out,
    Py_ssize_t k,
    Py_ssize_t c,
) noexcept nogil:
    """Pool one channel under one box."""
    cdef const char *plane = <const char *>&features[images[k], c, 0, 0]
    cdef Py_ssize_t down = features.strides[2], across = features.strides[3]
    cdef Py_ssize_t p, q
    cdef const char *corner
    cdef double largest
    for p in range(out.shape[2]):
        for q in range(out.shape[3]):
            largest = 0.0
            if rows[k, p, 0] < rows[k, p, 1] and cols[k, q, 0] < cols[k, q, 1]:
                corner = plane + rows[k, p, 0] * down + cols[k, q, 0] * across
                largest = largest_cell(
                    <const cell *>corner,
                    rows[k, p, 1] - rows[k, p, 0],
                    cols[k, q, 1] - cols[k, q, 0],
                    down,
                    across,
                )
            if cell is uint16_t:
                out[k, c, p, q] = float_to_half(<float>largest)
            else:
                out[k, c, p, q] = <cell>largest


cdef inline double largest_cell(
    const cell *corner, Py_ssize_t height, Py_ssize_t width, Py_ssize_t down, Py_ssize_t across
) noexcept nogil:
    """The largest of a block of cells; NaN if there is one in it."""
    cdef double value, largest = -INFINITY
    cdef Py_ssize_t y, _x
    cdef const char *here
    cdef bint has_nan = False
    for y in range(height):
        here = <const char *>corner + y * down
        for _x in range(width):
            value = number((<const cell *>here)[0])
            here = here + across
            # No branches: what is largest so far cannot be predicted.
            largest = value if value > largest else largest
            has_nan |= value != value
    return NAN if has_nan else largest


cdef inline double number(cell value) noexcept nogil:
    if cell is uint16_t:
        return half_to_float(value)
    else:
        return value
