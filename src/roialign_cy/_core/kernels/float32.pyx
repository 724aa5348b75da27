ctypedef float real

cdef extern from *:
    """
    #define REAL float
    """
    ctypedef float *sole "float *__restrict"

include "kernels.pxi"
