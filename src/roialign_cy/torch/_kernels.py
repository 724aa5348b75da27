"""What the operators compute from tensors, and the shapes of their results; no autograd here.

``*geometry`` is where samples lie and how they are reduced: what follows ``output_size`` in the
arguments of `_upright_spec`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from .. import _api
from .._rois import wrong_shape
from .._spec import CallSpec, make_spec
from ..conventions import Convention
from ..typing import Border, Layout, MaxRule, Mode, Sampling, Wrt
from . import _bridge

BRIDGES: dict[str, Callable[..., Tensor]] = {"cpu": _bridge.on_cpu, "cuda": _bridge.on_cuda}
"""Device type to the way from its tensors to arrays and back."""

_FLOATS = frozenset({torch.float16, torch.float32, torch.float64})
_INTEGERS = frozenset(
    {torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.uint8, torch.uint16, torch.uint32, torch.uint64}
)
_NUMBERS = _FLOATS | _INTEGERS
_READ = frozenset({torch.bool, torch.int8, torch.uint8, torch.int16, torch.uint16})
"""Integers that maps may be of; what is pooled from them is float32."""
LAYOUTS: tuple[Layout, Layout] = ("NCHW", "NHWC")
"""The layout of maps, by whether they are channels-last."""
_REFUSALS = (IndexError, TypeError, ValueError)
_NAMES_HERE = {"rois": "boxes", "features": "input"}
"""What the library's errors are about, to what a caller of these functions knows it as."""


class Kernels:
    """Pooling and its two gradients under one kind of boxes, and the shapes of their results.

    Parameters
    ----------
    make_spec : callable
        Makes the library's spec of a call, of ``output_size``, ``*geometry``, ``layout`` and
        ``num_threads``, which all have a hash: what it made is kept.
    parameters : int
        Numbers of a box, besides the index of its image.
    """

    def __init__(self, make_spec: Callable[..., CallSpec], parameters: int) -> None:
        self.make_spec = lru_cache(maxsize=256)(make_spec)
        self.parameters = parameters

    def pool(
        self,
        input: Tensor,
        rois: Tensor,
        output_size: Sequence[int],
        scale: float,
        ratio: Sequence[int],
        *options: Any,
        channels_last: bool | None = None,
    ) -> Tensor:
        """Pool ``input`` under ``rois``; by default the result is channels-last if ``input`` is."""
        if channels_last is None:
            channels_last = _is_channels_last(input)
        layout = LAYOUTS[channels_last]
        sections, ratio = tuple(output_size), tuple(ratio)

        def roi_align(
            features: Any, rois: Any, num_threads: int | None = None, out: Any = None
        ) -> Any:
            spec = self.make_spec(sections, scale, ratio, *options, layout, num_threads)
            return _api.pool(features, rois, spec, layout, None, out)

        empty = partial(_empty_pooled, input, rois, sections, channels_last)
        try:
            return _run(roi_align, (input, rois), channels_last, empty)
        except _REFUSALS as error:
            raise _as_named_here(error, self._check_pool, input, rois) from None

    def shape_of_pool(
        self, input: Tensor, rois: Tensor, output_size: Sequence[int], *_: Any
    ) -> Tensor:
        """`pool` for tensors without values."""
        self._check_pool(input, rois)
        return _empty_pooled(input, rois, output_size, _is_channels_last(input))

    def feature_gradient(
        self,
        grad_output: Tensor,
        rois: Tensor,
        features: Tensor | None,
        input_shape: Sequence[int],
        *geometry: Any,
        channels_last: bool | None = None,
    ) -> Tensor:
        """Gradient with respect to the features, which are only needed for a maximum."""
        if channels_last is None:
            channels_last = _is_channels_last(grad_output)
        n, c, h, w = input_shape
        return self._differentiate(
            "features",
            (grad_output, rois, features),
            (n, h, w, c) if channels_last else (n, c, h, w),
            geometry,
            channels_last,
            partial(_empty_maps, grad_output, input_shape, channels_last),
        )

    def shape_of_feature_gradient(
        self,
        grad_output: Tensor,
        rois: Tensor,
        features: Tensor | None,
        input_shape: Sequence[int],
        *_: Any,
    ) -> Tensor:
        """`feature_gradient` for tensors without values."""
        check("grad_output", grad_output, rois, self.parameters)
        return _empty_maps(grad_output, input_shape, _is_channels_last(grad_output))

    def box_gradient(
        self, grad_output: Tensor, rois: Tensor, features: Tensor, *geometry: Any
    ) -> Tensor:
        """Gradient with respect to the sides of the boxes, of shape (K, 4)."""
        return self._differentiate(
            "rois",
            (grad_output, rois, features),
            tuple(features.shape),
            geometry,
            False,
            partial(self.shape_of_box_gradient, grad_output, rois),
        )

    def shape_of_box_gradient(self, grad_output: Tensor, rois: Tensor, *_: Any) -> Tensor:
        """`box_gradient` for tensors without values."""
        check("grad_output", grad_output, rois, self.parameters)
        dtype = rois.dtype if rois.is_floating_point() else torch.float64
        return torch.empty((rois.shape[0], self.parameters), dtype=dtype, device=rois.device)

    def _differentiate(
        self,
        wrt: Wrt,
        tensors: tuple[Tensor, Tensor, Tensor | None],
        input_shape: Any,
        geometry: tuple[Any, ...],
        channels_last: bool,
        empty: Callable[[], Tensor],
    ) -> Tensor:
        layout = LAYOUTS[channels_last]
        scale, ratio, *options = geometry

        def roi_align_backward(
            grads: Any, rois: Any, features: Any, num_threads: int | None = None, out: Any = None
        ) -> Any:
            of_spec = scale, tuple(ratio), *options, layout, num_threads
            return _api.pool_backward(
                grads, rois, input_shape, features, wrt, layout, None, out, self.make_spec, of_spec
            )

        try:
            return _run(roi_align_backward, tensors, channels_last, empty)
        except _REFUSALS as error:
            named = _as_named_here(error, check, "grad_output", *tensors[:2], self.parameters)
            raise named from None

    def _check_pool(self, input: Tensor, rois: Tensor) -> None:
        """As `check`; on the CPU the library reads small integers too."""
        if input.dtype not in _READ or input.device.type != "cpu":
            check_floats("input", input)
        check_shapes("input", input, rois, self.parameters)


