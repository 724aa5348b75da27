"""What pictures are made of: cells, boxes, points, values."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

try:
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke
except ImportError as error:
    raise ImportError(
        f'a picture needs Matplotlib: pip install "roialign_cy[plot]" ({error})',
        name=error.name,
    ) from None

from .text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from .data import ExplanationData

Box: TypeAlias = tuple[float, float, float, float]
"""As `Explanation.box`."""
Limits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

BOX = "#ffd43b"
ACCENT = "#e8590c"
INK = "#212529"
COLOURS = colormaps["Blues_r"]
OUTLINE = (withStroke(linewidth=3.5, foreground=INK),)  # keeps white and yellow visible

MOST_LABELLED_CELLS = 110
MOST_CENTRES = 440  # past that an arrow between two of them is no longer one
_MOST_LABELLED_SECTIONS = 50
_MOST_NUMBERED_SECTIONS = 14  # along one axis
_MOST_POINTS_DRAWN = 4000
_MARGIN = 1.0  # cells around the box


def new_figure(size: tuple[float, float], dpi: int = 100) -> Figure:
    """Make a figure without pyplot, so that a caller's figures and settings stay as they are."""
    figure = Figure(figsize=size, dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def shades_of(it: ExplanationData) -> Normalize:
    """One scale of colours for the map and the output: the finite values of the map."""
    values = it.map[np.isfinite(it.map)]
    if not values.size:
        return Normalize(0, 1)
    low, high = float(values.min()), float(values.max())
    return Normalize(low, high if high > low else low + 1)


def draw_cells(
    axes: Axes, it: ExplanationData, shades: Normalize, limits: Limits, type_size: float
) -> None:
    """Draw the cells of the map within those limits, with their centres."""
    height, width = it.map.shape
    extent = (
        (0, width, 0, height)
        if it.coordinates == "document"
        else (-0.5, width - 0.5, height - 0.5, -0.5)
    )
    # In float64, because Matplotlib's resampling overflows float16.
    axes.imshow(
        it.map.astype(np.float64),
        extent=extent,
        cmap=COLOURS,
        norm=shades,
        interpolation="nearest",
    )
    axes.set_facecolor("#e9ecef")  # what is outside the map
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    centres = centres_in_view(axes, it)
    if len(centres) <= MOST_CENTRES:
        axes.plot(
            *centres.T,
            "o",
            markersize=3.5,
            color="white",
            markeredgecolor=INK,
            markeredgewidth=0.8,
            zorder=3,
        )
    axes.tick_params(labelsize=type_size, color=INK, labelcolor=INK)
    name_axes(axes, it, "cells", type_size)


def draw_rectangle(
    axes: Axes,
    it: ExplanationData,
    box: Box,
    colour: str,
    linewidth: float = 1.3,
    linestyle: str = "-",
    zorder: int = 2,
    outlined: bool = False,
    scale: float = 1.0,
) -> None:
    """Draw the outline of a box in the explanation's coordinates."""
    x, y, width, height = box
    down, centre = _down_and_centre(it, scale)
    axes.add_patch(
        Rectangle(
            (x, y),
            width,
            down * height,
            angle=-down * it.angle,
            rotation_point=centre,
            fill=False,
            edgecolor=colour,
            linewidth=linewidth,
            linestyle=linestyle,
            zorder=zorder,
            path_effects=OUTLINE if outlined else None,
        )
    )


def _down_and_centre(it: ExplanationData, scale: float) -> tuple[int, tuple[float, float]]:
    """In which direction y grows down the picture, and where the centre of the box is."""
    down = -1 if it.coordinates == "document" else 1
    x, y, width, height = it.box
    return down, ((x + width / 2) * scale, (y + down * height / 2) * scale)


def corners(it: ExplanationData, boxes: list[Box], scale: float = 1.0) -> NDArray[np.float64]:
    """Corners of boxes, (count, 4, 2), once they are turned about the centre of the one explained.

    ``scale`` is what a cell measures.
    """
    x, y, width, height = np.reshape(boxes, (-1, 4)).T
    down, centre = _down_and_centre(it, scale)
    far_x, far_y = x + width, y + down * height
    upright = np.moveaxis(np.array([[x, y], [far_x, y], [far_x, far_y], [x, far_y]]), -1, 0)
    if it.angle == 0:
        return upright
    angle = np.radians(it.angle) * -down  # on axes whose y grows downwards, clockwise
    sine, cosine = np.sin(angle), np.cos(angle)
    turned: NDArray[np.float64] = centre + (upright - centre) @ [[cosine, sine], [-sine, cosine]]
    return turned


def draw_sections(
    axes: Axes,
    it: ExplanationData,
    boxes: list[Box],
    colour: str,
    linewidth: float = 1.3,
    scale: float = 1.0,
) -> None:
    """Draw the outlines of boxes, as one artist: there can be thousands."""
    axes.add_collection(
        PolyCollection(
            list(corners(it, boxes, scale)),
            facecolors="none",
            edgecolors=colour,
            linewidths=linewidth,
            zorder=2,
        ),
        autolim=False,
    )


def draw_box(
    axes: Axes,
    it: ExplanationData,
    section: tuple[int, int] | None,
    scale: float = 1.0,
    markersize: float = 6.5,
) -> None:
    """Draw the box with its sections and points; a section in focus stands out.

    ``scale`` is what a cell measures on these axes.
    """
    x, y, width, height = (side * scale for side in it.box)
    rows, cols = it.output.shape
    across, down = width / cols, height / rows
    step = -down if it.coordinates == "document" else down
    boxes = {
        (row, col): (x + across * col, y + step * row, across, down)
        for row, col in np.ndindex(rows, cols)
    }
    draw_sections(axes, it, list(boxes.values()), BOX, scale=scale)
    if section is not None:
        draw_rectangle(axes, it, boxes[section], ACCENT, linewidth=2.6, zorder=3, scale=scale)
    whole = (x, y, width, height)
    draw_rectangle(axes, it, whole, BOX, linewidth=2.6, outlined=True, scale=scale)
    if it.values.size > _MOST_POINTS_DRAWN:
        return
    is_outside = it.outside
    in_focus = np.zeros(it.values.shape, bool)
    if section is not None:
        in_focus[section] = True
    for chosen, colour in ((~in_focus, BOX), (in_focus, ACCENT)):
        for at, face in ((chosen & ~is_outside, colour), (chosen & is_outside, "none")):
            axes.plot(
                *(it.points[at] * scale).T,
                "o",
                markersize=markersize if it.values.size <= 400 else markersize / 2,
                color=face,
                markeredgecolor=ACCENT if face == "none" and colour == ACCENT else INK,
                markeredgewidth=0.8,
                zorder=5,
            )


def draw_output(
    axes: Axes,
    it: ExplanationData,
    section: tuple[int, int],
    shades: Normalize,
    type_size: float = 10.5,
) -> None:
    """Draw the output of an explanation; a section stands out."""
    draw_values(axes, it, it.output, shades, type_size)
    first = 1 if it.coordinates == "document" else 0
    corner = (section[1] + first - 0.5, section[0] + first - 0.5)
    axes.add_patch(
        Rectangle(corner, 1, 1, fill=False, edgecolor=ACCENT, linewidth=3.5, clip_on=False)
    )
    title = "Output: the mean" if it.spec.mode == "avg" else "Output: the max"
    axes.set_title(title, fontsize=type_size * 1.1, color=INK, loc="left")


def draw_values(
    axes: Axes,
    it: ExplanationData,
    values: NDArray[np.floating],
    shades: Normalize,
    type_size: float,
) -> None:
    """Draw the output of this or another pooling of the box, in numbers where they fit."""
    rows, cols = values.shape
    first = 1 if it.coordinates == "document" else 0
    extent = (first - 0.5, first + cols - 0.5, first + rows - 0.5, first - 0.5)
    axes.imshow(values.astype(np.float64), extent=extent, cmap=COLOURS, norm=shades)
    if values.size <= _MOST_LABELLED_SECTIONS:
        for (row, col), value in np.ndenumerate(values):
            axes.text(
                col + first,
                row + first,
                value_text(float(value)),
                fontsize=type_size * (1.35 if values.size <= 16 else 0.9),
                color=ink_on(float(value), shades),
                ha="center",
                va="center",
            )
    if max(rows, cols) <= _MOST_NUMBERED_SECTIONS:
        axes.set_xticks(range(first, first + cols))
        axes.set_yticks(range(first, first + rows))
    axes.tick_params(labelsize=type_size, color=INK, labelcolor=INK)
    across, down = ("section i →", "← section j") if first else ("column →", "← row")
    axes.set_xlabel(across, fontsize=type_size, color=INK)
    axes.set_ylabel(down, fontsize=type_size, color=INK)


def name_axes(axes: Axes, it: ExplanationData, unit: str, type_size: float) -> None:
    """Name x and y, with the direction in which they grow."""
    axes.set_xlabel(f"x, {unit} →", fontsize=type_size, color=INK)
    y_text = f"y, {unit} →" if it.coordinates == "document" else f"← y, {unit}"
    axes.set_ylabel(y_text, fontsize=type_size, color=INK)


def ink_on(value: float, shades: Normalize) -> str:
    """Pick the type colour that can be read on the colour of a value."""
    red, green, blue, _ = COLOURS(float(shades(value)))
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else INK


def value_text(value: float) -> str:
    """Round a value so that a column of them is even."""
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.3g}"


