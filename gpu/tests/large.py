"""Arrays that are larger than memory, of which next to nothing is touched."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import cupy
import numpy as np

_NO_RESERVE = 0x4000  # MAP_NORESERVE, which the module mmap lacks before Python 3.13

DISTANCE = 1_100_000_000  # items: of two bytes, beyond 2^31 bytes


def large_array(small: np.ndarray, axis: int) -> Any:
    """A copy of ``small`` in which the steps along ``axis`` are that far apart. Host layer only."""
    strides = list(small.strides)
    strides[axis] = DISTANCE * small.itemsize
    size = (small.shape[axis] - 1) * strides[axis] + small.nbytes
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    memory = mmap.mmap(-1, size, flags=flags)
    view = np.ndarray(small.shape, small.dtype, memory, strides=strides)
    view[...] = small
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pointer = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(address, size, view, device_id=0), 0)
    return cupy.ndarray(small.shape, small.dtype, pointer, strides=tuple(strides))
