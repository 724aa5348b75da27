"""Boxes and devices of CuPy arguments, checked without a synchronisation.

The values of boxes lie on the device and are looked at only where ``ROIALIGN_VALIDATE=1`` asks
for it; otherwise a bad box gives NaN.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
from roialign_cy.backends import kit

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

VALIDATE = "ROIALIGN_VALIDATE"


def on_its_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function run on the device of the array that is its first argument."""

    @wraps(function)
    def run(array: Any, *others: Any) -> Any:
        # Asking which device is the current one is quicker than switching to it.
        if array.device.id == cupy.cuda.runtime.getDevice():
            return function(array, *others)
        with array.device:
            return function(array, *others)

    return run


def check_gradient(
    operation: str,
    grad_output: Any,
    rois: Any,
    shape: tuple[int, int, int, int],
    spec: CallSpec,
    features: Any | None,
    out: Any | None,
) -> Any:
    """Raise unless this gradient can be computed now; the boxes as in `check_rois`."""
    refuse_capture()
    rois = check_rois(rois, shape[0], spec)
    require_usable("grad_output", grad_output)
    if features is not None:
        require_usable("features", features)
    if out is not None:
        require_usable("out", out)
    maps = None if features is None else (features,)
    kit.check_gradient(operation, grad_output, rois, (shape,), spec, maps, out)
    return rois


def check_rois(rois: Any, num_images: int, spec: CallSpec) -> Any:
    """``rois`` as a CuPy array of shape (K, 5) and floating dtype."""
    if isinstance(rois, cupy.ndarray):
        require_usable("rois", rois)
        rows = rois
        if rois.dtype.char not in "efd" or rois.ndim != 2 or rois.shape[1] != 5:
            like = kit.normalise_rois(_zeros_like(rois), num_images)
            rows = rois.reshape(like.shape).astype(like.dtype, copy=False)
    elif isinstance(rois, list | tuple) and any(isinstance(one, cupy.ndarray) for one in rois):
        rows = _joined([cupy.asarray(entry) for entry in rois], num_images)
    else:
        # Numbers of the host: looking at them costs nothing, so they are checked as always.
        return cupy.asarray(kit.check_rois(rois, num_images, spec))
    if _is_validating():
        kit.check_rois(cupy.asnumpy(rows), num_images, spec)
    return rows


def _joined(entries: list[Any], num_images: int) -> Any:
    """A list on the device, an entry per image or a row per box, as one (K, 5) array."""
    for index, entry in enumerate(entries):
        require_usable(f"rois[{index}]", entry)
    like = kit.normalise_rois([_zeros_like(entry) for entry in entries], num_images)
    rows = cupy.empty(like.shape, like.dtype)
    if not any(entry.ndim == 2 for entry in entries):
        if rows.size:
            rows[...] = cupy.stack(entries)
        return rows
    begin = 0
    for index, entry in enumerate(entries):
        end = begin + entry.size // 4
        if entry.size:
            rows[begin:end, 0] = index
            rows[begin:end, 1:] = entry
        begin = end
    return rows


def _zeros_like(array: Any) -> np.ndarray:
    """What the host can know of an array: its shape and dtype, by which it is checked there."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def require_usable(name: str, array: Any) -> None:
    """Raise unless kernels can take the array: on the device of the call, and aligned.

    A misaligned access on a device ends the process's context. CuPy cannot copy such an array
    either.
    """
    here = cupy.cuda.runtime.getDevice()
    if array.device.id != here:
        raise ValueError(f"{name} must be on device {here}, got one on {array.device.id}")
    itemsize, address = array.itemsize, array.data.ptr
    is_odd = address % itemsize
    for step in array.strides:
        is_odd = is_odd or step % itemsize
    if is_odd and array.size and (address % itemsize or _has_odd_steps(array)):
        raise ValueError(
            f"{name} must have its address and strides in multiples of its items of {itemsize} "
            f"bytes, got {address:#x} and {array.strides}"
        )


def _has_odd_steps(array: Any) -> bool:
    """Whether between two elements there is no whole number of items."""
    steps = zip(array.strides, array.shape, strict=True)
    return any(step % array.itemsize and n > 1 for step, n in steps)


def refuse_capture() -> None:
    """Raise while the current stream is captured in a CUDA graph."""
    if cupy.cuda.get_current_stream().is_capturing():
        raise RuntimeError(
            "RoI Align cannot be captured in a CUDA graph: its scratch memory goes back to CuPy's "
            "pool when the call returns, and a replay would write to what others have there by then"
        )


def _is_validating() -> bool:
    value = os.environ.get(VALIDATE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VALIDATE} must be 0 or 1, got {value!r}")
    return value == "1"
