"""Masks of boxes, pasted into their images: the transpose of RoI Align."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np

from . import _arrays
from ._choices import require_choice
from ._core import paste, threads
from ._core.runtime import in_standard_mode
from ._rois import numeric, require_bare
from .backends._registry import full_name
from .conventions import finite_number, int_pair
from .typing import MaskFormat, PasteConvention

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._api import FloatT

PADDING: dict[PasteConvention, int] = {"detectron2": 0, "torchvision": 1}
"""Conventions of pasting, and the cells of zeros that each puts around a mask."""

FORMATS: tuple[MaskFormat, ...] = get_args(MaskFormat)


@overload
def paste_masks(
    masks: NDArray[np.floating],
    boxes: ArrayLike,
    image_size: tuple[int, int],
    *,
    threshold: float = ...,
    convention: PasteConvention = ...,
    format: Literal["dense"] = ...,
    out: NDArray[np.bool] | None = ...,
    num_threads: int | None = ...,
) -> NDArray[np.bool]: ...
@overload
def paste_masks(
    masks: NDArray[FloatT],
    boxes: ArrayLike,
    image_size: tuple[int, int],
    *,
    threshold: None,
    convention: PasteConvention = ...,
    format: Literal["dense"] = ...,
    out: NDArray[FloatT] | None = ...,
    num_threads: int | None = ...,
) -> NDArray[FloatT]: ...
@overload
def paste_masks(
    masks: NDArray[np.floating],
    boxes: ArrayLike,
    image_size: tuple[int, int],
    *,
    threshold: float | None = ...,
    convention: PasteConvention = ...,
    format: Literal["crops"],
    out: None = ...,
    num_threads: int | None = ...,
) -> list[tuple[NDArray[Any], tuple[int, int]]]: ...
@overload
def paste_masks(
    masks: NDArray[np.floating],
    boxes: ArrayLike,
    image_size: tuple[int, int],
    *,
    threshold: float = ...,
    convention: PasteConvention = ...,
    format: Literal["rle"],
    out: None = ...,
    num_threads: int | None = ...,
) -> list[dict[str, Any]]: ...
def paste_masks(
    masks: NDArray[np.floating],
    boxes: ArrayLike,
    image_size: tuple[int, int],
    *,
    threshold: float | None = 0.5,
    convention: PasteConvention = "detectron2",
    format: MaskFormat = "dense",
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Paste the mask of every box into an image.

    Parameters
    ----------
    masks : ndarray of shape (N, M, M) or (N, 1, M, M)
        Soft masks, one per box: float16, float32 or float64, of any strides, byte order and
        alignment. Never modified.
    boxes : array_like of shape (N, 4)
        Boxes ``[x1, y1, x2, y2]`` in pixels, x to the right, y down. Any float or integer dtype.
    image_size : (int, int)
        Height and width of the image.
    threshold : float or None, default 0.5
        A pixel is set where its value is at least this, which has to be positive, in the dtype of
        ``masks``. None gives the values themselves.
    convention : {"detectron2", "torchvision"}, default "detectron2"
        Whose pasting: Detectron2's (and mmdet's) lays the mask over the box as it is;
        torchvision's puts a border of zeros around it and rounds the wider box to whole pixels.
    format : {"dense", "crops", "rle"}, default "dense"
        Whole images, the parts of them that masks reach, or COCO's compressed run lengths. The
        memory for the last two does not grow with N times the size of the image.
    out : ndarray of shape (N, height, width), optional
        Array to write "dense" to. Any strides; must not overlap an input.
    num_threads : int, optional
        Upper bound on the threads of this call. The result does not depend on it.

    Returns
    -------
    ndarray of shape (N, height, width)
        With ``format="dense"``: of bool, or in the dtype of ``masks`` (in native byte order)
        without a threshold; ``out`` if that is given.
    list of (ndarray, (int, int))
        With ``format="crops"``, for each mask: the smallest part of the image that it reaches, of
        the same dtypes, and the row and column of that part's first pixel.
    list of dict
        With ``format="rle"``, for each mask: ``{"size": [height, width], "counts": bytes}``, byte
        for byte what ``pycocotools.mask.encode`` gives. It needs a threshold.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a box is not finite or its extent overflows; the text
        names the argument. Nothing has been written then.

    Notes
    -----
    The pixel in column ``X``, whose centre is at ``X + 0.5``, has the value of a mask at
    ``(X + 0.5 - x1) / (x2 - x1) * M - 0.5`` of its cells, the same along rows, between which it is
    interpolated bilinearly; neighbours outside the mask count as 0, and those of weight 0 are not
    read. That is Detectron2's. In torchvision's convention ``M`` counts a border of one cell of
    zeros on each side, and the box is widened by ``(M + 2) / M`` about its centre, cut to integers
    toward 0 and ends behind its last pixel; all of it in the boxes' own dtype, and in
    torchvision's order of operations.

    A box that is reversed (x2 < x1) or of no width or height pastes nothing, and so does one
    outside the image. Positions are computed in float64, values in float32, or float64 for
    float64 masks.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> masks = np.array([[[0.2, 0.9], [0.9, 0.9]]], np.float32)
    >>> ra.paste_masks(masks, [[1, 1, 5, 5]], (6, 7)).astype(int)
    array([[[0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 1, 1, 0, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 1, 1, 1, 1, 0, 0],
            [0, 1, 1, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 0, 0]]])
    >>> ra.paste_masks(masks, [[1, 1, 5, 5]], (6, 7), format="rle")
    [{'size': [6, 7], 'counts': b'9231O100;'}]
    """
    require_choice("convention", convention, PADDING)
    require_choice("format", format, FORMATS)
    padding = PADDING[convention]
    height, width = size = make_image_size(image_size)
    limit = threads.effective_num_threads(threads.check_num_threads(num_threads))
    if format != "dense" and out is not None:
        raise ValueError(f"out must be None with format {format!r}")
    masks = _arrays.as_ndarray(masks, "masks")
    _check_masks(masks)
    shape = (len(masks), height, width)
    least = None if threshold is None else _least_value(threshold, masks.dtype)
    dtype = masks.dtype.newbyteorder("=") if least is None else np.dtype(bool)
    if out is not None:
        _check_out(out, shape, dtype)
        _arrays.check_memory(out, masks=masks, boxes=boxes)
    sides = _sides(boxes, masks, padding)
    plain = masks.reshape(len(masks), *masks.shape[-2:])
    if not (plain.dtype.isnative and plain.flags.aligned):
        plain = plain.astype(plain.dtype.newbyteorder("="))
    windows = np.empty((len(masks), 2, 2), np.intp)
    core = paste.Masks(plain, sides, padding, size, windows)
    if format == "rle":
        if least is None:
            raise ValueError("threshold must be a number with format 'rle', got None")
        counts = paste.encode(core, size, least, limit)
        return [{"size": [height, width], "counts": text} for text in counts]
    if format == "crops":
        crops = [np.empty((y2 - y1, x2 - x1), dtype) for (y1, y2), (x1, x2) in windows.tolist()]
        paste.paste(core, crops, least, limit)
        return list(zip(crops, map(tuple, windows[:, :, 0].tolist()), strict=True))
    if out is None:
        out = _zeros(shape, dtype)
    else:
        out[...] = 0
    parts = zip(out, windows.tolist(), strict=True)
    paste.paste(
        core, [image[slice(*rows), slice(*cols)] for image, (rows, cols) in parts], least, limit
    )
    return out


