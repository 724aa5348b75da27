"""Forward: checked CuPy arrays to launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _kernels
from ._device_arrays import device_array, lanes_and_groups, needs_wide_index
from ._tables import make_tables, rooms_for

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec


def roi_align(features: Any, rois: Any, spec: CallSpec, out: Any) -> Any:
    """Pool ``features`` under ``rois`` into ``out`` on the current stream."""
    num_images, channels, height, width = features.shape
    size = height, width
    if out.size == 0:
        return out
    lanes, groups = lanes_and_groups(channels)
    source, target = device_array(features), device_array(out)
    threads = len(rois) * groups * spec.output_size[0] * spec.output_size[1]
    rooms = rooms_for(spec, size)
    counts = threads, rooms.total, len(rois) * sum(spec.output_size)
    wide = needs_wide_index(counts, source, target)
    working = _kernels.working_type(features.dtype)
    tables = make_tables(rois, num_images, size, spec, rooms, working, wide)
    kernel = _kernels.pool_kernel(
        spec.mode, spec.sampling == "cells", source.channels_last, lanes, working, wide
    )
    kernel(
        source.pointer,
        *source.strides,
        channels,
        *tables,
        groups,
        *target.strides,
        target.pointer,
        size=threads,
    )
    return out
