"""Many calls in processes of their own, so that a crash or a hang is a finding as well."""

from __future__ import annotations

import faulthandler
import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np

import roialign_cy as ra

from .calls import Call, draw_call
from .judge import judge, registered_backends
from .source import Bytes

BYTES = 400
"""More than nearly every call takes."""

MOST_SECONDS = 30
"""Of CPU time, until a call counts as hanging: the slow oracle's share is in it."""

MOST_WAIT = 900
"""Seconds of the clock for so many calls as are reported at a time, on a busy machine."""

CALLS_AT_A_TIME = 1000

SCRATCH = 3 * (32 << 20)
"""The library's budget, of the three threads that calls use at most."""

SLACK = 128 << 20
"""For results, the oracle's arrays and what Python allocates."""

WARM_UP = 2000
"""Calls after which all modules are imported, threads started and caches full."""


@dataclass
class Report:
    """What became of the calls of one process, or of all."""

    verdicts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    growth: int = 0
    """Bytes that the process grew by after it had warmed up."""
    peak: int = 0
    """Bytes that its peak did."""


def data_of(seed: int, index: int) -> bytes:
    """Make the bytes that a call of the run is drawn from."""
    return random.Random(f"{seed}/{index}").randbytes(BYTES)


def run_one(data: bytes, verdicts: Counter[str]) -> Call:
    """Draw and judge one call."""
    call = draw_call(Bytes(data))
    try:
        verdict = judge(call)
    except Exception:
        verdicts[f"{call.function}: FAILED"] += 1
        raise
    verdicts[f"{call.function.partition('.')[0]}: {verdict}"] += 1
    return call


def described(data: bytes) -> str:
    """Write down a call and how to run it again."""
    return f"{draw_call(Bytes(data))}\nagain: python -m tests.fuzz --again {needed(data).hex()}"


def needed(data: bytes) -> bytes:
    """Cut off the bytes that the call does not take; zeros come by themselves."""
    source = Bytes(data)
    draw_call(source)
    return data[: source.used].rstrip(b"\0")


def work(seed: int, first: int, end: int, at: Any, results: Any) -> None:
    """Run the calls ``first .. end - 1`` in this process; ``at`` is the one that it is at."""
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # then it ends the process
    with registered_backends():
        # What this imports is no leak.
        ra.compare_conventions(np.zeros((1, 1, 4, 4)), [[0, 1, 1, 3, 3]], 2)
        warm, peak = 0, 0
        for begin in range(first, end, CALLS_AT_A_TIME):
            faulthandler.dump_traceback_later(MOST_WAIT, exit=True)
            report = Report()
            for index in range(begin, min(begin + CALLS_AT_A_TIME, end)):
                at.value = index
                signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
                data = data_of(seed, index)
                try:
                    run_one(data, report.verdicts)
                except Exception:
                    text = traceback.format_exc(limit=-2) + described(data)
                    report.failures.append((index, text))
            if begin == first + WARM_UP:
                warm, peak = resident_bytes(), peak_bytes()
                _limit_memory()
            elif warm:
                report.growth = resident_bytes() - warm
                report.peak = peak_bytes() - peak
            results.put(report)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def long_run(calls: int, seed: int, jobs: int, work: Callable[..., None] = work) -> Report:
    """Run the calls ``0 .. calls - 1`` of a seed, shared out among processes."""
    total = Report()
    share = -(-calls // jobs)
    workers = [
        _Worker(work, seed, first, min(first + share, calls)) for first in range(0, calls, share)
    ]
    while any(worker.is_running for worker in workers):
        time.sleep(0.2)
        for worker in workers:
            worker.look_after()
    for worker in workers:
        for report in worker.reports:
            total.verdicts += report.verdicts
            total.failures += report.failures
            total.peak = max(total.peak, report.peak)
        if worker.reports:
            total.growth = max(total.growth, worker.reports[-1].growth)
    return total


class _Worker:
    """A process at some of the calls; another takes over behind a call that ends it."""

    def __init__(self, work: Callable[..., None], seed: int, first: int, end: int) -> None:
        self.reports: list[Report] = []
        self._work, self._seed, self._end = work, seed, end
        self._start(first)

    def _start(self, first: int) -> None:
        # Not forked: a forked process runs on one thread.
        context = get_context("spawn")
        self._at = context.Value("q", first, lock=False)
        self._results = context.SimpleQueue()
        arguments = (self._seed, first, self._end, self._at, self._results)
        self._process = context.Process(target=self._work, args=arguments)
        self._process.start()
        self.is_running = True

    def look_after(self) -> None:
        """Take in what the process has to say, and see whether it still lives."""
        if not self.is_running:
            return
        is_alive = self._process.is_alive()
        while not self._results.empty():
            self.reports.append(self._results.get())
        if is_alive:
            return
        self.is_running = False
        if self._process.exitcode:
            index = self._at.value
            text = f"ended the process: {self._process.exitcode}\n"
            text += described(data_of(self._seed, index))
            self.reports.append(Report(Counter({"process ended": 1}), [(index, text)]))
            if index + 1 < self._end:
                self._start(index + 1)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Most memory of this process that was in RAM at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _limit_memory() -> None:
    """Let a call that wants more than the budget fail with MemoryError."""
    with open("/proc/self/statm") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + SCRATCH + SLACK, hard))
