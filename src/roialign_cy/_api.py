"""The public functions: normalise once, find the backend, call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import numpy as np

from . import _arrays, _conversion
from ._elements import pooled_dtype
from ._spec import CallSpec, make_shape, make_spec, make_wrt, require_gradient
from .backends import Backend, BackendUnavailableError
from .backends._registry import require_kind, resolve
from .conventions import Convention
from .typing import Array, Boxes, ConventionName, Layout, Mode, Options, RunOptions, Shape, Wrt

if TYPE_CHECKING:
    from numpy.typing import NDArray

FloatT = TypeVar("FloatT", bound=np.floating)


@overload
def roi_align(
    features: NDArray[FloatT],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[Options],
) -> NDArray[FloatT]: ...
@overload
def roi_align(
    features: NDArray[np.integer | np.bool],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[np.float32] | None = ...,
    **options: Unpack[Options],
) -> NDArray[np.float32]: ...
@overload
def roi_align(
    features: Array,
    rois: Boxes | Array,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: Array | None = ...,
    **options: Unpack[Options],
) -> Any: ...
def roi_align(
    features: Any,
    rois: Any,
    output_size: int | tuple[int, int],
    *,
    convention: ConventionName | Convention = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Pool every box to a grid of sections, reading the map between its cells.

    Parameters
    ----------
    features : ndarray of shape (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The maps: NumPy or CuPy, float16, float32 or float64, of any strides, byte order and
        alignment. Never modified. NumPy's may also be bool, integers of at most 16 bits, or
        ``ml_dtypes.bfloat16``: they are read as they are, and give the bits of converting them
        first.
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        Boxes ``[batch_index, x1, y1, x2, y2]`` in input units (those of the image, say), x to the
        right, y **down**; or for each image its boxes ``[x1, y1, x2, y2]``. Any float or integer
        dtype. See `roialign_cy.boxes` for other formats, and for what looks like a mistake.
    output_size : int or (int, int)
        Sections per box along (rows, columns).
    convention : str or Convention, default "document"
        Whose RoI Align: a name in `CONVENTIONS`, or a `Convention` of your own.
    spatial_scale : float, default 1.0
        Cells per input unit: 1/16 where the map has a cell for every 16 pixels.
    sampling_ratio : int or (int, int), optional
        Samples per section along (rows, columns), at most 4096. 0 (or -1) stands for the count
        of the convention's sampling: ``ceil(extent / sections)`` if that is centered,
        ``sections - 1`` (at least 1) if interior. By default the convention's ratio. "roi_pool"
        and "prroi" have no samples to count, and one mode.
    mode : {"avg", "max", "max_weighted"}, optional
        Mean or maximum over the samples of a section; ``"max_weighted"`` is ONNX's maximum over
        the weighted neighbours of every sample. By default the convention's mode.
    layout : {"NCHW", "NHWC"}, default "NCHW"
        Axes of ``features`` and of the result.
    backend : str, optional
        ``"cpu"``, ``"gpu"``, ``"reference"`` or a plugin's name. By default what
        `backends.use` or the variable ``ROIALIGN_BACKEND`` names, else "cpu" for NumPy and
        "gpu" for CuPy arrays.
    num_threads : int, optional
        Upper bound on the threads of this call. The result does not depend on it.
    out : ndarray, optional
        Array of the result's shape and dtype to write to; for maps of integers or bool, of any of
        the three float dtypes. Any strides; must not overlap an input.

    Returns
    -------
    ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The pooled values, in the dtype of ``features`` (in native byte order; float32 for integers
        and bool), the same kind of array; ``out`` if that is given. Two-byte floats are computed
        in float32 and rounded once. The same bits in both layouts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a box is not finite, its extent overflows or its
        batch index is not that of an image; the text names the argument. Nothing has been
        written then. (CuPy boxes are not looked at, which would cost a synchronisation: a bad
        one gives NaN.)
    BackendUnavailableError
        If the backend that was named cannot be used here, or cannot do this call.

    Notes
    -----
    With ``o`` the pixel offset and ``s`` the scale, a box starts at ``x1 * s - o`` cells and
    extends over ``(x2 - x1) * s`` of them, widened to the convention's minimal size if it has
    one. Sample ``i`` of ``g`` lies at the fraction ``(i + 0.5) / g`` (centered) or
    ``(i + 1) / (g + 1)`` (interior) of its section. A sample below -1 or above H (W) has the
    value 0; any other is clamped to ``[0, H - 1]`` and interpolated bilinearly between its
    neighbours, of which those with weight zero are not read. A section without samples is 0.
    Under a border of zeros it is not clamped, and neighbours outside the map count as 0. `roi_pool`
    says more of RoI Pooling; PrRoI Pooling is the exact mean over a section of the map,
    interpolated under a border of zeros, and 0 for a box that is reversed or without extent.
    The default is the RoI Align of the document that this library implements: half-pixel
    coordinates, the interior grid points of every section, their maximum.

    Boxes may be empty (``K = 0``), of zero size, or reversed (x2 < x1: sampled backwards at a
    fixed ratio, without samples in an adaptive one).

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> ra.roi_align(features, [[0, 1, 1, 3, 3]], 2, convention="detectron2")
    array([[[[ 5.,  6.],
             [ 9., 10.]]]], dtype=float32)
    """
    spec = make_spec(
        output_size, convention, spatial_scale, sampling_ratio, mode, layout, num_threads
    )
    return pool(features, rois, spec, layout, backend, out)


