"""The picture of ``roialign demo``: from a photograph through its map to nine values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .. import demo
from .._explain import Explanation, drawing
from .._explain.plot import arithmetic, draw_map

FOCUS = (0, 0)
"""Row and column of the section that is followed through the panels, with its point (1, 0)."""
FOCUS_POINT = (1, 0)

# Inches. READMEs show the picture at about half its size: hence the large type.
_SIZE = (16.0, 6.8)
_TITLE, _TEXT = 17, 15


def save_picture(path: Path, photograph: NDArray[np.uint8], explanation: Explanation) -> None:
    """Draw the steps of RoI Align and save them in the format of the path's suffix.

    Parameters
    ----------
    path : Path
    photograph : ndarray of shape (512, 512, 3)
    explanation : Explanation
        Of the document's box on the photograph's map.
    """
    figure = drawing.new_figure(_SIZE)
    left = _axes(figure, (0.95, 0.95, 5.2, 5.2))
    middle = _axes(figure, (7.0, 0.95, 5.6, 5.2))
    right = _axes(figure, (13.35, 3.75, 2.4, 2.4))
    shades = drawing.shades_of(explanation)
    _draw_photograph(left, photograph, explanation)
    draw_map(middle, explanation, FOCUS, FOCUS_POINT, shades, _TEXT)
    drawing.draw_output(right, explanation, FOCUS, shades, _TEXT)
    channel = demo.CHANNELS[explanation.channel]
    for axes, title in (
        (left, "1  Photograph, with the cells of its map"),
        (middle, f"2  Feature map ({channel})"),
        (right, "3  Output: the max"),
    ):
        axes.set_title(title, fontsize=_TITLE, color=drawing.INK, loc="left", pad=12)
    figure.text(
        13.05 / _SIZE[0],
        0.6 / _SIZE[1],
        arithmetic(explanation, FOCUS, FOCUS_POINT, terms_in_line=1),
        fontsize=_TEXT,
        color=drawing.INK,
        linespacing=1.35,
    )
    figure.savefig(path)


def _axes(figure: Figure, inches: tuple[float, float, float, float]) -> Axes:
    left, bottom, width, height = inches
    return figure.add_axes(
        (left / _SIZE[0], bottom / _SIZE[1], width / _SIZE[0], height / _SIZE[1])
    )


def _draw_photograph(axes: Axes, photograph: NDArray[np.uint8], explanation: Explanation) -> None:
    size, cell = demo.IMAGE_SIZE, demo.SUB_SAMPLING
    axes.imshow(photograph, extent=(0, size, 0, size))
    for edge in range(cell, size, cell):
        axes.axhline(edge, color="white", linewidth=0.7, alpha=0.5)
        axes.axvline(edge, color="white", linewidth=0.7, alpha=0.5)
    axes.set_xticks(range(0, size + 1, 128))
    axes.set_yticks(range(0, size + 1, 128))
    axes.tick_params(labelsize=_TEXT, color=drawing.INK, labelcolor=drawing.INK)
    drawing.name_axes(axes, explanation, "pixels", _TEXT)
    drawing.draw_box(axes, explanation, FOCUS, scale=cell, markersize=5)
