"""Rotated boxes: printed numbers, naive loops, gradients, quarter turns, bits, refusals."""

import math

import numpy as np
import pytest

import roialign_cy as ra
from tests.fuzz import ways

BACKENDS = pytest.mark.parametrize("name", ["cpu", "reference"])
STEPS = np.array([[[[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]])
MIDDLE = [0, 1.5, 1.5, 3, 3]
QUARTER = math.pi / 2


def pool(features, rois, output_size, **options):
    return ra.roi_align_rotated(features, rois, output_size, **options)


# mmcv, tests/test_ops/test_roi_align_rotated.py; all of its numbers are exact in float32.
@BACKENDS
@pytest.mark.parametrize(
    ("angle", "clockwise", "expected"),
    [
        (0, False, [1.9375, 4.75, 7.5625, 10.375]),
        (QUARTER, False, [7.5625, 1.9375, 10.375, 4.75]),
        (-QUARTER, True, [7.5625, 1.9375, 10.375, 4.75]),
    ],
)
def test_numbers_of_mmcv(angle, clockwise, expected, name):
    options = {"convention": "mmcv", "sampling_ratio": 2, "clockwise": clockwise, "backend": name}
    output = pool(STEPS, [[*MIDDLE, angle]], 2, **options)
    np.testing.assert_allclose(output.ravel(), expected, rtol=0, atol=1e-12)


@BACKENDS
def test_gradient_of_mmcv(name):
    options = {"convention": "mmcv", "sampling_ratio": 2, "backend": name}
    rois = [[*MIDDLE, 0]]
    ones = np.ones((1, 1, 2, 2))
    gradient = ra.roi_align_rotated_backward(ones, rois, STEPS.shape, **options)
    np.testing.assert_array_equal(gradient[0, 0, 0], [0.47265625, 0.4296875, 0.4296875, 0.04296875])
    assert gradient.sum() == 4


# Detectron2, tests/layers/test_roi_align_rotated.py.
@BACKENDS
@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2, 3, 4, 5])
def test_numbers_of_detectron2(quarters, name):
    features = np.arange(25.0, dtype=np.float32).reshape(1, 1, 5, 5)
    rows = [[4.5, 5, 5.5, 6], [7, 7.5, 8, 8.5], [9.5, 10, 10.5, 11], [12, 12.5, 13, 13.5]]
    output = pool(features, [[0, 2, 2, 2, 2, 90 * quarters]], 4, backend=name)
    # A box that is turned one way sees the map turned the other way.
    np.testing.assert_array_equal(output[0, 0], np.rot90(rows, -quarters))


@BACKENDS
def test_a_box_without_extent_is_zero(name):
    features = np.ones((1, 2, 5, 5))
    assert not pool(features, [[0, 2, 2, 0, 0, 30]], 3, backend=name).any()
    assert (pool(features, [[0, 2, 2, 0, 0, 30]], 3, sampling_ratio=1, backend=name) == 1).all()


def cells_of(position, size, border):
    if border == "clamp":
        if not -1 <= position <= size:
            return []
        position = min(max(position, 0.0), size - 1.0)
    elif not -1 < position < size:
        return []
    low = math.floor(position)
    pairs = (low, low + 1 - position), (low + 1, position - low)
    return [(cell, weight) for cell, weight in pairs if 0 <= cell < size and weight]


def naive(features, roi, sections, ratio, mode, convention, clockwise, scale):
    """Pool one box by loops over its samples, as the definition is printed."""
    image, cx, cy, width, height, angle = roi
    channels, *size = features[int(image)].shape
    angle = math.radians(angle) if convention.angle == "degrees" else angle
    angle = -angle if clockwise else angle
    centre = cy * scale - convention.pixel_offset, cx * scale - convention.pixel_offset
    sides = [max(side * scale, convention.min_size or 0) for side in (height, width)]
    counts = [
        asked or math.ceil(side / number)
        for asked, side, number in zip(ratio, sides, sections, strict=True)
    ]
    result = np.zeros((channels, *sections))
    for section in np.ndindex(*sections):
        values = []
        for sample in np.ndindex(*counts):
            yy, xx = (
                -side / 2 + (p + (i + 0.5) / count) * side / number
                for p, i, side, count, number in zip(
                    section, sample, sides, counts, sections, strict=True
                )
            )
            y = yy * math.cos(angle) - xx * math.sin(angle) + centre[0]
            x = yy * math.sin(angle) + xx * math.cos(angle) + centre[1]
            value = np.zeros(channels)
            for row, wy in cells_of(y, size[0], convention.border):
                for col, wx in cells_of(x, size[1], convention.border):
                    value += wy * wx * features[int(image), :, row, col]
            values.append(value)
        if values:
            result[:, *section] = np.mean(values, 0) if mode == "avg" else np.max(values, 0)
    return result


