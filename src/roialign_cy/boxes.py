"""Box formats, converted to ``(K, 5)`` rows of ``[batch_index, x1, y1, x2, y2]``.

The converters take ``(K, 4)`` boxes and return ``(K, 4)`` corners, which can be an element of a
list with an entry per image; or ``(K, 5)`` rows, if they are told which image each box belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ._box_check import BoxCheck, check
from ._rois import columns, is_list_per_image, join, with_images
from .conventions import finite_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BoxCheck",
    "check",
    "from_coco",
    "from_cxcywh",
    "from_document",
    "from_list",
    "from_normalised",
    "from_xywh",
    "from_xyxy",
]

Columns = tuple["NDArray[np.floating]", ...]


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
    given = columns(boxes, "boxes")
    plane = finite_number("height", height)  # a Python float leaves the boxes' dtype as it is
    corners = _corners(lambda x, y, w, h: (x, plane - y, x + w, plane - y + h), given)
    return with_images(corners, 0, 1)


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


def from_xyxy(
    boxes: ArrayLike | Sequence[ArrayLike],
    *,
    images: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Boxes given by two corners, with their images beside them, as rows of five.

    Parameters
    ----------
    boxes : array_like of shape (K, 4), or list of N array_like of shape (K_i, 4)
        Rows of ``[x1, y1, x2, y2]``, y down; or such rows for each image.
    images : int or array_like of K int, optional
        Index of the image of all boxes, or of each: ONNX's ``batch_indices``.
    counts : array_like of N int, optional
        Instead: how many of the boxes, in their order, each image has. Paddle's ``boxes_num``.

    Returns
    -------
    ndarray of shape (K, 4) or (K, 5)
        Rows of ``[x1, y1, x2, y2]``; of ``[batch_index, x1, y1, x2, y2]`` where their images are
        given, by a list or otherwise. In the dtype of the boxes (float64 for integers, and where
        a narrower type could not count the images exactly).

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_xyxy([[0, 0, 4, 4], [1, 1, 3, 3], [2, 2, 5, 5]], counts=[1, 0, 2])
    array([[0., 0., 0., 4., 4.],
           [2., 1., 1., 3., 3.],
           [2., 2., 2., 5., 5.]])
    """
    return _convert(lambda *corners: corners, boxes, images, counts)


def from_xywh(
    boxes: ArrayLike | Sequence[ArrayLike],
    *,
    images: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Boxes given by their top left corner and their size as corners.

    Parameters
    ----------
    boxes : array_like of shape (K, 4), or list of N array_like of shape (K_i, 4)
        Rows of ``[x, y, width, height]``; (x, y) is the top left corner, y grows downwards.
    images, counts
        The image of each box, as for `from_xyxy`.

    Returns
    -------
    ndarray of shape (K, 4) or (K, 5)
        Corners, as `from_xyxy` gives them.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_xywh([[10, 20, 30, 40]])
    array([[10., 20., 40., 60.]])
    >>> boxes.from_xywh([[10, 20, 30, 40]], images=2)
    array([[ 2., 10., 20., 40., 60.]])
    """
    return _convert(lambda x, y, w, h: (x, y, x + w, y + h), boxes, images, counts)


def from_cxcywh(
    boxes: ArrayLike | Sequence[ArrayLike],
    *,
    images: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Boxes given by their centre and their size, as YOLO and DETR have them, as corners.

    Parameters
    ----------
    boxes : array_like of shape (K, 4), or list of N array_like of shape (K_i, 4)
        Rows of ``[x, y, width, height]``; (x, y) is the centre, y grows downwards.
    images, counts
        The image of each box, as for `from_xyxy`.

    Returns
    -------
    ndarray of shape (K, 4) or (K, 5)
        Corners, as `from_xyxy` gives them.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    YOLO and DETR give shares of the width and height; here of an image of 480 x 640 pixels:

    >>> from roialign_cy import boxes
    >>> boxes.from_normalised(boxes.from_cxcywh([[0.5, 0.5, 0.25, 0.5]]), (480, 640))
    array([[240., 120., 400., 360.]])
    """
    return _convert(
        lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2), boxes, images, counts
    )


