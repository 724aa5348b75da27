"""Gradients: checked CuPy arrays to launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy.backends import kit

from . import _kernels
from ._device_arrays import (
    DeviceArray,
    device_array,
    lanes_and_groups,
    needs_wide_index,
    pointer,
)
from ._forward import make_boxes

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec


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
        self.num_images, self.channels, self.height, self.width = self.shape
        self.grad_output, self.rois = grad_output, rois
        self.interior = spec.sampling == "interior"
        self.has_sections = grad_output.size > 0 and self.height > 0 and self.width > 0
        self.boxes = make_boxes(rois, self.num_images, (self.height, self.width), spec)
        if not self.has_sections:
            return
        self.grad = device_array(grad_output)
        self.source = None if features is None else device_array(features[0])
        self.lanes, self.groups = lanes_and_groups(self.channels)
        self.argmax = self._find_argmax() if spec.mode == "max" else None

    def feature_gradient(self, out: Any | None) -> Any:
        """The gradient with respect to the features."""
        if out is None:
            out = kit.new_maps(self.shape, self.grad_output.dtype, self.spec, cupy.empty)
        if not self.has_sections:
            out.fill(0)
            return out
        target = device_array(out)
        threads = (self.num_images, self.groups, self.height, self.width)
        argmax = self._argmax_arguments()
        wide = needs_wide_index((len(self.rois),), self.grad, target) or needs_wide_index(threads)
        kernel = _kernels.gather_kernel(
            self.spec.mode, self.interior, target.channels_last, self.lanes, wide
        )
        kernel(
            self.grad.pointer,
            *self.grad.strides,
            self.channels,
            self.height,
            self.width,
            pointer(self.boxes),
            len(self.rois),
            *self.spec.output_size,
            self.groups,
            *argmax,
            *target.strides,
            target.pointer,
            size=self.num_images * self.groups * self.height * self.width,
        )
        return out

    def box_gradient(self, out: Any | None) -> Any:
        """The gradient with respect to the boxes."""
        num_boxes = len(self.rois)
        if out is None:
            out = cupy.empty((num_boxes, 4), self.rois.dtype)
        if out.size == 0:
            return out
        count = 0
        parts = self.boxes  # not read where there are none
        if self.has_sections:
            rows, cols = self.spec.output_size
            count = self.groups * rows * cols
            parts = cupy.empty((num_boxes, count, 4), np.float64)
            self._add_parts(parts)
        row_stride, col_stride = (stride // out.itemsize for stride in out.strides)
        _kernels.box_sums_kernel(needs_wide_index((num_boxes, 4)) or count > 2**31 - 1)(
            pointer(self.boxes),
            pointer(parts),
            count,
            row_stride,
            col_stride,
            pointer(out),
            size=4 * num_boxes,
        )
        return out

    def _add_parts(self, parts: Any) -> None:
        assert self.source is not None  # checked: this gradient needs the features
        rows, cols = self.spec.output_size
        threads = (len(self.rois), self.groups, rows, cols)
        kernel = _kernels.box_parts_kernel(
            self.spec.mode,
            self.interior,
            self.source.channels_last,
            needs_wide_index(threads, self.source, self.grad),
        )
        kernel(
            self.source.pointer,
            *self.source.strides,
            self.channels,
            self.height,
            self.width,
            pointer(self.boxes),
            *self.spec.spatial_scales,
            self.grad.pointer,
            *self.grad.strides,
            rows,
            cols,
            self.groups,
            *self._argmax_arguments(),
            pointer(parts),
            size=len(self.rois) * self.groups * rows * cols,
        )

    def _find_argmax(self) -> tuple[DeviceArray, DeviceArray]:
        assert self.source is not None  # checked: the gradient of a maximum needs the features
        rows, cols = self.spec.output_size
        threads = (len(self.rois), self.groups, rows, cols)
        float64 = np.dtype(np.float64)
        row, col = (
            device_array(kit.new_maps(self.grad_output.shape, float64, self.spec, cupy.empty))
            for _ in range(2)
        )
        kernel = _kernels.argmax_kernel(
            self.interior,
            self.source.channels_last,
            self.lanes,
            needs_wide_index(threads, self.source, row),
        )
        kernel(
            self.source.pointer,
            *self.source.strides,
            self.channels,
            self.height,
            self.width,
            pointer(self.boxes),
            rows,
            cols,
            self.groups,
            *row.strides,
            row.pointer,
            col.pointer,
            size=len(self.rois) * self.groups * rows * cols,
        )
        return row, col

    def _argmax_arguments(self) -> tuple[Any, ...]:
        if self.argmax is None:  # the mean: not read
            unused = pointer(self.boxes)
            return unused, unused, 0, 0, 0, 0
        row, col = self.argmax
        return row.pointer, col.pointer, *row.strides
