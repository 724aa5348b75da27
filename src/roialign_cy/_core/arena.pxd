"""Memory whose size was worked out: sizes of broadcast arrays have no bound, and must not wrap.

An arena is many arrays in one piece of memory: laid out twice, first to count the bytes, then for
good.
"""

from libc.stdlib cimport malloc

cdef enum:
    CACHE_LINE = 64


cdef inline size_t too_much() noexcept nogil:
    return <size_t>1 << 60  # bytes that no system has: asking for them fails


cdef inline size_t bytes_for(Py_ssize_t count, size_t itemsize) noexcept nogil:
    if itemsize and <size_t>count > too_much() // itemsize:
        return too_much()
    return <size_t>count * itemsize


cdef inline void *allocate(Py_ssize_t count, size_t itemsize) noexcept nogil:
    """As `malloc`, with a cache line to spare."""
    return malloc(bytes_for(count, itemsize) + CACHE_LINE)


cdef struct Arena:
    char *memory    # NULL while bytes are counted; else on a cache line
    size_t used


cdef inline void *arena_alloc(Arena *arena, Py_ssize_t count, size_t itemsize) noexcept nogil:
    cdef size_t here = (arena.used + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1)
    arena.used = min(here + bytes_for(count, itemsize), too_much())
    return NULL if arena.memory == NULL else <void *>(arena.memory + here)


cdef inline Arena arena_in(void *memory) noexcept nogil:
    """An arena in what `allocate` gave; NULL only counts."""
    cdef Arena arena
    arena.used = 0
    arena.memory = <char *>memory
    if memory != NULL:
        arena.memory += -<size_t>memory & <size_t>(CACHE_LINE - 1)
    return arena
