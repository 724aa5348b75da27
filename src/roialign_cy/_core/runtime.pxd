"""Whether the system lets OpenMP start the threads of a team."""

cdef int granted(int num_threads) noexcept nogil
