"""RoI Align of rotated boxes: its own options, the rest as for upright ones."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from ._api import FloatT, pool, pool_backward
from ._spec import CallSpec, make_spec
from .conventions import Convention, find_convention
from .typing import (
    AngleUnit,
    Array,
    Boxes,
    ConventionName,
    Layout,
    Mode,
    RotatedOptions,
    Shape,
    Wrt,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROTATED_RATIO = 64
"""Most samples per section and axis that can be asked for: they do not merge along the axes, so
that work grows with their product."""


@overload
def roi_align_rotated(
    features: NDArray[FloatT],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[RotatedOptions],
) -> NDArray[FloatT]: ...
@overload
def roi_align_rotated(
    features: NDArray[np.integer | np.bool],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[np.float32] | None = ...,
    **options: Unpack[RotatedOptions],
) -> NDArray[np.float32]: ...
@overload
def roi_align_rotated(
    features: Array,
    rois: Boxes | Array,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: Array | None = ...,
    **options: Unpack[RotatedOptions],
) -> Any: ...
def roi_align_rotated(
    features: Any,
    rois: Any,
    output_size: int | tuple[int, int],
    *,
    convention: ConventionName | Convention = "detectron2",
    clockwise: bool = False,
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Pool every rotated box to a grid of sections, reading the map between its cells.

    Parameters
    ----------
    features : ndarray of shape (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The maps, as for `roi_align`.
    rois : array_like of shape (K, 6), or list of N array_like of shape (K_i, 5)
        Boxes ``[batch_index, cx, cy, width, height, angle]`` in input units, or for each image its
        boxes ``[cx, cy, width, height, angle]``: centre, sides, and by how much the box is turned
        about its centre.
    output_size : int or (int, int)
        Sections per box along (rows, columns), rows being those of the box before it is turned.
    convention : str or Convention, default "detectron2"
        Whose: "detectron2" has angles in degrees and "mmcv" in radians, or a `Convention` of your
        own with the sampling "centered".
    clockwise : bool, default False
        Whether angles go clockwise, as seen with y down. By default they go counter-clockwise.
    spatial_scale, layout, backend, num_threads
        As for `roi_align`.
    sampling_ratio : int or (int, int), optional
        Samples per section along (rows, columns), at most 64. 0 (or -1) is
        ``ceil(side / sections)`` of the scaled sides. By default the convention's.
    mode : {"avg", "max"}, optional
        Mean or maximum over the samples of a section. By default the convention's mode.
    out : ndarray, optional
        As for `roi_align`.

    Returns
    -------
    ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        As of `roi_align`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`; also for a width or height below 0, and for more than 2**20 radians.

    Notes
    -----
    With ``o`` the pixel offset and ``s`` the scale, the centre lies at ``(cx * s - o, cy * s - o)``
    cells, and the sides are ``width * s`` and ``height * s``, or the convention's minimal size. A
    sample that is ``v`` cells to the right of the centre and ``u`` below it, before the box is
    turned by ``a``, is read at ``x = u * sin(a) + v * cos(a)`` from the centre and
    ``y = u * cos(a) - v * sin(a)``, as `roi_align` reads a point. Quarter turns in degrees are
    exact.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> ra.roi_align_rotated(features, [[0, 2, 2, 2, 2, 90]], 2)
    array([[[[ 9.,  5.],
             [10.,  6.]]]], dtype=float32)
    """
    spec = make_rotated_spec(
        output_size,
        convention,
        clockwise,
        spatial_scale,
        sampling_ratio,
        mode,
        layout,
        num_threads,
    )
    return pool(features, rois, spec, layout, backend, out)


@overload
def roi_align_rotated_backward(
    grad_output: NDArray[FloatT],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Literal["features"] = ...,
    spatial_scale: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[RotatedOptions],
) -> NDArray[FloatT]: ...
@overload
def roi_align_rotated_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Literal["rois"],
    spatial_scale: float = ...,
    out: NDArray[np.floating] | None = ...,
    **options: Unpack[RotatedOptions],
) -> NDArray[np.floating]: ...
@overload
def roi_align_rotated_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: tuple[Wrt, Wrt],
    spatial_scale: float = ...,
    out: None = ...,
    **options: Unpack[RotatedOptions],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]: ...
