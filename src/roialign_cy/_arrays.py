"""Axes and checks of the arrays of a call: written once, for every kind of array."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import memory, taps
from ._elements import INTEGERS, is_read
from ._rois import is_list_per_image, normalise_rois, require_bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from ._spec import CallSpec


def as_nchw(array: Any, spec: CallSpec) -> Any:
    """View maps that the caller gave with their axes in the order NCHW.

    Parameters
    ----------
    array : array or None
        With four axes, in the order of the call's ``layout``. What has another number of axes,
        or none, is given back as it is.
    spec : CallSpec

    Returns
    -------
    array or None
    """
    if spec.channels_last and getattr(array, "ndim", 0) == 4:
        return array.transpose(0, 3, 1, 2)
    return array


def as_given(array: Any, spec: CallSpec) -> Any:
    """View maps NCHW with their axes in the order of the call's ``layout``: undo `as_nchw`.

    Parameters
    ----------
    array : array or None
        What has another number of axes than four is given back as it is.
    spec : CallSpec

    Returns
    -------
    array or None
    """
    if spec.channels_last and getattr(array, "ndim", 0) == 4:
        return array.transpose(0, 2, 3, 1)
    return array


def nchw_shape(shape: tuple[int, ...], spec: CallSpec) -> tuple[int, int, int, int]:
    """(N, C, H, W) of a shape in the order of the call's ``layout``."""
    if spec.channels_last:
        n, h, w, c = shape
    else:
        n, c, h, w = shape
    return n, c, h, w


def given_shape(shape: tuple[int, ...], spec: CallSpec) -> tuple[int, ...]:
    """The shape of `as_given` of an array of that shape."""
    if spec.channels_last and len(shape) == 4:
        n, c, h, w = shape
        return n, h, w, c
    return shape


def new_array(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    spec: CallSpec,
    make: Callable[[tuple[int, ...], np.dtype[Any]], Any] = memory.empty,
    size_name: str = "output_size",
) -> Any:
    """Allocate `as_given` of `new_maps`."""
    given = given_shape(shape, spec) if spec.channels_last else shape
    try:
        return make(given, _native(dtype))
    except ValueError:
        raise ValueError(
            f"{size_name} must give an array that can exist, got shape {given}"
        ) from None


def new_maps(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    spec: CallSpec,
    make: Callable[[tuple[int, ...], np.dtype[Any]], Any] = memory.empty,
) -> Any:
    """Allocate a result NCHW, in the memory order of the call's ``layout``.

    Parameters
    ----------
    shape : (int, int, int, int)
        In the order NCHW.
    dtype : numpy.dtype
        Its byte order does not count: the result's is native.
    spec : CallSpec
    make : callable, optional
        What allocates, given a shape and a dtype: `cupy.empty`, say. By default NumPy does, large
        arrays in retained memory.

    Returns
    -------
    array
    """
    return as_nchw(new_array(shape, dtype, spec, make), spec)


def check_features(
    features: Any, layout: str, name: str = "features", is_numpy: bool | None = None
) -> None:
    """Raise unless ``features`` is a 4-D array of a type that is read.

    Of other libraries' arrays, float16, float32 and float64 alone, unless NumPy computes on them
    in the end (``is_numpy``); of gradients, bfloat16 too.
    """
    dtype = features.dtype
    if dtype.char in "efd" and features.ndim == 4:
        return
    if is_numpy is None:
        is_numpy = isinstance(features, np.ndarray)
    if not (dtype.char in "efd" or (is_numpy and is_read(dtype, name))):
        known = "float16, float32 or float64"
        if is_numpy:
            known = "float16, bfloat16, float32 or float64"
            if name != "grad_output":
                known = f"{known}, or integers of at most 16 bits, or bool"
        hint = ": convert them with .astype(np.float32)" if dtype.kind in "iub" else ""
        raise TypeError(f"{name} must be {known}, got {dtype}{hint}")
    if features.ndim != 4:
        raise ValueError(f"{name} must have four axes ({layout}), got shape {features.shape}")


def as_ndarray(array: Any, name: str) -> Any:
    """A NumPy array as one of NumPy's own class: a matrix would index its own way.

    Arrays of other kinds are given back as they are.
    """
    if type(array) is np.ndarray or not isinstance(array, np.ndarray):
        return array
    require_bare(type(array), name)
    return np.asarray(array)


