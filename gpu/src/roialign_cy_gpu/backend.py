"""The backend object: whether it can run here, and arrays of the host to the device and back."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from roialign_cy.backends import kit

if TYPE_CHECKING:
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
        """Refuse what the kernels lack: points under a border of zeros, samplings yet to come."""
        if spec.sampling not in ("centered", "interior", "cells", "integral"):
            return f"it does not have the sampling {spec.sampling!r}"
        if spec.border != "clamp" and spec.sampling != "integral":
            return f"it does not have the border {spec.border!r}"
        return None

    def roi_align(
        self, maps: tuple[Any, ...], rois: Any, levels: Any | None, spec: CallSpec, out: Any | None
    ) -> Any:
        """Pool ``maps`` under ``rois`` into ``out``; see `roialign_cy.backends.Backend`."""
        (features,) = maps
        if isinstance(features, np.ndarray):
            pooled = self.roi_align(
                (_to_device(features, spec),), _to_device(rois, spec), levels, spec, None
            )
            return _to_host(pooled, spec, out)
        return _module("_forward").roi_align(features, rois, spec, out)

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
        (shape,), (target,) = shapes, out or (None,)
        if isinstance(grad_output, np.ndarray):
            grads, boxes, maps = _arguments_to_device(grad_output, rois, features, spec)
            (result,) = self.feature_gradient(grads, boxes, levels, shapes, spec, maps, None)
            return (_to_host(result, spec, target),)
        (array,) = features or (None,)
        of_maps = _module("_backward").feature_gradient
        return (of_maps(grad_output, rois, shape, spec, array, target),)

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
        if isinstance(grad_output, np.ndarray):
            grads, boxes, maps = _arguments_to_device(grad_output, rois, features, spec)
            return _to_host(self.box_gradient(grads, boxes, levels, maps, spec, None), spec, out)
        (array,) = features
        of_boxes = _module("_backward").box_gradient
        return of_boxes(grad_output, rois, array.shape, spec, array, out)


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


def _arguments_to_device(
    grad_output: np.ndarray, rois: np.ndarray, features: tuple[Any, ...] | None, spec: CallSpec
) -> tuple[Any, Any, Any]:
    grads, boxes = _to_device(grad_output, spec), _to_device(rois, spec)
    if features is None:
        return grads, boxes, None
    return grads, boxes, tuple(_to_device(array, spec) for array in features)


def _to_host(array: Any, spec: CallSpec, out: np.ndarray | None) -> np.ndarray:
    result: np.ndarray = kit.as_nchw(kit.as_given(array, spec).get(), spec)
    if out is None:
        return result
    out[...] = result
    return out


BACKEND = GpuBackend()
