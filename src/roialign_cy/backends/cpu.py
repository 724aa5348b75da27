"""The CPU backend: NumPy arrays to the compiled core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .._core import threads, variants
from .._core.taps import Taps, Update, sort_boxes
from .._rois import is_plain
from . import cpu_roi_pool
from ._protocol import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from .._spec import PoolSpec

    Floats: TypeAlias = NDArray[np.floating]

ORDERS = ("tiled", "planar")
OVERWRITE, ZEROED, ACCUMULATE = Update.OVERWRITE, Update.ZEROED, Update.ACCUMULATE
FRESH_BYTES = 32 << 20
"""From here on the C library takes memory from the system each time: there, zeros cost nothing."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What tests force, to hold every way through the core to the same bits.

    Attributes
    ----------
    order : {"tiled", "planar"} or None
        Order of the loops; None is what the cost model says, here and below.
    parallel : bool or None
        Whether to use threads, however small the work.
    splits : int or None
        Tasks that the boxes of one image and block of channels are cut into.
    run : int or None
        Rows of sections that the tiled order works on at a time in a forward pass.
    streams : bool or None
        Whether the tiled order writes the result of a forward pass past the caches.
    table_bytes : int or None
        Bytes of tables at which a batch of boxes ends.
    """

    order: str | None = None
    parallel: bool | None = None
    splits: int | None = None
    run: int | None = None
    streams: bool | None = None
    table_bytes: int | None = None


class CpuBackend:
    """RoI Align on the CPU, by one of the compiled variants.

    Parameters
    ----------
    name : str, default "cpu"
        Name of the backend.
    variant : str or None, default None
        The CPU variant to run on; None is the best, or what ``ROIALIGN_CPU`` says.
    overrides : Overrides, optional
        Choices taken from the cost model.
    """

    api_version = API_VERSION
    array_types = ("numpy:ndarray",)

    def __init__(
        self, name: str = "cpu", variant: str | None = None, overrides: Overrides | None = None
    ) -> None:
        self.name = name
        self._forced_variant = variant
        self._overrides = overrides

    @property
    def variant(self) -> str:
        """The CPU variant that calls run on."""
        if self._forced_variant is None:
            self._forced_variant = variants.chosen()
        return self._forced_variant

    def unavailable_reason(self) -> str | None:
        """What is wrong with the variant that ``ROIALIGN_CPU`` forces; else None."""
        try:
            _ = self.variant
        except ValueError as error:
            return str(error)
        return None

    def cannot_run(self, spec: PoolSpec) -> str | None:
        """None: every call can be run."""
        return None

    def roi_align(
        self,
        features: NDArray[np.floating],
        rois: NDArray[np.floating],
        spec: PoolSpec,
        out: NDArray[np.floating],
    ) -> NDArray[np.floating]:
        """Pool ``features`` under ``rois`` into ``out``; see `Backend.roi_align`."""
        maps, placed = _channels_first(spec, features, out)
        if maps.size == 0 or placed.size == 0:
            placed[...] = 0
            return out
        order = _sorted_boxes(rois, maps, spec)
        for kernels, taps, options in self._batches(maps, rois, order, spec):
            kernels.forward(maps, placed, taps, *options)
        return out

    def roi_align_backward(
        self,
        grad_output: NDArray[np.floating],
        rois: NDArray[np.floating],
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
        *,
        features: NDArray[np.floating] | None,
        wrt: tuple[str, ...],
        out: NDArray[np.floating] | None,
    ) -> tuple[NDArray[np.floating], ...]:
        """Gradients by the features and by the boxes; see `Backend.roi_align_backward`."""
        (grads,) = _channels_first(spec, grad_output)
        maps = None
        if features is not None and spec.needs_features(wrt):
            (maps,) = _channels_first(spec, features)
        results = []
        for name in wrt:
            if name == "features":
                result, update = _room(input_shape, grads) if out is None else (out, OVERWRITE)
                (placed,) = _channels_first(spec, result)
                self._feature_gradient(grads, rois, maps, spec, placed, update)
            else:
                result = np.empty((len(rois), 4), rois.dtype) if out is None else out
                assert maps is not None
                with np.errstate(over="ignore"):
                    result[...] = self._box_gradient(grads, rois, maps, spec)
            results.append(result)
        return tuple(results)

    def roi_pool(
        self,
        features: NDArray[np.floating],
        rois: NDArray[np.floating],
        spec: PoolSpec,
        out: NDArray[np.floating],
    ) -> NDArray[np.floating]:
        """Pool ``features`` under ``rois`` rounded to whole cells into ``out``."""
        maps, placed = _channels_first(spec, features, out)
        if maps.size == 0 or placed.size == 0:
            placed[...] = 0
        elif is_plain(maps) and placed.flags.aligned:
            _run_roi_pool(maps, rois, spec, placed)
        else:
            pooled = np.empty(placed.shape, placed.dtype)
            _run_roi_pool(maps.astype(placed.dtype), rois, spec, pooled)
            placed[...] = pooled
        return out

    def _feature_gradient(
        self,
        grads: Floats,
        rois: Floats,
        features: Floats | None,
        spec: PoolSpec,
        out: Floats,
        update: Update,
    ) -> None:
        """Gradient by the features, all arrays' axes in the order (N or K, C, rows, cols)."""
        if grads.size == 0 or out.size == 0:
            out[...] = 0
            return
        order = _sorted_boxes(rois, out, spec)
        if out.dtype != np.float16:
            self._sum_features(grads, rois, order, features, spec, out, update)
            return
        # Summed in float32, one image at a time, always: in float16 every sum would round.
        total = np.empty((1, *out.shape[1:]), np.float32)
        images, begin = np.unique(rois[order, 0].astype(np.intp), return_index=True)
        out[np.setdiff1d(np.arange(len(out)), images)] = 0
        for image, of_image in zip(images, np.split(order, begin[1:]), strict=True):
            maps = None if features is None else features[image : image + 1]
            self._sum_features(grads, rois, of_image, maps, spec, total, OVERWRITE, image)
            with np.errstate(over="ignore"):
                out[image] = total[0]

    def _sum_features(
        self,
        grads: Floats,
        rois: Floats,
        order: NDArray[np.intp],
        features: Floats | None,
        spec: PoolSpec,
        out: Floats,
        update: Update,
        first_image: int = 0,
    ) -> None:
        """Sum the gradient of the boxes in ``order`` into ``out``, batch by batch."""
        maps = features if spec.mode == "max" else None
        batches = self._batches(out, rois, order, spec, first_image=first_image)
        for kernels, taps, options in batches:
            kernels.feature_gradient(grads, maps, out, taps, update, *options)
            update = ACCUMULATE

    def _box_gradient(
        self, grads: Floats, rois: Floats, features: Floats, spec: PoolSpec
    ) -> NDArray[np.float64]:
        """Gradient by the boxes, arrays' axes in the order (N or K, C, rows, cols)."""
        out = np.zeros((len(rois), 4))
        if grads.size == 0 or features.size == 0:
            return out
        order = _sorted_boxes(rois, features, spec)
        for kernels, taps, options in self._batches(features, rois, order, spec, with_slopes=True):
            kernels.box_gradient(grads, features, out, taps, *options)
        return out

    def _batches(
        self,
        maps: Floats,
        rois: Floats,
        order: NDArray[np.intp],
        spec: PoolSpec,
        with_slopes: bool = False,
        first_image: int = 0,
    ) -> Iterator[tuple[ModuleType, Taps, tuple[int, Overrides | None]]]:
        """Kernels, tables and last arguments of each batch of boxes on such maps."""
        height, width = maps.shape[2:]
        in_float64 = maps.dtype.itemsize == 8
        kernels = self._kernels("float64" if in_float64 else "float32")
        overrides = self._overrides
        table_bytes = 0
        num_threads = threads.effective_num_threads(spec.num_threads)
        if overrides is not None:
            table_bytes = overrides.table_bytes or 0
            if overrides.parallel is False:
                num_threads = 1
        first = 0
        while first < len(order):
            taps = Taps(
                rois,
                order,
                first,
                height,
                width,
                spec,
                not in_float64,
                num_threads,
                with_slopes,
                first_image,
                table_bytes,
            )
            yield kernels, taps, (num_threads, overrides)
            first = taps.last

    def _kernels(self, working_type: str) -> ModuleType:
        return variants.load(self.variant, working_type)


