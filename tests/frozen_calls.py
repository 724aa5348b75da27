"""A table of some 300 calls of the public functions: `frozen_bits.py` keeps their results' hashes.

The numbers in them are the integers that PCG64 gives, put together by IEEE's basic operations.
NumPy's random streams and a mathematical library's functions may change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import or_
from typing import Any

import numpy as np

import roialign_cy as ra
from tests.fuzz.arrays import placed

CONVENTIONS = ("document", "torchvision", "detectron2", "mmcv", "onnx", "onnx-10")


@dataclass(frozen=True)
class Frozen:
    """A call; by default the plainest one."""

    function: str = "roi_align"
    images: int = 2
    channels: int = 5
    cells: tuple[int, int] = (13, 17)
    values: str = "noise"
    dtype: str = "float32"
    memory: str = "plain"
    layout: str = "NCHW"
    count: int = 12
    boxes: str = "mixed"
    boxes_dtype: str = "float64"
    boxes_memory: str = "plain"
    output_size: Any = (3, 5)
    convention: Any = "detectron2"
    mode: str | None = None
    sampling_ratio: Any = None
    spatial_scale: float = 1.0
    wrt: Any = "features"
    grads: str = "noise"
    out: str | None = None
    clockwise: bool = False
    angles: str = "any"

    def arguments(self) -> dict[str, Any]:
        """Make what the function is called with."""
        shape = (self.images, self.channels, *self.cells)
        result = (self.count, self.channels, *np.broadcast_to(self.output_size, 2).tolist())
        features = self._placed(numbers(self.values, 1, shape, self.dtype))
        arguments = {
            "features": features,
            "rois": self._rois(),
            "spatial_scale": self.spatial_scale,
            "layout": self.layout,
        }
        if self.function != "roi_pool":
            names = ("convention", "mode", "sampling_ratio")
            arguments |= {name: getattr(self, name) for name in names}
        if self.is_rotated:
            arguments["clockwise"] = self.clockwise
        if self.function.endswith("_backward"):
            grads = self._placed(numbers(self.grads, 2, result, self.dtype))
            arguments |= {"grad_output": grads, "input_shape": features.shape, "wrt": self.wrt}
            of_boxes = (self.count, 5 if self.is_rotated else 4)
            result = of_boxes if self.wrt == "rois" else shape
        else:
            arguments["output_size"] = self.output_size
        if self.out is not None:
            dtype = self.boxes_dtype if len(result) == 2 else self.dtype
            arguments["out"] = placed(self._in_layout(np.full(result, 5.0, dtype)), self.out).array
        return arguments

    @property
    def is_rotated(self) -> bool:
        """Whether its boxes are turned."""
        return "rotated" in self.function

    def _rois(self) -> Any:
        corners = BOXES[self.boxes](unit(3, (self.count, 4)), np.array(self.cells[::-1]))
        image = integers(4, self.count) % np.uint64(self.images)
        boxes = corners / self.spatial_scale
        if self.is_rotated:
            near, far = np.split(boxes, 2, axis=1)
            angles = ANGLES[self.angles](unit(5, (self.count, 1)))
            boxes = np.hstack([(near + far) / 2, np.abs(far - near), angles])
        rois = np.column_stack([image, boxes]).astype(self.boxes_dtype)
        if self.boxes_memory == "lists":
            return [rois[image == index, 1:] for index in range(self.images)]
        return placed(rois, self.boxes_memory).array

    def _placed(self, values: np.ndarray) -> np.ndarray:
        if self.memory not in PHOTOGRAPHS:
            return placed(self._in_layout(values), self.memory).array
        beside, channels = PHOTOGRAPHS[self.memory]
        values = np.moveaxis(values, 1, -1)
        cells = np.full((*values.shape[:-1], values.shape[-1] + beside), np.nan, values.dtype)
        photograph = cells[..., channels]
        photograph[...] = values
        return photograph if self.layout == "NHWC" else np.moveaxis(photograph, -1, 1)

    def _in_layout(self, values: np.ndarray) -> np.ndarray:
        return np.moveaxis(values, 1, -1) if self.layout == "NHWC" and values.ndim == 4 else values


# Numbers


def integers(seed: int, count: int) -> np.ndarray:
    """Give that many integers of 64 random bits."""
    return np.random.PCG64(seed).random_raw(count)


def unit(seed: int, shape: tuple[int, ...], bits: int = 53) -> np.ndarray:
    """Make numbers in [0, 1) of so many bits each."""
    whole = integers(seed, int(np.prod(shape))) >> np.uint64(64 - bits)
    return (whole.astype(np.float64) / 2.0**bits).reshape(shape)


def numbers(values: str, seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Fill a map: numbers in [-1, 1) of all the bits that the type has, or what is in `CELLS`."""
    noise = (2 * unit(seed, shape, np.finfo(dtype).nmant + 1) - 1).astype(dtype)
    if values == "noise":
        return noise
    share, cells = CELLS[values]
    drawn = unit(seed + 10, shape)
    chosen = np.take(np.array(cells, dtype), (unit(seed + 20, shape) * len(cells)).astype(int))
    return np.where(drawn < share, chosen, noise)


