"""Times of calls, on the device and on the host."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import cupy

SLEEP = cupy.ElementwiseKernel(
    "int64 cycles",
    "raw int8 unused",
    "const long long begin = clock64(); while (clock64() - begin < cycles) {}",
    "device_check_sleep",
)


def device_us(call: Callable[[], Any], dry: bool, calls: int = 8, rounds: int = 7) -> float:
    """Median time on the device; calls queue behind one that sleeps: none waits for the host."""
    call()
    if dry:
        return host_us(call, dry)
    times = []
    for _ in range(rounds):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        SLEEP(10_000_000, cupy.empty(1, "int8"), size=1)  # some 5 ms
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e3 / calls)
    return statistics.median(times)


def host_us(call: Callable[[], Any], dry: bool, calls: int = 20, rounds: int = 5) -> float:
    """Least mean time that a call keeps the host, the queue being empty at first."""
    best = float("inf")
    for _ in range(1 if dry else rounds):
        cupy.cuda.Device().synchronize()
        begin = time.perf_counter()
        for _ in range(1 if dry else calls):
            call()
        best = min(best, (time.perf_counter() - begin) / (1 if dry else calls))
    return best * 1e6
