"""RoI Align for torch tensors: a drop-in for torchvision's, on this library's backends."""

try:
    import torch as _torch  # noqa: F401  to say what is missing before anything else fails
except ImportError as error:
    raise ImportError(
        f"roialign_cy.torch needs torch ({error}); pip install 'roialign_cy[torch]'"
    ) from error

from ._functional import RoIAlign, roi_align
from ._multiscale import MultiScaleRoIAlign
from ._patch import patch_torchvision

__all__ = ["MultiScaleRoIAlign", "RoIAlign", "patch_torchvision", "roi_align"]
