"""Checks on NumPy arguments, made once for every backend, and the errors they raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import boxcheck
from ._rois import is_list_per_image, normalise_rois, require_bare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._spec import PoolSpec


def check_features(features: NDArray[Any], layout: str, name: str = "features") -> None:
    """Raise unless ``features`` is a 4-D array of float16, float32 or float64."""
    dtype = features.dtype
    if dtype.char in "efd" and features.ndim == 4:
        return
    if dtype.kind in "iub":
        raise TypeError(
            f"{name} must be float16, float32 or float64, got {dtype}: "
            "convert them with .astype(np.float32)"
        )
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise TypeError(f"{name} must be float16, float32 or float64, got {dtype}")
    if features.ndim != 4:
        raise ValueError(f"{name} must have four axes ({layout}), got shape {features.shape}")


def as_ndarray(array: NDArray[Any], name: str) -> NDArray[Any]:
    """A NumPy array as one of NumPy's own class: a matrix would index its own way."""
    require_bare(type(array), name)
    return np.asarray(array)


def check_rois(rois: Any, num_images: int, spec: PoolSpec) -> NDArray[np.floating]:
    """``rois`` as a (K, 5) array whose every box can be pooled."""
    boxes = normalise_rois(rois, num_images)
    require_poolable(boxes, num_images, spec, "rois", is_list_per_image(rois))
    return boxes


def require_poolable(
    boxes: NDArray[np.floating], num_images: int, spec: PoolSpec, name: str, is_per_image: bool
) -> None:
    """Raise for the first of the (K, 5) ``boxes`` that cannot be pooled."""
    fault = find_fault(boxes, num_images, spec, name, is_per_image)
    if fault is not None:
        raise ValueError(fault[1])


def find_fault(
    boxes: NDArray[np.floating],
    num_images: int,
    spec: PoolSpec,
    name: str = "rois",
    is_per_image: bool = False,
) -> tuple[int, str] | None:
    """The first of the (K, 5) ``boxes`` that cannot be pooled, and why; None if all can.

    The text calls it by its place in ``name``, which has an entry per image or a row per box.
    """
    row, fault = boxcheck.find_fault(boxes, num_images, spec)
    if fault is None:
        return None
    place, box = f"{name}[{row}]", boxes[row]
    if is_per_image:
        image = int(box[0])
        place = f"{name}[{image}][{row - np.searchsorted(boxes[:, 0], image)}]"
        box = box[1:]
    return row, _FAULTS[fault].format(name=name, row=row, place=place, box=box, images=num_images)


_FAULTS = {
    "not finite": "{place} must be finite, got {box}",
    "bad batch index": (
        "{name}[{row}, 0] must be the index of an image, an integer in 0 .. {images} - 1, got {box}"
    ),
    "extent overflows": "{place} must have a finite extent after scaling in its dtype, got {box}",
    "too many samples": (
        "{place} must have an extent whose adaptive sample count is exact, got {box}; "
        "give a sampling_ratio for boxes as large as this"
    ),
}


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], **inputs: Any) -> None:
    """Raise unless ``out`` can be written with a result of that shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    require_bare(type(out), "out")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if out.dtype != dtype:
        raise ValueError(f"out must have the dtype {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    for name, array in inputs.items():
        if isinstance(array, np.ndarray) and _share_memory(out, array):
            raise ValueError(f"out must not overlap {name}, which it shares memory with")


def _share_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # strides too odd to tell: better refused than wrong
        return True


def new_output(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Uninitialised memory for a result, native whatever the byte order of ``dtype``."""
    try:
        return np.empty(shape, dtype if dtype.isnative else dtype.newbyteorder("="))
    except ValueError:
        raise ValueError(
            f"output_size must give an array that can exist, got shape {shape}"
        ) from None
