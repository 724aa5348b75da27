"""Gradients as things to time, beside the modes of the forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from .._spec import WRT
from . import agreement, contenders, library_calls, peers
from .calls import PreparedCall
from .workloads import Workload

if TYPE_CHECKING:
    from ..typing import Mode  # other versions do not have it

_MODES: tuple[Mode, ...] = ("avg", "max")
BY = {f"{mode} by {wrt}": (mode, wrt) for mode in _MODES for wrt in WRT}
"""Name of what is timed -> the arguments ``mode`` and ``wrt``."""


def prepare(name: str, workload: Workload, what: str, threads: int) -> PreparedCall:
    """Make a gradient ready to be timed.

    Raises
    ------
    contenders.NotRunError
        If the backend has no such gradient.
    """
    mode, wrt = BY[what]
    backend = ra.backends.get(name)
    grads = library_calls.grad_output(workload)
    spec = contenders.make_spec_of(workload, mode, threads)
    refusal = contenders.refusal_of(backend, spec, WRT[wrt])
    if refusal is not None:
        raise contenders.NotRunError(refusal)
    if isinstance(backend, peers.Peer):
        if workload.coarser:
            raise contenders.NotRunError(f"{name} is prepared for the gradient of one map only")
        contenders.require_type(backend, workload.dtype)
        return backend.prepare_backward(grads, workload.rois(), workload.shape, spec)
    if "numpy:ndarray" not in backend.array_types:
        raise contenders.NotRunError("gradients are timed on NumPy arrays only")
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
    part = agreement.some_channels(features, channels, workload)
    options = workload.options(mode, num_threads=1)
    del options["output_size"]  # that of grads
    confirmed, ours = (
        library_calls.as_one(
            library_calls.differentiating(workload)(
                np.take(grads[boxes], channels, axis=axis).astype(np.float64),
                rois[boxes],
                [one.shape for one in part] if workload.coarser else part.shape,
                features=part,
                wrt=wrt,
                backend=backend,
                **options,
            )
        )
        for backend in ("reference", "cpu")
    )
    np.testing.assert_allclose(ours, confirmed, rtol=1e-9, atol=1e-9)
    return library_calls.backward(workload, mode, wrt, 1, "cpu").result()


def tolerance(backend: object, workload: Workload, expected: NDArray[Any]) -> float:
    """The tolerance of the forward pass, for values that are sums of many."""
    return agreement.tolerance(backend, workload) * max(float(np.abs(expected).max()), 1.0)