def pool(
    features: Any, rois: Any, spec: CallSpec, layout: Layout, backend: str | None, out: Any | None
) -> Any:
    """Check the arrays of `roi_align` and have a backend pool them."""
    chosen = resolve(backend, features)
    require_runnable(chosen, spec, "roi_align")
    if out is not None:
        require_kind(out, "out", features, chosen)
        _arrays.check_memory(out, features=features, rois=rois)
    features = _arrays.as_ndarray(features, "features")
    _arrays.check_features(features, layout)
    maps, boxes = _arrays.as_nchw(features, spec), rois
    if isinstance(features, np.ndarray):
        boxes = _arrays.check_rois(rois, len(maps), spec)
        shape = spec.output_shape(len(boxes), maps.shape[1])
        dtype = pooled_dtype(maps.dtype, out)
        if out is None:
            out = _arrays.new_array(shape, dtype, spec)
        else:
            _arrays.check_out(_arrays.as_nchw(out, spec), shape, dtype, spec)
    target = _arrays.as_nchw(out, spec)
    result = _conversion.roi_align(chosen, (maps,), boxes, None, spec, target)
    return _arrays.as_given(result, spec) if out is None else out


@overload
def roi_pool(
    features: NDArray[FloatT],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[RunOptions],
) -> NDArray[FloatT]: ...
@overload
def roi_pool(
    features: NDArray[np.integer | np.bool],
    rois: Boxes,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: NDArray[np.float32] | None = ...,
    **options: Unpack[RunOptions],
) -> NDArray[np.float32]: ...
@overload
def roi_pool(
    features: Array,
    rois: Boxes | Array,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = ...,
    out: Array | None = ...,
    **options: Unpack[RunOptions],
) -> Any: ...
def roi_pool(
    features: Any,
    rois: Any,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float = 1.0,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Pool every box by RoI Pooling, the predecessor that rounds to whole cells.

    Parameters
    ----------
    features, rois, output_size
        As for `roi_align`.
    spatial_scale, layout, backend, num_threads, out
        As for `roi_align`.

    Returns
    -------
    ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The largest cell of every section, in the dtype of ``features``.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`.

    Notes
    -----
    A short name for `roi_align` with ``convention="roi_pool"``; `roi_align_backward` has the
    gradient with respect to the features, under the same convention.

    The sides of a box are scaled and rounded to whole cells, halves away from 0, and the cells
    on both ends belong to it: a box from 1 to 3 is three cells wide. Of ``n`` cells (at least
    one), section ``p`` of ``P`` has those from ``floor(p * n / P)`` up to, not including,
    ``ceil((p + 1) * n / P)``; neighbouring sections may share cells. All of it is computed in
    the boxes' own dtype, as torchvision's ``roi_pool`` computes it; the sections in float64 where
    that dtype cannot count them (float16: more than 2048). Cells outside the map do not count,
    and a section without cells is 0. A NaN in a section makes it NaN, and -inf is a value like
    others; torchvision ignores both. For maps without them, and boxes of the maps' dtype, the bits
    are torchvision's, except that -0 becomes +0. Of equal cells, the first in row order counts as
    the largest, and gets the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> features = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> ra.roi_pool(features, [[0, 0.6, 0.6, 2.4, 2.4]], 2)
    array([[[[ 5.,  6.],
             [ 9., 10.]]]], dtype=float32)
    """
    return roi_align(
        features,
        rois,
        output_size,
        convention="roi_pool",
        spatial_scale=spatial_scale,
        layout=layout,
        backend=backend,
        num_threads=num_threads,
        out=out,
    )


@overload
def roi_align_backward(
    grad_output: NDArray[FloatT],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Literal["features"] = ...,
    spatial_scale: float = ...,
    out: NDArray[FloatT] | None = ...,
    **options: Unpack[Options],
) -> NDArray[FloatT]: ...
@overload
def roi_align_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Literal["rois"],
    spatial_scale: float = ...,
    out: NDArray[np.floating] | None = ...,
    **options: Unpack[Options],
) -> NDArray[np.floating]: ...
@overload
def roi_align_backward(
    grad_output: NDArray[np.floating],
    rois: Boxes,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: tuple[Wrt, Wrt],
    spatial_scale: float = ...,
    out: None = ...,
    **options: Unpack[Options],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]: ...
@overload
def roi_align_backward(
    grad_output: Array,
    rois: Boxes | Array,
    input_shape: Shape,
    *,
    features: Array | None = ...,
    wrt: Wrt | tuple[Wrt, ...] = ...,
    spatial_scale: float = ...,
    out: Array | None = ...,
    **options: Unpack[Options],
) -> Any: ...
def roi_align_backward(
    grad_output: Any,
    rois: Any,
    input_shape: Shape,
    *,
    features: Any | None = None,
    wrt: Wrt | tuple[Wrt, ...] = "features",
    convention: ConventionName | Convention = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
    out: Any | None = None,
) -> Any:
    """Gradient of a scalar with respect to the features and boxes, from that of the output.

    Parameters
    ----------
    grad_output : ndarray of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        The gradient with respect to the output of `roi_align`, whose size it gives. Like the
        features of that: NumPy or CuPy, float16, float32 or float64, of any strides, byte order
        and alignment.
    rois : array_like of shape (K, 5), or list of N array_like of shape (K_i, 4)
        The boxes, as for `roi_align`.
    input_shape : (int, int, int, int)
        Shape of the features, in the given layout.
    features : ndarray of shape ``input_shape``, optional
        The maps, in the dtype of ``grad_output`` or of integers or bool. Needed for the maximum,
        and for the gradient with respect to the boxes.
    wrt : {"features", "rois"} or tuple of them, default "features"
        Which gradients to give.
    convention, spatial_scale, sampling_ratio, mode, layout, backend, num_threads
        As for `roi_align`. The mode "max_weighted" has no gradient.
    out : ndarray, optional
        Array of the result's shape and dtype to write to, where one gradient is asked for. What
        it holds is overwritten. Any strides; must not overlap an input.

    Returns
    -------
    ndarray, or tuple of ndarray in the order of a tuple ``wrt``
        With respect to the features: of shape ``input_shape``, in the dtype of ``grad_output``.
        With respect to the boxes, ``[x1, y1, x2, y2]``: of shape (K, 4), per input unit, in the
        dtype of ``rois`` (float64 for integers). Neither depends on the number of threads, in any
        bit.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`; also where ``features`` is needed and missing.

    Notes
    -----
    The maximum sends its gradient to the first of its largest points, row by row. A point
    outside the map can be that one, and then has none.

    Derivatives with respect to the position of a sample are those to its right (they jump at the
    cells), 0 where it is clamped to the border or outside the map. The number of samples, and
    whether one is outside, count as constants; so does the far side of a box that the convention
    widens. Cells in which the derivatives of a mean's samples cancel are not read, were they NaN.

    RoI Pooling has no gradient with respect to the boxes: it rounds them.

    Examples
    --------
    >>> import numpy as np
    >>> import roialign_cy as ra
    >>> grad_output = np.ones((1, 1, 1, 1), np.float32)
    >>> rois = [[0, 1, 1, 3, 3]]
    >>> ra.roi_align_backward(grad_output, rois, (1, 1, 4, 4), convention="detectron2")
    array([[[[0.  , 0.  , 0.  , 0.  ],
             [0.  , 0.25, 0.25, 0.  ],
             [0.  , 0.25, 0.25, 0.  ],
             [0.  , 0.  , 0.  , 0.  ]]]], dtype=float32)
    >>> features = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> ra.roi_align_backward(
    ...     grad_output, rois, (1, 1, 4, 4), features=features, wrt="rois", convention="mmcv"
    ... )
    array([[0.5, 2. , 0.5, 2. ]])
    """
    options = convention, spatial_scale, sampling_ratio, mode, layout, num_threads
    return pool_backward(
        grad_output, rois, input_shape, features, wrt, layout, backend, out, make_spec, options
    )


def pool_backward(
    grad_output: Any,
    rois: Any,
    input_shape: tuple[int, int, int, int],
    features: Any | None,
    wrt: Wrt | tuple[Wrt, ...],
    layout: Layout,
    backend: str | None,
    out: Any | None,
    make: Callable[..., CallSpec],
    options: tuple[Any, ...],
) -> Any:
    """Check the arrays of `roi_align_backward` and have a backend differentiate.

    ``make`` gives the call's spec for the output size, which is that of ``grad_output``, and for
    the ``options``.
    """
    operations = make_wrt(wrt)
    chosen = resolve(backend, grad_output, "grad_output")
    if features is not None:
        require_kind(features, "features", grad_output, chosen)
    if out is not None:
        require_kind(out, "out", grad_output, chosen)
        _arrays.check_memory(out, grad_output=grad_output, rois=rois, features=features)
    grad_output = _arrays.as_ndarray(grad_output, "grad_output")
    if features is not None:
        features = _arrays.as_ndarray(features, "features")
    _arrays.check_features(grad_output, layout, "grad_output")
    if features is not None:  # before any is converted for the backend
        _arrays.check_features(features, layout)
    spec = make(sections_of(grad_output, layout), *options)
    require_gradient(spec, operations)
    shape = make_shape(input_shape, grad_output.dtype.itemsize)
    require_operands(spec, operations, wrt, features, out)
    for operation in operations:
        require_runnable(chosen, spec, operation)
    grads, target = _arrays.as_nchw(grad_output, spec), _arrays.as_nchw(out, spec)
    maps: Any = None if features is None else (_arrays.as_nchw(features, spec),)
    shapes, boxes = (_arrays.nchw_shape(shape, spec),), rois
    if isinstance(grads, np.ndarray):
        boxes = _arrays.check_rois(rois, shapes[0][0], spec)
        # Of several there is no out, and the rest is the same for each.
        _arrays.check_gradient(operations[0], grads, boxes, shapes, spec, maps, target)
    results = []
    for operation in operations:  # in a comprehension all that it uses would be cells of a closure
        results.append(differentiate(chosen, operation, grads, boxes, shapes, spec, maps, target))
    if out is not None:
        results = [out]
    return results[0] if isinstance(wrt, str) else tuple(results)


def differentiate(
    chosen: Backend,
    operation: str,
    grads: Any,
    boxes: Any,
    shapes: tuple[tuple[int, int, int, int], ...],
    spec: CallSpec,
    maps: Any,
    target: Any | None,
) -> Any:
    """One gradient of a call on one map, with its axes in the order of the call's ``layout``."""
    if operation == "box_gradient":
        return _conversion.box_gradient(chosen, grads, boxes, None, maps, spec, target)
    targets = None if target is None else (target,)
    (result,) = _conversion.feature_gradient(
        chosen, grads, boxes, None, shapes, spec, maps, targets
    )
    return _arrays.as_given(result, spec)


def sections_of(grad_output: Any, layout: Layout) -> tuple[int, int]:
    """Output size of the call whose gradient this is."""
    if layout == "NHWC":
        _, rows, cols, _ = grad_output.shape
    else:
        _, _, rows, cols = grad_output.shape
    if rows == 0 or cols == 0:
        raise ValueError(
            f"grad_output must have a section or more ({layout}), got shape {grad_output.shape}"
        )
    return rows, cols


def require_operands(
    spec: CallSpec, operations: tuple[str, ...], wrt: Any, features: Any, out: Any
) -> None:
    """Raise unless the features are there if they are needed, and ``out`` if it can be filled."""
    for operation in operations:
        if features is None and spec.needs_features(operation):
            cause = "mode 'max'" if spec.mode == "max" else "wrt 'rois'"
            raise ValueError(f"features must be given for {cause}, got None")
    if out is not None and len(operations) > 1:
        raise ValueError(f"out must be None where wrt names several gradients, got {wrt!r}")


def require_runnable(chosen: Backend, spec: CallSpec, operation: str) -> None:
    """Raise if the call is beyond the backend."""
    reason = why_not(chosen, spec, operation)
    if reason is not None:
        raise BackendUnavailableError(f"backend {chosen.name!r} cannot run this call: {reason}")


def why_not(chosen: Backend, spec: CallSpec, operation: str) -> str | None:
    """Say why a call is beyond a backend; None if it is not."""
    if len(spec.spatial_scales) > 1 and not getattr(chosen, "takes_levels", False):
        return "it takes one map a call"
    return chosen.cannot_run(spec, operation)
