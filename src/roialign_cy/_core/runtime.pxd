"""How many threads OpenMP may start for a team."""

cdef int granted(int num_threads) noexcept nogil
