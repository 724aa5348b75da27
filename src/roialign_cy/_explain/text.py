"""An explanation as text: the document's formulas with the numbers filled in, and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from .data import ExplanationData

MOST_SECTIONS_SHOWN = 16
"""Most sections along an axis of which a notebook shows each."""


def number_text(value: float, digits: int) -> str:
    """Round a number, without zeros at the end."""
    if abs(value) >= 1e6:
        return f"{value:g}"
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def point_formula(it: ExplanationData, row: int, col: int, i: int, j: int, digits: int) -> str:
    """Say where a point of a section lies, between which cells, and what its value is."""
    label = ",".join(map(str, (*it.number(row, col), *it.number(i, j))))
    if it.unit == "cell":
        at = "x = {}, y = {}".format(*(number_text(n, digits) for n in it.points[row, col, i, j]))
        return f"P({label}) is the cell at {at}\n{cell_formula(it, row, col, i, j, digits)}"
    lines = [
        f"P_x({label}) = {_position(it, 0, col, j, digits)}",
        f"P_y({label}) = {_position(it, 1, row, i, digits)}",
    ]
    if it.spec.sampling == "rotated":
        at = it.points[row, col, i, j]
        lines = [
            f"P_{axis}({label}) = {number_text(number, digits)}"
            for axis, number in zip("xy", at, strict=True)
        ]
    if it.is_outside(row, col, i, j):
        return "\n".join((*lines, "P = 0, outside the map"))

    def text(value: float) -> str:
        return "none" if np.isnan(value) else number_text(value, digits)

    (x1, y_upper), _, _, (x2, y_lower) = it.neighbours[row, col, i, j]
    y1, y2 = sorted((y_upper, y_lower))
    x, y = read_at(it, row, col, i, j)
    if not np.array_equal((x, y), it.points[row, col, i, j]):
        lines.append(f"moved to the outermost centres: x = {text(x)}, y = {text(y)}")
    q11, q21, q12, q22 = map(text, it.cells[row, col, i, j])
    value = text(it.values[row, col, i, j])
    lines.append(f"x1 = {text(x1)}, x2 = {text(x2)}, y1 = {text(y1)}, y2 = {text(y2)}")
    to_left = f"({text(x2)} - {text(x)})/({text(x2)} - {text(x1)})"
    to_right = f"({text(x)} - {text(x1)})/({text(x2)} - {text(x1)})"
    from_y1 = f"({text(y)} - {text(y1)})/({text(y2)} - {text(y1)})"
    from_y2 = f"({text(y2)} - {text(y)})/({text(y2)} - {text(y1)})"
    upper, lower = (from_y1, from_y2) if y_upper == y2 else (from_y2, from_y1)
    if it.spec.mode == "max_weighted":
        return "\n".join(
            (
                *lines,
                f"P = max({upper} × {to_left} × {q11}, {upper} × {to_right} × {q21},",
                f"        {lower} × {to_left} × {q12}, {lower} × {to_right} × {q22})",
                f"  = {value}",
            )
        )
    return "\n".join(
        (
            *lines,
            f"P = {upper} × [{to_left} × {q11} + {to_right} × {q21}]",
            f"  + {lower} × [{to_left} × {q12} + {to_right} × {q22}]",
            f"  = {value}",
        )
    )


def cell_formula(it: ExplanationData, row: int, col: int, i: int, j: int, digits: int) -> str:
    """Multiply a whole cell by its weight."""
    if it.is_outside(row, col, i, j):
        return "P = 0, outside the map"
    weights, cells = it.weights[row, col, i, j], it.cells[row, col, i, j]
    numbers = *(of[weights > 0].item() for of in (weights, cells)), it.values[row, col, i, j].item()
    return "P = {} × {} = {}".format(*(number_text(number, digits) for number in numbers))


def output_formula(it: ExplanationData, row: int, col: int, digits: int) -> str:
    """Say how the values of a section's points become its output."""
    label = ",".join(map(str, it.number(row, col)))
    values = [number_text(value, digits) for value in it.values_of(row, col).flat]
    output = number_text(float(it.output[row, col]), digits)
    if not values:
        return f"output({label}) = {output}, without {it.unit}s"
    if it.spec.sampling == "integral":
        return f"output({label}) = {' + '.join(values)} = {output}"
    if it.spec.mode == "avg":
        return f"output({label}) = ({' + '.join(values)})/{len(values)} = {output}"
    return f"output({label}) = max({', '.join(values)}) = {output}"


