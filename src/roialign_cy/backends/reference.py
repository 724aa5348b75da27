"""The definition of RoI Align, written down in float64: what every other backend is held to.

Slow and plain on purpose. It shares no code with the rest of the package, so that a mistake there
cannot hide here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .._spec import CallSpec

Array: TypeAlias = NDArray[Any]
Cells: TypeAlias = tuple[tuple[int, float], ...]  # (index along an axis, weight)

SMALLEST_FRACTION = 2.0**-126
"""Fractions of a cell below this count as zero. It is the smallest normal float32: a weight that
small could vanish in a backend that works in float32, and which cells are read, and so whether a
NaN is, must not depend on the working type."""


@dataclass(frozen=True)
class Axis(ABC):
    """One axis of one box, in cells of the map, and what a sampler reads along it.

    Attributes
    ----------
    start, extent : float
        Where the box begins, and how long it is; negative if it is reversed.
    sections : int
        How many it has.
    samples : int
        What the sum over a section is divided by for their mean.
    """

    start: float
    extent: float
    sections: int
    samples: int

    @property
    def section(self) -> float:
        """Extent of a section."""
        return self.extent / self.sections

    @abstractmethod
    def numbers(self, section: int, size: int) -> range:
        """Give the numbers of a section's samples on a map of that size."""

    def candidates(self, section: int, size: int) -> range:
        """Give some of them: all on the map and, if any are outside, one on each side."""
        return self.numbers(section, size)

    @abstractmethod
    def sample(self, section: int, i: int, size: int) -> Sample:
        """Give sample ``i`` of a section."""


@dataclass(frozen=True)
class PointAxis(Axis):
    """RoI Align: the map is interpolated at evenly spaced points.

    Attributes
    ----------
    interior, adaptive : bool
        How the points lie, and whether their number grows with the box.
    border : str
        What lies beyond the map.
    by_near, by_far : (float, float)
        What one input unit more of the box's near and far side adds to ``start`` and to
        ``extent``.
    """

    interior: bool
    adaptive: bool
    border: str
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

    def numbers(self, section: int, size: int) -> range:
        """Number the points of a section."""
        return range(self.samples)

    def candidates(self, section: int, size: int) -> range:
        """Leave out what is far outside."""
        if not self.adaptive or self.samples == 0:
            return range(self.samples)
        # A huge box has a huge count. Its samples are about a cell apart, so that rounding
        # misplaces the ends of the map by less than two of them (up to 2**51 samples; calls
        # allow no more).
        begin = self.start + section * self.section
        first, last = (
            min(max((edge - begin) / self.section * self.samples + extra, 0), self.samples - 1)
            for edge, extra in ((-1, -3), (size, 3))
        )
        return range(int(first), int(last) + 1)

    def sample(self, section: int, i: int, size: int) -> Sample:
        """Interpolate at one of the points."""
        position, fraction = self.position(section, i), self.fraction(section, i)
        by_near, by_far = (
            tuple(
                (cell, weight * (start + fraction * extent))
                for cell, weight in slope(position, size, self.border)
            )
            for start, extent in (self.by_near, self.by_far)
        )
        return Sample(position, neighbours(position, size, self.border), by_near, by_far)


@dataclass(frozen=True)
class CellAxis(Axis):
    """RoI Pooling: all cells that a section touches, once its box was rounded to whole cells.

    Attributes
    ----------
    first : int
        The first cell of the box, which may be outside the map.
    number : type
        What the sections are computed in.
    """

    first: int
    number: type[np.floating[Any]]

    def numbers(self, section: int, size: int) -> range:
        """Number the cells of the map that a section touches."""
        # Rounding at every step to the type of the box, as elsewhere: a product that is nearly an
        # integer would else be cut elsewhere than by others, and take in another cell.
        number, largest = self.number, float(np.finfo(self.number).max)
        extent = number(min(self.extent, largest)) / number(self.sections)
        with np.errstate(all="ignore"):  # it is cut at the largest number
            begin, end = number(section) * extent, number(section + 1) * extent
        return range(
            min(max(self.first + math.floor(float(begin)), 0), size),
            min(max(self.first + math.ceil(min(float(end), largest)), 0), size),
        )

    def sample(self, section: int, i: int, size: int) -> Sample:
        """Take a cell as it is; its weight jumps, without a derivative."""
        return Sample(float(i), ((i, 1.0),), (), ())


