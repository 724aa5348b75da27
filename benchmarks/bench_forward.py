"""The forward pass: time of a call."""

from __future__ import annotations

from typing import Any

from . import suite


class Forward:
    """`roi_align` on every backend, beside the peers."""

    params = (suite.BACKENDS, suite.THREADS, suite.MODES, suite.FORWARD)
    param_names = ("backend", "threads", "mode", "workload")

    def setup(self, backend: str, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite.forward(backend, threads, mode, workload)

    def time_call(self, backend: str, threads: str, mode: str, workload: str) -> Any:
        """Time of one call that allocates its result."""
        return self.call.run()