def from_normalised(
    boxes: ArrayLike | Sequence[ArrayLike],
    size: tuple[float, float],
    *,
    images: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Boxes in normalised coordinates, from 0 to 1, as corners in units of ``size``.

    Parameters
    ----------
    boxes : array_like of shape (K, 4), or list of N array_like of shape (K_i, 4)
        Rows of ``[x1, y1, x2, y2]``, y down. TensorFlow's, ``[y1, x1, y2, x2]``, become such by
        ``boxes[:, [1, 0, 3, 2]]``.
    size : (float, float)
        (height, width) of the image; or of the map, if ``spatial_scale`` is to be 1.
    images, counts
        The image of each box, as for `from_xyxy`.

    Returns
    -------
    ndarray of shape (K, 4) or (K, 5)
        Corners, as `from_xyxy` gives them.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> boxes.from_normalised([[0.25, 0.5, 0.75, 1.0]], (480, 640))
    array([[160., 240., 480., 480.]])
    """
    try:
        height, width = (finite_number("size", side) for side in size)
    except (TypeError, ValueError) as error:
        raise type(error)(f"size must be (height, width), two numbers, got {size!r}") from None
    return _convert(
        lambda x1, y1, x2, y2: (x1 * width, y1 * height, x2 * width, y2 * height),
        boxes,
        images,
        counts,
    )


def from_coco(
    annotations: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    images: Iterable[Any] | None = None,
) -> NDArray[np.floating]:
    """Boxes of COCO's annotations or of its detection results as corners.

    Parameters
    ----------
    annotations : mapping, or sequence of mapping
        The contents of a file of annotations, with ``"images"`` and ``"annotations"``; or a list of
        annotations or results, each with a ``"bbox"`` and an ``"image_id"``.
    images : sequence, optional
        The ids of the images, or COCO's entries for them, in the order of the maps. By default
        those that the file lists.

    Returns
    -------
    ndarray of shape (K, 4) or (K, 5)
        A row for each annotation, in their order: ``[batch_index, x1, y1, x2, y2]``, or without
        the index if nothing says which images there are.

    Raises
    ------
    ValueError, TypeError
        If a box is not four numbers, or its image not among ``images``; the text says which.

    Examples
    --------
    >>> from roialign_cy import boxes
    >>> results = [{"image_id": 139, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.9}]
    >>> boxes.from_coco(results)
    array([[10., 20., 40., 60.]])
    >>> boxes.from_coco(results, images=[724, 139])
    array([[ 1., 10., 20., 40., 60.]])
    """
    listed: Any = annotations
    if isinstance(annotations, Mapping):
        try:
            listed = annotations["annotations"]
            images = annotations["images"] if images is None else images
        except KeyError as error:
            raise ValueError(f"annotations must have {error}, as COCO's files do") from None
    if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
        raise TypeError(f"annotations must be a sequence or a mapping, got {annotations!r:.80}")
    entries: list[Any] = list(listed)
    boxes = [_coco_box(entry, f"annotations[{row}]") for row, entry in enumerate(entries)]
    corners = from_xywh(np.array(boxes, np.float64).reshape(-1, 4))
    if images is None:
        return corners
    places = _coco_places(images)
    indices = np.empty(len(entries), np.intp)
    for row, entry in enumerate(entries):
        try:
            indices[row] = places[entry["image_id"]]
        except (KeyError, TypeError):
            raise ValueError(
                f"annotations[{row}] must have an image_id that is among images, "
                f"got {entry.get('image_id')!r}"
            ) from None
    return with_images(corners, indices, len(places))


def _coco_places(images: Iterable[Any]) -> dict[Any, int]:
    """The index of the map of each image id."""
    places: dict[Any, int] = {}
    for index, image in enumerate(images):
        try:
            image_id = image["id"] if isinstance(image, Mapping) else image
            first = places.setdefault(image_id, index)
        except (KeyError, TypeError):
            raise TypeError(f"images[{index}] must be an id or have one, got {image!r}") from None
        if first != index:
            raise ValueError(f"images[{index}] must have an id of its own, got {image_id!r} again")
    return places


def _coco_box(entry: Any, name: str) -> Any:
    box = entry.get("bbox") if isinstance(entry, Mapping) else None
    is_box = (
        isinstance(box, list | tuple | np.ndarray)
        and len(box) == 4
        and all(isinstance(side, Real) and not isinstance(side, bool | np.bool) for side in box)
    )
    if not is_box:
        raise ValueError(f"{name} must have a bbox of four numbers, got {entry!r:.80}")
    return box


def _convert(
    corners: Callable[..., Columns],
    boxes: ArrayLike | Sequence[ArrayLike],
    images: ArrayLike | None,
    counts: ArrayLike | None,
) -> NDArray[np.floating]:
    """The result of a converter: ``corners`` of the columns of boxes, with their images."""
    if images is not None and counts is not None:
        raise ValueError("counts must be left out where images are given")
    if is_list_per_image(boxes):
        if images is not None or counts is not None:
            name = "counts" if images is None else "images"
            raise ValueError(f"{name} must be left out where boxes are a list with one per image")
        rows = join(boxes, "boxes")
        rows[:, 1:] = _corners(corners, rows[:, 1:])
        return rows
    converted = _corners(corners, columns(boxes, "boxes"))
    if images is None and counts is None:
        return converted
    indices = _images(images, len(converted)) if counts is None else _counted(counts, converted)
    return with_images(converted, indices, int(indices.max(initial=0)) + 1)


# A sum beyond the dtype is infinite, which the call that gets the box refuses by its row.
@np.errstate(all="ignore")
def _corners(corners: Callable[..., Columns], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.stack(corners(*boxes.T), axis=1)


def _images(images: ArrayLike | None, count: int) -> NDArray[np.integer]:
    indices = _whole_numbers(images, "images")
    if indices.shape not in ((), (count,)):
        raise ValueError(
            f"images must be an index, or one for each of {count} boxes, got shape {indices.shape}"
        )
    return indices


def _counted(counts: ArrayLike, boxes: NDArray[np.floating]) -> NDArray[np.integer]:
    numbers = _whole_numbers(counts, "counts")
    if numbers.ndim != 1 or sum(numbers.tolist()) != len(boxes):  # which does not wrap
        raise ValueError(
            f"counts must be a number of boxes for each image, {len(boxes)} in all, got {counts!r}"
        )
    return np.repeat(np.arange(len(numbers)), numbers)


def _whole_numbers(values: ArrayLike | None, name: str) -> NDArray[np.integer]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be integers: {error}") from None
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.size and array.min() < 0:
        raise ValueError(f"{name} must not be negative, got {array.min()}")
    if array.size and array.max() > np.iinfo(np.intp).max:
        raise ValueError(f"{name} must be numbers that an index can be, got {array.max()}")
    return array.astype(np.intp)
