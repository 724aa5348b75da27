ctypedef double real

cdef extern from *:
    """
    #define REAL double
    """
    ctypedef double *restrict_real "double *__restrict"

include "kernels.pxi"
