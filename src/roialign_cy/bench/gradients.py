"""Gradients as things to time, beside the modes of the forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from .._spec import WRT, make_spec
from ..typing import Mode
from . import agreement, library_calls, peers
from .calls import PreparedCall
from .contenders import NotRunError
from .workloads import Workload

_MODES: tuple[Mode, ...] = ("avg", "max")
BY = {f"{mode} by {wrt}": (mode, wrt) for mode in _MODES for wrt in WRT}
"""Name of what is timed -> the arguments ``mode`` and ``wrt``."""


def prepare(name: str, workload: Workload, what: str, threads: int) -> PreparedCall:
    """Make a gradient ready to be timed.

    Raises
    ------
    NotRunError
        If the backend has no such gradient.
    """
    mode, wrt = BY[what]
    backend = ra.backends.get(name)
    grads = library_calls.grad_output(workload)
    spec = make_spec(**workload.options(mode, threads))
    refusal = backend.cannot_run(spec, WRT[wrt])
    if refusal is not None:
        raise NotRunError(refusal)
    if isinstance(backend, peers.Peer):
        return backend.prepare_backward(grads, workload.rois(), workload.shape, spec)
    if "numpy:ndarray" not in backend.array_types:
        raise NotRunError("gradients are timed on NumPy arrays only")
    return library_calls.backward(workload, mode, wrt, threads, name)


def expect(workload: Workload, what: str) -> NDArray[Any]:
    """Our own answer, after the reference has confirmed it on some boxes and channels."""
    mode, wrt = BY[what]
    features, rois, grads = (
        workload.features(),
        workload.rois(),
        library_calls.grad_output(workload),
    )
    boxes, channels = agreement.parts(workload, len(rois))
    axis = 1 if workload.layout == "NCHW" else 3
    part = np.take(features, channels, axis=axis).astype(np.float64)
    options = workload.options(mode, num_threads=1)
    del options["output_size"]  # that of grads
    confirmed, ours = (
        ra.roi_align_backward(
            np.take(grads[boxes], channels, axis=axis).astype(np.float64),
            rois[boxes],
            part.shape,
            features=part,
            wrt=wrt,
            backend=backend,
            **options,
        )
        for backend in ("reference", "cpu")
    )
    np.testing.assert_allclose(ours, confirmed, rtol=1e-9, atol=1e-9)
    return library_calls.backward(workload, mode, wrt, 1, "cpu").result()


def tolerance(backend: object, workload: Workload, expected: NDArray[Any]) -> float:
    """The tolerance of the forward pass, for values that are sums of many."""
    return agreement.tolerance(backend, workload) * max(float(np.abs(expected).max()), 1.0)
