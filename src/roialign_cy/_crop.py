"""Crops of images by normalised boxes: TensorFlow's crop_and_resize."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from . import _arrays, _conversion
from ._api import FloatT, differentiate, require_runnable, sections_of
from ._choices import require_choice
from ._core import taps
from ._core.runtime import in_standard_mode
from ._elements import pooled_dtype
from ._rois import check_indices, columns
from ._spec import CallSpec, make_output_size, make_shape, make_spec, make_wrt
from .backends._registry import require_kind, resolve
from .conventions import Convention
from .typing import CropMethod, CropOptions, CropWrt, Layout, Shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

METHODS: MappingProxyType[CropMethod, Convention] = MappingProxyType(
    {
        "bilinear": Convention(pixel_offset=0.0, sampling="corners"),
        "nearest": Convention(pixel_offset=0.0, sampling="nearest"),
    }
)
WRT: MappingProxyType[CropWrt, str] = MappingProxyType(
    {"images": "feature_gradient", "boxes": "box_gradient"}
)


@overload
def crop_and_resize(
    images: NDArray[FloatT],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    crop_size: int | tuple[int, int],
    *,
    extrapolation_value: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[CropOptions],
) -> NDArray[FloatT]: ...
@overload
def crop_and_resize(
    images: NDArray[np.integer | np.bool],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    crop_size: int | tuple[int, int],
    *,
    extrapolation_value: float = ...,
    out: NDArray[np.float32] | None = ...,
    **options: Unpack[CropOptions],
) -> NDArray[np.float32]: ...
@overload
def crop_and_resize(
    images: NDArray[Any],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    crop_size: int | tuple[int, int],
    *,
    extrapolation_value: float = ...,
    out: NDArray[Any] | None = ...,
    **options: Unpack[CropOptions],
) -> NDArray[Any]: ...
def crop_and_resize(
    images: Any,
    boxes: Any,
    box_indices: Any,
    crop_size: int | tuple[int, int],
    *,
    method: CropMethod = "bilinear",
    extrapolation_value: float = 0.0,
    layout: Layout = "NHWC",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Cut boxes out of images, and resize each to the same size, as TensorFlow does.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), or (N, C, H, W) with ``layout="NCHW"``
        NumPy arrays of any type that `roi_align` takes, integers of at most 16 bits among them:
        photographs are read as they are.
    boxes : array_like of shape (K, 4)
        Boxes ``[y1, x1, y2, x2]``, normalised: 0 is the centre of an image's first row or column,
        1 that of its last. They may reach beyond, and be flipped (y2 < y1), which flips the crop.
    box_indices : array_like of shape (K,), of integers
        The image of each box.
    crop_size : int or (int, int)
        Rows and columns of every crop.
    method : {"bilinear", "nearest"}, default "bilinear"
        Whether a pixel of a crop is interpolated or that of the nearest cell, halves up.
    extrapolation_value : float, default 0.0
        What pixels beyond the centres of an image's outermost cells are; NaN and infinities may be.
    layout : {"NHWC", "NCHW"}, default "NHWC"
        Axes of ``images`` and of the result.
    backend, num_threads, out
        As for `roi_align`.

    Returns
    -------
    ndarray of shape (K, rows, cols, C), or (K, C, rows, cols) with ``layout="NCHW"``
        The crops, in the dtype of ``images`` (float32 for integers and bool); ``out`` if that is
        given.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`: for boxes that are not finite and indices of no image, among others.

    See Also
    --------
    crop_and_resize_backward : The gradients.

    Notes
    -----
    Row ``i`` of ``n`` is read at ``y1 * (H - 1) + i * (y2 - y1) * (H - 1) / (n - 1)``, the last
    one at ``y2 * (H - 1)`` exactly, and a single one in the middle of its box. Positions are
    computed in float64. In TensorFlow's float32, the last row of a box that ends at 1 can be taken
    past the border by a rounding, and be extrapolated. What is beyond the border is so entirely:
    there is no interpolation with ``extrapolation_value``.

    Every pixel of a crop is one point, so that crops much smaller than their boxes leave pixels of
    the image out. `roi_align` averages over more points.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> image = np.array([[1, 2], [3, 4]], np.uint8).reshape(1, 2, 2, 1)
    >>> ra.crop_and_resize(image, [[0, 0, 1, 1], [1, 1, 0, 0]], [0, 0], 3)[..., 0]
    array([[[1. , 1.5, 2. ],
            [2. , 2.5, 3. ],
            [3. , 3.5, 4. ]],
    <BLANKLINE>
           [[4. , 3.5, 3. ],
            [3. , 2.5, 2. ],
            [2. , 1.5, 1. ]]], dtype=float32)
    """
    spec = _make_spec(make_output_size(crop_size, "crop_size"), method, layout, num_threads)
    value = _extrapolation(extrapolation_value)
    chosen = resolve(backend, images, "images")
    require_runnable(chosen, spec, "roi_align")
    images = _numpy(images, "images", layout)
    if out is not None:
        require_kind(out, "out", images, chosen)
        _arrays.check_memory(out, images=images, boxes=boxes, box_indices=box_indices)
    maps = _arrays.as_nchw(images, spec)
    rois, _ = _rois_of(boxes, box_indices, maps.shape)
    shape = spec.output_shape(len(rois), maps.shape[1])
    dtype = pooled_dtype(maps.dtype, out)
    if out is None:
        out = _arrays.new_array(shape, dtype, spec, size_name="crop_size")
    else:
        _arrays.check_out(_arrays.as_nchw(out, spec), shape, dtype, spec)
    target = _arrays.as_nchw(out, spec)
    _conversion.roi_align(chosen, (maps,), rois, None, spec, target)
    if value != 0:
        _extrapolate(target, rois, maps.shape, spec, value)
    return out


