"""What holds for every call, on calls that hypothesis makes up."""

import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roialign_cy as ra
from roialign_cy.conventions import MODE_OF_SAMPLING, find_convention
from roialign_cy.testing import checks
from roialign_cy.testing.calls import Call
from tests.allowed import allowed, what_the_backend_offers

# The same examples every time in CI, where a failure must be that of the change at hand.
EXAMPLES = settings(
    max_examples=50,
    deadline=None,
    derandomize="CI" in os.environ,
    # `backend` is only a name.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

MODES = ("avg", "max", "max_weighted")
CONVENTIONS = (
    *ra.CONVENTIONS,
    ra.Convention(pixel_offset=0.0),
    ra.Convention(border="zero"),
    ra.Convention(pixel_offset=-0.3, min_size=2.5, sampling="interior", sampling_ratio=(3, 1)),
)


@cache
def intervals(size, scale):
    """Near and far side of a box along an axis of that many cells, in input units."""
    inside = st.floats(0, size, width=32)
    around = st.floats(-2.0, size + 2.0, width=32)
    whole = st.integers(-2, size + 2).map(float)
    eighths = st.integers(-16, 8 * size + 16).map(lambda n: n / 8)
    far = st.floats(-(2.0**11), 2.0**11, width=16)
    ordered = st.one_of(*(st.tuples(x, x) for x in (inside, around, whole, eighths))).map(sorted)
    either = st.tuples(around | far | whole, around | far | whole)  # reversed half of the time
    empty = (around | whole | far).map(lambda x: (x, x))
    return (ordered | either | empty).map(lambda pair: [x / scale for x in pair])


@st.composite
def boxes(draw, shape, scale):
    images, _, height, width = shape
    box = st.tuples(
        st.integers(0, images - 1), intervals(width, scale), intervals(height, scale)
    ).map(lambda box: [box[0], box[1][0], box[2][0], box[1][1], box[2][1]])
    rows = np.array(draw(st.lists(box, max_size=5)), float).reshape(-1, 5)
    return rows.astype(draw(st.sampled_from(["float64", "float32", "float16", "int64"])))


@st.composite
def calls(draw, modes=MODES):
    shape = (
        draw(st.integers(1, 3)),
        draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 33])),
        draw(st.integers(1, 7)),
        draw(st.integers(1, 7)),
    )
    scale = draw(st.sampled_from([1.0, 0.5, 1 / 16, 0.3, 2.0]))
    conventions = [
        convention
        for convention in CONVENTIONS
        if MODE_OF_SAMPLING.get(find_convention(convention).sampling, modes[0]) in modes
    ]
    count = st.integers(0, 4)
    options = {
        "convention": draw(st.sampled_from(conventions)),
        "mode": draw(st.sampled_from([None, *modes]) if len(modes) > 1 else st.just(*modes)),
        "sampling_ratio": draw(st.none() | count | st.tuples(count, count)),
    }
    return Call(
        seed=draw(st.integers(0, 2**32 - 1)),
        shape=shape,
        dtype=draw(st.sampled_from(["float64", "float32", "float16"])),
        rois=draw(boxes(shape, scale)),
        output_size=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        spatial_scale=scale,
        layout=draw(st.sampled_from(["NCHW", "NHWC"])),
        range=draw(st.sampled_from([1.0, 1e-3, 1e3])),
        **allowed(options),
    )


@st.composite
def calls_inside(draw):
    """Calls on the cells' own coordinates whose every sample lies in the map."""
    call = draw(calls())
    _, _, height, width = call.shape

    def sides(size):
        eighth = st.integers(0, 8 * (size - 1))
        return st.tuples(eighth, eighth).map(lambda pair: [n / 8 for n in sorted(pair)])

    box = st.tuples(st.integers(0, call.shape[0] - 1), sides(width), sides(height))
    rows = draw(st.lists(box, min_size=1, max_size=5))
    rois = np.array([[n, x[0], y[0], x[1], y[1]] for n, x, y in rows])
    ratio = draw(st.integers(1, 4))
    convention = ra.Convention(pixel_offset=0.0)
    return replace(call, rois=rois, convention=convention, spatial_scale=1.0, sampling_ratio=ratio)


@EXAMPLES
@given(call=calls())
def test_result_is_that_of_the_reference(call, backend):
    if backend == "reference":
        pytest.skip("compared with itself")
    with what_the_backend_offers():
        checks.output_agrees(call, backend)


@EXAMPLES
@given(call=calls(modes=["avg"]), factor=st.floats(-2, 2), other=st.integers(0, 2**32 - 1))
def test_mean_is_linear_in_the_features(call, factor, other, backend):
    with what_the_backend_offers():
        checks.mean_is_linear(call, backend, factor, other)


@EXAMPLES
@given(call=calls_inside(), value=st.floats(-1, 1, width=16))
def test_constant_map_gives_its_constant(call, value, backend):
    for mode in "avg", "max":
        checks.constant_map_gives_its_constant(replace(call, mode=mode), backend, value)


@EXAMPLES
@given(call=calls_inside(), left=st.integers(0, 5), above=st.integers(0, 5))
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_map_and_boxes_may_be_shifted_together(call, left, above, sampling_ratio, backend):
    call = replace(call, sampling_ratio=sampling_ratio)
    checks.map_and_boxes_may_be_shifted(call, backend, left, above)


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_channels_may_be_permuted(call, order, backend):
    channels = list(range(call.shape[1]))
    order.shuffle(channels)
    with what_the_backend_offers():
        permuted = call.pool(backend, call.features[:, channels])
        np.testing.assert_array_equal(permuted, call.pool(backend)[:, channels])


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_boxes_may_be_permuted(call, order, backend):
    boxes = list(range(len(call.rois)))
    order.shuffle(boxes)
    with what_the_backend_offers():
        permuted = call.pool(backend, rois=call.rois[boxes])
        np.testing.assert_array_equal(permuted, call.pool(backend)[boxes])


@EXAMPLES
@given(call=calls(), data=st.data())
def test_channel_and_box_alone_give_the_same_bits(call, data, backend):
    if backend == "reference":
        pytest.skip("NumPy sums one channel in another order than many")
    channel = data.draw(st.integers(0, call.shape[1] - 1))
    box = data.draw(st.integers(0, max(len(call.rois) - 1, 0)))
    channel, box = slice(channel, channel + 1), slice(box, box + 1)
    with what_the_backend_offers():
        alone = call.pool(backend, call.features[:, channel], call.rois[box])
        np.testing.assert_array_equal(alone, call.pool(backend)[box, channel])


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_images_may_be_permuted(call, order, backend):
    images = list(range(call.shape[0]))
    order.shuffle(images)
    rois = call.rois.copy()
    rois[:, 0] = [images.index(image) for image in call.rois[:, 0]]
    with what_the_backend_offers():
        output = call.pool(backend, call.features[images], rois)
        np.testing.assert_array_equal(output, call.pool(backend))


@EXAMPLES
@given(call=calls())
def test_layouts_give_the_same_bits(call, backend):
    with what_the_backend_offers():
        nchw, nhwc = (replace(call, layout=layout).pool(backend) for layout in ("NCHW", "NHWC"))
    np.testing.assert_array_equal(nchw, nhwc)


@EXAMPLES
@given(call=calls())
def test_maximum_is_no_less_than_the_mean(call, backend):
    call = replace(call, convention="mmcv")
    checks.maximum_is_no_less_than_the_mean(call, backend)
