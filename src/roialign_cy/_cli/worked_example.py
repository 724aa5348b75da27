"""The worked example of the document: what it prints, and the same numbers computed here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from .. import demo
from .._explain import Explanation


@dataclass(frozen=True)
class WorkedNumber:
    """One result of the example: what the document prints and what comes out here."""

    what: str
    printed: tuple[float, ...]
    computed: tuple[float, ...]
    remark: str = ""

    @property
    def agrees(self) -> bool:
        """Whether they are equal to the print's two decimals, some of which are cut."""
        return bool(np.allclose(self.printed, self.computed, rtol=0, atol=0.01))


# (i, j, n, m), where it is printed to be, remark
_POINTS = (
    ((1, 1, 1, 1), (9.94, 9.5), ""),
    ((1, 1, 2, 1), (10.63, 9.5), "cut, not rounded"),
    ((1, 1, 1, 2), (9.94, 8.99), ""),
    ((1, 1, 2, 2), (10.63, 8.99), "cut, not rounded"),
    ((2, 3, 2, 2), (12.69, 5.97), "slip: 12.72 is meant"),
)
# coordinate, centres of the cells on both sides
_NEIGHBOURS = {
    "x": ((9.94, (9.5, 10.5)), (10.63, (10.5, 11.5)), (12.69, (12.5, 13.5))),
    "y": ((9.5, (8.5, 9.5)), (8.99, (8.5, 9.5)), (5.97, (5.5, 6.5))),
}
# The values of the first four points. They are interpolated at the coordinates as printed: the
# document rounds those first.
_VALUES = (0.144, 0.21, 0.51, 0.43)
_OUTPUT = 0.51


def document_map() -> NDArray[np.float64]:
    """Build the map, of shape (1, 1, 16, 16), with the cells of the example."""
    cells = np.zeros((1, 1, demo.MAP_SIZE, demo.MAP_SIZE))
    # Rows y = 9.5 and 8.5, columns x = 9.5, 10.5, 11.5. The last column is not printed: these
    # are the one-decimal values that give the results that are.
    cells[0, 0, 6:8, 9:12] = [[0.1, 0.2, 0.3], [1.0, 0.7, 0.2]]
    return cells


def worked_numbers(backend: str | None = None) -> list[WorkedNumber]:
    """Redo the example, number by number."""
    cells = document_map()
    example = demo.explain_box(cells)
    return [*_boxes(example), *_points(example), *_neighbours(cells), *_values(cells, backend)]


def _boxes(example: Explanation) -> list[WorkedNumber]:
    x, y, w, h = example.box
    t, k = demo.OUTPUT_SIZE
    corner, size = demo.BOX[:2], demo.BOX[2:]
    return [
        WorkedNumber("box: top left", (396, 320), corner, "slip: 9.25 x 32 = 296"),
        WorkedNumber("box: width, height", (145, 200), size, "slip: height first"),
        WorkedNumber("on map: top left", (9.25, 10), (x, y)),
        WorkedNumber("on map: bottom right", (15.5, 5.47), (x + w, y - h)),
        WorkedNumber("section: width, height", (2.08, 1.51), (w / k, h / t)),
    ]


def _points(example: Explanation) -> list[WorkedNumber]:
    return [
        WorkedNumber(
            f"point P({i},{j},{n},{m})",
            printed,
            tuple(example.points[j - 1, i - 1, m - 1, n - 1].tolist()),
            remark,
        )
        for (i, j, n, m), printed, remark in _POINTS
    ]


def _neighbours(cells: NDArray[np.float64]) -> list[WorkedNumber]:
    # One axis at a time, on a point whose other coordinate is of no interest.
    numbers = []
    for axis, rows in enumerate(_NEIGHBOURS.values()):
        for at, printed in rows:
            near = explain_point(cells, (at, at)).neighbours[0, 0, 0, 0, :, axis]
            computed = (float(near.min()), float(near.max()))
            numbers.append(WorkedNumber(f"neighbours of {'xy'[axis]} = {at}", printed, computed))
    return numbers


def _values(cells: NDArray[np.float64], backend: str | None) -> list[WorkedNumber]:
    points = [printed for _, printed, _ in _POINTS[: len(_VALUES)]]
    computed = demo.values_at(cells, points, backend)[:, 0].tolist()
    output = float(demo.pool_box(cells, backend)[0, 0, 0])
    return [
        *(
            WorkedNumber(f"value at [{x}, {y}]", (printed,), (value,))
            for (x, y), printed, value in zip(points, _VALUES, computed, strict=True)
        ),
        WorkedNumber("output of section (1,1)", (_OUTPUT,), (output,)),
    ]


def explain_point(cells: NDArray[np.float64], at: tuple[float, float]) -> Explanation:
    """Explain a point of its own: the only sample of a box of no size."""
    rois = ra.boxes.from_document([(*at, 0.0, 0.0)], height=cells.shape[2])
    return ra.explain(cells, rois, 1)