def random_boxes(rng, count, images, size, degrees=True):
    """Boxes of which some are beyond the border, and some larger than the map."""
    centre = rng.uniform(-3, np.array(size[::-1]) + 3, (count, 2))
    sides = rng.uniform(0, 1, (count, 2)) ** 2 * 25
    angle = rng.uniform(-400, 400, count)
    angle = angle if degrees else np.radians(angle)
    return np.column_stack([rng.integers(0, images, count), centre, sides, angle])


def random_call(seed):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 20, 2))
    features = rng.standard_normal((2, int(rng.choice([1, 3, 17])), *size))
    convention = ra.Convention(
        pixel_offset=float(rng.choice([0, 0.5])),
        min_size=[None, 1.0][rng.integers(2)],
        border=str(rng.choice(["clamp", "zero"])),
        angle=str(rng.choice(["degrees", "radians"])),
    )
    options = {
        "convention": convention,
        "clockwise": bool(rng.integers(2)),
        "spatial_scale": float(rng.choice([1, 0.7])),
        "sampling_ratio": tuple(int(n) for n in rng.integers(0, 4, 2)),
        "mode": ["avg", "max"][seed % 2],
    }
    rois = random_boxes(rng, 8, 2, size, convention.angle == "degrees")
    return features, rois, tuple(int(n) for n in rng.integers(1, 5, 2)), options


@BACKENDS
@pytest.mark.parametrize("seed", range(20))
def test_random_calls_are_what_naive_loops_give(seed, name):
    features, rois, sections, options = random_call(seed)
    ratio, mode, convention, clockwise, scale = (
        options[key]
        for key in ("sampling_ratio", "mode", "convention", "clockwise", "spatial_scale")
    )
    expected = [
        naive(features, roi, sections, ratio, mode, convention, clockwise, scale) for roi in rois
    ]
    output = pool(features, rois, sections, backend=name, **options)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-9)
    single = pool(features.astype(np.float32), rois, sections, backend=name, **options)
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


