"""The largest sizes of everything, each at its edge: docs/limits.md is the table of them.

What is too large to fill lies in memory that the system maps only where it is touched.
"""

import mmap
import subprocess
import sys
import time

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import taps, variants
from roialign_cy._core.taps import Taps
from roialign_cy._explain.numbers import MOST_POINTS
from roialign_cy._spec import make_spec
from roialign_cy.conventions import MAX_SAMPLING_RATIO

MODES = pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
PLAIN = ra.Convention(pixel_offset=0.0)
GAP = 2**33
"""Bytes between neighbours: neither their distance nor its number of cells fits 32 bits."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sys.maxsize < 2**47,
    reason="memory that is mapped lazily is asked for as 64-bit Linux has it",
)


def lazy(shape, dtype):
    """Zeros that take memory only where they are written."""
    nbytes = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    no_reserve = 0x4000  # MAP_NORESERVE, which Python has from 3.13 on
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    return np.frombuffer(mmap.mmap(-1, nbytes, flags=flags), dtype).reshape(shape)


def far_apart(array, is_last_close=False):
    """The same numbers, every axis' neighbours (but for the last's) ``GAP`` bytes apart or more."""
    strides, step = [], GAP
    for axis in reversed(range(array.ndim)):
        if is_last_close and axis == array.ndim - 1:
            strides.append(array.itemsize)
            continue
        strides.append(step)
        step *= array.shape[axis]
    memory = lazy((step + 4096,), np.uint8)
    view = np.ndarray(array.shape, array.dtype, memory, strides=strides[::-1])
    view[...] = array
    return view


def noise(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


BOXES = np.array([[0, 0.5, 0.25, 3.5, 3], [1, -1, 1, 4, 2.5], [1, 4, 3, 1, 0.5]])


# Strides


@pytest.mark.parametrize("is_last_close", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 18])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@MODES
def test_strides_beyond_32_bits(mode, layout, channels, dtype, is_last_close):
    shape = (2, channels, 4, 5) if layout == "NCHW" else (2, 4, 5, channels)
    features = noise(*shape, dtype=dtype)
    options = {"convention": PLAIN, "mode": mode, "sampling_ratio": 2, "layout": layout}
    expected = ra.roi_align(features, BOXES, (2, 3), **options)
    out = far_apart(np.zeros_like(expected), is_last_close)
    ra.roi_align(far_apart(features, is_last_close), BOXES, (2, 3), out=out, **options)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 18])
def test_strides_beyond_32_bits_in_roi_pooling(channels, dtype):
    features = noise(2, channels, 4, 5, dtype=dtype)
    expected = ra.roi_pool(features, BOXES, (2, 3))
    out = far_apart(np.zeros_like(expected))
    ra.roi_pool(far_apart(features), BOXES, (2, 3), out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("is_last_close", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 18])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("wrt", ["features", "rois"])
def test_strides_beyond_32_bits_in_gradients(wrt, mode, layout, channels, dtype, is_last_close):
    is_first = layout == "NCHW"
    shape = (2, channels, 4, 5) if is_first else (2, 4, 5, channels)
    features = noise(*shape, dtype=dtype)
    grads = noise(*((3, channels, 2, 3) if is_first else (3, 2, 3, channels)), dtype=dtype, seed=1)
    options = {"convention": PLAIN, "mode": mode, "sampling_ratio": 2, "layout": layout, "wrt": wrt}
    expected = ra.roi_align_backward(grads, BOXES, shape, features=features, **options)
    out = far_apart(np.zeros_like(expected), is_last_close)
    features, grads = far_apart(features, is_last_close), far_apart(grads, is_last_close)
    ra.roi_align_backward(grads, BOXES, shape, features=features, out=out, **options)
    np.testing.assert_array_equal(out, expected)


# Cells, images, boxes


@pytest.mark.parametrize("size", [(2**21, 2**12), (2**11, 2**23)], ids=["tall", "wide"])
@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@MODES
def test_map_of_more_cells_than_32_bits_count(mode, layout, channels, size):
    height, width = size
    shape = (1, channels, *size) if layout == "NCHW" else (1, *size, channels)
    features = lazy(shape, np.float32)
    corner = noise(1, channels, 8, 8)
    (features if layout == "NCHW" else np.moveaxis(features, -1, 1))[..., -8:, -8:] = corner
    box = np.array([0, 2.5, 3.25, 8, 6.75])
    options = {"convention": PLAIN, "mode": mode, "sampling_ratio": 2}
    expected = ra.roi_align(corner, [box], 2, **options)
    moved = box + np.array([0, width - 8, height - 8, width - 8, height - 8])
    output = ra.roi_align(features, [moved], 2, layout=layout, **options)
    if layout == "NHWC":
        output = np.moveaxis(output, -1, 1)
    np.testing.assert_array_equal(output, expected)


def test_map_of_more_cells_than_32_bits_count_in_roi_pooling():
    features = lazy((1, 1, 2**17, 2**17), np.float16)
    features[..., -3, -2] = 7
    box = [0, 2**17 - 8, 2**17 - 8, 2**17, 2**17]
    np.testing.assert_array_equal(ra.roi_pool(features, [box], 2)[0, 0], [[0, 0], [0, 7]])


def test_more_images_than_32_bits_count():
    last = 2**32 + 1
    features = lazy((last + 1, 1, 2, 2), np.float32)
    features[last] = 3
    options = {"convention": PLAIN, "sampling_ratio": 1, "backend": "cpu"}
    assert ra.roi_align(features, [[last, 0, 0, 1, 1]], 1, **options).item() == 3
    with pytest.raises(ValueError, match=rf"rois\[0, 0\] must be .* 0 \.\. {last + 1} - 1"):
        ra.roi_align(features, [[last + 1, 0, 0, 1, 1]], 1, **options)


@pytest.mark.parametrize("channels", [1, 16])
def test_more_boxes_than_32_bits_count(channels):
    # The core alone: whoever calls the library has their boxes copied, and the output filled.
    first, count = 2**32 + 3, 5
    rois = lazy((first + count, 5), np.float32)
    rois[first:, 3:] = np.arange(1, count + 1)[:, np.newaxis]
    features = noise(1, channels, 6, 7)
    spec = make_spec(2, PLAIN, 1.0, 2, "avg", "NCHW", 1)
    out = lazy((first + count, channels, 2, 2), np.float32)
    taps = Taps(rois, np.arange(first, first + count), 6, 7, spec, True, 1)
    assert taps.next_batch()
    assert taps.last == count
    kernels = variants.load(variants.chosen(), "float32")
    kernels.forward(features, out, taps, 1, None)
    expected = ra.roi_align(features, rois[first:], 2, convention=PLAIN, sampling_ratio=2)
    np.testing.assert_array_equal(out[first:], expected)


def test_kernels_refuse_taps_without_a_batch():
    spec = make_spec(2, PLAIN, 1.0, 2, "avg", "NCHW", 1)
    taps = Taps(np.zeros((1, 5), np.float32), None, 6, 7, spec, True, 1)
    kernels = variants.load(variants.chosen(), "float32")
    arrays = noise(1, 1, 6, 7), np.empty((1, 1, 2, 2), np.float32)
    with pytest.raises(ValueError, match=r"next_batch\(\)"):
        kernels.forward(*arrays, taps, 1, None)


def test_boxes_beyond_32_bits_of_bytes_are_checked():
    spec = make_spec(1, PLAIN, 1.0, 1, "avg", "NCHW", 1)
    rois = far_apart(BOXES, is_last_close=True)
    assert taps.find_fault(rois, 2, spec) is None
    rois[2, 4] = np.nan
    assert taps.find_fault(rois, 2, spec) == (2, "not finite")


# Boxes that others crash on, on a map of a detector's size

LARGE = {
    "whole map": [0, 0, 0, 304, 200],
    "1e9 cells": [0, -5e8, -5e8, 5e8, 5e8],
    "2**52 cells": [0, -(2.0**51), -(2.0**51), 2.0**51, 2.0**51],
    "reversed": [0, 1e9, 1e9, -1e9, -1e9],
    "far away": [0, 1e15, 1e15, 1e15, 1e15],
}
IMPOSSIBLE = {
    "NaN": [0, np.nan, 0, 4, 4],
    "infinite": [0, -np.inf, 0, np.inf, 4],
    "extent overflows": [0, -1e308, -1e308, 1e308, 1e308],
    "image 1": [1, 0, 0, 4, 4],
    "image 0.5": [0.5, 0, 0, 4, 4],
    "image -1": [-1, 0, 0, 4, 4],
    "image 1e300": [1e300, 0, 0, 4, 4],
}


def pool_on_a_detectors_map(box, mode, ratio):
    """Pool ones, and expect it within a second of CPU time."""
    features = np.broadcast_to(np.float32(1), (1, 256, 200, 304))
    options = {"convention": "detectron2", "mode": mode, "sampling_ratio": ratio}
    began = time.process_time()
    try:
        return ra.roi_align(features, [box], 7, num_threads=1, backend="cpu", **options)
    finally:
        assert time.process_time() - began < 1


@pytest.mark.parametrize("ratio", [0, 2, 4096])
@pytest.mark.parametrize("box", LARGE.values(), ids=LARGE)
@MODES
def test_hostile_box_is_answered_within_a_second(box, ratio, mode):
    output = pool_on_a_detectors_map(box, mode, ratio)
    assert output.min() >= 0
    assert output.max() <= 1.00001


@pytest.mark.parametrize("ratio", [0, 2, 4096])
@pytest.mark.parametrize("box", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_hostile_box_is_refused_by_its_row_within_a_second(box, ratio):
    with pytest.raises(ValueError, match=r"^rois\[0"):
        pool_on_a_detectors_map(box, "max", ratio)


# Memory

# VmHWM, since ru_maxrss begins with that of the process which this one was started from.
PROGRAM = """
import re
from pathlib import Path

