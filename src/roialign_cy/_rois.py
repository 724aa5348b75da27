"""What callers pass as boxes, as rows of native floats; and which arrays are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ._core.memory import is_plain

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def normalise_rois(
    rois: Any, num_images: int, name: str = "rois", parameters: int = 4
) -> NDArray[np.floating]:
    """Give what a caller passes as ``rois`` as rows ``[batch_index, x1, y1, x2, y2]``.

    Parameters
    ----------
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        Values are not looked at.
    num_images : int
    name : str, default "rois"
        The name of the argument, for errors.
    parameters : int, default 4
        Numbers of a box, to which the index of its image is added: 5 of a rotated one.

    Returns
    -------
    ndarray of shape (K, 1 + parameters)
        A copy, in native float16, float32 or float64.
    """
    # Always a copy: another thread that changes the caller's boxes after they were checked must
    # not reach the core, which trusts them.
    if (
        type(rois) is np.ndarray
        and rois.ndim == 2
        and rois.shape[1] == 1 + parameters
        and is_plain(rois)
    ):
        return rois.copy()
    if is_list_per_image(rois):
        require_entry_per_image(rois, num_images, name)
        return join(rois, name, parameters)
    array = numeric(rois, name)
    if is_no_boxes(array.shape, parameters):
        array = array.reshape(0, 1 + parameters)
    if array.ndim != 2 or array.shape[1] != 1 + parameters:
        raise ValueError(wrong_shape(name, array.shape, num_images, parameters))
    return np.array(array, order="C")


def is_list_per_image(rois: Any) -> TypeGuard[Sequence[ArrayLike]]:
    """Whether it is a list or tuple whose elements are 2-D (or all empty): an entry per image.

    Any other is rows of numbers.
    """
    if not isinstance(rois, (list, tuple)):  # asked faster than a union of types
        return False
    dimensions = {_number_of_dimensions(element) for element in rois}
    return 2 in dimensions or dimensions == {0}


def _number_of_dimensions(element: Any) -> int:
    """Axes of one element of a list of boxes; 0 for what is empty and could be either."""
    if hasattr(element, "ndim"):
        return int(element.ndim) if element.ndim == 2 or element.shape != (0,) else 0
    if not isinstance(element, list | tuple):
        return -1
    if not element:
        return 0
    inner = element[0]
    return 1 + int(getattr(inner, "ndim", isinstance(inner, list | tuple)))


def require_entry_per_image(rois: Sequence[Any], num_images: int, name: str) -> None:
    """Raise unless the list has the length of the batch."""
    if len(rois) != num_images:
        raise ValueError(
            f"{name} must have one entry per image: expected {num_images}, got {len(rois)}"
        )


def is_no_boxes(shape: tuple[int, ...], parameters: int = 4) -> bool:
    """Whether an array of that shape is no boxes, of rows of either width."""
    return shape in ((0,), (0, parameters), (0, 1 + parameters))


def wrong_shape(name: str, shape: tuple[int, ...], num_images: int, parameters: int = 4) -> str:
    """What is wrong with an array of boxes that is not (K, 5), and how to fix it."""
    width = 1 + parameters
    text = f"{name} must have the shape (K, {width}), got {shape}"
    if len(shape) == 1 and shape[0] in (parameters, width):
        return f"{text}: one box is a row, too: [{name}]"
    if len(shape) == 2 and shape[1] == parameters:
        columns = {4: "five", 5: "six"}[parameters]
        text += (
            f": the first of {columns} columns is the index of the image; "
            f"(K, {parameters}) boxes go in a list"
        )
        return text + (f": [{name}]" if num_images == 1 else ", an array for each image")
    return text


def wrong_entry_shape(name: str, shape: tuple[int, ...], parameters: int = 4) -> str:
    """What is wrong with boxes of one image, or of images given apart, that are not (K, 4)."""
    text = f"{name} must have the shape (K, {parameters}), got {shape}"
    if len(shape) == 2 and shape[1] == 1 + parameters:
        text += ": without a column for the index of the image"
    return text


def join(boxes: Sequence[ArrayLike], name: str, parameters: int = 4) -> NDArray[np.floating]:
    """Join the (K_i, 4) entries of a list as (K, 5) rows with the index of their image."""
    if not isinstance(boxes, (list, tuple)) and (
        not isinstance(boxes, Iterable) or isinstance(boxes, str | bytes | Mapping | Set)
    ):
        raise TypeError(f"{name} must be a sequence of arrays, got {boxes!r}")
    entries = [columns(entry, f"{name}[{index}]", parameters) for index, entry in enumerate(boxes)]
    if len(entries) == 1:
        return with_images(entries[0], 0, 1)
    filled = [entry for entry in entries if entry.size] or entries or [np.empty((0, parameters))]
    indices = np.repeat(np.arange(len(entries)), [len(entry) for entry in entries])
    return with_images(np.concatenate(filled), indices, len(entries))


def with_images(
    boxes: NDArray[np.floating], images: NDArray[np.integer] | int, num_images: int
) -> NDArray[np.floating]:
    """(K, 4) boxes as (K, 5) rows, in a dtype that can count so many images."""
    dtype = boxes.dtype
    if num_images > 2 ** (np.finfo(dtype).nmant + 1):
        dtype = np.dtype(np.float64)
    rows = np.empty((len(boxes), 1 + boxes.shape[1]), dtype)
    rows[:, 0] = images
    rows[:, 1:] = boxes
    return rows


def columns(boxes: Any, name: str, parameters: int = 4) -> NDArray[np.floating]:
    """``boxes`` as an array of shape (K, 4), of native floats."""
    array = numeric(boxes, name)
    if array.size == 0 and array.ndim <= 2:
        return array.reshape(0, parameters)
    if array.ndim != 2 or array.shape[1] != parameters:
        raise ValueError(wrong_entry_shape(name, array.shape, parameters))
    return array


def check_indices(
    indices: Any, name: str, num_boxes: int, count: int, target: str
) -> NDArray[np.intp]:
    """Check what the caller chose for each box among ``count`` of a kind; a copy comes back."""
    require_bare(type(indices), name)
    try:
        array = np.array(indices)
    except (TypeError, ValueError) as error:  # ragged, or of another library
        raise type(error)(f"{name} must be an array of integers: {error}") from None
    if array.dtype.kind not in "iu" and array.shape != (0,):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.shape != (num_boxes,):
        raise ValueError(
            f"{name} must have an entry per box, the shape ({num_boxes},), got {array.shape}"
        )
    is_wrong = (array < 0) | (array >= count)
    if is_wrong.any():
        box = int(is_wrong.argmax())
        raise ValueError(
            f"{name}[{box}] must be the index of {target}, in 0 .. {count - 1}, got {array[box]}"
        )
    return array.astype(np.intp, copy=False)


def numeric(values: Any, name: str) -> NDArray[np.floating]:
    """``values`` as a native, aligned array of float16, float32 or float64."""
    if type(values) is np.ndarray and is_plain(values):
        return values
    _refuse_what_gets_lost(values, name)
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:  # ragged, or of another library
        kind = TypeError if isinstance(error, RuntimeError) else type(error)
        raise kind(f"{name} must be an array of numbers: {error}") from None
    if array.size == 0 and array.dtype == object:
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiu":
        hint = ": is a value missing, or of another type?" if array.dtype == object else ""
        raise TypeError(f"{name} must be floats or integers, got dtype {array.dtype}{hint}")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        with np.errstate(all="ignore"):  # a long double beyond every float64 is infinite
            return array.astype(np.float64)
    return array if is_plain(array) else array.astype(array.dtype.newbyteorder("="))


def _refuse_what_gets_lost(values: Any, name: str) -> None:
    require_corners(values, name)
    kinds = {type(values)}
    if isinstance(values, list | tuple):  # of rows, or of lists of rows; those may be arrays
        kinds.update(map(type, values))
        inner = (row for row in values if isinstance(row, list | tuple))
        kinds.update(map(type, chain.from_iterable(inner)))
    for kind in kinds:
        require_bare(kind, name)


def require_bare(kind: type, name: str) -> None:
    """Raise for NumPy arrays that mean more than the numbers in their memory, by their type."""
    if kind is np.ndarray:
        return
    if issubclass(kind, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be without a mask, which would be ignored, got a masked array: "
            "fill it, with .filled(0) say, or leave out what is masked"
        )
    if issubclass(kind, np.ndarray) and kind.__array_ufunc__ is not np.ndarray.__array_ufunc__:
        raise TypeError(
            f"{name} must be plain numbers, got {kind.__module__}.{kind.__qualname__}, whose own "
            "arithmetic (of units, say) would be ignored: convert it with .view(numpy.ndarray)"
        )


def require_corners(boxes: Any, name: str) -> None:
    """Raise for boxes that are labelled, as torchvision's can be, as other than corners."""
    form = getattr(boxes, "format", None)
    if form is not None and isinstance(form, Enum) and form.name != "XYXY":
        raise ValueError(
            f"{name} must be corners x1, y1, x2, y2, got boxes of the format {form.name}"
        )
