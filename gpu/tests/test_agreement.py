"""The gpu backend gives the reference's values and gradients."""

from itertools import cycle, product

import cupy
import numpy as np
import pytest
import roialign_cy as ra

from agreement import (
    TOLERANCE,
    Call,
    assert_backward_agrees,
    assert_close,
    assert_forward_agrees,
    assert_same_bits,
    random_rois,
)
from roialign_cy_gpu import _device_arrays

pytestmark = pytest.mark.gpu

CONVENTIONS = [
    name for name, it in ra.CONVENTIONS.items() if it.sampling in ("centered", "interior")
]
OPERATORS = ("roi_pool", "prroi")
DTYPES = (np.float32, np.float16, np.float64)
# Compiling takes longer than running, so types and layouts take turns instead of being crossed.
TURNS = tuple(product(("NCHW", "NHWC"), DTYPES))


def in_turns(*choices):
    turn, rois_dtype = cycle(TURNS), cycle((np.float64, np.float32))
    return [(*choice, *next(turn), next(rois_dtype)) for choice in product(*choices)]


@pytest.mark.parametrize(
    ("mode", "convention", "ratio", "layout", "dtype", "rois_dtype"),
    in_turns(("avg", "max", "max_weighted"), CONVENTIONS, (2, None)),
)
def test_forward(mode, convention, ratio, layout, dtype, rois_dtype):
    ratio = 0 if ratio is None and convention != "document" else ratio
    assert_forward_agrees(Call(mode, convention, ratio, layout, dtype, rois_dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_forward_on_a_large_map_is_the_cpus(convention, dtype):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 8, 200, 304)).astype(dtype)
    rois = random_rois(rng, features.shape[2:], 1 / 4).astype(dtype)
    options = {"convention": convention, "spatial_scale": 1 / 4}
    expected = ra.roi_align(features, rois, 7, **options)
    output = ra.roi_align(cupy.asarray(features), cupy.asarray(rois), 7, **options)
    assert_close(output, expected, TOLERANCE[dtype], np.ptp(features))


@pytest.mark.parametrize(("convention", "layout", "dtype", "rois_dtype"), in_turns(OPERATORS * 3))
def test_other_operators(convention, layout, dtype, rois_dtype):
    mode = ra.CONVENTIONS[convention].mode
    assert_same_bits(Call(mode, convention, None, layout, dtype, rois_dtype, scale=0.3))


def test_box_gradient_of_integrals():
    assert_backward_agrees(Call("avg", "prroi", None, "NHWC", np.float64), "rois")
    assert_backward_agrees(Call("avg", "prroi", None, scale=0.3), "features", "rois")


@pytest.mark.parametrize(
    ("mode", "how", "layout", "dtype", "rois_dtype"),
    in_turns(("avg", "max", "max_weighted"), (("centered", 33), ("interior", 2))),
)
def test_border_of_zeros(mode, how, layout, dtype, rois_dtype):
    sampling, ratio = how
    convention = ra.Convention(sampling=sampling, border="zero")
    assert_same_bits(Call(mode, convention, ratio, layout, dtype, rois_dtype))


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("sampling", ["centered", "interior"])
def test_gradients_under_a_border_of_zeros(mode, sampling):
    convention = ra.Convention(sampling=sampling, border="zero")
    call = Call(mode, convention, None if sampling == "interior" else 0, dtype=np.float64)
    assert_backward_agrees(call, "features", "rois")


@pytest.mark.parametrize("ratio", [1, (3, 1), (1, 4), 5, (0, 2), 33])
def test_forward_at_every_kind_of_ratio(ratio):
    assert_forward_agrees(Call("avg", "torchvision", ratio))


@pytest.mark.parametrize("mode", ["max", "max_weighted"])
@pytest.mark.parametrize("ratio", [(5, 2), 33])
def test_maximum_of_many_samples(mode, ratio):
    assert_forward_agrees(Call(mode, "document", ratio))


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 17])
def test_forward_for_every_number_of_channels(channels):
    assert_forward_agrees(Call(channels=channels, ratio=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1 / 3, 0.1, 1.0])
def test_adaptive_count_in_the_boxes_dtype(dtype, scale):
    call = Call("avg", "torchvision", 0, dtype=np.float64, rois_dtype=dtype, scale=scale)
    assert_forward_agrees(call)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("convention", ["document", "torchvision", "detectron2"])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_gradients(mode, convention, layout):
    # In float64, since equal maxima are told apart by their last bit.
    call = Call(mode, convention, None, layout, np.float64)
    assert_backward_agrees(call, "features", "rois")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_gradients_in_narrower_types(dtype):
    assert_backward_agrees(Call(ratio=2, dtype=dtype), "rois", "features")


@pytest.mark.parametrize("ratio", [1, (3, 2), (0, 2), 33])
def test_gradients_at_every_kind_of_ratio(ratio):
    assert_backward_agrees(Call(ratio=ratio, dtype=np.float64), "features", "rois")


def test_wide_index(monkeypatch):
    monkeypatch.setattr(_device_arrays, "LARGEST_INDEX", 0)
    for call in (Call(), Call("max", ratio=None, layout="NHWC", dtype=np.float64)):
        assert_forward_agrees(call)
        assert_backward_agrees(call, "features", "rois")
