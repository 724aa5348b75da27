"""Calls of a backend, for which arrays are converted that it does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import new_maps

if TYPE_CHECKING:
    from ._spec import CallSpec
    from .backends import Backend

    Maps = tuple[Any, ...]


def roi_align(
    backend: Backend, maps: Maps, rois: Any, levels: Any | None, spec: CallSpec, out: Any | None
) -> Any:
    """Have a backend pool; see `Backend.roi_align`. NumPy's calls have ``out``."""
    if _reads(backend, maps[0]):
        return backend.roi_align(maps, rois, levels, spec, out)
    assert out is not None
    read = _read_by(backend, maps, out.dtype)
    room = np.empty(out.shape, read[0].dtype)
    return _rounded(backend.roi_align(read, rois, levels, spec, room), out)


def feature_gradient(
    backend: Backend,
    grads: Any,
    rois: Any,
    levels: Any | None,
    shapes: tuple[tuple[int, int, int, int], ...],
    spec: CallSpec,
    maps: Maps | None,
    out: Maps | None,
) -> Maps:
    """Have a backend differentiate; see `Backend.feature_gradient`."""
    maps = maps and _read_by(backend, maps, grads.dtype)
    if _reads(backend, grads):
        return backend.feature_gradient(grads, rois, levels, shapes, spec, maps, out)
    read = _as_floats(grads, grads.dtype)
    found = backend.feature_gradient(read, rois, levels, shapes, spec, maps, None)
    out = out or tuple(new_maps(shape, grads.dtype, spec) for shape in shapes)
    return tuple(_rounded(one, target) for one, target in zip(found, out, strict=True))


def box_gradient(
    backend: Backend,
    grads: Any,
    rois: Any,
    levels: Any | None,
    maps: Maps,
    spec: CallSpec,
    out: Any | None,
) -> Any:
    """Have a backend differentiate; see `Backend.box_gradient`."""
    read = grads if _reads(backend, grads) else _as_floats(grads, grads.dtype)
    maps = _read_by(backend, maps, grads.dtype)
    return backend.box_gradient(read, rois, levels, maps, spec, out)


def _reads(backend: Backend, array: Any) -> bool:
    return getattr(backend, "reads_all_types", False) or array.dtype.char in "efd"


def _read_by(backend: Backend, maps: Maps, dtype: np.dtype[Any]) -> Maps:
    if _reads(backend, maps[0]):
        return maps
    return tuple(_as_floats(one, dtype) for one in maps)


def _as_floats(array: Any, result: np.dtype[Any]) -> Any:
    """The values in the type that a result of that dtype is computed in."""
    return array.astype(np.float64 if result.itemsize == 8 else np.float32)


def _rounded(values: Any, target: Any) -> Any:
    with np.errstate(all="ignore"):
        target[...] = values
    return target
