"""Calls of the library's public functions on workloads, ready to be timed or counted."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from .calls import PreparedCall
from .workloads import Workload


def forward(
    workload: Workload, mode: str, num_threads: int | None, backend: str | None = None
) -> PreparedCall:
    """Prepare `roialign_cy.roi_align`."""
    options = _options(workload, mode, num_threads)
    return PreparedCall(
        partial(ra.roi_align, workload.features(), workload.rois(), backend=backend, **options)
    )


def backward(
    workload: Workload, mode: str, wrt: str, num_threads: int, backend: str | None = None
) -> PreparedCall:
    """Prepare `roialign_cy.roi_align_backward`, by the features or by the boxes."""
    options = _options(workload, mode, num_threads)
    del options["output_size"]
    needs_features = mode != "avg" or wrt == "rois"
    return PreparedCall(
        partial(
            ra.roi_align_backward,
            grad_output(workload),
            workload.rois(),
            workload.shape,
            features=workload.features() if needs_features else None,
            wrt=wrt,
            backend=backend,
            **options,
        )
    )


def _options(workload: Workload, mode: str, num_threads: int | None) -> dict[str, Any]:
    if workload.convention not in ra.CONVENTIONS:
        raise NotImplementedError(f"this version has no convention {workload.convention!r}")
    return workload.options(mode, num_threads)


def grad_output(workload: Workload) -> NDArray[Any]:
    """Draw a gradient with respect to the output, of values in [0, 1)."""
    rng = np.random.default_rng(zlib.crc32(f"{workload.name} grad_output".encode()))
    rows, cols = workload.output_size
    count = workload.boxes.count
    shape = (count, workload.channels, rows, cols)
    if workload.layout == "NHWC":
        shape = (count, rows, cols, workload.channels)
    return rng.random(shape).astype(workload.dtype)