def _room(shape: tuple[int, ...], like: Floats) -> tuple[Floats, Update]:
    """A new array of that shape, and what becomes of what it holds."""
    dtype = like.dtype.newbyteorder("=")
    if dtype.itemsize * math.prod(shape) < FRESH_BYTES:
        return np.empty(shape, dtype), OVERWRITE
    return np.zeros(shape, dtype), ZEROED


def _channels_first(spec: PoolSpec, *arrays: Floats) -> tuple[Floats, ...]:
    """The arrays as views with their axes in the order (N or K, C, rows, cols)."""
    if spec.layout == "NCHW":
        return arrays
    return tuple(array.transpose(0, 3, 1, 2) for array in arrays)


def _sorted_boxes(rois: Floats, maps: Floats, spec: PoolSpec) -> NDArray[np.intp]:
    order = np.empty(len(rois), np.intp)
    sort_boxes(rois, *maps.shape[2:], spec, order)
    return order


def _run_roi_pool(
    features: NDArray[np.floating],
    rois: NDArray[np.floating],
    spec: PoolSpec,
    out: NDArray[np.floating],
) -> None:
    """Hand native, aligned arrays to RoI Pooling."""
    num_threads = threads.effective_num_threads(spec.num_threads)
    cpu_roi_pool.roi_pool(features, rois, spec, out, num_threads)


BACKEND = CpuBackend()
