"""The definition of RoI Pooling, which RoI Align replaced: boxes and sections in whole cells.

Like `reference` it is slow and plain, and shares no code with the rest of the package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .._spec import PoolSpec

Array: TypeAlias = NDArray[Any]


def rounded(value: float) -> int:
    """Round to the nearest integer, halves away from 0."""
    whole = math.trunc(value)
    if abs(value - whole) >= 0.5:
        whole += 1 if value > 0 else -1
    return whole


def box_cells(near: np.floating[Any], far: np.floating[Any], scale: float) -> tuple[int, int]:
    """Return the first cell of a box along one axis, and how many it has."""
    number = type(near)
    first, last = (rounded(float(side * number(scale))) for side in (near, far))
    return first, max(last - first + 1, 1)  # both ends belong to it


def section_cells(
    near: np.floating[Any], far: np.floating[Any], sections: int, size: int, scale: float
) -> list[range]:
    """List the cells of each section along one axis of a box."""
    # Rounding at every step to the type of the box, as elsewhere: a product that is nearly an
    # integer would else be cut elsewhere than by others, and take in another cell.
    number: type[np.floating[Any]] = type(near)
    first, length = box_cells(near, far, scale)
    if sections > 2 ** (np.finfo(number).nmant + 1):
        number = np.float64  # that of the box cannot count them
    largest = float(np.finfo(number).max)
    section = number(min(float(length), largest)) / number(sections)
    cells = []
    for p in range(sections):
        begin, end = number(p) * section, number(p + 1) * section
        cells.append(
            range(
                min(max(first + math.floor(float(begin)), 0), size),
                min(max(first + math.ceil(min(float(end), largest)), 0), size),
            )
        )
    return cells


@np.errstate(all="ignore")  # inf and NaN are results here
def roi_pool(features: Array, rois: Array, spec: PoolSpec) -> Array:
    """Pool features (N, C, H, W) to (K, C, rows, cols); a section without cells is 0."""
    rows, cols = spec.output_size
    height, width = features.shape[2:]
    result = np.zeros((len(rois), features.shape[1], rows, cols), features.dtype)
    for k, (image, x1, y1, x2, y2) in enumerate(rois if result.size else ()):
        ys = section_cells(y1, y2, rows, height, spec.spatial_scale)
        xs = section_cells(x1, x2, cols, width, spec.spatial_scale)
        for p, q in np.ndindex(rows, cols):
            if ys[p] and xs[q]:
                cells = features[int(image)][:, ys[p], :][:, :, xs[q]]
                result[k, :, p, q] = cells.max(axis=(1, 2))
    return result
