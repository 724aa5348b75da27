"""Times versions of the library side by side, all in this one process.

``python -m benchmarks.worker`` reads a request in JSON from its standard input and prints the
answer. The versions work on the same arrays, and get memory for results from the same allocator:
in processes of their own, identical code differs by up to a tenth, by which pages each was given.
Times are processor times, in which another process's turn does not count. Beside busy processes
they are those of the clock on the wall: there the waiting is what counts.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from .busy import CALLS_IN_TURN, busy_processes
from .cases import BUSY, CASES, LACKING, Case

Call = Callable[[], Any]

PACKAGE = "roialign_cy"
Clock = Callable[[], float]
SAMPLE_S = 0.01
"""Calls are repeated until a sample takes about so long."""


class Version:
    """The modules of a version; those of one at a time are the ones that imports find."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules

    @classmethod
    def load(cls, folder: str) -> Version:
        """Import the library from a folder, beside the one that is imported already."""
        before = _take_modules()
        sys.path.insert(0, folder)
        try:
            importlib.import_module(PACKAGE)
            return cls(_take_modules())
        finally:
            sys.path.remove(folder)
            sys.modules.update(before)

    def bind(self, call: partial[Any]) -> Call:
        """Give the same call of this version's function, once it has been made."""
        function = getattr(self._modules[PACKAGE], call.func.__name__)
        own = partial(function, *call.args, **call.keywords)
        self.run(own)
        return own

    def run(self, call: Call, times: int = 1, clock: Clock = time.process_time) -> float:
        """Give the time of a call in seconds, of several in a row."""
        before = _take_modules()
        sys.modules.update(self._modules)
        try:
            return seconds(call, times, clock)
        finally:
            self._modules = _take_modules()
            sys.modules.update(before)


def _take_modules() -> dict[str, ModuleType]:
    """Make Python forget the library, and give what it knew of it."""
    names = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
    return {name: sys.modules.pop(name) for name in names}


def seconds(call: Call, times: int = 1, clock: Clock = time.process_time) -> float:
    """Give the time of a call in seconds, of several in a row."""
    begin = clock()
    for _ in range(times):
        call()
    return (clock() - begin) / times


def compare(
    versions: Mapping[str, Version],
    backends: Iterable[str],
    case: Case,
    rounds: int,
    is_busy: bool = False,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time a case in turn: seconds of every version and backend, and why others have none."""
    clock = time.perf_counter if is_busy else time.process_time
    timers: dict[str, Callable[[int], float]] = {}
    lacking: dict[str, str] = {}
    try:
        shared = case.prepare().run
    except LACKING as error:
        return {}, dict.fromkeys([*versions, *backends], repr(error))
    assert isinstance(shared, partial)
    for name, version in versions.items():
        try:
            timers[name] = partial(version.run, version.bind(shared), clock=clock)
        except (*LACKING, TypeError, ValueError) as error:
            # The last two for types of maps and conventions that came later.
            lacking[name] = repr(error)
    for name in backends:
        try:
            timers[name] = partial(seconds, _prepare_backend(name, case), clock=clock)
        except NotImplementedError as error:
            lacking[name] = str(error)
    times = {
        # One that stalls at once is not to be one call a sample, of which most do not stall.
        name: CALLS_IN_TURN if is_busy else max(1, round(SAMPLE_S / timer(1)))
        for name, timer in timers.items()
    }
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name in timers:
            timers[name](1)  # so that none begins in the other's warm cache
            found[name].append(timers[name](times[name]))
    return found, lacking


def _prepare_backend(name: str, case: Case) -> Call:
    from roialign_cy.bench import contenders, gradients

    contenders.register_everyone()
    workload = case.workload
    try:
        if case.wrt is not None:
            return gradients.prepare(name, workload, f"{case.mode} by {case.wrt}", 1).run
        spec, _ = contenders.specify(name, workload, case.mode, 1)
        arrays = workload.features(), workload.rois()
        return contenders.prepare(name, *arrays, spec, workload.options(case.mode, 1)).run
    except contenders.NotRunError as refusal:
        raise NotImplementedError(str(refusal)) from None


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    versions = {name: Version.load(folder) for name, folder in request["versions"].items()}
    gc.disable()
    is_busy = request["is_busy"]
    cases = BUSY if is_busy else CASES
    with busy_processes(2 * (os.cpu_count() or 1) if is_busy else 0):
        answer = {
            name: compare(versions, request["backends"], cases[name], request["rounds"], is_busy)
            for name in request["cases"]
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
