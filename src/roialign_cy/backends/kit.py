"""What a backend may use of the library besides the protocol: stable, as that is."""

from __future__ import annotations

from .._arrays import as_given, as_nchw, check_gradient, check_out, check_rois, new_maps
from .._spec import CallSpec

__all__ = [
    "CallSpec",
    "as_given",
    "as_nchw",
    "check_gradient",
    "check_out",
    "check_rois",
    "new_maps",
]