NAN, INF = np.nan, np.inf
CELLS = {
    "ties": (1, (-1.0, -0.0, 0.0, 0.5, 1.0, 1.0)),
    "specials": (1 / 32, (NAN, -NAN, INF, -INF, -0.0)),
    "infinities": (1 / 8, (INF, -INF, -INF)),
}
"""Share of a map that is one of these."""

PHOTOGRAPHS = {"RGB of RGBA": (1, np.s_[:-1]), "BGR": (0, np.s_[::-1])}
"""How many numbers lie beside the channels in a cell, and where these lie."""


def spanning(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    return np.concatenate([near, far], axis=1)


def mixed(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    near = (u[:, :2] * 1.5 - 0.25) * size
    far = near + u[:, 2:] * u[:, 2:] * 1.5 * size
    far[::5] -= size
    return spanning(near, far)


def inside(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    a, b = u[:, :2] * (size - 1), u[:, 2:] * (size - 1)
    return spanning(np.minimum(a, b), np.maximum(a, b))


def at_the_border(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    places = np.array(
        [
            [-1, np.nextafter(-1.0, -2), -0.5, 0, end - 1, end - 0.5, end, np.nextafter(end, 2e9)]
            for end in size.astype(np.float64)
        ]
    )
    chosen = (u * len(places[0])).astype(int).reshape(-1, 2, 2)
    chosen.sort(axis=1)
    return places[[0, 1], chosen].reshape(-1, 4)


def outside(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    near = (u[:, :2] + 1.25) * size
    near[::2, 0] -= 4 * size[0]
    near[::3, 1] -= 4 * size[1]
    return spanning(near, near + u[:, 2:] * size)


def narrow(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    near, extent = u[:, :2] * size, u[:, 2:] / 64
    extent[::4] = 0
    return spanning(near, near + extent)


def reversed_along_one_axis(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    corners = inside(u, size)
    corners[::2, [0, 2]] = corners[::2, [2, 0]]
    corners[1::2, [1, 3]] = corners[1::2, [3, 1]]
    return corners


def huge_along_one_axis(u: np.ndarray, size: np.ndarray) -> np.ndarray:
    corners = inside(u, size)
    corners[::2, [0, 2]] = u[::2, [0, 2]] * [-(2.0**50), 2.0**50]
    corners[1::2, [1, 3]] = u[1::2, [1, 3]] * [-(2.0**50), 2.0**50]
    return corners


BOXES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mixed": mixed,
    "inside": inside,
    "whole": lambda u, size: np.floor(inside(u, size)),
    "at the border": at_the_border,
    "outside": outside,
    "reversed": reversed_along_one_axis,
    "narrow": narrow,
    "large": lambda u, size: spanning(-u[:, :2] * 8, 1 + u[:, 2:] * 8) * np.tile(size, 2),
    "huge": huge_along_one_axis,
}
"""Sides in cells, from numbers in [0, 1) and the size (columns, rows) of the map."""

ANGLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "any": lambda u: 1080 * u - 540,
    "quarter turns": lambda u: np.floor(13 * u - 6) * 90,
    "none": lambda u: 0 * u,
    "many turns": lambda u: u * 2.0**100,
}
"""Of rotated boxes."""


# The table

Axis = dict[str, dict[str, Any]]
"""What the calls of a group may be in one respect: a name for it, and the fields it sets."""


def each(field: str, *values: Any) -> Axis:
    return {f"{field} {value}": {field: value} for value in values}


AVG: Axis = {"avg": {"mode": "avg", "sampling_ratio": (0, 3)}}
MAX: Axis = {"max": {"mode": "max", "sampling_ratio": (3, 0)}}
MODES = AVG | MAX | {"max_weighted": {"mode": "max_weighted", "sampling_ratio": 2}}
DTYPES = each("dtype", "float16", "float32", "float64")
LAYOUTS = each("layout", "NCHW", "NHWC")
CHANNELS = each("channels", 1, 2, 3, 4, 16, 17, 40, 64)
SIZES = each("output_size", 1, 2, 7, 14, (3, 5), (40, 2), (1, 64))
MAPS = each("cells", (1, 1), (1, 40), (40, 1), (90, 3), (3, 90), (2, 900))
VALUES = each("values", *CELLS)
OWN: Axis = {
    "wide": {"convention": ra.Convention(pixel_offset=-0.25, min_size=2.5)},
    "interior": {"convention": ra.Convention(sampling="interior", sampling_ratio=(3, 1))},
}
CORNERS: Axis = {
    name: {"convention": ra.Convention(pixel_offset=0.0, sampling=name)}
    for name in ("corners", "nearest")
}
MEMORY = each(
    "memory",
    *("sliced", "backwards", "transposed", "second axis last", "unaligned", "field"),
    *("broadcast", "overlapping"),
)
PHOTOS = each("memory", "second axis last", *PHOTOGRAPHS)
BYTE_ORDER = each("dtype", ">f2", ">f4", ">f8")
OUT = each("out", "sliced", "backwards", "second axis last", "unaligned", "field")
BOX_KINDS = each("boxes", *BOXES)
BOX_TYPES = each("boxes_dtype", "float16", "float32", ">f4", "int64", "uint8")
BOX_MEMORY = each("boxes_memory", "lists", "sliced", "backwards", "transposed", "field")
EMPTY = each("count", 0) | each("channels", 0) | each("cells", (0, 4))

Groups = dict[str, tuple[dict[str, Any], list[Axis]]]
"""Fields that the calls of a group share, and the axes along which they differ."""

ALIGN: Groups = {
    "types": ({"channels": 17}, [MODES, DTYPES, LAYOUTS]),
    "channels": ({}, [AVG | MAX, CHANNELS]),
    "conventions": (
        {"spatial_scale": 0.3},
        [
            each("convention", *CONVENTIONS) | OWN,
            each("mode", None, "max"),
            each("sampling_ratio", None, (2, 3)),
        ],
    ),
    "crops": ({"output_size": (9, 20)}, [CORNERS, each("channels", 3, 17), LAYOUTS]),
    "many samples": (
        {"channels": 2, "count": 5, "output_size": 2},
        [each("mode", "avg", "max", "max_weighted"), each("sampling_ratio", 64, (64, 1), (1, 9))],
    ),
    "sizes": ({"channels": 3}, [AVG | MAX, SIZES, LAYOUTS]),
    "maps": ({"channels": 3}, [AVG | MAX, MAPS]),
    "memory": ({}, [AVG | MAX, MEMORY]),
    "photographs": ({"channels": 3}, [AVG | MAX, PHOTOS, LAYOUTS]),
    "byte order": ({}, [AVG | MAX, BYTE_ORDER]),
    "out": ({}, [AVG | MAX, OUT]),
    "boxes": ({}, [MODES, BOX_KINDS]),
    "types of boxes": ({"boxes": "inside"}, [AVG, BOX_TYPES]),
    "memory of boxes": ({}, [AVG, BOX_MEMORY]),
    "values": ({}, [MODES, VALUES, DTYPES]),
    "values of photographs": ({"channels": 3, "layout": "NHWC"}, [MODES, VALUES]),
    "images": ({"images": 5, "count": 40}, [AVG | MAX]),
    "empty": ({}, [AVG, EMPTY]),
    # More boxes than a batch has at most, or tables of more bytes.
    "batches": (
        {"images": 3, "channels": 1},
        [
            {
                "many boxes": {"count": 20_000, "output_size": 1, "sampling_ratio": 1},
                "large tables": {"count": 3000, "output_size": (64, 2), "sampling_ratio": (4, 2)},
            }
        ],
    ),
}
GRADIENTS: Groups = {
    "types": ({}, [AVG | MAX, each("wrt", "features", "rois"), DTYPES, LAYOUTS]),
    "channels": ({}, [AVG | MAX, CHANNELS]),
    "conventions": (
        {"spatial_scale": 0.3},
        [each("convention", "torchvision", "document") | OWN, each("mode", "avg", "max")],
    ),
    "sizes": ({"channels": 3}, [AVG | MAX, SIZES]),
    "maps": ({"channels": 3}, [AVG | MAX, MAPS]),
    "memory": ({}, [MAX, MEMORY]),
    "photographs": ({"channels": 3}, [MAX, PHOTOS]),
    "byte order": ({}, [AVG, BYTE_ORDER]),
    "out": ({"wrt": "features"}, [AVG, OUT]),
    "out of boxes": ({"wrt": "rois"}, [AVG, each("out", "sliced", "unaligned")]),
    "boxes": ({}, [AVG | MAX, BOX_KINDS]),
    "types of boxes": ({"boxes": "inside"}, [MAX, BOX_TYPES]),
    "values": ({}, [AVG | MAX, VALUES, LAYOUTS]),
    "gradients": ({}, [AVG | MAX, each("grads", "specials")]),
    "crops": ({"wrt": "features"}, [CORNERS]),
    "boxes of crops": ({"wrt": "rois", "boxes": "whole"}, [{"corners": CORNERS["corners"]}]),
    "empty": ({}, [AVG, EMPTY]),
    "batches": (
        {"images": 3, "channels": 2, "count": 3000, "output_size": (64, 2), "sampling_ratio": 2},
        [each("mode", "avg", "max")],
    ),
}
POOL: Groups = {
    "types": ({"channels": 17}, [DTYPES, LAYOUTS]),
    "sizes": ({}, [SIZES]),
    "scales": ({"spatial_scale": 0.3}, [BOX_TYPES]),
    "photographs": ({"channels": 3}, [PHOTOS]),
    "boxes": ({}, [BOX_KINDS]),
    "values": ({}, [VALUES, LAYOUTS]),
    "out": ({}, [OUT]),
    "empty": ({}, [EMPTY]),
}
ROTATED: Groups = {
    "types": ({"channels": 17}, [AVG | MAX, DTYPES, LAYOUTS]),
    "channels": ({}, [AVG, each("channels", 1, 3, 16, 40)]),
    "conventions": (
        {"spatial_scale": 0.3},
        [
            each("convention", "mmcv", "torchvision")
            | {"zeros": {"convention": ra.Convention(border="zero")}},
            each("clockwise", False, True),
        ],
    ),
    "angles": ({}, [AVG | MAX, each("angles", *ANGLES)]),
    "sizes": ({"channels": 3}, [AVG | MAX, each("output_size", 1, 7, (40, 2))]),
    "maps": ({"channels": 3}, [AVG, MAPS]),
    "memory": ({}, [AVG, each("memory", "backwards", "unaligned", "field")]),
    "byte order": ({}, [AVG, BYTE_ORDER]),
    "out": ({}, [AVG, each("out", "sliced", "unaligned")]),
    "boxes": ({}, [AVG | MAX, BOX_KINDS]),
    "types of boxes": ({"boxes": "inside"}, [AVG, each("boxes_dtype", "float16", ">f4", "int64")]),
    "memory of boxes": ({}, [AVG, each("boxes_memory", "lists", "transposed")]),
    "values": ({}, [AVG | MAX, VALUES]),
    "empty": ({}, [AVG, EMPTY]),
    # Lists that are made where they are read, and more than a batch has.
    "large": ({"cells": (90, 120), "boxes": "large", "output_size": 2}, [AVG | MAX]),
    "batches": ({"channels": 1, "count": 3000, "output_size": 7, "sampling_ratio": 3}, [AVG]),
}
ROTATED_GRADIENTS: Groups = {
    name: ROTATED[name]
    for name in ("types", "conventions", "angles", "boxes", "values", "empty", "large", "batches")
}
FUNCTIONS: dict[str, tuple[dict[str, Any], Groups]] = {
    "align": ({"function": "roi_align"}, ALIGN),
    "gradient": ({"function": "roi_align_backward", "wrt": ("features", "rois")}, GRADIENTS),
    "pool": ({"function": "roi_pool"}, POOL),
    "rotated": ({"function": "roi_align_rotated"}, ROTATED),
    "rotated gradient": (
        {"function": "roi_align_rotated_backward", "wrt": ("features", "rois")},
        ROTATED_GRADIENTS,
    ),
}


def table() -> dict[str, Frozen]:
    """Name every call."""
    return {
        "/".join((function, group, *names)): Frozen(**reduce(or_, changes, plain | shared))
        for function, (plain, groups) in FUNCTIONS.items()
        for group, (shared, axes) in groups.items()
        for names, changes in (
            zip(*choices, strict=True) for choices in product(*(axis.items() for axis in axes))
        )
    }
