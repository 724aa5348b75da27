"""Boxes: near, far, at the limits of their type, not numbers at all; and which can be pooled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arrays import ROWS_KINDS, Rows
from .source import Source

INF, NAN = math.inf, math.nan
LARGEST = float(np.finfo(np.float64).max)
CORNERS = (0.0, -0.0, -1.0, -0.5, 0.5, 1.0, np.nextafter(-1.0, -2), np.nextafter(-1.0, 0))
SMALL = (5e-324, -5e-324, 1e-310, 1e-45, 2.0**-126, -(2.0**-149), 6e-8)
LARGE = (1e3, -1e3, 65504.0, 1e5, -1e5, 2.0**31, -(2.0**31), 1e9, 2.0**40)
LIMITS = (1e15, 2.0**53, 2.0**63, -(2.0**63), 1e30, 3.4e38, -3.4e38, 1e300, LARGEST, -LARGEST)
NOT_FINITE = (NAN, INF, -INF)
BAD_INDICES = (-1.0, 0.5, NAN, INF, -INF, 1e-45, 2.0**31, 2.0**53, 2.0**63, -(2.0**63), LARGEST)
DTYPES = ("<f8", "<f4", "<f2", ">f8", ">f4", ">f2", "<i8", "<i4", "|i1", "|u1", "<u8", "<f16")


def draw_coordinate(source: Source, size: int, is_wild: bool) -> float:
    """Choose a place along an axis of that many cells, in cells; a wild one far from them."""
    kind = source.below(64 if is_wild else 58)
    if kind < 20:
        return source.below(8 * size + 1) / 8
    if kind < 36:
        return source.fraction() * (size + 4) - 2
    if kind < 44:
        return float(source.below(size + 5) - 2)
    if kind < 50:
        return source.fraction() * 400 - 200
    if kind < 55:
        return float(source.pick((*CORNERS, float(size), np.nextafter(float(size), INF))))
    if kind < 58:
        return source.pick(SMALL)
    if kind < 63:
        return source.pick(LARGE)
    return source.pick(LIMITS + NOT_FINITE)


def draw_rows(source: Source, images: int, height: int, width: int, scale: float) -> Rows:
    """Write down boxes in input units, of which nearly all can be pooled."""
    rows = []
    is_wild = source.chance(25)
    for _ in range(source.pick((1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 1, 0))):
        index = float(source.below(max(images, 1)))
        if is_wild and source.below(32) == 31:
            index = source.pick((*BAD_INDICES, float(images)))
        sides = [draw_coordinate(source, size, is_wild) / scale for size in (width, height) * 2]
        if source.chance(50):  # the way most boxes are
            sides = [*map(min, sides[:2], sides[2:]), *map(max, sides[:2], sides[2:])]
        rows.append((index, *sides))
    dtype = "<f8" if source.chance(40) else source.pick(DTYPES)
    return Rows(tuple(rows), dtype, source.pick(ROWS_KINDS) if source.chance(40) else "plain")


def draw_rotated_rows(source: Source, images: int, height: int, width: int, scale: float) -> Rows:
    """Write down rotated boxes that can be pooled."""
    rows = []
    for _ in range(source.below(4)):
        x, y, *sides = (draw_coordinate(source, n, False) for n in (width, height) * 2)
        angle = source.pick((0.0, 90.0, -90.0, 450.0, 45.0, 1e4, source.fraction() * 800 - 400))
        numbers = [number / scale for number in (x, y, *map(abs, sides))]
        rows.append((float(source.below(max(images, 1))), *numbers, angle))
    dtype = source.pick(("<f8", "<f8", "<f4", ">f4", ">f8"))
    return Rows(tuple(rows), dtype, source.pick(ROWS_KINDS) if source.chance(40) else "plain")


def floats(rows: np.ndarray) -> np.ndarray:
    """Take boxes of any numeric type as the native floats that the library says it computes in."""
    is_narrow = rows.dtype.kind == "f" and rows.dtype.itemsize <= 8
    with np.errstate(over="ignore"):
        return rows.astype(rows.dtype.newbyteorder("=") if is_narrow else np.float64)


@np.errstate(all="ignore")
def can_be_pooled(rows: np.ndarray, images: int, spec: Any) -> bool:
    """Say whether a call with these boxes has to be answered.

    Told by the docstring's words in NumPy's arithmetic, not by the library's check.
    """
    number = rows.dtype.type
    scale, offset = number(spec.spatial_scales[0]), number(spec.pixel_offset)
    for row in rows:
        index = float(row[0])
        if not (np.isfinite(row).all() and 0 <= index < images and index.is_integer()):
            return False
        for axis, sections, ratio in zip(
            (2, 1), spec.output_size, spec.sampling_ratio, strict=True
        ):
            near, far = float(row[axis]), float(row[axis + 2])
            start = near * spec.spatial_scales[0] - spec.pixel_offset
            extent = far * spec.spatial_scales[0] - spec.pixel_offset - start
            own = row[axis + 2] * scale - offset - (row[axis] * scale - offset)
            if spec.min_size is not None:
                extent = spec.min_size if extent < spec.min_size else extent
                own = number(spec.min_size) if own < spec.min_size else own
            if not (math.isfinite(start) and math.isfinite(extent) and np.isfinite(own)):
                return False
            if ratio == 0 and float(np.ceil(own / number(sections))) > 2.0**51:
                return False
    return True
