"""Times several calls side by side, so that a disturbance affects all of them.

A sample counts only if the process was not pre-empted while it was taken: if a thread loses its
core, a call of 2 ms can take 30. Samples of the calls alternate, with a pause before each in which
the threads of the previous one go to sleep.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from .calls import PreparedCall
from .disturbance import Disturbance, so_far

Key = TypeVar("Key", bound=Hashable)

ROUNDS = 11
"""Undisturbed samples wanted of each call, unless it is slow."""
FEWEST_ROUNDS = 9
"""Fewer than these leave the median of a call that is not slow in doubt."""
SLOW_S = 0.050
SLOW_ROUNDS = 5
"""Calls from SLOW_S on vary less and cost more: this many samples are enough."""
ATTEMPTS_PER_ROUND = 4
"""On a busy machine samples are tried again, up to this many times what was wanted."""
WAIT_ALLOWED = 0.02
"""Even an idle machine pre-empts two busy threads every 30 ms or so, for some 0.05 ms: samples of
slow calls count in spite of it if they waited for no more than this part of their time."""
FAST_S = 100e-6
CALLS_PER_FAST_SAMPLE = 100
"""Calls below FAST_S are timed this many at once: the clock and a cold cache would weigh."""
WARM_UP_CALLS = 30
"""Calls that may be fast are warmed up with this many: the first dozen can take three times as
long, while Python specialises their bytecode and caches fill."""
PAUSE_S = 0.020
"""Twice as long as the threads of any pool that was met spin before they sleep (libgomp's: 5 to
10 ms)."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one call.

    Attributes
    ----------
    seconds : tuple of float
        Time per call of each sample that counts.
    undisturbed, disturbed : int
        Number of samples of either kind. Only the undisturbed ones count; if there are none,
        ``seconds`` are those of the others, to have anything at all.
    sufficient : bool
        Whether there were enough undisturbed ones to trust the median.
    """

    seconds: tuple[float, ...]
    undisturbed: int
    disturbed: int
    sufficient: bool

    @property
    def median(self) -> float:
        """Median time per call in seconds."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the time per call in seconds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)


def measure(
    calls: Mapping[Key, PreparedCall],
    rounds: int = ROUNDS,
    *,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
    disturbance: Callable[[], Disturbance] = so_far,
) -> dict[Key, Samples]:
    """Take samples of all calls in turn until each has ``rounds`` that count.

    Parameters
    ----------
    calls : mapping to PreparedCall
        What to time.
    rounds : int
        Undisturbed samples wanted of each call that is not slow.
    clock, pause, disturbance : callables
        The time in seconds, a way to let it pass, and what has disturbed the process so far.
    """
    with _no_garbage_collection():
        series = {key: _Series.plan(call, rounds, clock) for key, call in calls.items()}
        turn = list(series.values())
        while any(one.goes_on for one in turn):
            for one in turn:
                if one.goes_on:
                    one.call.enter()
                    pause(PAUSE_S)
                    one.take(clock, disturbance)
            # Neighbours change sides, so that none always runs in the other's warm cache.
            turn.reverse()
    return {key: one.samples() for key, one in series.items()}


@dataclass(slots=True)
class _Series:
    """The samples of one call while they are being taken."""

    call: PreparedCall
    calls_per_sample: int
    wanted: int
    fewest: int
    kept: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)

    @classmethod
    def plan(cls, call: PreparedCall, rounds: int, clock: Callable[[], float]) -> _Series:
        """Warm the call up and choose how to time it by how long it takes."""
        call.enter()
        _time(call.run, 1, clock)
        seconds = _time(call.run, 1, clock)
        if seconds >= SLOW_S:
            wanted = min(rounds, SLOW_ROUNDS)
            return cls(call, 1, wanted, fewest=SLOW_ROUNDS)
        warm_up = WARM_UP_CALLS if seconds < 10 * FAST_S else 3
        seconds = min(seconds, *(_time(call.run, 1, clock) for _ in range(warm_up)))
        per_sample = CALLS_PER_FAST_SAMPLE if seconds < FAST_S else 1
        return cls(call, per_sample, rounds, fewest=FEWEST_ROUNDS)

    @property
    def goes_on(self) -> bool:
        attempts = len(self.kept) + len(self.disturbed)
        return len(self.kept) < self.wanted and attempts < self.wanted * ATTEMPTS_PER_ROUND

    def take(self, clock: Callable[[], float], disturbance: Callable[[], Disturbance]) -> None:
        before = disturbance()
        seconds = _time(self.call.run, self.calls_per_sample, clock)
        after = disturbance()
        undisturbed = after.switches == before.switches or (
            seconds >= SLOW_S and after.waited_s - before.waited_s <= WAIT_ALLOWED * seconds
        )
        (self.kept if undisturbed else self.disturbed).append(seconds)

    def samples(self) -> Samples:
        return Samples(
            seconds=tuple(self.kept or self.disturbed),
            undisturbed=len(self.kept),
            disturbed=len(self.disturbed),
            sufficient=len(self.kept) >= self.fewest,
        )


def _time(run: Callable[[], Any], calls: int, clock: Callable[[], float]) -> float:
    """Time per call in seconds; the last result is freed outside the clock."""
    start = clock()
    for _ in range(calls):
        result = run()
    elapsed = clock() - start
    del result
    return elapsed / calls


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
