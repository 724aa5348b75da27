"""One box under several conventions, and under the RoI Pooling that they replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._api import roi_pool
from .._rois import normalise_rois
from ..backends.reference_roi_pool import box_cells, section_cells
from ..conventions import CONVENTIONS, Convention, find_convention
from .explanation import Explanation
from .numbers import explain

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .drawing import Box

_TYPE_SIZE = 8.5
_GAP = 0.08  # cells


def compare_conventions(
    features: Any,
    rois: Any,
    output_size: int | tuple[int, int],
    *,
    conventions: tuple[str | Convention, ...] = ("document", "torchvision", "detectron2"),
    roi: int = 0,
    channel: int = 0,
    coordinates: str = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: str | None = None,
    layout: str = "NCHW",
    figure: Figure | None = None,
) -> Figure:
    """Draw what one box reads and gives under several conventions, and under RoI Pooling.

    Parameters
    ----------
    features, rois, output_size
        As for `roi_align`; NumPy arrays only.
    conventions : tuple of str or Convention, default ("document", "torchvision", "detectron2")
        What to compare, from left to right; RoI Pooling (`roi_pool`) comes last.
    roi, channel, coordinates
        As for `explain`.
    spatial_scale, sampling_ratio, mode, layout
        As for `roi_align`, for all of the conventions.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        Above, the map with the box as it is given (dashed), its sections and its points; below,
        the output, in the colours of the map.

    Raises
    ------
    ValueError, TypeError
        As `explain`; also if ``conventions`` is empty.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.random.default_rng(0).random((1, 1, 8, 8))
    >>> figure = ra.compare_conventions(features, [[0, 1.2, 1.4, 6.3, 5.8]], 2)
    >>> [axes.get_title() for axes in figure.axes[::2]]
    ['document: max of 1 x 1', ...]
    """
    from . import drawing

    if isinstance(conventions, str | Convention) or not isinstance(conventions, Iterable):
        raise TypeError(f"conventions must be a tuple of names or Conventions, got {conventions!r}")
    conventions = tuple(conventions)
    if not conventions:
        raise ValueError("conventions must name one or more, got none")
    for convention in conventions:
        find_convention(convention, "conventions")
    made = [
        explain(
            features,
            rois,
            output_size,
            roi=roi,
            channel=channel,
            coordinates=coordinates,
            convention=convention,
            spatial_scale=spatial_scale,
            sampling_ratio=sampling_ratio,
            mode=mode,
            layout=layout,
        )
        for convention in conventions
    ]
    first = made[0]
    # RoI Pooling of this box and channel alone.
    box = normalise_rois(rois, first.spec.feature_shape(np.shape(features))[0])[roi]
    cells = first.map[np.newaxis, np.newaxis]
    alone = np.concatenate([[box.dtype.type(0)], box[1:]])[np.newaxis]
    pooled = roi_pool(
        cells, alone, first.output.shape, spatial_scale=spatial_scale, backend="reference"
    )[0, 0]
    given = _box_as_given(box, first)
    panels = [(_title(*pair), pair[1].output) for pair in zip(conventions, made, strict=True)]
    _, x1, y1, x2, y2 = box
    (_, across), (_, down) = box_cells(x1, x2, spatial_scale), box_cells(y1, y2, spatial_scale)
    panels.append((f"RoI Pooling: {across} x {down} whole cells", pooled))

    if figure is None:
        figure = drawing.new_figure((3.3 * len(panels), 6.0))
    grid = figure.add_gridspec(
        2,
        len(panels),
        height_ratios=(1.5, 1),
        left=0.06,
        right=0.985,
        bottom=0.08,
        top=0.94,
        wspace=0.16,
        hspace=0.22,
    )
    shades = drawing.shades_of(first)
    limits = drawing.view(first, given, *(it.box for it in made))
    for column, (title, output) in enumerate(panels):
        upper, lower = (figure.add_subplot(grid[row, column]) for row in (0, 1))
        drawing.draw_cells(upper, first, shades, limits, _TYPE_SIZE)
        if column < len(made):
            drawing.draw_box(upper, made[column], None, markersize=5)
        else:
            sections = _whole_cells(box, first)
            drawing.draw_sections(upper, first, sections, drawing.ACCENT, linewidth=1.8)
        drawing.draw_rectangle(
            upper, first, given, "white", linewidth=1.6, linestyle="--", zorder=4, outlined=True
        )
        upper.set_title(title, fontsize=_TYPE_SIZE * 1.15, color=drawing.INK)
        drawing.draw_values(lower, first, output, shades, _TYPE_SIZE)
        if column:
            upper.set_ylabel("")
            lower.set_ylabel("")
    return figure


def _title(convention: str | Convention, it: Explanation) -> str:
    name = convention
    if isinstance(convention, Convention):  # of one without a name, what differs most
        names = (name for name, known in CONVENTIONS.items() if known == convention)
        name = next(names, f"offset {convention.pixel_offset:g}, {convention.sampling}")
    gy, gx = it.values.shape[2:]
    return f"{name}: {it.spec.mode} of {gy} x {gx}"


def _box_as_given(box: NDArray[np.floating], it: Explanation) -> Box:
    """Scaled, with the centre of cell 0 at 0.5."""
    x1, y1, x2, y2 = (float(side) * it.spec.spatial_scale for side in box[1:])
    return _placed(x1, y1, x2 - x1, y2 - y1, it)


def _placed(x: float, y: float, width: float, height: float, it: Explanation) -> Box:
    """In the explanation's coordinates: from those with y down and cell 0 in 0 .. 1."""
    if it.coordinates == "document":
        return x, it.map.shape[0] - y, width, height
    return x - 0.5, y - 0.5, width, height


def _whole_cells(box: NDArray[np.floating], it: Explanation) -> list[Box]:
    """Each section of RoI Pooling, a little smaller, so that those that overlap can be told."""
    _, x1, y1, x2, y2 = box
    (rows, cols), (height, width) = it.output.shape, it.map.shape
    scale = it.spec.spatial_scale
    return [
        _placed(
            across.start + _GAP, down.start + _GAP, len(across) - 2 * _GAP, len(down) - 2 * _GAP, it
        )
        for down in section_cells(y1, y2, rows, height, scale)
        for across in section_cells(x1, x2, cols, width, scale)
        if down and across
    ]
