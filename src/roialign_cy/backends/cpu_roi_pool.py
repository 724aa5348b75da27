"""RoI Pooling on the CPU: boxes to whole cells in NumPy, then the compiled core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import roipool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._spec import PoolSpec

TABLE_BYTES = 4 << 20
"""Bounds the tables of a batch of boxes, where these are more than one."""

BYTES_PER_SECTION = 64
"""Of the tables of a box and what they are made by, for each row and each column of sections."""

CELLS_WORTH_THREADS = 32768
"""Cells to read from which threads pay: some 50 microseconds' work, a few times their start."""


def roi_pool(
    features: NDArray[np.floating],
    rois: NDArray[np.floating],
    spec: PoolSpec,
    out: NDArray[np.floating],
    num_threads: int,
) -> None:
    """Pool native, aligned ``features`` (N, C, H, W) into ``out`` (K, C, rows, cols), likewise.

    Neither is empty.
    """
    height, width = features.shape[2:]
    boxes_per_batch = max(TABLE_BYTES // (sum(spec.output_size) * BYTES_PER_SECTION), 1)
    for first in range(0, len(rois), boxes_per_batch):
        boxes = rois[first : first + boxes_per_batch]
        image, x1, y1, x2, y2 = boxes.T
        rows = section_cells(y1, y2, spec.output_size[0], height, spec.spatial_scale)
        cols = section_cells(x1, x2, spec.output_size[1], width, spec.spatial_scale)
        cells = float(np.ptp(rows, axis=2).sum(axis=1) @ np.ptp(cols, axis=2).sum(axis=1))
        is_small = cells * out.shape[1] < CELLS_WORTH_THREADS
        roipool.pool(
            _bits(features),
            image.astype(np.intp),
            rows,
            cols,
            _bits(out[first : first + boxes_per_batch]),
            1 if is_small else num_threads,
        )


@np.errstate(over="ignore")
def section_cells(
    near: NDArray[np.floating],
    far: NDArray[np.floating],
    sections: int,
    size: int,
    scale: float,
) -> NDArray[np.intp]:
    """Where the cells of each section along one axis begin and end: (boxes, sections, 2)."""
    # In the boxes' own dtype at every step, as torchvision does it: where a product is nearly an
    # integer, another precision would take in another cell.
    number = near.dtype.type
    first, last = (_rounded(side * number(scale)).astype(np.float64) for side in (near, far))
    if sections > 2 ** (np.finfo(number).nmant + 1):
        number = np.float64  # the boxes' own cannot count them
    length = np.clip(last - first + 1, 1, float(np.finfo(number).max)).astype(number)
    edges = np.arange(sections + 1).astype(number) * (length / number(sections))[:, np.newaxis]
    edges = np.minimum(edges, np.finfo(number).max)  # of the longest box, the last may overflow
    begin, end = np.floor(edges[:, :-1]), np.ceil(edges[:, 1:])
    cells = np.stack([begin, end], axis=2).astype(np.float64) + first[:, np.newaxis, np.newaxis]
    return np.clip(cells, 0, size).astype(np.intp)


def _rounded(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """To the nearest integer, halves away from 0."""
    whole: NDArray[np.floating] = np.trunc(values)
    is_half = abs(values - whole) >= 0.5
    whole[is_half] += np.sign(values[is_half])
    return whole


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """A float16 array as the integers that the core takes it as; any other as it is."""
    return array.view(np.uint16) if array.dtype == np.float16 else array
