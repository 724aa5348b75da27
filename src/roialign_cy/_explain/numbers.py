"""Everything that is read for one box and one channel, as arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from .._choices import require_choice
from .._spec import PoolSpec, make_spec
from ..backends import reference
from ..backends._registry import resolve

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from ..conventions import Convention

COORDINATES = ("document", "array")

MOST_POINTS = 250_000
"""Most points of a box that are listed: each becomes a dozen numbers, in some ten microseconds."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """All that `roi_align` reads for one box and one channel, and what it makes of it.

    Made by `explain`. Sections are numbered as ``output`` is, ``[row, column]``, and so are the
    points of a section, which there are ``gy x gx`` of. The four neighbours come in the
    document's order: Q11 and Q21, the left and the right cell of the upper row, then Q12 and Q22
    of the lower.

    Attributes
    ----------
    coordinates : {"document", "array"}
        What positions mean. "document": cells from the bottom left of the map, y up, the centre
        of a cell at an integer + 0.5. "array": indices of the map, y down, the centre of
        ``map[y, x]`` at (x, y).
    image, channel : int
        Which map it is about.
    box : (float, float, float, float)
        x and y of the top left corner, width and height, in cells. The sizes are negative where
        the box is reversed.
    map : ndarray of shape (H, W)
        The channel.
    points : ndarray of shape (rows, cols, gy, gx, 2)
        x and y of every point.
    neighbours : ndarray of shape (rows, cols, gy, gx, 4, 2)
        x and y of the centres of the four cells around each point; around a point beyond the
        centres of the outermost cells, of those around the place it is moved to. NaN where the
        point is outside the map, and so reads nothing.
    weights : ndarray of shape (rows, cols, gy, gx, 4)
        The share of each neighbour. 0 for those that are not read.
    cells : ndarray of shape (rows, cols, gy, gx, 4)
        The values Q11, Q21, Q12, Q22 of the neighbours. NaN where there is no such cell.
    values : ndarray of shape (rows, cols, gy, gx)
        The interpolated values; 0 outside the map. In the mode "max_weighted" the largest
        product of a cell and its weight instead.
    output : ndarray of shape (rows, cols)
        What the backend "reference" gives, in the dtype of the features.
    spec : PoolSpec
        The call, its convention filled in.
    """

    coordinates: str
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
    spec: PoolSpec

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
        ValueError
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
        from .text import output_formula, point_formula

        row, col = self.section_index(section)
        if point is None:
            return output_formula(self, row, col, digits)
        return point_formula(self, row, col, *self.point_index(point), digits)

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
        from .text import table

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
            Where to draw; by default a new figure, which pyplot does not know.

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
        focus = None if point is None else self.point_index(point)
        return plot(self, row_col, focus, figure)

    def to_dict(self) -> dict[str, Any]:
        """Give the same as lists and plain numbers, None for NaN: what ``json.dump`` takes.

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
                        for at in np.ndindex(*self.values.shape[2:])
                    ],
                }
                for row, col in np.ndindex(*self.output.shape)
            ],
        }

    def number(self, row: int, col: int) -> tuple[int, int]:
        """Number a section or a point as the coordinates do."""
        return (col + 1, row + 1) if self.coordinates == "document" else (row, col)

    def section_index(self, section: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the section of that number."""
        return self._index("section", section, self.output.shape)

    def point_index(self, point: tuple[int, int]) -> tuple[int, int]:
        """Row and column, in its section, of the point of that number."""
        return self._index("point", point, self.values.shape[2:])

    def _index(self, name: str, number: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
        for row, col in np.ndindex(*shape):
            if self.number(row, col) == tuple(number):
                return row, col
        if 0 in shape:
            raise ValueError(f"{name} {number!r} does not exist: this box has no points")
        first, last = self.number(0, 0), self.number(shape[0] - 1, shape[1] - 1)
        raise ValueError(f"{name} must be in {first} .. {last}, got {number!r}")

    def is_outside(self, row: int, col: int, i: int, j: int) -> bool:
        """Whether point (i, j) of a section is outside the map, and so reads nothing."""
        return bool(np.isnan(self.neighbours[row, col, i, j, 0, 0]))


def explain(
    features: Any,
    rois: Any,
    output_size: int | tuple[int, int],
    *,
    roi: int = 0,
    channel: int = 0,
    coordinates: str = "document",
    convention: str | Convention = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: str | None = None,
    layout: str = "NCHW",
) -> Explanation:
    """Show where the values that `roi_align` gives for one box come from.

    Parameters
    ----------
    features, rois, output_size
        As for `roi_align`; NumPy arrays only.
    roi : int, default 0
        The box, a row of ``rois`` (of all lists of boxes, one after the other).
    channel : int, default 0
        The channel.
    coordinates : {"document", "array"}, default "document"
        What positions in the result mean: the document's, in cells, y up; or indices of the map,
        y down. See `Explanation`. They are no part of the call: boxes are given as always.
    convention, spatial_scale, sampling_ratio, mode, layout
        As for `roi_align`.

    Returns
    -------
    Explanation
        Points, neighbours, weights, values and output, with a ``table``, a ``plot`` and the
        ``formula`` of each.

    Raises
    ------
    ValueError, TypeError
        As `roi_align`; also if there is no such box or channel, or the box has more than 250000
        points.

    Notes
    -----
    Neighbours are chosen by the document's rule: a coordinate ``n + f`` lies between the centres
    ``n - 0.5`` and ``n + 0.5`` if ``f <= 0.5``, else between ``n + 0.5`` and ``n + 1.5``. So a
    point on the centre of a cell has its second neighbour, of weight 0, to the left and below.

    The reference backend computes the output, so that it is equal to its result in every bit,
    and to that of any backend as closely as that agrees.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> explanation = ra.explain(features, [[0, 1, 1, 3, 3]], 2)
    >>> explanation.box
    (1.0, 3.0, 2.0, 2.0)
    >>> explanation.points[0, 0, 0, 0], explanation.values[0, 0]
    (array([1.5, 2.5]), array([[5.]]))
    >>> explanation.output
    array([[ 5.,  6.],
           [ 9., 10.]])
    """
    require_choice("coordinates", coordinates, COORDINATES)
    spec = make_spec(output_size, convention, spatial_scale, sampling_ratio, mode, layout, None)
    backend = resolve("reference", features)  # refuses what is no NumPy array
    features = np.asarray(features)
    _arrays.check_features(features, layout)
    num_images, channels, height, width = spec.feature_shape(features.shape)
    boxes = _arrays.check_rois(rois, num_images, spec)
    box = boxes[_position("roi", roi, len(boxes))]
    channel = _position("channel", channel, channels)
    if height == 0 or width == 0:
        raise ValueError(f"features must have a cell or more to explain, got {features.shape}")
    image = int(box[0])

    of_rows, of_cols = reference.box_axes(box, spec)
    count = of_rows.samples * of_cols.samples * math.prod(spec.output_size)
    if count > MOST_POINTS:
        raise ValueError(
            f"rois[{roi}] has {count} points, more than {MOST_POINTS} cannot be listed: "
            "give a sampling_ratio"
        )
    rows, cols = _read(of_rows, height, _upper_first), _read(of_cols, width, _left_first)

    maps = features[image : image + 1]
    alone = box[np.newaxis].copy()
    alone[0, 0] = 0
    pooled = backend.roi_align(maps, alone, spec, None)[0]
    plane = np.array((maps[0] if layout == "NCHW" else np.moveaxis(maps[0], -1, 0))[channel])

    place = _in_document(height) if coordinates == "document" else _in_array
    by_row, by_col = np.s_[:, np.newaxis, :, np.newaxis], np.s_[np.newaxis, :, np.newaxis, :]
    cell_y = rows.cells[by_row][..., [0, 0, 1, 1]]  # Q11, Q21, Q12, Q22
    cell_x = cols.cells[by_col][..., [0, 1, 0, 1]]
    is_outside = np.isnan(cell_y) | np.isnan(cell_x)
    corner = place(np.array(of_cols.start), np.array(of_rows.start))
    return Explanation(
        coordinates=coordinates,
        image=image,
        channel=channel,
        box=(
            float(corner[0]),
            float(corner[1]),
            of_cols.section * of_cols.sections,
            of_rows.section * of_rows.sections,
        ),
        map=plane,
        points=place(cols.positions[by_col], rows.positions[by_row]),
        neighbours=np.where(is_outside[..., np.newaxis], np.nan, place(cell_x, cell_y)),
        weights=rows.weights[by_row][..., [0, 0, 1, 1]] * cols.weights[by_col][..., [0, 1, 0, 1]],
        cells=_cells_at(plane, cell_y, cell_x),
        values=_values(plane, rows, cols, spec),
        output=pooled[channel] if layout == "NCHW" else pooled[..., channel],
        spec=spec,
    )


class _AxisReads(NamedTuple):
    """What the samples of one axis read.

    Attributes
    ----------
    positions : ndarray of shape (sections, samples)
    cells : ndarray of shape (sections, samples, 2)
        Indices of the two neighbours, NaN outside the map.
    weights : ndarray of shape (sections, samples, 2)
    read : list of `reference.Cells`
        The same as the reference has it, without the cells that have no weight.
    """

    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    weights: NDArray[np.float64]
    read: list[reference.Cells]


def _read(axis: reference.Axis, size: int, first_neighbour: Callable[[float], int]) -> _AxisReads:
    shape = axis.sections, axis.samples
    positions = np.array(
        [axis.position(*sample) for sample in np.ndindex(*shape)], np.float64
    ).reshape(shape)
    read = [reference.neighbours(position, size) for position in positions.flat]
    cells, weights = np.full((*shape, 2), np.nan), np.zeros((*shape, 2))
    for sample, weight_of in zip(np.ndindex(*shape), map(dict, read), strict=True):
        if weight_of:
            first = first_neighbour(min(max(float(positions[sample]), 0.0), size - 1.0))
            cells[sample] = first, first + 1
            weights[sample] = weight_of.get(first, 0.0), weight_of.get(first + 1, 0.0)
    return _AxisReads(positions, cells, weights, read)


# The document's rule, in indices: on the centre of a cell, the other neighbour is the one to the
# left and the one below, which has the next row's index.
def _left_first(x: float) -> int:
    return math.ceil(x) - 1


def _upper_first(y: float) -> int:
    return math.floor(y)


def _in_array(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def _in_document(height: int) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]:
    return lambda x, y: _in_array(x + 0.5, (height - 0.5) - y)


def _cells_at(
    plane: NDArray[np.floating], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    y, x = np.broadcast_arrays(y, x)
    height, width = plane.shape
    exists = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    cells = np.full(y.shape, np.nan)
    cells[exists] = plane[y[exists].astype(np.intp), x[exists].astype(np.intp)]
    return cells


@np.errstate(all="ignore")  # inf and NaN are values here
def _values(
    plane: NDArray[np.floating], rows: _AxisReads, cols: _AxisReads, spec: PoolSpec
) -> NDArray[np.float64]:
    is_weighted = spec.mode == "max_weighted"
    value = reference.largest_product if is_weighted else reference.interpolated
    image = plane[np.newaxis].astype(np.float64)
    grid = np.array([[value(image, y, x)[0] for x in cols.read] for y in rows.read], np.float64)
    return grid.reshape(*rows.positions.shape, *cols.positions.shape).swapaxes(1, 2)


def _plain(numbers: Any) -> Any:
    """Lists of floats, None for NaN."""
    if isinstance(numbers, np.ndarray):
        return [_plain(number) for number in numbers]
    return None if math.isnan(numbers) else float(numbers)


def _position(name: str, value: int, count: int) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not 0 <= index < count:
        raise ValueError(f"{name} must be in 0 .. {count} - 1, got {value!r}")
    return index
