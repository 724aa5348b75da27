"""The gradients: time of a call."""

from __future__ import annotations

from typing import Any

from . import suite


class Backward:
    """`roi_align_backward` by the features and by the boxes; torchvision has the first."""

    params = (suite.BACKENDS, suite.THREADS, suite.MODES, suite.GRADIENTS, suite.BACKWARD)
    param_names = ("backend", "threads", "mode", "wrt", "workload")

    def setup(self, backend: str, threads: str, mode: str, wrt: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite.backward(backend, threads, mode, wrt, workload)

    def time_call(self, backend: str, threads: str, mode: str, wrt: str, workload: str) -> Any:
        """Time of one call that allocates its result."""
        return self.call.run()