def make_image_size(image_size: tuple[int, int], name: str = "image_size") -> tuple[int, int]:
    """Check the size of an image, and return it."""
    size = int_pair(image_size, name)
    if not isinstance(image_size, tuple | list):
        raise TypeError(f"{name} must be a pair (height, width), got {image_size!r}")
    if min(size) < 0:
        raise ValueError(f"{name} must not be negative, got {size}")
    if size[0] * size[1] > sys.maxsize:
        raise ValueError(f"{name} must be the size of an array, got {size}")
    return size


def _check_masks(masks: Any) -> None:
    if not isinstance(masks, np.ndarray):
        raise TypeError(f"masks must be a NumPy array, got {full_name(type(masks))}")
    if masks.dtype.char not in "efd":
        hint = ": convert them with .astype(np.float32)" if masks.dtype.kind in "iub" else ""
        raise TypeError(f"masks must be float16, float32 or float64, got {masks.dtype}{hint}")
    *channels, rows, cols = masks.shape[1:] if masks.ndim in (3, 4) else (0, 0, 0)
    if channels not in ([], [1]) or rows != cols:
        raise ValueError(f"masks must have the shape (N, M, M) or (N, 1, M, M), got {masks.shape}")


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {full_name(type(out))}")
    require_bare(type(out), "out")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if out.dtype != dtype:
        raise ValueError(f"out must have the dtype {dtype}, got {out.dtype}")


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.zeros(shape, dtype)
    except ValueError:
        raise ValueError(
            f"image_size must give an array that can exist, got shape {shape}"
        ) from None