def check_rois(rois: Any, num_images: int, spec: CallSpec) -> NDArray[np.floating]:
    """Check boxes on the host: every one can be pooled.

    Parameters
    ----------
    rois, num_images
        As for `normalise_rois`.
    spec : CallSpec

    Returns
    -------
    ndarray of shape (K, 5), or (K, 6) if ``spec.sampling`` is "rotated"

    Raises
    ------
    ValueError, TypeError
        With the texts of `roi_align`.
    """
    boxes = normalise_rois(rois, num_images, parameters=spec.parameters)
    if taps.find_fault(boxes, num_images, spec) is not None:  # to be said in words
        require_poolable(boxes, num_images, spec, "rois", is_list_per_image(rois))
    return boxes


def require_poolable(
    boxes: NDArray[np.floating],
    num_images: int,
    spec: CallSpec,
    name: str,
    is_per_image: bool,
    levels: NDArray[np.integer] | None = None,
) -> None:
    """Raise for the first of the (K, 5) ``boxes`` that cannot be pooled."""
    fault = find_fault(boxes, num_images, spec, name, is_per_image, levels)
    if fault is not None:
        raise ValueError(fault[1])


def find_fault(
    boxes: NDArray[np.floating],
    num_images: int,
    spec: CallSpec,
    name: str = "rois",
    is_per_image: bool = False,
    levels: NDArray[np.integer] | None = None,
) -> tuple[int, str] | None:
    """The first of the (K, 5) ``boxes`` that cannot be pooled, and why; None if all can.

    The text calls it by its place in ``name``, which has an entry per image or a row per box.
    ``levels`` are the maps that they are for, where there are several.
    """
    if levels is None:
        found = taps.find_fault(boxes, num_images, spec)
    else:
        found = _find_fault_of_levels(boxes, num_images, spec, levels)
    if found is None:
        return None
    row, fault = found
    place, box = f"{name}[{row}]", boxes[row]
    if is_per_image:
        image = int(box[0])
        place = f"{name}[{image}][{row - np.searchsorted(boxes[:, 0], image)}]"
        box = box[1:]
    return row, _FAULTS[fault].format(name=name, row=row, place=place, box=box, images=num_images)


def _find_fault_of_levels(
    boxes: NDArray[np.floating], num_images: int, spec: CallSpec, levels: NDArray[np.integer]
) -> tuple[int, str] | None:
    """`taps.find_fault` for boxes each of which has the scale of its own map."""
    faults = []
    for level in range(len(spec.spatial_scales)):
        rows = np.flatnonzero(levels == level)
        found = taps.find_fault(boxes[rows], num_images, spec.at_level(level))
        if found is not None:
            faults.append((int(rows[found[0]]), found[1]))
    return min(faults, default=None)


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
    "negative size": "{place} must have a width and a height of at least 0, got {box}",
    "angle too large": "{place} must have an angle of at most 2**20 radians, got {box}",
}


def check_gradient(
    operation: str,
    grad_output: Any,
    rois: Any,
    shapes: tuple[tuple[int, int, int, int], ...],
    spec: CallSpec,
    features: tuple[Any, ...] | None,
    out: Any,
    place: str = "",
    names: tuple[str, str, str] = ("rois", "features", "input_shape"),
) -> None:
    """Raise unless shapes and dtypes of the arrays of a gradient fit each other.

    Parameters
    ----------
    operation : {"feature_gradient", "box_gradient"}
    grad_output, rois, shapes, spec, features
        As a backend's method gets them; the values of the (K, 5) boxes are not looked at.
    out : array or None
        What that operation is to write.
    place : str, default ""
        Where the caller has this map among several: ``"[1]"``.
    names : (str, str, str)
        What the caller calls boxes, maps and their shape.
    """
    (shape,), dtype = shapes, grad_output.dtype
    expected = spec.output_shape(len(rois), shape[1])
    of_boxes, of_maps, of_shape = names
    shape_name = f"{of_shape}s{place}" if place else of_shape
    if grad_output.shape != expected:
        raise ValueError(
            f"grad_output must have the shape {given_shape(expected, spec)} for these "
            f"{of_boxes} and {shape_name}, got {given_shape(grad_output.shape, spec)}"
        )
    if features is not None:
        (maps,), name = features, f"{of_maps}{place}"
        check_features(maps, "NHWC" if spec.channels_last else "NCHW", name)
        if maps.shape != shape:
            raise ValueError(
                f"{name} must have the shape {shape_name} = {given_shape(shape, spec)}, "
                f"got {given_shape(maps.shape, spec)}"
            )
        if maps.dtype.char not in INTEGERS:
            require_dtype(maps, name, dtype, "grad_output")
    if out is None:
        return
    if operation == "box_gradient":
        check_out(out, (len(rois), spec.parameters), rois.dtype, spec)
    else:
        check_out(out, shape, dtype, spec, f"out{place}")