def read_at(it: ExplanationData, row: int, col: int, i: int, j: int) -> tuple[float, float]:
    """Where a point on the map is read: itself, or the nearest place between centres."""
    height, width = it.map.shape
    x, y = it.points[row, col, i, j]
    if it.spec.border == "zero":
        return float(x), float(y)
    low = 0.5 if it.coordinates == "document" else 0.0
    return (
        float(min(max(x, low), low + width - 1)),
        float(min(max(y, low), low + height - 1)),
    )


def _position(it: ExplanationData, axis: int, section: int, sample: int, digits: int) -> str:
    """One coordinate of a point, by the formula: start, whole sections, part of a section.

    Or, where the points at the ends lie on the sides of the box: start, steps between points.
    """
    start, extent = it.box[axis], it.box[axis + 2]
    sections, samples = it.output.shape[1 - axis], it.values.shape[3 - axis]
    is_document = it.coordinates == "document"
    sign = "-" if axis == 1 and is_document else "+"
    before = f"({section + 1} - 1)" if is_document else f"{section}"
    size = number_text(extent, digits)
    value = it.points[section, 0, sample, 0, 1] if axis else it.points[0, section, 0, sample, 0]
    if it.spec.sampling == "corners":
        steps = f"{size}/{sections - 1} × {before}" if sections > 1 else f"{size}/2"
        return f"{number_text(start, digits)} {sign} {steps} = {number_text(value, digits)}"
    if it.spec.sampling == "interior":
        parts, within = sections * (samples + 1), f"{sample + 1}"
    elif is_document:
        parts, within = sections * samples, f"({sample + 1} - 0.5)"
    else:
        parts, within = sections * samples, f"({sample} + 0.5)"
    return (
        f"{number_text(start, digits)} {sign} {size}/{sections} × {before} "
        f"{sign} {size}/{parts} × {within} = {number_text(value, digits)}"
    )


def title(it: ExplanationData, digits: int) -> str:
    """Say which box, of which map."""
    x, y, width, height = (number_text(side, digits) for side in it.box)
    up = "up" if it.coordinates == "document" else "down"
    return (
        f"Box [{x}, {y}], {width} x {height} cells, y {up}; image {it.image}, channel {it.channel}"
    )


def summary(it: ExplanationData) -> str:
    """Say in a few lines what was read and what came out."""
    output = np.array2string(it.output, precision=4, threshold=100)
    return f"{title(it, 4)}: {it.spec.mode} of {it.reads}\n{output}"


def html(it: ExplanationData) -> str:
    """Lay out the output for a notebook; over each value, the formula that it comes from."""
    if max(it.output.shape) > MOST_SECTIONS_SHOWN:
        return f"<pre>{summary(it)}</pre>"
    rows = (
        "".join(
            f'<td title="{output_formula(it, row, col, 4)}">{number_text(value, 4)}</td>'
            for col, value in enumerate(values)
        )
        for row, values in enumerate(it.output.tolist())
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><caption>{summary(it).splitlines()[0]}</caption>{body}</table>"


def table(it: ExplanationData, section: tuple[int, int] | None, digits: int) -> Table:
    """Lay out a table of the points of one section (row, column), or of all."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
    except ImportError as error:
        raise ImportError(
            f'a table needs rich: pip install "roialign_cy[plot]" ({error})', name=error.name
        ) from None

    def text(value: float) -> str:
        return "–" if np.isnan(value) else number_text(value, digits)

    is_document = it.coordinates == "document"
    made = Table(
        title=title(it, digits),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    made.add_column("(i,j)" if is_document else "section")
    made.add_column("(n,m)" if is_document else "point")
    for heading in ("x\ny", "x1, x2\ny1, y2"):
        made.add_column(heading, justify="right")
    for corner in ("Q11", "Q21", "Q12", "Q22"):
        made.add_column(f"{corner}\nweight", justify="right")
    made.add_column("value", justify="right")

    def name(row: int, col: int) -> str:
        return "({},{})".format(*it.number(row, col))

    for row, col in np.ndindex(*it.output.shape):
        if section not in (None, (row, col)):
            continue
        for i, j in np.ndindex(*it.grid(row, col)):
            near = it.neighbours[row, col, i, j]
            terms = np.stack([it.cells[row, col, i, j], it.weights[row, col, i, j]]).tolist()
            made.add_row(
                name(row, col),
                name(i, j),
                "\n".join(map(text, it.points[row, col, i, j].tolist())),
                "\n".join(", ".join(map(text, sorted(pair))) for pair in near[[0, 3]].T.tolist()),
                *(f"{text(q)}\n{text(w)}" for q, w in zip(*terms, strict=True)),
                text(it.values[row, col, i, j].item()),
            )
        made.add_row(
            name(row, col),
            *[""] * 6,
            "mean" if it.spec.mode == "avg" else "max",
            text(float(it.output[row, col])),
            style="bold",
            end_section=True,
        )
    return made
