"""Boxes to what the kernels read of them, on the current stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from . import _kernels
from ._device_arrays import pointer

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

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


def make_tables(
    rois: Any,
    num_images: int,
    size: tuple[int, int],
    spec: CallSpec,
    rooms: Rooms,
    working: str,
    wide: bool,
) -> tuple[Any, ...]:
    """Work out what every section of every box reads; gives the tables as kernels take them."""
    num_boxes, sections = len(rois), sum(spec.output_size)
    entry, section = _kernels.table_sizes(spec.mode, working, wide)
    index = 8 if wide else 4
    memory = cupy.empty(num_boxes * (rooms.total * entry + sections * section + index), np.int8)
    tables = pointer(memory), num_boxes, *spec.output_size, *rooms.box
    _kernels.tables_kernel(spec.mode, spec.sampling, working, wide)(
        *_box_arguments(rois, num_images, size, spec),
        *rooms.section,
        *tables[1:],
        tables[0],
        size=num_boxes * sections,
    )
    return tables


def make_boxes(rois: Any, num_images: int, size: tuple[int, int], spec: CallSpec) -> Any:
    """Work the boxes out in cells of a map of that size.

    Returns
    -------
    cupy.ndarray of shape (K, BOX_FIELDS)
    """
    boxes = cupy.empty((len(rois), BOX_FIELDS), np.float64)
    _kernels.boxes_kernel(spec.sampling)(
        *_box_arguments(rois, num_images, size, spec), pointer(boxes), size=len(rois)
    )
    return boxes


def _box_arguments(
    rois: Any, num_images: int, size: tuple[int, int], spec: CallSpec
) -> tuple[Any, ...]:
    row_stride, col_stride = (stride // rois.itemsize for stride in rois.strides)
    return pointer(rois), row_stride, col_stride, num_images, *_constants(spec, size, rois.dtype)


@lru_cache(maxsize=256)
def _constants(spec: CallSpec, size: tuple[int, int], dtype: Any) -> tuple[float, ...]:
    """What kernels are told of the convention, and of both axes."""
    own = dtype.type  # what decides the adaptive count is rounded to the boxes' own dtype
    min_size = -np.inf if spec.min_size is None else spec.min_size
    (scale,) = spec.spatial_scales
    constants = [scale, spec.pixel_offset, min_size]
    with np.errstate(over="ignore"):  # then the boxes' extents overflow, which is detected
        constants += [float(own(value)) for value in constants]
        for cells, sections, ratio in zip(size, spec.output_size, spec.sampling_ratio, strict=True):
            constants += [cells, sections, float(own(sections)), ratio]
    return tuple(constants)
