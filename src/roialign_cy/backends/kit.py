"""What a backend may use of the library besides the protocol, and as stable.

Examples
--------
What a backend is told and given of a call with ``layout="NHWC"``, and a new result for it:

>>> import numpy as np
>>> from roialign_cy.backends import kit
>>> spec = kit.CallSpec(
...     output_size=(2, 2), spatial_scales=(0.5,), pixel_offset=0.5,
...     min_size=None, sampling="centered", border="clamp",
...     sampling_ratio=(2, 2), mode="avg", channels_last=True, num_threads=None,
... )
>>> maps = kit.as_nchw(np.ones((1, 4, 6, 3)), spec)
>>> maps.shape
(1, 3, 4, 6)
>>> rois = kit.check_rois([[0, 1, 1, 5, 5]], len(maps), spec)
>>> shape = spec.output_shape(len(rois), maps.shape[1])
>>> result = kit.new_maps(shape, maps.dtype, spec)
>>> result.shape, kit.as_given(result, spec).flags.c_contiguous
((1, 3, 2, 2), True)
"""

from __future__ import annotations

from .._arrays import as_given, as_nchw, check_gradient, check_out, check_rois, new_maps
from .._rois import normalise_rois
from .._spec import CallSpec

__all__ = [
    "CallSpec",
    "as_given",
    "as_nchw",
    "check_gradient",
    "check_out",
    "check_rois",
    "new_maps",
    "normalise_rois",
]
