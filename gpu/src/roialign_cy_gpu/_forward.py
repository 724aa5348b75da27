"""Forward: CuPy arrays to launches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cupy
from roialign_cy.backends import kit

from . import _checks, _kernels
from ._device_arrays import Layout, lanes_and_groups, needs_wide_index, pointer
from ._tables import TablePlan, plan_tables, rooms_for

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec


@_checks.on_its_device
def roi_align(features: Any, rois: Any, spec: CallSpec, out: Any | None) -> Any:
    """Pool ``features`` under ``rois`` into ``out`` on the current stream of their device."""
    _checks.refuse_capture()
    _checks.require_usable("features", features)
    num_images, channels, _, _ = features.shape
    rois = _checks.check_rois(rois, num_images, spec)
    num_boxes = len(rois)
    shape = spec.output_shape(num_boxes, channels)
    if out is None:
        out = kit.new_maps(shape, features.dtype, spec, cupy.ndarray)
    else:
        _checks.require_usable("out", out)
        kit.check_out(out, shape, features.dtype, spec)
    if out.size == 0:
        return out
    call = (
        *(spec, features.shape, features.strides, features.dtype),
        *(rois.dtype, rois.strides, out.strides),
    )
    plan = _plan(*call, False)
    if needs_wide_index(plan.largest, num_boxes * plan.largest_of_box):
        plan = _plan(*call, True)
    plan.kernel(
        pointer(features),
        *plan.source,
        *plan.tables.make(rois, num_boxes),
        *plan.target,
        pointer(out),
        size=num_boxes * plan.threads_of_box,
    )
    return out


@dataclass(frozen=True, slots=True)
class _Plan:
    """All of a call that neither its boxes nor the values of its map decide.

    Attributes
    ----------
    source, target : tuple of int
        Arguments of the kernel that precede and follow the tables.
    largest, largest_of_box : int
        Counts and offsets: the largest of all, and the largest for each box.
    """

    tables: TablePlan
    kernel: Any
    source: tuple[int, ...]
    target: tuple[int, ...]
    threads_of_box: int
    largest: int
    largest_of_box: int


@lru_cache(maxsize=256)
def _plan(
    spec: CallSpec,
    shape: tuple[int, int, int, int],
    strides: tuple[int, int, int, int],
    dtype: Any,
    rois_dtype: Any,
    rois_strides: tuple[int, int],
    out_strides: tuple[int, int, int, int],
    wide: bool,
) -> _Plan:
    channels = shape[1]
    lanes, groups = lanes_and_groups(channels)
    source = Layout.of(shape, strides)
    target = Layout.of(spec.output_shape(1, channels), out_strides)
    rows, cols = spec.output_size
    working = _kernels.working_type(dtype)
    # In float64 the sums of two columns would take too many registers.
    in_pairs = spec.mode == "avg" and strides[3] == dtype.itemsize and working == "float"
    return _Plan(
        tables=plan_tables(spec, shape, rois_dtype, rois_strides, working, wide),
        kernel=_kernels.pool_kernel(
            spec.mode,
            spec.sampling == "cells",
            source.channels_last,
            lanes,
            working,
            wide,
            in_pairs,
        ),
        source=(*source.strides, channels),
        target=(groups, *target.strides),
        threads_of_box=groups * rows * cols,
        largest=max(source.plane_extent, target.plane_extent, rooms_for(spec, shape[2:]).total),
        largest_of_box=max(groups * rows * cols, rows + cols),
    )
