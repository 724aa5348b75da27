"""RoI Align of several maps, from fine to coarse, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from . import _arrays, _conversion
from ._api import require_operands, require_runnable, sections_of
from ._elements import pooled_dtype
from ._levels import LevelRule, check_levels, make_rule, require_pyramid
from ._rois import is_list_per_image, normalise_rois
from ._spec import (
    CallSpec,
    make_scales,
    make_shape,
    make_spec,
    make_wrt,
    require_gradient,
    with_scales,
)
from .backends._registry import full_name, resolve
from .typing import Boxes, ConventionName, Layout, LevelOptions, LevelRuleName, Mode, Shape, Wrt

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._api import FloatT
    from .conventions import Convention


@overload
def multiscale_roi_align(
    features: Sequence[NDArray[FloatT]],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[LevelOptions],
) -> NDArray[FloatT]: ...
@overload
def multiscale_roi_align(
    features: Sequence[NDArray[np.integer | np.bool]],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    out: NDArray[np.float32] | None = ...,
    **options: Unpack[LevelOptions],
) -> NDArray[np.float32]: ...
def multiscale_roi_align(
    features: Sequence[NDArray[Any]],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    levels: ArrayLike | None = None,
    level_rule: LevelRuleName = "torchvision",
    canonical_size: float = 224,
    canonical_level: float = 4,
    convention: ConventionName | Convention = "document",
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Pool every box from the map of a pyramid that suits its size.

    Parameters
    ----------
    features : sequence of ndarray of shape (N, C, H_l, W_l), or (N, H_l, W_l, C)
        The maps, from fine to coarse: NumPy arrays as for `roi_align`, of one dtype, with the
        same images and channels.
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        Boxes in input units, as for `roi_align`.
    output_size : int or (int, int)
        Sections per box along (rows, columns).
    spatial_scales : sequence of float
        Cells per input unit of each map.
    levels : array_like of shape (K,), of integers, optional
        Index of the map that each box is pooled from. By default what `assign_levels` gives,
        for which the scales must be powers of two, each half the one before.
    level_rule, canonical_size, canonical_level
        As for `assign_levels`, where ``levels`` are not given.
    convention, sampling_ratio, mode, layout, backend, num_threads, out
        As for `roi_align`.

    Returns
    -------
    ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The pooled values in the order of the boxes, with the bits of `roi_align` of each box on
        its map; ``out`` if that is given.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`. A backend may be able to take one map a call only.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> fine, coarse = np.full((1, 1, 64, 64), 2.0), np.full((1, 1, 32, 32), 3.0)
    >>> rois = [[0, 0, 0, 200, 200], [0, 0, 0, 50, 50]]
    >>> ra.multiscale_roi_align([fine, coarse], rois, 1, spatial_scales=[1 / 4, 1 / 8]).ravel()
    array([3., 2.])
    """
    scales = make_scales(spatial_scales)
    rule = checked_rule(levels, level_rule, canonical_size, canonical_level, scales)
    spec = make_spec(output_size, convention, 1.0, sampling_ratio, mode, layout, num_threads)
    spec = with_scales(spec, scales)
    given = by_name(features, "features", scales)
    chosen = resolve(backend, given["features[0]"], "features[0]")
    require_runnable(chosen, spec, "roi_align")
    maps = _maps(given, spec)
    if out is not None:
        _require_numpy(out, "out")
        _arrays.check_memory(out, rois=rois, levels=levels, **given)
    require_alike([array.shape[:2] for array in maps], "features")
    for name, array in zip(given, maps, strict=True):
        _arrays.require_dtype(array, name, maps[0].dtype, "features[0]")
    boxes, places = _place(rois, len(maps[0]), spec, levels, rule)
    shape = spec.output_shape(len(boxes), maps[0].shape[1])
    dtype = pooled_dtype(maps[0].dtype, out)
    if out is None:
        out = _arrays.new_array(shape, dtype, spec)
    else:
        _arrays.check_out(_arrays.as_nchw(out, spec), shape, dtype, spec)
    _conversion.roi_align(chosen, maps, boxes, places, spec, _arrays.as_nchw(out, spec))
    return out


