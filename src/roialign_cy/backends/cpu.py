"""The CPU backend: NumPy arrays to the compiled core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .._core import threads, variants
from .._core.taps import Taps
from ..boxes import is_plain
from . import cpu_roi_pool
from ._protocol import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from .._spec import PoolSpec

    Floats: TypeAlias = NDArray[np.floating]
    Runner: TypeAlias = Callable[[Floats, Floats, PoolSpec, Floats], None]
    """Pools features under rois into an output, all native and aligned, in the order NCHW."""

ORDERS = ("tiled", "planar")
BUFFER_BYTES = 16 << 20
"""Output that is held back at a time where it cannot be written in place."""
FRESH_BYTES = 32 << 20
"""From here on the C library takes memory from the system each time: there, zeros cost nothing."""


@dataclass(frozen=True, slots=True)
class Tuning:
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
    """

    order: str | None = None
    parallel: bool | None = None
    splits: int | None = None
    run: int | None = None
    streams: bool | None = None


_AUTOMATIC = Tuning()


class CpuBackend:
    """RoI Align on the CPU, by one of the compiled variants.

    Parameters
    ----------
    name : str, default "cpu"
        Name of the backend.
    variant : str or None, default None
        The CPU variant to run on; None is the best, or what ``ROIALIGN_CPU`` says.
    tuning : Tuning, optional
        Choices taken from the cost model.
    """

    api_version = API_VERSION
    array_types = ("numpy:ndarray",)

    def __init__(
        self, name: str = "cpu", variant: str | None = None, tuning: Tuning = _AUTOMATIC
    ) -> None:
        self.name = name
        self._forced_variant = variant
        self._tuning = tuning

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
        self._pool(features, rois, spec, out, self._run)
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
        if spec.layout == "NHWC":
            grad_output = grad_output.transpose(0, 3, 1, 2)
            features = None if features is None else features.transpose(0, 3, 1, 2)
        grads, maps = _plain(grad_output), None
        if features is not None and spec.needs_features(wrt):
            maps = _plain(features)
        results = []
        for name in wrt:
            if name == "features":
                result, held = (out, "anything") if out is not None else _room(input_shape, grads)
                placed = result.transpose(0, 3, 1, 2) if spec.layout == "NHWC" else result
                self._spread(grads, rois, maps, spec, placed, held)
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
        self._pool(features, rois, spec, out, _run_roi_pool)
        return out

    def _spread(
        self,
        grads: NDArray[np.floating],
        rois: NDArray[np.floating],
        features: NDArray[np.floating] | None,
        spec: PoolSpec,
        out: NDArray[np.floating],
        held: str,
    ) -> None:
        """Gradient by the features, all arrays' axes in the order (N or K, C, rows, cols)."""
        if grads.size == 0 or out.size == 0:
            out[...] = 0
        elif out.dtype == np.float16:
            # Summed in float32, one image at a time, always: in float16 every sum would round.
            total = np.empty((1, *out.shape[1:]), np.float32)
            is_pooled = np.zeros(len(out), bool)
            for index, chosen in _by_image(rois):
                boxes = rois[chosen]
                boxes[:, 0] = 0
                maps = None if features is None else features[index : index + 1]
                self._run_spread(grads[chosen], boxes, maps, spec, total, "anything")
                with np.errstate(over="ignore"):
                    out[index] = total[0]
                is_pooled[index] = True
            out[~is_pooled] = 0
        elif not out.flags.aligned:
            aligned = np.empty(out.shape, out.dtype)
            self._run_spread(grads, rois, features, spec, aligned, "anything")
            out[...] = aligned
        else:
            self._run_spread(grads, rois, features, spec, out, held)

    def _box_gradient(
        self,
        grads: NDArray[np.floating],
        rois: NDArray[np.floating],
        features: NDArray[np.floating],
        spec: PoolSpec,
    ) -> NDArray[np.float64]:
        """Gradient by the boxes, arrays' axes in the order (N or K, C, rows, cols)."""
        out = np.zeros((len(rois), 4))
        if grads.size == 0 or features.size == 0:
            return out
        for kernels, taps, options in self._batches(features, rois, spec, with_slopes=True):
            kernels.box_gradient(grads, features, out, taps, *options)
        return out

    def _run_spread(
        self,
        grads: NDArray[np.floating],
        rois: NDArray[np.floating],
        features: NDArray[np.floating] | None,
        spec: PoolSpec,
        out: NDArray[np.floating],
        held: str,
    ) -> None:
        """Hand native, aligned arrays to the core, boxes in batches of bounded memory."""
        maps = features if spec.mode == "max" else None
        for kernels, taps, options in self._batches(out, rois, spec):
            kernels.spread(grads, maps, out, taps, held, *options)
            held = "sums"

    def _pool(
        self,
        features: NDArray[np.floating],
        rois: NDArray[np.floating],
        spec: PoolSpec,
        out: NDArray[np.floating],
        run: Runner,
    ) -> None:
        """Pool arrays in the call's layout by ``run``, which takes native, aligned ones."""
        if spec.layout == "NHWC":
            features, out = features.transpose(0, 3, 1, 2), out.transpose(0, 3, 1, 2)
        height, width = features.shape[2:]
        if out.size == 0:
            return
        if height == 0 or width == 0:
            out[...] = 0
        elif not is_plain(features):
            _pool_image_by_image(features, rois, spec, out, run)
        elif not out.flags.aligned:
            _run_in_pieces(features, rois, np.arange(len(rois)), spec, out, run)
        else:
            run(features, rois, spec, out)

    def _run(
        self,
        features: NDArray[np.floating],
        rois: NDArray[np.floating],
        spec: PoolSpec,
        out: NDArray[np.floating],
    ) -> None:
        """Hand native, aligned arrays to the core, boxes in batches of bounded memory."""
        for kernels, taps, options in self._batches(features, rois, spec):
            kernels.forward(features, out, taps, *options, self._tuning.run, self._tuning.streams)

    def _batches(
        self,
        maps: NDArray[np.floating],
        rois: NDArray[np.floating],
        spec: PoolSpec,
        with_slopes: bool = False,
    ) -> Iterator[tuple[ModuleType, Taps, tuple[int, str | None, bool | None, int | None]]]:
        """Kernels, tables and options of each batch of boxes on maps of that shape and type."""
        height, width = maps.shape[2:]
        in_float64 = maps.dtype.itemsize == 8
        kernels = self._kernels("float64" if in_float64 else "float32")
        tuning = self._tuning
        num_threads = threads.effective_num_threads(spec.num_threads)
        if tuning.parallel is False:
            num_threads = 1
        options = (num_threads, tuning.order, tuning.parallel, tuning.splits)
        first = 0
        while first < len(rois):
            taps = Taps(rois, first, height, width, spec, not in_float64, num_threads, with_slopes)
            yield kernels, taps, options
            first = taps.last

    def _kernels(self, working_type: str) -> ModuleType:
        return variants.load(self.variant, working_type)