@in_standard_mode
def _least_value(threshold: float, dtype: np.dtype[Any]) -> float:
    """The least value in the working type that is at least the threshold in that of the masks."""
    least = dtype.newbyteorder("=").type(finite_number("threshold", threshold))
    if not least > 0:
        raise ValueError(f"threshold must be > 0 in {dtype.name}, got {threshold!r}")
    if dtype.itemsize > 2:
        return float(least)
    # Float32 numbers from the middle on round to it; the middle itself if it is the even one.
    middle = (np.float32(least) + np.float32(np.nextafter(least, np.float16(0)))) / 2
    return float(
        middle if np.float16(middle) >= least else np.nextafter(middle, np.float32(np.inf))
    )


@in_standard_mode
def _sides(boxes: Any, masks: NDArray[Any], padding: int) -> NDArray[np.float64]:
    """Start and extent of every mask along y and x, in pixels; an extent of 0 pastes nothing."""
    corners = numeric(boxes, "boxes")
    if corners.size == 0 and corners.ndim <= 2:
        corners = corners.reshape(0, 4)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (N, 4), got {corners.shape}")
    if len(corners) != len(masks):
        raise ValueError(
            f"boxes must have one row per mask: expected {len(masks)}, got {len(corners)}"
        )
    corners = corners.reshape(-1, 2, 2)[:, :, ::-1]  # near and far side, along y and x
    near, far = corners[:, 0], corners[:, 1]
    sides = np.empty((len(corners), 2, 2))
    is_empty = ~(far > near)
    if padding:
        near, far = _whole_pixels(near, far, masks.shape[-1], padding)
    sides[:, :, 0] = near
    sides[:, :, 1] = far.astype(np.float64) - near
    for k in np.flatnonzero(~np.isfinite(sides).all(axis=(1, 2)))[:1]:
        fault = "have a finite extent" if np.isfinite(corners[k]).all() else "be finite"
        box = corners[k, :, ::-1].ravel()
        raise ValueError(f"boxes[{k}] must {fault}, got {box}")
    sides[is_empty.any(axis=1), :, 1] = 0
    return sides


def _whole_pixels(
    near: NDArray[np.floating], far: NDArray[np.floating], cells: int, padding: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Sides of boxes of whole pixels that hold the padding too, as torchvision has them."""
    half = (far - near) * 0.5
    centre = (far + near) * 0.5
    # torch multiplies halves by a float32 number.
    scale = np.float64((cells + 2 * padding) / max(cells, 1))
    working = np.promote_types(half.dtype, np.float32)
    half = (half.astype(working) * scale.astype(working)).astype(half.dtype)
    return np.trunc(centre - half), np.trunc(centre + half).astype(np.float64) + 1
