"""One call, one result: the same bits whatever computes it, in whatever order, on how many threads.

The calls are large enough to be shared out among threads.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import roialign_cy as ra
from roialign_cy._core import runtime, threads, variants
from roialign_cy.backends.cpu import ORDERS, CpuBackend, Overrides
from tests.allowed import allowed

pytestmark = pytest.mark.usefixtures("own_registry")

MOST_THREADS = 8
MODES = ["avg", "max", "max_weighted"]
DTYPES = ["float16", "float32", "float64"]


@pytest.fixture(autouse=True)
def _eight_threads():
    """Let OpenMP start more threads than the machine has cores."""
    with threadpool_limits(MOST_THREADS, user_api="openmp"):
        if runtime.has_openmp():
            assert threads.effective_num_threads(MOST_THREADS) == MOST_THREADS
        yield


@dataclass(frozen=True)
class Way:
    """A way to compute a call; by default the plainest one."""

    variant: str = variants.promised()[0]
    num_threads: int = 1
    layout: str = "NCHW"
    overrides: Overrides = field(default=Overrides(order="tiled", parallel=False, splits=1))

    def pool(self, features, *arguments, **options):
        """Pool, channels first whatever the layout."""
        ra.backends.register(CpuBackend("this way", self.variant, self.overrides))
        options |= {"backend": "this way", "num_threads": self.num_threads, "layout": self.layout}
        if self.layout == "NCHW":
            return ra.roi_align(features, *arguments, **options)
        features = np.ascontiguousarray(np.moveaxis(features, 1, -1))
        return np.moveaxis(ra.roi_align(features, *arguments, **options), -1, 1)


AUTOMATIC = Overrides()
WAYS = {
    **{variant: Way(variant=variant, overrides=AUTOMATIC) for variant in variants.promised()},
    "NHWC": Way(layout="NHWC"),
    "NHWC on 8 threads": Way(layout="NHWC", num_threads=8, overrides=AUTOMATIC),
    **{
        f"{number} threads": Way(num_threads=number, overrides=AUTOMATIC)
        for number in (1, 2, 3, MOST_THREADS)
    },
    **{
        f"{order}, {'parallel' if parallel else 'serial'}, {splits} splits": Way(
            num_threads=3, overrides=Overrides(order=order, parallel=parallel, splits=splits)
        )
        for order in ORDERS
        for parallel in (False, True)
        for splits in (None, 50)  # the boxes of an image are 30: some tasks get none
    },
    **{
        f"{order}, {variant}": Way(variant=variant, overrides=Overrides(order=order))
        for order in ORDERS
        for variant in variants.promised()
    },
    "planar, NHWC": Way(layout="NHWC", overrides=Overrides("planar")),
    **{
        f"{'in place' if in_place else 'packed'}, NHWC, {variant}": Way(
            variant, 3, "NHWC", Overrides("tiled", in_place=in_place, streams=True)
        )
        for in_place in (False, True)
        for variant in variants.promised()
    },
    **{
        f"runs of {run} rows, {layout}, {splits} splits": Way(
            num_threads=3, layout=layout, overrides=Overrides("tiled", True, splits, run)
        )
        for run in (1, 2)
        for layout in ("NCHW", "NHWC")
        for splits in (None, 50)
    },
    **{
        f"{scratch_bytes} bytes for shared rows, {layout}, {variant}": Way(
            variant, 3, layout, Overrides(parallel=True, scratch_bytes=scratch_bytes)
        )
        for scratch_bytes in (3_000, 100_000)
        for layout in ("NCHW", "NHWC")
        for variant in variants.promised()
    },
    **{
        f"past the caches, {variant}": Way(
            variant, num_threads=3, overrides=Overrides("tiled", parallel=True, streams=True)
        )
        for variant in variants.promised()
    },
}


@cache
def inputs(dtype, channels):
    """Two maps of 64 x 64 cells and 60 boxes, small and large, inside and beyond the border."""
    rng = np.random.default_rng(channels)
    features = rng.standard_normal((2, channels, 64, 64)).astype(dtype)
    near = rng.uniform(-20, 60, (60, 2))
    far = near + rng.uniform(0, 1, (60, 2)) ** 3 * 90
    far[::10] -= 70  # some are reversed
    rois = np.column_stack([np.arange(60) % 2, near, far])
    features.flags.writeable = rois.flags.writeable = False
    return features, rois


def options_of(mode):
    # Adaptive means have lines of many taps; reversed boxes need a fixed ratio to have samples.
    ratio = {"avg": (0, 3), "max": (3, 0), "max_weighted": 2}[mode]
    return {"convention": "mmcv", "mode": mode, "sampling_ratio": ratio}


@cache
def expected(mode, dtype, channels):
    return Way().pool(*inputs(dtype, channels), (7, 5), **options_of(mode))


def assert_same_bits(output, expected):
    assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
    integers = f"i{output.itemsize}"
    np.testing.assert_array_equal(
        np.ascontiguousarray(output).view(integers), np.ascontiguousarray(expected).view(integers)
    )


@pytest.mark.parametrize("channels", [1, 3, 5, 17, 40, 64])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_gives_the_same_bits(way, mode, dtype, channels):
    output = way.pool(*inputs(dtype, channels), (7, 5), **options_of(mode))
    assert_same_bits(output, expected(mode, dtype, channels))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", variants.promised())
def test_cache_lines_of_channels_are_written_past_the_caches(variant, mode, dtype):
    features, rois = inputs(dtype, 48)
    features = np.where(np.arange(64) % 9, features, -np.nan).astype(dtype)  # of the wrong sign
    plain = Way().pool(features, rois, (7, 5), **options_of(mode))
    room = np.full((plain.nbytes + 128) // plain.itemsize, -5, dtype)
    skipped = -room.ctypes.data % 64 // plain.itemsize
    out = room[skipped : skipped + plain.size].reshape(60, 7, 5, 48)
    way = Way(variant, 3, "NHWC", Overrides("tiled", streams=True))
    way.pool(features, rois, (7, 5), out=out, **options_of(mode))
    assert_same_bits(out.transpose(0, 3, 1, 2), plain)
    out[...] = -5
    assert (room == -5).all()


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_result_between_others_is_written_nowhere_else(axis):
    features, rois = inputs("float32", 20)
    plain = Way().pool(features, rois, 6, **options_of("avg"))
    room = np.full(np.insert(plain.shape, axis + 1, 2), -5, np.float32)  # a neighbour for each
    out = np.moveaxis(room, axis + 1, 0)[0]
    way = Way(overrides=Overrides("tiled", streams=True))
    assert_same_bits(way.pool(features, rois, 6, out=out, **options_of("avg")), plain)
    out[...] = -5
    assert (room == -5).all()


def test_channels_that_lie_last_are_written_past_the_caches_as_planes():
    features, rois = inputs("float32", 20)
    turned = np.ascontiguousarray(features.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    way = Way(overrides=Overrides("tiled", streams=True))
    output = way.pool(turned, rois, (7, 5), **options_of("avg"))
    assert_same_bits(output, expected("avg", "float32", 20))


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("variant", variants.promised())
def test_more_rows_of_sections_than_lanes(variant, mode):
    features, rois = inputs("float32", 3)
    options = {"convention": "detectron2", "mode": mode, "sampling_ratio": 2}
    planar = Way(variant, overrides=Overrides("planar")).pool(features, rois, (40, 3), **options)
    assert_same_bits(planar, Way().pool(features, rois, (40, 3), **options))


@pytest.mark.parametrize("columns", [6_000, 30_000])  # of which few enough are read, or not
@pytest.mark.parametrize("mode", MODES[:2])
def test_more_columns_than_are_interpolated_side_by_side(mode, columns):
    features = np.random.default_rng(0).standard_normal((1, 1, 2, 40_000)).astype(np.float32)
    rois = np.array([[0, 10, 0, 39_990, 1.5]])
    options = {"convention": "detectron2", "mode": mode, "sampling_ratio": 1}
    planar = Way(overrides=Overrides("planar")).pool(features, rois, (1, columns), **options)
    assert_same_bits(planar, Way().pool(features, rois, (1, columns), **options))


CELLS = {
    "all": (3, slice(None)),
    "from the last on": (3, slice(None, None, -1)),
    "the first of four": (4, slice(3)),
    "the last of four": (4, slice(1, None)),
    "every second of six": (6, slice(1, None, 2)),
    "one of three": (3, slice(1, 2)),
}


def in_cells(features, cell):
    """Have the channels side by side, with others between them that are not to be read."""
    size, channels = CELLS[cell]
    n, _, h, w = features.shape
    view = np.full((n, h, w, size), np.nan, features.dtype)[..., channels]
    view[...] = np.moveaxis(features, 1, -1)[..., : view.shape[-1]]
    return np.moveaxis(view, -1, 1)


@pytest.mark.parametrize("outputs_channels", ["first", "last"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", variants.promised())
def test_channels_that_lie_in_one_cell(variant, mode, dtype, cell, outputs_channels):
    features, rois = inputs(dtype, 3)
    turned = in_cells(features, cell)
    plain = expected(mode, dtype, 3)[:, : turned.shape[1]]
    out = np.empty_like(plain)
    if outputs_channels == "last":
        out = np.moveaxis(np.empty_like(np.moveaxis(plain, 1, -1), order="C"), -1, 1)
    way = Way(variant, 3, overrides=Overrides("planar", parallel=True))
    assert_same_bits(way.pool(turned, rois, (7, 5), out=out, **options_of(mode)), plain)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("mode", MODES)
def test_channels_that_lie_in_one_cell_far_from_the_next(mode, cell):
    features = np.random.default_rng(0).standard_normal((1, 3, 5, 900)).astype(np.float32)
    rois = np.array([[0, 3, 0, 890, 4.5], [0, 890, 0, 3, 4.5], [0, -400, -2, 1200, 7]])
    options = {"convention": "detectron2", "mode": mode, "sampling_ratio": 2}
    turned = in_cells(features, cell)
    plain = Way().pool(features, rois, (2, 3), **options)[:, : turned.shape[1]]
    assert_same_bits(Way(overrides=AUTOMATIC).pool(turned, rois, (2, 3), **options), plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_compared_is_the_result(mode, dtype):
    features, rois = inputs(dtype, 3)
    output = ra.roi_align(features, rois, (7, 5), backend="reference", **options_of(mode))
    tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(expected(mode, dtype, 3), output, rtol=0, atol=tolerance)
    assert len(np.unique(output)) > 1000


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_zeros_of_either_sign_infinity_and_nan_come_out_the_same(way, mode):
    rng = np.random.default_rng(1)
    cells = np.array([0.0, -0.0, 0.0, -0.0, 0.0, -0.0, -1, -np.inf])
    features = rng.choice(cells, (2, 20, 64, 64)).astype(np.float32)
    features[:, 10:][rng.uniform(size=(2, 10, 64, 64)) < 0.001] = np.nan
    features[:, 5:15][rng.uniform(size=(2, 10, 64, 64)) < 0.001] = np.inf
    rois = inputs("float32", 40)[1]
    first, second = (each.pool(features, rois, 3, **options_of(mode)) for each in (way, Way()))
    assert_same_bits(first, second)
    assert 0 < np.isnan(first).mean() < 0.9


def random_call(seed):
    """Features, boxes and options of any kind."""
    rng = np.random.default_rng(seed)
    n, c, h, w = rng.integers(1, [4, 100, 80, 80])
    features = rng.standard_normal((n, c, h, w)).astype(rng.choice(DTYPES))
    k = int(rng.integers(0, 100))
    near = rng.uniform(-0.3, 1.1, (k, 2)) * [w, h]
    far = near + rng.uniform(-0.2, 1, (k, 2)) ** 3 * [2 * w, 2 * h]
    rois = np.column_stack([rng.integers(0, n, k), near, far]).astype(rng.choice(DTYPES[1:]))
    options = {
        "output_size": tuple(int(number) for number in rng.integers(1, [40, 15])),
        "convention": str(rng.choice(list(ra.CONVENTIONS))),
        "mode": str(rng.choice(MODES[:2])),
        "sampling_ratio": [None, 0, 1, 2, (3, 1)][rng.integers(5)],
        "spatial_scale": float(rng.choice([1, 0.9])),
    }
    return features, rois, allowed(options)


@pytest.mark.parametrize("seed", range(100))
def test_random_call_gives_the_same_bits_on_every_variant_and_number_of_threads(seed):
    features, rois, options = random_call(seed)
    output = Way(overrides=AUTOMATIC).pool(features, rois, **options)
    for variant in variants.promised():
        for way in (
            Way(variant, overrides=AUTOMATIC),
            Way(variant, MOST_THREADS, overrides=Overrides(streams=True)),
            Way(variant, MOST_THREADS, "NHWC", AUTOMATIC),
        ):
            assert_same_bits(way.pool(features, rois, **options), output)
