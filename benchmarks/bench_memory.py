"""Peak memory of the process that makes a call, its input and output included."""

from __future__ import annotations

from typing import Any

from roialign_cy.bench import suite_calls


class Memory:
    """The default backend's calls."""

    params = (suite_calls.THREADS, suite_calls.MODES, ("fpn-box", "c4-head", "document-7x7"))
    param_names = ("threads", "mode", "workload")

    def setup(self, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays."""
        self.call = suite_calls.forward("cpu", threads, mode, workload)

    def peakmem_call(self, threads: str, mode: str, workload: str) -> Any:
        """Peak memory with one call."""
        return self.call.run()


class GradientMemory:
    """The default backend's gradients."""

    params = (suite_calls.THREADS, suite_calls.MODES, suite_calls.GRADIENTS, ("fpn-p4", "c4-head"))
    param_names = ("threads", "mode", "wrt", "workload")

    def setup(self, threads: str, mode: str, wrt: str, workload: str) -> None:
        """Draw the arrays."""
        self.call = suite_calls.backward("cpu", threads, mode, wrt, workload)

    def peakmem_call(self, threads: str, mode: str, wrt: str, workload: str) -> Any:
        """Peak memory with one call."""
        return self.call.run()
