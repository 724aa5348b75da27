"""The worked example of the document, number by number.

Coordinates in these tests are the document's: y points up. ``down`` turns them into array rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roialign_cy as ra

from . import goldens
from .calls import Cell

DOCUMENT = goldens.document()
COLUMNS, ROWS = DOCUMENT["map"]["map_size"]
SCALE = DOCUMENT["map"]["spatial_scale"]
# Printed as (396, 320) and "145x200"; see the slips in the file.
BOX = ra.boxes.from_document([DOCUMENT["box"]["on_image"]], DOCUMENT["map"]["image_height"])


CELL = pytest.mark.parametrize("cell", [Cell("document", "max", "float64")], ids=str)


def down(y: Any) -> Any:
    return ROWS - y


def known_cells(dtype: str) -> Any:
    """The map with the six cells that the document has."""
    # NaN wins every maximum, so these tests also hold that no other cell is read. The two cells at
    # x = 11.5 are not printed; theirs are the values that give its 0.21 and 0.43.
    features = np.full((1, 1, ROWS, COLUMNS), np.nan, dtype=dtype)
    for cell in DOCUMENT["cells"]["list"]:
        x, y = cell["at"]
        features[0, 0, int(down(y)), int(x)] = cell["value"]
    return features


def value_at(features: Any, x: float, y: float, backend: str) -> Any:
    """All channels at one point: a box without extent has one section with one sample on it."""
    return ra.roi_align(features, [[0, x, down(y), x, down(y)]], 1, backend=backend)[0, :, 0, 0]


def section_corner_points(backend: str) -> Any:
    """Points (1, 1) and (2, 2) of every 3 x 3 section, as arrays [j - 1, i - 1] of x and of y."""
    # On a map of its own coordinates a point's value is where it lies, and the maximum over a
    # section picks the point furthest to the right, to the left, up or down.
    x = np.broadcast_to(np.arange(COLUMNS) + 0.5, (ROWS, COLUMNS))
    y = down(np.arange(ROWS) + 0.5)[:, None] + np.zeros(COLUMNS)
    maps = np.stack([x, -x, y, -y])[None]
    right, left, up, low = ra.roi_align(
        maps, BOX, (3, 3), convention="document", spatial_scale=SCALE, backend=backend
    )[0]
    return (-left, up), (right, -low)


def test_box_on_the_image_becomes_the_box_on_the_map() -> None:
    _, x1, y1, x2, y2 = BOX[0] * SCALE
    on_map = [x1, down(y1), x2 - x1, y2 - y1]
    facts = DOCUMENT["box"]
    np.testing.assert_allclose(on_map, facts["on_map"], rtol=0, atol=facts["tolerance"])
    np.testing.assert_allclose(
        [x2, down(y2)], facts["on_map_bottom_right"], rtol=0, atol=facts["tolerance"]
    )


@CELL
def test_points_lie_where_the_formula_says(cell: Cell, backend: str) -> None:
    x_box, y_box, w, h = (SCALE * number for number in DOCUMENT["box"]["on_image"])
    i = np.arange(1, 4)[None, :]
    j = np.arange(1, 4)[:, None]
    for n, (x, y) in enumerate(section_corner_points(backend), start=1):
        m = n
        expected_x = x_box + w / 3 * (i - 1) + w / 9 * n
        expected_y = y_box - h / 3 * (j - 1) - h / 9 * m
        atol = DOCUMENT["points"]["formula_tolerance"]
        np.testing.assert_allclose(x, np.broadcast_to(expected_x, (3, 3)), rtol=0, atol=atol)
        np.testing.assert_allclose(y, np.broadcast_to(expected_y, (3, 3)), rtol=0, atol=atol)


@pytest.mark.parametrize("printed", DOCUMENT["points"]["list"], ids=str)
@CELL
def test_points_lie_where_they_are_printed(printed: Any, cell: Cell, backend: str) -> None:
    # The last one is printed [12.69, 5.97]; its own formula gives 12.72. 10.63 is 10.6389 cut.
    corners = section_corner_points(backend)
    i, j = printed["section"]
    n, m = printed["point"]
    x, y = corners[n - 1][0][j - 1, i - 1], corners[m - 1][1][j - 1, i - 1]
    np.testing.assert_allclose([x, y], printed["at"], rtol=0, atol=DOCUMENT["points"]["tolerance"])


@pytest.mark.parametrize("printed", DOCUMENT["neighbours"]["list"], ids=str)
@CELL
def test_points_are_read_from_their_printed_neighbours(
    printed: Any, cell: Cell, backend: str
) -> None:
    # For [12.69, 5.97] the document prints each neighbour twice; 12.72 is its corrected point.
    x, y = printed["at"]
    (x1, x2), (y1, y2) = printed["x"], printed["y"]
    expected = np.zeros((ROWS, COLUMNS))
    for cell_x, weight_x in (x1, (x2 - x) / (x2 - x1)), (x2, (x - x1) / (x2 - x1)):
        for cell_y, weight_y in (y1, (y2 - y) / (y2 - y1)), (y2, (y - y1) / (y2 - y1)):
            expected[int(down(cell_y)), int(cell_x)] = weight_x * weight_y

    one_cell_each = np.eye(ROWS * COLUMNS).reshape(1, -1, ROWS, COLUMNS)
    weights = value_at(one_cell_each, x, y, backend).reshape(ROWS, COLUMNS)

    np.testing.assert_array_equal(weights != 0, expected != 0)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=DOCUMENT["neighbours"]["tolerance"])


@pytest.mark.parametrize("printed", DOCUMENT["values"]["list"], ids=str)
@CELL
def test_value_at_a_rounded_point(printed: Any, cell: Cell, backend: str) -> None:
    # The document rounds its points to two decimals before it interpolates.
    x, y = printed["at"]
    value = value_at(known_cells(cell.dtype), x, y, backend)
    np.testing.assert_allclose(value, printed["value"], rtol=0, atol=printed["tolerance"])


@pytest.mark.parametrize(
    "cell", [Cell("document", "max", dtype) for dtype in ("float32", "float64")], ids=str
)
def test_output_of_section_1_1(cell: Cell, backend: str) -> None:
    output = ra.roi_align(
        known_cells(cell.dtype), BOX, (3, 3), spatial_scale=SCALE, backend=backend
    )
    i, j = DOCUMENT["output"]["section"]
    assert output.dtype == cell.dtype
    np.testing.assert_allclose(
        output[0, 0, j - 1, i - 1],
        DOCUMENT["output"]["value"],
        rtol=0,
        atol=DOCUMENT["output"]["tolerance"],
    )