def _room(shape: tuple[int, ...], like: Floats) -> tuple[Floats, str]:
    """A new array of that shape, and what it holds, as the kernels have it."""
    if like.itemsize * math.prod(shape) < FRESH_BYTES:
        return np.empty(shape, like.dtype), "anything"
    return np.zeros(shape, like.dtype), "zeros"


def _pool_image_by_image(
    features: NDArray[np.floating],
    rois: NDArray[np.floating],
    spec: PoolSpec,
    out: NDArray[np.floating],
    run: Runner,
) -> None:
    """Pool a map that the core cannot read as it lies, with one image in copy at a time."""
    boxes = rois.copy()
    boxes[:, 0] = 0
    for index, chosen in _by_image(rois):
        image = features[index][np.newaxis]
        image = image.astype(image.dtype.newbyteorder("="), order="C")
        _run_in_pieces(image, boxes, chosen, spec, out, run)


def _by_image(rois: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each image that has boxes, and which ones: in time that grows with the boxes only."""
    order = np.argsort(rois[:, 0], kind="stable")
    images, first = np.unique(rois[order, 0], return_index=True)
    for index, chosen in zip(images, np.split(order, first[1:]), strict=True):
        yield int(index), chosen


def _run_in_pieces(
    features: NDArray[np.floating],
    rois: NDArray[np.floating],
    chosen: NDArray[np.intp],
    spec: PoolSpec,
    out: NDArray[np.floating],
    run: Runner,
) -> None:
    """Pool the chosen boxes by way of a buffer of bounded size."""
    boxes_per_piece = max(BUFFER_BYTES * len(out) // out.nbytes, 1)
    for first in range(0, len(chosen), boxes_per_piece):
        piece = chosen[first : first + boxes_per_piece]
        pooled = np.empty((len(piece), *out.shape[1:]), out.dtype)
        run(features, rois[piece], spec, pooled)
        out[piece] = pooled


def _run_roi_pool(
    features: NDArray[np.floating],
    rois: NDArray[np.floating],
    spec: PoolSpec,
    out: NDArray[np.floating],
) -> None:
    """Hand native, aligned arrays to RoI Pooling."""
    num_threads = threads.effective_num_threads(spec.num_threads)
    cpu_roi_pool.roi_pool(features, rois, spec, out, num_threads)


def _plain(array: NDArray[np.floating]) -> NDArray[np.floating]:
    """The array, or a copy of it that compiled code can read."""
    return array if is_plain(array) else array.astype(array.dtype.newbyteorder("="))


BACKEND = CpuBackend()
