"""Every refusal of a gradient: its error, its text, and that nothing was written before it."""

import numpy as np
import pytest

import roialign_cy as ra

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 3, 6, 8)).astype(np.float32)
GRADS = RNG.standard_normal((2, 3, 2, 4)).astype(np.float32)
ROIS = np.array([[0, 1, 1, 5, 4], [1, 0, 2, 7, 3]], np.float32)


def gradient(**changes):
    arguments = {"grad_output": GRADS, "rois": ROIS, "input_shape": FEATURES.shape}
    return ra.roi_align_backward(**arguments | {"convention": "detectron2"} | changes)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"wrt": "boxes"}, ValueError, "wrt must be one of 'features', 'rois', got 'boxes'"),
        ({"wrt": "roi"}, ValueError, "did you mean 'rois'"),
        ({"wrt": 1}, TypeError, "wrt must be one of"),
        ({"wrt": ()}, ValueError, "wrt must name each gradient once"),
        ({"wrt": ("features", "features")}, ValueError, "wrt must name each gradient once"),
        ({"wrt": "rois"}, ValueError, "features must be given for wrt 'rois', got None"),
        ({"mode": "max"}, ValueError, "features must be given for mode 'max', got None"),
        ({"mode": "max_weighted"}, ValueError, "mode 'max_weighted' has no gradient"),
        ({"mode": "max", "convention": "onnx"}, ValueError, "'max_weighted' has no gradient"),
        ({"mode": "mean"}, ValueError, "mode must be one of"),
        ({"layout": "HWC"}, ValueError, "layout must be one of"),
        ({"input_shape": (2, 3, 6)}, ValueError, "input_shape must be four integers"),
        ({"input_shape": 6}, TypeError, "input_shape must be four integers"),
        ({"input_shape": (2, 3, 6, 8.0)}, TypeError, "input_shape must be four integers"),
        ({"input_shape": (2, 3, -6, 8)}, ValueError, "input_shape must not be negative"),
        ({"input_shape": (2, 3, 2**40, 2**40)}, ValueError, "input_shape must be the shape of an"),
        ({"input_shape": (2, 4, 6, 8)}, ValueError, r"grad_output must have the shape \(2, 4, 2"),
        ({"input_shape": (1, 3, 6, 8)}, ValueError, r"rois\[1, 0\] must be the index of an image"),
        ({"grad_output": GRADS[0]}, ValueError, "grad_output must have four axes"),
        ({"grad_output": GRADS[:1]}, ValueError, r"grad_output must have the shape \(2, 3, 2, 4"),
        ({"grad_output": GRADS[:, :, :0]}, ValueError, "grad_output must have a section or more"),
        (
            {"grad_output": GRADS.astype(int)},
            TypeError,
            "grad_output must be float16, bfloat16, float32 or",
        ),
        ({"grad_output": GRADS.tolist()}, TypeError, "grad_output must be a NumPy or CuPy array"),
        ({"rois": ROIS + np.array([0, np.nan, 0, 0, 0])}, ValueError, r"rois\[0\] must be finite"),
        ({"rois": ROIS[:, 1:]}, ValueError, "rois must have the shape"),
        ({"features": FEATURES[:1]}, ValueError, "features must have the shape input_shape"),
        ({"features": FEATURES.astype(np.float64)}, TypeError, "the dtype of grad_output, float32"),
        ({"features": FEATURES.tolist()}, TypeError, "features must be a NumPy array, got list"),
        (
            {"features": FEATURES.astype(int)},
            TypeError,
            "features must be float16, bfloat16, float32 or",
        ),
        ({"num_threads": 0}, ValueError, "num_threads must be at least 1"),
        ({"spatial_scale": 0}, ValueError, "spatial_scale must be > 0"),
        ({"sampling_ratio": -2}, ValueError, "sampling_ratio"),
        ({"backend": "cqu"}, ValueError, "did you mean 'cpu'"),
    ],
)
def test_bad_argument_is_named_before_anything_is_written(changes, error, match):
    out = np.full(FEATURES.shape, 7, np.float32)
    with pytest.raises(error, match=match) as info:
        gradient(**{"out": out} | changes)
    assert type(info.value) is error
    assert (out == 7).all()


def read_only(array):
    array.flags.writeable = False
    return array


BUFFER = np.zeros((2, 6, 6, 8), np.float32)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"out": np.zeros((2, 3, 6, 7), np.float32)}, ValueError, r"out must have the shape"),
        ({"out": np.zeros((2, 3, 6, 8))}, ValueError, "out must have the dtype float32"),
        ({"out": [1]}, TypeError, "out must be a NumPy array"),
        ({"out": read_only(FEATURES.copy())}, ValueError, "out must be writeable"),
        ({"out": BUFFER[:, 2:5], "features": BUFFER[:, :3]}, ValueError, "not overlap features"),
        ({"out": GRADS.copy()}, ValueError, "out must have the shape"),
        (
            {"out": BUFFER[:, :3], "grad_output": BUFFER[:, :3, :2, :4]},
            ValueError,
            "out must not overlap grad_output",
        ),
        (
            {"out": ROIS[:, 1:], "wrt": "rois", "features": FEATURES},
            ValueError,
            "out must not overlap rois",
        ),
        (
            {"out": np.zeros((2, 4)), "wrt": "rois", "features": FEATURES},
            ValueError,
            "out must have the dtype float32",
        ),
        (
            {"out": FEATURES.copy(), "wrt": ("rois", "features"), "features": FEATURES},
            ValueError,
            "out must be None where wrt names several gradients",
        ),
    ],
)
def test_bad_out_is_refused(changes, error, match):
    with pytest.raises(error, match=match):
        gradient(**changes)


def test_gradient_by_boxes_has_their_dtype():
    for dtype, expected in ("f2", "f2"), ("f4", "f4"), (">f8", "f8"), ("i4", "f8"), ("u1", "f8"):
        result = gradient(rois=ROIS.astype(dtype), features=FEATURES, wrt="rois")
        assert result.dtype == np.dtype(expected)
        assert result.shape == (2, 4)


def test_boxes_may_come_as_a_list_per_image():
    boxes = [ROIS[:1, 1:], ROIS[1:, 1:]]
    np.testing.assert_array_equal(gradient(rois=boxes), gradient())


def test_inputs_are_not_modified():
    copies = [a.copy() for a in (GRADS, ROIS, FEATURES)]
    for mode in "avg", "max":
        gradient(mode=mode, features=FEATURES, wrt=("features", "rois"))
    for array, copy in zip((GRADS, ROIS, FEATURES), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
