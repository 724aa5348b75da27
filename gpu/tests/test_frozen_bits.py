"""The bits of the library's frozen calls, which are the CPU's, come out of the kernels as well.

But for NaN, of which the CPU writes one, and the gradient with respect to boxes, whose sums have
another order. Subnormal floats are flushed to zero here: the calls have none.
"""

from itertools import groupby

import cupy
import numpy as np
import pytest
import roialign_cy as ra
from tests.frozen_bits import digest, kept, result_of
from tests.frozen_calls import table

from agreement import Call

pytestmark = pytest.mark.gpu

# Where arrays lie on the host does not reach the device; thousands of boxes, which the CPU works on
# in batches, take minutes on the host layer; other numbers of channels are the same kernels again.
LEFT_OUT = ("memory", "photographs", "byte order", "out", "batches", "channels", "memory of boxes")
NOT_OFFERED = ("crops", "boxes of crops", "rotated", "rotated gradient")
GROUPS = {
    group: dict(calls)
    for group, calls in groupby(table().items(), lambda item: "/".join(item[0].split("/")[:2]))
    if not {*group.split("/")} & {*LEFT_OUT, *NOT_OFFERED}
}
KEPT = kept()


def with_one_nan(array):
    return np.where(np.isnan(array), array.dtype.type(np.nan), array)


@pytest.mark.parametrize("group", GROUPS)
def test_frozen_bits(group):
    for name, call in GROUPS[group].items():
        if call.function == "roi_align_backward" and call.wrt == "rois":
            continue
        results = [with_one_nan(array) for array in result_of(call, backend="gpu")]
        if len(results) == 2:
            results[1] = result_of(call)[1]
        assert digest(tuple(results)) == KEPT[name], name


def test_subnormal_values_become_zero():
    call = Call(ratio=2)
    features, rois, _ = call.arrays()
    tiny = features * np.float32(1e-41)
    pooled = call.pool(tiny, rois)
    assert pooled.any()
    assert not call.pool(cupy.asarray(tiny), cupy.asarray(rois)).get().any()
    # In float64, and in float16, which is computed in float32, they are numbers as all others.
    for dtype, scale in ((np.float64, 1e-310), (np.float16, 1e-6)):
        tiny = (features.astype(np.float64) * scale).astype(dtype)
        result = call.pool(cupy.asarray(tiny), cupy.asarray(rois)).get()
        assert result.any()
        np.testing.assert_array_equal(result, call.pool(tiny, rois))


def test_nan_is_a_nan():
    features = np.full((1, 1, 2, 2), np.nan, np.float32)
    pooled = ra.roi_align(cupy.asarray(features), cupy.asarray([[0, 0, 0, 2.0, 2]]), 1, mode="avg")
    assert np.isnan(pooled.get()).all()
