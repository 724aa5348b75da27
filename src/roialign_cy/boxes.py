"""Box formats: from what people have to ``(K, 5)`` rows of ``[batch_index, x1, y1, x2, y2]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from .conventions import finite_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["from_document", "from_list", "from_xywh"]


# A sum beyond the dtype is infinite, which the call that gets the box refuses by its row.
_INFINITE_WHERE_TOO_LARGE = np.errstate(over="ignore", invalid="ignore")


@_INFINITE_WHERE_TOO_LARGE
def from_document(boxes: ArrayLike, height: float) -> NDArray[np.floating]:
    """Boxes of the document, with y up, as rows of ``[0, x1, y1, x2, y2]`` with y down.

    Parameters
    ----------
    boxes : array_like of shape (K, 4)
        Rows of ``[x, y, width, height]``; (x, y) is the **top left** corner in a plane whose
        origin is at the bottom left and whose y grows upwards.
    height : float
        Height of that plane, in the units of the boxes.

    Returns
    -------
    ndarray of shape (K, 5)
        The boxes, of image 0, in their own dtype (float64 for integers).

    Raises
    ------
    ValueError, TypeError
        If ``boxes`` is not of that shape or not numeric, or ``height`` is not finite.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_document([[296, 320, 200, 145]], height=512)
    array([[  0., 296., 192., 496., 337.]])
    """
    x, y, width, extent = _columns(boxes).T
    height = finite_number("height", height)  # a Python float leaves the boxes' dtype as it is
    return _rows(x, height - y, x + width, height - y + extent)


@_INFINITE_WHERE_TOO_LARGE
def from_xywh(boxes: ArrayLike) -> NDArray[np.floating]:
    """Boxes given by a corner and a size as rows of ``[0, x1, y1, x2, y2]``.

    Parameters
    ----------
    boxes : array_like of shape (K, 4)
        Rows of ``[x, y, width, height]``; (x, y) is the top left corner, y grows downwards.

    Returns
    -------
    ndarray of shape (K, 5)
        The boxes, of image 0, in their own dtype (float64 for integers).

    Raises
    ------
    ValueError, TypeError
        If ``boxes`` is not of that shape or not numeric.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_xywh([[10, 20, 30, 40]])
    array([[ 0., 10., 20., 40., 60.]])
    """
    x, y, width, height = _columns(boxes).T
    return _rows(x, y, x + width, y + height)


def from_list(boxes: Sequence[ArrayLike]) -> NDArray[np.floating]:
    """One array of boxes per image as rows of ``[batch_index, x1, y1, x2, y2]``.

    Parameters
    ----------
    boxes : sequence of N array_like of shape (K_i, 4)
        Rows of ``[x1, y1, x2, y2]`` of image ``i``. Empty entries are allowed.

    Returns
    -------
    ndarray of shape (K_0 + ... + K_{N-1}, 5)
        All boxes, in the promoted dtype of the entries (float64 for integers, and where a
        narrower type could not count the images exactly).

    Raises
    ------
    ValueError, TypeError
        If an entry is not of that shape or not numeric.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_list([[[0, 0, 4, 4]], [], [[1, 1, 3, 3]]])
    array([[0., 0., 0., 4., 4.],
           [2., 1., 1., 3., 3.]])
    """
    return join(boxes, "boxes")


def join(boxes: Sequence[ArrayLike], name: str) -> NDArray[np.floating]:
    """`from_list` of what the caller knows as ``name``."""
    if not isinstance(boxes, Iterable) or isinstance(boxes, str | bytes | Mapping | Set):
        raise TypeError(f"{name} must be a sequence of arrays, got {boxes!r}")
    entries = [_columns(entry, f"{name}[{index}]") for index, entry in enumerate(boxes)]
    filled = [entry for entry in entries if entry.size] or entries or [np.empty((0, 4))]
    dtype = np.result_type(*filled)
    if len(entries) > 2 ** (np.finfo(dtype).nmant + 1):
        dtype = np.dtype(np.float64)
    rows = np.empty((sum(map(len, entries)), 5), dtype)
    rows[:, 0] = np.repeat(np.arange(len(entries)), [len(entry) for entry in entries])
    rows[:, 1:] = np.concatenate(filled)
    return rows


def normalise_rois(rois: Any, num_images: int) -> NDArray[np.floating]:
    """What a caller passes as ``rois``, as a (K, 5) array of native float16, 32 or 64.

    A list or tuple whose elements are 2-D (or all empty) is one entry per image; any other is
    rows of five numbers. Values are not looked at.
    """
    if isinstance(rois, list | tuple):
        dimensions = {_number_of_dimensions(element) for element in rois}
        if 2 in dimensions or dimensions == {0}:
            if len(rois) != num_images:
                raise ValueError(
                    f"rois must have one entry per image: expected {num_images}, got {len(rois)}"
                )
            return join(rois, "rois")
        if not rois:
            return np.empty((0, 5))
    array = _numeric(rois, "rois")
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"rois must have the shape (K, 5), got {array.shape}")
    # Always a copy: another thread that changes the caller's boxes after they were checked must
    # not reach the core, which trusts them.
    return np.array(array, order="C")


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


def _columns(boxes: ArrayLike, name: str = "boxes") -> NDArray[np.floating]:
    array = _numeric(boxes, name)
    if array.size == 0 and array.ndim <= 2:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} must have the shape (K, 4), got {array.shape}")
    return array


def _rows(
    x1: NDArray[np.floating],
    y1: NDArray[np.floating],
    x2: NDArray[np.floating],
    y2: NDArray[np.floating],
) -> NDArray[np.floating]:
    return np.stack([np.zeros_like(x1), x1, y1, x2, y2], axis=1)


def _numeric(values: Any, name: str) -> NDArray[np.floating]:
    """``values`` as a native, aligned array of float16, float32 or float64."""
    if type(values) is np.ndarray and is_plain(values):
        return values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # ragged, or of another library
        raise type(error)(f"{name} must be an array of numbers: {error}") from None
    if array.size == 0 and array.dtype == object:
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be floats or integers, got dtype {array.dtype}")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # a long double beyond every float64 is infinite
            return array.astype(np.float64)
    return array if is_plain(array) else array.astype(array.dtype.newbyteorder("="))


def is_plain(array: NDArray[Any]) -> bool:
    """Whether compiled code can read the array as it lies: native floats, aligned."""
    return array.dtype.char in "efd" and array.dtype.isnative and array.flags.aligned
