"""Everything that is read for one box and one channel, as arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from .._choices import require_choice
from .._spec import CallSpec, make_spec
from ..backends import reference
from ..backends._registry import resolve
from ..typing import Coordinates
from .explanation import Explanation

if TYPE_CHECKING:
    from ..conventions import Convention
    from ..typing import Boxes, ConventionName, Layout, Mode

COORDINATES: tuple[Coordinates, ...] = get_args(Coordinates)

MOST_POINTS = 10_000
"""Most points of a box that are listed, within a second: each becomes a dozen numbers."""


def explain(
    features: NDArray[Any],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    roi: int = 0,
    channel: int = 0,
    coordinates: Coordinates = "document",
    convention: ConventionName | Convention = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
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
        y down. See `Explanation`. Boxes are given as always.
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
        As `roi_align`; also if there is no such box or channel, or the box has more than 10000
        points or sections, or samples along one axis.

    Notes
    -----
    Neighbours are chosen by the document's rule: a coordinate ``n + f`` lies between the centres
    ``n - 0.5`` and ``n + 0.5`` if ``f <= 0.5``, else between ``n + 0.5`` and ``n + 1.5``. So a
    point on the centre of a cell has its second neighbour, of weight 0, to the left and below.

    The output is computed by the reference backend, and so has exactly its bits; other backends
    agree with it as closely as always.

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
    if math.prod(spec.output_size) > MOST_POINTS:
        raise ValueError(
            f"output_size must have at most {MOST_POINTS} sections to explain, "
            f"got {spec.output_size}"
        )
    backend = resolve("reference", features)  # refuses what is not a NumPy array
    features = _arrays.as_ndarray(features, "features")
    _arrays.check_features(features, layout)
    maps = _arrays.as_nchw(features, spec)
    if maps.dtype.char not in "efd":  # in which they are computed
        maps = maps.astype(np.float32)
    num_images, channels, height, width = maps.shape
    boxes = _arrays.check_rois(rois, num_images, spec)
    box = boxes[position("roi", roi, len(boxes))]
    channel = position("channel", channel, channels)
    if height == 0 or width == 0:
        raise ValueError(f"features must have a cell or more to explain, got {features.shape}")
    image = int(box[0])

    of_rows, of_cols = reference.box_axes(box, spec)
    sizes = (of_rows, height), (of_cols, width)
    along = [axis.sections * _most_samples(axis, size) for axis, size in sizes]
    # Each axis by itself as well: of a box without samples along one, the other is still read.
    count = max(*along, math.prod(along))
    if count > MOST_POINTS:
        raise ValueError(
            f"rois[{roi}] has {count} samples, more than {MOST_POINTS} cannot be listed: "
            "give a sampling_ratio, or a smaller box"
        )
    rows = _read(of_rows, height, _upper_first, spec)
    cols = _read(of_cols, width, _left_first, spec)

    alone = box[np.newaxis].copy()
    alone[0, 0] = 0
    # All channels, though one is shown: the order of NumPy's sums, and so the last bit of a mean,
    # depends on how many there are.
    pooled = backend.roi_align((maps[image : image + 1],), alone, None, spec, None)[0]
    plane = maps[image, channel].astype(maps.dtype.newbyteorder("="))

    place = _in_document(height) if coordinates == "document" else _in_array
    by_row, by_col = np.s_[:, np.newaxis, :, np.newaxis], np.s_[np.newaxis, :, np.newaxis, :]
    cell_y = rows.cells[by_row][..., [0, 0, 1, 1]]  # Q11, Q21, Q12, Q22
    cell_x = cols.cells[by_col][..., [0, 1, 0, 1]]
    reads_nothing = np.isnan(cell_y) | np.isnan(cell_x)
    points = place(cols.positions[by_col], rows.positions[by_row])
    corner = place(np.array(of_cols.start), np.array(of_rows.start))
    return Explanation(
        coordinates=coordinates,
        image=image,
        channel=channel,
        box=(
            float(corner[0]),
            float(corner[1]),
            of_cols.extent,
            of_rows.extent,
        ),
        map=plane,
        points=points,
        neighbours=np.where(reads_nothing[..., np.newaxis], np.nan, place(cell_x, cell_y)),
        weights=rows.weights[by_row][..., [0, 0, 1, 1]] * cols.weights[by_col][..., [0, 1, 0, 1]],
        cells=_cells_at(plane, cell_y, cell_x, spec),
        values=np.where(np.isnan(points).any(-1), np.nan, _values(plane, rows, cols, spec)),
        output=pooled[channel],
        spec=spec,
    )


class _AxisReads(NamedTuple):
    """What the samples of one axis read, as many as the section with most samples has.

    Attributes
    ----------
    positions : ndarray of shape (sections, samples)
        NaN where a section has no such sample.
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


def _most_samples(axis: reference.Axis, size: int) -> int:
    return max(len(axis.numbers(section, size)) for section in range(axis.sections))


def _read(
    axis: reference.Axis, size: int, first_neighbour: Callable[[float], int], spec: CallSpec
) -> _AxisReads:
    shape = axis.sections, _most_samples(axis, size)
    positions = np.full(shape, np.nan)
    read: list[reference.Cells] = [()] * math.prod(shape)
    cells, weights = np.full((*shape, 2), np.nan), np.zeros((*shape, 2))
    for section in range(axis.sections):
        for n, i in enumerate(axis.numbers(section, size)):
            sample = axis.sample(section, i, size)
            positions[section, n] = sample.position
            read[section * shape[1] + n] = sample.cells
            if sample.cells:
                at, weight_of = sample.position, dict(sample.cells)
                if spec.border == "clamp":
                    at = min(max(at, 0.0), size - 1.0)
                first = first_neighbour(at)
                cells[section, n] = first, first + 1
                weights[section, n] = weight_of.get(first, 0.0), weight_of.get(first + 1, 0.0)
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
    plane: NDArray[np.floating], y: NDArray[np.float64], x: NDArray[np.float64], spec: CallSpec
) -> NDArray[np.float64]:
    y, x = np.broadcast_arrays(y, x)
    height, width = plane.shape
    exists = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    cells = np.full(y.shape, 0.0 if spec.border == "zero" else np.nan)
    cells[np.isnan(y) | np.isnan(x)] = np.nan
    cells[exists] = plane[y[exists].astype(np.intp), x[exists].astype(np.intp)]
    return cells


@np.errstate(all="ignore")  # inf and NaN are values here
def _values(
    plane: NDArray[np.floating], rows: _AxisReads, cols: _AxisReads, spec: CallSpec
) -> NDArray[np.float64]:
    is_weighted = spec.mode == "max_weighted"
    value = reference.largest_product if is_weighted else reference.interpolated
    image = plane[np.newaxis].astype(np.float64)
    grid = np.array([[value(image, y, x)[0] for x in cols.read] for y in rows.read], np.float64)
    return grid.reshape(*rows.positions.shape, *cols.positions.shape).swapaxes(1, 2)


def position(name: str, value: int, count: int) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not 0 <= index < count:
        raise ValueError(f"{name} must be in 0 .. {count} - 1, got {value!r}")
    return index
