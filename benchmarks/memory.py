"""Memory of a call: ``python -m benchmarks.memory CASE`` prints by how many MiB a process grows.

The input is there before; what counts is the result and all that a call on one thread works in.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from roialign_cy.bench.workloads import WORKLOADS

from .cases import CASES as SMALL_CASES
from .cases import LACKING, Case
from .versions import ROOT, environment

CASES = {
    case.name: case
    for case in (
        Case("fpn-box avg", WORKLOADS["fpn-box"], "avg"),
        Case("fpn-box max by features", WORKLOADS["fpn-box"], "max", "features"),
    )
}


def measure(case: str, source: Path) -> float | None:
    """Measure a case in the version that is imported from a folder; None if that lacks it."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, case],
        cwd=ROOT,
        env=environment(source),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{case} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return float(done.stdout) if done.stdout.strip() else None


def growth_mib(case: Case) -> float:
    """Call once, when all that is needed has been imported, and give the growth at its most."""
    SMALL_CASES["small-avg"].prepare().run()
    call = case.prepare()
    Path("/proc/self/clear_refs").write_text("5")  # the most becomes what there is now
    before = _status_kib("VmRSS")
    result = call.run()
    most = _status_kib("VmHWM")
    del result
    return (most - before) / 1024


def _status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(value)


if __name__ == "__main__":
    with suppress(*LACKING):
        print(round(growth_mib(CASES[sys.argv[1]]), 1))  # noqa: T201
