"""Whether boxes look like a mistake, though `roi_align` would pool them without a warning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._choices import require_choice
from ._rois import normalise_rois
from ._spec import LAYOUTS, make_scale, make_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .typing import Boxes, Layout, Shape

NEARLY_ALL = 0.95
"""Share of the boxes that must look like another format before a hint says so."""

SUSPICIOUSLY_MANY = 0.2
"""Share of reversed boxes beyond which they are probably boxes of another format."""

BOXES_AT_A_TIME = 1 << 16
"""Bounds the memory for intermediate results."""

MOST_CHANNELS = 4
"""Cells along a side that are few enough to be channels, next to a side eight times as long."""


@dataclass(frozen=True, repr=False)
class BoxCheck:
    """What `check` found: counts of boxes, and in words what they suggest.

    Attributes
    ----------
    total : int
        All boxes.
    not_finite : int
        With a NaN or an infinity; `roi_align` refuses them.
    without_image : int
        Whose first column is not the index of an image; `roi_align` refuses them.
    outside : int
        More than a cell outside the map, so that they pool to zeros under every named convention.
    reversed : int
        With x2 < x1 or y2 < y1.
    below_one_cell : int
        Narrower or lower than a cell of the map, and not reversed.
    like_normalised : int
        With all corners from 0 to 1.
    like_xywh : int
        That lie inside the map if read as ``[x, y, width, height]``.
    like_xxyy : int
        That lie inside the map, the right way round, if read as ``[x1, x2, y1, y2]``.
    like_index_last : int
        Whose last column could be the index of an image, though the first is none.
    map_like_other_layout : bool
        Whether the map is so narrow that its columns (rows) may be channels of the layout NHWC
        (NCHW).
    hints : tuple of str
        What is probably wrong, the likeliest first; empty where nothing is.
    """

    total: int
    not_finite: int
    without_image: int
    outside: int
    reversed: int
    below_one_cell: int
    like_normalised: int
    like_xywh: int
    like_xxyy: int
    like_index_last: int
    map_like_other_layout: bool
    hints: tuple[str, ...]

    def __repr__(self) -> str:
        counts = [("outside the map", self.outside), ("reversed", self.reversed)]
        counts += [("below one cell", self.below_one_cell), ("not finite", self.not_finite)]
        counts += [("without an image", self.without_image)]
        lines = [f"{number:,} {what}" for what, number in counts if number]
        lines = [f"{self.total:,} boxes: {', '.join(lines) or 'none stands out'}"]
        return "\n".join([*lines, *(f"- {hint}" for hint in self.hints)])


def check(
    rois: Boxes,
    shape: Shape,
    spatial_scale: float = 1.0,
    *,
    layout: Layout = "NCHW",
) -> BoxCheck:
    """Look for what is probably a mistake in boxes, and say what it probably is.

    `roi_align` takes any finite box: one in pixels where cells are meant, or given by corner and
    size, pools to zeros, or to something else than was meant. This is for before, or for when
    results look odd.

    Parameters
    ----------
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        Boxes, as for `roi_align`; it looks at those, too, that `roi_align` refuses.
    shape : (int, int, int, int)
        Shape of the features, in the given layout.
    spatial_scale : float, default 1.0
        Cells per input unit, as for `roi_align`.
    layout : {"NCHW", "NHWC"}, default "NCHW"
        Axes of ``shape``.

    Returns
    -------
    BoxCheck
        Counts of boxes, and hints in words.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    Boxes in pixels, on a map with a cell for every 16 of them:

    >>> from roialign_cy import boxes
    >>> rois = [[0, 320, 64, 480, 256], [0, 32, 16, 64, 48], [0, 600, 40, 640, 440]]
    >>> found = boxes.check(rois, (1, 256, 30, 40))
    >>> found.outside
    2
    >>> found
    3 boxes: 2 outside the map
    - 2 of 3 boxes are outside the map of 30 x 40 cells and pool to zeros: is spatial_scale, 1, \
