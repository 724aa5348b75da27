"""The few calls by which versions of the library are compared: one for each way through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from roialign_cy.bench.workloads import (
    PASTE,
    PASTE_WORKLOADS,
    WORKLOADS,
    PasteWorkload,
    RandomBoxes,
    Workload,
)

if TYPE_CHECKING:
    from roialign_cy.bench.calls import PreparedCall

COUNTED_CHANNELS = 32
"""Channels of a call whose instructions are counted, some fifty times slower than it runs: two
blocks of those that the kernels work on together."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call of the library.

    Attributes
    ----------
    name : str
        What the asv suite and the gate call it.
    wrt : {"features", "rois"} or None
        The gradient that is asked for; None for the forward pass.
    num_threads : int or None
        None leaves it to the library.
    """

    name: str
    workload: Workload | PasteWorkload
    mode: str
    wrt: str | None = None
    num_threads: int | None = 1

    def prepare(self) -> PreparedCall:
        """Draw the arrays for the default backend."""
        from roialign_cy.bench import library_calls

        if isinstance(self.workload, PasteWorkload):
            return library_calls.paste(self.workload, self.num_threads)
        if self.wrt is None:
            return library_calls.forward(self.workload, self.mode, self.num_threads)
        return library_calls.backward(self.workload, self.mode, self.wrt, self.num_threads)

    def to_count(self) -> Case:
        """Reduce it to what is counted in a second."""
        channels = min(self.workload.channels, COUNTED_CHANNELS)
        return replace(self, workload=replace(self.workload, channels=channels))


_P4 = replace(WORKLOADS["fpn-p4"], channels=64)
_ADAPTIVE = replace(WORKLOADS["large-adaptive"], channels=64)
_DOCUMENT = replace(WORKLOADS["document-7x7"], channels=64, height=100, width=152)
_NHWC = replace(WORKLOADS["nhwc"], channels=64, height=100, width=152)
_CROPS = replace(
    WORKLOADS["photo-crops-nhwc"], height=400, width=600, boxes=RandomBoxes(8, 30, 300)
)
_LEVELS = replace(
    WORKLOADS["fpn-levels"],
    channels=64,
    height=100,
    width=152,
    spatial_scale=1 / 8,
    boxes=RandomBoxes(512, 3, 100),
)
_MASK_TARGETS = replace(
    WORKLOADS["mask-targets"], batch=4, height=200, width=333, boxes=RandomBoxes(32, 5, 100)
)
_PASTE = replace(PASTE_WORKLOADS["paste-masks"], count=20, height=400, width=300)

_ALL = (
    Case("avg", _P4, "avg"),
    Case("avg-adaptive", _ADAPTIVE, "avg"),
    Case("avg-nhwc", _NHWC, "avg"),
    Case("avg-crops", _CROPS, "avg"),
    Case("max", _P4, "max"),
    Case("max-document", _DOCUMENT, "max"),
    Case("avg-by-features", _P4, "avg", "features"),
    Case("max-by-features", _P4, "max", "features"),
    Case("avg-by-rois", _P4, "avg", "rois"),
    Case("max-by-rois", _P4, "max", "rois"),
    Case("roi-pool", replace(WORKLOADS["roi-pool"], channels=64), "max"),
    Case("prroi", replace(WORKLOADS["prroi"], channels=64), "avg"),
    Case("prroi-by-rois", replace(WORKLOADS["prroi"], channels=64), "avg", "rois"),
    Case("levels", _LEVELS, "avg"),
    Case("levels-by-features", _LEVELS, "avg", "features"),
    Case("avg-bfloat16", replace(_P4, dtype="bfloat16"), "avg"),
    Case("avg-uint8", _MASK_TARGETS, "avg"),
    Case("paste", _PASTE, PASTE),
    Case("small-avg", WORKLOADS["small-call"], "avg"),
    Case("small-document", WORKLOADS["document-call"], "max"),
    Case("small-avg-by-features", WORKLOADS["small-call"], "avg", "features"),
)

LACKING = (AttributeError, NotImplementedError)
"""What `Case.prepare` and the call itself raise in a version that lacks it."""

CASES: dict[str, Case] = {case.name: case for case in _ALL}
"""All cases by name. The small ones are nearly all Python."""

BUSY = {
    name: Case(name, WORKLOADS[name], "avg", num_threads=None)
    for name in ("p4-2-boxes", "p4-16-boxes")
}
"""Calls that are also timed beside busy processes."""


def counted(name: str) -> Callable[[], Any]:
    """Give the call of a case whose instructions are counted."""
    return CASES[name].to_count().prepare().run
