"""What an array of NumPy consists of, read without a call of Python."""

cdef extern from *:
    """
    #define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
    #define NPY_TARGET_VERSION NPY_2_0_API_VERSION
    """

cdef extern from "numpy/arrayobject.h" nogil:
    cdef enum:
        NPY_HALF
        NPY_FLOAT
        NPY_DOUBLE
    ctypedef struct PyArray_Descr:
        char kind
    ctypedef struct PyArrayObject:
        pass
    ctypedef class numpy.ndarray [object PyArrayObject, check_size ignore]:
        pass
    bint PyArray_ISWRITEABLE(const PyArrayObject *array)
    int PyArray_TYPE(const PyArrayObject *array)
    PyArray_Descr *PyArray_DESCR(const PyArrayObject *array)
    bint PyArray_ISNOTSWAPPED(const PyArrayObject *array)
    bint PyArray_ISBEHAVED_RO(const PyArrayObject *array)
    int PyArray_NDIM(const PyArrayObject *array)
    Py_ssize_t PyArray_ITEMSIZE(const PyArrayObject *array)
    char *PyArray_BYTES(const PyArrayObject *array)
    Py_ssize_t PyArray_DIM(const PyArrayObject *array, int axis)
    Py_ssize_t PyArray_STRIDE(const PyArrayObject *array, int axis)
