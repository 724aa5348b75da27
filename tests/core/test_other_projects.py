"""What docs/conventions.rst calls the RoI Align of projects that are no named convention."""

import numpy as np
import pytest

import roialign_cy as ra

BACKENDS = pytest.mark.parametrize("name", ["cpu", "reference"])
RAMP = (np.arange(5.0) + 10 * np.arange(5.0)[:, np.newaxis])[np.newaxis, np.newaxis]
TVM = ra.Convention(pixel_offset=0.0)
MINDSPORE = ra.Convention(pixel_offset=0.0)
MEGENGINE = ra.Convention(min_size=0.0, border="zero")


# By hand, from topi's formula: half a cell in the middle of (1.25, 1.25), or widened to a cell.
@BACKENDS
@pytest.mark.parametrize(
    ("convention", "mode", "expected"),
    [
        (TVM, "avg", 13.75),
        (TVM, "max", 1.375 + 13.75),
        ("torchvision", "avg", 16.5),
        ("torchvision", "max", 1.75 + 17.5),
    ],
)
def test_tvm(convention, mode, expected, name):
    options = {"convention": convention, "mode": mode, "sampling_ratio": 2, "backend": name}
    assert ra.roi_align(RAMP, [[0, 1, 1, 1.5, 1.5]], 1, **options) == expected


# The example of mindspore.ops.ROIAlign(2, 2, 0.5, 2), whose roi_end_mode is 1.
@BACKENDS
def test_mindspore(name):
    features = np.array([[[[1.0, 2], [3, 4]]]])
    rois = [[0, 0.2, 0.3, 0.2 + 1, 0.3 + 1]]
    pooled = ra.roi_align(
        features, rois, 2, convention=MINDSPORE, spatial_scale=0.5, sampling_ratio=2, backend=name
    )
    np.testing.assert_allclose(pooled[0, 0], [[1.775, 2.025], [2.275, 2.525]], rtol=1e-12)


# The example of torch_npu.npu_roi_align(x, rois, 0.25, 3, 3, 2, 0), by the same kernels, whose
# roi_end_mode is 0.
@BACKENDS
def test_mindspore_of_the_other_end_mode(name):
    x = np.arange(1.0, 37).reshape(1, 1, 6, 6)
    options = {"convention": "torchvision", "spatial_scale": 0.25, "sampling_ratio": 2}
    pooled = ra.roi_align(x, [[0, -2, -2, 22, 22]], 3, **options, backend=name)
    assert pooled.tolist() == [[[[4.5, 6.5, 8.5], [16.5, 18.5, 20.5], [28.5, 30.5, 32.5]]]]


# By hand, from the formula of DML_ROI_ALIGN1_OPERATOR_DESC: InputPixelOffset 0.5, two samples at
# least and at most; and of regions that are aligned to corners, with one.
@BACKENDS
def test_directml(name):
    box = [[0, 1, 1, 3, 3]]
    for mode, expected in (("avg", 16.5), ("max", 22.0)):
        options = {"convention": "detectron2", "mode": mode, "sampling_ratio": 2}
        assert ra.roi_align(RAMP, box, 1, **options, backend=name) == expected
    corners = ra.Convention(sampling="corners")
    pooled = ra.roi_align(RAMP, box, 2, convention=corners, backend=name)
    assert pooled.tolist() == [[[[5.5, 7.5], [25.5, 27.5]]]]


# The example of megengine.functional.vision.roi_align(inp, rois, (2, 2)). The first of its boxes
# is reversed along x and reaches beyond the map along y.
@BACKENDS
def test_megengine(name):
    rng = np.random.RandomState(42)
    features = rng.randn(1, 1, 128, 128)
    rois = rng.random_sample((4, 5))
    rois[:, 0] = np.floor(rois[:, 0])
    pooled = ra.roi_align(features, rois, 2, convention=MEGENGINE, sampling_ratio=2, backend=name)
    np.testing.assert_allclose(pooled[0, 0], [[0.175, 0.175], [0.1359, 0.1359]], atol=5e-5)
