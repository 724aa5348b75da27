"""Calls whose arrays are on a GPU from the start, and which end when the GPU is done."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

import roialign_cy as ra

from ..backends import Backend
from .calls import PreparedCall


def computes_there(backend: Backend) -> bool:
    """Whether a backend takes arrays of a device; it is timed on those."""
    return "cupy:ndarray" in backend.array_types


def prepare(
    name: str, features: NDArray[Any], rois: NDArray[Any], options: dict[str, Any]
) -> PreparedCall:
    """Copy the arrays to the device; launches return at once, so a call waits for its own."""
    import cupy

    arrays = cupy.asarray(features), cupy.asarray(rois)
    stream = cupy.cuda.get_current_stream()

    def pool() -> Any:
        output = ra.roi_align(*arrays, backend=name, **options)
        stream.synchronize()
        return output

    return PreparedCall(pool, to_numpy=cupy.asnumpy, enter=stream.synchronize)
