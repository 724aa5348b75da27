"""Operators, called without torch's dispatcher where it would find nothing else to do.

It takes longer than pooling a small box: it enters Python twice, for autograd and for the kernel,
and takes the arguments apart and together each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from types import new_class
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

try:
    from torch._C import (
        DispatchKey,
        DispatchKeySet,
        _dispatch_keys,
        _dispatch_tls_local_exclude_set,
        _dispatch_tls_local_include_set,
        _is_torch_function_mode_enabled,
    )
    from torch.autograd import _profiler_enabled

    forward_ad._current_level  # noqa: B018
    _EAGER = 0
    for _key in "CPU", "ADInplaceOrView", "AutogradCPU", "BackendSelect":
        _EAGER |= DispatchKeySet(getattr(DispatchKey, _key)).raw_repr()
    _can_tell = True
except (AttributeError, ImportError, TypeError):  # another torch, whose private names are others
    _can_tell = False

_PLAIN = (Tensor, torch.nn.Parameter)
_requires_grad = attrgetter("requires_grad")


class Operator:
    """An operator of torch, to call.

    Parameters
    ----------
    overload : torch.OpOverload
        The operator, with the kernel and its derivative registered.
    num_tensors : int
        How many of its arguments are tensors, lists of tensors or None: the first.
    kernel : callable
        What it computes on the CPU.
    derivative : tuple of callable or None
        ``setup_context`` and ``backward``, as `torch.library.register_autograd` takes them. Without
        it, calls that need a gradient are left to the dispatcher.
    """

    def __init__(
        self,
        overload: Any,
        num_tensors: int,
        kernel: Callable[..., Any],
        derivative: tuple[Callable[..., None], Callable[..., Any]] | None,
    ) -> None:
        self.overload = overload
        self._num_tensors = num_tensors
        self._kernel = kernel
        name = overload.__name__.partition(".")[0]
        self._function = derivative and _make_function(name, kernel, *derivative)

    def __call__(self, *args: Any) -> Any:
        tensors = _flat(args[: self._num_tensors])
        if torch.compiler.is_compiling() or not is_plain(tensors):
            refuse_tangents(tensors)
            return self.overload(*args)
        if not (torch.is_grad_enabled() and any(map(_requires_grad, tensors))):
            return self._kernel(*args)
        return self.overload(*args) if self._function is None else self._function.apply(*args)


def is_plain(tensors: Sequence[Tensor]) -> bool:
    """Whether the dispatcher would go to autograd and the CPU's kernel, and nowhere else.

    The answer is in what it would look at itself: the keys of the tensors, and those that modes,
    transforms and tracing have set. What somebody registers in place of our kernel is not noticed.
    """
    if (
        not _can_tell
        or _is_torch_function_mode_enabled()
        or _profiler_enabled()
        or forward_ad._current_level >= 0
    ):
        return False
    # As bits of an integer: operations of the sets themselves take longer.
    keys = _dispatch_tls_local_include_set().raw_repr()
    for tensor in tensors:
        if type(tensor) not in _PLAIN:
            return False
        keys |= _dispatch_keys(tensor).raw_repr()
    keys &= ~_dispatch_tls_local_exclude_set().raw_repr()
    # Inference mode takes keys away, and so does a kernel below autograd, with its gradients on.
    return keys == _EAGER or (torch.is_inference_mode_enabled() and not keys & ~_EAGER)


def refuse_tangents(tensors: Sequence[Tensor]) -> None:
    """Raise for tensors with a derivative in forward mode, which operators would drop silently."""
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise NotImplementedError("RoI Align has no derivative in forward mode, only backward")


def _flat(arguments: tuple[Any, ...]) -> list[Tensor]:
    tensors = []
    for argument in arguments:
        if type(argument) is list:  # to a tensor, isinstance would ask for its class
            tensors += argument
        elif argument is not None:
            tensors.append(argument)
    return tensors


def _make_function(
    name: str,
    kernel: Callable[..., Any],
    remember: Callable[..., None],
    differentiate: Callable[..., Any],
) -> type[torch.autograd.Function]:
    def forward(ctx: Any, *args: Any) -> Any:
        output = kernel(*args)
        remember(ctx, args, output)
        return output

    def backward(ctx: Any, *grads: Any) -> Any:
        return differentiate(ctx, *grads)

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    # So named, since its name is the one of ``grad_fn``.
    return new_class(name, (torch.autograd.Function,), exec_body=lambda own: own.update(methods))
