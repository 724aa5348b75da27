"""What the operators compute from tensors, and the shapes of their results; no autograd here.

``*geometry`` is where samples lie and how they are reduced: the arguments of `_options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import _api
from .._rois import wrong_shape
from ..conventions import Convention
from ..typing import Border, MaxRule, Mode, Sampling
from . import _bridge

BRIDGES: dict[str, Callable[..., Tensor]] = {"cpu": _bridge.on_cpu, "cuda": _bridge.on_cuda}
"""Device type to the way from its tensors to arrays and back."""

_FLOATS = frozenset({torch.float16, torch.float32, torch.float64})
_INTEGERS = frozenset(
    {torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.uint8, torch.uint16, torch.uint32, torch.uint64}
)
_READ = frozenset({torch.bool, torch.int8, torch.uint8, torch.int16, torch.uint16})
"""Integers that maps may be of; what is pooled from them is float32."""
_NAMES_HERE = {"rois": "boxes", "features": "input"}
"""What the library's errors are about, to what a caller of these functions knows it as."""


@dataclass(frozen=True)
class Kind:
    """What differs between the operators of upright and of rotated boxes.

    Attributes
    ----------
    pool, differentiate : callable
        The library's functions.
    options : callable
        Their options, of ``*geometry``.
    parameters : int
        Numbers of a box, besides the index of its image.
    """

    pool: Callable[..., Any]
    differentiate: Callable[..., Any]
    options: Callable[..., dict[str, Any]]
    parameters: int


def pool(
    input: Tensor,
    rois: Tensor,
    output_size: Sequence[int],
    *geometry: Any,
    channels_last: bool | None = None,
    kind: Kind | None = None,
) -> Tensor:
    """Pool ``input`` under ``rois``; by default the result is channels-last if ``input`` is."""
    kind = kind or UPRIGHT
    _check_pool(input, rois, kind)
    if channels_last is None:
        channels_last = _is_channels_last(input)
    return _run(
        kind.pool,
        {"features": input, "rois": rois},
        {"output_size": output_size, **kind.options(*geometry)},
        lambda: _empty_pooled(input, rois, output_size, channels_last),
        channels_last,
    )


def shape_of_pool(
    input: Tensor,
    rois: Tensor,
    output_size: Sequence[int],
    *geometry: Any,
    kind: Kind | None = None,
) -> Tensor:
    """`pool` for tensors without values."""
    _check_pool(input, rois, kind or UPRIGHT)
    return _empty_pooled(input, rois, output_size, _is_channels_last(input))


def feature_gradient(
    grad_output: Tensor,
    rois: Tensor,
    features: Tensor | None,
    input_shape: Sequence[int],
    *geometry: Any,
    channels_last: bool | None = None,
    kind: Kind | None = None,
) -> Tensor:
    """Gradient with respect to the features, which are only needed for a maximum."""
    kind = kind or UPRIGHT
    check("grad_output", grad_output, rois, kind.parameters)
    tensors = {"grad_output": grad_output, "rois": rois}
    if features is not None:
        tensors["features"] = features
    if channels_last is None:
        channels_last = _is_channels_last(grad_output)
    n, c, h, w = input_shape
    shape = (n, h, w, c) if channels_last else (n, c, h, w)
    return _run(
        kind.differentiate,
        tensors,
        {"input_shape": shape, **kind.options(*geometry)},
        lambda: _empty_maps(grad_output, input_shape, channels_last),
        channels_last,
    )


def shape_of_feature_gradient(
    grad_output: Tensor,
    rois: Tensor,
    features: Tensor | None,
    input_shape: Sequence[int],
    *geometry: Any,
    kind: Kind | None = None,
) -> Tensor:
    """`feature_gradient` for tensors without values."""
    check("grad_output", grad_output, rois, (kind or UPRIGHT).parameters)
    return _empty_maps(grad_output, input_shape, _is_channels_last(grad_output))


def box_gradient(
    grad_output: Tensor,
    rois: Tensor,
    features: Tensor,
    *geometry: Any,
    kind: Kind | None = None,
) -> Tensor:
    """Gradient with respect to the sides of the boxes, of shape (K, 4)."""
    kind = kind or UPRIGHT
    check("grad_output", grad_output, rois, kind.parameters)
    return _run(
        kind.differentiate,
        {"grad_output": grad_output, "rois": rois, "features": features},
        {"input_shape": tuple(features.shape), "wrt": "rois", **kind.options(*geometry)},
        lambda: shape_of_box_gradient(grad_output, rois, kind=kind),
        channels_last=False,
    )


