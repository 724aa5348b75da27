"""What a process does with numbers below the smallest normal one is no matter of ours."""

import numpy as np
import pytest

import roialign_cy as ra

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
pytestmark = pytest.mark.peers


TINY = np.float32(2.0**-130)
ROIS = np.array([[k % 2, 1.3, 0.7, 9.1, 11.4] for k in range(130)], np.float32)  # for threads
ROTATED = np.array([[k % 2, 5.3, 5.7, 7.1, 8.4, 0.5] for k in range(130)], np.float32)
FEATURES = (TINY * np.random.default_rng(0).standard_normal((2, 33, 13, 12))).astype(np.float32)
MASKS = np.full((3, 1, 4, 4), TINY)
BOXES = np.array([[1, 2, 90, 80]] * 3, np.float32)


@pytest.fixture
def flushing():
    assert torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def results(num_threads):
    options = {"num_threads": num_threads, "sampling_ratio": 2}
    for mode in ("avg", "max"):
        pooled = ra.roi_align(FEATURES, ROIS, 3, mode=mode, **options)
        yield pooled
        for wrt in ("features", "rois"):
            yield ra.roi_align_backward(
                pooled, ROIS, FEATURES.shape, features=FEATURES, wrt=wrt, mode=mode, **options
            )
    yield ra.roi_align_rotated(FEATURES, ROTATED, 3, **options)
    yield ra.roi_align(FEATURES[:, :2], ROIS, 3, **options)
    yield ra.paste_masks(MASKS, BOXES, (90, 100), threshold=None, num_threads=num_threads)


BYTES = [array.tobytes() for array in results(1)]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_bits_do_not_depend_on_what_torch_does_with_small_numbers(num_threads, flushing):
    found = [array.tobytes() for array in results(num_threads)]
    assert [a == b for a, b in zip(found, BYTES, strict=True)] == [True] * len(BYTES)


def test_the_caller_keeps_its_mode(flushing):
    list(results(1))
    assert np.float32(2.0**-126) / np.float32(2) == 0
