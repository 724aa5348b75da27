"""Calls beside busy processes: ``python -m benchmarks.busy`` prints what they take.

On a busy machine a team of threads waits for whichever of them the system does not run. The mean
is what counts: a few calls that stall are the most of it. ``ROIALIGN_IGNORE_LOAD=1`` shows what
teams of full size would take.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from roialign_cy.bench import library_calls, suite_calls, timing
from roialign_cy.bench.calls import PreparedCall

CALLS = 60
CALLS_IN_TURN = 10
WORKLOADS = ("p4-2-boxes", "p4-16-boxes", "p3-100-boxes")
OURS = {"default": None, "1 thread": 1, "2 threads": 2}
CONTENDERS = (*OURS, "torchvision")

# Ends with the process that started it, however that one ends.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Have that many processes compute."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(number)]
    try:
        time.sleep(0.5 if number else 0)  # until they do
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def prepare(contender: str, workload: str) -> PreparedCall:
    """Prepare a mean, by this library on some number of threads or by torchvision."""
    if contender in OURS:
        return library_calls.forward(suite_calls.WORKLOADS[workload], "avg", OURS[contender])
    return suite_calls.forward(contender, str(os.cpu_count()), "avg", workload)


def mean_seconds(calls: Mapping[str, PreparedCall]) -> dict[str, float]:
    """Mean time of a call of each, a few in turn."""
    seconds = dict.fromkeys(calls, 0.0)
    for _ in range(CALLS // CALLS_IN_TURN):
        for name, call in calls.items():
            call.enter()
            call.run()
            time.sleep(timing.PAUSE_S)
            start = time.perf_counter()
            for _ in range(CALLS_IN_TURN):
                call.run()
            seconds[name] += time.perf_counter() - start
    return {name: total / CALLS for name, total in seconds.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), metavar="PROCESSES")
    parser.add_argument("--workloads", nargs="+", default=WORKLOADS, choices=suite_calls.WORKLOADS)
    options = parser.parse_args()
    load = "not heeded" if os.environ.get("ROIALIGN_IGNORE_LOAD") == "1" else "heeded"
    lines = [f"ms, mean of {CALLS} calls beside {options.busy} busy processes; load {load}"]
    lines.append(f"{'':16}" + "".join(f"{name:>14}" for name in CONTENDERS))
    for workload in options.workloads:
        calls = {}
        for name in CONTENDERS:
            try:
                calls[name] = prepare(name, workload)
            except NotImplementedError as reason:
                lines.append(f"{name} is left out: {reason}")
        with busy_processes(options.busy):
            means = mean_seconds(calls)
        times = (f"{1e3 * means[name]:14.3f}" if name in means else "" for name in CONTENDERS)
        lines.append(f"{workload:16}" + "".join(times))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
