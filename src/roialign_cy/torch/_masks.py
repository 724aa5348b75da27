"""Masks, pasted into images and cut out of them, as torchvision's Mask R-CNN does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._masks import make_image_size, paste_masks
from . import _bridge, _functional, _kernels, _operators


def paste_masks_in_image(
    masks: Tensor, boxes: Tensor, img_shape: tuple[int, int], padding: int = 1
) -> Tensor:
    """Paste the mask of every box into an image; a drop-in for torchvision's.

    That is ``torchvision.models.detection.roi_heads.paste_masks_in_image``.

    Parameters
    ----------
    masks : Tensor of shape (N, 1, M, M)
        Soft masks, one per box: float16, float32 or float64, on the CPU.
    boxes : Tensor of shape (N, 4)
        Boxes ``[x1, y1, x2, y2]`` in pixels. Any dtype that NumPy has.
    img_shape : (int, int)
        Height and width of the image.
    padding : int, default 1
        Cells of zeros around a mask: no other number is supported.

    Returns
    -------
    Tensor of shape (N, 1, height, width)
        The values, in the dtype of ``masks``: see `roialign_cy.paste_masks`, which also gives
        pixels above a threshold, in a fraction of the memory. It has no gradient.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or a box is not finite.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import paste_masks_in_image
    >>> boxes = torch.tensor([[1.5, 1.0, 3.5, 3.0]])
    >>> paste_masks_in_image(torch.ones(1, 1, 2, 2), boxes, (4, 6))
    tensor([[[[0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
              [0.0000, 0.4900, 0.7000, 0.4900, 0.0000, 0.0000],
              [0.0000, 0.7000, 1.0000, 0.7000, 0.0000, 0.0000],
              [0.0000, 0.4900, 0.7000, 0.4900, 0.0000, 0.0000]]]])
    """
    if padding != 1:
        raise ValueError(f"padding must be 1, got {padding!r}")
    for name, tensor in (("masks", masks), ("boxes", boxes)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if isinstance(img_shape, Tensor):
        img_shape = tuple(img_shape)
    if not torch.compiler.is_compiling():  # where its value is not known yet
        img_shape = make_image_size(img_shape, "img_shape")
    pasted: Tensor = _paste(masks, boxes, img_shape)
    return pasted


torch.fx.wrap("paste_masks_in_image")


def project_masks_on_boxes(gt_masks: Tensor, boxes: Tensor, matched_idxs: Tensor, M: int) -> Tensor:
    """Make the targets of the mask head: under each box, the mask that it is matched with.

    Masks are converted to the dtype of the boxes one at a time, and only if they have a box.
    """
    targets = boxes.new_empty((boxes.shape[0], M, M))
    room = boxes.new_empty((1, 1, *gt_masks.shape[1:]))
    for index in matched_idxs.unique().tolist():
        rows = (matched_idxs == index).nonzero()[:, 0]
        room.copy_(gt_masks[index])
        targets[rows] = _functional.roi_align(room, [boxes[rows]], M)[:, 0]
    return targets


def _paste_on_cpu(masks: Tensor, boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    _check(masks, boxes)
    if not boxes.is_floating_point():
        boxes = boxes.float()  # as torchvision computes with them

    def paste(masks: Any, boxes: Any, num_threads: int) -> Any:
        height, width = image_size
        pasted = paste_masks(
            masks,
            boxes,
            (height, width),
            threshold=None,
            convention="torchvision",
            num_threads=num_threads,
        )
        return pasted[:, None]

    return _bridge.on_cpu(paste, (masks, boxes), lambda: masks)


def _shape_of_paste(masks: Tensor, boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    _check(masks, boxes)
    return masks.new_empty((masks.shape[0], 1, *image_size))


def _check(masks: Tensor, boxes: Tensor) -> None:
    if masks.ndim != 4:
        raise ValueError(f"masks must have the shape (N, 1, M, M), got {tuple(masks.shape)}")
    _kernels.check_floats("masks", masks)
    _kernels.check_numbers("boxes", boxes)


def _refuse(ctx: Any, grad: Tensor) -> None:
    raise RuntimeError("pasted masks have no gradient: paste under torch.no_grad()")


_paste = _operators.register(
    "paste_masks(Tensor masks, Tensor boxes, SymInt[2] image_size) -> Tensor",
    _paste_on_cpu,
    _shape_of_paste,
    _operators.remember_nothing,
    _refuse,
    devices=("cpu",),
)
