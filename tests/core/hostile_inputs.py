"""The hostile inputs: calls, and states of the process that they are made in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

NAN, INF = np.nan, np.inf
NEIGHBOURS = ([0, 1, 1, 9, 9], [1, 2, 3, 12, 10])
"""Sound boxes before and after a hostile one: they must not suffer from it."""


@dataclass(frozen=True)
class Call:
    """Arguments of a mean with half-pixel coordinates.

    Attributes
    ----------
    features, rois, output_size, sampling_ratio
        As for `roialign_cy.roi_align`, but not checked.
    expected : ndarray, optional
        The answer, where that of the oracle would take too long.
    """

    features: Array
    rois: Array
    output_size: tuple[int, int] = (2, 2)
    sampling_ratio: int = 0
    expected: Array | None = None


@dataclass(frozen=True)
class Input:
    """A hostile input, made when it is run."""

    name: str
    make: Callable[[], Call]
    state: str = "plain"
    """Of the process: a name in `hostile_child.STATES`."""


def noise(*shape: int, seed: int = 0) -> Array:
    """Maps of float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


MAPS = partial(noise, 2, 4, 16, 16)


def _box(*box: float, **options: Any) -> Call:
    """One box between sound ones."""
    first, last = NEIGHBOURS
    return Call(MAPS(), np.array([first, box, last], np.float32), **options)


def _sound(features: Array, **options: Any) -> Call:
    """Sound boxes, on maps or with options that may not be."""
    return Call(features, np.array(NEIGHBOURS, np.float32), **options)


def _option(**options: Any) -> Callable[[], Call]:
    return lambda: _sound(MAPS(), **options)


def _read_only() -> Array:
    maps = MAPS()
    maps.flags.writeable = False
    return maps


def _unaligned() -> Array:
    maps = MAPS()
    memory = np.empty(maps.nbytes + 1, np.uint8)
    view = memory[1:].view(maps.dtype).reshape(maps.shape)
    view[...] = maps
    return view


def _nan_outside() -> Call:
    call = _box(0, -90, -90, -50, -50, sampling_ratio=2)
    call.features[0, :, 0, 0] = NAN
    return call


def _infinite_neighbour() -> Call:
    # Its samples lie on cells: the next ones have weight 0.
    call = _box(0, 3, 3, 5, 5, sampling_ratio=1)
    call.features[0, :, 5, 5] = INF
    return call


def _largest_halves() -> Call:
    rois = np.array(NEIGHBOURS, np.float16)
    return Call(np.full((2, 4, 16, 16), 60_000, np.float16), rois, sampling_ratio=2)


def _many_cells() -> Call:
    """Make a map of more cells than 32 bits count, of which only the last have memory."""
    import roialign_cy as ra

    side, block = 50_000, 32
    features = np.zeros((1, 1, side, side), np.float32)
    features[..., -block:, -block:] = corner = noise(1, 1, block, block)
    box = np.array([[0, 8, 8, 16, 16]], np.float32)
    expected = ra.roi_align(corner, box, 2, convention="detectron2", backend="reference")
    box[:, 1:] += side - block
    return Call(features, box, expected=expected)


def _many_samples() -> Call:
    """Make the largest ratio, on a ramp: its mean over a section is its value in the middle."""
    ramp = np.arange(16, dtype=np.float32) + 100 * np.arange(16, dtype=np.float32)[:, np.newaxis]
    features = np.broadcast_to(ramp, (1, 4, 16, 16)).copy()
    box = np.array([[0, 2, 2, 10, 10]], np.float32)
    middle = np.array([3.5, 7.5], np.float32)
    expected = np.broadcast_to(middle + 100 * middle[:, np.newaxis], (1, 4, 2, 2))
    return Call(features, box, sampling_ratio=4096, expected=expected)


def _parallel() -> Call:
    """Make a call that is large enough for threads."""
    rois = np.array([[k % 2, k % 7, k % 11, 30 + k % 13, 25 + k % 17] for k in range(99)])
    return Call(noise(2, 64, 64, 64), rois.astype(np.float32), (7, 7), 2)


def _large_result() -> Call:
    """Make a call whose result takes 256 MiB."""
    rois = np.array(NEIGHBOURS, np.float32)
    return Call(noise(2, 512, 16, 16), rois, (256, 256), 1)


INPUTS = (
    Input("one coordinate NaN", partial(_box, 0, NAN, 1, 9, 9)),
    Input("all coordinates NaN", partial(_box, 0, NAN, NAN, NAN, NAN, sampling_ratio=2)),
    Input("one coordinate infinite, adaptive", partial(_box, 0, 1, 1, INF, 9)),
    Input("one coordinate infinite, 2 samples", partial(_box, 0, 1, -INF, 9, 9, sampling_ratio=2)),
    Input("extent beyond float32", partial(_box, 0, -3e38, -3e38, 3e38, 3e38, sampling_ratio=2)),
    Input("box of 100,000 cells, adaptive", partial(_box, 0, -5e4, -5e4, 5e4, 5e4)),
    Input("box of 1e9 cells, adaptive", partial(_box, 0, -5e8, -5e8, 5e8, 5e8)),
    Input("box 1e9 cells outside", partial(_box, 0, 1e9, 1e9, 1e9 + 640, 1e9 + 640)),
    Input("batch index too large by 1", partial(_box, 2, 1, 1, 9, 9)),
    Input("batch index 1,000,000", partial(_box, 1e6, 1, 1, 9, 9)),
    Input("batch index -1", partial(_box, -1, 1, 1, 9, 9)),
    Input("batch index 0.5", partial(_box, 0.5, 1, 1, 9, 9)),
    Input("batch index NaN", partial(_box, NAN, 1, 1, 9, 9)),
    Input("reversed along x, adaptive", partial(_box, 0, 9, 1, 1, 9)),
    Input("reversed along both, 2 samples", partial(_box, 0, 9, 9, 1, 1, sampling_ratio=2)),
    Input("box of no size, adaptive", partial(_box, 0, 5, 5, 5, 5)),
    Input("no boxes", lambda: Call(MAPS(), np.empty((0, 5), np.float32))),
    Input("map of no rows", lambda: _sound(MAPS()[:, :, :0])),
    Input("map of no channels", lambda: _sound(MAPS()[:, :0])),
    Input("NaN where nothing is read", _nan_outside),
    Input("infinite cell of weight 0", _infinite_neighbour),
    Input("float16 map of 60,000s", _largest_halves),
    Input("map of 2.5e9 cells", _many_cells),
    Input("transposed map", lambda: _sound(MAPS().transpose(0, 1, 3, 2))),
    Input("byte-swapped map", lambda: _sound(MAPS().astype(">f4"))),
    Input("unaligned map", lambda: _sound(_unaligned())),
    Input("read-only map", lambda: _sound(_read_only())),
    Input("4096 samples along each axis", _many_samples),
    Input("2^31 samples along each axis", _option(sampling_ratio=2**31)),
    Input("output of 0 x 0", _option(output_size=(0, 0))),
    Input("output of -1 x -1", _option(output_size=(-1, -1))),
    Input("output of 50,000 x 50,000", _option(output_size=(50_000, 50_000))),
    Input("output of 2^31 x 2^31", _option(output_size=(2**31, 2**31))),
    Input("result of 256 MiB, 64 MiB allowed", _large_result, "little memory"),
    Input("fork after use", _parallel, "forked"),
    Input("threads refused by the system", _parallel, "no threads"),
)
