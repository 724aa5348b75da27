"""Sizes without bound, which arrays with strides of 0 have for free: refused, not overrun."""

import numpy as np
import pytest

import roialign_cy as ra


def broadcast(*shape):
    return np.broadcast_to(np.float32(0), shape)


@pytest.mark.parametrize("convention", ["detectron2", "prroi", "roi_pool"])
@pytest.mark.parametrize("height", [2**59 + 3, 135637824071393862, 2**60])
def test_a_small_box_of_a_map_of_any_height(height, convention):
    pooled = ra.roi_align(
        broadcast(1, 1, height, 1), [[0, 0, 0, 1, 2]], 1, convention=convention, backend="cpu"
    )
    assert pooled.item() == 0


def test_the_whole_of_such_a_map_needs_too_much_memory():
    height = 2**57
    with pytest.raises(MemoryError):
        ra.roi_align(
            broadcast(1, 1, height, 1), [[0, 0, 0, 1, float(height)]], 1, convention="roi_pool",
            backend="cpu",
        )  # fmt: skip


@pytest.mark.parametrize("convention", ["detectron2", "prroi"])
@pytest.mark.parametrize("sections", [227737581156908145, 175683276892472021, 2**59])
def test_a_gradient_of_too_many_sections(sections, convention):
    grads = broadcast(1, 1, sections, 1)
    with pytest.raises(MemoryError):
        ra.roi_align_backward(
            grads, [[0, 1, 1, 3, 3]], (1, 1, 8, 8), convention=convention, backend="cpu"
        )


@pytest.mark.parametrize("channels", [2**57, 2**58])
def test_a_box_gradient_of_too_many_channels(channels):
    with pytest.raises(MemoryError):
        ra.roi_align_backward(
            broadcast(3, channels, 1, 1),
            [[0, 1, 1, 3, 3]] * 3,
            (1, channels, 1, 1),
            features=broadcast(1, channels, 1, 1),
            wrt="rois",
            convention="detectron2",
            backend="cpu",
        )
