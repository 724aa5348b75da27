"""RoI Align for torch tensors: a drop-in for torchvision's, on this library's backends."""

try:
    import torch as _torch  # noqa: F401  to say what is missing before anything else fails
except ImportError as error:
    raise ImportError(
        f"roialign_cy.torch needs torch ({error}); pip install 'roialign_cy[torch]'"
    ) from error

from . import _vmap  # noqa: F401  registers itself
from ._functional import RoIAlign, roi_align
from ._masks import paste_masks_in_image
from ._multiscale import MultiScaleRoIAlign
from ._onnx import onnx_translations
from ._patch import patch_torchvision
from ._pooling import prroi_pool, roi_pool
from ._rotated import RoIAlignRotated, roi_align_rotated

__all__ = [
    "MultiScaleRoIAlign",
    "RoIAlign",
    "RoIAlignRotated",
    "onnx_translations",
    "paste_masks_in_image",
    "patch_torchvision",
    "prroi_pool",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
]
