"""One box under several conventions, among them the RoI Pooling that the others replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._rois import normalise_rois
from ..conventions import CONVENTIONS, MODE_OF_SAMPLING, Convention, find_convention
from .explanation import Explanation
from .numbers import explain

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..typing import Boxes, ConventionName, Coordinates, Layout, Mode
    from .drawing import Box

_TYPE_SIZE = 8.5


def compare_conventions(
    features: NDArray[Any],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    conventions: tuple[ConventionName | Convention, ...] = (
        "document",
        "torchvision",
        "detectron2",
    ),
    roi: int = 0,
    channel: int = 0,
    coordinates: Coordinates = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    figure: Figure | None = None,
) -> Figure:
    """Draw what one box reads and gives under several conventions, and under RoI Pooling.

    Parameters
    ----------
    features, rois, output_size
        As for `roi_align`; NumPy arrays only.
    conventions : tuple of str or Convention, default ("document", "torchvision", "detectron2")
        What to compare, from left to right; "roi_pool" comes last, if it is not named.
    roi, channel, coordinates
        As for `explain`.
    spatial_scale, sampling_ratio, mode, layout
        As for `roi_align`, for all of the conventions that leave ratio and mode open.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not track.

    Returns
    -------
    matplotlib.figure.Figure
        Above, the map with the box as given (dashed) and as the convention reads it, with
        its sections and the points or whole cells that they read; below, the output, in the
        colours of the map.

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
    ['document: max of 1 x 1 points', ...]
    """
    from . import drawing

    if isinstance(conventions, str | Convention) or not isinstance(conventions, Iterable):
        raise TypeError(f"conventions must be a tuple of names or Conventions, got {conventions!r}")
    conventions = tuple(conventions)
    if not conventions:
        raise ValueError("conventions must name one or more, got none")
    read = [find_convention(convention, "conventions") for convention in conventions]
    if CONVENTIONS["roi_pool"] not in read:
        conventions = *conventions, "roi_pool"
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
            sampling_ratio=None if _is_settled(convention) else sampling_ratio,
            mode=None if _is_settled(convention) else mode,
            layout=layout,
        )
        for convention in conventions
    ]
    first = made[0]
    box = normalise_rois(rois, len(features))[roi]
    given = _box_as_given(box, first)

    if figure is None:
        figure = drawing.new_figure((3.3 * len(made), 6.0))
    grid = figure.add_gridspec(
        2,
        len(made),
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
    for column, (convention, it) in enumerate(zip(conventions, made, strict=True)):
        upper, lower = (figure.add_subplot(grid[row, column]) for row in (0, 1))
        drawing.draw_cells(upper, it, shades, limits, _TYPE_SIZE)
        drawing.draw_box(upper, it, None, markersize=5)
        drawing.draw_rectangle(
            upper, it, given, "white", linewidth=1.6, linestyle="--", zorder=4, outlined=True
        )
        upper.set_title(_title(convention, it), fontsize=_TYPE_SIZE * 1.15, color=drawing.INK)
        drawing.draw_values(lower, it, it.output, shades, _TYPE_SIZE)
        if column:
            upper.set_ylabel("")
            lower.set_ylabel("")
    return figure


def _title(convention: ConventionName | Convention, it: Explanation) -> str:
    name: str | Convention = convention
    if isinstance(convention, Convention):  # of one without a name, what differs most
        names = (name for name, known in CONVENTIONS.items() if known == convention)
        name = next(names, f"offset {convention.pixel_offset:g}, {convention.sampling}")
    return f"{name}: {it.spec.mode} of {it.reads}"


def _is_settled(convention: ConventionName | Convention) -> bool:
    """Whether a convention has one mode, and nothing to count."""
    return find_convention(convention).sampling in MODE_OF_SAMPLING


def _box_as_given(box: NDArray[np.floating], it: Explanation) -> Box:
    x1, y1, x2, y2 = (float(side) * it.spec.spatial_scales[0] for side in box[1:])
    if it.coordinates == "document":
        return x1, it.map.shape[0] - y1, x2 - x1, y2 - y1
    return x1 - 0.5, y1 - 0.5, x2 - x1, y2 - y1
