"""RoI Align for NumPy and CuPy: the document's definition and every other project's convention."""

from . import backends, boxes
from ._api import roi_align, roi_align_backward, roi_pool
from ._config import __version__, show_config
from ._core.threads import get_num_threads, set_num_threads
from ._crop import crop_and_resize, crop_and_resize_backward
from ._explain import Explanation, compare_conventions, explain, explain_level
from ._levels import assign_levels
from ._masks import paste_masks
from ._memory import set_retained_memory
from ._multiscale import multiscale_roi_align, multiscale_roi_align_backward
from ._rotated import roi_align_rotated, roi_align_rotated_backward
from .backends import BackendUnavailableError
from .conventions import CONVENTIONS, Convention

__all__ = [
    "CONVENTIONS",
    "BackendUnavailableError",
    "Convention",
    "Explanation",
    "__version__",
    "assign_levels",
    "backends",
    "boxes",
    "compare_conventions",
    "crop_and_resize",
    "crop_and_resize_backward",
    "explain",
    "explain_level",
    "get_num_threads",
    "multiscale_roi_align",
    "multiscale_roi_align_backward",
    "paste_masks",
    "roi_align",
    "roi_align_backward",
    "roi_align_rotated",
    "roi_align_rotated_backward",
    "roi_pool",
    "set_num_threads",
    "set_retained_memory",
    "show_config",
]
