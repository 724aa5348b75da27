"""Forward: checked CuPy arrays to launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from . import _kernels
from ._device_arrays import device_array, lanes_and_groups, needs_wide_index, pointer

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

BOX_FIELDS = 13
"""Numbers in a ``Box`` of ``cuda/box.cuh``."""


def roi_align(features: Any, rois: Any, spec: CallSpec, out: Any) -> Any:
    """Pool ``features`` under ``rois`` into ``out`` on the current stream."""
    num_images, channels, height, width = features.shape
    if out.size == 0:
        return out
    boxes = make_boxes(rois, num_images, (height, width), spec)
    lanes, groups = lanes_and_groups(channels)
    rows, cols = spec.output_size
    source, target = device_array(features), device_array(out)
    threads = (len(rois), groups, rows, cols)
    kernel = _kernels.pool_kernel(
        spec.mode,
        spec.sampling == "interior",
        _fixed_samples(spec),
        source.channels_last,
        lanes,
        needs_wide_index(threads, source, target),
    )
    kernel(
        source.pointer,
        *source.strides,
        channels,
        height,
        width,
        pointer(boxes),
        rows,
        cols,
        groups,
        *target.strides,
        target.pointer,
        size=len(rois) * groups * rows * cols,
    )
    return out


def make_boxes(rois: Any, num_images: int, size: tuple[int, int], spec: CallSpec) -> Any:
    """Work the boxes out in cells of a map of that size.

    Returns
    -------
    cupy.ndarray of shape (K, BOX_FIELDS)
    """
    boxes = cupy.empty((len(rois), BOX_FIELDS), np.float64)
    own = rois.dtype.type  # what decides the adaptive count is rounded to the boxes' own dtype
    min_size = -np.inf if spec.min_size is None else spec.min_size
    row_stride, col_stride = (stride // rois.itemsize for stride in rois.strides)
    (scale,) = spec.spatial_scales
    axes = []
    for cells, sections, ratio in zip(size, spec.output_size, spec.sampling_ratio, strict=True):
        with np.errstate(over="ignore"):  # then the boxes' extents overflow, which is detected
            axes += [cells, sections, float(own(sections)), ratio]
    with np.errstate(over="ignore"):
        rounded = [float(own(value)) for value in (scale, spec.pixel_offset, min_size)]
    _kernels.boxes_kernel(spec.sampling == "interior")(
        pointer(rois),
        row_stride,
        col_stride,
        num_images,
        scale,
        spec.pixel_offset,
        min_size,
        *rounded,
        *axes,
        pointer(boxes),
        size=len(rois),
    )
    return boxes


def _fixed_samples(spec: CallSpec) -> tuple[int, int]:
    if min(spec.sampling_ratio) > 0 and max(spec.sampling_ratio) <= _kernels.MOST_FIXED_SAMPLES:
        return spec.sampling_ratio
    return 0, 0
