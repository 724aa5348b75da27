"""Boxes and devices of CuPy arguments, checked without a synchronisation.

The values of boxes lie on the device and are looked at only where ``ROIALIGN_VALIDATE=1`` asks
for it; otherwise a bad box gives NaN.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np
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
    require_usable("grad_output", grad_output)
    for array in features or ():
        require_usable("features", array)
    if out is not None:
        require_usable("out", out)
    kit.check_gradient(operation, grad_output, rois, shapes, spec, features, out)
    return rois


def check_rois(rois: Any, num_images: int, spec: CallSpec) -> Any:
    """``rois`` as a CuPy array of shape (K, 5) and floating dtype."""
    if isinstance(rois, list | tuple) and any(isinstance(entry, cupy.ndarray) for entry in rois):
        rows = _joined([cupy.asarray(entry) for entry in rois], num_images)
    elif isinstance(rois, cupy.ndarray):
        require_usable("rois", rois)
        like = kit.normalise_rois(_zeros_like(rois), num_images)
        rows = rois.reshape(like.shape).astype(like.dtype, copy=False)
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
    itemsize = array.itemsize
    places = [array.data.ptr]
    places += [step for step, n in zip(array.strides, array.shape, strict=True) if n > 1]
    if array.size and any(place % itemsize for place in places):
        raise ValueError(
            f"{name} must have its address and strides in multiples of its items of {itemsize} "
            f"bytes, got {array.data.ptr:#x} and {array.strides}"
        )


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
