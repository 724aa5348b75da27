"""What a backend may use of the library besides the protocol: stable, as that is."""

from __future__ import annotations

from .._arrays import as_given, as_nchw, check_gradient, check_out, check_rois, new_maps
from .._rois import is_no_boxes, require_entry_per_image, wrong_entry_shape, wrong_shape
from .._spec import CallSpec

__all__ = [
    "CallSpec",
    "as_given",
    "as_nchw",
    "check_gradient",
    "check_out",
    "check_rois",
    "is_no_boxes",
    "new_maps",
    "require_entry_per_image",
    "wrong_entry_shape",
    "wrong_shape",
]
