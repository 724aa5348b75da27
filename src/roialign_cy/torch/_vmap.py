"""How the operators map over a batch: in one call, whatever is batched."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _operators


def _pool_batch(
    info: Any, in_dims: tuple[int | None, ...], input: Tensor, rois: Tensor, *options: Any
) -> tuple[Tensor, int]:
    """Pool a batch: of maps as more channels, of boxes as more boxes, of both as more images."""
    of_input, of_rois, *_ = in_dims
    batch = info.batch_size
    if of_rois is None:
        maps = input.movedim(of_input, 1)
        pooled = _operators.roi_align(maps.flatten(1, 2), rois, *options)
        return pooled.unflatten(1, maps.shape[1:3]), 1
    rois = rois.movedim(of_rois, 0)
    if of_input is not None:
        input = input.movedim(of_input, 0)
        rois = _of_all_images(rois, input.shape[1])
        input = input.flatten(0, 1)
    pooled = _operators.roi_align(input, rois.flatten(0, 1), *options)
    return pooled.unflatten(0, (batch, rois.shape[1])), 0


def _of_all_images(rois: Tensor, images: int) -> Tensor:
    """Boxes of a batch with the index of their image in all of the batch; -1 if they had none."""
    if not rois.is_floating_point() or len(rois) * images > 2 / torch.finfo(rois.dtype).eps:
        rois = rois.double()  # integers as everywhere; a half cannot count that many images
    index, sides = rois.split([1, 4], dim=2)
    first = torch.arange(len(rois), dtype=rois.dtype, device=rois.device)[:, None, None] * images
    is_here = (index >= 0) & (index < images)
    return torch.cat([torch.where(is_here, index + first, -1), sides], dim=2)


_library = torch.library.Library("roialign_cy", "FRAGMENT")
torch.library.register_vmap("roialign_cy::roi_align", _pool_batch, lib=_library)
