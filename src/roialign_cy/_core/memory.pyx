"""Large results in the memory of earlier ones.

The system clears every page that it gives to a process, which takes as long as pooling does. So the
memory of large results is retained for later ones, up to a limit. NumPy allocates it through a
memory handler (NEP 49): these arrays own their memory as any others do, and whoever frees or
resizes one calls the functions below.
"""

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock,
    PyThread_type_lock,
)
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memmove, memset, strcpy

import os

import numpy


from .ndarray cimport (
    NPY_DOUBLE,
    NPY_FLOAT,
    NPY_HALF,
    PyArray_BYTES,
    PyArray_DIM,
    PyArray_ISBEHAVED_RO,
    PyArray_ITEMSIZE,
    PyArray_NDIM,
    PyArray_STRIDE,
    PyArray_TYPE,
    PyArrayObject,
)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t count, size_t itemsize) noexcept nogil
        void *(*realloc)(void *ctx, void *data, size_t size) noexcept nogil
        void (*free)(void *ctx, void *data, size_t size) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)
    object PyDataMem_GetHandler()
    PyObject *PyDataMem_DefaultHandler
    int PyArray_ImportNumPyAPI() except -1
    bint PyArray_Check(object array)

cdef extern from "reclaim.h" nogil:
    bint CAN_RECLAIM
    void let_reclaim(void *data, size_t size)

cdef enum:
    HEADER = 64        # bytes before each block's data, which then begins on a cache line
    MOST_BLOCKS = 4    # a loop has a result or two at a time, with gradients; more would lie idle

# Smaller results are not worth it: the C library mostly has memory for them at hand.
cdef size_t LEAST_BYTES = 4 << 20


cdef struct Block:
    void *memory       # as NumPy's own handler gave it
    size_t capacity    # bytes from the block's data on


cdef Block *header_of(void *data) noexcept nogil:
    return <Block *>(<char *>data - HEADER)


cdef PyDataMemAllocator system     # NumPy's own
cdef PyDataMem_Handler handler
cdef PyThread_type_lock lock = PyThread_allocate_lock()
cdef void *retained[MOST_BLOCKS]   # data of blocks, the oldest first
cdef int blocks = 0
cdef size_t retained_bytes = 0
cdef size_t limit = 0


cdef void drop(int i) noexcept nogil:
    """Take a block off the list."""
    global blocks, retained_bytes
    retained_bytes -= header_of(retained[i]).capacity
    blocks -= 1
    memmove(&retained[i], &retained[i + 1], (blocks - i) * sizeof(void *))


cdef void give_back(void *data) noexcept nogil:
    cdef Block block = header_of(data)[0]
    system.free(system.ctx, block.memory, block.capacity + 2 * HEADER)


cdef void shrink(size_t most) noexcept nogil:
    """Give the oldest blocks back until no more than that is retained."""
    cdef void *data
    while blocks and retained_bytes > most:
        data = retained[0]
        drop(0)
        give_back(data)


cdef void *find(size_t size) noexcept nogil:
    """The smallest retained block that has the size and is not much larger; or NULL."""
    cdef void *found = NULL
    cdef size_t capacity, best = size + size // 4
    cdef int i, place = -1
    # If another thread has the lock, do without: no call waits for another.
    if not PyThread_acquire_lock(lock, NOWAIT_LOCK):
        return NULL
    for i in range(blocks):
        capacity = header_of(retained[i]).capacity
        if size <= capacity <= best:
            best, place = capacity, i
    if place >= 0:
        found = retained[place]
        drop(place)
    PyThread_release_lock(lock)
    return found


cdef void *with_header(void *memory, size_t size) noexcept nogil:
    cdef char *data
    if memory == NULL:
        return NULL
    data = <char *>((<uintptr_t>memory + 2 * HEADER - 1) & ~<uintptr_t>(HEADER - 1))
    header_of(data).memory = memory
    header_of(data).capacity = size
    return data


cdef bint is_too_much(size_t size) noexcept nogil:
    return size > <size_t>-1 - 2 * HEADER


cdef void *from_system(size_t size, bint zeros) noexcept nogil:
    """A new block; if the system refuses, give back all that is retained and ask again."""
    cdef void *memory = NULL
    cdef int _
    for _ in range(2):
        if zeros:
            memory = system.calloc(system.ctx, size + 2 * HEADER, 1)
        else:
            memory = system.malloc(system.ctx, size + 2 * HEADER)
        if memory != NULL or not PyThread_acquire_lock(lock, NOWAIT_LOCK):
            break
        shrink(0)
        PyThread_release_lock(lock)
    return with_header(memory, size)


cdef void *new_block(void *ctx, size_t size) noexcept nogil:
    cdef void *data = find(size)
    if data != NULL or is_too_much(size):
        return data
    return from_system(size, False)


