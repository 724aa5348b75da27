"""Our time beside each peer's, measured in turn in one process: steadier than two times are."""

from __future__ import annotations

from . import peers, suite
from .compare import timing
from .workloads import HEADLINE

ROUNDS = 11


class Peers:
    """The default backend and an installed peer on one workload."""

    params = (peers.NAMES, suite.THREADS, suite.MODES, HEADLINE)
    param_names = ("peer", "threads", "mode", "workload")
    unit = "of the peer's time"
    timeout = 300

    def setup(self, peer: str, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.calls = {name: suite.forward(name, threads, mode, workload) for name in ("cpu", peer)}

    def track_time(self, peer: str, threads: str, mode: str, workload: str) -> float:
        """Median of our time divided by the peer's: 0.1 is ten times as fast."""
        samples = timing.measure(self.calls, ROUNDS)
        return samples["cpu"].median / samples[peer].median