import numpy as np
import roialign_cy as ra

COUNT = 2_000_000

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024

def pool(features, box, output_size):
    options = dict(convention=ra.Convention(pixel_offset=0.0), mode={mode!r}, num_threads=1)
    ra.roi_align(features, [box], output_size, **options)

features = np.zeros((1, 1, 1, COUNT), np.float32)
pool(features[..., :8], [0, 0, 0, 8, 1], 1)
before = peak()
if {of!r} == "cell":
    pool(features, [0, 0, 0, COUNT, 1], 1)
else:
    pool(features[..., :8], [0, 0, 0, 8, 1], (1, COUNT))
print((peak() - before) / COUNT)
"""


@pytest.mark.parametrize(
    ("mode", "of", "most"), [("avg", "cell", 190), ("max", "cell", 250), ("avg", "section", 190)]
)
def test_bytes_of_a_box_for_each_cell_and_section_along_an_axis(mode, of, most):
    program = PROGRAM.format(mode=mode, of=of)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    print(f"{mode}: {float(done.stdout):.0f} bytes for each {of}")  # noqa: T201 - docs/limits.md
    assert most / 2 < float(done.stdout) <= most


# Samples


@pytest.mark.parametrize("ratio", [MAX_SAMPLING_RATIO + 1, (1, MAX_SAMPLING_RATIO + 1), 2**63])
def test_sampling_ratio_beyond_the_cap_is_refused_by_every_function(ratio):
    assert MAX_SAMPLING_RATIO == 4096  # the documents say so
    features, rois = noise(1, 1, 4, 4), [[0, 0, 0, 3, 3]]
    text = r"^sampling_ratio must be in 0 \.\. 4096"
    with pytest.raises(ValueError, match=text):
        ra.roi_align(features, rois, 1, sampling_ratio=ratio)
    with pytest.raises(ValueError, match=text):
        ra.roi_align_backward(noise(1, 1, 1, 1), rois, (1, 1, 4, 4), sampling_ratio=ratio)
    with pytest.raises(ValueError, match=text):
        ra.explain(features, rois, 1, sampling_ratio=ratio)
    with pytest.raises(ValueError, match=text):
        ra.compare_conventions(features, rois, 1, sampling_ratio=ratio)
    with pytest.raises(ValueError, match=text):
        ra.Convention(sampling_ratio=ratio)


@MODES
def test_largest_sampling_ratio_is_answered_within_a_second(mode):
    features = noise(1, 16, 200, 300)
    rois = np.tile([0, -1e6, -1e6, 1e6, 1e6], (100, 1))
    rois[::2, 1:] = 1.5, 2.5, 290, 190
    began = time.process_time()
    ra.roi_align(features, rois, 7, sampling_ratio=4096, mode=mode, num_threads=1, backend="cpu")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("sections", [1, 8])
def test_adaptive_count_at_its_limit(axis, sections, backend):
    # From one cell before the map on: the first section reads its one column, or row, once.
    features = np.full((1, 1, 1, 1), 2.0**40)
    most = float(sections * 2**51)
    options = {"convention": "detectron2", "mode": "max", "backend": backend}

    def pool(extent):
        box = [0, 0, 0, 1, 1]
        box[3 if axis == "x" else 4] = extent
        return ra.roi_align(features, [box], sections, **options)

    assert pool(most)[0, 0, 0, 0] == 2.0**40
    with pytest.raises(ValueError, match=r"rois\[0\] must have an extent whose adaptive sample"):
        pool(np.nextafter(most, np.inf))


def test_most_points_are_explained_and_no_more():
    features, rois = noise(1, 1, 4, 4), [[0, 0, 0, 3, 3]]
    assert MOST_POINTS == 10_000  # the docstring says so
    options = {"sampling_ratio": 1, "convention": PLAIN}
    began = time.process_time()
    assert ra.explain(features, rois, 100, **options).values.size == MOST_POINTS
    assert time.process_time() - began < 1
    with pytest.raises(ValueError, match=r"^output_size .* 10000"):
        ra.explain(features, rois, (100, 101), **options)
    with pytest.raises(ValueError, match=r"^rois\[0\] has 10100 samples"):
        ra.explain(features, rois, 1, convention=PLAIN, sampling_ratio=(100, 101))


# Nothing, of a size that cannot be gone through


@pytest.mark.parametrize("size", [(2**40, 1), (1, 2**40), (2**29, 2**29)], ids=str)
def test_any_number_of_sections_of_no_channels(size, backend):
    options = {"convention": "detectron2", "sampling_ratio": 1, "backend": backend}
    features, rois = np.zeros((1, 0, 4, 5)), [[0, 0, 0, 3, 3]]
    assert ra.roi_align(features, rois, size, **options).shape == (1, 0, *size)
    grads = np.zeros((1, 0, *size))
    gradient = ra.roi_align_backward(grads, rois, (1, 0, 4, 5), **options)
    assert gradient.shape == (1, 0, 4, 5)


def test_any_number_of_images_without_boxes_takes_no_time():
    # Neither are they gone through one by one where images are worked on by themselves.
    boxes, images = [[images - 1, 0, 0, 1, 1] for images in (1, 1000)], 1_000_000
    swapped = np.broadcast_to(np.ones((1, 1, 2, 2), ">f4"), (images, 1, 2, 2))
    began = time.process_time()
    assert (ra.roi_align(swapped, boxes, 1, convention=PLAIN) == 1).all()
    grads = np.ones((2, 1, 1, 1), np.float16)
    gradient = ra.roi_align_backward(grads, boxes, (images, 1, 2, 2), convention=PLAIN)
    assert np.flatnonzero(gradient.any(axis=(1, 2, 3))).tolist() == [0, 999]
    assert time.process_time() - began < 1
