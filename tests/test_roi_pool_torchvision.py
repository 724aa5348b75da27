"""RoI Pooling against torchvision itself."""

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")


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
        theirs = torchvision.ops.roi_pool(
            torch.from_numpy(features), torch.from_numpy(rois), size, scale
        ).numpy()
        ours = ra.roi_pool(features, rois, size, spatial_scale=scale, backend=name)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"seed {seed}")
