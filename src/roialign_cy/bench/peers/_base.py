"""What the peers share: the conventions they know, and how a prepared call becomes a backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calls import PreparedCall

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

    from ...typing import Mode  # other versions do not have it

HALF_PIXEL = (0.5, None)
WHOLE_PIXEL = (0.0, 1.0)
"""The pairs (pixel_offset, min_size) that the peers have a name for."""

MODELS_KEPT = 8
"""Compiled models that a peer keeps for later calls; each has threads and memory of its own."""


class Peer:
    """Another project's RoI Align as a backend.

    A subclass says what it is made of and builds calls in `prepare`. Where a peer fixes one
    thread count for the whole process, the call sets it on entering and leaves it there.
    """

    api_version = 2
    array_types = ("numpy:ndarray",)

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    modes_refused: ClassVar[Mapping[Mode, str]]
    """Mode -> why the peer does not have it."""
    near_modes: ClassVar[Mapping[Mode, tuple[Mode, str]]] = {}
    """Refused mode -> the peer's mode that is nearest to it, and how its answers differ."""

    dtypes: ClassVar[tuple[str, ...]] = ("float16", "float32", "float64")
    """Types of the NumPy maps that it is prepared for."""
    pools_levels: ClassVar[bool] = False
    """Whether it has a call of several maps, `prepare_levels`."""

    coordinate_ulps = 8
    """Rounding of a sample's position, in units of the last place of the map's far end: the peers
    compute positions in the features' type."""

    def unavailable_reason(self) -> str | None:
        """Say which package is missing or broken; None if all of them import."""
        return _import_failure(self.packages)

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """Say what of the call the peer has no words for; most only run networks."""
        if operation != "roi_align":
            return f"{self.name} has no {operation.replace('_', ' ')}"
        return self._cannot_place(spec) or self.modes_refused.get(spec.mode)

    def cannot_read(self, dtype: str) -> str | None:
        """Say that it has nothing for NumPy maps of that type, where it has not."""
        return None if dtype in self.dtypes else f"{self.name} takes no {dtype} maps from NumPy"

    def stand_in(self, spec: CallSpec) -> tuple[CallSpec, str] | None:
        """Give the nearest call to one of a refused mode, and how it differs; None without one.

        For timing only: the work is comparable, the answer is not always the same.
        """
        if spec.mode not in self.near_modes or self._cannot_place(spec):
            return None
        mode, difference = self.near_modes[spec.mode]
        return replace(spec, mode=mode), difference

    def _cannot_place(self, spec: CallSpec) -> str | None:
        """Say why the peer has no words for where the samples lie."""
        if len(spec.spatial_scales) > 1 and not self.pools_levels:
            return f"{self.name} takes one map a call"
        if spec.sampling != "centered":
            return f"{self.name} knows the centered sampling only, not {spec.sampling!r}"
        if spec.border != "clamp":
            return f"{self.name} knows the border 'clamp' only, not {spec.border!r}"
        if (spec.pixel_offset, spec.min_size) not in (HALF_PIXEL, WHOLE_PIXEL):
            return (
                f"{self.name} knows pixel_offset 0.5 without min_size and pixel_offset 0 with "
                f"min_size 1, not {spec.pixel_offset:g} with {spec.min_size}"
            )
        rows, cols = spec.sampling_ratio
        if rows != cols:
            return f"{self.name} takes one sampling_ratio for both axes, not {rows} and {cols}"
        return None

    def prepare(self, features: NDArray[Any], rois: NDArray[Any], spec: CallSpec) -> PreparedCall:
        """Convert the inputs, in the layout of the call, and compile what there is to compile."""
        raise NotImplementedError

    def prepare_levels(
        self, maps: list[NDArray[Any]], rois: NDArray[Any], spec: CallSpec
    ) -> PreparedCall:
        """Do the same for several maps, from which the boxes' sizes choose."""
        raise NotImplementedError

    def roi_align(
        self,
        maps: tuple[NDArray[Any], ...],
        rois: NDArray[Any],
        levels: NDArray[Any] | None,
        spec: CallSpec,
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Pool ``maps`` under ``rois``."""
        from roialign_cy.backends import kit  # not above: the suite runs on older versions too

        (features,) = maps
        refusal = self.cannot_read(features.dtype.name)
        if refusal is not None:
            raise TypeError(refusal)
        if 0 in out.shape or 0 in features.shape:  # torchvision reads out of bounds here
            out[...] = 0
        else:
            call = self.prepare(kit.as_given(features, spec), rois, spec)
            out[...] = kit.as_nchw(call.result(), spec)
        return out

    def feature_gradient(self, *arguments: Any) -> Any:
        """Never called: `cannot_run` refuses it."""
        raise NotImplementedError

    box_gradient = feature_gradient


def working_dtype(features: NDArray[Any]) -> np.dtype[Any]:
    """Type that a peer computes in: its float16 kernels, if any, take positions in float16 too."""
    return np.dtype("float64" if features.dtype.itemsize == 8 else "float32")


def plain(array: NDArray[Any], dtype: np.typing.DTypeLike) -> NDArray[Any]:
    """Give ``array`` as peers take it: contiguous, aligned, native, and writable, of ``dtype``."""
    return np.require(array, np.dtype(dtype).newbyteorder("="), ["C", "A", "W"])


@cache
def _import_failure(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            found = version(package)
        except PackageNotFoundError:
            return f"{package} is not installed; pip install 'roialign_cy[peers]'"
        try:
            import_module(package)
        except Exception as error:  # torch and torchvision of different builds fail in many ways
            return f"{package} {found} failed to import: {type(error).__name__}: {error}"
    return None
