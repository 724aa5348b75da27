"""Gradients: CuPy arrays to launches. Each has the same bits every time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy.backends import kit

from . import _checks, _kernels
from ._device_arrays import Layout, lanes_and_groups, needs_wide_index, pointer, scratch
from ._tables import BOX_FIELDS, BYTES, box_constants, plan_tables, rooms_for

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

TILE_ROWS, TILE_COLS, WORD = 8, 32, 32
"""As in ``cuda/readers.cuh``."""

SUMS = 64
"""Threads that add up the parts of one side of a box, before one adds up their sums."""

FLOAT64 = np.dtype(np.float64)


@_checks.on_its_device
def feature_gradient(
    grad_output: Any,
    rois: Any,
    shape: tuple[int, int, int, int],
    spec: CallSpec,
    features: Any | None,
    out: Any | None,
) -> Any:
    """The gradient with respect to the features, on the current stream of its device."""
    rois = _checks.check_gradient("feature_gradient", grad_output, rois, shape, spec, features, out)
    if out is None:
        out = kit.new_maps(shape, grad_output.dtype, spec, cupy.ndarray)
    if not _has_sections(grad_output, shape):
        out.fill(0)
        return out
    tiles = -(-shape[2] // TILE_ROWS) * -(-shape[3] // TILE_COLS)
    marks = shape[0] * tiles * -(-len(rois) // WORD)
    plan = _choose_plan(grad_output, rois, shape, spec, features, out.strides, marks)
    tables = plan.tables.make(rois, len(rois))
    plan.gather(
        pointer(grad_output),
        *plan.grad.strides,
        plan.channels,
        *tables,
        *plan.maps,
        plan.find_readers(tables, marks),
        plan.groups,
        *plan.find_argmax(tables, features, grad_output),
        *plan.target.strides,
        pointer(out),
        size=plan.cells,
    )
    return out


@_checks.on_its_device
def box_gradient(
    grad_output: Any,
    rois: Any,
    shape: tuple[int, int, int, int],
    spec: CallSpec,
    features: Any,
    out: Any | None,
) -> Any:
    """The gradient with respect to the boxes, on the current stream of its device."""
    rois = _checks.check_gradient("box_gradient", grad_output, rois, shape, spec, features, out)
    num_boxes = len(rois)
    if out is None:
        out = cupy.ndarray((num_boxes, 4), rois.dtype)
    if num_boxes == 0:
        return out
    boxes = scratch(num_boxes * BOX_FIELDS, FLOAT64)
    _kernels.boxes_kernel(spec.sampling)(
        pointer(rois),
        *box_constants(spec, shape, rois.dtype, rois.strides),
        boxes,
        size=num_boxes,
    )
    parts, count, wide = boxes, 0, False  # no parts are read where there are none
    if _has_sections(grad_output, shape):
        plan = _choose_plan(grad_output, rois, shape, spec, features, None, 0)
        count, wide = plan.threads_of_box, plan.wide
        parts = scratch(num_boxes * count * 4, FLOAT64)
        tables = plan.tables.make(rois, num_boxes) if spec.mode == "max" else plan.no_tables(boxes)
        plan.add_parts(
            pointer(features),
            *plan.source.strides,
            plan.channels,
            *shape[2:],
            boxes,
            *spec.spatial_scales,
            pointer(grad_output),
            *plan.grad.strides,
            *tables,
            plan.groups,
            *plan.find_argmax(tables, features, grad_output),
            parts,
            size=num_boxes * count,
        )
    add_up = _kernels.box_sums_kernel(wide)
    if count > SUMS:
        sums = scratch(num_boxes * SUMS * 4, FLOAT64)
        add_up(boxes, parts, count, SUMS, 4 * SUMS, 4, 1, sums, size=num_boxes * SUMS * 4)
        parts, count = sums, SUMS
    row_stride, col_stride = (stride // out.itemsize for stride in out.strides)
    add_up(boxes, parts, count, 1, row_stride, 0, col_stride, pointer(out), size=num_boxes * 4)
    return out


def _has_sections(grad_output: Any, shape: tuple[int, int, int, int]) -> bool:
    return grad_output.size > 0 and min(shape[2:]) > 0


def _choose_plan(
    grad_output: Any,
    rois: Any,
    shape: tuple[int, int, int, int],
    spec: CallSpec,
    features: Any | None,
    target_strides: tuple[int, int, int, int] | None,
    marks: int,
) -> _Plan:
    call = (
        *(spec, shape, grad_output.dtype, grad_output.strides, rois.dtype, rois.strides),
        *(None if features is None else features.strides, target_strides),
    )
    plan = _make_plan(*call, False)
    if needs_wide_index(plan.largest, len(rois) * plan.largest_of_box, marks):
        plan = _make_plan(*call, True)
    return plan


class _Plan:
    """All of a call that neither its boxes nor the values of its arrays decide.

    ``largest`` and ``largest_of_box`` are the largest of all counts and offsets, and the largest
    for each box, of all kernels of a gradient, since they share tables.
    """

    def __init__(
        self,
        spec: CallSpec,
        shape: tuple[int, int, int, int],
        dtype: Any,
        grad_strides: tuple[int, int, int, int],
        rois_dtype: Any,
        rois_strides: tuple[int, int],
        features_strides: tuple[int, int, int, int] | None,
        target_strides: tuple[int, int, int, int] | None,
        wide: bool,
    ) -> None:
        num_images, self.channels, height, width = shape
        rows, cols = spec.output_size
        self.maps = num_images, height, width
        lanes, self.groups = lanes_and_groups(self.channels)
        self.threads_of_box = self.groups * rows * cols
        self.mode, self.wide = spec.mode, wide
        self.working = _kernels.working_type(dtype)
        one_box = spec.output_shape(1, self.channels)
        self.grad = Layout.of(one_box, grad_strides)
        counts = [self.grad.plane_extent, rooms_for(spec, shape[2:]).total]
        if features_strides is not None:
            self.source = Layout.of(shape, features_strides)
            counts.append(self.source.plane_extent)
        self.tables = plan_tables(spec, shape, rois_dtype, rois_strides, self.working, wide)
        whole_cells = spec.sampling == "cells"
        self.argmax_strides = (0, 0, 0, 0)
        self.argmax_dtype = np.dtype(np.int64 if wide else np.int32)
        if self.mode == "max":
            counts.append((2 * height + 4) * (2 * width + 4))  # points: four to a cell, at most
            argmax = Layout.of(one_box, kit.new_maps(one_box, self.argmax_dtype, spec).strides)
            self.argmax_strides = argmax.strides
            counts.append(argmax.plane_extent)
            self.argmax = _kernels.argmax_kernel(
                whole_cells, self.source.channels_last, lanes, self.working, wide
            )
        if target_strides is None:
            self.add_parts = _kernels.box_parts_kernel(
                self.mode, _kernels.sampler(spec), self.source.channels_last, self.working, wide
            )
        else:
            self.target = Layout.of(shape, target_strides)
            self.cells = num_images * self.groups * height * width  # threads of them
            counts += self.cells, self.target.plane_extent
            self.gather = _kernels.gather_kernel(
                self.mode, whole_cells, self.target.channels_last, lanes, self.working, wide
            )
        self.largest = max(counts)
        self.largest_of_box = max(self.threads_of_box, rows + cols, height + width + 1, 4 * SUMS)

    def no_tables(self, boxes: Any) -> tuple[Any, ...]:
        """What kernels take in place of tables that they do not read."""
        return cupy.ndarray((1,), BYTES, boxes.data), 0, *self.tables.sizes

    def find_readers(self, tables: tuple[Any, ...], marks: int) -> Any:
        """Find out which boxes and sections read a cell."""
        _, num_boxes, *_ = tables
        num_images, height, width = self.maps
        of_cell, of_box, index = _kernels.reading_sizes(self.wide)
        reading = scratch(
            num_boxes * ((height + width) * of_cell + of_box + index)
            + (num_images + 1) * index
            + marks * 4,
            BYTES,
        )
        _kernels.readers_kernel(self.mode, self.working, self.wide)(
            *tables, *self.maps, reading, size=num_boxes * (height + width + 1)
        )
        _kernels.order_kernel(self.wide)(
            num_boxes, *self.maps, reading, size=num_boxes + num_images + 1
        )
        _kernels.marks_kernel(self.wide)(num_boxes, *self.maps, reading, size=marks)
        return reading

    def find_argmax(
        self, tables: tuple[Any, ...], features: Any, grad_output: Any
    ) -> tuple[Any, ...]:
        """Find the largest points; gives them as kernels take them."""
        if self.mode != "max":  # not read
            return cupy.ndarray((1,), self.argmax_dtype, grad_output.data), *self.argmax_strides
        numbers = scratch(grad_output.size, self.argmax_dtype)
        self.argmax(
            pointer(features),
            *self.source.strides,
            self.channels,
            *tables,
            self.groups,
            *self.argmax_strides,
            numbers,
            size=len(grad_output) * self.threads_of_box,
        )
        return numbers, *self.argmax_strides


_make_plan = lru_cache(maxsize=256)(_Plan)
