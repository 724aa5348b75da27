"""The explanation of one box and one channel."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import ExplanationData
from .text import output_formula, point_formula, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class Explanation(ExplanationData):
    """Everything that `roi_align` reads for one box and one channel, and the result.

    Made by `explain`. Sections are indexed as ``output`` is, ``[row, column]``, and so are the
    ``gy x gx`` points of a section. The four neighbours come in the
    document's order: Q11 and Q21, the left and the right cell of the upper row, then Q12 and Q22
    of the lower.

    Where a section reads whole cells (samplings "cells", "integral" and "nearest"), its points are
    the centres of those on the map. gy x gx is then the largest number that a section has; missing
    ones are NaN. A cell's weight under "integral" is its share in the section's mean, which is the
    sum of the values.

    Attributes
    ----------
    coordinates : {"document", "array"}
        What positions mean. "document": cells from the bottom left of the map, y up, the centre
        of a cell at an integer + 0.5. "array": indices of the map, y down, the centre of
        ``map[y, x]`` at (x, y).
    image, channel : int
        Which map was explained.
    box : (float, float, float, float)
        x and y of the top left corner, width and height, in cells. The sizes are negative where
        the box is reversed.
    map : ndarray of shape (H, W)
        The channel.
    points : ndarray of shape (rows, cols, gy, gx, 2)
        x and y of every point.
    neighbours : ndarray of shape (rows, cols, gy, gx, 4, 2)
        x and y of the centres of the four cells around each point; for a point beyond the
        centres of the outermost cells, those around the place it is clamped to. NaN where the point
        is outside the map, and so reads nothing.
    weights : ndarray of shape (rows, cols, gy, gx, 4)
        The share of each neighbour. 0 for those that are not read.
    cells : ndarray of shape (rows, cols, gy, gx, 4)
        The values Q11, Q21, Q12, Q22 of the neighbours. NaN where there is no such cell, unless
        the border is "zero": then 0.
    values : ndarray of shape (rows, cols, gy, gx)
        The interpolated values; 0 outside the map. In the mode "max_weighted" the largest
        product of a cell and its weight instead.
    output : ndarray of shape (rows, cols)
        What the backend "reference" gives, in the dtype of the features.
    spec : CallSpec
        The call, its convention filled in.
    angle : float
        By how much the box is turned about its centre, in degrees counter-clockwise; ``box`` is
        what it is before that.
    """

    def __repr__(self) -> str:
        from .text import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from .text import html

        return html(self)

    def formula(
        self, section: tuple[int, int], point: tuple[int, int] | None = None, digits: int = 4
    ) -> str:
        """Write out the document's formulas for one point, or for the output of a section.

        Parameters
        ----------
        section : (int, int)
            As the coordinates number them: in the document's (i, j), column first, from 1 and
            from the top left; in the array's (row, column), from 0.
        point : (int, int), optional
            Point of the section, numbered likewise: (n, m), or (row, column). By default the
            formula is that of the section's output.
        digits : int, default 4
            Decimals that numbers are rounded to, in the text only.

        Returns
        -------
        str

        Raises
        ------
        ValueError, TypeError
            If there is no such section or point.

        Examples
        --------
        >>> import numpy as np
        >>> import roialign_cy as ra
        >>> features = np.arange(16.0).reshape(1, 1, 4, 4)
        >>> print(ra.explain(features, [[0, 1, 1, 3, 3]], 2).formula((1, 1), (1, 1)))
        P_x(1,1,1,1) = 1 + 2/2 × (1 - 1) + 2/4 × 1 = 1.5
        P_y(1,1,1,1) = 3 - 2/2 × (1 - 1) - 2/4 × 1 = 2.5
        x1 = 0.5, x2 = 1.5, y1 = 1.5, y2 = 2.5
        P = (2.5 - 1.5)/(2.5 - 1.5) × [(1.5 - 1.5)/(1.5 - 0.5) × 4 + (1.5 - 0.5)/(1.5 - 0.5) × 5]
          + (2.5 - 2.5)/(2.5 - 1.5) × [(1.5 - 1.5)/(1.5 - 0.5) × 8 + (1.5 - 0.5)/(1.5 - 0.5) × 9]
          = 5
        """
        row, col = self.section_index(section)
        if point is None:
            return output_formula(self, row, col, digits)
        return point_formula(self, row, col, *self.point_index(point, row, col), digits)

    def table(self, section: tuple[int, int] | None = None, digits: int = 3) -> Table:
        """List the points with their neighbours, weights and values, for `rich` to print.

        Parameters
        ----------
        section : (int, int), optional
            The one section to list, numbered as in `formula`; by default all of them.
        digits : int, default 3
            Decimals that numbers are rounded to.

        Returns
        -------
        rich.table.Table
            ``rich.print`` shows it.

        Raises
        ------
        ImportError
            If rich is not installed.
        """
        return table(self, None if section is None else self.section_index(section), digits)

    def plot(
        self,
        section: tuple[int, int] | None = None,
        point: tuple[int, int] | None = None,
        figure: Figure | None = None,
    ) -> Figure:
        """Draw the map under the box with its sections and points, and the output beside it.

        Parameters
        ----------
        section, point : (int, int), optional
            The section and its point that are followed through the picture, numbered as in
            `formula`. By default the first section, and its point with the largest value.
        figure : matplotlib.figure.Figure, optional
            Where to draw; by default a new figure, which pyplot does not track.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        """
        from .plot import plot

        row_col = (0, 0) if section is None else self.section_index(section)
        focus = None if point is None else self.point_index(point, *row_col)
        return plot(self, row_col, focus, figure)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as lists and plain numbers, with None for NaN, ready for ``json.dump``.

        Returns
        -------
        dict
            ``coordinates``, ``image``, ``channel``, ``box`` and ``sections``: a list of one
            ``{"section", "output", "points"}`` each, numbered as in `formula`.
        """
        return {
            "coordinates": self.coordinates,
            "image": self.image,
            "channel": self.channel,
            "box": list(self.box),
            "sections": [
                {
                    "section": list(self.number(row, col)),
                    "output": _plain(self.output[row, col]),
                    "points": [
                        {
                            "point": list(self.number(*at)),
                            "at": _plain(self.points[row, col][at]),
                            "neighbours": _plain(self.neighbours[row, col][at]),
                            "weights": _plain(self.weights[row, col][at]),
                            "cells": _plain(self.cells[row, col][at]),
                            "value": _plain(self.values[row, col][at]),
                        }
                        for at in np.ndindex(*self.grid(row, col))
                    ],
                }
                for row, col in np.ndindex(*self.output.shape)
            ],
        }

    def section_index(self, section: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the section of that number."""
        return self._index("section", section, self.output.shape)

    def point_index(self, point: tuple[int, int], row: int, col: int) -> tuple[int, int]:
        """Row and column, in section (row, col), of the point of that number."""
        return self._index("point", point, self.grid(row, col))

    def _index(self, name: str, number: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
        try:
            wanted = tuple(map(operator.index, number))
        except TypeError:
            raise TypeError(f"{name} must be two integers, got {number!r}") from None
        for row, col in np.ndindex(*shape):
            if self.number(row, col) == wanted:
                return row, col
        if 0 in shape:
            raise ValueError(f"{name} {number!r} does not exist: there are no points")
        first, last = self.number(0, 0), self.number(shape[0] - 1, shape[1] - 1)
        raise ValueError(f"{name} must be in {first} .. {last}, got {number!r}")


def _plain(numbers: Any) -> Any:
    """Lists of floats, None for NaN."""
    if isinstance(numbers, np.ndarray):
        return [_plain(number) for number in numbers]
    return None if math.isnan(numbers) else float(numbers)
