"""PrRoI Pooling: printed numbers, numeric integration, gradients, odd boxes, refusals."""

import numpy as np
import pytest

import roialign_cy as ra

NAN = np.nan
BACKENDS = pytest.mark.parametrize("name", ["cpu", "reference"])
SMALL = np.array([[[[1.0, 2], [3, 4]]]])
LARGE = np.array([[[[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]])


def pool(features, rois, output_size, **options):
    return ra.roi_align(features, rois, output_size, convention="prroi", **options)


def gradients(grad_output, rois, features, **options):
    return ra.roi_align_backward(
        grad_output,
        rois,
        features.shape,
        features=features,
        wrt=("features", "rois"),
        convention="prroi",
        **options,
    )


def random_boxes(rng, count, images, size):
    sides = np.sort(rng.uniform(-3, size + 3, (count, 2, 2)), axis=1)
    return np.column_stack([rng.integers(0, images, count), sides.reshape(count, 4)])


# mmcv, tests/test_ops/test_prroi_pool.py: outputs and gradients by the boxes, in float32.
@BACKENDS
@pytest.mark.parametrize(
    ("features", "box", "expected", "by_rois"),
    [
        (SMALL, [0, 0, 1, 1], [1.75, 2.25, 2.75, 3.25], [2, 4, 2, 4]),
        (
            LARGE,
            [0, 0, 3, 3],
            [3.75, 6.91666651, 10.08333302, 13.25],
            [3.33333302, 6.66666603, 3.33333349, 6.66666698],
        ),
    ],
)
def test_numbers_of_mmcv(features, box, expected, by_rois, name):
    rois = [[0, *box]]
    output = pool(features, rois, 2, backend=name)
    np.testing.assert_allclose(output.ravel(), expected, rtol=0, atol=1e-6)
    _, gradient = gradients(np.ones_like(output), rois, features, backend=name)
    np.testing.assert_allclose(gradient[0], by_rois, rtol=0, atol=2e-6)


def hats(low, high, size, parts=20_000):
    """Means of the cells' hats over low .. high, by the midpoint rule."""
    at = low + (np.arange(parts) + 0.5) * (high - low) / parts
    return np.maximum(1 - abs(at - np.arange(size)[:, np.newaxis]), 0).mean(axis=1)


@BACKENDS
def test_numeric_integration(name):
    rng = np.random.default_rng(0)
    for _ in range(40):
        height, width = rng.integers(1, 9, 2)
        features = rng.uniform(-1, 1, (1, 2, height, width))
        (box,) = random_boxes(rng, 1, 1, 8)
        rows, cols = (int(number) for number in rng.integers(1, 4, 2))
        ys = np.linspace(box[2], box[4], rows + 1) * 0.7
        xs = np.linspace(box[1], box[3], cols + 1) * 0.7
        along_y = [hats(ys[p], ys[p + 1], height) for p in range(rows)]
        along_x = [hats(xs[q], xs[q + 1], width) for q in range(cols)]
        expected = np.array(along_y) @ features[0] @ np.array(along_x).T
        output = pool(features, [box], (rows, cols), spatial_scale=0.7, backend=name)
        np.testing.assert_allclose(output[0], expected, rtol=0, atol=2e-6)


@BACKENDS
def test_the_gradient_is_the_adjoint(name):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((2, 3, 7, 9))
    rois = random_boxes(rng, 30, 2, 9)
    output = pool(features, rois, (3, 2), backend=name)
    grads = rng.standard_normal(output.shape)
    by_features, _ = gradients(grads, rois, features, backend=name)
    total = (grads * output).sum()
    assert (by_features * features).sum() == pytest.approx(total, rel=1e-12, abs=1e-10)


@BACKENDS
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_gradient_by_the_boxes_is_that_of_finite_differences(scale, name):
    # The integral is smooth in the sides of a box, at the centres of cells too.
    rng = np.random.default_rng(2)
    features = rng.standard_normal((2, 3, 7, 9))
    rois = random_boxes(rng, 20, 2, 9 / scale)
    rois[::4, 1:] = np.round(rois[::4, 1:])
    rois[:, 3:] += 0.5
    grads = rng.standard_normal((20, 3, 3, 2))
    options = {"spatial_scale": scale, "backend": name}
    _, by_rois = gradients(grads, rois, features, **options)
    for side in range(4):
        step = np.zeros(5)
        step[side + 1] = 1e-5
        up, down = (pool(features, rois + sign * step, (3, 2), **options) for sign in (1, -1))
        numeric = ((up - down) * grads).sum(axis=(1, 2, 3)) / 2e-5
        np.testing.assert_allclose(by_rois[:, side], numeric, rtol=0, atol=2e-4)


@BACKENDS
@pytest.mark.parametrize(
    "box",
    [
        (1, 1, 1, 3),
        (1, 1, 3, 1),
        (3, 1, 1, 3),  # reversed
        (3, 3, 1, 1),
        (-5, -5, -1, -1),
        (4, 0, 9, 3),
        (0, 4, 3, 9),
        (1e200, 0, 1e201, 3),
    ],
)
def test_no_extent_and_no_map_give_zeros_without_gradient(box, name):
    features = np.full((1, 1, 4, 4), 7.0)
    output = pool(features, [[0, *box]], 2, backend=name)
    assert not output.any()
    for gradient in gradients(np.ones_like(output), [[0, *box]], features, backend=name):
        assert not gradient.any()


@BACKENDS
def test_beyond_the_map_is_zero(name):
    # Over -1 .. 0 the surface of one cell of 6 rises from 0 to 6; over 0 .. 1 it falls again.
    features = np.full((1, 1, 1, 1), 6.0)
    assert pool(features, [[0, -1, -1, 1, 1]], 1, backend=name) == pytest.approx(6 / 4)
    assert pool(features, [[0, -1, -1, 0, 1]], 1, backend=name) == pytest.approx(6 / 4)
    assert pool(features, [[0, -2, -1, 2, 1]], 1, backend=name) == pytest.approx(6 / 8)


@BACKENDS
def test_a_tiny_box_reads_the_surface_and_a_huge_one_the_sum(name):
    features = np.random.default_rng(3).random((1, 1, 5, 5))
    point = [[0, 1.25, 2.5, 1.25, 2.5]]
    surface = ra.roi_align(
        features, point, 1, convention=ra.Convention(pixel_offset=0.0), sampling_ratio=1
    )
    sides = np.array([0, -5e-10, -5e-10, 5e-10, 5e-10])
    tiny = point + sides
    np.testing.assert_allclose(pool(features, tiny, 1, backend=name), surface, rtol=1e-7)
    huge = pool(features, [[0, -1e9, -1e9, 1e9, 1e9]], 1, backend=name)
    np.testing.assert_allclose(huge * 4e18, features.sum(), rtol=1e-9)


@BACKENDS
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_only_where_it_has_weight(dtype, name):
    features = np.ones((1, 20, 4, 4), dtype)
    features[:, :, 3, :] = features[:, :, :, 3] = NAN
    options = {"spatial_scale": 1.0, "backend": name}
    assert (pool(features, [[0, 0, 0, 2, 2]], 1, **options) == 1).all()
    assert np.isnan(pool(features, [[0, 0, 0, 2.01, 2]], 1, **options)).all()
    assert np.isnan(pool(features, [[0, 0, 0, 2, 2.01]], 1, **options)).all()
    assert not pool(features, [[0, 0, 0, 3.01, -2]], 1, **options).any()
    grads = np.ones((1, 20, 1, 1), dtype)
    assert np.isfinite(gradients(grads, [[0, 0, 0, 2, 2]], features, **options)[1]).all()


def test_backends_agree_on_odd_calls():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, c, h, w = (int(number) for number in rng.integers(1, [4, 20, 12, 12]))
        dtype, tolerance = [("float64", 1e-12), ("float32", 1e-6), ("float16", 1e-3)][seed % 3]
        features = rng.uniform(-1, 1, (n, c, h, w)).astype(dtype)
        rois = random_boxes(rng, 10, n, 12).astype(rng.choice(["float16", "float32", "float64"]))
        if seed % 2:
            rois = np.round(2 * rois) / 2
            rois[:, 0] //= 1
        size = tuple(int(number) for number in rng.integers(1, 5, 2))
        convention = ra.Convention(
            pixel_offset=float(rng.choice([0, 0.5])), sampling="integral", border="zero"
        )
        options = {"convention": convention, "spatial_scale": float(rng.choice([1, 0.5, 0.7]))}
        cpu, reference = (
            ra.roi_align(features, rois, size, backend=name, **options)
            for name in ("cpu", "reference")
        )
        np.testing.assert_allclose(cpu, reference, rtol=0, atol=tolerance)
        grads = rng.uniform(-1, 1, cpu.shape).astype(dtype)
        options |= {"features": features, "wrt": ("features", "rois")}
        results = (
            ra.roi_align_backward(grads, rois, features.shape, backend=name, **options)
            for name in ("cpu", "reference")
        )
        added = float(abs(grads).sum(dtype=np.float64))
        for ours, theirs in zip(*results, strict=True):
            eps = float(np.finfo(ours.dtype).eps) * abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=16 * tolerance * added + eps)


@pytest.mark.parametrize("width", [0.1, 1e-3, 1e-9, 1e-12, 2e-13, 1e-300])
def test_narrow_sections_far_from_the_origin(width, backend):
    ramp = np.broadcast_to(np.arange(1001.0), (1, 1, 3, 1001))
    box = np.array([[0, 900.25, 0, 900.25 + width, 2]])
    pooled = ra.roi_align(ramp, box, (1, 7), convention="prroi", backend=backend).ravel()
    if box[0, 3] == box[0, 1]:  # no extent that float64 knows
        np.testing.assert_array_equal(pooled, 0)
        return
    centers = 900.25 + (np.arange(7) + 0.5) / 7 * (box[0, 3] - box[0, 1])
    np.testing.assert_allclose(pooled, centers, rtol=1e-15)


@pytest.mark.parametrize("width", [0.5, 1e-9, 1e-30, 1e-310])
def test_box_gradient_of_narrow_boxes(width, backend):
    ramp = np.broadcast_to(np.arange(16.0), (1, 1, 4, 16)).copy()
    sides = ra.roi_align_backward(
        np.ones((1, 1, 1, 2)), np.array([[0, 0, 1, width, 3]]), ramp.shape, features=ramp,
        wrt="rois", convention="prroi", backend=backend,
    )  # fmt: skip
    # The next cell is not read where it weighs less than the smallest normal float32.
    expected = [[1, 0, 1, 0]] if width > 2.0**-126 else [[0, 0, 0, 0]]
    np.testing.assert_allclose(sides, expected, rtol=0, atol=1e-12)
