"""Explanations: the document's numbers, the reference's bits, its rule of neighbours, texts."""

import graphlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._explain import numbers
from roialign_cy.backends.reference import interpolated
from roialign_cy.testing import goldens
from tests.allowed import allowed

DOCUMENT = goldens.document()
COLUMNS, ROWS = DOCUMENT["map"]["map_size"]
SCALE = DOCUMENT["map"]["spatial_scale"]
BOX = ra.boxes.from_document([DOCUMENT["box"]["on_image"]], DOCUMENT["map"]["image_height"])
RNG = np.random.default_rng(5)


def document_map():
    features = np.zeros((1, 1, ROWS, COLUMNS))
    for cell in DOCUMENT["cells"]["list"]:
        x, y = cell["at"]
        features[0, 0, int(ROWS - y), int(x)] = cell["value"]
    return features


def explain_document():
    return ra.explain(document_map(), BOX, (3, 3), spatial_scale=SCALE)


def explain_point(x, y, features=None):
    """One point by itself, in the document's coordinates."""
    features = document_map() if features is None else features
    return ra.explain(features, ra.boxes.from_document([[x, y, 0, 0]], features.shape[2]), 1)


def random_call(seed):
    """Features, boxes and options of a call: many conventions, boxes partly outside or odd."""
    rng = np.random.default_rng(seed)
    n, c = rng.integers(1, 4, 2)
    height, width = rng.integers(1, 9, 2)
    features = rng.standard_normal((n, c, height, width))
    sides = rng.uniform(-3, 11, (3, 2, 2))
    if rng.random() < 0.5:
        sides = np.round(2 * sides) / 2  # on centres and edges of cells
    sides = np.where(rng.random((3, 1, 1)) < 0.2, sides, np.sort(sides, axis=1))
    rois = np.column_stack([rng.integers(0, n, 3), sides[:, 0], sides[:, 1]])
    dtype = rng.choice(["float16", "float32", "float64"])
    options = {
        "convention": str(rng.choice(list(ra.CONVENTIONS))),
        "sampling_ratio": rng.choice([None, 0, 1, 2, 3]),
        "mode": rng.choice([None, "avg", "max"]),
        "spatial_scale": float(rng.choice([1, 0.5, 0.7])),
        "output_size": tuple(int(n) for n in rng.integers(1, 5, 2)),
    }
    return features.astype(dtype), rois, allowed(options)


# The document's numbers