def view(it: ExplanationData, *boxes: Box) -> Limits:
    """Limits of x and of y (as drawn, from the bottom up) around boxes, to whole cells."""
    size_y, size_x = it.map.shape
    is_document = it.coordinates == "document"
    edge = 0.0 if is_document else -0.5
    xs, ys = corners(it, list(boxes)).reshape(-1, 2).T.tolist()

    def limits(sides: list[float], size: int) -> tuple[float, float]:
        low, high = min(sides), max(sides)
        first = np.floor(low - _MARGIN - edge) + edge
        last = np.ceil(high + _MARGIN - edge) + edge
        # Little is to be seen where there is no map, and nothing unless the box reaches there;
        # of a box far from the map, the picture shows the map's edge.
        beyond_first, beyond_last = 2 * (low < edge), 2 * (high > edge + size)
        first = min(max(first, edge - beyond_first), edge + size - 1)
        last = max(min(last, edge + size + beyond_last), edge + 1)
        return float(first), float(last)

    low, high = limits(ys, size_y)
    return limits(xs, size_x), ((low, high) if is_document else (high, low))


def centres_in_view(axes: Axes, it: ExplanationData) -> NDArray[np.float64]:
    """List the centres of the cells that are within the limits of the axes: (count, 2)."""
    height, width = it.map.shape
    shift = 0.5 if it.coordinates == "document" else 0.0
    x, y = np.arange(width) + shift, np.arange(height) + shift
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    x, y = x[(x > left) & (x < right)], y[(y > bottom) & (y < top)]
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def value_at(it: ExplanationData, centre: list[float]) -> float:
    """Look up the cell with that centre."""
    x, y = centre
    if it.coordinates == "document":
        return float(it.map[it.map.shape[0] - 1 - int(y), int(x)])
    return float(it.map[int(y), int(x)])


