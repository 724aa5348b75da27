"""What a comparison found, and the ratios that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import NamedTuple

from ..timing import Samples


class Case(NamedTuple):
    """What was timed side by side."""

    workload: str
    mode: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One backend with one thread count on one case.

    Attributes
    ----------
    error, tolerance : float
        Largest difference from what was expected, and what rounding explains of it.
    note : str
        How what was computed differs from what was asked.
    """

    case: Case
    threads: int
    backend: str
    samples: Samples
    error: float
    tolerance: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Absence:
    """A backend that was not timed on a case, and why."""

    case: Case
    backend: str
    reason: str
    is_wrong: bool = False


class Ratio(NamedTuple):
    """A ratio of times: the medians', and the quartiles' of the numerator."""

    middle: float
    low: float
    high: float
    sufficient: bool = True


@dataclass(slots=True)
class Comparison:
    """Everything that one run measured.

    Attributes
    ----------
    backends, threads : tuples
        Who took part and with how many threads.
    anchor : str
        The backend whose time is 1.
    bytes_moved : dict
        Case -> what must cross memory once.
    bandwidth : dict
        Thread count -> bytes per second of the best copy.
    """

    backends: tuple[str, ...]
    threads: tuple[int, ...]
    anchor: str
    measurements: list[Measurement] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    bytes_moved: dict[Case, int] = field(default_factory=dict)
    bandwidth: dict[int, float] = field(default_factory=dict)

    def find(self, case: Case, threads: int, backend: str) -> Samples | None:
        """Give the samples of one measurement, if it was made."""
        for one in self.measurements:
            if (one.case, one.threads, one.backend) == (case, threads, backend):
                return one.samples
        return None

    def times_anchor(self, case: Case, threads: int, backend: str) -> Ratio | None:
        """How many times the anchor's time a backend takes: above 1 it is slower."""
        anchor = self.find(case, threads, self.anchor)
        samples = self.find(case, threads, backend)
        if anchor is None or samples is None:
            return None
        low, high = (quartile / anchor.median for quartile in samples.quartiles)
        sufficient = samples.sufficient and anchor.sufficient
        return Ratio(samples.median / anchor.median, low, high, sufficient)

    def times_limit(self, case: Case, threads: int, backend: str) -> float | None:
        """How many times as long a backend takes as moving its data once would."""
        samples = self.find(case, threads, backend)
        bandwidth = self.bandwidth.get(threads, 0)
        if samples is None or not bandwidth:
            return None
        return samples.median / (self.bytes_moved[case] / bandwidth)

    def speedup(self, case: Case, backend: str) -> Ratio | None:
        """How many times faster a backend is with the most threads than with the fewest."""
        few = self.find(case, min(self.threads), backend)
        many = self.find(case, max(self.threads), backend)
        if few is None or many is None:
            return None
        low, high = (quartile / many.median for quartile in few.quartiles)
        return Ratio(few.median / many.median, low, high, few.sufficient and many.sufficient)

    def best_of(self, backends: Iterable[str], case: Case, threads: int) -> Ratio | None:
        """Ratio to the anchor of whichever of ``backends`` is the fastest on a case."""
        ratios = [self.times_anchor(case, threads, name) for name in backends]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    def cases(self, mode: str | None = None, names: Sequence[str] | None = None) -> list[Case]:
        """List the cases in order, of one mode or of some workloads if that is asked for."""
        return [
            case
            for case in self.bytes_moved
            if mode in (None, case.mode) and (names is None or case.workload in names)
        ]

    def modes(self) -> list[str]:
        """List the modes in order."""
        return list(dict.fromkeys(case.mode for case in self.bytes_moved))


def mean_and_least(ratios: Iterable[Ratio | None]) -> tuple[float, float, int] | None:
    """Geometric mean, smallest and number of the ratios that there are; None without any."""
    present = [ratio.middle for ratio in ratios if ratio is not None]
    if not present:
        return None
    return geometric_mean(present), min(present), len(present)
