"""Peak memory of the process that makes a call, its input and output included."""

from __future__ import annotations

from typing import Any

from roialign_cy.bench import suite_calls as suite


class Memory:
    """The default backend's calls."""

    params = (suite.THREADS, suite.MODES, ("fpn-box", "c4-head", "document-7x7"))
    param_names = ("threads", "mode", "workload")

    def setup(self, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays."""
        self.call = suite.forward("cpu", threads, mode, workload)

    def peakmem_call(self, threads: str, mode: str, workload: str) -> Any:
        """Peak memory with one call."""
        return self.call.run()


class GradientMemory:
    """The default backend's gradients."""

    params = (suite.THREADS, suite.MODES, suite.GRADIENTS, ("fpn-p4", "c4-head"))
    param_names = ("threads", "mode", "wrt", "workload")

    def setup(self, threads: str, mode: str, wrt: str, workload: str) -> None:
        """Draw the arrays."""
        self.call = suite.backward("cpu", threads, mode, wrt, workload)

    def peakmem_call(self, threads: str, mode: str, wrt: str, workload: str) -> Any:
        """Peak memory with one call."""
        return self.call.run()
