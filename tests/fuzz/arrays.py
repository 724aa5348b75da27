"""Arrays as they are written down in a call: numbers, and how they lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .source import Source

FILLS = ("noise", "whole", "constant", "tiny", "denormal", "huge", "poison")
KINDS = (
    "plain",
    "read-only",
    "sliced",
    "backwards",
    "transposed",
    "second axis last",
    "unaligned",
    "field",
    "broadcast",
    "overlapping",
    "subclass",
    "memmap",
)
WRITEABLE_KINDS = tuple(
    kind for kind in KINDS if kind not in ("read-only", "broadcast", "overlapping")
)
ROWS_KINDS = tuple(kind for kind in WRITEABLE_KINDS if kind != "second axis last")


class Made(NamedTuple):
    """An array, and all of the memory that it is part of."""

    array: np.ndarray
    memory: np.ndarray


@dataclass(frozen=True)
class Array:
    """An array of made-up numbers."""

    shape: tuple[int, ...]
    dtype: str = "<f4"
    fill: str = "noise"
    seed: int = 0
    kind: str = "plain"

    def make(self) -> Made:
        return placed(numbers(self), self.kind)


@dataclass(frozen=True)
class Rows:
    """An array of these rows. Those of another type than float64 hold what it makes of them."""

    rows: tuple[tuple[float, ...], ...]
    dtype: str = "<f8"
    kind: str = "plain"

    def make(self) -> Made:
        return placed(self.numbers(), self.kind)

    def numbers(self) -> np.ndarray:
        with np.errstate(all="ignore"):
            width = len(self.rows[0]) if self.rows else 5
            wide = np.array(self.rows, np.float64).reshape(-1, width)
            if np.dtype(self.dtype).kind in "iu":
                limits = np.iinfo(self.dtype)
                low, high = max(limits.min, -(2**53)), min(limits.max, 2**53)
                wide = np.clip(np.nan_to_num(wide), low, high)
            return wide.astype(self.dtype)


@dataclass(frozen=True)
class Overlap:
    """Memory for ``out`` that shares bytes with the argument of that name."""

    shape: tuple[int, ...]
    dtype: str
    other: str


class Subclass(np.ndarray):
    """Of no use."""


def numbers(array: Array) -> np.ndarray:
    """Fill an array. The largest magnitude is that of the fill, so that tolerances can follow."""
    rng = np.random.default_rng(array.seed)
    dtype = np.dtype(array.dtype)
    if dtype.kind != "f":
        return rng.integers(0, 2, array.shape).astype(dtype)
    facts = np.finfo(dtype)
    if array.fill == "constant":
        return np.full(array.shape, rng.integers(-4, 5) / 4, dtype)
    if array.fill == "whole":
        return rng.integers(-2, 3, array.shape).astype(dtype)
    # Of float64 the reference sums the samples before it divides by their number.
    largest = {
        "tiny": 1e-3,
        "denormal": float(facts.smallest_normal) / 2,
        "huge": float(facts.max) * (1e-8 if dtype.itemsize > 2 else 0.9),
    }.get(array.fill, 1.0)
    values = (rng.uniform(-1, 1, array.shape) * largest).astype(dtype)
    if array.fill == "poison":
        specials = rng.choice([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0], array.shape)
        values = np.where(rng.uniform(size=array.shape) < 0.1, specials, values).astype(dtype)
    return values


def placed(values: np.ndarray, kind: str) -> Made:
    """Lay numbers down in memory of that kind; two kinds repeat some of them instead."""
    if kind == "broadcast" and values.size:
        axis = int(np.argmax(values.shape))
        one = np.take(values, [0], axis).copy()
        return Made(np.broadcast_to(one, values.shape), one)
    if kind == "overlapping" and values.ndim == 4 and values.size:
        # Rows begin within the one above them.
        n, c, h, w = values.shape
        step = values.itemsize
        memory = values.ravel().copy()
        strides = (c * h * step, h * step, step, step)
        if (n - 1) * c * h + (c - 1) * h + h - 1 + w - 1 < memory.size:
            view = np.lib.stride_tricks.as_strided(memory, values.shape, strides, writeable=False)
            return Made(view, memory)
    if kind == "sliced":
        shape = [2 * size + 3 for size in values.shape]
        memory = np.empty(shape, values.dtype)
        memory.view(np.uint8)[...] = 0xFF  # NaN, in floats
        array = memory[tuple(slice(1, 1 + 2 * size, 2) for size in values.shape)]
    elif kind == "backwards":
        memory = np.empty(values.shape, values.dtype)
        array = memory[(np.s_[::-1],) * values.ndim]
    elif kind == "transposed":
        memory = np.empty(values.shape[::-1], values.dtype)
        array = memory.T
    elif kind == "second axis last":
        memory = np.moveaxis(np.empty(values.shape, values.dtype), 1, -1).copy()
        array = np.moveaxis(memory, -1, 1)
    elif kind == "unaligned":
        memory = np.empty(values.nbytes + 1, np.uint8)
        array = memory[1:].view(values.dtype).reshape(values.shape)
    elif kind == "field":
        memory = np.zeros(values.shape, [("flag", "u1"), ("value", values.dtype)])
        array = memory["value"]
    else:
        memory = array = np.empty(values.shape, values.dtype)
    array[...] = values
    if kind == "read-only":
        array.flags.writeable = False
    elif kind == "subclass":
        array = array.view(Subclass)
    elif kind == "memmap":
        array = array.view(np.memmap)
    return Made(array, memory)


def shared(inputs: np.ndarray, overlap: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """Move an input to memory whose last bytes are the first of another array's."""
    dtype = np.dtype(overlap.dtype)
    nbytes = int(np.prod(overlap.shape)) * dtype.itemsize
    common = min(inputs.nbytes, nbytes) // 2 // 16 * 16 or min(inputs.nbytes, nbytes)
    memory = np.zeros(inputs.nbytes + nbytes - common, np.uint8)
    moved = memory[: inputs.nbytes].view(inputs.dtype).reshape(inputs.shape)
    moved[...] = inputs
    return moved, memory[len(memory) - nbytes :].view(dtype).reshape(overlap.shape)


def draw_array(source: Source, shape: tuple[int, ...], dtype: str, fills=FILLS) -> Array:
    """Write down an array of that shape and type."""
    return Array(shape, dtype, source.pick(fills), source.below(256), source.pick(KINDS))
