"""What holds for every call, on calls that hypothesis makes up."""

import os
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from allowed import allowed, what_the_backend_offers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roialign_cy as ra
from roialign_cy.conventions import MODE_OF_SAMPLING, find_convention

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
# Relative to the largest cell: the working type's precision over a few terms. Float16 results are
# rounded once, of which two that are close to a tie can come out an ulp apart.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6, "float16": 2.0**-10}


@dataclass(frozen=True)
class Call:
    """A whole call. Cells are random, and of either sign, in -range .. range."""

    seed: int
    shape: tuple[int, int, int, int]  # N, C, H, W
    dtype: str
    rois: np.ndarray
    output_size: tuple[int, int]
    convention: str | ra.Convention = "detectron2"
    mode: str | None = None
    sampling_ratio: tuple[int, int] | int | None = None
    spatial_scale: float = 1.0
    layout: str = "NCHW"
    range: float = 1.0

    @property
    def features(self):
        cells = np.random.default_rng(self.seed).uniform(-self.range, self.range, self.shape)
        return cells.astype(self.dtype)

    def run(self, backend, features=None, rois=None):
        """Pool, channels first whatever the layout."""
        features = self.features if features is None else features
        is_last = self.layout == "NHWC"
        options = {
            "convention": self.convention,
            "mode": self.mode,
            "sampling_ratio": self.sampling_ratio,
            "spatial_scale": self.spatial_scale,
            "layout": self.layout,
            "backend": backend,
        }
        with what_the_backend_offers():
            output = ra.roi_align(
                np.moveaxis(features, 1, -1) if is_last else features,
                self.rois if rois is None else rois,
                self.output_size,
                **allowed(options),
            )
        return np.moveaxis(output, -1, 1) if is_last else output


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
    return Call(
        seed=draw(st.integers(0, 2**32 - 1)),
        shape=shape,
        dtype=draw(st.sampled_from(["float64", "float32", "float16"])),
        rois=draw(boxes(shape, scale)),
        output_size=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        convention=draw(st.sampled_from(conventions)),
        mode=draw(st.sampled_from([None, *modes]) if len(modes) > 1 else st.just(*modes)),
        sampling_ratio=draw(st.none() | count | st.tuples(count, count)),
        spatial_scale=scale,
        layout=draw(st.sampled_from(["NCHW", "NHWC"])),
        range=draw(st.sampled_from([1.0, 1e-3, 1e3])),
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


def assert_close(output, expected, call, slack=1):
    atol = slack * call.range * TOLERANCE[call.dtype]
    np.testing.assert_allclose(output, expected, rtol=0, atol=atol)


@EXAMPLES
@given(call=calls())
def test_result_is_that_of_the_reference(call, backend):
    if backend == "reference":
        pytest.skip("compared with itself")
    output = call.run(backend)
    assert output.shape == (len(call.rois), call.shape[1], *call.output_size)
    assert output.dtype == call.dtype
    assert_close(output, call.run("reference"), call)


@EXAMPLES
@given(call=calls(modes=["avg"]), factor=st.floats(-2, 2), other=st.integers(0, 2**32 - 1))
def test_mean_is_linear_in_the_features(call, factor, other, backend):
    call = replace(call, dtype="float64")
    first, second = call.features, replace(call, seed=other).features
    both = call.run(backend, factor * first + second)
    apart = factor * call.run(backend, first) + call.run(backend, second)
    assert_close(both, apart, call, slack=4)


@EXAMPLES
@given(call=calls_inside(), value=st.floats(-1, 1, width=16))
def test_constant_map_gives_its_constant(call, value, backend):
    features = np.full(call.shape, value, call.dtype)
    output = replace(call, mode="avg").run(backend, features)
    assert_close(output, value, replace(call, range=1.0))
    output = replace(call, mode="max").run(backend, features)
    assert_close(output, value, replace(call, range=1.0))


@EXAMPLES
@given(call=calls_inside(), left=st.integers(0, 5), above=st.integers(0, 5))
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_map_and_boxes_may_be_shifted_together(call, left, above, sampling_ratio, backend):
    call = replace(call, sampling_ratio=sampling_ratio)
    surrounded = np.pad(
        call.features, [(0, 0), (0, 0), (above, 2), (left, 3)], constant_values=np.nan
    )
    shifted = call.rois + np.array([0, left, above, left, above])
    assert_close(call.run(backend, surrounded, shifted), call.run(backend), call)


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_channels_may_be_permuted(call, order, backend):
    channels = list(range(call.shape[1]))
    order.shuffle(channels)
    permuted = call.run(backend, call.features[:, channels])
    np.testing.assert_array_equal(permuted, call.run(backend)[:, channels])


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_boxes_may_be_permuted(call, order, backend):
    boxes = list(range(len(call.rois)))
    order.shuffle(boxes)
    permuted = call.run(backend, rois=call.rois[boxes])
    np.testing.assert_array_equal(permuted, call.run(backend)[boxes])


@EXAMPLES
@given(call=calls(), data=st.data())
def test_channel_and_box_alone_give_the_same_bits(call, data, backend):
    if backend == "reference":
        pytest.skip("NumPy sums one channel in another order than many")
    channel = data.draw(st.integers(0, call.shape[1] - 1))
    box = data.draw(st.integers(0, max(len(call.rois) - 1, 0)))
    channel, box = slice(channel, channel + 1), slice(box, box + 1)
    alone = call.run(backend, call.features[:, channel], call.rois[box])
    np.testing.assert_array_equal(alone, call.run(backend)[box, channel])


@EXAMPLES
@given(call=calls(), order=st.randoms(use_true_random=False))
def test_images_may_be_permuted(call, order, backend):
    images = list(range(call.shape[0]))
    order.shuffle(images)
    rois = call.rois.copy()
    rois[:, 0] = [images.index(image) for image in call.rois[:, 0]]
    output = call.run(backend, call.features[images], rois)
    np.testing.assert_array_equal(output, call.run(backend))


@EXAMPLES
@given(call=calls())
def test_layouts_give_the_same_bits(call, backend):
    nchw, nhwc = (replace(call, layout=layout).run(backend) for layout in ("NCHW", "NHWC"))
    np.testing.assert_array_equal(nchw, nhwc)


@EXAMPLES
@given(call=calls())
def test_maximum_is_no_less_than_the_mean(call, backend):
    mean, largest = (replace(call, mode=mode, convention="mmcv") for mode in ("avg", "max"))
    gap = largest.run(backend) - mean.run(backend).astype(np.float64)
    assert (gap >= -call.range * TOLERANCE[call.dtype] * 2).all()