@BACKENDS
@pytest.mark.parametrize("seed", range(20))
def test_gradients_by_finite_differences(seed, name):
    features, rois, sections, options = random_call(seed)
    rois[:, 3:5] += 0.1  # none is narrower than the steps
    rng = np.random.default_rng(seed)
    output = pool(features, rois, sections, **options)
    grads = rng.standard_normal(output.shape)
    by_features, by_rois = ra.roi_align_rotated_backward(
        grads,
        rois,
        features.shape,
        features=features,
        wrt=("features", "rois"),
        backend=name,
        **options,
    )

    def change(maps, maps_before, boxes, boxes_before):
        after = pool(maps, boxes, sections, **options)
        before = pool(maps_before, boxes_before, sections, **options)
        return ((after - before) * grads).sum((1, 2, 3)) / 2e-6

    step = rng.standard_normal(features.shape) * 1e-6
    expected = change(features + step, features - step, rois, rois).sum()
    assert (by_features * step).sum() * 1e6 == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if options["mode"] == "avg":  # the adjoint
        assert (by_features * features).sum() == pytest.approx((grads * output).sum(), abs=1e-9)
    for parameter in range(5):
        step = np.zeros(6)
        step[1 + parameter] = 1e-6
        expected = change(features, features, rois + step, rois - step)
        np.testing.assert_allclose(by_rois[:, parameter], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_a_quarter_turn_is_the_upright_box_turned(mode, quarters):
    rng = np.random.default_rng(quarters)
    features = rng.standard_normal((2, 3, 30, 30))
    rois = random_boxes(rng, 20, 2, (24, 24))
    rois[:, 3] = rois[:, 4]
    turned, upright = rois.copy(), rois.copy()
    turned[:, 5], upright[:, 5] = 90 * quarters, 0
    options = {"mode": mode, "sampling_ratio": 2}
    expected = np.rot90(pool(features, upright, 4, **options), -quarters, axes=(2, 3))
    np.testing.assert_allclose(pool(features, turned, 4, **options), expected, rtol=0, atol=1e-12)
    turned[:, 5] = quarters * QUARTER  # not exactly
    output = pool(features, turned, 4, convention="mmcv", **options)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


@BACKENDS
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2, (1, 3)])
def test_without_an_angle_it_is_roi_align(ratio, mode, name):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 3, 20, 25))
    rois = random_boxes(rng, 40, 2, (20, 25))
    rois[:, 5] = 0
    corners = np.hstack(
        [rois[:, :1], rois[:, 1:3] - rois[:, 3:5] / 2, rois[:, 1:3] + rois[:, 3:5] / 2]
    )
    options = {"mode": mode, "sampling_ratio": ratio, "backend": name}
    output = pool(features, rois, (3, 5), **options)
    expected = ra.roi_align(features, corners, (3, 5), convention="detectron2", **options)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_means_of_ones_are_ones(dtype):
    rng = np.random.default_rng(0)
    rois = random_boxes(rng, 300, 1, (40, 40))
    rois[:, 1:3] = rng.uniform(18, 22, (300, 2))
    features = np.ones((1, 1, 40, 40), dtype)
    for ratio in (0, 1, 2, 3, 7):
        output = pool(features, rois, (3, 2), sampling_ratio=ratio)
        assert set(np.unique(output)) <= {0.0, 1.0}
        assert (pool(features, rois, 1, sampling_ratio=ratio) <= 1).all()


# Bits


@pytest.mark.parametrize("seed", range(8))
def test_every_way_gives_the_same_bits(seed):
    features, rois, sections, options = random_call(seed)
    features = features.astype(["float32", "float64", "float16", "float32"][seed % 4])
    rois = np.vstack([rois, [1, 5, 5, 400, 300, 33]])  # lists that are made where they are read
    arguments = {"features": features, "rois": rois, "output_size": sections, "layout": "NCHW"}
    arguments |= options | {"backend": None}
    with ways.registered():
        output = pool(**arguments)
        ways.assert_same_bits("roi_align_rotated", arguments, output)
        del arguments["output_size"]
        arguments |= {"input_shape": features.shape, "wrt": ("features", "rois")}
        arguments["grad_output"] = output
        gradients = ra.roi_align_rotated_backward(**arguments)
        ways.assert_same_bits("roi_align_rotated_backward", arguments, gradients)


