"""``python -m tests.fuzz.bits``: hold calls on NaN and infinities to the same bits in every way.

The oracle has no say in them, so gradients may be given that are not finite, and boxes be many.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

import roialign_cy as ra

from .arrays import Array, Rows
from .calls import Call, draw_call
from .judge import build_arguments, registered_backends
from .long_run import data_of
from .oracle import FailureError
from .source import Bytes
from .ways import POOLING, assert_same_bits

TIMES = 8
"""As many boxes as a fuzzed call has."""


def poisoned(call: Call) -> Call | None:
    """Have NaN and infinities in all maps of a pooling call, and more boxes; else None."""
    if call.function not in POOLING or call.odd:
        return None
    arguments: dict[str, Any] = {
        name: replace(value, fill="poison") if isinstance(value, Array) else value
        for name, value in call.arguments.items()
        if name != "out"
    }
    rois = arguments["rois"]
    if isinstance(rois, Rows):
        step = 0.4 / float(arguments["spatial_scale"])
        rows = [
            (index, *(side + number * step for side in sides))
            for number in range(TIMES)
            for index, *sides in rois.rows
        ]
        arguments["rois"] = replace(rois, rows=tuple(rows))
        if "grad_output" in arguments:
            grads = arguments["grad_output"]
            shape = (len(rows), *grads.shape[1:])
            arguments["grad_output"] = replace(grads, shape=shape)
    return Call(call.function, arguments)


def compare_bits(call: Call) -> str:
    """Run a call in every way; say what its results hold, or raise `FailureError`."""
    arguments, _ = build_arguments(call)
    try:
        result = getattr(ra, call.function)(**arguments)
    except ValueError:
        return "refused"  # boxes that cannot be pooled
    assert_same_bits(call.function, arguments, result)
    results = result if isinstance(result, tuple) else (result,)
    if any(np.isnan(array).any() for array in results):
        return "NaN"
    return "finite" if all(np.isfinite(array).all() for array in results) else "infinities"


def run(seed: int, first: int, calls: int) -> tuple[Counter[str], list[str]]:
    """Compare so many calls of a seed; count what they gave, and describe the failures."""
    verdicts: Counter[str] = Counter()
    failures = []
    index = first
    while verdicts.total() - verdicts["refused"] < calls:
        call = poisoned(draw_call(Bytes(data_of(seed, index))))
        if call is not None:
            try:
                verdicts[compare_bits(call)] += 1
            except FailureError as error:
                verdicts["FAILED"] += 1
                failures.append(f"{error}: --seed {seed} --first {index} --calls 1\n{call}")
        index += 1
    return verdicts, failures


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.bits", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the call of the seed to begin at")
    options = parser.parse_args()
    began = time.monotonic()
    with registered_backends():
        verdicts, failures = run(options.seed, options.first, options.calls)
    print("\n\n".join(failures[:20]))
    for name, count in sorted(verdicts.items()):
        print(f"{count:8d}  {name}")
    print(f"{time.monotonic() - began:.0f} s, seed {options.seed}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