def test_box_and_points_of_the_document():
    example = explain_document()
    facts = DOCUMENT["box"]
    np.testing.assert_allclose(example.box, facts["on_map"], rtol=0, atol=facts["tolerance"])
    for printed in DOCUMENT["points"]["list"]:
        (i, j), (n, m) = printed["section"], printed["point"]
        at = example.points[j - 1, i - 1, m - 1, n - 1]
        np.testing.assert_allclose(at, printed["at"], rtol=0, atol=DOCUMENT["points"]["tolerance"])
    x_box, y_box, w, h = (SCALE * number for number in DOCUMENT["box"]["on_image"])
    for j, i, m, n in np.ndindex(3, 3, 2, 2):
        x = x_box + w / 3 * i + w / 9 * (n + 1)
        y = y_box - h / 3 * j - h / 9 * (m + 1)
        np.testing.assert_allclose(example.points[j, i, m, n], (x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("printed", DOCUMENT["neighbours"]["list"], ids=str)
def test_neighbours_of_the_document(printed):
    (x1, x2), (y1, y2) = printed["x"], printed["y"]
    near = explain_point(*printed["at"]).neighbours[0, 0, 0, 0]
    np.testing.assert_array_equal(near, [(x1, y2), (x2, y2), (x1, y1), (x2, y1)])


@pytest.mark.parametrize("printed", DOCUMENT["values"]["list"], ids=str)
def test_values_of_the_document(printed):
    value = explain_point(*printed["at"]).values.item()
    assert value == pytest.approx(printed["value"], rel=0, abs=printed["tolerance"])


def test_output_of_the_document():
    i, j = DOCUMENT["output"]["section"]
    output = explain_document().output[j - 1, i - 1]
    facts = DOCUMENT["output"]
    assert output == pytest.approx(facts["value"], rel=0, abs=facts["tolerance"])


def test_formula_of_the_document():
    # Its first worked formula, which is at the point as it rounds it.
    assert explain_point(9.94, 9.5).formula((1, 1), (1, 1)).splitlines()[2:] == [
        "x1 = 9.5, x2 = 10.5, y1 = 8.5, y2 = 9.5",
        (
            "P = (9.5 - 8.5)/(9.5 - 8.5) × "
            "[(10.5 - 9.94)/(10.5 - 9.5) × 0.1 + (9.94 - 9.5)/(10.5 - 9.5) × 0.2]"
        ),
        (
            "  + (9.5 - 9.5)/(9.5 - 8.5) × "
            "[(10.5 - 9.94)/(10.5 - 9.5) × 1 + (9.94 - 9.5)/(10.5 - 9.5) × 0.7]"
        ),
        "  = 0.144",
    ]
    example = explain_document()
    assert example.formula((1, 1), (2, 2), digits=2).splitlines()[:2] == [
        "P_x(1,1,2,2) = 9.25 + 6.25/3 × (1 - 1) + 6.25/9 × 2 = 10.64",  # it cuts: 10.63
        "P_y(1,1,2,2) = 10 - 4.53/3 × (1 - 1) - 4.53/9 × 2 = 8.99",
    ]
    assert example.formula((2, 3), (2, 2), digits=2).splitlines()[:2] == [
        "P_x(2,3,2,2) = 9.25 + 6.25/3 × (2 - 1) + 6.25/9 × 2 = 12.72",  # it prints 12.69
        "P_y(2,3,2,2) = 10 - 4.53/3 × (3 - 1) - 4.53/9 × 2 = 5.97",
    ]
    assert example.formula((1, 1)) == "output(1,1) = max(0.147, 0.2153, 0.5106, 0.4251) = 0.5106"


# The rule of neighbours


@pytest.mark.parametrize("x", [1.0, 1.3, 1.5, 1.5 + 1e-12, 1.8, 2.0, 2.5, 3.2])
@pytest.mark.parametrize("y", [1.0, 1.3, 1.5, 1.5 + 1e-12, 1.8, 2.0, 2.5, 3.2])
def test_neighbours_follow_the_documents_rule(x, y):
    def pair(coordinate):
        n = np.floor(coordinate)
        return (n + 0.5, n + 1.5) if coordinate - n > 0.5 else (n - 0.5, n + 0.5)

    it = explain_point(x, y, RNG.random((1, 1, 5, 5)))
    (x1, x2), (y1, y2) = pair(x), pair(y)
    np.testing.assert_array_equal(
        it.neighbours[0, 0, 0, 0], [(x1, y2), (x2, y2), (x1, y1), (x2, y1)]
    )


@pytest.mark.parametrize("coordinates", ["document", "array"])
@pytest.mark.parametrize("seed", range(30))
def test_weights_are_bilinear_and_cells_are_the_maps(seed, coordinates):
    features, rois, options = random_call(seed)
    options = allowed(options | {"mode": "avg"})
    k, channel = seed % 3, seed % features.shape[1]
    it = ra.explain(features, rois, roi=k, channel=channel, coordinates=coordinates, **options)
    plane = features[it.image, channel]
    np.testing.assert_array_equal(it.map, plane)
    height, width = plane.shape
    shift = 0.5 if coordinates == "document" else 0
    to_index = (
        (lambda xy: (height - 0.5 - xy[1], xy[0] - 0.5))
        if coordinates == "document"
        else (lambda xy: (xy[1], xy[0]))
    )
    for at in np.ndindex(*it.values.shape):
        y, x = to_index(it.points[at])
        if at[2] >= it.grid(*at[:2])[0] or at[3] >= it.grid(*at[:2])[1]:  # others have more
            assert np.isnan([y, x]).any()
            assert np.isnan(it.values[at])
            continue
        outside = not (-1 - 1e-9 < y < height + 1e-9 and -1 - 1e-9 < x < width + 1e-9)
        if it.is_outside(*at):
            assert outside or min(abs(y + 1), abs(y - height), abs(x + 1), abs(x - width)) < 1e-9
            assert it.values[at] == 0
            assert not it.weights[at].any()
            assert np.isnan(it.cells[at]).all()
            continue
        assert not outside
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        for (near_x, near_y), weight, cell in zip(
            it.neighbours[at], it.weights[at], it.cells[at], strict=True
        ):
            row, col = to_index((near_x, near_y))
            bilinear = (1 - abs(row - y)) * (1 - abs(col - x))
            share = it.weights[at].sum()  # 1, but of a cell's in an integral
            np.testing.assert_allclose(weight, share * bilinear, rtol=0, atol=1e-12)
            assert (near_x - shift) % 1 == (near_y - shift) % 1 == 0
            if 0 <= row < height and 0 <= col < width:
                assert cell == plane[int(row), int(col)]
            else:
                assert np.isnan(cell)
                assert weight == 0
        read = it.weights[at] > 0
        np.testing.assert_allclose(
            it.values[at], it.weights[at][read] @ it.cells[at][read], rtol=1e-12, atol=1e-12
        )


# The output


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("seed", range(40))
def test_output_is_the_references_to_the_bit(seed, layout):
    features, rois, options = random_call(seed)
    if layout == "NHWC":
        features = np.moveaxis(features, 1, -1)
    pooled = ra.roi_align(features, rois, layout=layout, backend="reference", **options)
    for k in range(len(rois)):
        for channel in range(features.shape[1 if layout == "NCHW" else -1]):
            it = ra.explain(features, rois, roi=k, channel=channel, layout=layout, **options)
            expected = pooled[k, channel] if layout == "NCHW" else pooled[k, ..., channel]
            assert it.output.dtype == expected.dtype
            np.testing.assert_array_equal(it.output, expected)
            reduced = np.zeros(it.output.shape)
            reduce = np.mean if it.spec.mode == "avg" else np.max
            reduce = np.sum if it.spec.sampling == "integral" else reduce
            for section in np.ndindex(*it.output.shape):
                if it.values_of(*section).size:
                    reduced[section] = reduce(it.values_of(*section))
            resolution = np.finfo(expected.dtype).resolution
            np.testing.assert_allclose(
                reduced.astype(expected.dtype), expected, rtol=resolution, atol=resolution
            )


def test_a_nan_is_explained():
    features = np.zeros((1, 1, 4, 4), np.float32)
    features[0, 0, 1, 1] = np.nan
    it = ra.explain(features, [[0, 0, 0, 4, 4]], 2)
    assert np.isnan(it.output[0, 0])
    assert np.isnan(it.values[0, 0]).any()
    assert np.isfinite(it.output[1, 1])


def test_the_byte_order_of_features_is_not_that_of_the_result():
    features, rois, options = random_call(3)
    it = ra.explain(features.astype(features.dtype.newbyteorder(">")), rois, **options)
    assert it.map.dtype.isnative
    assert it.output.dtype.isnative
    np.testing.assert_array_equal(it.map, ra.explain(features, rois, **options).map)


def test_coordinates_change_only_what_is_shown():
    features, rois, options = random_call(3)
    document, array = (
        ra.explain(features, rois, coordinates=name, **options) for name in numbers.COORDINATES
    )
    height = features.shape[2]
    for field in ("values", "cells", "weights", "output"):
        np.testing.assert_array_equal(getattr(document, field), getattr(array, field))
    for field in ("points", "neighbours"):
        up, down = getattr(document, field), getattr(array, field)
        np.testing.assert_allclose(up[..., 0] - 0.5, down[..., 0], atol=1e-12)
        np.testing.assert_allclose(height - 0.5 - up[..., 1], down[..., 1], atol=1e-12)
    assert document.box[2:] == array.box[2:]


def test_features_are_not_modified_nor_kept():
    features = RNG.random((1, 1, 4, 4))
    before = features.copy()
    it = ra.explain(features, [[0, 0, 0, 3, 3]], 2)
    np.testing.assert_array_equal(features, before)
    features[:] = 0
    np.testing.assert_array_equal(it.map, before[0, 0])


# Texts


@pytest.mark.parametrize("coordinates", ["document", "array"])
@pytest.mark.parametrize(
    "convention", ["document", "detectron2", "torchvision", ra.Convention(border="zero")]
)
@pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
def test_formulas_compute_what_they_say(coordinates, convention, mode):
    features = RNG.random((1, 1, 6, 7))
    options = {"convention": convention, "mode": mode, "sampling_ratio": (2, 3)}
    it = ra.explain(
        features, [[0, -0.6, 0.8, 6.3, 5.1]], (2, 3), coordinates=coordinates, **options
    )
    for row, col, i, j in np.ndindex(*it.values.shape):
        section, point = it.number(row, col), it.number(i, j)
        text = it.formula(section, point, digits=9)
        x_line, y_line, *rest = text.splitlines()
        for line, expected in zip((x_line, y_line), it.points[row, col, i, j], strict=True):
            _, right, printed = line.split(" = ")
            assert float(printed) == pytest.approx(expected, abs=1e-8)
            assert evaluate(right) == pytest.approx(expected, abs=1e-7)
        formula = "".join(rest[-3:]).removeprefix("P = ")
        right, printed = formula.rsplit("  = ", 1)
        assert evaluate(right.replace("none", "0")) == pytest.approx(float(printed), abs=1e-7)
        assert float(printed) == pytest.approx(it.values[row, col, i, j], abs=1e-8)
    right, printed = it.formula(it.number(0, 1), digits=9).split(" = ")[1:]
    assert evaluate(right) == pytest.approx(float(printed), abs=1e-8)


@pytest.mark.parametrize("coordinates", ["document", "array"])
@pytest.mark.parametrize("size", [(3, 2), (1, 4)])
def test_formulas_of_points_on_the_corners(coordinates, size):
    features = RNG.random((1, 1, 6, 7))
    convention = ra.Convention(pixel_offset=0.0, sampling="corners")
    it = ra.explain(
        features, [[0, 0.4, 5.8, 5.9, 0.7]], size, convention=convention, coordinates=coordinates
    )
    last = it.number(0, size[1] - 1)
    x_line, y_line, *rest = it.formula(last, it.number(0, 0), digits=9).splitlines()
    if size[0] > 1:
        assert rest == ["P = 0, outside the map"]
    else:
        assert rest[-1] == f"  = {it.output[0, -1]:.9f}".rstrip("0")
    for line, expected in zip((x_line, y_line), it.points[0, -1, 0, 0], strict=True):
        _, right, printed = line.split(" = ")
        assert float(printed) == pytest.approx(expected, abs=1e-8)
        assert evaluate(right) == pytest.approx(expected, abs=1e-7)


def test_nearest_cells_are_explained():
    features = np.arange(12.0).reshape(1, 1, 3, 4)
    convention = ra.Convention(pixel_offset=0.0, sampling="nearest")
    it = ra.explain(
        features, [[0, -1, 0.4, 2.5, 0.4]], (1, 2), convention=convention, coordinates="array"
    )
    assert it.formula((0, 1), (0, 0)) == "P(0,1,0,0) is the cell at x = 3, y = 0\nP = 1 × 3 = 3"
    assert it.formula((0, 0), (0, 0)).endswith("P = 0, outside the map")
    assert it.output.tolist() == [[0, 3]]


@pytest.mark.parametrize("convention", ["roi_pool", "prroi"])
def test_whole_cells_are_explained_with_their_weights(convention):
    features = RNG.random((1, 1, 6, 7))
    it = ra.explain(features, [[0, -0.9, 0.8, 6.3, 5.1]], (2, 3), convention=convention)
    sections = list(np.ndindex(2, 3))
    assert len({it.grid(*section) for section in sections}) > 1
    described = it.to_dict()["sections"]
    for (row, col), section in zip(sections, described, strict=True):
        gy, gx = it.grid(row, col)
        assert len(section["points"]) == gy * gx
        for i, j in np.ndindex(gy, gx):
            place, product = it.formula(it.number(row, col), it.number(i, j), 9).splitlines()
            x, y = re.fullmatch(r".* is the cell at x = (.*), y = (.*)", place).groups()
            assert (float(x), float(y)) == tuple(it.points[row, col, i, j])
            _, right, printed = product.split(" = ")
            assert evaluate(right) == pytest.approx(float(printed), abs=1e-8)
            weight, cell = map(float, right.split(" × "))
            assert weight == (1 if convention == "roi_pool" else pytest.approx(weight))
            assert cell == pytest.approx(features[0, 0, 5 - int(float(y)), int(float(x))], abs=1e-8)
        _, right, printed = it.formula(it.number(row, col), digits=9).split(" = ")
        assert evaluate(right) == pytest.approx(float(printed), abs=1e-7)
    with pytest.raises(ValueError, match="point must be in"):
        it.formula((1, 1), (it.values.shape[3] + 1, 1))
    assert it.box == pytest.approx(
        (-1, 5, 8, 5) if convention == "roi_pool" else (-0.4, 4.7, 7.2, 4.3)
    )


def evaluate(text):
    text = text.replace("×", "*").replace("[", "(").replace("]", ")")
    assert re.fullmatch(r"[-+*/()., \d]*", text.replace("max", ""))
    return eval(text, {"max": max})


def test_formula_of_a_point_outside_and_of_a_clamped_one():
    features = RNG.random((1, 1, 4, 4))
    it = ra.explain(features, [[0, -2.0, 0.3, 0.4, 0.3]], 1, sampling_ratio=(1, 2))
    assert it.formula((1, 1), (1, 1)).endswith("P = 0, outside the map")
    assert "moved to the outermost centres: x = 0.5, y = 3.5" in it.formula((1, 1), (2, 1))
    assert "none" in it.formula((1, 1), (2, 1))  # no cell to the left of the first


def test_formula_of_a_section_without_points():
    it = ra.explain(np.ones((1, 1, 4, 4)), [[0, 2, 2, 2, 2]], 1, convention="detectron2")
    assert it.formula((1, 1)) == "output(1,1) = 0, without points"
    with pytest.raises(ValueError, match="no points"):
        it.formula((1, 1), (1, 1))


def test_table_lists_every_point_and_output():
    console = pytest.importorskip("rich.console", reason="the extra 'plot' is not installed")
    example = explain_document()
    printed = console.Console(width=100, file=sys.stdout, color_system=None)
    with printed.capture() as capture:
        printed.print(example.table())
        printed.print(example.table(section=(1, 1)))
    text = capture.get()
    assert text.count("(3,3)") == 4 + 1
    assert text.count("max") == 9 + 1
    assert "9.944" in text
    assert "0.511" in text


def test_dict_is_json_and_complete():
    it = ra.explain(np.ones((1, 1, 4, 4)), [[0, -2.5, 0, 2, 2]], 2, sampling_ratio=2)
    facts = json.loads(json.dumps(it.to_dict(), allow_nan=False))
    assert [part["section"] for part in facts["sections"]] == [[1, 1], [2, 1], [1, 2], [2, 2]]
    for part, (row, col) in zip(facts["sections"], np.ndindex(2, 2), strict=True):
        assert part["output"] == it.output[row, col]
        assert [point["value"] for point in part["points"]] == it.values[row, col].ravel().tolist()
    outside = facts["sections"][0]["points"][0]
    assert outside["cells"] == [None] * 4
    assert outside["neighbours"] == [[None, None]] * 4


# Pictures


@pytest.fixture
def drawing():
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    from roialign_cy._explain import drawing

    return drawing


def texts_of(figure):
    figure.canvas.draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_plot_shows_cells_output_and_arithmetic(drawing):
    example = explain_document()
    texts = texts_of(example.plot())
    for value in ("0.1", "0.2", "1", "0.7", "0.51"):
        assert value in texts
    (arithmetic,) = (text for text in texts if "\n" in text)
    assert arithmetic.splitlines()[1:3] == [
        "0.10 × 0.27 + 0.20 × 0.22 +",
        "1.00 × 0.28 + 0.70 × 0.23 = 0.51",
    ]
    assert arithmetic.splitlines()[-1] == "max 0.51"


def test_arithmetic_of_the_picture_is_the_interpolation(drawing):
    features = np.random.default_rng(2).random((1, 1, 16, 16))
    it = ra.explain(features, BOX, (3, 3), spatial_scale=SCALE)
    from roialign_cy._explain.plot import arithmetic

    text = arithmetic(it, (0, 0), (1, 0))
    terms = [float(a) * float(b) for a, b in re.findall(r"(\d+\.\d+) × (\d+\.\d+)", text)]
    assert sum(terms) == pytest.approx(it.values[0, 0, 1, 0], abs=0.03)
    assert f"= {it.values[0, 0, 1, 0]:.2f}" in text


@pytest.mark.parametrize("coordinates", ["document", "array"])
@pytest.mark.parametrize(
    "box", [[0, -9, -9, -7, -7], [0, -1e6, 2, 1e6, 3], [0, 3, 3, 1, 1], [0, 2, 2, 2, 2]]
)
def test_plot_of_odd_boxes(drawing, box, coordinates):
    it = ra.explain(
        np.zeros((1, 1, 6, 6), np.float16), [box], 2, sampling_ratio=2, coordinates=coordinates
    )
    figure = it.plot()
    figure.canvas.draw()
    low, high = sorted(figure.axes[0].get_xlim())
    assert 1 <= high - low <= 12


def test_plot_of_nan_and_of_a_box_without_points(drawing):
    features = np.full((1, 1, 4, 4), np.nan)
    ra.explain(features, [[0, 0, 0, 3, 3]], 2).plot().canvas.draw()
    it = ra.explain(features, [[0, 2, 2, 2, 2]], 1, convention="detectron2")
    assert "Section (1,1) has no points." in texts_of(it.plot())


def test_sections_are_few_artists(drawing):
    figures = [
        ra.explain(np.zeros((1, 1, 9, 9)), [[0, 0, 0, 8, 8]], size, sampling_ratio=1).plot()
        for size in (20, 30)
    ]
    few, many = (len(figure.axes[0].get_children()) for figure in figures)
    assert few == many


def test_plot_draws_on_a_given_figure_and_leaves_pyplot_alone(drawing):
    from matplotlib import pyplot

    given = drawing.new_figure((6, 3))
    assert explain_document().plot(section=(3, 3), point=(1, 1), figure=given) is given
    assert pyplot.get_fignums() == []


# Refusals


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"roi": 1}, ValueError, "roi must be in 0 .. 1 - 1, got 1"),
        ({"roi": -1}, ValueError, "roi must be"),
        ({"roi": 0.0}, TypeError, "roi must be an integer"),
        ({"channel": 1}, ValueError, "channel must be in 0 .. 1 - 1, got 1"),
        ({"coordinates": "arrays"}, ValueError, "did you mean 'array'"),
        ({"rois": [[0, 0, 0, np.nan, 1]]}, ValueError, r"rois\[0\] must be finite"),
        ({"rois": [[1, 0, 0, 1, 1]]}, ValueError, "index of an image"),
        ({"features": np.ones((1, 1, 4, 4), int)}, TypeError, "astype"),
        ({"features": [[[[1.0]]]]}, TypeError, "list"),
        ({"features": np.ones((1, 1, 0, 4))}, ValueError, "a cell or more"),
        ({"sampling_ratio": 4096}, ValueError, "give a sampling_ratio"),
        ({"rois": [[0, 0, 0, 1e9, 1e9]], "convention": "mmcv"}, ValueError, "sampling_ratio"),
        ({"rois": [[0, 5, 0, 1, 1e9]], "convention": "mmcv"}, ValueError, "1000000000 samples"),
        ({"rois": [[0, 0, 5, 1e9, 1]], "convention": "mmcv"}, ValueError, "1000000000 samples"),
    ],
)
def test_refusals(changes, error, match):
    call = {"features": np.ones((1, 1, 4, 4)), "rois": [[0, 0, 0, 2, 2]], "output_size": 2}
    with pytest.raises(error, match=match):
        ra.explain(**call | changes)