@overload
def roi_align_rotated_backward(
    grad_output: Array,
    rois: Boxes | Array,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Wrt | tuple[Wrt, ...] = ...,
    spatial_scale: float = ...,
    out: Array | None = ...,
    **options: Unpack[RotatedOptions],
) -> Any: ...
def roi_align_rotated_backward(
    grad_output: Any,
    rois: Any,
    input_shape: Shape,
    *,
    features: Any | None = None,
    wrt: Wrt | tuple[Wrt, ...] = "features",
    convention: ConventionName | Convention = "detectron2",
    clockwise: bool = False,
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Gradient of a scalar with respect to the features and rotated boxes, from that of the output.

    Parameters
    ----------
    grad_output : ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The gradient with respect to the output of `roi_align_rotated`.
    rois : array_like of shape (K, 6), or list of N array_like of shape (K_i, 5)
        The boxes, as for `roi_align_rotated`.
    input_shape, features, wrt, out
        As for `roi_align_backward`.
    convention, clockwise, spatial_scale, sampling_ratio, mode, layout, backend, num_threads
        As for `roi_align_rotated`.

    Returns
    -------
    ndarray, or tuple of ndarray in the order of a tuple ``wrt``
        With respect to the features: of shape ``input_shape``, in the dtype of ``grad_output``.
        With respect to the boxes, ``[cx, cy, width, height, angle]``: of shape (K, 5), per input
        unit and unit of the angle, in the dtype of ``rois`` (float64 for integers).

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align_rotated`; also where ``features`` is needed and missing.

    Notes
    -----
    What counts as a constant is what does for `roi_align_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> ra.roi_align_rotated_backward(
    ...     np.ones((1, 1, 1, 1), np.float32), [[0, 2, 2, 2, 2, 0]], (1, 1, 4, 4),
    ...     features=features, wrt="rois",
    ... )
    array([[1., 4., 0., 0., 0.]])
    """
    options = convention, clockwise, spatial_scale, sampling_ratio, mode, layout, num_threads
    make = make_rotated_spec
    return pool_backward(
        grad_output, rois, input_shape, features, wrt, layout, backend, out, make, options
    )


def make_rotated_spec(
    output_size: int | tuple[int, int],
    convention: ConventionName | Convention,
    clockwise: bool,
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int] | None,
    mode: Mode | None,
    layout: Layout,
    num_threads: int | None,
) -> CallSpec:
    """Check the options of a call with rotated boxes."""
    chosen = find_convention(convention)
    spec = make_spec(output_size, chosen, spatial_scale, sampling_ratio, mode, layout, num_threads)
    require_turnable(chosen, clockwise, spec.sampling_ratio, spec.mode)
    return _rotated(spec, chosen.angle, bool(clockwise))


def require_turnable(
    convention: Convention, clockwise: bool, sampling_ratio: tuple[int, int], mode: str
) -> None:
    """Raise for options that upright boxes alone have; ``mode`` is what it means."""
    if convention.sampling != "centered":
        raise ValueError(
            "convention must have the sampling 'centered' for rotated boxes, "
            f"got {convention.sampling!r}"
        )
    if not isinstance(clockwise, bool | np.bool_):
        raise TypeError(f"clockwise must be True or False, got {clockwise!r}")
    if mode == "max_weighted":
        raise ValueError(
            "mode must be 'avg' or 'max' for rotated boxes, got 'max_weighted' (which 'max' means "
            "under a convention of ONNX's)"
        )
    if max(sampling_ratio) > MAX_ROTATED_RATIO:
        raise ValueError(
            f"sampling_ratio must be at most {MAX_ROTATED_RATIO} for rotated boxes, "
            f"got {sampling_ratio}"
        )


@lru_cache(maxsize=256)
def _rotated(spec: CallSpec, angle: AngleUnit, clockwise: bool) -> CallSpec:
    return replace(spec, sampling="rotated", angle=angle, clockwise=clockwise)
