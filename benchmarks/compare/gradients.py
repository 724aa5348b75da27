"""The mean's gradients as things to time, beside the modes of the forward pass."""

from __future__ import annotations

from functools import partial

import numpy as np

import roialign_cy as ra
from roialign_cy._spec import make_spec

from .. import peers
from ..calls import PreparedCall
from ..workloads import Workload
from . import agreement
from .contenders import NotRunError

BY = {"avg by features": "features", "avg by rois": "rois"}
"""Name of what is timed -> the argument ``wrt``."""


def grad_output(workload: Workload) -> np.ndarray:
    """Draw the gradient by the output, of values in [0, 1)."""
    rows, cols = workload.output_size
    count, channels = workload.boxes.count, workload.channels
    nhwc = workload.layout == "NHWC"
    shape = (count, rows, cols, channels) if nhwc else (count, channels, rows, cols)
    return np.random.default_rng(0).random(shape, np.float32).astype(workload.dtype)


def prepare(
    name: str, workload: Workload, what: str, threads: int, features: np.ndarray, rois: np.ndarray
) -> PreparedCall:
    """Make a gradient ready to be timed.

    Raises
    ------
    NotRunError
        If the backend has no such gradient.
    """
    backend = ra.backends.get(name)
    grads = grad_output(workload)
    if isinstance(backend, peers.Peer):
        options = make_spec(**workload.options("avg", threads))
        if BY[what] != "features" or not hasattr(backend, "prepare_backward"):
            raise NotRunError(f"{name} has no gradient {what.removeprefix('avg ')}")
        refusal = backend.cannot_run(options)
        if refusal is not None:
            raise NotRunError(refusal)
        return backend.prepare_backward(grads, rois, workload.shape, options)
    if "numpy:ndarray" not in backend.array_types:
        raise NotRunError("gradients are timed on NumPy arrays only")
    return PreparedCall(
        partial(
            ra.roi_align_backward,
            grads,
            rois,
            workload.shape,
            features=features,
            wrt=BY[what],
            backend=name,
            **_options(workload, threads),
        )
    )


def expect(workload: Workload, what: str, features: np.ndarray, rois: np.ndarray) -> np.ndarray:
    """Our own answer, after the reference has confirmed it on some boxes and channels."""
    grads = grad_output(workload)
    options = {**_options(workload, 1), "wrt": BY[what]}
    boxes, channels = agreement.parts(workload, len(rois))
    channel_axis = 1 if workload.layout == "NCHW" else 3
    part = np.take(features, channels, axis=channel_axis).astype(np.float64)
    some = np.take(grads[boxes], channels, axis=channel_axis).astype(np.float64)
    results = [
        ra.roi_align_backward(
            some, rois[boxes], part.shape, features=part, backend=backend, **options
        )
        for backend in ("reference", "cpu")
    ]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-9, atol=1e-9)
    return ra.roi_align_backward(
        grads, rois, workload.shape, features=features, backend="cpu", **options
    )


def tolerance(backend: object, workload: Workload, expected: np.ndarray) -> float:
    """As that of the forward pass, for values that are sums of many."""
    return agreement.tolerance(backend, workload) * max(float(np.abs(expected).max()), 1.0)


def _options(workload: Workload, threads: int) -> dict[str, object]:
    options = workload.options("avg", threads)
    del options["output_size"]  # that of grad_output
    return options