rather 1/16?
    >>> boxes.check(rois, (1, 256, 30, 40), 1 / 16)
    3 boxes: none stands out
    """
    require_choice("layout", layout, LAYOUTS)
    scale = make_scale(spatial_scale)
    images, *sizes = make_shape(shape, 1, "shape")
    height, width = sizes[1:] if layout == "NCHW" else sizes[:2]
    rows = normalise_rois(rois, images)
    short, long = (width, height) if layout == "NCHW" else (height, width)
    counts: Counter[str] = Counter()
    reaches = []
    for first in range(0, max(len(rows), 1), BOXES_AT_A_TIME):
        batch = rows[first : first + BOXES_AT_A_TIME].astype(np.float64)
        numbers, reach = _count(batch, images, (height, width), scale)
        counts.update(numbers)
        reaches.append(reach)
    found = BoxCheck(
        total=len(rows),
        map_like_other_layout=0 < short <= MOST_CHANNELS and long >= 8 * short,
        hints=(),
        **counts,
    )
    # How many times as large the map would have to be for almost all boxes.
    larger = float(np.quantile(np.concatenate(reaches), 0.99)) if found.outside else 0.0
    return replace(found, hints=tuple(_hints(found, (height, width), scale, larger, layout)))


@np.errstate(all="ignore")
def _count(
    rows: NDArray[np.float64], images: int, size: tuple[int, int], scale: float
) -> tuple[dict[str, int], NDArray[np.float64]]:
    """The counts of `BoxCheck`, and how far each box reaches: 1 is the far side of the map."""
    height, width = size
    finite = np.isfinite(rows[:, 1:]).all(axis=1)
    has_image = _is_index(rows[:, 0], images)
    boxes = rows[finite, 1:]
    x1, y1, x2, y2 = (boxes * scale).T
    is_reversed = (x2 < x1) | (y2 < y1)
    found = {
        "not_finite": ~finite,
        "without_image": ~has_image,
        "outside": _is_outside(x1, x2, width) | _is_outside(y1, y2, height),
        "reversed": is_reversed,
        "below_one_cell": ~is_reversed & ((x2 - x1 < 1) | (y2 - y1 < 1)),
        "like_normalised": ((boxes >= 0) & (boxes <= 1)).all(axis=1),
        "like_xywh": _is_inside(x1, x1 + x2, width) & _is_inside(y1, y1 + y2, height),
        "like_xxyy": _is_inside(x1, y1, width) & _is_inside(x2, y2, height),
        "like_index_last": ~has_image & _is_index(rows[:, 4], images),
    }
    reach = np.maximum(x2 / max(width, 1), y2 / max(height, 1))
    return {name: int(np.count_nonzero(those)) for name, those in found.items()}, reach


def _is_index(values: Any, images: int) -> Any:
    return (values >= 0) & (values < images) & (np.floor(values) == values)


def _is_outside(near: Any, far: Any, side: int) -> Any:
    """More than a cell beyond the map, where even one widened to a cell has samples of 0 alone."""
    return (np.minimum(near, far) > side + 1) | (np.maximum(far, near + 1) < -1)


def _is_inside(near: Any, far: Any, side: int) -> Any:
    """In the map but for a cell, which may be rounding, and the right way round."""
    return (near >= -1) & (near <= far) & (far <= side + 1)


def _hints(
    found: BoxCheck, size: tuple[int, int], scale: float, larger: float, layout: Layout
) -> Iterator[str]:
    finite = found.total - found.not_finite
    nearly_all = max(NEARLY_ALL * finite, 1)
    cells = f"{size[0]} x {size[1]} cells"

    if found.like_index_last >= max(NEARLY_ALL * found.total, 1):
        yield (
            "the index of the image looks to be the last column; it is the first: "
            "rois[:, [4, 0, 1, 2, 3]]"
        )
        return  # what the other columns look like is of no use then
    if found.not_finite or found.without_image:
        yield (
            f"roi_align refuses {found.not_finite:,} that are not finite and "
            f"{found.without_image:,} without the index of an image"
        )
    if found.map_like_other_layout:
        other = "NHWC" if layout == "NCHW" else "NCHW"
        yield f"a map of {cells} looks like one whose channels are elsewhere: layout={other!r}"
    is_normalised = found.like_normalised >= nearly_all and max(size) > 2 * scale
    if is_normalised:
        yield "boxes look normalised, from 0 to 1: boxes.from_normalised"
    if found.reversed > SUSPICIOUSLY_MANY * finite:
        forms = []
        if found.like_xywh >= nearly_all:
            forms.append("x, y, width, height (boxes.from_xywh)")
        if found.like_xxyy >= nearly_all:
            forms.append("x1, x2, y1, y2 (rois[:, [0, 1, 3, 2, 4]])")
        if forms:
            yield "boxes look like " + " or ".join(forms)
    if found.reversed:
        yield f"{found.reversed:,} of {found.total:,} boxes are reversed: x2 < x1 or y2 < y1"
    if found.outside:
        text = (
            f"{found.outside:,} of {found.total:,} boxes are outside the map of {cells} and pool "
            "to zeros"
        )
        if 1.5 < larger < 1e6 and min(size) > 0 and not found.map_like_other_layout:
            smaller = scale / 2 ** max(round(math.log2(larger)), 1)
            text += f": is spatial_scale, {_in_words(scale)}, rather {_in_words(smaller)}?"
        yield text
    if found.below_one_cell > finite / 2 and not is_normalised:
        yield (
            f"{found.below_one_cell:,} of {found.total:,} boxes are narrower or lower than a cell: "
            f"is spatial_scale, {_in_words(scale)}, too small?"
        )


def _in_words(scale: float) -> str:
    """1/16 and its like, as such."""
    inverse = round(1 / scale) if scale < 1 else 1
    return f"1/{inverse}" if inverse > 1 and inverse * scale == 1 else f"{scale:.4g}"