def shape_of_box_gradient(
    grad_output: Tensor, rois: Tensor, *_: Any, kind: Kind | None = None
) -> Tensor:
    """`box_gradient` for tensors without values."""
    parameters = (kind or UPRIGHT).parameters
    check("grad_output", grad_output, rois, parameters)
    dtype = rois.dtype if rois.is_floating_point() else torch.float64
    return torch.empty((rois.shape[0], parameters), dtype=dtype, device=rois.device)


def _run(
    function: Callable[..., Any],
    tensors: Mapping[str, Tensor],
    options: Mapping[str, Any],
    empty: Callable[[], Tensor],
    channels_last: bool,
) -> Tensor:
    bridge = BRIDGES[tensors["rois"].device.type]
    try:
        if not channels_last:
            return bridge(function, tensors, options, empty)
        views = {name: t.permute(0, 2, 3, 1) if t.ndim == 4 else t for name, t in tensors.items()}
        result = bridge(
            function, views, {**options, "layout": "NHWC"}, lambda: empty().permute(0, 2, 3, 1)
        )
        return result.permute(0, 3, 1, 2)
    except (TypeError, ValueError) as error:
        name = re.match(r"\w*", str(error))[0]  # type: ignore[index]
        if name not in _NAMES_HERE:
            raise
        raise type(error)(_NAMES_HERE[name] + str(error).removeprefix(name)) from None


def _options(
    spatial_scale: float,
    sampling_ratio: Sequence[int],
    mode: Mode,
    pixel_offset: float,
    min_size: float | None,
    sampling: Sampling,
    max_rule: MaxRule,
    border: Border,
) -> dict[str, Any]:
    """The same for the library's functions."""
    return {
        "spatial_scale": spatial_scale,
        "sampling_ratio": sampling_ratio,
        "mode": mode,
        "convention": _convention(pixel_offset, min_size, sampling, mode, max_rule, border),
    }


UPRIGHT = Kind(_api.roi_align, _api.roi_align_backward, _options, 4)


@lru_cache
def _convention(
    pixel_offset: float,
    min_size: float | None,
    sampling: Sampling,
    mode: Mode,
    max_rule: MaxRule,
    border: Border,
) -> Convention:
    return Convention(pixel_offset, min_size, sampling, 0, mode, max_rule, border)


def check(name: str, maps: Tensor, rois: Tensor, parameters: int = 4) -> None:
    """Raise for what the library would call by another name, and for types that NumPy lacks."""
    check_floats(name, maps)
    check_shapes(name, maps, rois, parameters)


def check_shapes(name: str, maps: Tensor, rois: Tensor, parameters: int = 4) -> None:
    """Raise unless maps have four axes and boxes are rows of one number more than a box has."""
    check_axes(name, maps)
    check_numbers("boxes", rois)
    if rois.ndim != 2 or rois.shape[1] != 1 + parameters:
        raise ValueError(wrong_shape("boxes", tuple(rois.shape), maps.shape[0], parameters))


def _check_pool(input: Tensor, rois: Tensor, kind: Kind) -> None:
    """As `check`; on the CPU the library reads small integers too."""
    if input.dtype not in _READ or input.device.type != "cpu":
        check_floats("input", input)
    check_shapes("input", input, rois, kind.parameters)


def check_floats(name: str, tensor: Tensor) -> None:
    """Raise unless a tensor is of a dtype that the library interpolates in."""
    if tensor.dtype not in _FLOATS:
        raise TypeError(
            f"{name} must be float16, float32 or float64, got {tensor.dtype}{_way_out(tensor)}"
        )


def check_axes(name: str, maps: Tensor) -> None:
    """Raise unless maps have four axes."""
    if maps.ndim != 4:
        raise ValueError(f"{name} must have four axes (NCHW), got shape {tuple(maps.shape)}")


def check_numbers(name: str, boxes: Tensor) -> None:
    """Raise unless boxes are of a dtype that the library computes with."""
    if boxes.dtype not in _FLOATS | _INTEGERS:
        raise TypeError(f"{name} must be floats or integers, got {boxes.dtype}{_way_out(boxes)}")


def _way_out(tensor: Tensor) -> str:
    if tensor.dtype != torch.bfloat16:
        return ""
    return ": convert it with .float(), or call under torch.autocast"


def _is_channels_last(maps: Tensor) -> bool:
    """Whether channels lie next to each other; False if both layouts would fit."""
    return not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)


def _empty_pooled(
    input: Tensor, rois: Tensor, output_size: Sequence[int], channels_last: bool
) -> Tensor:
    return _empty_maps(input, (rois.shape[0], input.shape[1], *output_size), channels_last)


def _empty_maps(like: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    dtype = torch.float32 if like.dtype in _READ else like.dtype
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=memory_format)
