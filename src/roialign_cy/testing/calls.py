"""Whole calls, of every kind that a backend may be asked to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import roialign_cy as ra

from ..bench.workloads import FLOATS, element_type
from ..conventions import MODE_OF_SAMPLING, ROUNDED_SAMPLINGS, find_convention
from ..typing import ConventionName, Wrt

CONVENTIONS: dict[str, ConventionName | ra.Convention] = {
    **{name: name for name in ra.CONVENTIONS},
    "border of zeros": ra.Convention(border="zero"),
    "corners": ra.Convention(pixel_offset=0.0, sampling="corners"),
    "nearest": ra.Convention(pixel_offset=0.0, sampling="nearest"),
}
OPERATORS = {
    "cells": "RoI Pool",
    "integral": "PrRoI Pool",
    "corners": "Crop",
    "nearest": "Crop",
}
DTYPES = ("float16", "float32", "float64")
OTHER_DTYPES = ("uint8", "bfloat16")
"""Of maps that many backends get converted: tried on a convention of each sampling alone."""
SEVERAL = "several maps"
"""In one call: tried on those conventions, too."""
OF_EACH_SAMPLING = {  # the first
    find_convention(chosen).sampling: name for name, chosen in reversed(CONVENTIONS.items())
}.values()
WRT: dict[str, Wrt] = {"feature_gradient": "features", "box_gradient": "rois"}


class Cell(NamedTuple):
    """A field of the table: what is computed, under which convention, of which numbers.

    ``mode`` is as a backend gets it, with the convention's ``max_rule`` applied, and ``operation``
    is the backend's method. ``maps`` is empty, or `SEVERAL`.
    """

    convention: str
    mode: str
    dtype: str
    operation: str = "roi_align"
    maps: str = ""

    @property
    def operator(self) -> str:
        """The operator that the convention is a reading of."""
        return OPERATORS.get(find_convention(CONVENTIONS[self.convention]).sampling, "RoI Align")

    def __str__(self) -> str:
        return "-".join(filter(None, self))


def cells(*operations: str) -> Iterator[Cell]:
    """All fields of the table that are of these operations."""
    for name, chosen in CONVENTIONS.items():
        convention = find_convention(chosen)
        only = MODE_OF_SAMPLING.get(convention.sampling)
        for mode in (only,) if only else ("avg", convention.max_rule):
            for operation in operations:
                if operation != "roi_align" and mode == "max_weighted":
                    continue
                if operation == "box_gradient" and convention.sampling in ROUNDED_SAMPLINGS:
                    continue
                yield from (Cell(name, mode, dtype, operation) for dtype in DTYPES)


def cells_below(*operations: str) -> Iterator[Cell]:
    """Fields of these operations that the table sums up below: of `OTHER_DTYPES` and `SEVERAL`."""
    for cell in cells(*operations):
        if cell.convention in OF_EACH_SAMPLING and cell.dtype == "float32":
            yield from (cell._replace(dtype=dtype) for dtype in OTHER_DTYPES)
            yield cell._replace(maps=SEVERAL)


@dataclass(frozen=True)
class Call:
    """A whole call. Values of the map are random, and of either sign, in -range .. range.

    Those of integers are not negative.

    Examples
    --------
    >>> from roialign_cy.testing.calls import Call
    >>> call = Call(
    ...     seed=0, shape=(1, 2, 4, 4), dtype="float32", rois=[[0, 0, 0, 3, 3]],
    ...     output_size=(2, 2), mode="max",
    ... )
    >>> call.pool("cpu").shape, call.gradient("cpu", "rois").shape
    ((1, 2, 2, 2), (1, 4))
    """

    seed: int
    shape: tuple[int, int, int, int]  # N, C, H, W
    dtype: str
    rois: Any
    output_size: tuple[int, int]
    convention: str | ra.Convention = "detectron2"
    mode: str | None = None
    sampling_ratio: tuple[int, int] | int | None = None
    spatial_scale: float = 1.0
    layout: str = "NCHW"
    range: float = 1.0
    num_threads: int | None = None
    place: Callable[[Any], Any] = np.asarray
    """Puts the map and the gradient of the output somewhere else in memory."""

    @property
    def features(self) -> Any:
        """The map, channels first whatever the layout."""
        values = np.random.default_rng(self.seed).uniform(-self.range, self.range, self.shape)
        if self.dtype not in FLOATS:
            values = abs(values)
        return self.place(values.astype(element_type(self.dtype)))

    @property
    def result_dtype(self) -> str:
        """Type of the output, and of gradients with respect to maps."""
        return self.dtype if self.dtype in FLOATS else "float32"

    @property
    def grad_output(self) -> Any:
        """A gradient with respect to the output, channels first."""
        shape = (len(self.rois), self.shape[1], *self.output_size)
        grads = np.random.default_rng(self.seed + 1).uniform(-1, 1, shape)
        return self.place(grads.astype(element_type(self.result_dtype)))

    @property
    def options(self) -> dict[str, Any]:
        """The options that the forward pass and the gradients have in common."""
        names = (
            "convention", "mode", "sampling_ratio", "spatial_scale", "layout", "num_threads"
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def compute(self, operation: str, backend: str, out: Any = None) -> Any:
        """What that method of a backend computes; maps are channels first, ``out`` too."""
        if operation == "roi_align":
            return self.pool(backend, out=out)
        return self.gradient(backend, WRT[operation], out=out)

    def pool(self, backend: str, features: Any = None, rois: Any = None, out: Any = None) -> Any:
        """The output, channels first."""
        output = ra.roi_align(
            self._given(self.features if features is None else features),
            self.rois if rois is None else rois,
            self.output_size,
            out=self._given(out),
            backend=backend,
            **self.options,
        )
        return self._channels_first(output)

    def gradient(self, backend: str, wrt: Wrt, features: Any = None, out: Any = None) -> Any:
        """The gradient with respect to ``"features"``, channels first, or to ``"rois"``."""
        features = self._given(self.features if features is None else features)
        gradient = ra.roi_align_backward(
            self._given(self.grad_output),
            self.rois,
            features.shape,
            features=features,
            wrt=wrt,
            out=self._given(out),
            backend=backend,
            **self.options,
        )
        return self._channels_first(gradient)

    def _given(self, maps: Any) -> Any:
        is_turned = self.layout == "NHWC" and np.ndim(maps) == 4
        return np.moveaxis(maps, 1, -1) if is_turned else maps

    def _channels_first(self, maps: Any) -> Any:
        is_turned = self.layout == "NHWC" and maps.ndim == 4
        return np.moveaxis(maps, -1, 1) if is_turned else maps


def on_two_maps(call: Call) -> tuple[Call, Call]:
    """A call, and the same boxes on another map, half as large."""
    n, c, height, width = call.shape
    shape = n, c, (height + 1) // 2, (width + 1) // 2
    scale = call.spatial_scale / 2
    return call, replace(call, seed=call.seed + 2, shape=shape, spatial_scale=scale)


def compute_together(calls: Sequence[Call], operation: str, backend: str) -> list[Any]:
    """What a backend computes of calls that differ in their maps alone, if they are one call.

    There is one result for each, as from `Call.compute`; the boxes take turns.
    """
    first, number = calls[0], len(calls)
    rois = np.repeat(first.rois, number, axis=0)
    options = first.options | {
        "spatial_scales": [call.spatial_scale for call in calls],
        "levels": np.arange(len(rois)) % number,
        "backend": backend,
    }
    del options["spatial_scale"]
    maps = [first._given(call.features) for call in calls]
    if operation == "roi_align":
        output = ra.multiscale_roi_align(maps, rois, first.output_size, **options)
        return [first._channels_first(output[k::number]) for k in range(number)]
    grads = np.stack([call.grad_output for call in calls], axis=1)
    result = ra.multiscale_roi_align_backward(
        first._given(grads.reshape(-1, *grads.shape[2:])),
        rois,
        [one.shape for one in maps],
        features=maps,
        wrt=WRT[operation],
        **options,
    )
    if operation == "feature_gradient":
        return [first._channels_first(one) for one in result]
    return [result[k::number] for k in range(number)]


@cache
def random_calls(cell: Cell, own_count: bool, count: int = 4) -> tuple[Call, ...]:
    """Calls of a field of the table, the same ones every time.

    With ``own_count`` the number of samples is the convention's, along at least one axis.
    """
    calls: list[Call] = []
    seed = 0
    while len(calls) < count:
        call = _random_call(np.random.default_rng(seed), cell, own_count)
        seed += 1
        parts = on_two_maps(call) if cell.maps else (call,)
        if (
            cell.mode == "avg"
            or cell.operation == "roi_align"
            or all(_is_decided(part, cell) for part in parts)
        ):
            calls.append(call)
    return tuple(calls)


def _random_call(rng: np.random.Generator, cell: Cell, own_count: bool) -> Call:
    convention = find_convention(CONVENTIONS[cell.convention])
    images, height, width = (int(size) for size in rng.integers(1, [4, 8, 8]))
    channels = int(rng.choice([1, 2, 3, 5, 16, 17, 33]))
    scale = float(rng.choice([1.0, 0.5, 1 / 16, 0.3, 2.0]))
    ratio: Any = None
    if convention.sampling not in MODE_OF_SAMPLING:
        rows, cols = (int(samples) for samples in rng.integers(1, 5, 2))
        fixed, own = [rows, (rows, cols)], [None, 0, (rows, 0), (0, cols)]
        choices = own if own_count else fixed
        ratio = choices[rng.integers(len(choices))]
    return Call(
        seed=int(rng.integers(2**32)),
        shape=(images, channels, height, width),
        dtype=cell.dtype,
        rois=_random_boxes(rng, images, height, width, scale),
        output_size=(int(rng.integers(1, 5)), int(rng.integers(1, 5))),
        convention=CONVENTIONS[cell.convention],
        mode="max" if cell.mode == "max_weighted" else cell.mode,
        sampling_ratio=ratio,
        spatial_scale=scale,
        range=float(rng.choice([1.0, 1e-3, 1e3])) if cell.dtype in FLOATS else 255.0,
    )


def _random_boxes(
    rng: np.random.Generator, images: int, height: int, width: int, scale: float
) -> Any:
    """Boxes on the map, across its border, on its lines, reversed, without extent, far and huge."""
    size = np.array([width, height, width, height])
    boxes = rng.uniform(-0.3, 1.3, (8, 4)) * size
    boxes[:4] = np.sort(boxes[:4].reshape(4, 2, 2), axis=1).reshape(4, 4)
    boxes[2] = np.round(boxes[2])
    boxes[3] = np.round(8 * boxes[3]) / 8
    boxes[5, 2:] = boxes[5, :2]
    boxes[6] += 9 * size
    boxes[7] = rng.choice([-1, 1]) * rng.uniform(100, 2000) * np.array([-1, -1, 1, 1])
    chosen = rng.permutation(8)[: rng.integers(1, 6)]
    rois = np.column_stack([rng.integers(0, images, len(chosen)), boxes[chosen] / scale])
    return rois.astype(rng.choice(["float64", "float32", "float16", "int64"]))


def _is_decided(call: Call, cell: Cell) -> bool:
    """Whether every maximum is larger than the runner-up by more than a rounding."""
    features = call.features.astype(np.float64)
    nudge = 1 + 1e-5 * np.random.default_rng(0).uniform(-1, 1, features.shape)
    wrt = WRT[cell.operation]
    call = replace(call, dtype="float64")
    first, second = (
        call.gradient("reference", wrt, values) for values in (features, features * nudge)
    )
    unit = call.range * call.spatial_scale if wrt == "rois" else 1
    return np.allclose(first, second, rtol=1e-3, atol=1e-3 * unit)
