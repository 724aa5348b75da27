ctypedef double real

cdef extern from *:
    ctypedef double *sole "double *__restrict"

include "kernels.pxi"
