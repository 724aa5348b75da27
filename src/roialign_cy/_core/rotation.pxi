# Sine and cosine of a box's angle, from basic operations: the C library's own differ in their last
# bits from one machine to another. Quarter turns in degrees are exact.

from libc.math cimport floor, fmod

# A right angle in radians, as a sum. Its first two parts have 33 bits each, so that their products
# with a number of right angles below 2**20 are exact.
cdef double RIGHT_ANGLE_HIGH = 1.5707963267341256
cdef double RIGHT_ANGLE_MIDDLE = 6.077100506303966e-11
cdef double RIGHT_ANGLE_LOW = 2.0222662487959506e-21
cdef double RADIANS_PER_DEGREE = 0.017453292519943295
# Beyond this an angle in radians is refused; degrees are taken modulo 360, which is exact.
cdef double MOST_RADIANS = 2.0**20


cdef inline void find_rotation(
    double angle, const Geometry *g, double *sine, double *cosine
) noexcept nogil:
    """Sine and cosine of an angle in the caller's unit and direction."""
    cdef double turns, rest, square, s = 0.0, c = 0.0
    cdef int i, quarter
    if g.in_degrees:
        angle = fmod(angle, 360.0)
        turns = floor(angle / 90.0 + 0.5)
        rest = (angle - 90.0 * turns) * RADIANS_PER_DEGREE
    else:
        turns = floor(angle / RIGHT_ANGLE_HIGH + 0.5)
        rest = angle - turns * RIGHT_ANGLE_HIGH
        rest = (rest - turns * RIGHT_ANGLE_MIDDLE) - turns * RIGHT_ANGLE_LOW
    # At most an eighth of a turn is left. Taylor series, summed from their smallest terms on.
    square = rest * rest
    for i in range(18, 2, -2):
        c = (1.0 - c) * square / <double>(i * (i - 1))
        s = (1.0 - s) * square / <double>((i - 1) * (i - 2))
    s, c = rest - rest * s, 1.0 - 0.5 * square * (1.0 - c)
    quarter = <int>turns & 3
    if quarter & 1:
        s, c = c, -s
    if quarter & 2:
        s, c = -s, -c
    sine[0], cosine[0] = (-s if g.is_clockwise else s), c