@overload
def crop_and_resize_backward(
    grad_output: NDArray[FloatT],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    image_shape: Shape,
    *,
    images: NDArray[Any] | None = ...,
    wrt: Literal["images"] = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[CropOptions],
) -> NDArray[FloatT]: ...
@overload
def crop_and_resize_backward(
    grad_output: NDArray[np.floating],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    image_shape: Shape,
    *,
    images: NDArray[Any] | None = ...,
    wrt: Literal["boxes"],
    out: NDArray[np.floating] | None = ...,
    **options: Unpack[CropOptions],
) -> NDArray[np.floating]: ...
@overload
def crop_and_resize_backward(
    grad_output: NDArray[np.floating],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    image_shape: Shape,
    *,
    images: NDArray[Any] | None = ...,
    wrt: tuple[CropWrt, CropWrt],
    out: None = ...,
    **options: Unpack[CropOptions],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]: ...
@overload
def crop_and_resize_backward(
    grad_output: NDArray[np.floating],
    boxes: ArrayLike,
    box_indices: ArrayLike,
    image_shape: Shape,
    *,
    images: NDArray[Any] | None = ...,
    wrt: CropWrt | tuple[CropWrt, ...] = ...,
    out: NDArray[np.floating] | None = ...,
    **options: Unpack[CropOptions],
) -> Any: ...
def crop_and_resize_backward(
    grad_output: Any,
    boxes: Any,
    box_indices: Any,
    image_shape: Shape,
    *,
    images: Any | None = None,
    wrt: CropWrt | tuple[CropWrt, ...] = "images",
    method: CropMethod = "bilinear",
    layout: Layout = "NHWC",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Gradient of a scalar with respect to images and boxes, from that of their crops.

    Parameters
    ----------
    grad_output : ndarray of shape (K, rows, cols, C), or (K, C, rows, cols) with ``layout="NCHW"``
        The gradient with respect to the output of `crop_and_resize`, of NumPy's floats.
    boxes, box_indices
        As for `crop_and_resize`.
    image_shape : (int, int, int, int)
        Shape of the images, in the given layout.
    images : ndarray of shape ``image_shape``, optional
        The images, in the dtype of ``grad_output`` or of integers or bool. Needed for the gradient
        with respect to the boxes.
    wrt : {"images", "boxes"} or tuple of them, default "images"
        Which gradients to give.
    method, layout, backend, num_threads
        As for `crop_and_resize`.
    out : ndarray, optional
        Array of the result's shape and dtype to write to, where one gradient is asked for.

    Returns
    -------
    ndarray, or tuple of ndarray in the order of a tuple ``wrt``
        With respect to the images: of shape ``image_shape``, in the dtype of ``grad_output``. With
        respect to the boxes, ``[y1, x1, y2, x2]``: of shape (K, 4), per normalised unit, in the
        dtype of ``boxes`` (float64 for integers).

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `crop_and_resize`; also where ``images`` are needed and missing.

    Notes
    -----
    Derivatives with respect to a point's position are those to its right where it lies on a cell,
    as everywhere in this library; TensorFlow gives 0 there. They are 0 on the last row and column,
    and beyond the border. The method "nearest" has none: it rounds.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> image = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    >>> ra.crop_and_resize_backward(
    ...     np.ones((1, 1, 1, 1)), [[0, 0, 1, 1]], [0], image.shape, images=image, wrt="boxes"
    ... )
    array([[1. , 0.5, 1. , 0.5]])
    """
    operations = make_wrt(wrt, WRT)
    chosen = resolve(backend, grad_output, "grad_output")
    grad_output = _numpy(grad_output, "grad_output", layout)
    spec = _make_spec(sections_of(grad_output, layout), method, layout, num_threads)
    shape = make_shape(image_shape, grad_output.dtype.itemsize, "image_shape")
    for operation in operations:
        require_runnable(chosen, spec, operation)
    if "box_gradient" in operations:
        if method == "nearest":
            raise ValueError("wrt must be 'images' with method 'nearest': it has no other gradient")
        if images is None:
            raise ValueError("images must be given for wrt 'boxes', got None")
    if out is not None:
        if len(operations) > 1:
            raise ValueError(f"out must be None where wrt names several gradients, got {wrt!r}")
        require_kind(out, "out", grad_output, chosen)
        _arrays.check_memory(
            out, grad_output=grad_output, images=images, boxes=boxes, box_indices=box_indices
        )
    grads = _arrays.as_nchw(grad_output, spec)
    maps = None
    if images is not None:
        maps = (_arrays.as_nchw(_numpy(images, "images", layout), spec),)
    shapes = (_arrays.nchw_shape(shape, spec),)
    rois, dtype = _rois_of(boxes, box_indices, shapes[0])
    is_for_boxes = operations == ("box_gradient",)
    target = None if is_for_boxes else _arrays.as_nchw(out, spec)
    names = "boxes", "images", "image_shape"
    _arrays.check_gradient(operations[0], grads, rois, shapes, spec, maps, target, names=names)
    if is_for_boxes and out is not None:
        _arrays.check_out(out, (len(rois), 4), dtype, spec)
    results = []
    for operation in operations:
        result = differentiate(chosen, operation, grads, rois, shapes, spec, maps, target)
        if operation == "box_gradient":
            result = _by_boxes(result, shapes[0], dtype, out)
        results.append(result)
    if out is not None:
        results = [out]
    return results[0] if isinstance(wrt, str) else tuple(results)


def _make_spec(
    crop_size: tuple[int, int], method: CropMethod, layout: Layout, num_threads: int | None
) -> CallSpec:
    require_choice("method", method, METHODS)
    return make_spec(crop_size, METHODS[method], 1.0, None, None, layout, num_threads)


def _extrapolation(value: float) -> float:
    """Any float, but nothing that only converts to one."""
    try:
        math.isnan(value)
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"extrapolation_value must be a float, got {value!r}") from None


def _numpy(array: Any, name: str, layout: Layout) -> Any:
    """Check images or gradients."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    array = _arrays.as_ndarray(array, name)
    _arrays.check_features(array, layout, name)
    return array


def _spans(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What one normalised unit of each side of a box is in cells of images NCHW."""
    height, width = (max(size - 1, 0) for size in shape[2:])
    return np.array([height, width, height, width], np.float64)


@in_standard_mode
def _rois_of(
    boxes: Any, box_indices: Any, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], np.dtype[Any]]:
    """The boxes as rows ``[image, x1, y1, x2, y2]``, in cells, and the dtype they were in."""
    corners = columns(boxes, "boxes")
    rois = np.empty((len(corners), 5))
    rois[:, 0] = check_indices(box_indices, "box_indices", len(corners), shape[0], "an image")
    rois[:, [2, 1, 4, 3]] = corners * _spans(shape)
    is_finite = np.isfinite(rois[:, 3:] - rois[:, 1:3]).all(axis=1)
    if not is_finite.all():
        k = int(is_finite.argmin())
        raise ValueError(
            f"boxes[{k}] must be finite, and so must its size in cells, got {corners[k]}"
        )
    return rois, corners.dtype


@in_standard_mode
def _by_boxes(
    by_rois: NDArray[np.float64], shape: tuple[int, ...], dtype: np.dtype[Any], out: Any | None
) -> Any:
    """A gradient with respect to ``[x1, y1, x2, y2]`` in cells as one to the boxes as given."""
    if out is None:
        out = np.empty(by_rois.shape, dtype)
    out[...] = by_rois[:, [1, 0, 3, 2]] * _spans(shape)
    return out


@in_standard_mode
def _extrapolate(
    crops: NDArray[Any],
    rois: NDArray[np.float64],
    shape: tuple[int, ...],
    spec: CallSpec,
    value: float,
) -> None:
    """Write ``value`` where crops NCHW were read from nowhere."""
    read = np.empty((len(rois), 4), np.intp)
    taps.bins_read(rois, shape[2], shape[3], spec, read)
    rows, cols = spec.output_size
    beyond = np.flatnonzero((read != (0, rows, 0, cols)).any(axis=1)).tolist()
    # Most are beyond one side or two, and the others have nothing to be written.
    for k, (top, bottom, left, right) in zip(beyond, read[beyond].tolist(), strict=True):
        crop = crops[k]
        if top > 0:
            crop[:, :top] = value
        if bottom < rows:
            crop[:, bottom:] = value
        if left > 0:
            crop[:, :, :left] = value
        if right < cols:
            crop[:, :, right:] = value
