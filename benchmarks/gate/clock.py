"""Times two versions side by side, each in a process of its own, sample by sample in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..callgrind import ROOT
from ..calls import PreparedCall
from ..compare import timing
from ..compare.disturbance import Disturbance

Key = tuple[str, str]
"""A version and a case."""


class Versions:
    """Processes that hold a version each.

    Parameters
    ----------
    workers : mapping of str to Popen
        The process of each version, one that runs `benchmarks.gate.worker`.
    """

    def __init__(self, workers: Mapping[str, subprocess.Popen[str]]) -> None:
        self._workers = workers

    def prepare(self, case: str) -> str | None:
        """Have a case made ready; the reason if a version lacks it."""
        for version in self._workers:
            reason = self._ask(version, f"prepare {case}")
            if reason:
                return f"{version}: {reason}"
        return None

    def time(self, cases: Iterable[str], rounds: int) -> dict[Key, timing.Samples]:
        """Take samples of prepared cases, the versions of a case next to one another."""
        calls = {
            (version, case): PreparedCall(partial(self._ask, version, f"run {case}"))
            for case in cases
            for version in self._workers
        }
        return timing.measure(calls, rounds, disturbance=self._disturbance)

    def _disturbance(self) -> Disturbance:
        """What has disturbed any of the versions; the others wait while one runs."""
        counts = [self._ask(version, "disturbance").split() for version in self._workers]
        return Disturbance(
            sum(int(switches) for switches, _ in counts), sum(float(waited) for _, waited in counts)
        )

    def _ask(self, version: str, request: str) -> str:
        worker = self._workers[version]
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(request + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
        if not answer:
            raise RuntimeError(f"{version} ended at the request {request!r}")
        return answer.strip()


@contextmanager
def versions(
    sources: Mapping[str, Path], environment: Callable[[Path], Mapping[str, str]]
) -> Iterator[Versions]:
    """Start a process for each version, from the folder that it is imported from."""
    workers: dict[str, subprocess.Popen[str]] = {}
    try:
        for version, source in sources.items():
            workers[version] = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker"],
                cwd=ROOT,
                env=dict(environment(source)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        yield Versions(workers)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
