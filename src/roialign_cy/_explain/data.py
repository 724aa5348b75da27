"""The numbers of an explanation, which texts and pictures are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._spec import CallSpec
from ..typing import Coordinates


@dataclass(frozen=True, eq=False)
class ExplanationData:
    """What was read and what came out; `Explanation` says what the attributes are."""

    coordinates: Coordinates
    image: int
    channel: int
    box: tuple[float, float, float, float]
    map: NDArray[np.floating]
    points: NDArray[np.float64]
    neighbours: NDArray[np.float64]
    weights: NDArray[np.float64]
    cells: NDArray[np.float64]
    values: NDArray[np.float64]
    output: NDArray[np.floating]
    spec: CallSpec
    angle: float = 0.0

    def number(self, row: int, col: int) -> tuple[int, int]:
        """Number a section or a point as the coordinates do."""
        return (col + 1, row + 1) if self.coordinates == "document" else (row, col)

    def grid(self, row: int, col: int) -> tuple[int, int]:
        """Rows and columns of the points of a section."""
        exists = ~np.isnan(self.points[row, col]).any(axis=-1)
        return int(exists.any(axis=1).sum()), int(exists.any(axis=0).sum())

    def values_of(self, row: int, col: int) -> NDArray[np.float64]:
        """Values of the points of a section."""
        gy, gx = self.grid(row, col)
        return self.values[row, col, :gy, :gx]

    @property
    def unit(self) -> str:
        """What sections read: points, or whole cells."""
        has_points = self.spec.sampling in ("centered", "interior", "corners", "rotated")
        return "point" if has_points else "cell"

    @property
    def reads(self) -> str:
        """How much a section reads."""
        gy, gx = self.values.shape[2:]
        return f"{'up to ' * (self.unit == 'cell')}{gy} x {gx} {self.unit}s"

    def is_outside(self, row: int, col: int, i: int, j: int) -> bool:
        """Whether point (i, j) of a section is outside the map, and so reads nothing."""
        return bool(self.outside[row, col, i, j])

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which points are outside the map: (rows, cols, gy, gx)."""
        reads_nothing: NDArray[np.bool_] = np.isnan(self.neighbours[..., 0, 0])
        return reads_nothing & ~np.isnan(self.points).any(axis=-1)
