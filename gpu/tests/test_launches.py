"""What a call does to the machine, as seen on the host: no waiting, no copies, few launches."""

import cupy
import numpy as np
import pytest

from agreement import GPU, Call
from host.plugin import MACHINE
from mutants import beyond_32_bits


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
    kernels = watched(lambda: GPU.roi_align(features, rois, Call().spec, None))
    assert kernels == [
        "roi_align_boxes_centered",
        "roi_align_avg_centered_2x2_nchw_lanes5_index32",
    ]


@pytest.mark.parametrize(("mode", "launches"), [("avg", 4), ("max", 5)])
def test_gradients_do_not_wait_either(mode, launches, arrays):
    features, rois, grad = arrays
    kernels = watched(
        lambda: GPU.roi_align_backward(
            grad,
            rois,
            features.shape,
            Call(mode).spec,
            features=features,
            wrt=("features", "rois"),
            out=None,
        )
    )
    assert len(kernels) == launches
    assert all(name.startswith("roi_align_") for name in kernels)


def test_list_of_boxes_does_not_wait(arrays):
    features, rois, _ = arrays
    boxes = [rois[:, 1:], rois[:2, 1:]]
    watched(lambda: GPU.roi_align(features, boxes, Call().spec, None))


def test_nothing_is_launched_for_nothing(arrays):
    features, rois, _ = arrays
    assert watched(lambda: GPU.roi_align(features, rois[:0], Call().spec, None)) == []
    assert watched(lambda: GPU.roi_align(features[:, :0], rois, Call().spec, None)) == []


def test_all_launches_are_on_the_current_stream(arrays):
    features, rois, grad = arrays
    MACHINE.check()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        GPU.roi_align_backward(
            grad,
            rois,
            features.shape,
            Call("max").spec,
            features=features,
            wrt=("features", "rois"),
            out=None,
        )
    assert {launch.stream for launch in MACHINE.launches} == {stream.ptr}


def test_strides_and_shapes_need_no_other_kernel(arrays):
    features, rois, _ = arrays
    GPU.roi_align(features, rois, Call().spec, None)
    modules = len(MACHINE._modules)
    GPU.roi_align(features[:, :, ::-1, 1:], rois[::2], Call(output_size=(5, 1)).spec, None)
    assert len(MACHINE._modules) == modules


def test_offsets_beyond_32_bits():
    beyond_32_bits()


def test_wide_kernel_is_for_wide_planes_only():
    from large import large_array

    features, rois, _ = Call(channels=2, size=(2, 2), dtype=np.float16).arrays()
    rois = cupy.asarray(rois)
    for axis, index in ((0, "index32"), (1, "index32"), (2, "index64"), (3, "index64")):
        apart = large_array(features, axis)
        GPU.roi_align(apart, rois, Call().spec, None)
        assert MACHINE.launches[-1].kernel.endswith(index)