@dataclass(frozen=True)
class IntegralAxis(Axis):
    """PrRoI Pooling: the mean of the interpolated map over a section, cell by cell.

    The map is zero outside. A cell's part of its interpolation is a hat: 1 at the cell's centre,
    falling to 0 at the two centres beside it.

    Attributes
    ----------
    scale : float
        Cells per input unit.
    """

    scale: float

    def ends(self, section: int) -> tuple[float, float]:
        """Where a section begins and ends."""
        return self.start + section * self.section, self.start + (section + 1) * self.section

    def is_between_cells(self, section: int) -> bool:
        """Whether the map is linear in a section, which may be as narrow as a point."""
        low, high = self.ends(section)
        return high <= math.floor(low) + 1

    def weight(self, section: int, cell: int) -> float:
        """Average the hat of a cell over a section."""
        low, high = self.ends(section)
        if self.is_between_cells(section):
            total = (low + high) / 2 - math.floor(low)  # of the upper of the two
            if cell <= low:
                total = 1 - total
        else:
            total = 0.0
            for left, right in (cell - 1, cell), (cell, cell + 1):
                a, b = max(low, left), min(high, right)
                if a < b:  # the trapezoid between them: no difference of integrals, which cancels
                    total += (b - a) * (1 - abs((a + b) / 2 - cell))
            total /= high - low
        return total if total >= SMALLEST_FRACTION else 0.0

    def numbers(self, section: int, size: int) -> range:
        """Number the cells of the map whose hats are not all outside a section."""
        if self.section <= 0:
            return range(0)
        low, high = (min(max(end, -2), size + 1) for end in self.ends(section))
        cells = range(max(math.floor(low), 0), min(math.ceil(high) + 1, size))
        read = [cell for cell in cells if self.weight(section, cell)]
        return range(read[0], read[-1] + 1) if read else range(0)

    def sample(self, section: int, i: int, size: int) -> Sample:
        """Weigh a cell."""
        low, high = self.ends(section)
        weight = self.weight(section, i)
        if self.is_between_cells(section):
            by_low = by_high = -0.5 if i <= low else 0.5
        else:
            by_low = (weight - max(1 - abs(low - i), 0)) / (high - low)
            by_high = (max(1 - abs(high - i), 0) - weight) / (high - low)
        before, after = section / self.sections, (section + 1) / self.sections
        by_near = by_low * (1 - before) + by_high * (1 - after)
        by_far = by_low * before + by_high * after
        return Sample(
            float(i), ((i, weight),), ((i, by_near * self.scale),), ((i, by_far * self.scale),)
        )


@dataclass(frozen=True)
class CornerAxis(Axis):
    """crop_and_resize: one point for each section, the first and the last on the box's sides.

    A point that is not between the centres of the outermost cells is outside.

    Attributes
    ----------
    end : float
        Where the box ends.
    is_nearest : bool
        Whether the nearest cell is taken, halves up, instead of interpolating.
    scale : float
        Cells per input unit.
    """

    end: float
    is_nearest: bool
    scale: float

    def numbers(self, section: int, size: int) -> range:
        """Number the one point of a section."""
        return range(1)

    def sample(self, section: int, i: int, size: int) -> Sample:
        """Interpolate there, or take the nearest cell."""
        last = self.sections - 1
        if last == 0:
            fraction, position = 0.5, 0.5 * self.start + 0.5 * self.end
        elif section == last:
            fraction, position = 1.0, self.end  # exactly, since it may be the border
        else:
            fraction, position = section / last, self.start + section * (self.extent / last)
        if not 0 <= position <= size - 1:
            return Sample(position, (), (), ())
        if self.is_nearest:
            cell = math.floor(position)
            cell += position - cell >= 0.5
            return Sample(float(cell), ((cell, 1.0),), (), ())
        by_near, by_far = (
            tuple((cell, weight * share * self.scale) for cell, weight in slope(position, size))
            for share in (1 - fraction, fraction)
        )
        return Sample(position, neighbours(position, size), by_near, by_far)