@pytest.mark.parametrize("section", [(0, 1), (4, 1), (1, 4), (1,), (1, 1, 1)])
def test_sections_that_do_not_exist(section):
    with pytest.raises(ValueError, match=r"section must be in \(1, 1\) .. \(3, 3\)"):
        explain_document().formula(section)


@pytest.mark.parametrize("section", [1, (1.0, 1.0), ("1", "1")])
def test_sections_that_are_no_pair_of_integers(section):
    with pytest.raises(TypeError, match="section must be two integers"):
        explain_document().formula(section)


def test_needs_its_extra(monkeypatch):
    example = explain_document()
    for package, show in (("rich", example.table), ("matplotlib", example.plot)):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        for module in ("drawing", "plot"):
            monkeypatch.delitem(sys.modules, f"roialign_cy._explain.{module}", raising=False)
            monkeypatch.delattr(f"roialign_cy._explain.{module}", raising=False)
        with pytest.raises(ImportError, match=r"roialign_cy\[plot\]") as error:
            show()
        assert error.value.name.partition(".")[0] == package  # which the command looks at


def test_values_are_the_references_interpolation():
    features = RNG.random((1, 3, 5, 5))
    it = ra.explain(features, [[0, 1.1, 1.3, 1.1, 1.3]], 1, channel=2, convention="mmcv",
                    sampling_ratio=1)  # fmt: skip
    y, x = 0.8, 1.1 - 0.5
    cells = ((0, 1 - y), (1, y)), ((0, 1 - x), (1, x))
    expected = interpolated(features[0], *cells)[2]
    np.testing.assert_allclose(it.values.item(), expected, rtol=1e-12)


def test_its_modules_import_one_another_in_one_direction():
    folder = Path(numbers.__file__).parent
    imports = {
        path.stem: set(re.findall(r"^\s*from \.(\w+) import", path.read_text(), re.MULTILINE))
        for path in folder.glob("[a-z]*.py")
    }
    assert imports["plot"] == {"data", "drawing", "text"}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError
