"""What a call does to the machine, as seen on the host: no waiting, no copies, few launches."""

import cupy
import numpy as np
import pytest

from agreement import Call
from host.plugin import MACHINE
from mutants import beyond_32_bits
from roialign_cy_gpu import _backward, _forward


@pytest.fixture
def arrays():
    return tuple(map(cupy.asarray, Call().arrays()))


def watched(call):
    MACHINE.check()
    before = MACHINE.synchronisations, MACHINE.copies
    call()
    assert (MACHINE.synchronisations, MACHINE.copies) == before
    return [launch.kernel for launch in MACHINE.launches]


def test_forward_is_two_launches(arrays):
    features, rois, _ = arrays
    kernels = watched(lambda: Call().pool(features, rois))
    assert kernels == [
        "roi_align_tables_avg_centered_float_index32",
        "roi_align_avg_nchw_lanes5_index32_pairs",
    ]


@pytest.mark.parametrize(("mode", "launches"), [("avg", 8), ("max", 11)])
def test_gradients_do_not_wait_either(mode, launches, arrays):
    features, rois, grad = arrays
    kernels = watched(lambda: Call(mode).gradients(grad, rois, features))
    assert len(kernels) == launches
    assert all(name.startswith("roi_align_") for name in kernels)


def test_list_of_boxes_does_not_wait(arrays):
    features, rois, _ = arrays
    boxes = [rois[:, 1:], rois[:2, 1:]]
    watched(lambda: Call().pool(features, boxes))


def test_nothing_is_launched_for_nothing(arrays):
    features, rois, _ = arrays
    assert watched(lambda: Call().pool(features, rois[:0])) == []
    assert watched(lambda: Call().pool(features[:, :0], rois)) == []


def test_all_launches_are_on_the_current_stream(arrays):
    features, rois, grad = arrays
    MACHINE.check()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        Call("max").gradients(grad, rois, features)
    assert {launch.stream for launch in MACHINE.launches} == {stream.ptr}


def test_strides_and_shapes_need_no_other_kernel(arrays):
    features, rois, _ = arrays
    Call().pool(features, rois)
    modules = len(MACHINE._modules)
    Call(output_size=(5, 1)).pool(features[:, :, ::-1, 1:], rois[::2])
    assert len(MACHINE._modules) == modules


def test_other_boxes_need_no_other_plan(arrays):
    features, rois, grad = arrays
    plans = _forward._plan, _backward._make_plan

    def misses():
        Call().pool(features, rois)
        Call().gradients(grad, rois, features)
        return [plan.cache_info().misses for plan in plans]

    before = misses()
    rois, grad = rois[:5] / 2, grad[:5] + 1
    assert misses() == before


def test_offsets_beyond_32_bits():
    beyond_32_bits()


def test_wide_kernel_is_for_wide_planes_only():
    from large import large_array

    features, rois, _ = Call(channels=2, size=(2, 2), dtype=np.float16).arrays()
    rois = cupy.asarray(rois)
    for axis, index in ((0, "index32"), (1, "index32"), (2, "index64"), (3, "index64")):
        apart = large_array(features, axis)
        Call().pool(apart, rois)
        assert index in MACHINE.launches[-1].kernel


def test_wide_kernel_is_for_long_rows_of_one_element(arrays):
    _, rois, _ = arrays
    row = cupy.broadcast_to(cupy.ones((1, 1, 1, 1), np.float32), (2, 1, 1, 2**31 + 8))
    Call().pool(row, rois)
    assert "index64" in MACHINE.launches[-1].kernel
