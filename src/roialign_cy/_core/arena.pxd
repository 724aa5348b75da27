"""Many arrays in one piece of memory: laid out twice, first to count the bytes, then for good."""


cdef struct Arena:
    char *memory    # NULL while bytes are counted; else on a cache line
    size_t used


cdef inline void *arena_alloc(Arena *arena, Py_ssize_t count, size_t itemsize) noexcept nogil:
    cdef size_t here = (arena.used + 63) & ~<size_t>63  # a cache line
    arena.used = here + <size_t>count * itemsize
    return NULL if arena.memory == NULL else <void *>(arena.memory + here)


cdef inline Arena arena_in(char *memory) noexcept nogil:
    """An arena in memory that was allocated with CACHE_LINE bytes to spare; NULL only counts."""
    cdef Arena arena
    arena.used = 0
    arena.memory = memory
    if memory != NULL:
        arena.memory += (64 - (<size_t>memory & 63)) & 63
    return arena


cdef enum:
    CACHE_LINE = 64
