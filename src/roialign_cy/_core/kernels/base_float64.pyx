ctypedef double real

include "kernels.pxi"