class Sample(NamedTuple):
    """A sample along one axis: what it reads, and how that changes.

    ``by_near`` and ``by_far`` are the derivatives of ``cells`` by the sides of the box, of a
    rotated one ``by_box`` those by each of its five numbers.
    """

    position: float
    cells: Cells
    by_near: Cells
    by_far: Cells
    by_box: tuple[Cells, ...] = ()


Point: TypeAlias = tuple[Sample, Sample]
"""Its samples along (rows, columns)."""


class Section(NamedTuple):
    """A section of a box: its place in the output and the points that are read for it."""

    box: int
    image: int
    row: int
    col: int
    points: list[tuple[Sample, Sample]]
    samples: float


@dataclass(frozen=True)
class RotatedBox:
    """A box that is turned about its centre, and where its samples lie.

    Attributes
    ----------
    y, x : float
        Its centre, in cells of the map.
    rows, cols : PointAxis
        Its sides before it is turned, counted from its centre.
    sine, cosine : float
        Of the angle that it is turned by, counter-clockwise.
    turn : float
        Radians by which one unit more of its angle turns it, counter-clockwise.
    scale : float
        Cells per input unit.
    border : str
        What lies beyond the map.
    """

    y: float
    x: float
    rows: PointAxis
    cols: PointAxis
    sine: float
    cosine: float
    turn: float
    scale: float
    border: str

    def point(self, section: tuple[int, int], i: int, j: int, size: tuple[int, int]) -> Point:
        """Interpolate at sample (i, j) of a section."""
        down, right = self.rows.position(section[0], i), self.cols.position(section[1], j)
        y = (down * self.cosine - right * self.sine) + self.y
        x = (down * self.sine + right * self.cosine) + self.x
        # A point is on the map as a whole, or not at all.
        is_on = bool(neighbours(y, size[0], self.border) and neighbours(x, size[1], self.border))
        far_down = self.rows.fraction(section[0], i) - 0.5
        far_right = self.cols.fraction(section[1], j) - 0.5
        tall, wide = far_down * self.rows.by_far[1], far_right * self.cols.by_far[1]
        moves_y = (
            *(0.0, self.scale, -wide * self.sine, tall * self.cosine),
            -(down * self.sine + right * self.cosine) * self.turn,
        )
        moves_x = (
            *(self.scale, 0.0, wide * self.cosine, tall * self.sine),
            (down * self.cosine - right * self.sine) * self.turn,
        )
        return (
            self._sample(y, size[0], moves_y, is_on),
            self._sample(x, size[1], moves_x, is_on),
        )

    def _sample(self, position: float, size: int, moves: tuple[float, ...], is_on: bool) -> Sample:
        if not is_on:
            return Sample(position, (), (), (), ((),) * len(moves))
        slopes = slope(position, size, self.border)
        # What has no slope is not read: it may be infinite.
        by_box = tuple(
            tuple((cell, by * move) for cell, by in slopes) if move else () for move in moves
        )
        return Sample(position, neighbours(position, size, self.border), (), (), by_box)

    def unturned(self) -> tuple[PointAxis, PointAxis]:
        """Return the axes (rows, columns) as they are before the box is turned."""
        return (
            replace(self.rows, start=self.y + self.rows.start),
            replace(self.cols, start=self.x + self.cols.start),
        )

    def candidates(self, section: tuple[int, int], size: tuple[int, int]) -> tuple[range, range]:
        """Number the rows and columns of a section's samples, without most that are far outside."""
        corners = [(y - self.y, x - self.x) for y in (-1, size[0]) for x in (-1, size[1])]
        down = [y * self.cosine + x * self.sine for y, x in corners]
        right = [x * self.cosine - y * self.sine for y, x in corners]
        return (
            _between(self.rows, section[0], min(down), max(down)),
            _between(self.cols, section[1], min(right), max(right)),
        )


def _between(axis: PointAxis, section: int, low: float, high: float) -> range:
    """Number the samples of a section between two places along a side, and some on either side."""
    if not axis.adaptive or axis.samples < 64:
        return range(axis.samples)
    # Rounding misplaces samples of a huge box, which are about a cell apart, by few cells.
    extra = 4 + 2.0**-45 * (abs(low) + abs(high) + axis.extent)
    begin = axis.start + section * axis.section
    first, last = (
        min(max((edge - begin) / axis.section * axis.samples, 0), axis.samples - 1)
        for edge in (low - extra, high + extra)
    )
    return range(int(first), int(last) + 1)


