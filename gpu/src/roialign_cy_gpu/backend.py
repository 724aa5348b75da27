"""The backend object: whether it can run here, and arrays of the host to the device and back."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from roialign_cy.backends import kit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from roialign_cy.backends.kit import CallSpec

    Shapes = tuple[tuple[int, int, int, int], ...]

INSTALL_HINT = (
    'pip install "roialign-cy-gpu[cuda12x]" for CUDA 12, "roialign-cy-gpu[cuda13x]" for CUDA 13'
)


class GpuBackend:
    """RoI Align by CuPy kernels.

    CuPy arrays are worked on where they are, on the current stream, without synchronisation.
    NumPy arrays, which `roialign_cy` has validated, are copied to the device and the results back.
    """

    name = "gpu"
    api_version = 2
    array_types = ("cupy:ndarray", "numpy:ndarray")
    takes_levels = True

    def unavailable_reason(self) -> str | None:
        """Why kernels cannot run, with what to install; None if they can."""
        try:
            import cupy
        except ImportError as error:
            return f"CuPy does not import ({error}); {INSTALL_HINT}"
        runtime = cupy.cuda.runtime
        if runtime.is_hip:
            return "CuPy is built for ROCm, which is not supported"
        try:
            count = runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            return f"CuPy finds no CUDA device: {error}"
        if not count:
            return "CuPy finds no CUDA device"
        try:
            cupy.cuda.nvrtc.getVersion()
        except RuntimeError as error:  # CuPy looks for it when it is first used
            return f"CuPy cannot load NVRTC, CUDA's compiler ({error}); {INSTALL_HINT}"
        return None

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """Refuse samplings and borders that there are no kernels for."""
        if spec.sampling not in ("centered", "interior", "cells", "integral"):
            return f"it does not have the sampling {spec.sampling!r}"
        if spec.border not in ("clamp", "zero"):
            return f"it does not have the border {spec.border!r}"
        return None

    def roi_align(
        self, maps: tuple[Any, ...], rois: Any, levels: Any | None, spec: CallSpec, out: Any | None
    ) -> Any:
        """Pool ``maps`` under ``rois`` into ``out``; see `roialign_cy.backends.Backend`."""
        pool = _module("_forward").roi_align
        if not isinstance(maps[0], np.ndarray):
            return pool(maps[0], rois, spec, out)
        if out is None:
            out = kit.new_maps(spec.output_shape(len(rois), maps[0].shape[1]), maps[0].dtype, spec)
        for level, rows, its_spec in _by_level(levels, spec):
            boxes = rois[rows]
            if len(boxes):
                arrays = _to_device(maps[level], spec), _to_device(boxes, spec)
                out[rows] = _to_host(pool(*arrays, its_spec, None), spec)
        return out

    def feature_gradient(
        self,
        grad_output: Any,
        rois: Any,
        levels: Any | None,
        shapes: Shapes,
        spec: CallSpec,
        features: tuple[Any, ...] | None,
        out: tuple[Any, ...] | None,
    ) -> tuple[Any, ...]:
        """Gradient with respect to the features; see `roialign_cy.backends.Backend`."""
        differentiate = _module("_backward").feature_gradient
        maps = features or (None,) * len(shapes)
        if not isinstance(grad_output, np.ndarray):
            (target,) = out or (None,)
            return (differentiate(grad_output, rois, shapes[0], spec, maps[0], target),)
        out = out or tuple(kit.new_maps(shape, grad_output.dtype, spec) for shape in shapes)
        for level, rows, its_spec in _by_level(levels, spec):
            grads, boxes = _to_device(grad_output[rows], spec), _to_device(rois[rows], spec)
            its_map = None if features is None else _to_device(features[level], spec)
            by_map = differentiate(grads, boxes, shapes[level], its_spec, its_map, None)
            out[level][...] = _to_host(by_map, spec)
        return out

    def box_gradient(
        self,
        grad_output: Any,
        rois: Any,
        levels: Any | None,
        features: tuple[Any, ...],
        spec: CallSpec,
        out: Any | None,
    ) -> Any:
        """Gradient with respect to the boxes; see `roialign_cy.backends.Backend`."""
        differentiate = _module("_backward").box_gradient
        if not isinstance(grad_output, np.ndarray):
            (array,) = features
            return differentiate(grad_output, rois, array.shape, spec, array, out)
        if out is None:
            out = np.empty((len(rois), 4), rois.dtype)
        for level, rows, its_spec in _by_level(levels, spec):
            boxes = rois[rows]
            if len(boxes):
                grads, boxes = _to_device(grad_output[rows], spec), _to_device(boxes, spec)
                its_map = _to_device(features[level], spec)
                by_box = differentiate(grads, boxes, its_map.shape, its_spec, its_map, None)
                out[rows] = _to_host(by_box, spec)
        return out


@cache
def _module(name: str) -> Any:
    """A module of this package that imports CuPy; finding it is not free at every call."""
    return import_module(f".{name}", __package__)


def _to_device(array: np.ndarray, spec: CallSpec) -> Any:
    """A copy in the memory order of the call's layout."""
    import cupy

    given = kit.as_given(array, spec)
    native = np.require(given, array.dtype.newbyteorder("="), ["C", "ALIGNED"])
    return kit.as_nchw(cupy.asarray(native), spec)


def _to_host(array: Any, spec: CallSpec) -> np.ndarray:
    result: np.ndarray = kit.as_nchw(kit.as_given(array, spec).get(), spec)
    return result


def _by_level(levels: Any | None, spec: CallSpec) -> Iterator[tuple[int, Any, CallSpec]]:
    """Each map, the boxes on it and the call that pools them."""
    if levels is None:
        yield 0, slice(None), spec
        return
    for level in range(len(spec.spatial_scales)):
        yield level, np.flatnonzero(levels == level), spec.at_level(level)


BACKEND = GpuBackend()
