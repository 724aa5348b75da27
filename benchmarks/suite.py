"""What the modules of the asv suite (``bench_*.py``) share: their parameters and their calls.

Parameters are strings. Which of them can run is found out in a benchmark's ``setup``, which then
raises NotImplementedError with the reason, and asv leaves the place empty: the list is the same on
every machine and for every commit, so that results can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import roialign_cy as ra

from . import library_calls, peers
from .calls import PreparedCall
from .compare import contenders
from .workloads import HEADLINE, WORKLOADS, Workload

VARIANTS = ("base", "v3", "v4")
OURS = (*(f"cpu[{variant}]" for variant in VARIANTS), "gpu", "reference")
BACKENDS = (*OURS, *peers.NAMES)
THREADS = ("1", "2")
MODES = ("avg", "max")
GRADIENTS = ("features", "rois")
FORWARD = (*HEADLINE, "nhwc", "float64", "document-7x7", "small-call", "document-call")
BACKWARD = ("fpn-p4", "c4-head", "large-ratio2", "small-call")
SMALL = ("small-call", "document-call")
"""The workloads that the reference takes no minutes for."""


def workload_for(name: str, mode: str) -> Workload:
    """Find a workload that is meant for a mode."""
    workload = WORKLOADS[name]
    if mode not in workload.modes:
        raise NotImplementedError(f"{name} is meant for {', '.join(workload.modes)}")
    return workload


def forward(backend: str, threads: str, mode: str, name: str) -> PreparedCall:
    """Prepare a forward pass and run it once."""
    workload = workload_for(name, mode)
    _require(backend, name)
    try:
        spec, difference = contenders.specify(backend, workload, mode, int(threads))
        if difference:
            raise NotImplementedError(difference)
        features, rois = workload.features(), workload.rois()
        if backend == "gpu":
            return _ready(_on_gpu(library_calls.forward(workload, mode, 1, backend)))
        options = workload.options(mode, int(threads))
        return _ready(contenders.prepare(backend, features, rois, spec, options))
    except contenders.NotRunError as refusal:
        raise NotImplementedError(str(refusal)) from None


def backward(backend: str, threads: str, mode: str, wrt: str, name: str) -> PreparedCall:
    """Prepare a gradient and run it once."""
    workload = workload_for(name, mode)
    _require(backend, name)
    if not hasattr(ra, "roi_align_backward"):
        raise NotImplementedError("this version has no gradients")
    if backend in peers.NAMES:
        return _ready(_peers_backward(backend, int(threads), mode, wrt, workload))
    call = library_calls.backward(workload, mode, wrt, int(threads), backend)
    return _ready(_on_gpu(call) if backend == "gpu" else call)


def _peers_backward(
    backend: str, threads: int, mode: str, wrt: str, workload: Workload
) -> PreparedCall:
    peer: Any = ra.backends.get(backend)
    if not hasattr(peer, "prepare_backward") or wrt != "features":
        raise NotImplementedError(f"{backend} has no gradient by the {wrt}")
    try:
        spec, _ = contenders.specify(backend, workload, mode, threads)
    except contenders.NotRunError as refusal:
        raise NotImplementedError(str(refusal)) from None
    if reason := peer.cannot_run(spec, "feature_gradient"):
        raise NotImplementedError(reason)
    grad = library_calls.grad_output(workload)
    return peer.prepare_backward(grad, workload.rois(), workload.shape, spec)


def _require(backend: str, workload: str) -> None:
    """Skip a backend that cannot be used, or takes too long."""
    contenders.register_everyone()
    try:
        reason = ra.backends.unavailable_reason(backend)
    except ValueError as error:  # a variant that this machine or this version does not have
        raise NotImplementedError(str(error)) from None
    if reason is not None:
        raise NotImplementedError(reason)
    if backend == "reference" and workload not in SMALL:
        raise NotImplementedError("the reference takes minutes here")


def _ready(call: PreparedCall) -> PreparedCall:
    call.enter()
    call.run()
    return call


def _on_gpu(call: PreparedCall) -> PreparedCall:
    """Move the arrays of a prepared call to the GPU, and let the clock wait for it."""
    import cupy

    public = call.run
    assert isinstance(public, partial)
    moved: Callable[..., Any] = partial(
        public.func,
        *(cupy.asarray(one) if hasattr(one, "__array__") else one for one in public.args),
        **{
            name: cupy.asarray(one) if hasattr(one, "__array__") else one
            for name, one in public.keywords.items()
        },
    )

    def run() -> Any:
        result = moved()
        cupy.cuda.get_current_stream().synchronize()
        return result

    return PreparedCall(run, to_numpy=cupy.asnumpy)
