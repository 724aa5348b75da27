ctypedef double real

cdef extern from *:
    """
    #define REAL double
    """
    ctypedef double *sole "double *__restrict"

include "kernels.pxi"
