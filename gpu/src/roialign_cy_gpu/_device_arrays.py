"""CuPy arrays as the kernels take them: a pointer and strides in elements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cupy

from ._kernels import MOST_LANES

LARGEST_INDEX = 2**31 - 1
"""Of a 32-bit kernel; a module constant so that tests can force the other one."""


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """An array with its axes in the order (outer, channel, row, column).

    Attributes
    ----------
    pointer : cupy.ndarray of shape (1,)
        Its first element. Kernels get no more than this: were they given the array, CuPy would
        compile them anew for every kind of strides.
    strides : tuple of int
        In elements.
    plane_extent : int
        Largest distance of two elements of a plane, in elements, or number of rows or columns,
        which is larger where a plane is one element repeated.
    """

    pointer: Any
    strides: tuple[int, int, int, int]
    plane_extent: int

    @property
    def channels_last(self) -> bool:
        """Whether neighbours in memory are of one cell, not of one channel."""
        return abs(self.strides[1]) < abs(self.strides[3])


def device_array(array: Any) -> DeviceArray:
    """View ``array``, of a usable address and strides."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    extent = sum(
        abs(stride) * (size - 1)
        for stride, size in zip(strides[2:], array.shape[2:], strict=True)
        if size > 1
    )
    return DeviceArray(pointer(array), strides, max(extent, *array.shape[2:]))


def pointer(array: Any) -> Any:
    """The first element of an array as an array of its own."""
    return cupy.ndarray((1,), array.dtype, array.data)


def lanes_and_groups(channels: int) -> tuple[int, int]:
    """Channels per thread, and threads for all channels; every thread has as many or one fewer."""
    groups = -(-channels // MOST_LANES)
    return -(-channels // groups), groups


def needs_wide_index(counts: Iterable[int], *arrays: DeviceArray) -> bool:
    """Whether a count or an offset within a plane is beyond 32 bits."""
    return max(*counts, *(array.plane_extent for array in arrays)) > LARGEST_INDEX
