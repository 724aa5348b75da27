"""An explanation as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import drawing
from .drawing import INK, value_text
from .text import cell_formula, read_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from .data import ExplanationData

_SIZE = (11.0, 4.9)  # inches
_LEAST_WEIGHT = 0.005  # one below it would be written as 0.00


def plot(
    it: ExplanationData,
    section: tuple[int, int],
    point: tuple[int, int] | None,
    figure: Figure | None,
) -> Figure:
    """Draw the map with its box, and beside it the output and the arithmetic of one point."""
    figure = drawing.new_figure(_SIZE) if figure is None else figure
    row, col = section
    if point is None and it.values_of(row, col).size:
        point = leading_point(it, row, col)
    shades = drawing.shades_of(it)
    panels = figure.add_gridspec(
        1, 2, width_ratios=(1.75, 1), left=0.07, right=0.97, bottom=0.19, top=0.92, wspace=0.16
    )
    draw_map(figure.add_subplot(panels[0]), it, section, point, shades)
    side = panels[1].subgridspec(2, 1, height_ratios=(1.55, 1), hspace=0.4)
    drawing.draw_output(figure.add_subplot(side[0]), it, section, shades)
    axes = figure.add_subplot(side[1])
    axes.set_axis_off()
    axes.text(
        0, 1, arithmetic(it, section, point), color=INK, va="top", fontsize=10.5, linespacing=1.4
    )
    return figure


def leading_point(it: ExplanationData, row: int, col: int) -> tuple[int, int]:
    """Row and column of the point with a section's largest value; a NaN counts as the largest."""
    values = it.values_of(row, col)
    i, j = np.unravel_index(values.argmax(), values.shape)
    return int(i), int(j)


def draw_map(
    axes: Axes,
    it: ExplanationData,
    section: tuple[int, int],
    point: tuple[int, int] | None,
    shades: Normalize,
    type_size: float = 10.5,
) -> None:
    """Draw the cells around the box, its sections and points, and what one point reads."""
    drawing.draw_cells(axes, it, shades, drawing.view(it, it.box), type_size)
    drawing.draw_box(axes, it, section, markersize=type_size * 0.62)
    centres = drawing.centres_in_view(axes, it)
    if len(centres) <= drawing.MOST_LABELLED_CELLS:
        read, upper = ([], []) if point is None else _cells_read(it, (*section, *point))
        for centre in centres.tolist():
            drawing.write_value(
                axes, it, centre, shades, type_size * 0.8, centre in read, centre in upper
            )
    if point is not None and len(centres) <= drawing.MOST_CENTRES:
        _draw_arrows(axes, it, (*section, *point))
    axes.set_title(_map_title(it), fontsize=type_size * 1.1, color=INK, loc="left")
    drawing.draw_legend(axes, it, type_size)


def arithmetic(
    it: ExplanationData,
    section: tuple[int, int],
    point: tuple[int, int] | None,
    terms_in_line: int = 2,
) -> str:
    """Spell out the point in focus, and list the values that its section is made of."""
    name = "({},{})".format(*it.number(*section))
    if point is None:
        return f"Section {name} has no {it.unit}s."
    values = [value_text(value) for value in it.values_of(*section).flat]
    count = len(values)
    if len(values) > 12:
        values[11:] = ["…"]
    word = "mean" if it.spec.mode == "avg" else "max"
    return "\n".join(
        (
            _sum_of_products(it, (*section, *point), terms_in_line),
            f"Section {name}, its {count} {it.unit}s:",
            *("  ".join(values[first : first + 6]) for first in range(0, len(values), 6)),
            f"{word} {value_text(float(it.output[section]))}",
        )
    )


def _sum_of_products(it: ExplanationData, at: tuple[int, int, int, int], terms_in_line: int) -> str:
    """Write a point's value as the sum (ONNX: the largest) of its cells by their weights."""
    if it.unit == "cell":
        return cell_formula(it, *at, digits=4)
    if it.is_outside(*at):
        return "The point is outside the map: 0."
    sign, before = (", ", "largest: ") if it.spec.mode == "max_weighted" else (" + ", "= ")
    products = [
        f"{value_text(cell)} × {value_text(weight)}"
        for cell, weight in zip(it.cells[at], it.weights[at], strict=True)
        if weight >= _LEAST_WEIGHT
    ]
    lines = [
        sign.join(products[first : first + terms_in_line])
        for first in range(0, len(products), terms_in_line)
    ]
    text = (sign.rstrip() + "\n").join(lines)
    return f"Cells × weights:\n{text} {before}{value_text(it.values[at])}"


def _cells_read(
    it: ExplanationData, at: tuple[int, int, int, int]
) -> tuple[list[list[float]], list[list[float]]]:
    """Centres of the cells that a point reads: all of them, and those of the upper row."""
    cells = list(zip(it.neighbours[at].tolist(), it.weights[at], strict=True))
    read, upper = (
        [cell for cell, weight in some if weight >= _LEAST_WEIGHT] for some in (cells, cells[:2])
    )
    return read, upper


def _draw_arrows(axes: Axes, it: ExplanationData, at: tuple[int, int, int, int]) -> None:
    """Draw an arrow from each cell that the point reads."""
    target = read_at(it, *at)
    for cell in _cells_read(it, at)[0]:
        if np.hypot(cell[0] - target[0], cell[1] - target[1]) < 0.1:
            continue
        arrow = axes.annotate(
            "",
            target,
            (cell[0], cell[1]),
            arrowprops={
                "arrowstyle": "-|>",
                "color": "white",
                "linewidth": 1.8,
                "mutation_scale": 13,
                "shrinkA": 2,
                "shrinkB": 4,
                "path_effects": drawing.OUTLINE,
            },
        )
        arrow.set_zorder(4)


def _map_title(it: ExplanationData) -> str:
    rows, cols = it.output.shape
    return f"{rows} x {cols} sections of {it.reads}, channel {it.channel}"
