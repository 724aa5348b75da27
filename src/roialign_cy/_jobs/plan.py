"""Which boxes are pooled together, so that what a step reads and writes stays within a budget."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._core import taps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._spec import CallSpec

FAULT_AROUND_BYTES = 64 << 10
"""Linux maps up to this much beside a page that is read of a memory-mapped file."""
CHANNEL_BLOCK = 16
"""Channels that the core works on at a time: fewer cost nearly as much."""
LARGEST_SHARE = 4
"""Where channels have to be split, the largest box takes at most this part of the budget, so that
boxes which overlap are still read together."""


class Span(NamedTuple):
    """Rows of a map, the one at the bottom excluded."""

    image: int
    top: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Step:
    """Boxes that are pooled in one call.

    Attributes
    ----------
    boxes : ndarray of int
        Which ones: rows of the job's boxes, ascending.
    first_image, last_image : int
        The images that they are on, the last one excluded.
    channels : slice
        The channels that they are pooled from.
    spans : tuple of Span
        The rows of the maps that they read, and those between.
    file : int
        Which of the job's files the maps are in.
    """

    boxes: NDArray[np.intp]
    first_image: int
    last_image: int
    channels: slice
    spans: tuple[Span, ...]
    file: int = 0


@dataclass(frozen=True)
class Plan:
    """The steps on the maps of one file: a sequence.

    Attributes
    ----------
    rois : ndarray of shape (K, 5)
        All boxes on these maps, checked.
    shape : (int, int, int, int)
        Of the maps: (N, C, H, W).
    itemsize : int
        Bytes of a value.
    spec : CallSpec
    budget_bytes : int
        What a step may read, and write; it takes at least one box and channel (all channels, with
        ``layout="NHWC"``).
    copies : bool
        Whether a step copies what it reads.
    file : int
        Which of the job's files the maps are in.
    chosen : ndarray of int, optional
        Which of the job's boxes ``rois`` are, ascending; by default all of them.
    """

    rois: NDArray[np.floating]
    shape: tuple[int, int, int, int]
    itemsize: int
    spec: CallSpec
    budget_bytes: int
    copies: bool
    file: int = 0
    chosen: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return (len(self._cuts) - 1) * len(self._channels)

    def __getitem__(self, index: int) -> Step:
        """Steps of the same boxes follow each other, block by block of channels."""
        group, block = divmod(range(len(self))[index], len(self._channels))
        first, last = self._cuts[group : group + 2]
        channels = self._channels[block]
        spans = tuple(self._spans(first, last))
        boxes = np.sort(self._order[first:last])
        return Step(
            boxes=boxes if self.chosen is None else self.chosen[boxes],
            first_image=spans[0].image,
            last_image=spans[-1].image + 1,
            channels=slice(channels.start, channels.stop),
            spans=spans,
            file=self.file,
        )

    def cost(self, index: int) -> int:
        """How many values a step computes."""
        group, block = divmod(index, len(self._channels))
        first, last = self._cuts[group : group + 2]
        return (last - first) * len(self._channels[block]) * math.prod(self.spec.output_size)

    @cached_property
    def _rows(self) -> NDArray[np.intp]:
        """First and last row (excluded) of the map that each box reads; 0, 0 if it reads none."""
        rows = np.empty((len(self.rois), 2), np.intp)
        taps.rows_read(self.rois, *self.shape[2:], self.spec, rows)
        return rows

    @cached_property
    def _images(self) -> NDArray[np.intp]:
        """The image that each box is on."""
        return self.rois[:, 0].astype(np.intp)

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """The boxes, image by image and from top to bottom in each."""
        return np.lexsort((self._rows[:, 0], self._images))

    def _in_order(self, first: int, last: int) -> Iterator[Span]:
        """What a consecutive part of the ordered boxes reads."""
        chosen = self._order[first:last]
        columns = (self._images, *self._rows.T)
        return map(Span, *(column[chosen].tolist() for column in columns))

    def _spans(self, first: int, last: int) -> Iterator[Span]:
        """The same, with those that touch or overlap merged."""
        spans = self._in_order(first, last)
        span = next(spans)
        for box in spans:
            joined = _joined(span, box)
            if joined is None:
                yield span
            span = joined or box
        yield span

    def _read_bytes(self, span: Span) -> int:
        """Memory that a span takes, for one channel (for all of them, in NHWC)."""
        _, channels, height, width = self.shape
        rows = span.bottom - span.top
        row = width * self.itemsize * (channels if self.spec.channels_last else 1)
        if self.copies:
            return 2 * rows * row  # the copy, and what it is copied from
        return min(rows * row + 2 * FAULT_AROUND_BYTES, height * row)

    @cached_property
    def _channels(self) -> list[range]:
        """The blocks of channels that steps pool: one block of all channels if that fits."""
        channels = self.shape[1]
        if self.spec.channels_last or 0 in (len(self.rois), channels):
            return [range(channels)]
        largest = max(map(self._read_bytes, self._in_order(0, len(self.rois))))
        fits = self.budget_bytes // 2 // max(largest, self._section_bytes)
        if fits < channels:
            fits = max(fits // LARGEST_SHARE, 1)
            fits -= fits % CHANNEL_BLOCK if fits > CHANNEL_BLOCK else 0
        return [range(first, min(first + fits, channels)) for first in range(0, channels, fits)]

    @cached_property
    def _section_bytes(self) -> int:
        """Memory that the sections of a box take, of one channel."""
        rows, cols = self.spec.output_size
        return rows * cols * self.itemsize

    @cached_property
    def _cuts(self) -> list[int]:
        """Where in the order each step's boxes begin, and the end of the last."""
        if 0 in (len(self.rois), self.shape[1]):
            return [0]
        channels = self._channels[0].stop
        planes = 1 if self.spec.channels_last else channels
        most_read = self.budget_bytes // 2 // planes
        most_boxes = max(self.budget_bytes // 2 // (channels * self._section_bytes), 1)
        cuts: list[int] = []
        last: Span | None = None
        read = 0
        for k, box in enumerate(self._in_order(0, len(self.rois))):
            joined = _joined(last, box)
            grown = read + self._read_bytes(joined or box)
            if last and joined:
                grown -= self._read_bytes(last)
            is_full = grown > most_read or (cuts and k - cuts[-1] == most_boxes)
            is_elsewhere = self.copies and last and last.image != box.image
            if not cuts or is_full or is_elsewhere:
                cuts.append(k)
                joined, grown = None, self._read_bytes(box)
            last, read = joined or box, grown
        return [*cuts, len(self.rois)]


class Steps:
    """The steps of a job, on the maps of one file after the other: a sequence.

    Parameters
    ----------
    plan_of : callable
        Gives the plan of a file. It is asked again, since there can be a hundred thousand
        photographs.
    num_files : int
    """

    def __init__(self, plan_of: Callable[[int], Plan], num_files: int) -> None:
        self._plan_of = lru_cache(maxsize=1)(plan_of)
        self._ends = list(accumulate(len(plan_of(file)) for file in range(num_files)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Step:
        plan, within = self._find(index)
        return plan[within]

    def cost(self, index: int) -> int:
        """How many values a step computes."""
        plan, within = self._find(index)
        return plan.cost(within)

    def _find(self, index: int) -> tuple[Plan, int]:
        """The plan that a step is of, and its place there."""
        file = bisect_right(self._ends, index)
        plan = self._plan_of(file)
        return plan, index - (self._ends[file] - len(plan))


def _joined(span: Span | None, box: Span) -> Span | None:
    """Both as one span; None if they are apart."""
    if span is None or span.image != box.image or box.top > span.bottom:
        return None
    return Span(span.image, span.top, max(span.bottom, box.bottom))
