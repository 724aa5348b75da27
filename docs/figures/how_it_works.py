"""Draw docs/images/how_it_works.png: the tiled order, forward and backward.

Run it from the repository's root: ``python docs/figures/how_it_works.py``.
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, BLUE, PALE, GOLD, LIGHT, RED = (
    "#1b2733", "#2f7fb8", "#d7e8f4", "#f2b632", "#f8e3b0", "#e4572e",
)  # fmt: skip
PINK = "#f3b8a8"
MAP, RING, LINES, BINS, OUTPUT = 2.7, 8.75, 14.85, 19.5, 23.4
"""Middle of each column of the figure, in which the two rows have the same things."""
FORWARD = (
    (MAP, "1  map", "16 channels of an\nimage; boxes sorted\nby their first row"),
    (RING, "2  ring of its rows", "each packed once:\na cell is 16 channels,\nside by side"),
    (
        LINES,
        "3  rows first",
        "a row of bins is a sum of\nmap rows, at the columns\nthat the box reads",
    ),
    (BINS, "4  columns", "a bin sums\nits columns"),
    (OUTPUT, "5  output", "turned\nback"),
)
BACKWARD = (
    (MAP, "5  map's gradient", "a row is written when\nno box to come\nreaches it"),
    (RING, "4  rows last", "a map row sums the rows\nof bins that read it;\nboxes in sorted order"),
    (LINES, "3  columns first", "a map column sums the\nbins that read it"),
    (BINS, "2  bins", "16 channels,\nside by side"),
    (OUTPUT, "1  gradient", "of the\noutput"),
)
TARGET = Path(__file__).parents[1] / "images" / "how_it_works.png"


def grid(axes, x, y, rows, cols, size, fill):
    """A block of cells with its lower left corner at (x, y)."""
    for r in range(rows):
        for c in range(cols):
            shade = fill(r, c) if callable(fill) else fill
            axes.add_patch(
                Rectangle((x + c * size, y + r * size), size, size, fc=shade, ec="white", lw=0.8)
            )


def planes(axes, x, y, cells, size, front, back):
    """Channels as planes, one behind the other."""
    for plane in range(3, -1, -1):
        shift = 0.6 * size * plane
        grid(axes, x + shift, y + shift, cells, cells, size, back if plane else front)


def arrow(axes, start, end):
    """One step."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, color=INK, lw=1.4)
    )


def label(axes, x, y, title, text):
    """What a step makes."""
    axes.text(x, y, title, ha="center", va="top", fontsize=12, color=INK, weight="bold")
    axes.text(x, y - 0.75, text, ha="center", va="top", fontsize=9.5, color=INK, linespacing=1.35)


def blocks(axes, y):
    """The map, a ring of its rows, lines, bins and the output, of a sweep at that height."""
    planes(axes, 0.5, y + 0.4, 8, 0.44, "#e9f1f7", PALE)
    box = Rectangle((0.5 + 1.6 * 0.44, y + 0.4 + 2.3 * 0.44), 4.4 * 0.44, 3.4 * 0.44)
    box.set(fc="none", ec=RED, lw=2)
    axes.add_patch(box)
    grid(axes, 7.0, y + 0.9, 6, 7, 0.5, lambda r, c: GOLD if 2 <= r <= 4 else LIGHT)
    grid(axes, 13.2, y + 1.6, 2, 6, 0.55, BLUE)
    grid(axes, 18.9, y + 1.6, 2, 2, 0.55, RED)
    planes(axes, 22.6, y + 1.4, 2, 0.4, RED, PINK)


def draw():
    """Draw and save the figure."""
    figure = Figure(figsize=(9.4, 6.6), dpi=170)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_xlim(0, 25)
    axes.set_ylim(-11.9, 6.1)
    axes.axis("off")
    backward = -9.2
    blocks(axes, 0)
    blocks(axes, backward)

    for x, title, text in FORWARD:
        label(axes, x, -0.3, title, text)
    for x, title, text in BACKWARD:
        label(axes, x, backward - 0.3, title, text)

    for start, end in ((5.3, 6.8), (10.7, 13.0), (16.7, 18.7), (20.2, 22.4)):
        arrow(axes, (start, 2.2), (end, 2.2))
        arrow(axes, (end, backward + 2.2), (start, backward + 2.2))
    for x, height, text in (
        (11.85, 2.4, "R$_y$"),
        (17.7, 2.4, "R$_x$"),
        (11.85, backward + 2.4, "R$_y^T$"),
        (17.7, backward + 2.4, "R$_x^T$"),
    ):
        axes.text(x, height, text, ha="center", va="bottom", fontsize=13, color=INK)
    for height, text in (
        (5.9, r"forward: out$_k$ = R$_y$ F R$_x^T$"),
        (backward + 5.9, r"backward: grad$_F$ = $\sum_k$ R$_y^T$ G$_k$ R$_x$, by the same taps"),
    ):
        axes.text(0.4, height, text, ha="left", va="top", fontsize=13, color=INK)
    figure.savefig(TARGET, facecolor="white")


if __name__ == "__main__":
    draw()
