ctypedef float real

cdef extern from *:
    ctypedef float *sole "float *__restrict"

include "kernels.pxi"
