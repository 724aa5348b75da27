"""Every refusal: its error, its text, and that nothing was written before it."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from decimal import Decimal

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core.memory import are_apart
from roialign_cy.conventions import MAX_SAMPLING_RATIO

FEATURES = np.random.default_rng(0).standard_normal((2, 3, 6, 8)).astype(np.float32)
ROIS = np.array([[0, 1, 1, 5, 4], [1, 0, 2, 7, 3], [1, 2, 1, 3, 5]], np.float32)
SHAPE = (3, 3, 2, 4)  # of what the call below gives
INF, NAN = np.inf, np.nan


def pool(**changes):
    arguments = {"features": FEATURES, "rois": ROIS, "output_size": (2, 4)}
    return ra.roi_align(**arguments | {"convention": "detectron2"} | changes)


EXPECTED = pool()


def refused(error, match, **changes):
    """Expect the error, and that nothing has been written by then; returns its text."""
    out = np.full(SHAPE, 7, np.float32)
    with pytest.raises(error, match=match) as info:
        pool(**{"out": out} | changes)
    assert type(info.value) is error
    assert (out == 7).all()
    return str(info.value)


# Options


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("output_size", 0, ValueError),
        ("output_size", -1, ValueError),
        ("output_size", (2, 0), ValueError),
        ("output_size", (-3, 2), ValueError),
        ("output_size", (), ValueError),
        ("output_size", (1,), ValueError),
        ("output_size", (1, 2, 3), ValueError),
        ("output_size", 2.0, TypeError),
        ("output_size", (2, 2.5), TypeError),
        ("output_size", "22", TypeError),
        ("output_size", None, TypeError),
        ("output_size", {1, 2}, TypeError),
        ("output_size", {}, TypeError),
        ("spatial_scale", 0, ValueError),
        ("spatial_scale", 0.0, ValueError),
        ("spatial_scale", -0.5, ValueError),
        ("spatial_scale", NAN, ValueError),
        ("spatial_scale", INF, ValueError),
        ("spatial_scale", -INF, ValueError),
        ("spatial_scale", 10**400, ValueError),
        ("spatial_scale", Decimal("sNaN"), ValueError),
        ("spatial_scale", "0.5", TypeError),
        ("spatial_scale", 1j, TypeError),
        ("spatial_scale", None, TypeError),
        ("spatial_scale", (0.5, 0.5), TypeError),
        ("spatial_scale", [0.5], TypeError),
        ("spatial_scale", {}, TypeError),
        ("sampling_ratio", -2, ValueError),
        ("sampling_ratio", (2, -2), ValueError),
        ("sampling_ratio", -(10**30), ValueError),
        ("sampling_ratio", MAX_SAMPLING_RATIO + 1, ValueError),
        ("sampling_ratio", (MAX_SAMPLING_RATIO + 1, 2), ValueError),
        ("sampling_ratio", 10**30, ValueError),
        ("sampling_ratio", (1, 2, 3), ValueError),
        ("sampling_ratio", 2.0, TypeError),
        ("sampling_ratio", (2, 1.5), TypeError),
        ("sampling_ratio", "2", TypeError),
        ("sampling_ratio", {1, 2}, TypeError),
        ("num_threads", 0, ValueError),
        ("num_threads", -1, ValueError),
        ("num_threads", 1.5, TypeError),
        ("num_threads", 2.0, TypeError),
        ("num_threads", "2", TypeError),
        ("num_threads", [2], TypeError),
        ("convention", "nonsense", ValueError),
        ("convention", "", ValueError),
        ("convention", None, TypeError),
        ("convention", [], TypeError),
        ("convention", {}, TypeError),
        ("mode", "nonsense", ValueError),
        ("mode", 1, TypeError),
        ("mode", ["max"], TypeError),
        ("layout", "nonsense", ValueError),
        ("layout", None, TypeError),
        ("layout", {"NCHW"}, TypeError),
        ("backend", "nonsense", ValueError),
        ("backend", "", ValueError),
        ("backend", 1, TypeError),
        ("backend", ["cpu"], TypeError),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, type) else value.__name__,
)
def test_bad_option_is_refused_by_its_name_and_value(argument, value, error):
    text = refused(error, f"^{argument} must be", **{argument: value})
    assert repr(value) in text or (argument == "output_size" and str(value) in text)


IMPOSSIBLE = pytest.mark.parametrize(
    "output_size", [2**40, (2**62, 1), (2**31, 2**31), (1, 2**63), 10**30], ids=repr
)


@IMPOSSIBLE
@pytest.mark.parametrize("convention", ["detectron2", "document"])
def test_output_that_cannot_exist_is_refused(output_size, convention):
    refused(ValueError, r"^output_size", output_size=output_size, convention=convention, out=None)


@IMPOSSIBLE
def test_output_that_cannot_exist_is_refused_where_out_is_given(output_size):
    refused(ValueError, r"^out", output_size=output_size)


@pytest.mark.parametrize("output_size", [2**62, 2**63])
def test_output_that_cannot_exist_is_refused_without_boxes(output_size):
    rois = np.empty((0, 5))
    refused(ValueError, r"^output_size", output_size=output_size, rois=rois, out=None)


def test_interior_samples_of_a_large_output_are_refused_beyond_the_cap():
    large = MAX_SAMPLING_RATIO + 1
    features = FEATURES[:1, :1]
    options = {"features": features, "rois": ROIS[:1], "convention": "document", "out": None}
    assert pool(output_size=(1, large), **options).shape == (1, 1, 1, large)
    refused(ValueError, r"^output_size .* sampling_ratio", output_size=(1, large + 1), **options)
    fixed = pool(output_size=(1, large + 1), sampling_ratio=1, **options)
    assert fixed.shape == (1, 1, 1, large + 1)


@pytest.mark.parametrize(
    ("argument", "value", "nearest"),
    [
        ("convention", "torchvison", "torchvision"),
        ("convention", "detectron", "detectron2"),
        ("convention", "onnx10", "onnx-10"),
        ("convention", "MMCV", "mmcv"),
        ("mode", "average", "avg"),
        ("mode", "mx", "max"),
        ("mode", "MAX", "max"),
        ("mode", "max_weighed", "max_weighted"),
        ("layout", "NCWH", "NCHW"),
        ("layout", "nhwc", "NHWC"),
        ("backend", "refrence", "reference"),
        ("backend", "CPU", "cpu"),
    ],
)
def test_unknown_name_suggests_the_nearest(argument, value, nearest):
    text = refused(ValueError, f"^{argument} must be one of", **{argument: value})
    assert text.endswith(f"got {value!r}; did you mean {nearest!r}?")


@pytest.mark.parametrize(
    ("argument", "known"),
    [
        ("convention", ra.CONVENTIONS),
        ("mode", ("avg", "max", "max_weighted")),
        ("layout", ("NCHW", "NHWC")),
        ("backend", ("cpu", "reference", "gpu")),
    ],
)
def test_unknown_name_lists_the_known(argument, known):
    text = refused(ValueError, f"^{argument} must be one of", **{argument: "xyzzy"})
    assert all(repr(name) in text for name in known)
    assert "did you mean" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"output_size": [2, 4]},
        {"output_size": (np.int8(2), np.int64(4))},
        {"spatial_scale": 1},
        {"spatial_scale": np.float32(1)},
        {"spatial_scale": np.array(1.0)},
        {"sampling_ratio": 0},
        {"sampling_ratio": [0, 0]},
        {"sampling_ratio": np.uint8(0)},
        {"sampling_ratio": -1},
        {"sampling_ratio": [0, -1]},
        {"sampling_ratio": np.int8(-1)},
        {"num_threads": np.int64(2)},
        {"num_threads": 10**30},
        {"convention": ra.Convention()},
        {"convention": "torchvision"},
        {"mode": "avg"},
        {"mode": "max"},
    ],
    ids=repr,
)
def test_options_may_be_given_in_every_reasonable_type(changes):
    plain = {
        name: value.item() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in changes.items()
    }
    np.testing.assert_array_equal(pool(**changes), pool(**plain))
    if "mode" not in changes and changes.get("convention") != "torchvision":
        np.testing.assert_array_equal(pool(**changes), EXPECTED)


def test_ratio_of_minus_one_is_that_of_zero():
    assert ra.Convention(sampling_ratio=(-1, 3)) == ra.Convention(sampling_ratio=(0, 3))
    for convention in ra.CONVENTIONS:
        one, other = (
            pool(sampling_ratio=ratio, convention=convention, out=None) for ratio in (-1, 0)
        )
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(pool(sampling_ratio=(-1, 2)), pool(sampling_ratio=(0, 2)))
    for name in "explain", "roi_align_backward":
        call = getattr(ra, name)
        maps, size = (
            (FEATURES, 2) if name == "explain" else (np.ones_like(EXPECTED), FEATURES.shape)
        )
        one, other = (
            call(maps, ROIS, size, sampling_ratio=ratio, convention="mmcv") for ratio in (-1, 0)
        )
        if name == "explain":
            one, other = one.values, other.values
        np.testing.assert_array_equal(one, other)


# Features


@pytest.mark.parametrize(
    "dtype", [np.int32, np.uint32, np.int64, np.uint64], ids=lambda d: d.__name__
)
def test_integer_features_are_refused_with_the_conversion(dtype):
    text = refused(TypeError, r"^features must be", features=FEATURES.astype(dtype))
    assert ".astype(np.float32)" in text
    assert np.dtype(dtype).name in text


@pytest.mark.parametrize("dtype", ["c8", "c16", "O", "U4", "m8[s]", np.longdouble])
def test_features_of_another_dtype_are_refused(dtype):
    features = np.zeros(FEATURES.shape, dtype)
    text = refused(TypeError, r"^features must be float16, bfloat16, float32", features=features)
    assert str(features.dtype) in text


@pytest.mark.parametrize("shape", [(), (6,), (6, 8), (3, 6, 8), (1, 2, 3, 6, 8)], ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_features_of_another_rank_are_refused(shape, layout):
    features = np.zeros(shape, np.float32)
    text = refused(ValueError, r"^features must have four axes", features=features, layout=layout)
    assert str(shape) in text
    assert layout in text


# Boxes


def with_last_box(box, dtype=np.float64):
    """Two good boxes before a bad one: some would be pooled if it were not looked at first."""
    return np.array([*ROIS[:2], box], dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("column", [1, 2, 3, 4])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_coordinate_that_is_not_finite_is_refused(column, value, dtype, sampling_ratio):
    box = ROIS[2].copy()
    box[column] = value
    text = refused(
        ValueError,
        r"^rois\[2\] must be finite",
        rois=with_last_box(box, dtype),
        sampling_ratio=sampling_ratio,
    )
    assert str(value) in text


@pytest.mark.parametrize("index", [-1, 2, 0.5, 1.999, 1e30, -1e-30, NAN, INF, -INF])
def test_batch_index_that_is_no_image_is_refused(index):
    text = refused(ValueError, r"^rois\[2, 0\] must be", rois=with_last_box([index, 1, 1, 2, 2]))
    assert "0 .. 2 - 1" in text


def test_batch_index_may_be_negative_zero():
    positive, negative = (pool(rois=[[zero, 1, 1, 4, 4]]) for zero in (0.0, -0.0))
    np.testing.assert_array_equal(positive, negative)


def test_box_without_an_image_is_refused():
    refused(ValueError, r"^rois\[0, 0\] must be", features=FEATURES[:0], out=None)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("dtype", "near", "far", "scale"),
    [
        (np.float16, -6e4, 6e4, 1),
        (np.float16, 6e4, -6e4, 1),
        (np.float16, 1, 3e3, 30),
        (np.float32, -3e38, 3e38, 1),
        (np.float32, 3e38, -3e38, 1),
        (np.float32, 1, 2e38, 2),
        (np.float64, -1.7e308, 1.7e308, 1),
        (np.float64, 1.7e308, -1.7e308, 1),
        (np.float64, 1, 1e308, 2),
    ],
)
def test_extent_that_overflows_is_refused(dtype, near, far, scale, axis, sampling_ratio):
    box = np.array([1, 1, 1, 2, 2], dtype)
    box[1 + axis], box[3 + axis] = near, far
    refused(
        ValueError,
        r"^rois\[2\] must have a finite extent",
        rois=with_last_box(box, dtype),
        spatial_scale=scale,
        sampling_ratio=sampling_ratio,
    )


def test_extent_that_does_not_overflow_in_a_wider_dtype_is_taken():
    box = np.array([0, -6e4, -6e4, 6e4, 6e4])
    assert pool(rois=[box], sampling_ratio=2).shape == (1, 3, 2, 4)
    box = np.array([0, -3e38, -3e38, 3e38, 3e38])
    assert pool(rois=[box], sampling_ratio=2).shape == (1, 3, 2, 4)


def test_box_that_no_integer_of_samples_covers_is_refused_with_the_way_out():
    text = refused(ValueError, r"^rois\[2\] must have", rois=with_last_box([0, 0, 0, 1e30, 1e30]))
    assert "sampling_ratio" in text


@pytest.mark.parametrize(
    "shape", [(), (5,), (3, 4), (3, 6), (0, 6), (3, 0), (1, 3, 5), (2, 3, 4)], ids=str
)
def test_boxes_of_another_shape_are_refused(shape):
    text = refused(ValueError, r"^rois must have the shape \(K, 5\)", rois=np.zeros(shape))
    assert str(shape) in text


@pytest.mark.parametrize("dtype", [bool, "c8", "U4", "S4", "O", "m8[s]", "M8[s]"])
def test_boxes_of_another_dtype_are_refused(dtype):
    rois = np.zeros((3, 5), dtype)
    text = refused(TypeError, r"^rois must be floats or integers", rois=rois)
    assert str(rois.dtype) in text


def test_coordinate_beyond_float64_is_refused():
    box = np.ones(5, np.longdouble)
    box[3] = np.finfo(np.longdouble).max
    assert np.finfo(np.longdouble).max >= np.finfo(np.float64).max
    refused(ValueError, r"^rois\[2\] must", rois=with_last_box(box, np.longdouble))


@pytest.mark.parametrize(
    ("rois", "error"),
    [
        (None, TypeError),
        (5, ValueError),
        ("boxes", TypeError),
        ({}, TypeError),
        ([None], TypeError),
        ([[0, 1, 1, "5", 4]], TypeError),
        ([0, 1, 1, 5, 4], ValueError),
        ([[0, 1, 1, 5, 4], [0, 1, 1]], ValueError),
        ([[1, 1, 5, 4], [1, 1, 5, 4]], ValueError),
        ([np.ones((1, 5)), np.ones((1, 4))], ValueError),
        ([np.ones((1, 4)), np.ones(4)], ValueError),
        ([[[1, 1, 5, 4], [1, 1]], []], ValueError),
        ([[["1", "1", "5", "4"]], []], TypeError),
        ([np.ones((1, 4), complex), []], TypeError),
        ([np.ones((1, 4))], ValueError),
        ([np.ones((1, 4))] * 3, ValueError),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, type) else value.__name__,
)
def test_boxes_that_are_no_boxes_are_refused(rois, error):
    refused(error, r"^rois", rois=rois)


# out


def test_out_is_filled_and_returned():
    out = np.full(SHAPE, NAN, np.float32)
    assert pool(out=out) is out
    np.testing.assert_array_equal(out, EXPECTED)


@pytest.mark.parametrize(
    ("shape", "view"),
    [
        ((3, 3, 4, 8), lambda memory: memory[:, :, ::2, ::2]),
        ((3, 3, 2, 4), lambda memory: memory[::-1, ::-1, ::-1, ::-1]),
        ((6, 5, 3, 7), lambda memory: memory[::2, 1:4, 1:, 2:6]),
        ((4, 2, 3, 3), np.transpose),
    ],
    ids=["every other", "backwards", "inside", "transposed"],
)
def test_strided_out_is_filled_and_nothing_beside_it(shape, view, backend):
    memory = np.full(shape, 7, np.float32)
    out = view(memory)
    assert out.shape == SHAPE
    assert pool(out=out, backend=backend) is out
    np.testing.assert_array_equal(out, pool(backend=backend))
    out[...] = 7
    assert (memory == 7).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_unaligned_out_is_filled_and_nothing_beside_it(dtype, layout, backend):
    features = FEATURES.astype(dtype)
    features = features if layout == "NCHW" else np.moveaxis(features, 1, -1)
    expected = pool(features=features, layout=layout, backend=backend)
    memory = np.full(expected.nbytes + 3, 7, np.uint8)
    out = memory[1:-2].view(dtype).reshape(expected.shape)
    assert not out.flags.aligned
    assert pool(features=features, layout=layout, out=out, backend=backend) is out
    np.testing.assert_array_equal(out, expected)
    assert (memory[[0, -2, -1]] == 7).all()


def test_out_may_share_a_buffer_with_the_inputs_but_no_cell():
    size = FEATURES.size + EXPECTED.size
    memory = np.zeros(2 * size, np.float32)
    features = memory[: 2 * FEATURES.size : 2].reshape(FEATURES.shape)
    out = memory[1 : 2 * EXPECTED.size : 2].reshape(SHAPE)
    features[...] = FEATURES
    pool(features=features, out=out)
    np.testing.assert_array_equal(out, EXPECTED)
    np.testing.assert_array_equal(features, FEATURES)


@pytest.mark.parametrize("offset", [0, 1, FEATURES.size - 1])
def test_out_that_overlaps_the_features_is_refused(offset):
    memory = np.zeros(FEATURES.size + EXPECTED.size, np.float32)
    features = memory[: FEATURES.size].reshape(FEATURES.shape)
    features[...] = FEATURES
    out = memory[offset : offset + EXPECTED.size].reshape(SHAPE)
    refused(ValueError, r"^out must not overlap features", features=features, out=out)
    np.testing.assert_array_equal(features, FEATURES)


def test_out_that_overlaps_the_boxes_is_refused():
    memory = np.zeros(ROIS.size + EXPECTED.size, np.float32)
    rois = memory[: ROIS.size].reshape(ROIS.shape)
    rois[...] = ROIS
    out = memory[ROIS.size - 1 : -1].reshape(SHAPE)
    refused(ValueError, r"^out must not overlap rois", rois=rois, out=out)
    np.testing.assert_array_equal(rois, ROIS)


@pytest.mark.parametrize(
    "shape",
    [(3, 3, 4, 2), (3, 3, 2), (3, 3, 2, 4, 1), (3, 2, 4, 3), (1, 3, 2, 4), (72,), ()],
    ids=str,
)
def test_out_of_another_shape_is_refused(shape):
    out = np.full(shape, 7, np.float32)
    text = refused(ValueError, r"^out must have the shape \(3, 3, 2, 4\)", out=out)
    assert str(shape) in text
    assert (out == 7).all()


def test_out_of_the_other_layout_is_refused():
    refused(ValueError, r"^out must have the shape", features=np.moveaxis(FEATURES, 1, -1))
    out = np.empty(SHAPE, np.float32)
    with pytest.raises(ValueError, match=r"^out must have the shape \(3, 2, 4, 3\)"):
        pool(features=np.moveaxis(FEATURES, 1, -1), layout="NHWC", out=out)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.complex64, ">f4"])
def test_out_of_another_dtype_is_refused(dtype):
    out = np.full(SHAPE, 7, dtype)
    text = refused(ValueError, r"^out must have the dtype float32", out=out)
    assert str(out.dtype) in text
    assert (out == 7).all()


def test_out_of_byte_swapped_features_is_native():
    out = np.empty(SHAPE, np.float32)
    np.testing.assert_array_equal(pool(features=FEATURES.astype(">f4"), out=out), EXPECTED)
    refused(
        ValueError,
        r"^out must have the dtype float32",
        features=FEATURES.astype(">f4"),
        out=np.empty(SHAPE, ">f4"),
    )


def test_read_only_out_is_refused():
    out = np.full(SHAPE, 7, np.float32)
    out.flags.writeable = False
    refused(ValueError, r"^out must be writeable", out=out)
    refused(ValueError, r"^out must be writeable", out=np.broadcast_to(np.float32(7), SHAPE))
    assert (out == 7).all()


@pytest.mark.parametrize("out", [[], EXPECTED.tolist(), "out", 5, memoryview(b"1234")], ids=type)
def test_out_that_is_no_array_is_refused(out):
    text = refused(TypeError, r"^out must be a NumPy array", out=out)
    assert type(out).__name__ in text


def test_empty_out_is_checked_and_returned():
    out = np.empty((0, 3, 2, 4), np.float32)
    assert pool(rois=np.empty((0, 5)), out=out) is out
    with pytest.raises(ValueError, match=r"^out must have the shape \(0, 3, 2, 4\)"):
        pool(rois=np.empty((0, 5)), out=np.empty((0, 3, 4, 2), np.float32))


# Conventions of one's own


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("pixel_offset", NAN, ValueError),
        ("pixel_offset", -INF, ValueError),
        ("pixel_offset", 10**400, ValueError),
        ("pixel_offset", "0.5", TypeError),
        ("pixel_offset", None, TypeError),
        ("min_size", -1, ValueError),
        ("min_size", NAN, ValueError),
        ("min_size", INF, ValueError),
        ("min_size", "1", TypeError),
        ("sampling", "middle", ValueError),
        ("sampling", None, TypeError),
        ("sampling_ratio", -2, ValueError),
        ("sampling_ratio", (1, -2), ValueError),
        ("sampling_ratio", MAX_SAMPLING_RATIO + 1, ValueError),
        ("sampling_ratio", (1, 2, 3), ValueError),
        ("sampling_ratio", 1.5, TypeError),
        ("sampling_ratio", None, TypeError),
        ("mode", "mean", ValueError),
        ("mode", None, TypeError),
        ("max_rule", "avg", ValueError),
        ("max_rule", [], TypeError),
    ],
)
def test_bad_field_of_a_convention_is_refused_by_its_name_and_value(field, value, error):
    with pytest.raises(error, match=f"^{field} must be") as info:
        ra.Convention(**{field: value})
    assert repr(value) in str(info.value)


def test_misspelt_sampling_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"^sampling .* did you mean 'centered'\?"):
        ra.Convention(sampling="centred")


def test_conventions_are_equal_however_they_are_written():
    one = ra.Convention(pixel_offset=0, min_size=1, sampling_ratio=2)
    other = ra.Convention(pixel_offset=0.0, min_size=1.0, sampling_ratio=[2, 2])
    assert one == other
    assert hash(one) == hash(other)
    assert one == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)


def test_conventions_do_not_change():
    with pytest.raises(FrozenInstanceError):
        ra.CONVENTIONS["torchvision"].mode = "max"
    with pytest.raises(TypeError):
        ra.CONVENTIONS["mine"] = ra.Convention()


class Number:
    """A number that can change, as a tensor can: equal and of one hash whatever its value."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)

    def __index__(self):
        return self.value