def _run(
    compute: Callable[..., Any],
    tensors: tuple[Tensor | None, ...],
    channels_last: bool,
    empty: Callable[[], Tensor],
) -> Tensor:
    """Have the library compute."""
    if channels_last:
        compute = partial(_in_nhwc, compute)
    return BRIDGES[_device_type(tensors[0])](compute, tensors, empty)


def _device_type(tensor: Tensor) -> str:
    """``tensor.device.type``, which takes ten times as long."""
    return "cpu" if tensor.is_cpu else tensor.device.type


def _as_named_here(error: Exception, check: Callable[..., None], *arguments: Any) -> Exception:
    """The library's error in the words of a caller of these functions.

    ``check``, of the ``arguments``, raises for what the library would call by another name.
    """
    try:
        check(*arguments)
    except (TypeError, ValueError) as named:
        return named
    name = re.match(r"\w*", str(error))[0]  # type: ignore[index]
    if name not in _NAMES_HERE:
        return error
    return type(error)(_NAMES_HERE[name] + str(error).removeprefix(name))


def _in_nhwc(compute: Callable[..., Any], *arrays: Any, out: Any = None, **options: Any) -> Any:
    """Compute with the axes of maps in another order, in which a result then lies in memory."""
    *turned, out = (
        array.transpose(0, 2, 3, 1) if getattr(array, "ndim", 0) == 4 else array
        for array in (*arrays, out)
    )
    return compute(*turned, out=out, **options).transpose(0, 3, 1, 2)


def _upright_spec(
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: tuple[int, int],
    mode: Mode,
    pixel_offset: float,
    min_size: float | None,
    sampling: Sampling,
    max_rule: MaxRule,
    border: Border,
    layout: Layout,
    num_threads: int | None,
) -> CallSpec:
    convention = Convention(pixel_offset, min_size, sampling, 0, mode, max_rule, border)
    return make_spec(
        output_size, convention, spatial_scale, sampling_ratio, None, layout, num_threads
    )


UPRIGHT = Kernels(_upright_spec, parameters=4)


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
    if boxes.dtype not in _NUMBERS:
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
