"""The ways to compute a call on the CPU, all of which have to give the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import roialign_cy as ra
from roialign_cy._core import variants
from roialign_cy.backends import _registry
from roialign_cy.backends.cpu import CpuBackend, Overrides

from .oracle import ROTATED, FailureError

POOLING = ("roi_align", "roi_pool", "roi_align_backward", *ROTATED)
"""Functions that backends are behind."""

MOST_THREADS = 3
CHOICES: dict[str, tuple[dict[str, Any], int | None]] = {
    "automatic": ({}, None),
    "serial": ({"parallel": False}, 1),
    "threads": ({"parallel": True, "splits": 3}, MOST_THREADS),
    "planar": ({"order": "planar"}, 1),
    "tiled": ({"order": "tiled", "run": 1, "streams": True, "in_place": True}, 1),
    "small batches": ({"table_bytes": 2000}, 1),
    "little memory": ({"order": "tiled", "scratch_bytes": 3000, "in_place": False}, 1),
}
"""What is taken from the cost model, and how many threads may run."""


def forced(name: str, variant: str | None = None, **choices: Any) -> CpuBackend:
    """Make a backend of that name that computes in one way."""
    return CpuBackend(name, variant, Overrides(**choices))


def ways() -> dict[str, dict[str, Any]]:
    """Name every way, and give the options of a call that have it computed so."""
    return {
        f"{variant}, {name}": {"backend": f"{variant}, {name}", "num_threads": num_threads}
        for variant in variants.promised()
        for name, (_, num_threads) in CHOICES.items()
    }


@contextmanager
def registered(more: Iterable[CpuBackend] = ()) -> Iterator[None]:
    """Know the backends of all ways by their names, and more; let OpenMP start enough threads."""
    before = dict(_registry._registered)
    for variant in variants.promised():
        for name, (choices, _) in CHOICES.items():
            ra.backends.register(forced(f"{variant}, {name}", variant, **choices))
    for backend in more:
        ra.backends.register(backend)
    try:
        with threadpool_limits(MOST_THREADS, user_api="openmp"):
            yield
    finally:
        _registry._registered.clear()
        _registry._registered.update(before)
        _registry._resolve.cache_clear()


def in_other_layout(function: str, arguments: dict[str, Any]) -> Any:
    """Make the same call with the axes, and the memory, of the other layout; turn its results."""
    is_last = arguments["layout"] == "NHWC"
    there, back = ((-1, 1), (1, -1)) if is_last else ((1, -1), (-1, 1))
    changes: dict[str, Any] = {"layout": "NCHW" if is_last else "NHWC", "out": None}
    for name in ("features", "images", "grad_output"):
        if arguments.get(name) is not None:
            changes[name] = _turned(arguments[name], there)
    for name in ("input_shape", "image_shape"):
        if name in arguments:
            n, *rest = arguments[name]
            changes[name] = (n, *(rest[-1:] + rest[:-1] if is_last else rest[1:] + rest[:1]))
    result = getattr(ra, function)(**arguments | changes)
    if isinstance(result, tuple):
        return tuple(np.moveaxis(a, *back) if a.ndim == 4 else a for a in result)
    return np.moveaxis(result, *back) if result.ndim == 4 else result


def _turned(maps: Any, axes: tuple[int, int]) -> Any:
    if isinstance(maps, list):
        return [_turned(array, axes) for array in maps]
    return np.moveaxis(np.asarray(maps), *axes).copy()


def assert_same_bits(function: str, arguments: dict[str, Any], result: Any) -> None:
    """Expect the bits of a call's result by every way to compute it, and one positive NaN."""
    results = {}
    for name, options in ways().items():
        changed = arguments | {"out": None} | options
        other = getattr(ra, function)(**changed)
        results[name] = _bits(other)
        results[f"{name}, other layout"] = _bits(in_other_layout(function, changed))
    # Of integers `out` may have another type than what is given without it.
    has_other_type = isinstance(result, np.ndarray) and result.dtype != other.dtype
    if arguments["backend"] != "reference" and not has_other_type:
        results["the call"] = _bits(result)
    (first, wanted), *others = results.items()
    for other, bits in others:
        if bits != wanted:
            raise FailureError(f"{first} and {other} gave different bits")


def _bits(result: Any) -> list[bytes]:
    arrays = result if isinstance(result, tuple) else (result,)
    for array in arrays:
        is_nan = np.isnan(array)
        if array[is_nan].tobytes() != np.full(is_nan.sum(), np.nan, array.dtype).tobytes():
            raise FailureError("gave a NaN that is not the positive, quiet one")
    return [array.tobytes() for array in arrays]
