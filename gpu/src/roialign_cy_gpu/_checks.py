"""Checks on CuPy arguments that cost no synchronisation, with the errors of NumPy ones.

The values of boxes lie on the device and are looked at only where ``ROIALIGN_VALIDATE=1`` asks
for it; otherwise a bad box gives NaN.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy import _arrays, _rois, boxes

if TYPE_CHECKING:
    from roialign_cy._spec import PoolSpec

VALIDATE = "ROIALIGN_VALIDATE"


def check_features(features: Any, spec: PoolSpec) -> None:
    """Raise unless ``features`` can be pooled."""
    _arrays.check_features(features, spec.layout)


def check_rois(rois: Any, features: Any, spec: PoolSpec) -> Any:
    """``rois`` as a CuPy array of shape (K, 5) and floating dtype."""
    return _normalised(rois, features, spec.feature_shape(features.shape)[0], spec)


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], **inputs: Any) -> None:
    """Raise unless ``out`` can be written with a result of that shape and dtype."""
    if not isinstance(out, cupy.ndarray):
        raise TypeError(f"out must be a CuPy array, got {type(out).__name__}")
    _require_device("out", out)
    views = {name: _host_view(array) for name, array in inputs.items() if array is not None}
    _arrays.check_out(_host_view(out), shape, dtype, **views)


def check_backward(
    grad_output: Any,
    rois: Any,
    input_shape: tuple[int, int, int, int],
    spec: PoolSpec,
    features: Any | None,
    wrt: tuple[str, ...],
    out: Any | None,
) -> Any:
    """Raise unless these gradients can be computed; the boxes as in `check_rois`."""
    num_images, channels, _, _ = spec.feature_shape(input_shape)
    rois = _normalised(rois, grad_output, num_images, spec)
    _arrays.check_features(grad_output, spec.layout, "grad_output")
    shape = spec.output_shape(len(rois), channels)
    if grad_output.shape != shape:
        raise ValueError(f"grad_output must have the shape {shape}, got {grad_output.shape}")
    if features is not None:
        _require_array("features", features)
        _arrays.check_features(features, spec.layout)
        if features.shape != tuple(input_shape):
            raise ValueError(
                f"features must have the shape input_shape {tuple(input_shape)}, "
                f"got {features.shape}"
            )
        if features.dtype != grad_output.dtype:
            raise TypeError(
                f"features must have the dtype of grad_output, {grad_output.dtype}, "
                f"got {features.dtype}"
            )
    if out is not None:
        expected = {
            "features": (tuple(input_shape), grad_output.dtype),
            "rois": ((len(rois), 4), rois.dtype),
        }[wrt[0]]
        check_out(out, *expected, grad_output=grad_output, rois=rois, features=features)
    return rois


def _normalised(rois: Any, neighbour: Any, num_images: int, spec: PoolSpec) -> Any:
    if isinstance(rois, list | tuple) and any(isinstance(entry, cupy.ndarray) for entry in rois):
        rois = _from_list(rois, num_images)
    if not isinstance(rois, cupy.ndarray):
        # Numbers of the host: looking at them costs nothing, so they are checked as always.
        return cupy.asarray(_arrays.check_rois(rois, num_images, spec))
    _require_device("rois", rois)
    if _rois.is_no_boxes(rois.shape):
        rois = rois.reshape(0, 5)
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(_rois.wrong_shape("rois", rois.shape, num_images))
    rois = _floating("rois", rois)
    if any(stride % rois.itemsize for stride in rois.strides):
        rois = cupy.ascontiguousarray(rois)
    if _is_validating():
        _arrays.check_rois(cupy.asnumpy(rois), num_images, spec)
    return rois


def _from_list(entries: Any, num_images: int) -> Any:
    """One (K_i, 4) array per image as one (K, 5) array, by the rules of `boxes.from_list`."""
    _rois.require_entry_per_image(entries, num_images, "rois")
    arrays = []
    for index, entry in enumerate(entries):
        array = cupy.asarray(entry)
        if array.size == 0 and array.ndim <= 2:
            continue
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(_rois.wrong_entry_shape(f"rois[{index}]", array.shape))
        _require_device(f"rois[{index}]", array)
        arrays.append((index, _floating(f"rois[{index}]", array)))
    if not arrays:
        return cupy.empty((0, 5))
    # The host's function chooses the dtype, so that both promote alike.
    samples = [np.zeros((1, 4), array.dtype) for _, array in arrays]
    dtype = boxes.from_list(samples + [[]] * (num_images - len(arrays))).dtype
    rows = cupy.empty((sum(len(array) for _, array in arrays), 5), dtype)
    begin = 0
    for index, array in arrays:
        rows[begin : begin + len(array), 0] = index
        rows[begin : begin + len(array), 1:] = array
        begin += len(array)
    return rows


def _floating(name: str, array: Any) -> Any:
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be floats or integers, got dtype {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _require_array(name: str, array: Any) -> None:
    if not isinstance(array, cupy.ndarray):
        raise TypeError(f"{name} must be a CuPy array, got {type(array).__name__}")
    _require_device(name, array)


def _require_device(name: str, array: Any) -> None:
    here = cupy.cuda.runtime.getDevice()
    if array.device.id != here:
        raise ValueError(f"{name} must be on device {here}, got one on {array.device.id}")


def _host_view(array: Any) -> np.ndarray:
    """A NumPy array of the same addresses: for questions about memory, never to be read."""

    class Addresses:
        __array_interface__ = {  # noqa: RUF012
            "version": 3,
            "shape": array.shape,
            "strides": array.strides,
            "typestr": array.dtype.str,
            "data": (array.data.ptr or 1, False),
        }

    return np.asarray(Addresses())


def _is_validating() -> bool:
    value = os.environ.get(VALIDATE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VALIDATE} must be 0 or 1, got {value!r}")
    return value == "1"
