"""RoI Align of Dask arrays: lazy, in parallel, on one machine or on a cluster.

Needs the extra: ``pip install "roialign_cy[dask]"``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from dask.system import CPU_COUNT

import roialign_cy as ra

from . import _arrays
from ._elements import pooled_dtype
from ._rois import (
    is_list_per_image,
    join,
    normalise_rois,
    require_bare,
    require_entry_per_image,
    wrong_entry_shape,
)
from ._spec import make_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._spec import CallSpec
    from .conventions import Convention
    from .typing import ConventionName, Layout, Mode

__all__ = ["roi_align"]


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
        The maps. Every chunk is a task; those that divide H or W are joined, so that a task has
        whole maps of some images and channels.
    rois_per_image : list of N array_like of shape (K_i, 4), or array_like of shape (K, 5)
        For each image its boxes ``[x1, y1, x2, y2]``. They may be lazy, too: Dask arrays, or
        anything that Dask computes to such an array. Or rows of
        ``[batch_index, x1, y1, x2, y2]``, which may not; sorted by their images they cost least.
    output_size, convention, spatial_scale, sampling_ratio, mode, layout, backend
        As for `roialign_cy.roi_align`.
    num_threads : int, optional
        Upper bound on the threads of a task. By default a task's share of those that its process
        may use: `roialign_cy.get_num_threads`, divided by the tasks that run there at a time.

    Returns
    -------
    dask.array.Array of shape (K, C, rows, cols), or (K, rows, cols, C) with ``layout="NHWC"``
        Chunked like the images and channels of ``features``, along K only where rows are sorted
        by their images; the same bits as one call of `roialign_cy.roi_align` gives. K and the
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
    >>> features = da.arange(32, dtype=np.float32).reshape(2, 1, 4, 4).rechunk((1, 1, 4, 4))
    >>> pooled = roi_align(features, [[[1, 1, 3, 3]], []], 2, convention="detectron2")
    >>> pooled.chunks
    ((1, 0), (1,), (2,), (2,))
    >>> pooled.compute()
    array([[[[ 5.,  6.],
             [ 9., 10.]]]], dtype=float32)
    """
    options = {
        "output_size": output_size,
        "convention": convention,
        "spatial_scale": spatial_scale,
        "sampling_ratio": sampling_ratio,
        "mode": mode,
        "layout": layout,
        "num_threads": num_threads,
    }
    spec = make_spec(**options)  # type: ignore[arg-type]
    if not isinstance(features, da.Array):
        raise TypeError(f"features must be a Dask array, got {type(features).__name__}")
    require_bare(type(features._meta), "features")
    _arrays.check_features(features, layout, is_numpy=True)
    if is_dask_collection(rois_per_image):
        raise TypeError(
            f"{_ROIS} must be known, or a list with the lazy boxes of each image, "
            f"got {type(rois_per_image).__name__}"
        )
    num_images, _, *size = _arrays.nchw_shape(features.shape, spec)
    if math.isnan(num_images):
        raise ValueError("features must have a known number of images: call compute_chunk_sizes()")
    if any(map(math.isnan, size)):
        raise ValueError("features must have maps of a known size: call compute_chunk_sizes()")
    # Boxes are few beside the maps, so every task gets them all: the dtype of each, which decides
    # its adaptive counts, depends on the others.
    order = None
    if _is_lazy(rois_per_image):
        require_entry_per_image(rois_per_image, num_images, _ROIS)
        counts = [_count(entry, index) for index, entry in enumerate(rois_per_image)]
        rois = dask.delayed(_computed, pure=True)(rois_per_image, counts, spec)
    else:
        checked = normalise_rois(rois_per_image, num_images, _ROIS)
        is_per_image = is_list_per_image(rois_per_image)
        _arrays.require_poolable(checked, num_images, spec, _ROIS, is_per_image)
        images = checked[:, 0].astype(np.intp)
        if (np.diff(images) < 0).any():
            order = np.argsort(images, kind="stable")
            checked = checked[order]
        rois = dask.delayed(checked, pure=True)
        counts = np.bincount(images, minlength=num_images).tolist()

    is_nchw = layout == "NCHW"
    maps = features.rechunk({2: -1, 3: -1} if is_nchw else {1: -1, 2: -1})
    ends = np.cumsum(maps.chunks[0])
    boxes_per_chunk = tuple(
        sum(counts[end - size : end]) for end, size in zip(ends, maps.chunks[0], strict=True)
    )
    sections = tuple((size,) for size in spec.output_size)
    chunks = (boxes_per_chunk, maps.chunks[1], *sections)
    if not is_nchw:
        chunks = (boxes_per_chunk, *sections, maps.chunks[3])
    dtype = pooled_dtype(features.dtype).newbyteorder("=")
    pooled = maps.map_blocks(
        _pool_chunk,
        rois,
        {**options, "backend": backend},
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0, 0, 0, 0), dtype),
    )
    return pooled if order is None else pooled[np.argsort(order)]


_ROIS = "rois_per_image"


def _is_lazy(rois_per_image: Any) -> bool:
    return isinstance(rois_per_image, list | tuple) and any(map(is_dask_collection, rois_per_image))


def _computed(
    rois_per_image: Sequence[Any], counts: Sequence[float], spec: CallSpec
) -> NDArray[np.floating]:
    """All boxes as rows, image by image, once they are known."""
    rows = join(rois_per_image, _ROIS)
    _arrays.require_poolable(rows, len(counts), spec, _ROIS, is_per_image=True)
    found = np.bincount(rows[:, 0].astype(np.intp), minlength=len(counts))
    for index, (expected, number) in enumerate(zip(counts, found, strict=True)):
        if number != expected and not math.isnan(expected):
            raise ValueError(
                f"{_ROIS}[{index}] must have as many boxes as its Dask array says: "
                f"{expected}, got {number}"
            )
    return rows


def _pool_chunk(
    maps: Any, rois: NDArray[np.floating], options: dict[str, Any], block_info: Any = None
) -> Any:
    """Pool the boxes of the images in one chunk."""
    _require_as_told(maps, block_info)
    first, last = block_info[0]["array-location"][0]
    chosen = slice(*np.searchsorted(rois[:, 0], (first, last)))
    mine = rois[chosen].copy()
    mine[:, 0] -= first
    if options["num_threads"] is None:
        options = {**options, "num_threads": share_of_threads()}
    return ra.roi_align(maps, mine, **options)


def _require_as_told(maps: Any, block_info: Any) -> None:
    """Raise unless a block is what Dask was told: the result's chunks and dtype rest on that."""
    place = block_info[0]["array-location"]
    told = tuple(stop - start for start, stop in place)
    if len(told) != maps.ndim or any(
        size != expected and not math.isnan(expected)
        for size, expected in zip(maps.shape, told, strict=True)
    ):
        raise ValueError(
            f"features must have blocks of the shapes that their chunks say: {told} at {place}, "
            f"got {maps.shape}"
        )
    dtype = block_info[None]["dtype"]
    if pooled_dtype(maps.dtype).newbyteorder("=") != dtype:
        raise ValueError(f"features must have blocks of their own dtype, {dtype}, got {maps.dtype}")


def share_of_threads() -> int:
    """Threads of one task, where this process runs as many tasks at a time as it may."""
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
    if not isinstance(shape, tuple):  # a Delayed answers with another one
        return math.nan
    if not shape:
        raise ValueError(wrong_entry_shape(f"{_ROIS}[{index}]", ()))
    return float(shape[0]) if math.isnan(shape[0]) else int(shape[0])
