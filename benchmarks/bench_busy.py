"""What small calls take on a machine that has other things to do."""

from __future__ import annotations

import os

from . import busy


class Busy:
    """Means of few boxes beside twice as many busy processes as CPUs, stalls included."""

    params = (busy.CONTENDERS, busy.WORKLOADS)
    param_names = ("contender", "workload")
    unit = "seconds"
    timeout = 300

    def setup(self, contender: str, workload: str) -> None:
        """Draw the arrays and warm up."""
        self.calls = {contender: busy.prepare(contender, workload)}

    def track_mean(self, contender: str, workload: str) -> float:
        """Mean time of a call, which the calls that stall are the most of."""
        with busy.busy_processes(2 * (os.cpu_count() or 1)):
            return busy.mean_seconds(self.calls)[contender]
