"""Inputs on one engine, in this process: ``python -m benchmarks.hostile.child ENGINE INPUT ...``.

Prints what happened as a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import roialign_cy as ra

from .engines import ENGINES, THREADS, NoSuchInputError
from .inputs import INPUTS, MAPS, NEIGHBOURS, Array, Call, Input
from .states import STATES, allow_memory

SECONDS_TO_ANSWER = 20
MARK = "report: "
"""Begins a line of JSON, in between whatever an engine prints."""
Engine = Callable[[Call, int], Array]

SOUND = Call(MAPS(), np.array(NEIGHBOURS, np.float32))


def oracle(call: Call) -> Array | None:
    """Give the answers to those boxes of a call that have one; None if none has."""
    if len(call.undefined) == len(call.rois) > 0:
        return None
    if call.expected is not None:
        return call.expected
    boxes = np.delete(call.rois, call.undefined, axis=0)
    features = np.ascontiguousarray(call.features, call.features.dtype.newbyteorder("="))
    if len(boxes) == 0:
        return np.empty((0, features.shape[1], *call.output_size), features.dtype)
    answers: Array = ra.roi_align(
        features,
        boxes,
        call.output_size,
        convention="detectron2",
        sampling_ratio=call.sampling_ratio,
        backend="reference",
    )
    return answers


def fault(result: Array, expected: Array | None) -> str | None:
    """Say in what an answer differs from the right one; None if only by rounding."""
    if expected is None:
        return None
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return "wrong: another shape or dtype"
    is_finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(result), is_finite):
        return "wrong: NaN or infinite"
    largest = np.abs(expected[is_finite], dtype=np.float64).max(initial=0)
    most = np.abs(result - expected, dtype=np.float64)[is_finite].max(initial=0)
    if most <= (2e-3 if expected.dtype == np.float16 else 1e-4) * largest:
        return None
    return f"wrong by up to {most / largest:.0%}" if largest else "wrong: not 0"


def describe(call: Call, result: Array, expected: Array | None) -> str:
    """Say what an answer is."""
    if not call.undefined:
        return fault(result, expected) or "right"
    if result.size == 0:
        return "answers: nothing"
    hostile = result[list(call.undefined)]
    if np.isnan(hostile).all():
        answer = "answers: NaN"
    elif not hostile.any():
        answer = "answers: zeros"
    else:
        answer = "answers: numbers" if np.isfinite(hostile).all() else "answers: some not finite"
    others = fault(np.delete(result, call.undefined, axis=0), expected)
    return answer if others is None else f"{answer}; other boxes wrong"


def describe_error(error: Exception) -> str:
    """Say what was raised, and whether that was for want of memory."""
    kind = type(error).__name__
    text = str(error).lower()
    is_memory = isinstance(error, MemoryError) or any(
        word in text for word in ("allocat", "bad_alloc", "memory")
    )
    return f"raises {kind}" + (" (memory)" if is_memory and kind != "MemoryError" else "")


def run(engine: Engine, hostile: Input) -> dict[str, Any]:
    """Say what an input does to an engine, if this process lives to do so."""
    call = hostile.make()
    expected = oracle(call)
    engine(SOUND, 1)  # what is loaded at the first call is no matter of this one
    if hostile.state == "forked":
        engine(call, THREADS)
    _forget_peak()
    STATES[hostile.state]()
    signal.alarm(SECONDS_TO_ANSWER)  # ends the process, whatever it is in
    before, start = _peak_bytes(), time.perf_counter()
    size = 0
    try:
        result = engine(call, THREADS)
        size = result.nbytes
        outcome = describe(call, result, expected)
    except NoSuchInputError as error:
        outcome = f"no such input: {error}"
    except Exception as error:
        outcome = describe_error(error)
        sys.stderr.write(f"{hostile.name}: {type(error).__name__}: {error}\n")
    seconds, taken = time.perf_counter() - start, _peak_bytes() - before - size
    allow_memory()
    signal.alarm(SECONDS_TO_ANSWER)
    if fault(engine(SOUND, 1), oracle(SOUND)):
        outcome += "; later calls wrong"
    return {"outcome": outcome, "seconds": seconds, "bytes": taken}


def main(name: str, *titles: str) -> None:
    """Run the inputs of those titles on the engine of that name, one after another."""
    inputs = {entry.name: entry for entry in INPUTS}
    for title in titles:
        report = run(ENGINES[name], inputs[title])
        sys.stdout.write(f"\n{MARK}{json.dumps(report)}\n")
        sys.stdout.flush()
    os._exit(0)  # not by way of what the engine would still do


def _forget_peak() -> None:
    """Let the kernel take the peak of memory anew from here."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(*sys.argv[1:])
