"""The operators that torch knows: their schemas, devices, shapes and derivatives.

Registered, so that ``torch.compile`` and ``torch.export`` keep them as one node of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from . import _kernels
from ._direct import Operator

_NAMESPACE = "roialign_cy"
_GEOMETRY = (
    "float spatial_scale, SymInt[2] sampling_ratio, str mode, "
    "float pixel_offset, float? min_size, str sampling, str max_rule, str border"
)
_MODE = 2  # its place in there
# Results follow the strides of the arguments, so those must not change after tracing.
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)

library = torch.library.Library(_NAMESPACE, "DEF")


def register(
    schema: str,
    kernel: Callable[..., Any],
    shape: Callable[..., Any],
    remember: Callable[..., None],
    differentiate: Callable[..., Any],
    devices: Iterable[str] = tuple(_kernels.BRIDGES),
) -> Operator:
    """Define an operator, of tensors and after them options, with its implementations."""
    name, _, arguments = schema.partition(" -> ")[0].partition("(")
    library.define(schema, tags=_TAGS)
    for device in devices:
        library.impl(name, kernel, device.upper())
    qualified = f"{_NAMESPACE}::{name}"
    torch.library.register_fake(qualified, shape, lib=library)
    torch.library.register_autograd(qualified, differentiate, setup_context=remember, lib=library)
    overload = getattr(getattr(torch.ops, _NAMESPACE), name).default
    derivative = None if "Tensor[]" in schema else (remember, differentiate)
    return Operator(overload, arguments.count("Tensor"), kernel, derivative)


# Gradients with respect to the boxes, which no function here differentiates again.


def remember_nothing(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    pass


def _refuse(ctx: Any, grad: Tensor) -> None:
    raise RuntimeError(
        "RoI Align's gradient with respect to the boxes cannot be differentiated again"
    )


def all_columns(sides: Tensor) -> Tensor:
    """Turn the gradient of sides into one of rows of five, whose first is not a coordinate."""
    return torch.nn.functional.pad(sides, (1, 0))


def _none_for(geometry: list[Any]) -> list[None]:
    return [None] * len(geometry)


def as_computed(tensor: Tensor) -> Tensor:
    """A tensor as the operator takes it where it is called: autocast widens halves."""
    return widened(tensor) if torch.is_autocast_enabled(tensor.device.type) else tensor


def widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class Pooling:
    """A pooling and its two gradients, as operators.

    Parameters
    ----------
    name : str
        Of the pooling; those of the gradients begin with it.
    geometry : str
        The arguments that the three share, of which the third is the mode.
    kernels : Kernels
        What they compute.

    Attributes
    ----------
    pool, feature_gradient, box_gradient : Operator
    kernels : Kernels
    """

    def __init__(self, name: str, geometry: str, kernels: _kernels.Kernels) -> None:
        self.kernels = kernels
        self.pool = register(
            f"{name}(Tensor input, Tensor rois, SymInt[2] output_size, {geometry}) -> Tensor",
            kernels.pool,
            kernels.shape_of_pool,
            self._remember_pool,
            self._differentiate_pool,
        )
        self.feature_gradient = register(
            f"{name}_feature_gradient(Tensor grad_output, Tensor rois, Tensor? features, "
            f"SymInt[4] input_shape, {geometry}) -> Tensor",
            kernels.feature_gradient,
            kernels.shape_of_feature_gradient,
            self._remember_feature_gradient,
            self._differentiate_feature_gradient,
        )
        self.box_gradient = register(
            f"{name}_box_gradient(Tensor grad_output, Tensor rois, Tensor features, "
            f"{geometry}) -> Tensor",
            kernels.box_gradient,
            kernels.shape_of_box_gradient,
            remember_nothing,
            _refuse,
        )
        for device in _kernels.BRIDGES:
            library.impl(name, self._under_autocast(device), f"Autocast{device.upper()}")

    def _remember_pool(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, rois, _, *ctx.geometry = inputs
        # The mean's gradient needs only the boxes: the maps can be freed.
        is_needed = ctx.geometry[_MODE] != "avg" or ctx.needs_input_grad[1]
        ctx.save_for_backward(rois, input if is_needed else None)
        ctx.input_shape = input.shape

    def _differentiate_pool(self, ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        rois, input = ctx.saved_tensors
        by_input = by_rois = None
        if ctx.needs_input_grad[0]:
            # For the mean it must not depend on the maps, or it could not be differentiated.
            features = None if ctx.geometry[_MODE] == "avg" else input
            by_input = self.feature_gradient(
                grad_output, rois, features, ctx.input_shape, *ctx.geometry
            )
        if ctx.needs_input_grad[1]:
            by_rois = all_columns(self.box_gradient(grad_output, rois, input, *ctx.geometry))
        return by_input, by_rois, None, *_none_for(ctx.geometry)

    # The gradient with respect to the features: of the mean, linear in grad_output

    def _remember_feature_gradient(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        grad_output, rois, _, _, *ctx.geometry = inputs
        ctx.save_for_backward(rois, grad_output if ctx.needs_input_grad[1] else None)
        ctx.output_size = grad_output.shape[2:]

    def _differentiate_feature_gradient(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.geometry[_MODE] != "avg":
            raise RuntimeError("the gradient of RoI Align's maximum cannot be differentiated again")
        rois, grad_output = ctx.saved_tensors
        by_grad_output = by_rois = None
        # <grad, R^T grad_output> = <R grad, grad_output>, where R pools.
        if ctx.needs_input_grad[0]:
            by_grad_output = self.pool(grad, rois, ctx.output_size, *ctx.geometry)
        if ctx.needs_input_grad[1]:
            by_rois = all_columns(self.box_gradient(grad_output, rois, grad, *ctx.geometry))
        return by_grad_output, by_rois, None, None, *_none_for(ctx.geometry)

    # Autocast as in torch: halves are computed in float32 and cast back; integers give float32.

    def _under_autocast(self, device: str) -> Callable[..., Tensor]:
        def pool_in_float32(input: Tensor, rois: Tensor, *options: Any) -> Tensor:
            with torch.autocast(device, enabled=False):
                pooled = self.pool(widened(input), widened(rois), *options)
            return pooled.to(input.dtype) if input.is_floating_point() else pooled

        return pool_in_float32


upright = Pooling("roi_align", _GEOMETRY, _kernels.UPRIGHT)
roi_align = upright.pool.overload
feature_gradient = upright.feature_gradient.overload
box_gradient = upright.box_gradient.overload