def write_value(
    axes: Axes,
    it: ExplanationData,
    centre: list[float],
    shades: Normalize,
    type_size: float,
    is_bold: bool,
    is_above: bool,
) -> None:
    """Write the value of a cell above or below its centre."""
    value = value_at(it, centre)
    behind = COLOURS(float(shades(value)))  # so that it can be read across a point or a line
    axes.text(
        centre[0],
        centre[1] + (0.32 if is_above == (it.coordinates == "document") else -0.32),
        number_text(value, 2),
        fontsize=type_size,
        color=ink_on(value, shades),
        weight="bold" if is_bold else "normal",
        ha="center",
        va="center",
        clip_on=True,
        zorder=6,
        path_effects=[withStroke(linewidth=2, foreground=behind)],
    )


def draw_legend(axes: Axes, it: ExplanationData, type_size: float) -> None:
    """Say below the axes what the marks are."""
    read = "cell that is read" if it.unit == "cell" else "point"
    kinds = [(3.5, "white", INK, "centre of a cell"), (6.5, BOX, INK, read)]
    if it.outside.any():
        kinds.append((6.5, "none", INK, "point outside: 0"))
    keys = [
        Line2D([], [], marker="o", linestyle="", markersize=size, color=face, markeredgecolor=edge)
        for size, face, edge, _ in kinds
    ]
    axes.legend(
        keys,
        [name for *_, name in kinds],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=3.9,  # below the name of the axis
        ncols=len(kinds),
        fontsize=type_size * 0.9,
        handletextpad=0.2,
        frameon=False,
    )
