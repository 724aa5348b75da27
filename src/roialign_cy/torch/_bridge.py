"""Tensors to the arrays that the library takes, and its result back; nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import backends, get_num_threads


def on_cpu(
    compute: Callable[..., Any],
    tensors: Sequence[Tensor | None],
    empty: Callable[[], Tensor],
) -> Tensor:
    """Compute with tensors as NumPy arrays.

    Parameters
    ----------
    compute : callable
        Takes an array or None for each of the tensors, and ``num_threads`` or ``out``.
    tensors : sequence of Tensor or None
    empty : callable
        Makes memory for the result: not used here, where the library's own is as good.
    """
    # torch's limit applies as well: setting it to 1 is meant for all that a model does.
    num_threads = torch.get_num_threads()
    if num_threads > 1:
        num_threads = min(num_threads, get_num_threads())
    return torch.from_numpy(compute(*map(as_array, tensors), num_threads=num_threads))


def as_array(tensor: Tensor | None) -> Any:
    """A CPU tensor as a NumPy array; None if there is none."""
    if tensor is None:
        return None
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def on_cuda(
    compute: Callable[..., Any],
    tensors: Sequence[Tensor | None],
    empty: Callable[[], Tensor],
) -> Tensor:
    """Compute with tensors as CuPy arrays, in torch's memory and on torch's current stream."""
    backends.get("gpu")  # the error says what is missing and how to get it
    import cupy

    out = empty()
    index = out.device.index
    stream = torch.cuda.current_stream(index)
    with cupy.cuda.Device(index), cupy.cuda.Stream.from_external(stream):
        arrays = [None if t is None else cupy.from_dlpack(t.detach()) for t in tensors]
        compute(*arrays, out=cupy.from_dlpack(out))
    return out