def rotated_box(roi: Array, spec: CallSpec) -> RotatedBox:
    """Read a box ``[batch_index, cx, cy, width, height, angle]``."""
    (scale,) = spec.spatial_scales
    _, x, y, width, height, angle = roi
    unmoved = replace(spec, sampling="centered", pixel_offset=0.0)
    sides = []
    for axis, side in enumerate((height, width)):
        side_axis = _exact_axis(side * 0, side, axis, unmoved)
        assert isinstance(side_axis, PointAxis)
        sides.append(replace(side_axis, start=-side_axis.extent / 2))
    turn = math.radians(1) if spec.angle == "degrees" else 1.0
    sine, cosine = _rotation(float(angle), spec.angle)
    if spec.clockwise:
        sine, turn = -sine, -turn
    rows, cols = sides
    return RotatedBox(
        y=float(y) * scale - spec.pixel_offset,
        x=float(x) * scale - spec.pixel_offset,
        rows=rows,
        cols=cols,
        sine=sine,
        cosine=cosine,
        turn=turn,
        scale=scale,
        border=spec.border,
    )


def _rotation(angle: float, unit: str) -> tuple[float, float]:
    """Sine and cosine of an angle; of quarter turns in degrees, exactly."""
    if unit == "radians":
        return math.sin(angle), math.cos(angle)
    angle = math.fmod(angle, 360.0)
    if angle % 90 == 0:
        return ((0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0))[int(angle // 90) % 4]
    return math.sin(math.radians(angle)), math.cos(math.radians(angle))


def rotated_sections(rois: Array, spec: CallSpec, height: int, width: int) -> Iterator[Section]:
    """Walk through the sections of rotated boxes as `sections` does."""
    for k, roi in enumerate(rois):
        box = rotated_box(roi, spec)
        count = float(box.rows.samples) * float(box.cols.samples)
        for row, col in np.ndindex(spec.output_size):
            points = []
            has_outside = False
            rows, cols = box.candidates((row, col), (height, width))
            for i in rows:
                for j in cols:
                    y, x = box.point((row, col), i, j, (height, width))
                    if not y.cells and has_outside:
                        continue
                    has_outside |= not y.cells
                    points.append((y, x))
            if points:
                yield Section(k, int(roi[0]), row, col, points, count)


def box_axes(roi: Array, spec: CallSpec) -> tuple[Axis, Axis]:
    """Return the axes (rows, columns) of a box ``[batch_index, x1, y1, x2, y2]``."""
    _, x1, y1, x2, y2 = roi
    make = _whole_axis if spec.sampling == "cells" else _exact_axis
    return make(y1, y2, 0, spec), make(x1, x2, 1, spec)


def _exact_axis(near: np.floating[Any], far: np.floating[Any], axis: int, spec: CallSpec) -> Axis:
    (scale,) = spec.spatial_scales
    start = float(near) * scale - spec.pixel_offset
    extent = float(far) * scale - spec.pixel_offset - start
    sections = spec.output_size[axis]
    if spec.sampling == "integral":
        return IntegralAxis(start, extent, sections, 1, scale)
    if spec.sampling in ("corners", "nearest"):
        end = float(far) * scale - spec.pixel_offset
        return CornerAxis(start, extent, sections, 1, end, spec.sampling == "nearest", scale)
    widened = False
    if spec.min_size is not None and extent < spec.min_size:
        extent, widened = spec.min_size, True
    ratio = spec.sampling_ratio[axis]
    return PointAxis(
        start=start,
        extent=extent,
        sections=sections,
        samples=ratio or adaptive_count(near, far, axis, spec),
        interior=spec.sampling == "interior",
        adaptive=ratio == 0,
        border=spec.border,
        by_near=(scale, 0.0 if widened else -scale),
        by_far=(0.0, 0.0 if widened else scale),
    )


def _whole_axis(near: np.floating[Any], far: np.floating[Any], axis: int, spec: CallSpec) -> Axis:
    number: type[np.floating[Any]] = type(near)
    first, last = (_rounded(float(side * number(spec.spatial_scales[0]))) for side in (near, far))
    sections = spec.output_size[axis]
    if sections > 2 ** (np.finfo(number).nmant + 1):
        number = np.float64  # that of the box cannot count them
    length = float(max(last - first + 1, 1))  # both ends belong to it
    return CellAxis(first - 0.5, length, sections, 1, first, number)


def _rounded(value: float) -> int:
    """Round to the nearest integer, halves away from 0."""
    whole = math.trunc(value)
    if abs(value - whole) >= 0.5:
        whole += 1 if value > 0 else -1
    return whole


def adaptive_count(near: np.floating[Any], far: np.floating[Any], axis: int, spec: CallSpec) -> int:
    """Count the samples per section that give about one per cell."""
    # Each step rounds to the type of the box, as elsewhere: where the quotient is nearly an
    # integer, another precision would give another count and so a visibly different result.
    number = type(near)
    scale, offset = number(spec.spatial_scales[0]), number(spec.pixel_offset)
    start = near * scale - offset
    extent = far * scale - offset - start
    if spec.min_size is not None:
        extent = max(extent, number(spec.min_size))
    return max(math.ceil(extent / number(spec.output_size[axis])), 0)


def neighbours(position: float, size: int, border: str = "clamp") -> Cells:
    """Find the cells of the map that a position is interpolated from; none outside."""
    if not -1 <= position <= size:
        return ()
    if border == "clamp":
        position = min(max(position, 0.0), size - 1.0)
    low = math.floor(position)
    fraction = position - low
    cells = [(low, 1.0 - fraction), (low + 1, fraction)]
    if fraction < SMALLEST_FRACTION:
        cells = [(low, 1.0)]
    return tuple((cell, weight) for cell, weight in cells if 0 <= cell < size)


def slope(position: float, size: int, border: str = "clamp") -> Cells:
    """Differentiate `neighbours`, from the right; nothing where it is clamped or outside."""
    if border == "clamp" and not 0 <= position < size - 1:
        return ()
    if not -1 < position < size:
        return ()
    low = math.floor(position)
    return tuple((cell, by) for cell, by in ((low, -1.0), (low + 1, 1.0)) if 0 <= cell < size)


def section_samples(axis: Axis, section: int, size: int) -> list[Sample]:
    """List the samples of a section in order, but only one of those outside the map.

    They are all alike: 0, without gradient. One is enough to take part in a maximum; it stands
    where the first of them does, which decides the ties.
    """
    samples = []
    has_outside = False
    for i in axis.candidates(section, size):
        sample = axis.sample(section, i, size)
        if not sample.cells and has_outside:
            continue
        has_outside |= not sample.cells
        samples.append(sample)
    return samples


def sections(rois: Array, spec: CallSpec, height: int, width: int) -> Iterator[Section]:
    """Walk through every section of every box, except those without samples."""
    if height == 0 or width == 0:
        return
    if spec.sampling == "rotated":
        yield from rotated_sections(rois, spec, height, width)
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
    api_version = 2
    array_types = ("numpy:ndarray",)
    takes_levels = True

    def unavailable_reason(self) -> str | None:
        """None: it needs nothing."""
        return None

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """None: it defines them all."""
        return None

    @np.errstate(all="ignore")  # inf and NaN are results here
    def roi_align(
        self,
        maps: tuple[Array, ...],
        rois: Array,
        levels: Array | None,
        spec: CallSpec,
        out: Array | None,
    ) -> Array:
        """Pool ``maps`` under ``rois``."""
        if levels is not None:
            channels = maps[0].shape[1]
            pooled = _zeros((len(rois), channels, *spec.output_size), spec, maps[0].dtype)
            for level, mine, alone in _one_by_one(levels, spec):
                pooled[mine] = self.roi_align((maps[level],), rois[mine], None, alone, None)
            return _delivered(pooled, maps[0].dtype, out)
        (features,) = (array.astype(np.float64) for array in maps)
        result = _zeros((len(rois), features.shape[1], *spec.output_size), spec)
        read = largest_product if spec.mode == "max_weighted" else interpolated
        rois = rois if result.size else rois[:0]  # sections may be too many to go through for none
        for section in sections(rois, spec, *features.shape[2:]):
            values = np.array(
                [read(features[section.image], y.cells, x.cells) for y, x in section.points]
            )
            reduced = values.sum(0) / section.samples if spec.mode == "avg" else values.max(0)
            result[section.box, :, section.row, section.col] = reduced
        return _delivered(result, maps[0].dtype, out)

    @np.errstate(all="ignore")
    def feature_gradient(
        self,
        grad_output: Array,
        rois: Array,
        levels: Array | None,
        shapes: tuple[tuple[int, int, int, int], ...],
        spec: CallSpec,
        features: tuple[Array, ...] | None,
        out: tuple[Array, ...] | None,
    ) -> tuple[Array, ...]:
        """Gradient with respect to the features."""
        if levels is not None:
            by_maps: list[Array] = []
            for level, mine, alone in _one_by_one(levels, spec):
                its_map = None if features is None else (features[level],)
                its_out = None if out is None else (out[level],)
                by_maps += self.feature_gradient(
                    grad_output[mine], rois[mine], None, (shapes[level],), alone, its_map, its_out
                )
            return tuple(by_maps)
        by_map = _zeros(shapes[0], spec)
        maps = None if features is None else features[0].astype(np.float64)
        points = _points(grad_output, rois, maps, by_map.shape, spec)
        for section, (y, x), channels, share in points:
            for row, wy in y.cells:
                for col, wx in x.cells:
                    by_map[section.image, channels, row, col] += wy * wx * share
        return (_delivered(by_map, grad_output.dtype, None if out is None else out[0]),)

    @np.errstate(all="ignore")
    def box_gradient(
        self,
        grad_output: Array,
        rois: Array,
        levels: Array | None,
        features: tuple[Array, ...],
        spec: CallSpec,
        out: Array | None,
    ) -> Array:
        """Gradient with respect to the boxes' numbers."""
        by_box = np.zeros((len(rois), spec.parameters))
        if levels is not None:
            for level, mine, alone in _one_by_one(levels, spec):
                by_box[mine] = self.box_gradient(
                    grad_output[mine], rois[mine], None, (features[level],), alone, None
                )
            return _delivered(by_box, rois.dtype, out)
        (maps,) = (array.astype(np.float64) for array in features)
        points = _points(grad_output, rois, maps, maps.shape, spec)
        for section, (y, x), channels, share in points:
            image = maps[section.image, channels]
            if spec.sampling == "rotated":
                by_box[section.box] += [
                    (interpolated(image, by_y, x.cells) + interpolated(image, y.cells, by_x))
                    @ share
                    for by_y, by_x in zip(y.by_box, x.by_box, strict=True)
                ]
                continue
            by_box[section.box] += [
                interpolated(image, *cells) @ share
                for cells in (
                    (y.cells, x.by_near),
                    (y.by_near, x.cells),
                    (y.cells, x.by_far),
                    (y.by_far, x.cells),
                )
            ]
        return _delivered(by_box, rois.dtype, out)


def _one_by_one(levels: Array, spec: CallSpec) -> Iterator[tuple[int, Array, CallSpec]]:
    """Walk through the maps: the number of each, its boxes, and the call for it alone."""
    for level, scale in enumerate(spec.spatial_scales):
        yield level, np.flatnonzero(levels == level), replace(spec, spatial_scales=(scale,))


def _points(
    grad_output: Array, rois: Array, maps: Array | None, shape: tuple[int, ...], spec: CallSpec
) -> Iterator[tuple[Section, tuple[Sample, Sample], Array, Array]]:
    """Walk through the points of every section as `_shares` gives them."""
    grads = grad_output.astype(np.float64)
    for section in sections(rois if grads.size else rois[:0], spec, *shape[2:]):
        image = None if maps is None else maps[section.image]
        grad = grads[section.box, :, section.row, section.col]
        for point, channels, share in _shares(section, image, grad, spec.mode):
            yield section, point, channels, share


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


def _zeros(shape: tuple[int, ...], spec: CallSpec, dtype: Any = np.float64) -> Array:
    """Zeros (N or K, C, rows, cols), in the memory order of the call's layout."""
    if not spec.channels_last:
        return np.zeros(shape, dtype)
    outer, channels, rows, cols = shape
    return np.zeros((outer, rows, cols, channels), dtype).transpose(0, 3, 1, 2)


def _delivered(result: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """Give a float64 result the type that the caller expects."""
    if out is None:
        return result.astype(dtype.newbyteorder("="))
    out[...] = result
    return out


BACKEND = ReferenceBackend()
