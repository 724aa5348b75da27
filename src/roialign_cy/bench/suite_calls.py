"""What the benchmarks of the asv suite share: their parameters and their calls.

Parameters are strings. Those that cannot run are found in a benchmark's ``setup``, which raises
NotImplementedError with the reason, and asv leaves their place empty: the list does not depend on
the machine, so that results can be compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import roialign_cy as ra

from . import contenders, gradients, library_calls, masks, peers
from .calls import PreparedCall
from .workloads import HEADLINE, PASTE_WORKLOADS, WORKLOADS, Workload

BACKENDS_VARIABLE = "ROIALIGN_BENCH_BACKENDS"
"""Environment variable: which backends the suite runs, with commas, as `contenders.named` takes
them."""
VARIANTS = ("base", "v3", "v4")
OURS = (*(f"cpu[{variant}]" for variant in VARIANTS), "gpu", "reference")


def chosen_backends() -> tuple[str, ...]:
    """Give the backends that are asked for; by default our own, all plugins and the peers."""
    asked = os.environ.get(BACKENDS_VARIABLE)
    if asked:
        return contenders.named(asked.split(","))
    plugins = (name for name in ra.backends.names() if name != "cpu")  # which is its variants
    return tuple(dict.fromkeys((*OURS, *plugins, *peers.NAMES)))


BACKENDS = chosen_backends()
OTHERS = tuple(name for name in BACKENDS if name != "cpu" and name not in OURS)
THREADS = ("1", "2")
MODES = ("avg", "max")
GRADIENTS = ("features", "rois")
FORWARD = (
    *HEADLINE, "fpn-levels", "nhwc", "float64", "bfloat16", "mask-targets", "document-7x7",
    "small-call", "document-call",
)  # fmt: skip
BACKWARD = ("fpn-p4", "c4-head", "large-ratio2", "fpn-levels", "small-call")
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
    if backend == "gpu":
        return _ready(_on_gpu(library_calls.backward(workload, mode, wrt, 1, backend)))
    try:
        return _ready(gradients.prepare(backend, workload, f"{mode} by {wrt}", int(threads)))
    except contenders.NotRunError as refusal:
        raise NotImplementedError(str(refusal)) from None


def pasting(contender: str, threads: str, name: str) -> PreparedCall:
    """Prepare the pasting of masks and run it once."""
    _require(contender, name)
    return _ready(masks.prepare(contender, PASTE_WORKLOADS[name], int(threads)))


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
