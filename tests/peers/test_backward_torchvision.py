"""The gradient by the features against torchvision's."""

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
pytest.importorskip("torchvision", reason="needs the extra 'peers'")

from .test_torchvision_parity import configuration  # noqa: E402  it needs them, too

CONFIGURATIONS = 300
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}  # relative to the largest; as in the forward pass


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
def test_random_configurations_give_torchvisions_gradient(convention, dtype, backend):
    for seed in range(40 if backend == "reference" else CONFIGURATIONS):
        call = configuration(seed, convention).rounded_to("float32")
        call = call.without_failures(dtype).without_failures("float64")
        shape = (len(call.rois), call.features.shape[1], *call.output_size)
        grads = np.random.default_rng(seed).standard_normal(shape)
        if dtype == "float32":  # samples that rounding moves across the border have no say
            grads = np.where(call.near_the_border(), 0, grads)
        grads = grads.astype(dtype)
        theirs = torch.ops.torchvision._roi_align_backward(
            torch.from_numpy(grads),
            torch.from_numpy(call.rois.astype(dtype)),
            call.spatial_scale,
            *call.output_size,
            *call.features.shape,
            call.sampling_ratio,
            convention == "detectron2",
        ).numpy()
        ours = ra.roi_align_backward(
            grads,
            call.rois.astype(dtype),
            call.features.shape,
            convention=convention,
            spatial_scale=call.spatial_scale,
            sampling_ratio=call.sampling_ratio,
            backend=backend,
        )
        atol = TOLERANCE[dtype] * max(1, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=f"seed {seed}")