def require_dtype(maps: Any, name: str, dtype: np.dtype[Any], of: str) -> None:
    """Raise unless maps have the dtype that another array has, in any byte order."""
    if maps.dtype != dtype and _native(maps.dtype) != _native(dtype):
        raise TypeError(f"{name} must have the dtype of {of}, {_native(dtype)}, got {maps.dtype}")


def check_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], spec: CallSpec, name: str = "out"
) -> None:
    """Raise unless ``out`` has the shape and dtype of the result.

    Parameters
    ----------
    out : array
        Maps NCHW, or (K, 4).
    shape : tuple of int
    dtype : numpy.dtype
        Of which ``out`` has to have the native byte order.
    spec : CallSpec
        The layout in which the error's text has the shapes.
    name : str, default "out"
    """
    require_bare(type(out), name)
    if out.shape != shape:
        expected, got = given_shape(shape, spec), given_shape(out.shape, spec)
        raise ValueError(f"{name} must have the shape {expected}, got {got}")
    if out.dtype != _native(dtype):
        raise ValueError(f"{name} must have the dtype {_native(dtype)}, got {out.dtype}")


def check_memory(out: Any, /, name: str = "out", **others: Any) -> None:
    """Raise if ``out`` cannot be written, or overlaps one of the other arrays.

    Of arrays that are neither NumPy's nor have CUDA's array interface, nothing is known, and
    nothing refused.
    """
    if not isinstance(out, np.ndarray) and _is_clearly_apart(out, others.values()):
        return
    target = _memory(out)
    if target is None:
        return
    flags = target.flags
    if not flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if not flags.c_contiguous and _may_overlap_itself(target):
        raise ValueError(f"{name} must not overlap itself, got the strides {target.strides}")
    for other, array in others.items():
        if memory.are_apart(target, array):
            continue
        its_memory = _memory(array)
        if its_memory is not None and _share_memory(target, its_memory):
            raise ValueError(f"{name} must not overlap {other}, which it shares memory with")


def _is_clearly_apart(out: Any, others: Iterable[Any]) -> bool:
    """Whether the ends of CUDA's arrays tell: to make NumPy arrays of them costs twice that."""
    facts = getattr(out, "__cuda_array_interface__", None)
    if facts is None or facts["data"][1] or facts.get("strides") is not None:
        return False
    begin, end = _ends(facts)
    for other in others:
        its_facts = getattr(other, "__cuda_array_interface__", None)
        if its_facts is None:
            if isinstance(other, np.ndarray):  # of memory that both may reach
                return False
            continue
        its_begin, its_end = _ends(its_facts)
        if its_begin < end and begin < its_end:
            return False
    return True


def _ends(facts: dict[str, Any]) -> tuple[int, int]:
    """Address of the first byte of an array interface, and of the one after the last."""
    shape, strides, itemsize = facts["shape"], facts.get("strides"), int(facts["typestr"][2:])
    begin = end = facts["data"][0] or 0
    if 0 in shape:
        return begin, end
    if strides is None:
        return begin, end + itemsize * math.prod(shape)
    for n, step in zip(shape, strides, strict=True):
        if step < 0:
            begin += (n - 1) * step
        else:
            end += (n - 1) * step
    return begin, end + itemsize


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # To ask first costs less than a change that changes nothing.
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def _memory(array: Any) -> NDArray[Any] | None:
    """A NumPy array of the same addresses; None if they are unknown."""
    if isinstance(array, np.ndarray):
        return array
    facts = getattr(array, "__cuda_array_interface__", None)
    if facts is None:
        return None
    address, is_read_only = facts["data"]
    facts = facts | {"version": 3, "data": (address or 1, is_read_only)}  # NumPy takes no null
    return np.asarray(SimpleNamespace(__array_interface__=facts))  # never to be read


def _may_overlap_itself(array: NDArray[Any]) -> bool:
    """Whether steps along one axis are shorter than what the axes of shorter steps reach.

    So it is never in what is sliced and transposed of an array that does not; of others it may be
    so that no two elements meet, which would take longer to find out.
    """
    if array.size == 0:
        return False
    reach = array.itemsize
    for step, n in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if n > 1 and step < reach:
            return True
        reach += (n - 1) * step
    return False


def _share_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # strides too odd to tell: better refused than wrong
        return True
