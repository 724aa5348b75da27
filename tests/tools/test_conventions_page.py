"""The calls that docs/conventions.rst calls equal to those of ONNX Runtime and OpenVINO."""

import warnings

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason="needs the extra 'peers'")
openvino = pytest.importorskip("openvino", reason="needs the extra 'peers'")
from tests.onnx_node import node  # noqa: E402

RNG = np.random.default_rng(4)
FEATURES = RNG.standard_normal((2, 3, 12, 17)).astype(np.float32)
CORNERS = RNG.uniform(0, 30, (20, 2))
ROIS = np.column_stack(
    [RNG.integers(0, 2, 20), CORNERS, CORNERS + RNG.uniform(0.2, 20, (20, 2))]
).astype(np.float32)
SCALE = 0.4
SIZE = (3, 4)
RATIOS = [0, 1, 2]


def ours(convention, mode, ratio):
    return ra.roi_align(
        FEATURES, ROIS, SIZE, convention=convention, mode=mode, spatial_scale=SCALE,
        sampling_ratio=ratio,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(5, 4), (1, 3), (1, 1)])
@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_crop_and_resize_of_onnx_runtime(method, size):
    boxes = RNG.uniform(-0.3, 1.3, (20, 4)).astype(np.float32)
    images = ROIS[:, 0].astype(np.int32)
    run = node("CropAndResize", 1, "com.microsoft")
    theirs = run(FEATURES, boxes, images, np.int32(size), mode=method, extrapolation_value=7.0)
    crops = ra.crop_and_resize(
        FEATURES, boxes, images, size, method=method, extrapolation_value=7, layout="NCHW"
    )
    np.testing.assert_allclose(crops, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(
    ("opset", "transformation", "convention"),
    [(16, "half_pixel", "onnx"), (16, "output_half_pixel", "onnx-10"), (10, None, "onnx-10")],
)
def test_onnx_runtime(opset, transformation, convention, mode, ratio):
    attributes = (
        {} if transformation is None else {"coordinate_transformation_mode": transformation}
    )
    attributes |= {"mode": mode, "sampling_ratio": ratio, "spatial_scale": SCALE}
    attributes |= {"output_height": SIZE[0], "output_width": SIZE[1]}
    theirs = node("RoiAlign", opset)(
        FEATURES, ROIS[:, 1:], ROIS[:, 0].astype(np.int64), **attributes
    )
    np.testing.assert_allclose(ours(convention, mode, ratio), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(
    ("aligned_mode", "convention"),
    [
        ("asymmetric", "torchvision"),
        ("half_pixel_for_nn", "detectron2"),
        ("half_pixel", ra.Convention(pixel_offset=0.5 - 0.5 * SCALE)),
    ],
)
def test_openvino(aligned_mode, convention, mode, ratio):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own module layout
        from openvino import opset9

        x = opset9.parameter(FEATURES.shape, np.float32)
        boxes = opset9.parameter([len(ROIS), 4], np.float32)
        images = opset9.parameter([len(ROIS)], np.int32)
        node = opset9.roi_align(x, boxes, images, *SIZE, ratio, SCALE, mode, aligned_mode)
        model = openvino.Model([node], [x, boxes, images])
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = [FEATURES, np.ascontiguousarray(ROIS[:, 1:]), ROIS[:, 0].astype(np.int32)]
    theirs = next(iter(compiled(inputs).values()))
    expected = ours(convention, mode, ratio)
    if mode == "max":
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(expected, theirs, rtol=0, atol=1e-5)
