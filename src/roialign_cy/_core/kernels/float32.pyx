ctypedef float real

cdef extern from *:
    """
    #define REAL float
    """
    ctypedef float *restrict_real "float *__restrict"

include "kernels.pxi"
