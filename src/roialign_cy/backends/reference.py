"""The definition of RoI Align, written down in float64: what every other backend is held to.

Slow and plain on purpose. It shares no code with the rest of the package, so that a mistake there
cannot hide here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .reference_roi_pool import roi_pool

if TYPE_CHECKING:
    from .._spec import PoolSpec

Array: TypeAlias = NDArray[Any]
Cells: TypeAlias = tuple[tuple[int, float], ...]  # (index along an axis, weight)

SMALLEST_FRACTION = 2.0**-126
"""Fractions of a cell below this count as zero. It is the smallest normal float32: a weight that
small could vanish in a backend that works in float32, and which cells are read, and so whether a
NaN is, must not depend on the working type."""


class Axis(NamedTuple):
    """One axis of one box, in cells of the map.

    Attributes
    ----------
    start : float
        Where the first section begins.
    section : float
        Extent of a section; negative in a reversed box.
    sections : int
        How many there are.
    samples : int
        Samples per section.
    interior, adaptive : bool
        How the samples lie, and whether their number grows with the box.
    by_near, by_far : (float, float)
        What one input unit more of the box's near and far side adds to ``start`` and to the
        extent of the whole axis.
    """

    start: float
    section: float
    sections: int
    samples: int
    interior: bool
    adaptive: bool
    by_near: tuple[float, float]
    by_far: tuple[float, float]

    def position(self, section: int, i: int) -> float:
        """Where sample ``i`` of a section lies; an integer is the centre of that cell."""
        # In this order: in another one, samples at the border round to the other side of it.
        begin = self.start + section * self.section
        if self.interior:
            return begin + (i + 1) * self.section / (self.samples + 1)
        return begin + (i + 0.5) * self.section / self.samples

    def fraction(self, section: int, i: int) -> float:
        """Part of the whole axis that lies before sample ``i`` of a section."""
        within = (i + 1) / (self.samples + 1) if self.interior else (i + 0.5) / self.samples
        return (section + within) / self.sections


class Sample(NamedTuple):
    """A sample along one axis: what it reads, and how that changes.

    ``slope`` is the derivative of ``cells`` by the position; ``by_near`` and ``by_far`` are the
    derivatives of the position by the sides of the box.
    """

    cells: Cells
    slope: Cells
    by_near: float
    by_far: float


class Section(NamedTuple):
    """A section of a box: its place in the output and the points that are read for it."""

    box: int
    image: int
    row: int
    col: int
    points: list[tuple[Sample, Sample]]
    samples: float


def box_axes(roi: Array, spec: PoolSpec) -> tuple[Axis, Axis]:
    """Return the axes (rows, columns) of a box ``[batch_index, x1, y1, x2, y2]``."""
    _, x1, y1, x2, y2 = roi
    return _box_axis(y1, y2, 0, spec), _box_axis(x1, x2, 1, spec)


def _box_axis(near: np.floating[Any], far: np.floating[Any], axis: int, spec: PoolSpec) -> Axis:
    scale = spec.spatial_scale
    start = float(near) * scale - spec.pixel_offset
    extent = float(far) * scale - spec.pixel_offset - start
    widened = False
    if spec.min_size is not None and extent < spec.min_size:
        extent, widened = spec.min_size, True
    sections = spec.output_size[axis]
    ratio = spec.sampling_ratio[axis]
    return Axis(
        start=start,
        section=extent / sections,
        sections=sections,
        samples=ratio or adaptive_count(near, far, axis, spec),
        interior=spec.sampling == "interior",
        adaptive=ratio == 0,
        by_near=(scale, 0.0 if widened else -scale),
        by_far=(0.0, 0.0 if widened else scale),
    )


def adaptive_count(near: np.floating[Any], far: np.floating[Any], axis: int, spec: PoolSpec) -> int:
    """Count the samples per section that give about one per cell."""
    # Each step rounds to the type of the box, as elsewhere: where the quotient is nearly an
    # integer, another precision would give another count and so a visibly different result.
    number = type(near)
    scale, offset = number(spec.spatial_scale), number(spec.pixel_offset)
    start = near * scale - offset
    extent = far * scale - offset - start
    if spec.min_size is not None:
        extent = max(extent, number(spec.min_size))
    return max(math.ceil(extent / number(spec.output_size[axis])), 0)


def neighbours(position: float, size: int) -> Cells:
    """Find the cells that a position is interpolated from; none outside the map."""
    if not -1 <= position <= size:
        return ()
    clamped = min(max(position, 0.0), size - 1.0)
    low = int(clamped)
    fraction = clamped - low
    if low >= size - 1 or fraction < SMALLEST_FRACTION:
        return ((low, 1.0),)
    return ((low, 1.0 - fraction), (low + 1, fraction))


def slope(position: float, size: int) -> Cells:
    """Differentiate `neighbours`, from the right; nothing where it is clamped or outside."""
    if not 0 <= position < size - 1:
        return ()
    low = int(position)
    return ((low, -1.0), (low + 1, 1.0))


def section_samples(axis: Axis, section: int, size: int) -> list[Sample]:
    """List the samples of a section in order, but only one of those outside the map.

    They are all alike: 0, without gradient. One is enough to take part in a maximum; it stands
    where the first of them does, which decides the ties.
    """
    samples = []
    has_outside = False
    for i in _candidates(axis, section, size):
        position = axis.position(section, i)
        cells = neighbours(position, size)
        if not cells and has_outside:
            continue
        has_outside |= not cells
        fraction = axis.fraction(section, i)
        samples.append(
            Sample(
                cells,
                slope(position, size),
                axis.by_near[0] + fraction * axis.by_near[1],
                axis.by_far[0] + fraction * axis.by_far[1],
            )
        )
    return samples


def _candidates(axis: Axis, section: int, size: int) -> range:
    """Give a range with every sample on the map and, if any are outside, one on each such side."""
    if not axis.adaptive or axis.samples == 0:
        return range(axis.samples)
    # A huge box has a huge count. Its samples are about a cell apart, so that rounding misplaces
    # the ends of the map by less than two of them (up to 2**51 samples; calls allow no more).
    begin = axis.start + section * axis.section
    first, last = (
        min(max((edge - begin) / axis.section * axis.samples + extra, 0), axis.samples - 1)
        for edge, extra in ((-1, -3), (size, 3))
    )
    return range(int(first), int(last) + 1)


def sections(rois: Array, spec: PoolSpec, height: int, width: int) -> Iterator[Section]:
    """Walk through every section of every box, except those without samples."""
    if height == 0 or width == 0:
        return
    for k, roi in enumerate(rois):
        rows, cols = box_axes(roi, spec)
        ys = [section_samples(rows, p, height) for p in range(rows.sections)]
        xs = [section_samples(cols, q, width) for q in range(cols.sections)]
        count = float(rows.samples) * float(cols.samples)
        for p, q in np.ndindex(spec.output_size):
            points = [(y, x) for y in ys[p] for x in xs[q]]
            if points:
                yield Section(k, int(roi[0]), p, q, points, count)


def interpolated(image: Array, y: Cells, x: Cells) -> Array:
    """Sum the cells by their weights, for each channel of an image (C, H, W)."""
    total = np.zeros(len(image))
    for col, weight in x:
        total += weight * sum(w * image[:, row, col] for row, w in y)
    return total


def largest_product(image: Array, y: Cells, x: Cells) -> Array:
    """Take the largest product of a cell and its weight, the rule of ONNX, for each channel."""
    products = [wy * wx * image[:, row, col] for row, wy in y for col, wx in x]
    if len(products) < 4:  # those without weight count as 0
        products.append(np.zeros(len(image)))
    largest: Array = np.array(products).max(0)
    return largest


class ReferenceBackend:
    """The oracle as a backend."""

    name = "reference"
    api_version = 1
    array_types = ("numpy:ndarray",)

    def unavailable_reason(self) -> str | None:
        """None: it needs nothing."""
        return None

    def cannot_run(self, spec: PoolSpec) -> str | None:
        """None: it defines them all."""
        return None

    @np.errstate(all="ignore")  # inf and NaN are results here
    def roi_align(self, features: Array, rois: Array, spec: PoolSpec, out: Array | None) -> Array:
        """Pool ``features`` under ``rois``."""
        maps = _channels_first(features, spec).astype(np.float64)
        result = np.zeros((len(rois), maps.shape[1], *spec.output_size))
        read = largest_product if spec.mode == "max_weighted" else interpolated
        rois = rois if result.size else rois[:0]  # sections may be too many to go through for none
        for section in sections(rois, spec, *maps.shape[2:]):
            values = np.array(
                [read(maps[section.image], y.cells, x.cells) for y, x in section.points]
            )
            reduced = values.sum(0) / section.samples if spec.mode == "avg" else values.max(0)
            result[section.box, :, section.row, section.col] = reduced
        return _delivered(_channels_placed(result, spec), features.dtype, out)

    @np.errstate(all="ignore")
    def roi_align_backward(
        self,
        grad_output: Array,
        rois: Array,
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
        *,
        features: Array | None,
        wrt: tuple[str, ...],
        out: Array | None,
    ) -> tuple[Array, ...]:
        """Gradients by the features and by the boxes ``[x1, y1, x2, y2]``."""
        grads = _channels_first(grad_output, spec).astype(np.float64)
        by_map = _channels_first(np.zeros(input_shape), spec)
        by_box = np.zeros((len(rois), 4))
        maps = None if features is None else _channels_first(features, spec).astype(np.float64)
        rois = rois if grads.size else rois[:0]
        for section in sections(rois, spec, *by_map.shape[2:]):
            image = None if maps is None else maps[section.image]
            grad = grads[section.box, :, section.row, section.col]
            for (y, x), channels, share in _shares(section, image, grad, spec.mode):
                for row, wy in y.cells:
                    for col, wx in x.cells:
                        by_map[section.image, channels, row, col] += wy * wx * share
                if "rois" in wrt:
                    assert image is not None
                    by_x = interpolated(image[channels], y.cells, x.slope) @ share
                    by_y = interpolated(image[channels], y.slope, x.cells) @ share
                    by_box[section.box] += (
                        by_x * x.by_near,
                        by_y * y.by_near,
                        by_x * x.by_far,
                        by_y * y.by_far,
                    )
        results = {
            "features": (_channels_placed(by_map, spec), grad_output.dtype),
            "rois": (by_box, rois.dtype),
        }
        return tuple(_delivered(*results[name], out) for name in wrt)

    def roi_pool(self, features: Array, rois: Array, spec: PoolSpec, out: Array) -> Array:
        """Pool ``features`` under ``rois`` rounded to whole cells."""
        out[...] = _channels_placed(roi_pool(_channels_first(features, spec), rois, spec), spec)
        return out


def _shares(
    section: Section, image: Array | None, grad: Array, mode: str
) -> Iterator[tuple[tuple[Sample, Sample], Array, Array]]:
    """Give each point of a section, the channels it serves and its share of their gradient."""
    if mode == "avg":
        for point in section.points:
            yield point, np.arange(len(grad)), grad / section.samples
        return
    assert image is not None
    values = np.array([interpolated(image, y.cells, x.cells) for y, x in section.points])
    chosen = values.argmax(0)  # the first of equals, and the first NaN before any number
    for n in np.unique(chosen):
        channels = np.flatnonzero(chosen == n)
        yield section.points[n], channels, grad[channels]


def _channels_first(array: Array, spec: PoolSpec) -> Array:
    return array if spec.layout == "NCHW" else np.moveaxis(array, -1, 1)


def _channels_placed(array: Array, spec: PoolSpec) -> Array:
    return array if spec.layout == "NCHW" else np.moveaxis(array, 1, -1)


def _delivered(result: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """Give a float64 result the type that the caller expects."""
    if out is None:
        return result.astype(dtype.newbyteorder("="), order="C")
    out[...] = result
    return out


BACKEND = ReferenceBackend()
