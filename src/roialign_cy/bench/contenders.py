"""Which backends take part, and what each would be timed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

import roialign_cy as ra

from .._spec import make_spec
from . import on_device, peers
from .calls import PreparedCall
from .workloads import Workload

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

TOO_SLOW = ("reference",)
"""Backends that take part only when they are named."""


class NotRunError(Exception):
    """A backend does not take part in a workload; the text says why."""


def register_everyone() -> None:
    """Make the peers and the CPU variants of this machine known as backends."""
    peers.register_all()
    if ra.backends.unavailable_reason("cpu") is not None:
        return
    from roialign_cy._core import variants
    from roialign_cy.backends.cpu import CpuBackend

    for variant in variants.promised():
        ours: Any = CpuBackend(f"cpu[{variant}]", variant=variant)
        ra.backends.register(ours)


def register_object(text: str) -> str:
    """Register the backend, or the class of one, that ``module:object`` names; give its name.

    Raises
    ------
    ValueError
        If it does not exist, or is not a backend.
    """
    try:
        loaded = EntryPoint("", text, "").load()
        backend = loaded() if isinstance(loaded, type) else loaded
        ra.backends.register(backend)
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise ValueError(f"{text}: {error}") from error
    return str(backend.name)


def named(texts: Iterable[str]) -> tuple[str, ...]:
    """Give the names of backends, each written as its name or as ``module:object``."""
    return tuple(register_object(text) if ":" in text else text for text in texts)


def choose(asked: Sequence[str] | None) -> tuple[str, ...]:
    """Give the backends named, in that order, or all that are available, our own first.

    Raises
    ------
    ValueError, BackendUnavailableError
        If one that was named is unknown or unavailable.
    """
    if asked is not None:
        return tuple(ra.backends.get(name).name for name in named(asked))
    able = [
        name
        for name in ra.backends.available()
        if name not in TOO_SLOW and "numpy:ndarray" in ra.backends.get(name).array_types
    ]
    return tuple(sorted(able, key=lambda name: (not name.startswith("cpu"), name)))


def left_out() -> Iterator[str]:
    """Say why each unavailable backend is not available."""
    for name in ra.backends.names():
        reason = ra.backends.unavailable_reason(name)
        if reason is not None:
            yield f"{name} is left out: {reason}"


def specify(name: str, workload: Workload, mode: str, num_threads: int) -> tuple[CallSpec, str]:
    """Return what a backend is to compute for a workload, and how that differs from the request.

    Raises
    ------
    NotRunError
        If it cannot compute anything like it.
    """
    backend = ra.backends.get(name)
    spec = make_spec_of(workload, mode, num_threads)
    refusal = refusal_of(backend, spec, "roi_align")
    if refusal is None:
        return spec, ""
    stand_in = backend.stand_in(spec) if isinstance(backend, peers.Peer) else None
    if stand_in is None:
        raise NotRunError(refusal)
    return stand_in


def make_spec_of(workload: Workload, mode: str, num_threads: int) -> CallSpec:
    """Give what a workload asks a backend for."""
    options = workload.options(mode, num_threads)
    scales = tuple(options.pop("spatial_scales", ()))
    if not scales:
        return make_spec(**options)
    from .._spec import with_scales  # here, for versions without it are measured too

    return with_scales(make_spec(**options, spatial_scale=1.0), scales)


def refusal_of(backend: Any, spec: CallSpec, operation: str) -> str | None:
    """Say why a call is beyond a backend; peers answer for themselves what they are timed on."""
    if isinstance(backend, peers.Peer):
        return backend.cannot_run(spec, operation)
    from .._api import why_not

    return why_not(backend, spec, operation)


def prepare(
    name: str, features: Any, rois: NDArray[Any], spec: CallSpec, options: dict[str, Any]
) -> PreparedCall:
    """Prepare a call: a peer's own for peers, the public function for all others.

    What computes on a device gets its arrays there.

    Raises
    ------
    NotRunError
        If the backend has nothing for this type of features.
    """
    backend = ra.backends.get(name)
    if on_device.computes_there(backend):
        return on_device.prepare(name, features, rois, options)
    if not isinstance(backend, peers.Peer):
        pool = ra.multiscale_roi_align if isinstance(features, list) else ra.roi_align
        return PreparedCall(partial(pool, features, rois, backend=name, **options))
    if isinstance(features, list):
        return backend.prepare_levels(features, rois, spec)
    require_type(backend, features.dtype.name)
    return backend.prepare(features, rois, spec)


def require_type(peer: peers.Peer, dtype: str) -> None:
    """Raise unless a peer is prepared for NumPy maps of that type."""
    refusal = peer.cannot_read(dtype)
    if refusal is not None:
        raise NotRunError(refusal)
