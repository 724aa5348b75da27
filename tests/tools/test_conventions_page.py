"""The calls that docs/conventions.rst calls equal to those of ONNX Runtime and OpenVINO."""

import warnings

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
onnx = pytest.importorskip("onnx", reason="needs the extra 'peers'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'peers'")
openvino = pytest.importorskip("openvino", reason="needs the extra 'peers'")

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


def run_onnx(node, inputs, values, *opsets):
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, values)[0]


@pytest.mark.parametrize("size", [(5, 4), (1, 3), (1, 1)])
@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_crop_and_resize_of_onnx_runtime(method, size):
    boxes = RNG.uniform(-0.3, 1.3, (20, 4)).astype(np.float32)
    node = onnx.helper.make_node(
        "CropAndResize", ["x", "rois", "images", "size"], ["y"], domain="com.microsoft",
        mode=method, extrapolation_value=7.0,
    )  # fmt: skip
    make = onnx.helper.make_tensor_value_info
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    inputs = [
        make("x", real, FEATURES.shape),
        make("rois", real, ("K", 4)),
        make("images", whole, ("K",)),
        make("size", whole, (2,)),
    ]
    images = ROIS[:, 0].astype(np.int32)
    values = {"x": FEATURES, "rois": boxes, "images": images, "size": np.array(size, np.int32)}
    opsets = [onnx.helper.make_opsetid("", 16), onnx.helper.make_opsetid("com.microsoft", 1)]
    theirs = run_onnx(node, inputs, values, *opsets)
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
    node = onnx.helper.make_node(
        "RoiAlign", ["x", "rois", "images"], ["y"], mode=mode, output_height=SIZE[0],
        output_width=SIZE[1], sampling_ratio=ratio, spatial_scale=SCALE, **attributes,
    )  # fmt: skip
    make = onnx.helper.make_tensor_value_info
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    inputs = [
        make("x", real, FEATURES.shape),
        make("rois", real, ("K", 4)),
        make("images", whole, ("K",)),
    ]
    values = {"x": FEATURES, "rois": ROIS[:, 1:], "images": ROIS[:, 0].astype(np.int64)}
    theirs = run_onnx(node, inputs, values, onnx.helper.make_opsetid("", opset))
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
