"""Draw docs/images/how_it_works.png: the tiled order, from the map to a pooled box.

Run it from the repository's root: ``python docs/figures/how_it_works.py``.
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, BLUE, PALE, GOLD, RED = "#1b2733", "#2f7fb8", "#d7e8f4", "#f2b632", "#e4572e"
TARGET = Path(__file__).parents[1] / "images" / "how_it_works.png"


def grid(axes, x, y, rows, cols, size, fill):
    """A block of cells with its lower left corner at (x, y)."""
    for r in range(rows):
        for c in range(cols):
            shade = fill(r, c) if callable(fill) else fill
            axes.add_patch(
                Rectangle((x + c * size, y + r * size), size, size, fc=shade, ec="white", lw=0.8)
            )


def arrow(axes, start, end):
    """One step."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, color=INK, lw=1.4)
    )


def label(axes, x, y, title, text):
    """What a step makes."""
    axes.text(x, y, title, ha="center", va="top", fontsize=12, color=INK, weight="bold")
    axes.text(x, y - 0.62, text, ha="center", va="top", fontsize=9.5, color=INK, linespacing=1.35)


def draw():
    """Draw and save the figure."""
    figure = Figure(figsize=(12.5, 3.6), dpi=128)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_xlim(0, 25)
    axes.set_ylim(-2.0, 5.3)
    axes.axis("off")

    # The map: channels as planes, one box on it.
    for plane in range(3, -1, -1):
        shift = 0.28 * plane
        grid(axes, 0.5 + shift, 0.4 + shift, 8, 8, 0.44, PALE if plane else "#e9f1f7")
    box = Rectangle((0.5 + 1.6 * 0.44, 0.4 + 2.3 * 0.44), 4.4 * 0.44, 3.4 * 0.44)
    box.set(fc="none", ec=RED, lw=2)
    axes.add_patch(box)
    label(axes, 2.7, -0.3, "1  map", "16 channels of one image;\nits boxes sorted by first row")

    # The ring: a few rows, each cell 16 channels wide.
    ring = [GOLD if 2 <= r <= 4 else "#f8e3b0" for r in range(6)]
    grid(axes, 7.0, 0.9, 6, 7, 0.5, lambda r, c: ring[r])
    label(
        axes, 8.75, -0.3, "2  ring of packed rows",
        "every row that a box reads is turned\nonce: a cell is 16 channels, side by side",
    )  # fmt: skip

    # Rows combined over distinct columns.
    grid(axes, 13.2, 1.6, 2, 6, 0.55, BLUE)
    label(
        axes, 14.85, -0.3, "3  rows first",
        "a row of sections is a weighted sum\nof map rows, at the box's columns only",
    )  # fmt: skip

    # Then columns.
    grid(axes, 18.9, 1.6, 2, 2, 0.55, RED)
    label(axes, 19.5, -0.3, "4  columns", "each section sums its\ncolumns: 2 x 2 sections")

    # And back to planes.
    for plane in range(3, -1, -1):
        shift = 0.22 * plane
        grid(axes, 22.6 + shift, 1.4 + shift, 2, 2, 0.5, RED if plane == 0 else "#f3b8a8")
    label(axes, 23.4, -0.3, "5  output", "turned back, 8 x 8\nvalues at a time")

    for start, end in ((5.3, 6.8), (10.7, 13.0), (16.7, 18.7), (20.2, 22.4)):
        arrow(axes, (start, 2.2), (end, 2.2))
    axes.text(
        12.5, 5.0, "out[k] = Ry F Rx$^T$, two sparse factors, SIMD over channels in every step",
        ha="center", va="top", fontsize=13, color=INK,
    )  # fmt: skip
    figure.savefig(TARGET, facecolor="white")


if __name__ == "__main__":
    draw()
