"""Measures two builds: instructions first, then the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .. import callgrind
from ..callgrind import VARIANT, environment
from . import clock
from .verdict import PartRise, Rules, TimeRatio, compare_counts, compare_times

ROUNDS = 11
"""Samples of a case and version; twice as many when a slower one is measured again."""
MOST_CLOCK_S = 90
"""An idle machine needs a quarter of it. On a busy one few samples count, and many are taken."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was measured.

    Attributes
    ----------
    counts : list of PartRise
    times : list of TimeRatio
        The second measurement where there were two.
    absent : dict
        Name of a case -> why it was not compared.
    """

    counts: list[PartRise] = field(default_factory=list)
    times: list[TimeRatio] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def slower(self) -> list[PartRise | TimeRatio]:
        """What blocks."""
        return [one for one in (*self.counts, *self.times) if one.outcome == "slower"]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted, or nothing timed."""
        return not self.counts or not self.times


def compare_instructions(
    findings: Findings, base: Path, head: Path, cases: Iterable[str], rules: Rules
) -> None:
    """Count the cases in both builds."""
    with ThreadPoolExecutor(2) as pool:  # counts do not mind company
        old, new = pool.map(partial(callgrind.count, cases), (base, head))
    for name, reason in new.absent.items():
        if name in old.instructions:
            raise RuntimeError(f"{name} runs in base and not in head: {reason}")
    findings.absent.update(old.absent | new.absent)
    findings.counts.extend(compare_counts(old.instructions, new.instructions, rules))


def compare_clock(
    findings: Findings,
    base: Path,
    head: Path,
    cases: Iterable[str],
    rules: Rules,
    say: Callable[[str], None],
) -> None:
    """Time the cases in both builds; those that seem slower a second time."""
    sources = {"base": base, "head": head}
    with clock.versions(sources, _timing_environment) as versions:
        able = []
        for case in cases:
            reason = versions.prepare(case)
            if reason is None:
                able.append(case)
            else:
                findings.absent.setdefault(case, reason)
        findings.times.extend(ratios(versions, able, rules, say))


def ratios(
    versions: clock.Versions, cases: Sequence[str], rules: Rules, say: Callable[[str], None]
) -> list[TimeRatio]:
    """Time prepared cases one by one; one that seems slower is measured again, and that counts."""
    found = []
    end = time.monotonic() + MOST_CLOCK_S
    for number, case in enumerate(cases):
        if time.monotonic() > end:
            say(f"no time left for the clock on {', '.join(cases[number:])}")
            break
        one = _measure(versions, case, ROUNDS, rules)
        if one.outcome == "slower":
            say(f"{case} is slower by {one.ratio:.2f}: measured again")
            one = _measure(versions, case, 2 * ROUNDS, rules)
        found.append(one)
    return found


def _measure(versions: clock.Versions, case: str, rounds: int, rules: Rules) -> TimeRatio:
    samples = versions.time([case], rounds)
    return compare_times(samples["base", case], samples["head", case], case, rules)


def _timing_environment(source: Path) -> Mapping[str, str]:
    return environment(source, VARIANT)
