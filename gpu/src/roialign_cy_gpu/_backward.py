"""Gradients: checked CuPy arrays to launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy.backends import kit

from . import _kernels
from ._device_arrays import device_array, lanes_and_groups, needs_wide_index, pointer
from ._tables import make_boxes, make_tables, rooms_for

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

TILE_ROWS, TILE_COLS, WORD = 8, 32, 32
"""As in ``cuda/readers.cuh``."""

SUMS = 64
"""Threads that each add up a part of what one side of a box is the sum of."""


class Call:
    """The arrays of a call, prepared for its gradients on the current stream.

    Each gradient has the same bits every time.
    """

    def __init__(
        self,
        grad_output: Any,
        rois: Any,
        shapes: tuple[tuple[int, int, int, int], ...],
        spec: CallSpec,
        features: tuple[Any, ...] | None,
    ) -> None:
        self.spec = spec
        (self.shape,) = shapes
        self.num_images, self.channels, *_ = self.shape
        self.size = self.shape[2:]
        self.grad_output, self.rois = grad_output, rois
        self.whole_cells = spec.sampling == "cells"
        self.has_sections = grad_output.size > 0 and min(self.size) > 0
        if not self.has_sections:
            return
        self.grad = device_array(grad_output)
        self.source = None if features is None else device_array(features[0])
        self.lanes, self.groups = lanes_and_groups(self.channels)
        self.working = _kernels.working_type(grad_output.dtype)
        self.rooms = rooms_for(spec, self.size)

    def feature_gradient(self, out: Any | None) -> Any:
        """The gradient with respect to the features."""
        if out is None:
            out = kit.new_maps(self.shape, self.grad_output.dtype, self.spec, cupy.empty)
        if not self.has_sections:
            out.fill(0)
            return out
        target = device_array(out)
        threads = self.num_images * self.groups * self.size[0] * self.size[1]
        marks = self._count_marks()
        wide = self._needs_wide_index((threads, marks), target)
        tables = self._make_tables(wide)
        reading = self._find_readers(tables, marks, wide)
        argmax = self._find_argmax(tables, wide)
        mode, working = self.spec.mode, self.working
        _kernels.gather_kernel(
            mode, self.whole_cells, target.channels_last, self.lanes, working, wide
        )(
            self.grad.pointer,
            *self.grad.strides,
            self.channels,
            *tables,
            self.num_images,
            *self.size,
            reading,
            self.groups,
            *argmax,
            *target.strides,
            target.pointer,
            size=threads,
        )
        return out

    def box_gradient(self, out: Any | None) -> Any:
        """The gradient with respect to the boxes."""
        num_boxes = len(self.rois)
        if out is None:
            out = cupy.empty((num_boxes, 4), self.rois.dtype)
        if out.size == 0:
            return out
        boxes = make_boxes(self.rois, self.num_images, self.size, self.spec)
        parts, count = boxes, 0  # no parts are read where there are none
        if self.has_sections:
            rows, cols = self.spec.output_size
            count = self.groups * rows * cols
            parts = cupy.empty((num_boxes, count, 4), np.float64)
            self._add_parts(boxes, parts)
        if count > SUMS:
            sums = cupy.empty((num_boxes, SUMS, 4), np.float64)
            self._add_up(boxes, parts, count, sums, sums.strides)
            parts, count = sums, SUMS
        self._add_up(boxes, parts, count, out, (out.strides[0], 0, out.strides[1]))
        return out

    def _add_up(
        self, boxes: Any, parts: Any, count: int, out: Any, strides: tuple[int, int, int]
    ) -> None:
        sums = out.size // (4 * len(boxes))
        _kernels.box_sums_kernel(needs_wide_index((out.size, count)))(
            pointer(boxes),
            pointer(parts),
            count,
            sums,
            *(stride // out.itemsize for stride in strides),
            pointer(out),
            size=out.size,
        )

    def _add_parts(self, boxes: Any, parts: Any) -> None:
        assert self.source is not None  # checked: this gradient needs the features
        num_boxes, count, _ = parts.shape
        wide = self._needs_wide_index((num_boxes * count,))
        tables = self._make_tables(wide) if self.spec.mode == "max" else self._no_tables()
        kernel = _kernels.box_parts_kernel(
            self.spec.mode, self.spec.sampling, self.source.channels_last, self.working, wide
        )
        kernel(
            self.source.pointer,
            *self.source.strides,
            self.channels,
            *self.size,
            pointer(boxes),
            *self.spec.spatial_scales,
            self.grad.pointer,
            *self.grad.strides,
            *tables,
            self.groups,
            *self._find_argmax(tables, wide),
            pointer(parts),
            size=num_boxes * count,
        )

    def _needs_wide_index(self, counts: tuple[int, ...], *arrays: Any) -> bool:
        """Whether some kernel of a gradient needs it, since they share tables."""
        num_boxes, (rows, cols), (height, width) = len(self.rois), self.spec.output_size, self.size
        counts += num_boxes * self.groups * rows * cols, num_boxes * (rows + cols)
        counts += num_boxes * (height + width + 1), self.rooms.total
        if self.spec.mode == "max":  # points of a section, of which there may be four to a cell
            counts += ((2 * height + 4) * (2 * width + 4),)
        maps = (self.grad,) if self.source is None else (self.grad, self.source)
        return needs_wide_index(counts, *maps, *arrays)

    def _make_tables(self, wide: bool) -> tuple[Any, ...]:
        return make_tables(
            self.rois, self.num_images, self.size, self.spec, self.rooms, self.working, wide
        )

    def _no_tables(self) -> tuple[Any, ...]:
        unused = cupy.ndarray((1,), np.int8, self.grad.pointer.data)
        return unused, len(self.rois), *self.spec.output_size, 0, 0

    def _count_marks(self) -> int:
        tiles = -(-self.size[0] // TILE_ROWS) * -(-self.size[1] // TILE_COLS)
        return self.num_images * tiles * -(-len(self.rois) // WORD)

    def _find_readers(self, tables: tuple[Any, ...], marks: int, wide: bool) -> Any:
        num_boxes, cells = len(self.rois), sum(self.size)
        of_cell, of_box, index = _kernels.reading_sizes(wide)
        memory = cupy.empty(
            num_boxes * (cells * of_cell + of_box + index)
            + (self.num_images + 1) * index
            + marks * 4,
            np.int8,
        )
        reading = pointer(memory)
        maps = self.num_images, *self.size
        _kernels.readers_kernel(self.spec.mode, self.working, wide)(
            *tables, *maps, reading, size=num_boxes * (cells + 1)
        )
        _kernels.order_kernel(wide)(num_boxes, *maps, reading, size=num_boxes + self.num_images + 1)
        _kernels.marks_kernel(wide)(num_boxes, *maps, reading, size=marks)
        return reading

    def _find_argmax(self, tables: tuple[Any, ...], wide: bool) -> tuple[Any, ...]:
        """Find the largest points; gives them as kernels take them."""
        dtype = np.dtype(np.int64 if wide else np.int32)
        if self.spec.mode != "max":  # not read
            return cupy.ndarray((1,), dtype, self.grad.pointer.data), 0, 0, 0, 0
        assert self.source is not None  # checked: the gradient of a maximum needs the features
        numbers = device_array(kit.new_maps(self.grad_output.shape, dtype, self.spec, cupy.empty))
        _kernels.argmax_kernel(
            self.whole_cells, self.source.channels_last, self.lanes, self.working, wide
        )(
            self.source.pointer,
            *self.source.strides,
            self.channels,
            *tables,
            self.groups,
            *numbers.strides,
            numbers.pointer,
            size=len(self.rois) * self.groups * self.spec.output_size[0] * self.spec.output_size[1],
        )
        return numbers.pointer, *numbers.strides
