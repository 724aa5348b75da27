"""Other poolings, under their usual names in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._functional import roi_align


def roi_pool(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool every box by RoI Pooling; a drop-in for ``torchvision.ops.roi_pool``.

    Parameters
    ----------
    input, boxes, output_size, spatial_scale
        As for `roi_align`.

    Returns
    -------
    Tensor of shape (K, C, rows, cols)
        The largest cell of every section: see `roialign_cy.roi_pool`. Differentiable with respect
        to ``input``; boxes, which are rounded, get no gradient.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import roi_pool
    >>> features = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_pool(features, torch.tensor([[0.0, 0.6, 0.6, 2.4, 2.4]]), 2)
    tensor([[[[ 5.,  6.],
              [ 9., 10.]]]])
    """
    if isinstance(boxes, Tensor):
        boxes = boxes.detach()
    elif isinstance(boxes, list | tuple):
        boxes = [box.detach() if isinstance(box, Tensor) else box for box in boxes]
    return roi_align(input, boxes, output_size, spatial_scale, convention="roi_pool")


def prroi_pool(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool every box by PrRoI Pooling, the exact mean of the interpolated map over each section.

    The signature is that of ``mmcv.ops.prroi_pool``.

    Parameters
    ----------
    input, boxes, output_size, spatial_scale
        As for `roi_align`.

    Returns
    -------
    Tensor of shape (K, C, rows, cols)
        See `roialign_cy.roi_align` with ``convention="prroi"``. Differentiable with respect to
        ``input`` and ``boxes``.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import prroi_pool
    >>> features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> prroi_pool(features, torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]]), 2)
    tensor([[[[1.7500, 2.2500],
              [2.7500, 3.2500]]]])
    """
    return roi_align(input, boxes, output_size, spatial_scale, convention="prroi")


torch.fx.wrap("roi_pool")
torch.fx.wrap("prroi_pool")
