"""Memory of computed sizes, and arenas, which are many arrays in one block of memory.

A broadcast array can have any shape, so sizes computed from one are capped: they must not wrap. An
arena is laid out twice by the same code, first to count its bytes, then in the memory itself.
"""

from libc.stdlib cimport malloc

cdef enum:
    CACHE_LINE = 64


cdef inline size_t too_much() noexcept nogil:
    return <size_t>1 << 60  # more bytes than any system has: asking for them fails


cdef inline size_t bytes_for(Py_ssize_t count, size_t itemsize) noexcept nogil:
    if itemsize and <size_t>count > too_much() // itemsize:
        return too_much()
    return <size_t>count * itemsize


cdef inline void *allocate(Py_ssize_t count, size_t itemsize) noexcept nogil:
    """`malloc`, with room to move the beginning up to a cache line."""
    return malloc(bytes_for(count, itemsize) + CACHE_LINE)


cdef struct Arena:
    char *memory    # on a cache line; NULL while bytes are counted
    size_t used


cdef inline void *arena_alloc(Arena *arena, Py_ssize_t count, size_t itemsize) noexcept nogil:
    cdef size_t here = (arena.used + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1)
    arena.used = min(here + bytes_for(count, itemsize), too_much())
    return NULL if arena.memory == NULL else <void *>(arena.memory + here)


cdef inline Arena arena_in(void *memory) noexcept nogil:
    """An arena in memory from `allocate`; with NULL it only counts."""
    cdef Arena arena
    arena.used = 0
    arena.memory = <char *>memory
    if memory != NULL:
        arena.memory += -<size_t>memory & <size_t>(CACHE_LINE - 1)
    return arena
