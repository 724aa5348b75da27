"""The validated call. The only place that knows what the arguments of a pooling call mean."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args

from ._choices import require_choice
from ._core.threads import check_num_threads
from .conventions import (
    MAX_SAMPLING_RATIO,
    MODE_OF_SAMPLING,
    MODES,
    ROUNDED_SAMPLINGS,
    Convention,
    find_convention,
    finite_number,
    int_pair,
    ratio_pair,
)
from .typing import AngleUnit, Border, ConventionName, Layout, Mode, Sampling, Wrt

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
WRT: MappingProxyType[Wrt, str] = MappingProxyType(
    {"features": "feature_gradient", "rois": "box_gradient"}
)
"""What there are gradients with respect to -> the operation that computes one."""


@dataclass(frozen=True, slots=True)
class CallSpec:
    """Everything about a call except its arrays: what a backend is told.

    Attributes
    ----------
    output_size : (int, int)
        Sections per box along (rows, columns), each >= 1.
    spatial_scales : tuple of float
        Cells per input unit, of each map.
    pixel_offset : float
        Cells subtracted from scaled box coordinates.
    min_size : float or None
        Smallest extent of a box in cells.
    sampling : {"centered", "interior", "cells", "integral", "corners", "nearest", "rotated"}
        Where samples lie in a section, or what it reads instead. "rotated" are the centered
        samples of boxes that are turned: rows ``[batch_index, cx, cy, width, height, angle]``.
    border : {"clamp", "zero"}
        What samples within a cell of the map read beyond it.
    sampling_ratio : (int, int)
        Samples per section along (rows, columns); 0 stands for the adaptive count of the
        centered sampling (the interior sampling's own count is already filled in; where nothing
        is counted it is 1).
    mode : {"avg", "max", "max_weighted"}
        How samples are reduced; ``max_rule`` is already applied.
    channels_last : bool
        Memory order of a result that the backend allocates: that of the axes NHWC, or NCHW. The
        arrays that a backend is given have their axes in the order NCHW in either case.
    num_threads : int or None
        Upper bound from the caller; None leaves it to the backend's policy.
    angle : {"degrees", "radians"}, default "degrees"
        Unit of the angles of rotated boxes.
    clockwise : bool, default False
        Whether those go clockwise.
    """

    output_size: tuple[int, int]
    spatial_scales: tuple[float, ...]
    pixel_offset: float
    min_size: float | None
    sampling: Sampling | Literal["rotated"]
    border: Border
    sampling_ratio: tuple[int, int]
    mode: Mode
    channels_last: bool
    num_threads: int | None
    angle: AngleUnit = "degrees"
    clockwise: bool = False

    @property
    def parameters(self) -> int:
        """Numbers of a box, besides the index of its image."""
        return 5 if self.sampling == "rotated" else 4

    def output_shape(self, num_rois: int, channels: int) -> tuple[int, int, int, int]:
        """Shape of the pooled values of that many boxes: (K, C, rows, cols)."""
        rows, cols = self.output_size
        return num_rois, channels, rows, cols

    def needs_features(self, operation: str) -> bool:
        """Whether a gradient depends on the features, and not on the boxes alone."""
        return operation == "box_gradient" or self.mode != "avg"

    def at_level(self, level: int) -> CallSpec:
        """The same call on one of its maps alone."""
        return with_scales(self, self.spatial_scales[level : level + 1])


@lru_cache(maxsize=256)
def with_scales(spec: CallSpec, spatial_scales: tuple[float, ...]) -> CallSpec:
    """The same call on maps of other scales."""
    return replace(spec, spatial_scales=spatial_scales)


def make_wrt(wrt: Any, known: Mapping[Any, str] = WRT) -> tuple[str, ...]:
    """Check which gradients are asked for, and return the operations that compute them."""
    if isinstance(wrt, str) and wrt in known:
        return (known[wrt],)
    names = (wrt,) if isinstance(wrt, str) else wrt
    if not isinstance(names, tuple):
        names = tuple(names) if isinstance(names, list) else (names,)
    for name in names:
        if not isinstance(name, str) or name not in known:
            require_choice("wrt", name, known)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"wrt must name each gradient once, and at least one, got {wrt!r}")
    return tuple([known[name] for name in names])


def make_output_size(
    output_size: int | tuple[int, int], name: str = "output_size"
) -> tuple[int, int]:
    """Check the numbers of sections, and return them as a pair."""
    sections = int_pair(output_size, name)
    if min(sections) < 1:
        raise ValueError(f"{name} must be at least 1 x 1, got {sections}")
    if max(sections) > sys.maxsize:
        raise ValueError(f"{name} must be the size of an array, got {sections}")
    return sections


def make_shape(
    shape: tuple[int, ...], itemsize: int, name: str = "input_shape"
) -> tuple[int, int, int, int]:
    """Check the shape of features that are not given themselves."""
    try:
        n, c, h, w = map(operator.index, shape)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be four integers, got {shape!r}") from None
    if n < 0 or c < 0 or h < 0 or w < 0:
        raise ValueError(f"{name} must not be negative, got {(n, c, h, w)}")
    # NumPy leaves out sizes of 0 when it asks whether an array can exist.
    if (n or 1) * (c or 1) * (h or 1) * (w or 1) * itemsize > sys.maxsize:
        raise ValueError(f"{name} must be the shape of an array that can exist, got {shape}")
    return n, c, h, w


def require_gradient(spec: CallSpec, operations: tuple[str, ...]) -> None:
    """Raise unless there are such gradients."""
    if spec.sampling in ROUNDED_SAMPLINGS and "box_gradient" in operations:
        raise ValueError(
            f"wrt must be 'features' with sampling {spec.sampling!r}: rounded boxes have no "
            "gradient, got 'rois'"
        )
    if spec.mode == "max_weighted":
        raise ValueError(
            "mode 'max_weighted' has no gradient (under a convention of ONNX's, 'max' means it); "
            "'avg' and 'max' under another convention have one"
        )


def make_spec(
    output_size: int | tuple[int, int],
    convention: ConventionName | Convention,
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int] | None,
    mode: Mode | None,
    layout: Layout,
    num_threads: int | None,
) -> CallSpec:
    """Check the options of a call and fill in what its convention leaves open."""
    # Only Python's own numbers reach the cache: to it, (2, 2) equals (2.0, True), and a tensor is
    # the same key whatever its value.
    if type(output_size) is not int:
        output_size = int_pair(output_size, "output_size")
    if sampling_ratio is not None and type(sampling_ratio) is not int:
        sampling_ratio = ratio_pair(sampling_ratio)
    if type(spatial_scale) is not float:
        spatial_scale = make_scale(spatial_scale)
    if num_threads is not None and type(num_threads) is not int:
        num_threads = check_num_threads(num_threads)
    options = output_size, convention, spatial_scale, sampling_ratio, mode, layout, num_threads
    try:
        return _cached_spec(*options)
    except TypeError:  # what has no hash is refused by name
        pass
    return _build_spec(*options)


def _build_spec(
    output_size: int | tuple[int, int],
    convention: ConventionName | Convention,
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int] | None,
    mode: Mode | None,
    layout: Layout,
    num_threads: int | None,
) -> CallSpec:
    chosen = find_convention(convention)
    sections = make_output_size(output_size)
    ratio = ratio_pair(chosen.sampling_ratio if sampling_ratio is None else sampling_ratio)
    if chosen.sampling in MODE_OF_SAMPLING:
        if ratio != (0, 0):
            raise ValueError(
                f"sampling_ratio must be None or 0 with sampling {chosen.sampling!r}, "
                f"got {sampling_ratio!r}"
            )
        ratio = 1, 1
    elif chosen.sampling == "interior":
        ratio = (
            ratio[0] or max(sections[0] - 1, 1),
            ratio[1] or max(sections[1] - 1, 1),
        )
        if max(ratio) > MAX_SAMPLING_RATIO:
            raise ValueError(
                f"output_size {sections} asks for {max(ratio)} interior samples per section; "
                f"at most {MAX_SAMPLING_RATIO} are possible: give a sampling_ratio"
            )
    require_choice("layout", layout, LAYOUTS)
    return CallSpec(
        output_size=sections,
        spatial_scales=(make_scale(spatial_scale),),
        pixel_offset=chosen.pixel_offset,
        min_size=chosen.min_size,
        sampling=chosen.sampling,
        border=chosen.border,
        sampling_ratio=ratio,
        mode=_mode(mode, chosen),
        channels_last=layout == "NHWC",
        num_threads=check_num_threads(num_threads),
    )


_cached_spec = lru_cache(maxsize=256, typed=True)(_build_spec)


def _mode(mode: Mode | None, convention: Convention) -> Mode:
    if mode is None:
        mode = convention.mode
    require_choice("mode", mode, MODES)
    only = MODE_OF_SAMPLING.get(convention.sampling, mode)
    if mode != only:
        raise ValueError(
            f"mode must be {only!r} with sampling {convention.sampling!r}, got {mode!r}"
        )
    return convention.max_rule if mode == "max" else mode


def make_scale(spatial_scale: float, name: str = "spatial_scale") -> float:
    """Check a scale."""
    scale = finite_number(name, spatial_scale)
    if scale <= 0:
        raise ValueError(f"{name} must be > 0, got {spatial_scale!r}")
    return scale


def make_scales(spatial_scales: Sequence[float]) -> tuple[float, ...]:
    """Check the scales of several maps."""
    if isinstance(spatial_scales, str | bytes) or not isinstance(spatial_scales, Iterable):
        raise TypeError(
            f"spatial_scales must be a sequence with the scale of each map, got {spatial_scales!r}"
        )
    scales = tuple(
        make_scale(scale, f"spatial_scales[{level}]") for level, scale in enumerate(spatial_scales)
    )
    if not scales:
        raise ValueError(f"spatial_scales must be those of one map or more, got {spatial_scales!r}")
    return scales