@pytest.mark.parametrize("seed", range(4))
def test_strides_and_byte_order_do_not_enter_into_the_bits(seed):
    features, rois, sections, options = random_call(seed)
    expected = pool(features, rois, sections, **options)
    room = np.zeros((*features.shape[:3], 2 * features.shape[3]), ">f8")
    room[..., ::2] = features
    out = np.full((*expected.shape, 2), 5.0)[..., 0]
    output = pool(room[..., ::2], rois[::-1][::-1], sections, out=out, **options)
    assert output is out
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool", "bfloat16"])
def test_other_types_are_read_as_their_values(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    features, rois, sections, options = random_call(1)
    features = (features * 3).astype(dtype)
    output = pool(features, rois, sections, **options)
    expected = pool(features.astype(np.float32), rois, sections, **options)
    np.testing.assert_array_equal(output, expected.astype(output.dtype))


def test_images_as_lists():
    features, rois, sections, options = random_call(0)
    listed = [rois[rois[:, 0] == image, 1:] for image in range(2)]
    order = np.argsort(rois[:, 0], kind="stable")
    expected = pool(features, rois[order], sections, **options)
    np.testing.assert_array_equal(pool(features, listed, sections, **options), expected)


# Odd boxes


@BACKENDS
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(
    "roi",
    [
        [0, 1e9, 2, 1e12, 3, 0],
        [0, 2, -1e14, 2, 2e14, 45],
        [0, 3, 3, 2e12, 1e12, 1e30],
        [0, 1e300, 1e300, 5, 5, 10],
        [0, 3, 3, 0, 7, 10],
        [0, 3, 3, 1e-300, 1e-300, 10],
        [0, -1, -1, 0, 0, 90],
        [0, 8, 8, 6, 4, 180],
    ],
)
def test_odd_boxes_are_answered_at_once_and_alike(roi, mode, name):
    features = np.random.default_rng(0).standard_normal((1, 2, 7, 7))
    rois = [roi, [0, 3, 3, 4, 4, 30]]
    output = pool(features, rois, (2, 3), mode=mode, backend=name)
    assert np.isfinite(output).all()
    np.testing.assert_allclose(
        output, pool(features, rois, (2, 3), mode=mode, backend="reference"), rtol=0, atol=1e-12
    )


@BACKENDS
@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (1, 0, 3, 3), (1, 2, 0, 3), (1, 2, 3, 0)])
def test_empty_maps(shape, name):
    rois = [[0, 1, 1, 2, 2, 30]] if shape[0] else np.empty((0, 6))
    output = pool(np.ones(shape), rois, 2, backend=name)
    assert output.shape == (len(rois), shape[1], 2, 2)
    assert not output.any()
    gradients = ra.roi_align_rotated_backward(
        np.ones(output.shape),
        rois,
        shape,
        features=np.ones(shape),
        wrt=("features", "rois"),
        backend=name,
    )
    assert [g.shape for g in gradients] == [shape, (len(rois), 5)]
    assert not any(g.any() for g in gradients)


def test_no_boxes():
    features = np.ones((2, 3, 4, 4))
    for rois in (np.empty((0, 6)), [], [[], np.empty((0, 5))]):
        assert pool(features, rois, 2).shape == (0, 3, 2, 2)


def test_nan_spreads_from_the_cells_that_are_read_alone():
    features = np.full((1, 1, 9, 9), np.nan)
    features[0, 0, 3:6, 3:6] = 1
    box = [[0, 4.5, 4.5, 1.4, 1.4, 45]]
    for mode in ("avg", "max"):
        assert (pool(features, box, 2, sampling_ratio=2, mode=mode) == 1).all()
    features[0, 0, 4, 4] = np.nan
    assert np.isnan(pool(features, box, 2, sampling_ratio=2)).all()


@BACKENDS
def test_infinite_cells_have_no_part_in_slopes_that_are_0(name):
    features = np.zeros((1, 1, 5, 5))
    features[0, 0, 2, 2:4] = 1, np.inf
    gradient = ra.roi_align_rotated_backward(
        np.ones((1, 1, 1, 1)), [[0, 2.5, 2.5, 0, 0, 0]], features.shape, features=features,
        wrt="rois", sampling_ratio=1, backend=name,
    )  # fmt: skip
    np.testing.assert_array_equal(gradient, [[np.inf, -1, 0, 0, 0]])


# Explained


@pytest.mark.parametrize("coordinates", ["document", "array"])
def test_explained(coordinates):
    features = np.random.default_rng(0).random((1, 1, 6, 8))
    rois = [[0, 4.1, 3, 5.2, 2.6, 25]]
    options = {"convention": "detectron2", "sampling_ratio": 2}
    it = ra.explain(features, rois, (2, 4), coordinates=coordinates, **options)
    np.testing.assert_array_equal(
        it.output, pool(features, rois, (2, 4), backend="reference", **options)[0, 0]
    )
    np.testing.assert_allclose(it.values.mean((2, 3)), it.output, rtol=0, atol=1e-15)
    np.testing.assert_allclose((it.weights * it.cells).sum(-1), it.values, rtol=0, atol=1e-15)
    # The points lie on the lines of a grid that is turned: the first row of points rises.
    (x1, y1), (x2, y2) = it.points[0, [0, -1], 0, [0, -1]]
    assert it.angle == pytest.approx(25)
    rise = y2 - y1 if coordinates == "document" else y1 - y2
    assert math.degrees(math.atan2(rise, x2 - x1)) == pytest.approx(25)
    assert "P_x(" in it.formula(it.number(0, 0), it.number(0, 0))


