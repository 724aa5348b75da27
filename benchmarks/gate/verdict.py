"""The rules: what of the measurements blocks a change.

An instruction count is exact, so a small threshold is enough. A time is not: to block, it has to
be slower by a ratio that matters, and again when it is measured once more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..callgrind import Origin
from ..versions import Ratios
from .parts import by_part

MOST_RISE = 0.03
"""Rise of a part's instructions that still passes, as a fraction."""
FEWEST_INSTRUCTIONS = 2000
"""Rise that is too small to look at, whatever fraction it is: some half a microsecond. Counts of
one and the same code differ by some 50 at most (the interpreter's memory)."""
MOST_RATIO = 1.15
"""Median ratio of times that still passes."""

_CYTHON_PREFIX = "__pyx_f_"


@dataclass(frozen=True, slots=True)
class Rules:
    """What can be asked for otherwise."""

    most_rise: float = MOST_RISE
    most_ratio: float = MOST_RATIO
    accepted: frozenset[str] = frozenset()
    """Parts and cases that are made slower on purpose."""


@dataclass(frozen=True, slots=True)
class PartRise:
    """How the instructions of one part of one case changed.

    Attributes
    ----------
    culprit : str
        Source file and function that rose most.
    outcome : {"", "moved", "accepted", "slower"}
        "moved" is a rise in a case that became cheaper as a whole.
    """

    case: str
    part: str
    base: int
    head: int
    culprit: str
    outcome: str

    @property
    def rise(self) -> float:
        """Rise as a fraction; inf where there was nothing."""
        return self.head / self.base - 1 if self.base else float("inf")


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """How the time of one case changed.

    Attributes
    ----------
    head_s : float
        Median time of a call of head.
    ratio, low, high : float
        Time of head over that of base: median and quartiles; more than 1 is slower.
    outcome : {"", "accepted", "slower"}
    """

    case: str
    head_s: float
    ratio: float
    low: float
    high: float
    outcome: str


def compare_counts(
    base: Mapping[str, Counter[Origin]], head: Mapping[str, Counter[Origin]], rules: Rules
) -> list[PartRise]:
    """Compare the instructions of the cases that both have, part by part."""
    rises = []
    for case in (case for case in base if case in head):
        before, after = by_part(base[case]), by_part(head[case])
        is_dearer = head[case].total() > base[case].total()
        for part in sorted(before.keys() | after.keys()):
            old, new = before.get(part, Counter()), after.get(part, Counter())
            rise = new.total() - old.total()
            outcome = ""
            if rise > max(rules.most_rise * old.total(), FEWEST_INSTRUCTIONS):
                outcome = "slower" if is_dearer else "moved"
                if rules.accepted & {case, part}:
                    outcome = "accepted"
            rises.append(
                PartRise(case, part, old.total(), new.total(), _culprit(old, new), outcome)
            )
    return rises


def _culprit(old: Counter[Origin], new: Counter[Origin]) -> str:
    """Name the function that rose most, and its file. Modules lie in different folders."""
    change: Counter[tuple[str, str]] = Counter()
    for origin, instructions in new.items():
        change[origin.file, origin.function] += instructions
    for origin, instructions in old.items():
        change[origin.file, origin.function] -= instructions
    ((file, function), _), *_ = change.most_common(1)
    return f"{file}: {_plain_name(function)}"


def _plain_name(symbol: str) -> str:
    """Give a function's name without what Cython, gcc and callgrind write around it."""
    name = re.split(r"[.']", symbol)[0]
    if name.startswith(_CYTHON_PREFIX):
        name = name.removeprefix(_CYTHON_PREFIX)
        while length := re.match(r"\d+", name):  # of a part of the module's name, which follows
            name = name[length.end() + int(length[0]) + 1 :]
    return name


def judge_time(case: str, found: Ratios, rules: Rules) -> TimeRatio:
    """Judge the times of one case."""
    outcome = ""
    if found.median > rules.most_ratio:
        outcome = "accepted" if case in rules.accepted else "slower"
    return TimeRatio(case, found.seconds, found.median, *found.quartiles, outcome)
