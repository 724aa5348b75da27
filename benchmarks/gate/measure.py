"""Measures two builds: instructions first, then the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..versions import compare_in_turn, count
from .verdict import PartRise, Rules, TimeRatio, compare_counts, judge_time

ROUNDS = 60
"""Samples of a case and version; twice as many when a slower one is measured again."""


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
        old, new = pool.map(partial(count, tuple(cases)), (base, head))
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
    """Time the cases in both builds, in turn; what seems slower again, and that counts."""
    sources = {"head": head, "base": base}
    found, lacking = compare_in_turn(sources, cases, ROUNDS, "head")
    for case, reasons in lacking.items():
        if reasons:
            findings.absent.setdefault(case, ", ".join(reasons.values()))
    judged = {
        case: judge_time(case, one["base"], rules) for case, one in found.items() if "base" in one
    }
    doubtful = [case for case, one in judged.items() if one.outcome == "slower"]
    if doubtful:
        say(f"slower, measured again: {', '.join(doubtful)}")
        again, _ = compare_in_turn(sources, doubtful, 2 * ROUNDS, "head")
        judged |= {case: judge_time(case, again[case]["base"], rules) for case in doubtful}
    findings.times.extend(judged.values())
