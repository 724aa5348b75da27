"""Tensors to the arrays that the library takes, and its result back; nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import backends, get_num_threads


def on_cpu(
    function: Callable[..., Any],
    tensors: Mapping[str, Tensor],
    options: Mapping[str, Any],
    empty: Callable[[], Tensor],
) -> Tensor:
    """Call a function of the library on tensors as NumPy arrays.

    Parameters
    ----------
    function : callable
        `roialign_cy.roi_align` or `roialign_cy.roi_align_backward`.
    tensors, options : mapping
        Its arrays, and its other arguments, by name.
    empty : callable
        Makes memory for the result: not used here, where the function's own is as good.
    """
    arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    # torch's limit applies as well: setting it to 1 is meant for all that a model does.
    num_threads = min(torch.get_num_threads(), get_num_threads())
    return torch.from_numpy(function(**arrays, **options, num_threads=num_threads))


def on_cuda(
    function: Callable[..., Any],
    tensors: Mapping[str, Tensor],
    options: Mapping[str, Any],
    empty: Callable[[], Tensor],
) -> Tensor:
    """Call it on tensors as CuPy arrays, in torch's memory and on torch's current stream."""
    backends.get("gpu")  # the error says what is missing and how to get it
    import cupy

    out = empty()
    index = out.device.index
    stream = torch.cuda.current_stream(index)
    with cupy.cuda.Device(index), cupy.cuda.Stream.from_external(stream):
        arrays = {name: cupy.from_dlpack(tensor.detach()) for name, tensor in tensors.items()}
        function(**arrays, **options, out=cupy.from_dlpack(out))
    return out
