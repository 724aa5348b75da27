"""Putting this library under ``torchvision.ops``, for models written for torchvision."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ..conventions import CONVENTIONS
from . import _kernels, _operators, _replaced
from ._direct import refuse_tangents


def patch_torchvision(box_gradients: bool = False) -> AbstractContextManager[None]:
    """Put this library under torchvision's RoI Align, for CPU tensors.

    It replaces the kernels of torchvision's own operator in the whole process: under
    ``torchvision.ops.roi_align``, ``RoIAlign`` and ``MultiScaleRoIAlign``, under every model that
    calls one of them (torchvision's, Detectron2's), however it imported them, and under compiled
    and scripted ones. CUDA tensors keep torchvision's kernels. ``MultiScaleRoIAlign.forward`` is
    replaced as well, by one call for all levels, until the last patch has ended; torchvision's
    own still runs the first call of a module, which finds its scales, and whatever is traced,
    scripted or compiled.

    Parameters
    ----------
    box_gradients : bool, default False
        Whether boxes get a gradient, too. torchvision gives them none, so a model whose boxes
        require one would train differently.

    Returns
    -------
    context manager
        The patch is in force from the call on, for good unless it is used as a context:
        ``with patch_torchvision():`` ends it with the block. For another block call this again.
        Nested patches may end in any order.

    Raises
    ------
    ImportError
        If torchvision is not installed.
    RuntimeError
        If a context manager whose block has ended is entered again.

    Notes
    -----
    ``torchvision.ops.roi_pool`` and its Mask R-CNN's functions for masks, which are not
    operators, are replaced in torchvision's modules until the last patch has ended. Names that were
    imported from there before keep torchvision's.

    Examples
    --------
    >>> import torch, torchvision
    >>> from roialign_cy.torch import patch_torchvision
    >>> features = torch.zeros(1, 3, 8, 8)
    >>> boxes = [torch.tensor([[1.0, 1.0, 5.0, 5.0]])]
    >>> with patch_torchvision():
    ...     torchvision.ops.roi_align(features, boxes, 2).shape
    torch.Size([1, 3, 2, 2])
    """
    import torchvision  # noqa: F401  defines the operators

    return _Patch(box_gradients)


class _Patch(AbstractContextManager[None]):
    def __init__(self, box_gradients: bool) -> None:
        from . import _patch_levels  # which needs torchvision

        self.box_gradients = box_gradients
        self._library: Any = torch.library.Library("torchvision", "IMPL")
        with warnings.catch_warnings():
            # torch says that kernels are overridden, which is the purpose.
            warnings.filterwarnings("ignore", message=".*other operators may also be overridden")
            self._library.impl("roi_align", _pool, "CPU")
            self._library.impl("_roi_align_backward", _feature_gradient, "CPU")
            if box_gradients:
                self._library.impl("roi_align", _pool_differentiably, "AutogradCPU")
        _forget_dispatch()
        if not _in_force:
            _replaced.replace()
        _in_force.add(self)
        _patch_levels.install(lambda: any(patch.box_gradients for patch in _in_force))

    def __enter__(self) -> None:
        if self not in _in_force:
            raise RuntimeError(
                "this patch of torchvision has ended; call patch_torchvision() for another"
            )

    def __exit__(self, *_: object) -> None:
        from . import _patch_levels

        _in_force.discard(self)
        if not _in_force:
            _replaced.restore()
        self._library = None  # with it go its kernels
        _forget_dispatch()
        if not _in_force:
            _patch_levels.remove()


_in_force: set[_Patch] = set()
"""Kept alive here, whatever the caller does with them."""


def _forget_dispatch() -> None:
    """Let tracing look up the kernel of a key again, which torch remembers from the first time."""
    key = torch._C.DispatchKey.AutogradCPU
    torch.ops.torchvision.roi_align.default._uncache_dispatch(key)


def _pool(input: Tensor, rois: Tensor, *options: Any) -> Tensor:
    refuse_tangents((input, rois))
    # Never channels-last: torchvision tells tracers that its result is not.
    return _kernels.UPRIGHT.pool(input, rois, *_our_options(*options), channels_last=False)


def _feature_gradient(
    grad_output: Tensor,
    rois: Tensor,
    spatial_scale: float,
    rows: int,
    cols: int,
    num_images: int,
    channels: int,
    height: int,
    width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    refuse_tangents((grad_output,))
    _, *geometry = _our_options(spatial_scale, rows, cols, sampling_ratio, aligned)
    shape = num_images, channels, height, width
    return _kernels.UPRIGHT.feature_gradient(
        grad_output, rois, None, shape, *geometry, channels_last=False
    )


def _pool_differentiably(input: Tensor, rois: Tensor, *options: Any) -> Tensor:
    pooled: Tensor = _operators.upright.pool(input, rois, *_our_options(*options))
    return pooled.contiguous()


def _our_options(
    spatial_scale: float, rows: int, cols: int, sampling_ratio: int, aligned: bool
) -> tuple[Any, ...]:
    """What follows the tensors in torchvision's operator, as in ours."""
    convention = CONVENTIONS["detectron2" if aligned else "torchvision"]
    ratio = max(sampling_ratio, 0)
    return (
        (rows, cols),
        spatial_scale,
        (ratio, ratio),
        convention.mode,
        convention.pixel_offset,
        convention.min_size,
        convention.sampling,
        convention.max_rule,
        convention.border,
    )
