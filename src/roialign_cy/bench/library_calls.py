"""Calls of the library's public functions on workloads, ready to be timed or counted."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from .calls import PreparedCall
from .workloads import PasteWorkload, Workload, element_type

FIRST_TYPES = ("float16", "float32", "float64")
"""Those of the maps that every version pools."""


def forward(
    workload: Workload, mode: str, num_threads: int | None, backend: str | None = None
) -> PreparedCall:
    """Prepare `roialign_cy.roi_align`, or `roialign_cy.multiscale_roi_align`."""
    options = _options(workload, mode, num_threads)
    pool = pooling(workload)
    return PreparedCall(
        partial(pool, workload.features(), workload.rois(), backend=backend, **options)
    )


def pooling(workload: Workload) -> Callable[..., Any]:
    """Give the function that pools the maps of a workload."""
    return ra.multiscale_roi_align if workload.coarser else ra.roi_align


def backward(
    workload: Workload, mode: str, wrt: str, num_threads: int | None, backend: str | None = None
) -> PreparedCall:
    """Prepare the gradient of that, by the features or by the boxes."""
    options = _options(workload, mode, num_threads)
    del options["output_size"]
    needs_features = mode != "avg" or wrt == "rois"
    return PreparedCall(
        partial(
            differentiating(workload),
            grad_output(workload),
            workload.rois(),
            workload.shapes if workload.coarser else workload.shape,
            features=workload.features() if needs_features else None,
            wrt=wrt,
            backend=backend,
            **options,
        ),
        to_numpy=as_one,
    )


def differentiating(workload: Workload) -> Callable[..., Any]:
    """Give the function that differentiates what is pooled of a workload."""
    return ra.multiscale_roi_align_backward if workload.coarser else ra.roi_align_backward


def as_one(gradient: Any) -> NDArray[Any]:
    """Lay the gradients with respect to several maps end to end."""
    if isinstance(gradient, list):
        return np.concatenate([one.ravel() for one in gradient])
    return np.asarray(gradient)


def _options(workload: Workload, mode: str, num_threads: int | None) -> dict[str, Any]:
    if workload.convention not in ra.CONVENTIONS:
        raise NotImplementedError(f"this version has no convention {workload.convention!r}")
    if workload.dtype not in FIRST_TYPES and find_spec("roialign_cy._elements") is None:
        raise NotImplementedError(f"this version has no maps of {workload.dtype}")
    return workload.options(mode, num_threads)


def paste(workload: PasteWorkload, num_threads: int | None) -> PreparedCall:
    """Prepare `roialign_cy.paste_masks`."""
    if not hasattr(ra, "paste_masks"):
        raise NotImplementedError("this version pastes no masks")
    arrays = workload.masks(), workload.boxes()
    size = workload.height, workload.width
    return PreparedCall(
        partial(ra.paste_masks, *arrays, size, convention="torchvision", num_threads=num_threads)
    )


def grad_output(workload: Workload) -> NDArray[Any]:
    """Draw a gradient with respect to the output, of values in [0, 1)."""
    rng = np.random.default_rng(zlib.crc32(f"{workload.name} grad_output".encode()))
    rows, cols = workload.output_size
    count = workload.boxes.count
    shape = (count, workload.channels, rows, cols)
    if workload.layout == "NHWC":
        shape = (count, rows, cols, workload.channels)
    return rng.random(shape).astype(element_type(workload.pooled_dtype))
