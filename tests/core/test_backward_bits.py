"""One gradient, one result: the same bits whatever computes it, in whatever order.

The calls are large enough to be shared out among threads.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import variants
from roialign_cy.backends import cpu
from roialign_cy.backends.cpu import CpuBackend, Overrides

from .test_bits import (
    AUTOMATIC,
    MOST_THREADS,
    WAYS,
    Way,
    _eight_threads,  # noqa: F401  fixtures
    assert_same_bits,
    inputs,
    options_of,
    random_call,
)

pytestmark = pytest.mark.usefixtures("own_registry")

MODES = ["avg", "max"]
WRT = ["features", "rois"]
SCRATCH = [None, 40_000]
"""Bytes for rows that boxes share: enough for all, or for a tile of 8 x some 20 cells."""


@dataclass(frozen=True)
class Backwards:
    """A way to compute a gradient."""

    way: Way

    def gradient(self, grads, rois, features, wrt, **options):
        """Differentiate, channels first whatever the layout."""
        ra.backends.register(CpuBackend("this way", self.way.variant, self.way.overrides))
        options |= {"backend": "this way", "num_threads": self.way.num_threads}
        is_last = self.way.layout == "NHWC"
        if is_last:
            arrays = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (grads, features))
            grads, features = arrays
        gradient = ra.roi_align_backward(
            grads, rois, features.shape, features=features, wrt=wrt, layout=self.way.layout,
            **options,
        )  # fmt: skip
        return np.moveaxis(gradient, -1, 1) if is_last and wrt == "features" else gradient


@cache
def grads_of(dtype, channels):
    grads = np.random.default_rng(9).standard_normal((60, channels, 7, 5)).astype(dtype)
    grads.flags.writeable = False
    return grads


def gradient_of(way, wrt, mode, dtype, channels):
    features, rois = inputs(dtype, channels)
    grads = grads_of(dtype, channels)
    return Backwards(way).gradient(grads, rois, features, wrt, **options_of(mode))


@cache
def expected(wrt, mode, dtype, channels):
    return gradient_of(Way(), wrt, mode, dtype, channels)


@pytest.mark.parametrize("channels", [1, 5, 17, 64])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrt", WRT)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_gives_the_same_bits(way, wrt, mode, dtype, channels):
    gradient = gradient_of(way, wrt, mode, dtype, channels)
    assert_same_bits(gradient, expected(wrt, mode, dtype, channels))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("scratch_bytes", SCRATCH)
def test_memory_that_comes_as_zeros_gives_the_same_bits(scratch_bytes, layout, mode, monkeypatch):
    features, rois = inputs("float32", 17)
    few = slice(0, 60, 20)  # all in the first image
    arguments = grads_of("float32", 17)[few], rois[few], features, "features"
    written = Backwards(Way()).gradient(*arguments, **options_of(mode))
    assert (written == 0).mean() > 0.6
    monkeypatch.setattr(cpu, "FRESH_BYTES", 0)
    way = Way(layout=layout, overrides=Overrides(scratch_bytes=scratch_bytes))
    assert_same_bits(Backwards(way).gradient(*arguments, **options_of(mode)), written)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrt", WRT)
def test_what_is_compared_is_the_gradient(wrt, mode):
    features, rois = inputs("float64", 5)
    gradient = expected(wrt, mode, "float64", 5)
    reference = ra.roi_align_backward(
        grads_of("float64", 5), rois, features.shape, features=features, wrt=wrt,
        backend="reference", **options_of(mode),
    )  # fmt: skip
    np.testing.assert_allclose(gradient, reference, rtol=0, atol=1e-10)
    assert len(np.unique(gradient)) > 100


@pytest.mark.parametrize("wrt", WRT)
@pytest.mark.parametrize("variant", variants.promised())
def test_the_largest_of_nan_infinities_and_equals_is_the_same(variant, wrt):
    rng = np.random.default_rng(2)
    cells, odds = (
        [0.0, -0.0, -1, 1, -np.inf, np.inf, np.nan],
        [0.3, 0.3, 0.2, 0.19, 6e-3, 2e-3, 2e-3],
    )
    features = rng.choice(cells, (2, 20, 64, 64), p=odds).astype(np.float32)
    grads = rng.standard_normal((60, 20, 2, 3)).astype(np.float32)
    grads[rng.uniform(size=grads.shape) < 0.002] = np.inf
    # More lines to a section than rows of sections: they are looked at in several passes.
    options = options_of("max") | {"sampling_ratio": (9, 3)}
    arguments = grads, inputs("float32", 20)[1], features, wrt
    plain, in_little_memory = (
        Backwards(Way(variant, overrides=Overrides(scratch_bytes=scratch_bytes))).gradient(
            *arguments, **options
        )
        for scratch_bytes in SCRATCH
    )
    assert np.isfinite(plain).mean() > 0.3
    assert_same_bits(in_little_memory, plain)


@pytest.mark.parametrize("seed", range(60))
def test_random_call_gives_the_same_bits_on_every_variant_and_number_of_threads(seed):
    features, rois, options = random_call(seed)
    sizes = options.pop("output_size")
    if options["convention"].startswith("onnx"):
        options["mode"] = "avg"
    shape = (len(rois), features.shape[1], *sizes)
    grads = np.random.default_rng(seed).standard_normal(shape).astype(features.dtype)
    for wrt in WRT if options["convention"] != "roi_pool" else WRT[:1]:
        arguments = grads, rois, features, wrt
        first = Backwards(Way(overrides=AUTOMATIC)).gradient(*arguments, **options)
        for variant in variants.promised():
            for layout, num_threads in ("NCHW", 1), ("NCHW", MOST_THREADS), ("NHWC", MOST_THREADS):
                way = Way(variant, num_threads, layout, AUTOMATIC)
                assert_same_bits(Backwards(way).gradient(*arguments, **options), first)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrt", ["features", "rois"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scratch_bytes", SCRATCH)
def test_size_of_a_batch_does_not_change_a_bit(scratch_bytes, dtype, wrt, mode):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 4, 20, 20)).astype(dtype)
    near = rng.uniform(-4, 20, (300, 2))
    rois = np.column_stack([rng.integers(0, 2, 300), near, near + 10 * rng.random((300, 2))])
    rois = rois[np.argsort(rois[:, 2])]  # as they come from a proposal network, top to bottom
    grads = rng.standard_normal((300, 4, 3, 3)).astype(dtype)
    options = {"convention": "mmcv", "mode": mode, "sampling_ratio": 2}
    results = []
    for table_bytes in (1, 10_000, 100_000, None):  # 300, some 60, some 7 and one batch
        overrides = replace(AUTOMATIC, scratch_bytes=scratch_bytes, table_bytes=table_bytes)
        for num_threads in (1, 2):
            way = Way(num_threads=num_threads, overrides=overrides)
            results.append(Backwards(way).gradient(grads, rois, features, wrt, **options))
    for result in results:
        assert_same_bits(result, results[-1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrt", WRT)
@pytest.mark.parametrize("columns", [1, 30_000])
def test_many_columns_in_little_memory(mode, wrt, columns):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 1, 2, 40_000)).astype(np.float32)
    grads = rng.standard_normal((1, 1, 1, columns)).astype(np.float32)
    rois = np.array([[0, 10, 0, 39_990, 1.5]])
    options = {"convention": "detectron2", "mode": mode}
    little, enough = (
        Backwards(Way(overrides=Overrides(scratch_bytes=scratch_bytes))).gradient(
            grads, rois, features, wrt, **options
        )
        for scratch_bytes in (100_000, None)
    )
    assert_same_bits(little, enough)


def test_boxes_of_many_tall_images_in_any_order_give_the_bits_of_each_image():
    rng = np.random.default_rng(3)
    shape, count = (70, 2, 300, 8), 500
    low = rng.uniform([0, -20], [6, 290], (count, 2))
    box = np.column_stack([rng.integers(0, 70, count), low, low + rng.uniform(1, 40, (count, 2))])
    grads = rng.standard_normal((count, 2, 3, 3), dtype=np.float32)
    options = {"convention": "torchvision", "sampling_ratio": 2}
    together = ra.roi_align_backward(grads, box, shape, **options)
    for image in range(70):
        own = box[:, 0] == image
        alone = box[own] * [0, 1, 1, 1, 1]
        expected = ra.roi_align_backward(grads[own], alone, (1, *shape[1:]), **options)
        assert_same_bits(together[image], expected[0])
