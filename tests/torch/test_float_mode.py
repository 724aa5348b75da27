"""What a thread does with numbers below the smallest normal one is no matter of ours."""

import numpy as np
import pytest

import roialign_cy as ra

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
pytestmark = pytest.mark.peers

TINY = np.float32(2.0**-130)
VALUE = float(TINY)
RNG = np.random.default_rng(0)
ROIS = np.array([[k % 2, 1.3, 0.7, 9.1, 11.4] for k in range(130)], np.float32)  # for threads
ROTATED = np.array([[k % 2, 5.3, 5.7, 7.1, 8.4, 0.5] for k in range(130)], np.float32)
FEATURES = RNG.standard_normal((2, 33, 13, 12)).astype(np.float32)
SMALL = (TINY * FEATURES).astype(np.float32)
GRADS = (TINY * RNG.standard_normal((130, 33, 3, 3))).astype(np.float32)
MASKS = np.full((3, 1, 4, 4), TINY)
MASK_BOXES = np.array([[1, 2, 90, 80]] * 3, np.float32)


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
        yield ra.roi_align(SMALL, ROIS, 3, mode=mode, **options)
        for wrt in ("features", "rois"):
            yield ra.roi_align_backward(
                GRADS, ROIS, FEATURES.shape, features=FEATURES, wrt=wrt, mode=mode, **options
            )
    yield ra.roi_align_rotated(SMALL, ROTATED, 3, **options)
    for wrt in ("features", "rois"):
        yield ra.roi_align_rotated_backward(
            GRADS, ROTATED, FEATURES.shape, features=FEATURES, wrt=wrt, **options
        )
    yield ra.roi_align(SMALL[:, :2], ROIS, 3, **options)
    yield ra.crop_and_resize(
        SMALL, ROIS[:, 1:] / 10, ROIS[:, 0].astype(int), (4, 4), extrapolation_value=VALUE
    )
    for threshold in (None, VALUE):
        yield ra.paste_masks(
            MASKS, MASK_BOXES, (90, 100), threshold=threshold, num_threads=num_threads
        )


EXPECTED = list(results(1))


def test_every_result_would_show_it():
    for array in EXPECTED:
        assert array.any()
        assert array.dtype == bool or np.abs(array[array != 0]).min() < 2.0**-126


@pytest.mark.parametrize("num_threads", [1, 2])
def test_bits_do_not_depend_on_what_torch_does_with_small_numbers(num_threads, flushing):
    found = [array.tobytes() for array in results(num_threads)]
    same = [a == b.tobytes() for a, b in zip(found, EXPECTED, strict=True)]
    assert same == [True] * len(EXPECTED)


def test_the_same_boxes_are_refused(flushing):
    rois = ROIS[:1].copy()
    rois[0, 0] = TINY
    with pytest.raises(ValueError, match=r"rois\[0, 0\] must be the index of an image"):
        ra.roi_align(FEATURES, rois, 3)


def test_the_caller_keeps_its_mode(flushing):
    list(results(1))
    assert np.float32(2.0**-126) / np.float32(2) == 0
