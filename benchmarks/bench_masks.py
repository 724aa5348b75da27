"""Pasting of masks into images."""

from __future__ import annotations

from typing import Any

from roialign_cy.bench import masks, suite_calls
from roialign_cy.bench.workloads import PASTE_WORKLOADS


class Paste:
    """The library's own and torchvision's; other backends paste no masks."""

    params = (masks.CONTENDERS, suite_calls.THREADS, tuple(PASTE_WORKLOADS))
    param_names = ("contender", "threads", "workload")

    def setup(self, contender: str, threads: str, workload: str) -> None:
        """Draw the arrays and run once."""
        self.call = suite_calls.pasting(contender, threads, workload)

    def time_call(self, contender: str, threads: str, workload: str) -> Any:
        """Time of one call that allocates its result."""
        return self.call.run()
