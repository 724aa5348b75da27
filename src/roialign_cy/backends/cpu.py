"""The CPU backend: NumPy arrays to the compiled core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .._core import memory, threads, variants
from .._core.runtime import in_standard_mode
from .._core.taps import BoxTaps, PointTaps, Taps, Update
from ._protocol import API_VERSION
from .kit import new_maps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from .._spec import CallSpec

    Floats: TypeAlias = NDArray[np.floating]

ORDERS = ("tiled", "planar")
OVERWRITE, ZEROED, ACCUMULATE = Update.OVERWRITE, Update.ZEROED, Update.ACCUMULATE
ALL = slice(None)
FRESH_BYTES = 32 << 20
"""From here on the C library takes memory from the system each time: there, zeros cost nothing."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What tests force, to hold every way through the core to the same bits.

    Attributes
    ----------
    order : {"tiled", "planar"} or None
        Order of the loops of a forward pass; None is what the cost model says, here and below.
    parallel : bool or None
        Whether to use threads, however small the work.
    splits : int or None
        Tasks that the boxes of one image and block of channels are cut into.
    run : int or None
        Rows of sections that the tiled order works on at a time in a forward pass.
    streams : bool or None
        Whether the tiled order writes the result of a forward pass past the caches.
    in_place : bool or None
        Whether maps with their channels last are read as they lie, or packed.
    scratch_bytes : int or None
        Bytes of scratch memory that a thread may take for rows that boxes share.
    table_bytes : int or None
        Bytes of tables at which a batch of boxes ends.
    """

    order: str | None = None
    parallel: bool | None = None
    splits: int | None = None
    run: int | None = None
    streams: bool | None = None
    in_place: bool | None = None
    scratch_bytes: int | None = None
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
    takes_levels = True
    reads_all_types = True

    def __init__(
        self, name: str = "cpu", variant: str | None = None, overrides: Overrides | None = None
    ) -> None:
        self.name = name
        if variant is not None:
            self.variant = variant
        self._overrides = overrides

    @cached_property
    def variant(self) -> str:
        """The CPU variant that calls run on."""
        return variants.chosen()

    def unavailable_reason(self) -> str | None:
        """What is wrong with the variant that ``ROIALIGN_CPU`` forces; else None."""
        try:
            _ = self.variant
        except ValueError as error:
            return str(error)
        return None

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """None: every call can be run."""
        return None

    def roi_align(
        self,
        maps: tuple[Floats, ...],
        rois: Floats,
        levels: NDArray[np.integer] | None,
        spec: CallSpec,
        out: Floats,
    ) -> Floats:
        """Pool ``maps`` under ``rois`` into ``out``; see `Backend.roi_align`."""
        for level, rows, its_spec in _by_level(levels, spec):
            features = maps[level]
            if features.size == 0:
                out[rows] = 0
                continue
            kernels, taps, num_threads = self._prepare(out.dtype, features, rois, rows, its_spec)
            while taps.next_batch():
                kernels.forward(features, out, taps, num_threads, self._overrides)
        return out

    def feature_gradient(
        self,
        grad_output: Floats,
        rois: Floats,
        levels: NDArray[np.integer] | None,
        shapes: tuple[tuple[int, int, int, int], ...],
        spec: CallSpec,
        features: tuple[Floats, ...] | None,
        out: tuple[Floats, ...] | None,
    ) -> tuple[Floats, ...]:
        """Gradient with respect to the features; see `Backend.feature_gradient`."""
        results = []
        for level, rows, its_spec in _by_level(levels, spec):
            if out is None:
                result, update = _room(shapes[level], grad_output, spec)
            else:
                result, update = out[level], OVERWRITE
            maps = None if features is None else features[level]
            if result.size and result.dtype.itemsize > 2:
                self._sum_features(grad_output, rois, rows, maps, its_spec, result, update)
            elif result.size:
                self._sum_in_float32(grad_output, rois, rows, maps, its_spec, result, update)
            results.append(result)
        return tuple(results)

    @in_standard_mode
    def box_gradient(
        self,
        grad_output: Floats,
        rois: Floats,
        levels: NDArray[np.integer] | None,
        features: tuple[Floats, ...],
        spec: CallSpec,
        out: Floats | None,
    ) -> Floats:
        """Gradient with respect to the boxes; see `Backend.box_gradient`."""
        result = np.empty((len(rois), spec.parameters), rois.dtype) if out is None else out
        result[...] = self._box_gradient(grad_output, rois, levels, features, spec)
        return result

    @in_standard_mode
    def _sum_in_float32(
        self,
        grads: Floats,
        rois: Floats,
        rows: NDArray[np.intp] | slice,
        features: Floats | None,
        spec: CallSpec,
        out: Floats,
        update: Update,
    ) -> None:
        """Sum the gradient in place of two-byte floats, which would round; one image at a time."""
        images = rois[rows, 0].astype(np.intp)
        by_image = np.argsort(images, kind="stable")  # an image's boxes ascend
        present, begin = np.unique(images[by_image], return_index=True)
        if update != ZEROED:
            out[np.delete(np.arange(len(out)), present)] = 0
        if present.size == 0:
            return
        if not isinstance(rows, slice):
            by_image = rows[by_image]
        total = np.empty((1, *out.shape[1:]), np.float32)
        for image, of_image in zip(present, np.split(by_image, begin[1:]), strict=True):
            maps = None if features is None else features[image : image + 1]
            self._sum_features(grads, rois, of_image, maps, spec, total, OVERWRITE, image)
            out[image] = total[0]

    def _sum_features(
        self,
        grads: Floats,
        rois: Floats,
        rows: NDArray[np.intp] | slice,
        features: Floats | None,
        spec: CallSpec,
        out: Floats,
        update: Update,
        first_image: int = 0,
    ) -> None:
        """Sum the gradient of some boxes into ``out``, batch by batch."""
        maps = features if spec.mode == "max" else None
        kernels, taps, num_threads = self._prepare(
            out.dtype, out, rois, rows, spec, first_image=first_image
        )
        while taps.next_batch():
            kernels.feature_gradient(grads, maps, out, taps, update, num_threads, self._overrides)
            update = ACCUMULATE
        if update == OVERWRITE:  # there was no box
            out[...] = 0

    def _box_gradient(
        self,
        grads: Floats,
        rois: Floats,
        levels: NDArray[np.integer] | None,
        features: tuple[Floats, ...],
        spec: CallSpec,
    ) -> NDArray[np.float64]:
        """Gradient with respect to the boxes, in float64."""
        out = np.zeros((len(rois), spec.parameters))
        for level, rows, its_spec in _by_level(levels, spec):
            maps = features[level]
            if maps.size == 0:
                continue
            kernels, taps, num_threads = self._prepare(
                grads.dtype, maps, rois, rows, its_spec, with_slopes=True
            )
            while taps.next_batch():
                kernels.box_gradient(grads, maps, out, taps, num_threads, self._overrides)
        return out

    def _prepare(
        self,
        dtype: np.dtype[Any],
        maps: NDArray[Any],
        rois: Floats,
        rows: NDArray[np.intp] | slice,
        spec: CallSpec,
        with_slopes: bool = False,
        first_image: int = 0,
    ) -> tuple[ModuleType, BoxTaps, int]:
        """Kernels with results of ``dtype``, tables of the boxes in ``rows``, threads to use."""
        _, _, height, width = maps.shape
        in_float64 = dtype.itemsize == 8
        kernels = variants.load(self.variant, "float64" if in_float64 else "float32")
        overrides = self._overrides
        table_bytes = 0
        num_threads = threads.effective_num_threads(spec.num_threads)
        if overrides is not None:
            table_bytes = overrides.table_bytes or 0
            if overrides.parallel is False:
                num_threads = 1
        make = PointTaps if spec.sampling == "rotated" else Taps
        taps = make(
            rois,
            None if isinstance(rows, slice) else rows,
            height,
            width,
            spec,
            not in_float64,
            num_threads,
            with_slopes,
            first_image,
            table_bytes,
        )
        return kernels, taps, num_threads


def _room(shape: tuple[int, ...], like: Floats, spec: CallSpec) -> tuple[Floats, Update]:
    """New maps of that shape, and what becomes of what they hold."""
    if like.itemsize * math.prod(shape) < FRESH_BYTES:
        return new_maps(shape, like.dtype, spec), OVERWRITE
    return new_maps(shape, like.dtype, spec, memory.zeros), ZEROED


def _by_level(
    levels: NDArray[np.integer] | None, spec: CallSpec
) -> Sequence[tuple[int, NDArray[np.intp] | slice, CallSpec]]:
    """Each map's number, the rows of its boxes, and the call as it is for them."""
    if levels is None:
        return ((0, ALL, spec),)
    return [
        (level, np.flatnonzero(levels == level), spec.at_level(level))
        for level in range(len(spec.spatial_scales))
    ]


BACKEND = CpuBackend()
