"""Boxes and devices of CuPy arguments, checked without a synchronisation.

The values of boxes lie on the device and are looked at only where ``ROIALIGN_VALIDATE=1`` asks
for it; otherwise a bad box gives NaN.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy import boxes
from roialign_cy.backends import kit

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

VALIDATE = "ROIALIGN_VALIDATE"


def check_gradient(
    operation: str,
    grad_output: Any,
    rois: Any,
    shapes: tuple[tuple[int, int, int, int], ...],
    spec: CallSpec,
    features: tuple[Any, ...] | None,
    out: Any,
) -> Any:
    """Raise unless this gradient can be computed; the boxes as in `check_rois`."""
    rois = check_rois(rois, shapes[0][0], spec)
    for array in features or ():
        require_device("features", array)
    if out is not None:
        require_device("out", out)
    kit.check_gradient(operation, grad_output, rois, shapes, spec, features, out)
    return rois


def check_rois(rois: Any, num_images: int, spec: CallSpec) -> Any:
    """``rois`` as a CuPy array of shape (K, 5) and floating dtype."""
    if isinstance(rois, list | tuple) and any(isinstance(entry, cupy.ndarray) for entry in rois):
        rois = _from_list(rois, num_images)
    if not isinstance(rois, cupy.ndarray):
        # Numbers of the host: looking at them costs nothing, so they are checked as always.
        return cupy.asarray(kit.check_rois(rois, num_images, spec))
    require_device("rois", rois)
    if kit.is_no_boxes(rois.shape):
        rois = rois.reshape(0, 5)
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(kit.wrong_shape("rois", rois.shape, num_images))
    rois = _floating("rois", rois)
    if any(stride % rois.itemsize for stride in rois.strides):
        rois = cupy.ascontiguousarray(rois)
    if _is_validating():
        kit.check_rois(cupy.asnumpy(rois), num_images, spec)
    return rois


def _from_list(entries: Any, num_images: int) -> Any:
    """One (K_i, 4) array per image as one (K, 5) array, by the rules of `boxes.from_list`."""
    kit.require_entry_per_image(entries, num_images, "rois")
    arrays = []
    for index, entry in enumerate(entries):
        array = cupy.asarray(entry)
        if array.size == 0 and array.ndim <= 2:
            continue
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(kit.wrong_entry_shape(f"rois[{index}]", array.shape))
        require_device(f"rois[{index}]", array)
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


def require_device(name: str, array: Any) -> None:
    """Raise unless the array is on the device of the call."""
    here = cupy.cuda.runtime.getDevice()
    if array.device.id != here:
        raise ValueError(f"{name} must be on device {here}, got one on {array.device.id}")


def _is_validating() -> bool:
    value = os.environ.get(VALIDATE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VALIDATE} must be 0 or 1, got {value!r}")
    return value == "1"
