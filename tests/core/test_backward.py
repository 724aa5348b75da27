"""The gradients: held to the reference on drawn calls; constants, ties, arrays of every kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roialign_cy as ra
from roialign_cy.testing import checks
from tests.allowed import what_the_backend_offers

from .test_properties import EXAMPLES, calls


def has_gradient(call, wrt="features"):
    convention = ra.CONVENTIONS.get(call.convention, call.convention)
    if wrt == "rois" and convention.sampling == "cells":
        return False
    mode = call.mode or convention.mode
    return mode == "avg" or (mode == "max" and convention.max_rule == "max")


calls_with_gradient = calls(modes=["avg", "max"]).filter(has_gradient)
calls_with_box_gradient = calls_with_gradient.filter(lambda call: has_gradient(call, "rois"))


@EXAMPLES
@given(call=calls_with_gradient)
def test_gradient_by_features_is_that_of_the_reference(call, backend):
    if backend == "reference":
        pytest.skip("compared with itself")
    with what_the_backend_offers():
        checks.feature_gradient_agrees(call, backend)


@EXAMPLES
@given(call=calls_with_box_gradient)
def test_gradient_by_rois_is_that_of_the_reference(call, backend):
    if backend == "reference":
        pytest.skip("compared with itself")
    with what_the_backend_offers():
        checks.box_gradient_agrees(call, backend)


@EXAMPLES
@given(call=calls(modes=["avg"]))
def test_gradient_by_features_is_the_adjoint_of_the_mean(call, backend):
    with what_the_backend_offers():
        checks.feature_gradient_is_the_adjoint(call, backend)


# Constants: borders, clamps, widening


def box_slopes(row, box, backend, **options):
    """Gradient by the sides of a box along x, on a map of one row, of one sample."""
    features = np.array([[[row]]], dtype=float)
    defaults = {"convention": ra.Convention(pixel_offset=0.0), "sampling_ratio": 1}
    gradient = ra.roi_align_backward(
        np.ones((1, 1, 1, 1)), [[0, box[0], 0, box[1], 0]], features.shape, features=features,
        wrt="rois", backend=backend, **defaults | options,
    )  # fmt: skip
    return gradient[0, [0, 2]].tolist()


@pytest.mark.parametrize(
    ("at", "slope"),
    [(-1.5, 0), (-1, 0), (-0.5, 0), (0, 1), (0.5, 1), (1, 3), (1.5, 3), (2, 0), (2.5, 0), (4, 0)],
)
def test_slope_is_from_the_right_and_zero_where_clamped_or_outside(at, slope, backend):
    assert box_slopes([0, 1, 4], (at, at), backend) == [slope / 2, slope / 2]


def test_far_side_of_a_widened_box_has_no_gradient(backend):
    row, options = [0, 2, 4, 6], {"convention": "torchvision"}
    assert box_slopes(row, (1, 1.5), backend, **options) == [2, 0]
    assert box_slopes(row, (1, 2), backend, **options) == [1, 1]


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_section_without_samples_has_no_gradient(mode, backend):
    # Not even of an infinite one. The second box is beyond the map.
    rois = [[0, 3, 3, 1, 1], [0, 90, 1, 95, 3], [0, 1, 1, 3, 3]]
    grads = np.full((3, 20, 2, 2), np.inf, np.float32)
    grads[1:] = 1
    features = np.random.default_rng(0).standard_normal((1, 20, 4, 4)).astype(np.float32)
    by_features, by_rois = ra.roi_align_backward(
        grads, rois, features.shape, features=features, wrt=("features", "rois"),
        convention="mmcv", mode=mode, backend=backend,
    )  # fmt: skip
    assert not by_rois[:2].any()
    assert np.isfinite(by_features).all()
    assert by_features.sum() == pytest.approx(80)


def test_cell_without_weight_does_not_reach_the_gradient(backend):
    # Samples at 0 and 1 of a row: the cell at 2 only comes in as the slope at 1.
    assert np.isnan(box_slopes([0, 1, np.nan], (1, 1), backend)).all()
    assert box_slopes([0, 1, np.nan], (0.5, 0.5), backend) == [0.5, 0.5]
    assert box_slopes([np.nan, 1, 2], (1.5, 1.5), backend) == [0.5, 0.5]
    assert box_slopes([np.nan, 1, 2], (-0.5, -0.5), backend) == [0, 0]


# The maximum


def test_maximum_sends_its_gradient_to_the_first_of_equal_points(backend):
    features = np.full((1, 20, 4, 4), 5.0)
    gradient = ra.roi_align_backward(
        np.full((1, 20, 1, 1), 3.0), [[0, -0.5, -0.5, 3.5, 3.5]], features.shape,
        features=features, convention=ra.Convention(pixel_offset=0.0), mode="max",
        sampling_ratio=4, backend=backend,
    )  # fmt: skip
    assert (gradient[..., 0, 0] == 3).all()
    assert gradient.sum() == 60


@pytest.mark.parametrize("ratio", [2, 3, 5, 8])
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_ties_go_where_the_reference_sends_them(seed, is_reversed, ratio, backend):
    # Small integers at dyadic places: sums are exact, and equal points frequent.
    rng = np.random.default_rng(seed)
    features = rng.integers(-1, 2, (1, 20, 5, 6)).astype(np.float32)
    near = rng.integers(-8, 12, (4, 2)) / 2
    far = near + rng.integers(0, 3, (4, 2)) * ratio
    sides = (far, near) if is_reversed else (near, far)
    rois = np.column_stack([np.zeros(4), *sides])
    grads = rng.integers(1, 9, (4, 20, 2, 1)).astype(np.float32)
    options = {
        "features": features,
        "wrt": ("features", "rois"),
        "convention": ra.Convention(pixel_offset=0.0),
        "mode": "max",
        "sampling_ratio": ratio if ratio != 3 else (4, 2),
    }
    for mine, theirs in zip(
        ra.roi_align_backward(grads, rois, features.shape, backend=backend, **options),
        ra.roi_align_backward(grads, rois, features.shape, backend="reference", **options),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("nan_at", [0, 1, 2])
def test_first_nan_takes_the_gradient(nan_at, backend):
    features = np.arange(3.0).reshape(1, 1, 1, 3).repeat(17, axis=1)
    features[..., nan_at] = np.nan
    gradient = ra.roi_align_backward(
        np.ones((1, 17, 1, 1)), [[0, -0.5, 0, 2.5, 0]], features.shape, features=features,
        convention=ra.Convention(pixel_offset=0.0), mode="max", sampling_ratio=(1, 3),
        backend=backend,
    )  # fmt: skip
    assert (gradient[..., nan_at] == 1).all()
    assert gradient.sum() == 17


def test_channel_takes_no_gradient_from_a_point_that_is_not_its_maximum(backend):
    # Samples at 0.5 and 1.5. The first channel picks the first one, next to an infinite slope.
    features = np.array([[[[1, 2, -np.inf]], [[0, 1, 2]]]])
    by_features, by_rois = ra.roi_align_backward(
        np.ones((1, 2, 1, 1)), [[0, 0, 0, 2, 0]], features.shape, features=features,
        wrt=("features", "rois"), convention=ra.Convention(pixel_offset=0.0), mode="max",
        sampling_ratio=(1, 2), backend=backend,
    )  # fmt: skip
    assert by_features.tolist() == [[[[0.5, 0.5, 0]], [[0, 0.5, 0.5]]]]
    assert by_rois.tolist() == [[0.75 + 0.25, 0, 0.25 + 0.75, 0]]


# Arrays


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", "<f4", ">f8"])
@pytest.mark.parametrize("wrt", ["features", "rois"])
def test_inputs_of_any_byte_order_stride_and_alignment(dtype, wrt, backend):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 18, 6, 7)).astype(dtype)
    grads = rng.standard_normal((5, 18, 3, 2)).astype(dtype)
    rois = np.column_stack([rng.integers(0, 2, 5), rng.uniform(-1, 6, (5, 4))])
    options = {"wrt": wrt, "mode": "max", "convention": "mmcv", "backend": backend}
    native = features.dtype.newbyteorder("=")
    expected = ra.roi_align_backward(
        grads.astype(native), rois, features.shape, features=features.astype(native), **options
    )
    for each in (np.asarray, np.asfortranarray, strided, unaligned):
        result = ra.roi_align_backward(
            each(grads), rois, features.shape, features=each(features), **options
        )
        assert result.dtype.isnative
        np.testing.assert_array_equal(result, expected)


def strided(array):
    wide = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::-2] = array
    return wide[..., ::-2]


def unaligned(array):
    buffer = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    buffer[...] = array
    return buffer


@pytest.mark.parametrize("place", [np.empty_like, strided, unaligned])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_out_is_overwritten_and_returned(layout, dtype, place, backend):
    rng = np.random.default_rng(0)
    shape = (2, 17, 6, 7) if layout == "NCHW" else (2, 6, 7, 17)
    grads = rng.standard_normal((5, 17, 3, 2) if layout == "NCHW" else (5, 3, 2, 17)).astype(dtype)
    rois = np.column_stack([rng.integers(0, 2, 5), rng.uniform(-1, 6, (5, 4))])
    options = {"convention": "mmcv", "layout": layout, "backend": backend}
    out = place(np.full(shape, 7, dtype))
    out[...] = 7
    assert ra.roi_align_backward(grads, rois, shape, out=out, **options) is out
    np.testing.assert_array_equal(out, ra.roi_align_backward(grads, rois, shape, **options))


@given(wrt=st.sampled_from(["features", "rois"]))
def test_tuple_of_one_gives_a_tuple(wrt):
    grads, features = np.ones((1, 1, 1, 1)), np.ones((1, 1, 3, 3))
    arguments = (grads, [[0, 0, 0, 2, 2]], features.shape)
    (result,) = ra.roi_align_backward(*arguments, features=features, wrt=(wrt,))
    np.testing.assert_array_equal(
        result, ra.roi_align_backward(*arguments, features=features, wrt=wrt)
    )


@pytest.mark.parametrize("shape", [(1, 1, 2**59, 1), (1, 1, 1, 2**59)])
def test_box_gradient_of_a_map_of_any_size(shape):
    # Lazily mapped: one value behind all cells. Room for the rows of such a map cannot be had.
    features = np.broadcast_to(np.float32(1), shape)
    gradient = ra.roi_align_backward(
        np.ones((1, 1, 2, 2), np.float32),
        [[0, 0, 0, 1, 1]],
        shape,
        features=features,
        wrt="rois",
        backend="cpu",
        convention="detectron2",
    )
    assert np.isfinite(gradient).all()
