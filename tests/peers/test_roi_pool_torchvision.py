"""RoI Pooling against torchvision itself."""

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")


def pool_theirs(features, rois, size, scale=1.0):
    tensors = torch.from_numpy(features), torch.from_numpy(rois)
    return torchvision.ops.roi_pool(*tensors, size, scale).numpy()


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_same_bits_as_torchvision(dtype, name):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, c, h, w = rng.integers(1, [4, 5, 30, 30])
        k = int(rng.integers(0, 12))
        boxes = rng.uniform(-10, 40, (k, 4))
        if seed % 2:
            boxes = np.round(2 * boxes) / 2  # many halves to round
        features = rng.standard_normal((n, c, h, w)).astype(dtype)
        rois = np.column_stack([rng.integers(0, n, k), boxes]).astype(dtype)
        size = tuple(int(number) for number in rng.integers(1, 9, 2))
        scale = float(rng.choice([1, 0.5, 0.25, 1 / 16, 0.3, 1.7]))
        theirs = pool_theirs(features, rois, size, scale)
        ours = ra.roi_pool(features, rois, size, spatial_scale=scale, backend=name)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"seed {seed}")


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_the_gradient_is_torchvisions(name):
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n, c, h, w = rng.integers(1, [4, 5, 30, 30])
        k = int(rng.integers(1, 12))
        boxes = rng.uniform(-10, 40, (k, 4))
        if seed % 2:
            boxes = np.round(2 * boxes) / 2
        features = rng.standard_normal((n, c, h, w))
        if seed % 3 == 0:
            features = np.round(features)  # many ties
        rois = np.column_stack([rng.integers(0, n, k), boxes])
        size = tuple(int(number) for number in rng.integers(1, 9, 2))
        scale = float(rng.choice([1, 0.5, 0.25, 1 / 16, 0.3, 1.7]))
        maps = torch.from_numpy(features).requires_grad_()
        pooled = torchvision.ops.roi_pool(maps, torch.from_numpy(rois), size, scale)
        grads = rng.standard_normal(pooled.shape)
        pooled.backward(torch.from_numpy(grads))
        ours = ra.roi_align_backward(
            grads,
            rois,
            features.shape,
            features=features,
            convention="roi_pool",
            spatial_scale=scale,
            backend=name,
        )
        theirs = maps.grad.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12, err_msg=f"seed {seed}")


# The differences: NaN, -inf, and -0, which becomes +0


def lowest(dtype):
    """What theirs starts from in every dtype: float32's lowest, which is -inf in float16."""
    with np.errstate(over="ignore"):
        return np.float32(np.finfo(np.float32).min).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_nan_is_not_passed_over(dtype):
    features = np.array([[1, np.nan], [np.nan, np.nan]], dtype)[np.newaxis, np.newaxis]
    rois = np.array([[0, 0, 0, 1, 1]], dtype)
    np.testing.assert_array_equal(pool_theirs(features, rois, 1), 1)
    expected = np.where(np.isnan(features), lowest(dtype), features)
    np.testing.assert_array_equal(pool_theirs(features, rois, 2), expected)
    assert np.isnan(ra.roi_pool(features, rois, 1)).all()
    np.testing.assert_array_equal(ra.roi_pool(features, rois, 2), features)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_minus_infinity_is_a_value(dtype):
    features = np.full((1, 1, 2, 2), -np.inf, dtype)
    rois = np.array([[0, 0, 0, 1, 1]], dtype)
    np.testing.assert_array_equal(pool_theirs(features, rois, 1), lowest(dtype))
    np.testing.assert_array_equal(ra.roi_pool(features, rois, 1), -np.inf)
