"""A border of zeros: each neighbour beyond the map counts as 0, instead of the border's cells."""

import numpy as np
import pytest

import roialign_cy as ra

BACKENDS = pytest.mark.parametrize("name", ["cpu", "reference"])
ZERO = ra.Convention(border="zero")
CORNERS = ra.Convention(pixel_offset=0.0, border="zero")


# TF object detection, utils/spatial_transform_ops_test.py: zero padding of neighbours outside.
@BACKENDS
def test_numbers_of_tf_object_detection(name):
    features = np.array([[[[1.0, 2], [3, 4]]]])
    # Nine points, at -0.5, 0.5 and 1.5 along each axis.
    output = ra.roi_align(
        features, [[0, -1, -1, 2, 2]], 3, convention=CORNERS, sampling_ratio=1, backend=name
    )
    assert output.ravel().tolist() == [0.25, 0.75, 0.5, 1, 2.5, 1.5, 0.75, 1.75, 1]


@BACKENDS
@pytest.mark.parametrize(
    ("at", "expected"),
    [(-1, 0), (-0.75, 0.5), (-0.25, 1.5), (0, 2), (0.5, 3), (1, 4), (1.25, 3), (1.75, 1), (2, 0)],
)
def test_one_point_along_an_axis(at, expected, name):
    features = np.array([[[[2.0, 4]]]])
    options = {"convention": CORNERS, "sampling_ratio": 1, "backend": name}
    assert ra.roi_align(features, [[0, at, 0, at, 0]], 1, **options) == expected
    turned = np.swapaxes(features, 2, 3)
    assert ra.roi_align(turned, [[0, 0, at, 0, at]], 1, **options) == expected


EPSILON = 2.0**-40


@BACKENDS
@pytest.mark.parametrize(
    "at", [-1, -EPSILON, 0, EPSILON, 3.25, 7 - EPSILON, 7, 7 + EPSILON, 8, 8 + EPSILON]
)
def test_points_at_the_first_and_the_last_cell(at, name):
    features = np.arange(10.0, 18).reshape(1, 1, 1, 8)
    expected = 10 + np.clip(at, 0, 7) if -1 <= at <= 8 else 0
    options = {"convention": ra.Convention(pixel_offset=0.0), "sampling_ratio": 1}
    pooled = ra.roi_align(features, [[0, at, 0, at, 0]], 1, backend=name, **options)
    assert pooled == pytest.approx(expected, rel=1e-15, abs=0)
    turned = ra.roi_align(features.mT, [[0, 0, at, 0, at]], 1, backend=name, **options)
    assert turned == pooled


@BACKENDS
def test_inside_the_map_there_is_no_difference(name):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 3, 8, 9))
    rois = np.array([[0, 0.5, 0.5, 8.5, 7.5], [0, 2, 3, 6, 5]])
    for mode in ("avg", "max", "max_weighted"):
        options = {"mode": mode, "sampling_ratio": 3, "backend": name}
        zero, clamp = (
            ra.roi_align(features, rois, 3, convention=convention, **options)
            for convention in (ZERO, ra.Convention())
        )
        np.testing.assert_array_equal(zero, clamp)


def random_call(seed):
    rng = np.random.default_rng(seed)
    n, c, h, w = (int(number) for number in rng.integers(1, [3, 20, 9, 9]))
    sides = rng.uniform(-4, 12, (8, 2, 2))
    if seed % 2:
        sides = np.round(2 * sides) / 2  # on the border itself
    if seed % 3:
        sides = np.sort(sides, axis=1)
    rois = np.column_stack([rng.integers(0, n, 8), sides.reshape(8, 4)])
    convention = ra.Convention(
        pixel_offset=float(rng.choice([0, 0.5])),
        min_size=rng.choice([None, 1.0]),
        sampling=str(rng.choice(["centered", "interior"])),
        border="zero",
    )
    options = {
        "convention": convention,
        "sampling_ratio": [None, 0, 1, 2, (3, 1)][rng.integers(5)],
        "spatial_scale": float(rng.choice([1, 0.5, 0.7])),
    }
    size = tuple(int(number) for number in rng.integers(1, 5, 2))
    return rng.standard_normal((n, c, h, w)), rois, size, options


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
def test_backends_agree(mode, dtype):
    tolerance = {"float64": 1e-11, "float32": 1e-5}[dtype]
    for seed in range(60):
        features, rois, size, options = random_call(seed)
        features = features.astype(dtype)
        options |= {"mode": mode}
        outputs = [
            ra.roi_align(features, rois, size, backend=name, **options)
            for name in ("cpu", "reference")
        ]
        np.testing.assert_allclose(*outputs, rtol=0, atol=tolerance)
        if mode == "max_weighted" or (mode, dtype) == ("max", "float32"):  # near ties
            continue
        grads = np.random.default_rng(seed).standard_normal(outputs[0].shape).astype(dtype)
        options |= {"features": features, "wrt": ("features", "rois")}
        results = (
            ra.roi_align_backward(grads, rois, features.shape, backend=name, **options)
            for name in ("cpu", "reference")
        )
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * tolerance)


@BACKENDS
def test_the_gradient_of_the_mean_is_the_adjoint(name):
    for seed in range(30):
        features, rois, size, options = random_call(seed)
        output = ra.roi_align(features, rois, size, backend=name, **options)
        grads = np.random.default_rng(seed).standard_normal(output.shape)
        by_features = ra.roi_align_backward(grads, rois, features.shape, backend=name, **options)
        total = (grads * output).sum()
        assert (by_features * features).sum() == pytest.approx(total, rel=1e-11, abs=1e-10)


@BACKENDS
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_the_gradient_by_the_boxes_is_that_of_finite_differences(mode, name):
    rng = np.random.default_rng(4)
    features = rng.standard_normal((1, 3, 5, 6))
    sides = np.sort(rng.uniform(-2.5, 7.5, (20, 2, 2)), axis=1)
    rois = np.column_stack([np.zeros(20), sides.reshape(20, 4)])
    options = {"convention": ZERO, "mode": mode, "sampling_ratio": 2, "backend": name}
    output = ra.roi_align(features, rois, 2, **options)
    grads = rng.standard_normal(output.shape)
    by_rois = ra.roi_align_backward(
        grads, rois, features.shape, features=features, wrt="rois", **options
    )
    for side in range(4):
        step = np.zeros(5)
        step[side + 1] = 1e-6
        up, down = (ra.roi_align(features, rois + sign * step, 2, **options) for sign in (1, -1))
        numeric = ((up - down) * grads).sum(axis=(1, 2, 3)) / 2e-6
        np.testing.assert_allclose(by_rois[:, side], numeric, rtol=0, atol=1e-6)


def test_an_unknown_border_is_refused():
    with pytest.raises(ValueError, match=r"^border must be one of"):
        ra.Convention(border="reflect")