cdef void *new_zeros(void *ctx, size_t count, size_t itemsize) noexcept nogil:
    cdef size_t size = count * itemsize
    cdef void *data
    if itemsize and size // itemsize != count or is_too_much(size):
        return NULL
    data = find(size)
    if data != NULL:
        return memset(data, 0, size)
    return from_system(size, True)


cdef void free_block(void *ctx, void *data, size_t size) noexcept nogil:
    global blocks, retained_bytes
    cdef size_t capacity
    if data == NULL:
        return
    capacity = header_of(data).capacity
    if capacity < LEAST_BYTES or not PyThread_acquire_lock(lock, NOWAIT_LOCK):
        give_back(data)
        return
    if capacity > limit:
        PyThread_release_lock(lock)
        give_back(data)
        return
    shrink(limit - capacity)
    if blocks == MOST_BLOCKS:
        shrink(retained_bytes - 1)
    let_reclaim(data, capacity)
    retained[blocks] = data
    blocks += 1
    retained_bytes += capacity
    PyThread_release_lock(lock)


cdef void *resized_block(void *ctx, void *data, size_t size) noexcept nogil:
    cdef void *larger = new_block(ctx, size)
    if data != NULL and larger != NULL:
        memcpy(larger, data, min(size, header_of(data).capacity))
        free_block(ctx, data, 0)
    return larger


def empty(shape, dtype):
    """As `numpy.empty`; a large array may be in retained memory."""
    return _made(numpy.empty, shape, dtype)


def zeros(shape, dtype):
    """As `numpy.zeros`; a large array may be in retained memory."""
    return _made(numpy.zeros, shape, dtype)


cdef _made(make, shape, dtype):
    cdef double size = dtype.itemsize
    cdef Py_ssize_t n
    for n in shape:
        size *= n
    # Users who have set a handler of their own want it to get these arrays, too.
    if limit == 0 or size < LEAST_BYTES or PyDataMem_GetHandler() is not DEFAULT:
        return make(shape, dtype)
    PyDataMem_SetHandler(HANDLER)
    try:
        return make(shape, dtype)
    finally:
        PyDataMem_SetHandler(DEFAULT)


def is_plain(array):
    """Whether compiled code can read the array in place: native floats, aligned."""
    if not PyArray_Check(array):
        return False
    cdef const PyArrayObject *known = <const PyArrayObject *>array
    return (
        PyArray_TYPE(known) in (NPY_HALF, NPY_FLOAT, NPY_DOUBLE) and PyArray_ISBEHAVED_RO(known)
    )


cdef struct Range:
    char *begin    # of the first byte of an array, and of the one after the last
    char *end


cdef Range range_of(const PyArrayObject *array) noexcept:
    cdef Range found
    cdef Py_ssize_t step
    cdef int axis
    found.begin = found.end = PyArray_BYTES(array)
    for axis in range(PyArray_NDIM(array)):
        if PyArray_DIM(array, axis) == 0:
            found.end = found.begin
            return found
        step = (PyArray_DIM(array, axis) - 1) * PyArray_STRIDE(array, axis)
        if step < 0:
            found.begin += step
        else:
            found.end += step
    found.end += PyArray_ITEMSIZE(array)
    return found


def are_apart(a, b):
    """Whether the ends of two arrays' memory tell that they share none; False is no answer."""
    if not (PyArray_Check(a) and PyArray_Check(b)):
        return False
    cdef Range first = range_of(<PyArrayObject *>a)
    cdef Range second = range_of(<PyArrayObject *>b)
    return first.end <= second.begin or second.end <= first.begin


def retained_memory():
    """Bytes that are retained now, and the limit."""
    return retained_bytes, limit


def set_limit(size_t max_bytes):
    """Retain no more than that."""
    global limit
    with nogil:
        PyThread_acquire_lock(lock, WAIT_LOCK)
        limit = max_bytes
        shrink(limit)
        PyThread_release_lock(lock)


def is_reclaimed():
    """Whether the system takes retained memory back when it runs short."""
    return CAN_RECLAIM


def _after_fork_in_child():
    """In a forked child, forget the list and its lock if a thread that is not here held it."""
    global lock, blocks, retained_bytes
    if PyThread_acquire_lock(lock, NOWAIT_LOCK):
        PyThread_release_lock(lock)
        return
    lock = PyThread_allocate_lock()
    blocks, retained_bytes = 0, 0


PyArray_ImportNumPyAPI()
DEFAULT = <object>PyDataMem_DefaultHandler
system = (<PyDataMem_Handler *>PyCapsule_GetPointer(DEFAULT, "mem_handler")).allocator
strcpy(handler.name, "roialign_cy")
handler.version = 1
handler.allocator.malloc = new_block
handler.allocator.calloc = new_zeros
handler.allocator.realloc = resized_block
handler.allocator.free = free_block
HANDLER = PyCapsule_New(&handler, "mem_handler", NULL)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
