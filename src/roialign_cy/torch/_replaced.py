"""Functions of torchvision that are not operators: replaced where its modules look them up."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from . import _masks, _pooling

_DETECTION = "torchvision.models.detection"


def _can_paste(masks: Tensor, boxes: Tensor, img_shape: Any, padding: int = 1) -> bool:
    return padding == 1 and _is_ours(masks, boxes)


def _can_project(gt_masks: Tensor, boxes: Tensor, matched_idxs: Tensor, M: int) -> bool:
    return _is_ours(boxes) and _is_ours(gt_masks)


def _can_pool(input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0) -> bool:
    return bool(input.device.type == "cpu")


def _is_ours(*tensors: Tensor) -> bool:
    """Whether we compute with them: on the CPU, without gradients, of a dtype that NumPy has."""
    import torchvision

    return not torchvision._is_tracing() and not any(
        tensor.device.type != "cpu"
        or tensor.dtype == torch.bfloat16
        or (tensor.requires_grad and torch.is_grad_enabled())
        for tensor in tensors
    )


_REPLACED: tuple[tuple[Callable[..., Any], Callable[..., bool], tuple[str, ...]], ...] = (
    (_pooling.roi_pool, _can_pool, ("torchvision.ops.roi_pool", "torchvision.ops")),
    (
        _masks.paste_masks_in_image,
        _can_paste,
        (f"{_DETECTION}.roi_heads", f"{_DETECTION}.transform"),
    ),
    (_masks.project_masks_on_boxes, _can_project, (f"{_DETECTION}.roi_heads",)),
)
"""Our functions, whether they take a call, and the modules that have torchvision's by that name."""

_originals: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = []
"""Modules, what they had, and what they have."""


def replace() -> None:
    """Put our functions in the place of torchvision's, for the calls that they support."""
    for ours, takes, modules in _REPLACED:
        for path in modules:
            module: Any = import_module(path)
            theirs = getattr(module, ours.__name__)
            replacement = _choice(ours, takes, theirs)
            setattr(module, ours.__name__, replacement)
            _originals.append((module, theirs, replacement))


def restore() -> None:
    """Put torchvision's functions back, unless somebody else has replaced ours."""
    while _originals:
        module, theirs, replacement = _originals.pop()
        if getattr(module, theirs.__name__) is replacement:
            setattr(module, theirs.__name__, theirs)


def _choice(
    ours: Callable[..., Any], takes: Callable[..., bool], theirs: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(theirs)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        return (ours if takes(*args, **kwargs) else theirs)(*args, **kwargs)

    # Scripts are compiled from source, and this source is not scriptable.
    vars(chosen)["__prepare_scriptable__"] = lambda: theirs
    return chosen
