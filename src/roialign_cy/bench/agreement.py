"""Whether results agree: a time counts only if its result is right.

Every result is compared with the float64 reference on a sample of boxes and channels, and as a
whole with the library's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from . import library_calls
from .workloads import OneBox, Workload

VALUE_TOLERANCE = {"float16": 1e-3, "bfloat16": 2.0**-8, "float32": 4e-6, "float64": 1e-13}
"""Largest error of results in [0, 1), from rounding in sums; for two-byte ones of the result
alone."""

REFERENCE_POINTS = 20_000
"""Points that the reference, at some microseconds each, is asked for."""
REFERENCE_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Expected:
    """What results are compared with.

    Attributes
    ----------
    boxes, channels : ndarray of int
        Which boxes and channels the reference was computed for.
    sample : ndarray of shape (boxes, channels, rows, cols)
        The reference, in float64.
    whole : ndarray of shape (K, C, rows, cols), or None
        The library's own result, where its CPU backend is available.
    """

    boxes: NDArray[Any]
    channels: NDArray[Any]
    sample: NDArray[Any]
    whole: NDArray[Any] | None

    def error_of(self, result: NDArray[Any], layout: str) -> float:
        """Largest difference of ``result`` from the sample and from the whole; inf for a NaN."""
        result = _channels_first(result, layout)
        error = largest_difference(result[np.ix_(self.boxes, self.channels)], self.sample)
        if self.whole is not None:
            error = max(error, largest_difference(result, self.whole))
        return error


def expect(features: Any, rois: NDArray[Any], workload: Workload, mode: str) -> Expected:
    """Ask the reference for as much of a workload's answer as it can give in a second or so."""
    boxes, channels = parts(workload, len(rois))
    options = workload.options(mode, num_threads=1)
    pool = library_calls.pooling(workload)
    part = some_channels(features, channels, workload)
    sample = pool(part, rois[boxes], backend="reference", **options)
    whole = None
    if ra.backends.unavailable_reason("cpu") is None:
        whole = pool(features, rois, backend="cpu", **options)
        whole = _channels_first(whole, workload.layout)
    return Expected(boxes, channels, _channels_first(sample, workload.layout), whole)


def some_channels(features: Any, channels: NDArray[Any], workload: Workload) -> Any:
    """Give these channels of the features in float64."""
    if workload.coarser:
        one = replace(workload, coarser=0)
        return [some_channels(each, channels, one) for each in features]
    part = np.take(features, channels, axis=1 if workload.layout == "NCHW" else 3)
    return part.astype(np.float64)


def parts(workload: Workload, boxes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices of the boxes and of the channels that the reference is asked for."""
    return (
        _spread(boxes, max(1, REFERENCE_POINTS // _points_per_box(workload))),
        _spread(workload.channels, REFERENCE_CHANNELS),
    )


def tolerance(backend: Any, workload: Workload) -> float:
    """Largest difference that rounding explains.

    A backend that computes positions in the features' type declares with ``coordinate_ulps`` how
    far off they may be; one cell off, the value may differ by the largest there is.
    """
    working = "float64" if workload.dtype == "float64" else "float32"
    far_end = max(workload.height, workload.width)
    cells = getattr(backend, "coordinate_ulps", 0) * np.finfo(working).eps * far_end
    return workload.largest * (VALUE_TOLERANCE[workload.pooled_dtype] + float(cells))


def largest_difference(result: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference; inf where the shapes differ or a NaN is met."""
    if result.shape != expected.shape:
        return np.inf
    difference = np.abs(result.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0)
    return np.inf if np.isnan(difference) else float(difference)


def _channels_first(result: NDArray[Any], layout: str) -> NDArray[Any]:
    return result if layout == "NCHW" else np.moveaxis(result, -1, 1)


def _points_per_box(workload: Workload) -> int:
    rows, cols = workload.output_size
    if workload.sampling_ratio == 0 and not isinstance(workload.boxes, OneBox):
        # About one point per cell, at least one per section.
        return int(max(workload.boxes.largest, rows) * max(workload.boxes.largest, cols))
    per_axis = workload.sampling_ratio or max(rows - 1, cols - 1, 1)
    return rows * cols * per_axis**2


def _spread(length: int, count: int) -> NDArray[Any]:
    """Up to ``count`` indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))
