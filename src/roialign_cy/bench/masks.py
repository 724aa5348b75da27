"""Pasting of masks as a thing to time: torchvision's and the library's own, which has no backends.

All of them paste by torchvision's convention and give the pixels of at least one half.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from . import library_calls
from .calls import PreparedCall
from .contenders import NotRunError
from .workloads import PasteWorkload

OURS = "cpu"
"""What the library itself is called here."""
CONTENDERS = (OURS, "roialign_torch", "torchvision")
TOLERANCE = 1e-5
"""Largest part of the pixels that rounding explains: those next to one half."""


def prepare(name: str, workload: PasteWorkload, threads: int) -> PreparedCall:
    """Make a call ready to be timed.

    Raises
    ------
    NotRunError
        If the backend pastes no masks.
    """
    if name == OURS:
        return library_calls.paste(workload, threads)
    if name not in CONTENDERS:
        raise NotRunError(f"{name} pastes no masks")
    import torch

    paste = _function(name)
    tensors = torch.from_numpy(workload.masks()), torch.from_numpy(workload.boxes())
    size = workload.height, workload.width
    return PreparedCall(
        lambda: paste(*tensors, size) >= 0.5,
        to_numpy=lambda pasted: pasted[:, 0].numpy(),
        enter=partial(torch.set_num_threads, threads),
    )


def _function(name: str) -> Callable[..., Any]:
    if name == "torchvision":
        from torchvision.models.detection.roi_heads import paste_masks_in_image
    else:
        from roialign_cy.torch import paste_masks_in_image
    function: Callable[..., Any] = paste_masks_in_image
    return function


def error_of(result: Any, expected: Any) -> float:
    """Give the part of the pixels that differ; 1 where the shapes do."""
    return float((result != expected).mean()) if result.shape == expected.shape else 1.0