@overload
def multiscale_roi_align_backward(
    grad_output: NDArray[FloatT],
    rois: Boxes,
    input_shapes: Sequence[Shape],
    *,
    features: Sequence[NDArray[Any]] | None = ...,
    wrt: Literal["features"] = ...,
    spatial_scales: Sequence[float],
    out: Sequence[NDArray[FloatT]] | None = ...,
    **options: Unpack[LevelOptions],
) -> list[NDArray[FloatT]]: ...
@overload
def multiscale_roi_align_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shapes: Sequence[Shape],
    *,
    features: Sequence[NDArray[Any]] | None = ...,
    wrt: Literal["rois"],
    spatial_scales: Sequence[float],
    out: NDArray[np.floating] | None = ...,
    **options: Unpack[LevelOptions],
) -> NDArray[np.floating]: ...
@overload
def multiscale_roi_align_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shapes: Sequence[Shape],
    *,
    features: Sequence[NDArray[Any]] | None = ...,
    wrt: tuple[Literal["features"], Literal["rois"]],
    spatial_scales: Sequence[float],
    out: None = ...,
    **options: Unpack[LevelOptions],
) -> tuple[list[NDArray[np.floating]], NDArray[np.floating]]: ...
@overload
def multiscale_roi_align_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shapes: Sequence[Shape],
    *,
    features: Sequence[NDArray[Any]] | None = ...,
    wrt: tuple[Literal["rois"], Literal["features"]],
    spatial_scales: Sequence[float],
    out: None = ...,
    **options: Unpack[LevelOptions],
) -> tuple[NDArray[np.floating], list[NDArray[np.floating]]]: ...
def multiscale_roi_align_backward(
    grad_output: NDArray[Any],
    rois: Boxes,
    input_shapes: Sequence[Shape],
    *,
    features: Sequence[NDArray[Any]] | None = None,
    wrt: Wrt | tuple[Wrt, ...] = "features",
    spatial_scales: Sequence[float],
    levels: ArrayLike | None = None,
    level_rule: LevelRuleName = "torchvision",
    canonical_size: float = 224,
    canonical_level: float = 4,
    convention: ConventionName | Convention = "document",
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Gradient of a scalar with respect to several maps and boxes, from that of the output.

    Parameters
    ----------
    grad_output : ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The gradient with respect to the output of `multiscale_roi_align`.
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        The boxes.
    input_shapes : sequence of (int, int, int, int)
        Shapes of the maps, in the given layout.
    features : sequence of ndarray, optional
        The maps, in the dtype of ``grad_output``. Needed for the maximum, and for the gradient
        with respect to the boxes.
    wrt : {"features", "rois"} or tuple of them, default "features"
        Which gradients to give.
    spatial_scales, levels, level_rule, canonical_size, canonical_level
        As for `multiscale_roi_align`.
    convention, sampling_ratio, mode, layout, backend, num_threads
        As for `roi_align_backward`.
    out : ndarray, or sequence of ndarray for ``wrt="features"``, optional
        What to write to, where one gradient is asked for.

    Returns
    -------
    list of ndarray, ndarray of shape (K, 4), or tuple of these in the order of a tuple ``wrt``
        The gradients with respect to the features, one for each map, and with respect to the
        boxes. The level of a box counts as a constant.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `multiscale_roi_align`; also where ``features`` is needed and missing.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> fine, coarse = ra.multiscale_roi_align_backward(
    ...     np.ones((1, 1, 2, 2)),
    ...     [[0, 0, 0, 200, 200]],
    ...     [(1, 1, 64, 64), (1, 1, 32, 32)],
    ...     spatial_scales=[1 / 4, 1 / 8],
    ...     convention="detectron2",
    ... )
    >>> fine.sum(), coarse.sum()
    (np.float64(0.0), np.float64(4.0))
    """
    operations = make_wrt(wrt)
    scales = make_scales(spatial_scales)
    rule = checked_rule(levels, level_rule, canonical_size, canonical_level, scales)
    chosen = resolve(backend, grad_output, "grad_output")
    _require_numpy(grad_output, "grad_output")
    grad_output = _arrays.as_ndarray(grad_output, "grad_output")
    _arrays.check_features(grad_output, layout, "grad_output")
    sections = sections_of(grad_output, layout)
    spec = make_spec(sections, convention, 1.0, sampling_ratio, mode, layout, num_threads)
    spec = with_scales(spec, scales)
    require_gradient(spec, operations)
    require_operands(spec, operations, wrt, features, out)
    for operation in operations:
        require_runnable(chosen, spec, operation)
    grads = _arrays.as_nchw(grad_output, spec)
    given = {} if features is None else by_name(features, "features", scales)
    maps = None if features is None else _maps(given, spec)
    shapes = _shapes(input_shapes, grads.dtype.itemsize, spec)
    boxes, places = _place(rois, shapes[0][0], spec, levels, rule)
    given |= {"grad_output": grad_output, "rois": rois, "levels": levels}
    of_maps = operations[0] == "feature_gradient"
    targets = _targets(out, of_maps, given, spec)
    for level, shape in enumerate(shapes):
        its_map = None if maps is None else maps[level : level + 1]
        its_target = None if targets is None else targets[level if of_maps else 0]
        _arrays.check_gradient(
            operations[0], grads, boxes, (shape,), spec, its_map, its_target, f"[{level}]"
        )
    results: list[Any] = []
    for operation in operations:
        if operation == "feature_gradient":
            by_maps = _conversion.feature_gradient(
                chosen, grads, boxes, places, shapes, spec, maps, targets
            )
            results.append([_arrays.as_given(by_map, spec) for by_map in by_maps])
        else:
            assert maps is not None  # else it was refused
            target = None if targets is None else targets[0]
            results.append(
                _conversion.box_gradient(chosen, grads, boxes, places, maps, spec, target)
            )
    if out is not None:
        return out
    return results[0] if isinstance(wrt, str) else tuple(results)


def checked_rule(
    levels: Any | None, name: LevelRuleName, size: float, level: float, scales: tuple[float, ...]
) -> LevelRule:
    """Check the rule of a call, which the caller's own levels replace."""
    rule = make_rule(name, size, level)
    if levels is None:
        require_pyramid(scales)
    return rule


def by_name(arrays: Any, name: str, scales: tuple[float, ...]) -> dict[str, Any]:
    """The arrays of a sequence, one for each map, by the names that error texts have for them."""
    if not isinstance(arrays, list | tuple):
        raise TypeError(
            f"{name} must be a list with an array for each map, got {type(arrays).__name__}"
        )
    if len(arrays) != len(scales):
        raise ValueError(
            f"{name} must have an entry for each of the {len(scales)} spatial_scales, "
            f"got {len(arrays)}"
        )
    return {f"{name}[{level}]": array for level, array in enumerate(arrays)}


def _maps(given: dict[str, Any], spec: CallSpec) -> tuple[NDArray[np.floating], ...]:
    """Check each of the maps by itself, and return them as views NCHW."""
    maps = []
    for name, array in given.items():
        _require_numpy(array, name)
        bare = _arrays.as_ndarray(array, name)
        _arrays.check_features(bare, "NHWC" if spec.channels_last else "NCHW", name)
        maps.append(_arrays.as_nchw(bare, spec))
    return tuple(maps)


def _shapes(
    input_shapes: Any, itemsize: int, spec: CallSpec
) -> tuple[tuple[int, int, int, int], ...]:
    """Check the shapes of the maps, and return the (N, C, H, W) of each."""
    given = by_name(input_shapes, "input_shapes", spec.spatial_scales)
    shapes = tuple(
        _arrays.nchw_shape(make_shape(shape, itemsize, name), spec) for name, shape in given.items()
    )
    require_alike([shape[:2] for shape in shapes], "input_shapes")
    return shapes


def _targets(
    out: Any | None, of_maps: bool, given: dict[str, Any], spec: CallSpec
) -> tuple[Any, ...] | None:
    """Check the arrays that a gradient is to be written to, if given; return views NCHW."""
    if out is None:
        return None
    outs = by_name(out, "out", spec.spatial_scales) if of_maps else {"out": out}
    for name, array in outs.items():
        _require_numpy(array, name)
        others = {other: outs[other] for other in outs if other != name}
        _arrays.check_memory(array, name=name, **given, **others)
    return tuple(_arrays.as_nchw(array, spec) for array in outs.values())


def _require_numpy(array: Any, name: str) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {full_name(type(array))}")


def require_alike(sizes: list[tuple[int, ...]], name: str) -> None:
    """Raise unless all maps have the same images and channels."""
    for level, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(
                f"{name}[{level}] must have the images and channels of {name}[0], {sizes[0]}, "
                f"got {size}"
            )


def _place(
    rois: Any, num_images: int, spec: CallSpec, levels: Any | None, rule: LevelRule
) -> tuple[NDArray[np.floating], NDArray[np.intp] | None]:
    """Check the boxes, and find the map of each; None if there is one."""
    boxes = normalise_rois(rois, num_images)
    scales = spec.spatial_scales
    if levels is None:
        places = rule.assign(boxes, scales)
    else:
        places = check_levels(levels, len(boxes), len(scales))
    is_per_image = is_list_per_image(rois)
    _arrays.require_poolable(boxes, num_images, spec, "rois", is_per_image, places)
    return boxes, places if len(scales) > 1 else None
