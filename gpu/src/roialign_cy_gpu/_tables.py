"""Boxes to what the kernels read of them, on the current stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels
from ._device_arrays import pointer, scratch

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

BYTES = np.dtype(np.int8)

BOX_FIELDS = 9
"""Numbers in a ``Box`` of ``cuda/box.cuh``."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """How many entries there is room for in a table.

    Attributes
    ----------
    section : (int, int)
        By the number of samples of a section along rows and columns; 0 where the size of the map
        is what bounds them.
    box : (int, int)
        For all sections along rows and columns.
    """

    section: tuple[int, int]
    box: tuple[int, int]

    @property
    def total(self) -> int:
        """Of a box."""
        return sum(self.box)


@lru_cache(maxsize=256)
def rooms_for(spec: CallSpec, size: tuple[int, int]) -> Rooms:
    """Find the room that one box needs on a map of that size."""
    if spec.sampling == "cells":
        return Rooms((0, 0), (0, 0))
    in_section, in_box = [], []
    for cells, sections, ratio in zip(size, spec.output_size, spec.sampling_ratio, strict=True):
        # Neighbouring sections follow one another: the cells they read overlap by three at most.
        most = cells + 3 * sections
        if spec.mode == "avg":
            each = 2 * ratio  # a tap for each cell
        else:
            most *= 2  # two points between two cells
            each = ratio
        is_fixed = spec.sampling != "integral" and 0 < each * sections <= most
        in_section.append(each if is_fixed else 0)
        in_box.append(each * sections if is_fixed else most)
    return Rooms((in_section[0], in_section[1]), (in_box[0], in_box[1]))


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How the tables of a kind of call are made.

    Attributes
    ----------
    constants : tuple of numbers
        Arguments of the kernel between the boxes and their number.
    sizes : tuple of int
        Sections and room of a box, as all kernels take them.
    threads_of_box, bytes_of_box : int
    """

    kernel: Any
    constants: tuple[complex, ...]
    sizes: tuple[int, int, int, int]
    threads_of_box: int
    bytes_of_box: int

    def make(self, rois: Any, num_boxes: int) -> tuple[Any, ...]:
        """Work out what every section of every box reads; gives the tables as kernels take them."""
        memory = scratch(num_boxes * self.bytes_of_box, BYTES)
        self.kernel(
            pointer(rois),
            *self.constants,
            num_boxes,
            *self.sizes[2:],
            memory,
            size=num_boxes * self.threads_of_box,
        )
        return memory, num_boxes, *self.sizes


@lru_cache(maxsize=256)
def plan_tables(
    spec: CallSpec,
    shape: tuple[int, int, int, int],
    rois_dtype: Any,
    rois_strides: tuple[int, int],
    working: str,
    wide: bool,
) -> TablePlan:
    """Plan the tables of boxes on maps of that shape."""
    sections, rooms = sum(spec.output_size), rooms_for(spec, shape[2:])
    entry, section = _kernels.table_sizes(spec.mode, working, wide)
    index = 8 if wide else 4
    return TablePlan(
        kernel=_kernels.tables_kernel(spec.mode, _kernels.sampler(spec), working, wide),
        constants=(*box_constants(spec, shape, rois_dtype, rois_strides), complex(*rooms.section)),
        sizes=(*spec.output_size, *rooms.box),
        threads_of_box=sections,
        bytes_of_box=rooms.total * entry + sections * section + index,
    )


@lru_cache(maxsize=256)
def box_constants(
    spec: CallSpec,
    shape: tuple[int, int, int, int],
    rois_dtype: Any,
    rois_strides: tuple[int, int],
) -> tuple[complex, ...]:
    """What kernels that read boxes are told of them, of the convention, and of both axes."""
    own = rois_dtype.type  # what decides the adaptive count is rounded to the boxes' own dtype
    min_size = -np.inf if spec.min_size is None else spec.min_size
    (scale,) = spec.spatial_scales
    with np.errstate(all="ignore"):  # then the boxes' extents overflow, which is detected
        rounded = [complex(x, own(x)) for x in (scale, spec.pixel_offset, min_size)]
        sections = complex(*spec.output_size), complex(*map(own, spec.output_size))
    strides = (stride // rois_dtype.itemsize for stride in rois_strides)
    size, ratio = complex(*shape[2:]), complex(*spec.sampling_ratio)
    return (*strides, shape[0], *rounded, size, *sections, ratio)
