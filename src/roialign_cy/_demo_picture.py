"""The picture of ``roialign demo``: from a photograph through its map to nine values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from . import demo

CHANNEL = "red"
FOCUS = (1, 1)
"""Section (i, j) that is followed through the panels, with its third point, (1, 2)."""
FOCUS_POINT = 2

# Inches. READMEs show the picture at about half its size: hence the large type.
_SIZE = (16.0, 6.8)
_DPI = 100
_TITLE, _TEXT, _NUMBER = 17, 15, 20

_BOX = "#ffd43b"
_ACCENT = "#e8590c"
_INK = "#212529"
_COLOURS = colormaps["Blues_r"]
_OUTLINE = (withStroke(linewidth=3.5, foreground=_INK),)  # keeps white and yellow visible
_BOX_OUTLINE = (withStroke(linewidth=4.5, foreground=_INK),)
_VIEW_X, _VIEW_Y = (9.0, 16.0), (4.5, 11.0)  # the part of the map around the box


def save_picture(
    path: Path,
    photograph: NDArray[np.uint8],
    features: NDArray[Any],
    pooled: NDArray[Any],
) -> None:
    """Draw the steps of RoI Align and save them in the format of the path's suffix.

    Parameters
    ----------
    path : Path
    photograph : ndarray of shape (512, 512, 3)
    features : ndarray of shape (1, C, 16, 16)
    pooled : ndarray of shape (C, 3, 3)
    """
    channel = demo.CHANNELS.index(CHANNEL)
    cells, output = features[0, channel], pooled[channel]
    norm = Normalize(cells.min(), cells.max())

    # Without pyplot, so that a caller's figures and settings stay as they are.
    figure = Figure(figsize=_SIZE, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left = _axes(figure, (0.95, 0.85, 5.3, 5.3), "1  Photograph, with the cells of its map")
    middle = _axes(figure, (7.0, 0.85, 5.71, 5.3), f"2  Feature map ({CHANNEL})")
    right = _axes(figure, (13.35, 3.75, 2.4, 2.4), "3  Output: the max")
    _draw_photograph(left, photograph)
    _draw_map(middle, cells, norm)
    _draw_output(right, output, norm)
    figure.text(
        13.05 / _SIZE[0],
        0.85 / _SIZE[1],
        _arithmetic(cells),
        fontsize=_TEXT,
        color=_INK,
        linespacing=1.35,
    )
    figure.savefig(path)


def _axes(figure: Figure, inches: tuple[float, float, float, float], title: str) -> Axes:
    left, bottom, width, height = inches
    axes = figure.add_axes(
        (left / _SIZE[0], bottom / _SIZE[1], width / _SIZE[0], height / _SIZE[1])
    )
    axes.set_title(title, fontsize=_TITLE, color=_INK, loc="left", pad=12)
    axes.tick_params(labelsize=_TEXT, color=_INK, labelcolor=_INK)
    return axes


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=_TEXT, color=_INK)
    axes.set_ylabel(y, fontsize=_TEXT, color=_INK)


def _draw_photograph(axes: Axes, photograph: NDArray[np.uint8]) -> None:
    size, cell = demo.IMAGE_SIZE, demo.SUB_SAMPLING
    axes.imshow(photograph, extent=(0, size, 0, size))
    for edge in range(cell, size, cell):
        axes.axhline(edge, color="white", linewidth=0.7, alpha=0.5)
        axes.axvline(edge, color="white", linewidth=0.7, alpha=0.5)
    axes.set_xticks(range(0, size + 1, 128))
    axes.set_yticks(range(0, size + 1, 128))
    _name_axes(axes, "x, pixels →", "y, pixels →")
    _draw_box(axes, scale=cell, markersize=5)


def _draw_map(axes: Axes, cells: NDArray[Any], norm: Normalize) -> None:
    size = demo.MAP_SIZE
    axes.imshow(cells, extent=(0, size, 0, size), cmap=_COLOURS, norm=norm)
    axes.set_xlim(*_VIEW_X)
    axes.set_ylim(*_VIEW_Y)
    _draw_box(axes, scale=1, markersize=9)
    centres = np.arange(size) + 0.5
    x, y = map(np.ravel, np.meshgrid(centres, centres))
    axes.plot(x, y, "o", markersize=4, color="white", markeredgecolor=_INK, markeredgewidth=0.8)
    at = demo.section_points(*FOCUS)[FOCUS_POINT]
    for cell, _ in _cells_and_weights(at):
        arrow = axes.annotate(
            "",
            at,
            cell,
            arrowprops={
                "arrowstyle": "-|>",
                "color": "white",
                "linewidth": 2,
                "mutation_scale": 16,
                "shrinkA": 3,
                "shrinkB": 6,
                "path_effects": _OUTLINE,
            },
        )
        arrow.set_zorder(4)
        axes.text(
            cell[0] + 0.09,
            cell[1] + (0.27 if cell[1] > at[1] else -0.27),
            f"{_value(cells, cell):.2f}",
            fontsize=_TEXT,
            color=_ink_on(norm(_value(cells, cell))),
            ha="center",
            va="center",
            zorder=6,
        )
    _name_axes(axes, "x, cells →", "y, cells →")
    keys = [
        Line2D(
            [], [], marker="o", linestyle="", markersize=size, color=colour, markeredgecolor=_INK
        )
        for size, colour in ((5, "white"), (9, _BOX))
    ]
    names = ("centre of a cell", "point, 4 in each section")
    axes.legend(
        keys, names, loc="lower center", ncols=2, fontsize=_TEXT, handletextpad=0.2, framealpha=1
    )


def _draw_box(axes: Axes, scale: float, markersize: float) -> None:
    """Draw the box with its sections and points; the section in focus stands out."""
    x, y, w, h = (side * scale for side in demo.map_box())
    t, k = demo.OUTPUT_SIZE
    for row, col in np.ndindex(t, k):
        focused = (col + 1, row + 1) == FOCUS
        colour = _ACCENT if focused else _BOX
        corner = (x + w * col / k, y - h * (row + 1) / t)
        axes.add_patch(
            Rectangle(
                corner,
                w / k,
                h / t,
                fill=False,
                edgecolor=colour,
                linewidth=3 if focused else 1.5,
                zorder=3 if focused else 2,
            )
        )
        xs, ys = np.transpose(demo.section_points(col + 1, row + 1)) * scale
        axes.plot(
            xs,
            ys,
            "o",
            markersize=markersize,
            color=colour,
            markeredgecolor=_INK,
            markeredgewidth=0.8,
            zorder=5,
        )
    axes.add_patch(
        Rectangle(
            (x, y - h),
            w,
            h,
            fill=False,
            edgecolor=_BOX,
            linewidth=3,
            zorder=2,
            path_effects=_BOX_OUTLINE,
        )
    )


def _draw_output(axes: Axes, output: NDArray[Any], norm: Normalize) -> None:
    t, k = output.shape
    axes.imshow(output, extent=(0.5, k + 0.5, t + 0.5, 0.5), cmap=_COLOURS, norm=norm)
    for (row, col), value in np.ndenumerate(output):
        axes.text(
            col + 1,
            row + 1,
            f"{value:.2f}",
            fontsize=_NUMBER,
            color=_ink_on(norm(value)),
            ha="center",
            va="center",
        )
    corner = (FOCUS[0] - 0.5, FOCUS[1] - 0.5)
    axes.add_patch(
        Rectangle(corner, 1, 1, fill=False, edgecolor=_ACCENT, linewidth=4, clip_on=False)
    )
    axes.set_xticks(range(1, k + 1))
    axes.set_yticks(range(1, t + 1))
    _name_axes(axes, "section i →", "← section j")


def _ink_on(shade: float) -> str:
    """Pick the type colour that can be read on a cell of that normalised value."""
    red, green, blue, _ = _COLOURS(shade)
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else _INK


def _arithmetic(cells: NDArray[Any]) -> str:
    """Spell out the point in focus, and list the values that its section is the max of."""
    products = [
        [(_value(cells, cell), weight) for cell, weight in _cells_and_weights(at)]
        for at in demo.section_points(*FOCUS)
    ]
    values = [f"{sum(value * weight for value, weight in terms):.2f}" for terms in products]
    first, second, third, fourth = (
        f"{value:.2f} \N{MULTIPLICATION SIGN} {weight:.2f}"
        for value, weight in products[FOCUS_POINT]
    )
    return "\n".join(
        (
            "Where the arrows meet:",
            f"    {first}",
            f"+ {second}",
            f"+ {third}",
            f"+ {fourth} = {values[FOCUS_POINT]}",
            "Its section's four points:",
            "  ".join(values),
        )
    )


def _cells_and_weights(at: tuple[float, float]) -> list[tuple[tuple[float, float], float]]:
    """Centres of the four cells around a point with their weights, upper row first."""
    return [
        ((x, y), (1 - abs(x - at[0])) * (1 - abs(y - at[1])))
        for y in reversed(demo.neighbours(at[1]))
        for x in demo.neighbours(at[0])
    ]


def _value(cells: NDArray[Any], centre: tuple[float, float]) -> float:
    return float(cells[demo.MAP_SIZE - 1 - int(centre[1]), int(centre[0])])
