"""The backend object: whether it can run here, and arrays of the host to the device and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from roialign_cy._spec import PoolSpec

INSTALL_HINT = (
    'pip install "roialign-cy-gpu[cuda12x]" for CUDA 12, "roialign-cy-gpu[cuda13x]" for CUDA 13'
)


class GpuBackend:
    """RoI Align by CuPy kernels.

    CuPy arrays are worked on where they are, on the current stream, without synchronisation.
    NumPy arrays, which `roialign_cy` has validated, are copied to the device and the results back.
    """

    name = "gpu"
    api_version = 1
    array_types = ("cupy:ndarray", "numpy:ndarray")

    def unavailable_reason(self) -> str | None:
        """Why there is no CuPy or no device, with what to install; None if both are there."""
        try:
            import cupy
        except ImportError as error:
            return f"CuPy does not import ({error}); {INSTALL_HINT}"
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            return f"CuPy finds no CUDA device: {error}"
        return None if count else "CuPy finds no CUDA device"

    def cannot_run(self, spec: PoolSpec) -> str | None:
        """None: every call can be run."""
        return None

    def roi_align(self, features: Any, rois: Any, spec: PoolSpec, out: Any | None) -> Any:
        """Pool ``features`` under ``rois`` into ``out``; see `roialign_cy.backends.Backend`."""
        import cupy

        from . import _checks, _forward

        if isinstance(features, np.ndarray):
            result = _forward.roi_align(_to_device(features), _to_device(rois), spec, None)
            return _to_host(result, out)
        with features.device:
            _checks.check_features(features, spec)
            rois = _checks.check_rois(rois, features, spec)
            _, channels, _, _ = spec.feature_shape(features.shape)
            shape = spec.output_shape(len(rois), channels)
            if out is None:
                out = cupy.empty(shape, features.dtype)
            else:
                _checks.check_out(out, shape, features.dtype, features=features, rois=rois)
            return _forward.roi_align(features, rois, spec, out)

    def roi_align_backward(
        self,
        grad_output: Any,
        rois: Any,
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
        *,
        features: Any | None,
        wrt: tuple[str, ...],
        out: Any | None,
    ) -> tuple[Any, ...]:
        """Gradients for each name in ``wrt``; see `roialign_cy.backends.Backend`."""
        from . import _backward, _checks

        if isinstance(grad_output, np.ndarray):
            results = _backward.gradients(
                _to_device(grad_output),
                _to_device(rois),
                input_shape,
                spec,
                features=None if features is None else _to_device(features),
                wrt=wrt,
                out=None,
            )
            return tuple(_to_host(result, out) for result in results)
        with grad_output.device:
            rois = _checks.check_backward(grad_output, rois, input_shape, spec, features, wrt, out)
            return _backward.gradients(
                grad_output, rois, input_shape, spec, features=features, wrt=wrt, out=out
            )


def _to_device(array: np.ndarray) -> Any:
    import cupy

    return cupy.asarray(np.require(array, array.dtype.newbyteorder("="), ["C", "ALIGNED"]))


def _to_host(array: Any, out: np.ndarray | None) -> np.ndarray:
    result: np.ndarray = array.get()
    if out is None:
        return result
    out[...] = result
    return out


BACKEND = GpuBackend()