def test_numbers_that_change_are_read_anew():
    maps, rois = np.arange(64.0).reshape(1, 1, 8, 8), [[0, 1, 1, 8, 8]]
    scale = Number(1)
    first = ra.roi_align(maps, rois, 2, spatial_scale=scale)
    scale.value = 2
    second = ra.roi_align(maps, rois, 2, spatial_scale=scale)
    np.testing.assert_array_equal(first, ra.roi_align(maps, rois, 2, spatial_scale=1.0))
    np.testing.assert_array_equal(second, ra.roi_align(maps, rois, 2, spatial_scale=2.0))
    num_threads = Number(2)
    ra.roi_align(maps, rois, 2, num_threads=num_threads)
    num_threads.value = -5
    with pytest.raises(ValueError, match="num_threads"):
        ra.roi_align(maps, rois, 2, num_threads=num_threads)


WINDOWS = [np.s_[:, :, :], np.s_[2:, 1:3, ::2], np.s_[::-1, :2, :], np.s_[:2, ::-1, ::-3], np.s_[4]]


@pytest.mark.parametrize("second", WINDOWS, ids=str)
@pytest.mark.parametrize("first", WINDOWS, ids=str)
def test_arrays_are_apart_where_the_ends_of_their_memory_are(first, second):
    whole = np.zeros((11, 4, 5), np.float32)
    a = whole[:5][first]
    for low in range(7):
        b = whole[low : low + 5][second]
        assert are_apart(a, b) is not np.may_share_memory(a, b)
        assert are_apart(b, a) is are_apart(a, b)


def test_of_what_is_no_array_nothing_is_known():
    assert not are_apart(FEATURES, [1.0])
    assert not are_apart(None, FEATURES)


@pytest.mark.parametrize(
    "strides", [(16, 8, 4, 4), (0, 32, 16, 4), (48, 16, 16, 2), (40, 16, 8, -4)], ids=str
)
def test_out_that_overlaps_itself_is_refused(strides):
    out = np.lib.stride_tricks.as_strided(np.zeros(99, np.float32)[50:], SHAPE, strides)
    refused(ValueError, r"^out must not overlap itself", out=out)


def test_out_of_any_slices_and_order_of_axes_is_taken():
    n, c, h, w = SHAPE
    whole = np.zeros((w + 2, 2 * h, 3, c, n), np.float32)
    out = whole[1:-1, ::-2, 1].transpose(3, 2, 1, 0)
    assert pool(out=out) is out
    np.testing.assert_array_equal(out, EXPECTED)
