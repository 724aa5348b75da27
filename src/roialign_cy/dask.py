"""RoI Align of Dask arrays: lazy, in parallel, on one machine or on a cluster.

Needs the extra: ``pip install "roialign_cy[dask]"``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import chain
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from dask.base import is_dask_collection, tokenize
from dask.system import CPU_COUNT

import roialign_cy as ra

from . import _arrays
from ._elements import pooled_dtype
from ._levels import LevelRule, check_levels
from ._multiscale import by_name, checked_rule, require_alike
from ._rois import (
    is_list_per_image,
    join,
    normalise_rois,
    require_bare,
    require_entry_per_image,
    wrong_entry_shape,
)
from ._spec import make_scales, make_spec, with_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._spec import CallSpec
    from .conventions import Convention
    from .typing import ConventionName, Layout, LevelRuleName, Mode

__all__ = ["multiscale_roi_align", "roi_align"]


def roi_align(
    features: da.Array,
    rois_per_image: Sequence[Any],
    output_size: int | tuple[int, int],
    *,
    convention: ConventionName | Convention = "document",
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
) -> da.Array:
    """Pool every box of a Dask array of maps, lazily.

    Parameters
    ----------
    features : dask.array.Array of shape (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The maps. Every chunk is a task; chunks that divide H or W are joined, so that a task has
        whole maps of some images and channels.
    rois_per_image : list of N array_like of shape (K_i, 4), or array_like of shape (K, 5)
        For each image its boxes ``[x1, y1, x2, y2]``. They may be lazy, too: Dask arrays, or
        anything that Dask computes to such an array. Or rows of
        ``[batch_index, x1, y1, x2, y2]``, which may not be lazy; rows sorted by image cost least.
    output_size, convention, spatial_scale, sampling_ratio, mode, layout, backend
        As for `roialign_cy.roi_align`.
    num_threads : int, optional
        Upper bound on the threads of a task. By default its share of those that its process may
        use: `roialign_cy.get_num_threads`, divided by the tasks that run there at a time.

    Returns
    -------
    dask.array.Array of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        Chunked like the images and channels of ``features``, along K only if rows are sorted by
        image; the same bits as one call of `roialign_cy.roi_align` gives. K and the
        chunks along it are NaN if the number of boxes of an image is only known when it is
        computed.

    Raises
    ------
    ValueError, TypeError
        As `roialign_cy.roi_align`; for lazy boxes, and blocks of another shape or dtype than
        Dask was told, when they are computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from roialign_cy.dask import roi_align
    >>> maps = np.arange(32, dtype=np.float32).reshape(2, 1, 4, 4)
    >>> features = da.from_array(maps, chunks=(1, 1, 4, 4))
    >>> boxes = [[[1, 1, 3, 3]], []]
    >>> pooled = roi_align(features, boxes, 2, convention="detectron2")
    >>> pooled.chunks
    ((1, 0), (1,), (2,), (2,))
    >>> pooled.compute()
    array([[[[ 5.,  6.],
             [ 9., 10.]]]], dtype=float32)
    """
    options: dict[str, Any] = {
        "output_size": output_size,
        "convention": convention,
        "sampling_ratio": sampling_ratio,
        "mode": mode,
        "layout": layout,
        "num_threads": num_threads,
    }
    spec = make_spec(**options, spatial_scale=spatial_scale)
    options |= {"spatial_scale": spatial_scale, "backend": backend}
    return _pooled({"features": features}, rois_per_image, spec, None, options)


def multiscale_roi_align(
    features: Sequence[da.Array],
    rois_per_image: Sequence[Any],
    output_size: int | tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    levels: Any | None = None,
    level_rule: LevelRuleName = "torchvision",
    canonical_size: float = 224,
    canonical_level: float = 4,
    convention: ConventionName | Convention = "document",
    sampling_ratio: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    layout: Layout = "NCHW",
    backend: str | None = None,
    num_threads: int | None = None,
) -> da.Array:
    """Pool every box from the map of a pyramid that suits its size, lazily.

    Parameters
    ----------
    features : sequence of dask.array.Array of shape (N, C, H_l, W_l), or (N, H_l, W_l, C)
        The maps, from fine to coarse, of one dtype, with the same images and channels. A task has
        the whole maps of some images and channels, of all levels.
    rois_per_image, num_threads
        As for `roi_align`.
    output_size, spatial_scales, level_rule, canonical_size, canonical_level
        As for `roialign_cy.multiscale_roi_align`.
    levels : array_like of shape (K,), of integers, optional
        Index of the map that each box is pooled from, in the order of the boxes, image by image
        where they are given so. By default the rule decides.
    convention, sampling_ratio, mode, layout, backend
        As for `roialign_cy.multiscale_roi_align`.

    Returns
    -------
    dask.array.Array of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        Chunked as by `roi_align`; the same bits as one call of
        `roialign_cy.multiscale_roi_align` gives.

    Raises
    ------
    ValueError, TypeError
        As `roialign_cy.multiscale_roi_align`, and as `roi_align`.

    Examples
    --------
    >>> import dask.array as da
    >>> from roialign_cy.dask import multiscale_roi_align
    >>> fine = da.full((2, 1, 64, 64), 2.0, chunks=(1, 1, 64, 64))
    >>> coarse = da.full((2, 1, 32, 32), 3.0, chunks=(1, 1, 32, 32))
    >>> boxes = [[[0, 0, 200, 200]], [[0, 0, 50, 50]]]
    >>> scales = [1 / 4, 1 / 8]
    >>> pooled = multiscale_roi_align([fine, coarse], boxes, 1, spatial_scales=scales)
    >>> pooled.compute().ravel()
    array([3., 2.])
    """
    options: dict[str, Any] = {
        "output_size": output_size,
        "convention": convention,
        "sampling_ratio": sampling_ratio,
        "mode": mode,
        "layout": layout,
        "num_threads": num_threads,
    }
    scales = make_scales(spatial_scales)
    rule = checked_rule(levels, level_rule, canonical_size, canonical_level, scales)
    spec = with_scales(make_spec(**options, spatial_scale=1.0), scales)
    maps = by_name(features, "features", scales)
    options |= {"spatial_scales": scales, "backend": backend}
    return _pooled(maps, rois_per_image, spec, rule if levels is None else levels, options)


def _pooled(
    given: dict[str, Any],
    rois_per_image: Sequence[Any],
    spec: CallSpec,
    levels: Any,
    options: dict[str, Any],
) -> da.Array:
    """Pool maps, by the names that errors have for them.

    ``levels`` are those of the boxes, or the rule that gives them; None if there is one map.
    """
    is_nchw = not spec.channels_last
    for name, maps in given.items():
        if not isinstance(maps, da.Array):
            raise TypeError(f"{name} must be a Dask array, got {type(maps).__name__}")
        require_bare(type(maps._meta), name)
        _arrays.check_features(maps, options["layout"], name, is_numpy=True)
    if is_dask_collection(rois_per_image):
        raise TypeError(
            f"{_ROIS} must be known, or a list with the lazy boxes of each image, "
            f"got {type(rois_per_image).__name__}"
        )
    shapes = {name: _arrays.nchw_shape(maps.shape, spec) for name, maps in given.items()}
    for name, (num_images, _, *size) in shapes.items():
        if math.isnan(num_images):
            raise ValueError(
                f"{name} must have a known number of images: call compute_chunk_sizes()"
            )
        if any(map(math.isnan, size)):
            raise ValueError(f"{name} must have maps of a known size: call compute_chunk_sizes()")
    first, *others = given
    num_images = shapes[first][0]
    known = [tuple(-1 if math.isnan(size) else size for size in of[:2]) for of in shapes.values()]
    require_alike(known, "features")
    for name in others:
        _arrays.require_dtype(given[name], name, given[first].dtype, first)
    # Boxes are small compared with the maps, so every task gets them all: the dtype of each,
    # which decides its adaptive counts, depends on the others.
    order = None
    if _is_lazy(rois_per_image):
        require_entry_per_image(rois_per_image, num_images, _ROIS)
        counts = [_count(entry, index) for index, entry in enumerate(rois_per_image)]
        # Of one kind: Dask 2026.8 computes a list of several kinds in another order.
        entries = [_delayed(entry) for entry in rois_per_image]
        rois = dask.delayed(_computed, pure=True)(entries, counts, spec, levels)
    else:
        checked = normalise_rois(rois_per_image, num_images, _ROIS)
        is_per_image = is_list_per_image(rois_per_image)
        places = _places(checked, spec, levels)
        _arrays.require_poolable(checked, num_images, spec, _ROIS, is_per_image, places)
        images = checked[:, 0].astype(np.intp)
        if (np.diff(images) < 0).any():
            order = np.argsort(images, kind="stable")
            checked, places = checked[order], None if places is None else places[order]
        rois = dask.delayed((checked, places), pure=True)
        counts = np.bincount(images, minlength=num_images).tolist()

    # A task has whole maps, of the same images and channels.
    rows, cols = (2, 3) if is_nchw else (1, 2)
    axes = [
        ("image", "channel", row, col) if is_nchw else ("image", row, col, "channel")
        for row, col in ((f"row {level}", f"column {level}") for level in range(len(given)))
    ]
    whole = [maps.rechunk({rows: -1, cols: -1}) for maps in given.values()]
    _, whole = da.core.unify_chunks(*chain.from_iterable(zip(whole, axes, strict=True)))
    of_images, of_channels = (whole[0].chunks[axis] for axis in (0, 1 if is_nchw else 3))
    ends = np.cumsum(of_images)
    boxes_per_chunk = tuple(
        sum(counts[end - size : end]) for end, size in zip(ends, of_images, strict=True)
    )
    dtype = pooled_dtype(whole[0].dtype).newbyteorder("=")
    # What each task is told of its place: its first image and how many, and how many channels.
    image_place = da.from_array(np.stack([ends - of_images, of_images], 1), chunks=(1, 2))
    channel_place = da.from_array(np.array(of_channels, np.float64), chunks=1)
    sections = ("section row", "section column")
    pooled = da.blockwise(
        _pool_chunk,
        ("image", "channel", *sections) if is_nchw else ("image", *sections, "channel"),
        *chain.from_iterable(zip(whole, axes, strict=True)),
        *(image_place, ("image", "place"), channel_place, ("channel",), rois, None),
        names=tuple(given),
        sizes=tuple(shape[2:] for shape in shapes.values()),
        options=options,
        pooled=dtype,
        new_axes=dict(zip(sections, spec.output_size, strict=True)),
        adjust_chunks={"image": boxes_per_chunk},
        align_arrays=False,
        dtype=dtype,
        meta=np.empty((0, 0, 0, 0), dtype),
    )
    return pooled if order is None else pooled[np.argsort(order)]


_ROIS = "rois_per_image"


def _is_lazy(rois_per_image: Any) -> bool:
    return isinstance(rois_per_image, list | tuple) and any(map(is_dask_collection, rois_per_image))


def _delayed(entry: Any) -> Any:
    """What Dask computes to the boxes of an image, as a Delayed; known boxes as they are."""
    if not is_dask_collection(entry):
        return entry
    return dask.delayed(entry, name=f"boxes-{tokenize(entry)}")


def _places(rows: NDArray[np.floating], spec: CallSpec, levels: Any) -> NDArray[np.intp] | None:
    """Which of several maps each box is pooled from."""
    scales = spec.spatial_scales
    if levels is None:
        return None
    if isinstance(levels, LevelRule):
        return levels.assign(rows, scales)
    return check_levels(levels, len(rows), len(scales))


def _computed(
    rois_per_image: Sequence[Any], counts: Sequence[float], spec: CallSpec, levels: Any
) -> tuple[NDArray[np.floating], NDArray[np.intp] | None]:
    """All boxes as rows, image by image, and their levels, once they are known."""
    rows = join(rois_per_image, _ROIS)
    places = _places(rows, spec, levels)
    _arrays.require_poolable(rows, len(counts), spec, _ROIS, is_per_image=True, levels=places)
    found = np.bincount(rows[:, 0].astype(np.intp), minlength=len(counts))
    for index, (expected, number) in enumerate(zip(counts, found, strict=True)):
        if number != expected and not math.isnan(expected):
            raise ValueError(
                f"{_ROIS}[{index}] must have as many boxes as its Dask array says: "
                f"{expected}, got {number}"
            )
    return rows, places


def _pool_chunk(
    *arguments: Any,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    options: dict[str, Any],
    pooled: np.dtype[Any],
) -> Any:
    """Pool the boxes of the images in one chunk."""
    *blocks, (images,), channels, (rois, levels) = arguments
    ((first, count),) = images
    maps = [block for ((block,),) in blocks]  # there is one chunk of rows and one of columns
    for name, block, size in zip(names, maps, sizes, strict=True):
        told = (count, channels[0], *size)
        _require_as_told(name, block, told, f"from image {first} on", options["layout"], pooled)
    chosen = slice(*np.searchsorted(rois[:, 0], (first, first + count)))
    mine = rois[chosen].copy()
    mine[:, 0] -= first
    if options["num_threads"] is None:
        options = {**options, "num_threads": share_of_threads()}
    if levels is None:
        return ra.roi_align(maps[0], mine, **options)
    return ra.multiscale_roi_align(maps, mine, **options, levels=levels[chosen])


def _require_as_told(
    name: str,
    block: Any,
    told: tuple[float, ...],
    where: str,
    layout: str,
    pooled: np.dtype[Any],
) -> None:
    """Raise unless a block is what Dask was told: the result's chunks and dtype depend on it."""
    if layout == "NHWC":
        told = (told[0], *told[2:], told[1])
    if len(told) != block.ndim or any(
        size != expected and not math.isnan(expected)
        for size, expected in zip(block.shape, told, strict=True)
    ):
        shape = tuple(size if math.isnan(size) else int(size) for size in told)
        raise ValueError(
            f"{name} must have blocks of the shapes that their chunks say: {shape} {where}, "
            f"got {block.shape}"
        )
    if pooled_dtype(block.dtype).newbyteorder("=") != pooled:
        raise ValueError(f"{name} must have blocks of their own dtype, {pooled}, got {block.dtype}")


def share_of_threads() -> int:
    """Threads of one task, if this process runs as many tasks at a time as it may."""
    return max(ra.get_num_threads() // _tasks_at_once(), 1)


def _tasks_at_once() -> int:
    try:
        from distributed import get_worker

        return int(get_worker().state.nthreads)
    except (ImportError, ValueError):  # not in a worker
        pass
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and parent_process() is None:  # the synchronous scheduler
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def _count(entry: Any, index: int) -> float:
    """How many boxes an image has; NaN if that is not known yet."""
    shape = getattr(entry, "shape", None) if is_dask_collection(entry) else np.shape(entry)
    if not isinstance(shape, tuple):  # a Delayed would answer with another Delayed
        return math.nan
    if not shape:
        raise ValueError(wrong_entry_shape(f"{_ROIS}[{index}]", ()))
    return float(shape[0]) if math.isnan(shape[0]) else int(shape[0])
