"""Make calls of hostile inputs, in this process: ``python -m tests.core.hostile_child INPUT ...``.

Prints what became of each as a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

import roialign_cy as ra

from .hostile_inputs import INPUTS, MAPS, NEIGHBOURS, Array, Call, Input

SECONDS_TO_ANSWER = 20
THREADS = 2
NOBODY = 65534
SOUND = Call(MAPS(), np.array(NEIGHBOURS, np.float32))


def limit_memory(allowed: int) -> None:
    """Refuse more address space than the process has now and ``allowed`` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + allowed, most))


def allow_memory() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def refuse_threads() -> None:
    """Let the system refuse every further thread and process."""
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    if os.geteuid() == 0:  # whom that limit does not bind
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def fork_and_leave() -> None:
    """Go on in a child; this process ends as the child does."""
    child = os.fork()
    if child == 0:
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


STATES = {
    "plain": lambda: limit_memory(2 << 30),
    "little memory": lambda: limit_memory(64 << 20),
    "forked": fork_and_leave,
    "no threads": refuse_threads,
}


def pool(call: Call, **options: object) -> Array:
    result: Array = ra.roi_align(
        call.features,
        call.rois,
        call.output_size,
        convention="detectron2",
        sampling_ratio=call.sampling_ratio,
        **options,
    )
    return result


def judge(call: Call, result: Array) -> str:
    """Say in what an answer differs from the reference's by more than rounding."""
    expected = pool(call, backend="reference") if call.expected is None else call.expected
    is_finite = np.isfinite(expected)
    if result.shape != expected.shape or not np.array_equal(np.isfinite(result), is_finite):
        return "wrong: another shape, NaN or infinite"
    largest = np.abs(expected[is_finite], dtype=np.float64).max(initial=0)
    most = np.abs(result - expected, dtype=np.float64)[is_finite].max(initial=0)
    is_right = most <= (2e-3 if expected.dtype == np.float16 else 1e-4) * largest
    return "right" if is_right else f"wrong by up to {most}, of {largest}"


def run(hostile: Input) -> dict[str, object]:
    """Say what became of an input, if this process lives to do so."""
    call = hostile.make()
    pool(SOUND, num_threads=1)  # what is loaded at the first call is no matter of this one
    if hostile.state == "forked":
        pool(call, num_threads=THREADS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is taken anew from here
    STATES[hostile.state]()
    signal.alarm(SECONDS_TO_ANSWER)  # ends the process, whatever it is in
    before, start = _peak_bytes(), time.perf_counter()
    result = None
    try:
        result = pool(call, num_threads=THREADS)
    except Exception as error:
        outcome = f"raises {type(error).__name__}"
    seconds, taken = time.perf_counter() - start, _peak_bytes() - before
    signal.alarm(0)
    allow_memory()
    if result is not None:
        taken -= result.nbytes
        outcome = judge(call, result)
    if judge(SOUND, pool(SOUND, num_threads=1)) != "right":
        outcome += "; later calls wrong"
    return {"outcome": outcome, "seconds": seconds, "scratch": taken}


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    inputs = {entry.name: entry for entry in INPUTS}
    for title in sys.argv[1:]:
        sys.stdout.write(f"{json.dumps(run(inputs[title]))}\n")
        sys.stdout.flush()
