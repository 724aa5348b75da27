"""What the weights of a mean and of a point sum to, and which cells have one."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import taps
from roialign_cy._spec import make_spec

DTYPES = [np.float16, np.float32, np.float64]


@pytest.fixture
def exact_backend(backend):
    """A backend whose weights sum to 1 exactly: not promised for others."""
    if backend not in ("reference", "gpu") and not backend.startswith("cpu["):
        pytest.skip(f"the sum of the weights is not promised on {backend}")
    return backend


def boxes_inside(rng, count, height, width):
    """Boxes of a convention with an offset of half a cell that have no sample outside the map."""
    sides = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * (width, height)
    return np.column_stack([np.zeros(count), sides[:, 0], sides[:, 1]])


def boxes_across(rng, count, height, width):
    """Boxes that may begin and end anywhere, some of them reversed."""
    sides = rng.uniform(-0.5, 1.5, (count, 2, 2)) * (width, height)
    return np.column_stack([np.zeros(count), sides[:, 0], sides[:, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_means_and_maxima_of_a_map_of_ones_are_one(mode, dtype, exact_backend):
    rng = np.random.default_rng(0)
    for _ in range(40):
        height, width, rows, cols = rng.integers((2, 2, 1, 1), (40, 40, 5, 5))
        channels = rng.choice([1, 3, 17])
        pooled = ra.roi_align(
            np.ones((1, channels, height, width), dtype),
            boxes_inside(rng, 8, height, width),
            (rows, cols),
            convention="detectron2",
            sampling_ratio=int(rng.integers(1, 9)),
            mode=mode,
            backend=exact_backend,
        )
        np.testing.assert_array_equal(pooled, 1)


@pytest.mark.parametrize("convention", ["document", "torchvision", "detectron2"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_means_of_zeros_and_ones_stay_between_them(dtype, convention, exact_backend):
    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = rng.integers(1, 30, 2)
        features = rng.integers(0, 2, (1, 4, height, width)).astype(dtype)
        pooled = ra.roi_align(
            features,
            boxes_across(rng, 8, height, width),
            (3, 2),
            convention=convention,
            mode="avg",
            backend=exact_backend,
        )
        assert pooled.min() >= 0
        assert pooled.max() <= 1


def test_the_case_that_losses_refused(exact_backend):
    pooled = ra.roi_align(
        np.ones((1, 1, 8, 8), np.float32),
        [[0, 2.7, 4.7, 5.1, 5.3]],
        1,
        convention="detectron2",
        sampling_ratio=3,
        backend=exact_backend,
    )
    assert pooled.item() == 1


@pytest.mark.parametrize("size", [1000, 100_000, 2**24 + 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_section_as_wide_as_a_long_map(dtype, size):
    features = np.ones((1, 1, 1, size), dtype)
    box = [[0, 0.25, 0, size - 0.25, 1]]
    pooled = ra.roi_align(features, box, 1, convention="detectron2", backend="cpu")
    assert pooled.item() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_part_of_the_samples_outside_gives_their_share_at_most(dtype):
    rng = np.random.default_rng(2)
    for _ in range(300):
        samples = int(rng.integers(2, 40))
        outside = int(rng.integers(1, samples))
        # Whole steps from -1.5 - outside on: as many samples lie below -1.
        begin = -1.5 - outside + 0.5
        box = [[0, begin + 0.125, 0, begin + 0.125 + samples, 1]]
        pooled = ra.roi_align(
            np.ones((1, 1, 1, 60), dtype),
            box,
            1,
            convention="detectron2",
            sampling_ratio=(1, samples),
            backend="cpu",
        ).item()
        share = (samples - outside) / samples
        # Two numbers below at most: one for what rounds up, one where halves round to even.
        least = np.nextafter(np.nextafter(dtype(share), dtype(0)), dtype(0))
        assert least <= pooled <= share


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 8e-8), (np.float64, 8e-16)])
def test_weights_are_as_near_as_their_sum_allows(dtype, most):
    """The root of the mean squared error of means of noise, of lines of 10 to 100 cells."""
    rng = np.random.default_rng(3)
    features = rng.standard_normal((1, 64, 1, 120)).astype(dtype)
    boxes = []
    for _ in range(200):
        begin, extent = rng.uniform(0, 10), rng.uniform(10, 100)
        boxes.append([0, begin, 0, begin + extent, 1])
    options = {"convention": "detectron2", "output_size": 1}
    pooled = ra.roi_align(features, boxes, backend="cpu", **options)
    exact = ra.roi_align(features.astype(np.float64), boxes, backend="reference", **options)
    assert np.sqrt(np.mean((pooled - exact) ** 2)) < most


def test_rows_that_a_box_reads_are_those_that_change_its_result():
    rng = np.random.default_rng(4)
    for trial in range(60):
        height, width = rng.integers(1, 12, 2)
        rois = boxes_across(rng, 6, height, width)
        convention = ["document", "torchvision", "detectron2"][trial % 3]
        spec = make_spec((3, 2), convention, 1.0, None, None, "NCHW", None)
        rows = np.empty((6, 2), np.intp)
        taps.rows_read(rois, height, width, spec, rows)
        options = {"convention": convention, "mode": "avg", "backend": "reference"}
        for row in range(height):
            features = np.zeros((1, 1, height, width))
            features[0, 0, row] = 1
            is_read = ra.roi_align(features, rois, (3, 2), **options).any(axis=(1, 2, 3))
            is_listed = (rows[:, 0] <= row) & (row < rows[:, 1])
            assert not (is_read & ~is_listed).any()
            has_columns = ra.roi_align(np.ones((1, 1, height, width)), rois, (3, 2), **options).any(
                axis=(1, 2, 3)
            )
            ends = (rows[:, 0] == row) | (rows[:, 1] - 1 == row)
            assert (is_read | ~(is_listed & ends & has_columns)).all()