def test_a_picture_has_the_turned_box():
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    features = np.random.default_rng(0).random((1, 1, 6, 8))
    it = ra.explain(features, [[0, 4, 3, 4, 2, 90]], 1, convention="torchvision")
    (outline, *_) = it.plot().axes[0].patches
    low, high = outline.get_corners().min(0), outline.get_corners().max(0)
    np.testing.assert_allclose([low, high], [[3.5, 0.5], [5.5, 4.5]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"rois": [[0, 1, 1, 2, 2, math.nan]]}, ValueError, r"rois\[0\] must be finite"),
        ({"rois": [[0, 1, math.inf, 2, 2, 0]]}, ValueError, r"rois\[0\] must be finite"),
        ({"rois": [[1, 1, 1, 2, 2, 0]]}, ValueError, "index of an image"),
        ({"rois": [[0, 1, 1, -2, 2, 0]]}, ValueError, "width and a height of at least 0"),
        ({"rois": [[0, 1, 1, 2, -1e-9, 0]]}, ValueError, "width and a height of at least 0"),
        ({"rois": [[0, 1, 1, 1e308, 2, 0]]}, ValueError, "finite extent"),
        ({"rois": [[0, 1, 1, 1e17, 2, 0]]}, ValueError, "sample count is exact"),
        # Of samples that are known only to many cells, too many could be on the map.
        *(
            (
                {"rois": [[0, 0, 0, width, height, 0]], "sampling_ratio": (0, 1)},
                ValueError,
                "sample count is exact",
            )
            for width, height in [(1e30, 1e15), (1e22, 1e8), (1e17, 5e3)]
        ),
        (
            {"rois": [[0, 4, 4, 1, 1e15, 0]], "convention": ra.Convention(pixel_offset=1.7e308)},
            ValueError,
            "finite extent",
        ),
        (
            {"rois": [[0, 1, 1, 2, 2]]},
            ValueError,
            r"shape \(K, 6\), got \(1, 5\): the first of six",
        ),
        ({"rois": [0, 1, 1, 2, 2, 0]}, ValueError, "one box is a row"),
        ({"rois": [[[1, 1, 2, 2]]]}, ValueError, r"rois\[0\] must have the shape \(K, 5\)"),
        (
            {"rois": [[0, 1, 1, 2, 2, 1e30]], "convention": "mmcv"},
            ValueError,
            r"at most 2\*\*20 radians",
        ),
        ({"convention": "document"}, ValueError, "sampling 'centered'"),
        ({"convention": "prroi"}, ValueError, "sampling 'centered'"),
        ({"convention": "onnx", "mode": "max"}, ValueError, "mode must be 'avg' or 'max'"),
        ({"mode": "max_weighted"}, ValueError, "mode must be 'avg' or 'max'"),
        ({"sampling_ratio": 65}, ValueError, "at most 64"),
        ({"clockwise": 1}, TypeError, "clockwise must be True or False"),
    ],
)
def test_refusals(changes, error, text):
    arguments = {"features": np.ones((1, 1, 4, 4)), "rois": [[0, 1, 1, 2, 2, 0]], "output_size": 2}
    with pytest.raises(error, match=text):
        pool(**arguments | changes)


def test_a_backend_that_does_not_know_rotated_boxes_refuses(own_registry):
    class Upright:
        name, api_version, array_types = "upright", 2, ("numpy:ndarray",)

        def unavailable_reason(self):
            return None

        def cannot_run(self, spec, operation):
            known = spec.sampling in ("centered", "interior")
            return None if known else f"it does not have the sampling {spec.sampling!r}"

        roi_align = feature_gradient = box_gradient = None

    ra.backends.register(Upright())
    with pytest.raises(ra.BackendUnavailableError, match="'rotated'"):
        pool(np.ones((1, 1, 4, 4)), [[0, 1, 1, 2, 2, 0]], 2, backend="upright")
