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
from .._rotated import make_rotated_spec
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
        As for `roi_align`; NumPy arrays only. Rows of six numbers are rotated boxes, as for
        `roi_align_rotated`, whose convention then has to be given.
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
    options = (spatial_scale, sampling_ratio, mode, layout, None)
    if _are_rotated(rois):
        spec = make_rotated_spec(output_size, convention, False, *options)
    else:
        spec = make_spec(output_size, convention, *options)
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

    angle = 0.0
    of_rows: reference.Axis
    of_cols: reference.Axis
    if spec.sampling == "rotated":
        turned = reference.rotated_box(box, spec)
        of_rows, of_cols = turned.unturned()
        angle = math.degrees(math.atan2(turned.sine, turned.cosine))
    else:
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
    if spec.sampling == "rotated":
        along_y, along_x = _samples_of(turned, spec, (height, width))
    else:
        along_y = _samples_along(of_rows, height)[:, np.newaxis, :, np.newaxis]
        along_x = _samples_along(of_cols, width)[np.newaxis, :, np.newaxis, :]
    rows = _read(along_y, height, _upper_first, spec)
    cols = _read(along_x, width, _left_first, spec)

    alone = box[np.newaxis].copy()
    alone[0, 0] = 0
    # All channels, though one is shown: the order of NumPy's sums, and so the last bit of a mean,
    # depends on how many there are.
    pooled = backend.roi_align((maps[image : image + 1],), alone, None, spec, None)[0]
    plane = maps[image, channel].astype(maps.dtype.newbyteorder("="))

    place = _in_document(height) if coordinates == "document" else _in_array
    cell_y = rows.cells[..., [0, 0, 1, 1]]  # Q11, Q21, Q12, Q22
    cell_x = cols.cells[..., [0, 1, 0, 1]]
    reads_nothing = np.isnan(cell_y) | np.isnan(cell_x)
    points = place(cols.positions, rows.positions)
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
        weights=rows.weights[..., [0, 0, 1, 1]] * cols.weights[..., [0, 1, 0, 1]],
        cells=_cells_at(plane, cell_y, cell_x, spec),
        values=np.where(np.isnan(points).any(-1), np.nan, _values(plane, rows, cols, spec)),
        output=pooled[channel],
        spec=spec,
        angle=angle,
    )


class _Reads(NamedTuple):
    """What samples read along one axis of the map.

    Attributes
    ----------
    positions : ndarray
        NaN where a section has no such sample, here and below of any shape that is broadcast to
        (rows, cols, gy, gx).
    cells : ndarray of shape (..., 2)
        Indices of the two neighbours, NaN outside the map.
    weights : ndarray of shape (..., 2)
    read : ndarray of object
        The same as the reference has it, `reference.Cells`, without the cells that have no weight.
    """

    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    weights: NDArray[np.float64]
    read: NDArray[np.object_]


def _are_rotated(rois: Any) -> bool:
    """Whether boxes are rows of six numbers."""
    rows = rois if hasattr(rois, "ndim") or not isinstance(rois, list | tuple) else rois[:1]
    return np.ndim(rows) == 2 and np.shape(rows)[1] == 6


def _most_samples(axis: reference.Axis, size: int) -> int:
    return max(len(axis.numbers(section, size)) for section in range(axis.sections))


def _samples_along(axis: reference.Axis, size: int) -> NDArray[np.object_]:
    """List the samples of an axis: (sections, samples), None where a section has fewer."""
    samples = np.full((axis.sections, _most_samples(axis, size)), None)
    for section in range(axis.sections):
        for n, i in enumerate(axis.numbers(section, size)):
            samples[section, n] = axis.sample(section, i, size)
    return samples


def _samples_of(
    box: reference.RotatedBox, spec: CallSpec, size: tuple[int, int]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """List the samples of a rotated box along (rows, columns) of the map."""
    shape = *spec.output_size, box.rows.samples, box.cols.samples
    along_y, along_x = np.full(shape, None), np.full(shape, None)
    for row, col, i, j in np.ndindex(*shape):
        at = row, col, i, j
        along_y[at], along_x[at] = box.point((row, col), i, j, size)
    return along_y, along_x


def _read(
    samples: NDArray[np.object_], size: int, first_neighbour: Callable[[float], int], spec: CallSpec
) -> _Reads:
    positions, read = np.full(samples.shape, np.nan), np.full(samples.shape, None)
    cells, weights = np.full((*samples.shape, 2), np.nan), np.zeros((*samples.shape, 2))
    for at, sample in np.ndenumerate(samples):
        read[at] = () if sample is None else sample.cells
        if sample is not None:
            positions[at] = sample.position
        if read[at]:
            place, weight_of = sample.position, dict(sample.cells)
            if spec.border == "clamp":
                place = min(max(place, 0.0), size - 1.0)
            first = first_neighbour(place)
            cells[at] = first, first + 1
            weights[at] = weight_of.get(first, 0.0), weight_of.get(first + 1, 0.0)
    return _Reads(positions, cells, weights, read)


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
    plane: NDArray[np.floating], rows: _Reads, cols: _Reads, spec: CallSpec
) -> NDArray[np.float64]:
    is_weighted = spec.mode == "max_weighted"
    value = reference.largest_product if is_weighted else reference.interpolated
    image = plane[np.newaxis].astype(np.float64)
    pairs = np.broadcast(rows.read, cols.read)
    return np.array([value(image, y, x)[0] for y, x in pairs], np.float64).reshape(pairs.shape)


def position(name: str, value: int, count: int) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not 0 <= index < count:
        raise ValueError(f"{name} must be in 0 .. {count} - 1, got {value!r}")
    return index
