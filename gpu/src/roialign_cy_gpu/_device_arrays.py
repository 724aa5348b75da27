"""CuPy arrays as the kernels take them: a pointer and strides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cupy

from ._kernels import MOST_LANES

LARGEST_INDEX = 2**31 - 1
"""Of a 32-bit kernel; a module constant so that tests can force the other one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of an array lie, its axes in the order (outer, channel, row, column).

    Attributes
    ----------
    strides : tuple of int
        In bytes.
    plane_extent : int
        Largest distance of two elements of a plane, in bytes, or number of rows or columns, which
        is larger where a plane is one element repeated.
    """

    strides: tuple[int, int, int, int]
    plane_extent: int

    @staticmethod
    def of(shape: tuple[int, ...], strides: tuple[int, int, int, int]) -> Layout:
        """That of an array whose length along the first axis does not count."""
        extent = sum(
            abs(stride) * (size - 1)
            for stride, size in zip(strides[2:], shape[2:], strict=True)
            if size > 1
        )
        return Layout(strides, max(extent, *shape[2:]))

    @property
    def channels_last(self) -> bool:
        """Whether neighbours in memory are of one cell, not of one channel."""
        return abs(self.strides[1]) < abs(self.strides[3])


def pointer(array: Any) -> Any:
    """The first element of an array as an array of its own, of shape (1,).

    Kernels get no more than this: were they given the array, CuPy would compile them anew for
    every kind of strides.
    """
    return cupy.ndarray((1,), array.dtype, array.data)


def scratch(size: int, dtype: Any) -> Any:
    """A pointer to new memory for that many items."""
    return cupy.ndarray((1,), dtype, cupy.cuda.alloc(size * dtype.itemsize))


def lanes_and_groups(channels: int) -> tuple[int, int]:
    """Channels per thread, and threads for all channels; every thread has as many or one fewer."""
    groups = -(-channels // MOST_LANES)
    return -(-channels // groups), groups


def needs_wide_index(*counts: int) -> bool:
    """Whether one of these counts and offsets is beyond 32 bits."""
    return max(counts) > LARGEST_INDEX
