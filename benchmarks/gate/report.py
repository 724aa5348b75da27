"""The gate's tables, as plain text that a log keeps whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .measure import Findings
from .verdict import FEWEST_INSTRUCTIONS, PartRise, TimeRatio


def lines(findings: Findings) -> Iterator[str]:
    """Give the tables line by line: what blocks is marked, with its name, at the right."""
    changed = [one for one in findings.counts if _is_worth_a_line(one)]
    yield f"instructions: {len(findings.counts)} parts of cases counted, those that changed:"
    yield from _table(
        ("case", "part", "base", "head", "change", "verdict", "culprit"),
        [_count_row(one) for one in sorted(changed, key=lambda one: -one.rise)],
    )
    yield ""
    yield "time: ratios of medians, more than 1 is slower"
    yield from _table(
        ("case", "base", "head", "ratio", "chance", "verdict"),
        [_time_row(one) for one in findings.times],
    )
    for case, reason in findings.absent.items():
        yield f"not compared: {case} ({reason})"


def _is_worth_a_line(one: PartRise) -> bool:
    return bool(one.outcome) or abs(one.head - one.base) > max(
        FEWEST_INSTRUCTIONS, one.base // 1000
    )


def _count_row(one: PartRise) -> tuple[str, ...]:
    return (
        one.case,
        one.part,
        f"{one.base:,}",
        f"{one.head:,}",
        f"{one.rise:+.2%}",
        one.outcome.upper() if one.outcome == "slower" else one.outcome,
        one.culprit if one.rise > 0 else "",
    )


def _time_row(one: TimeRatio) -> tuple[str, ...]:
    return (
        one.case,
        f"{one.base_s * 1e3:.3f} ms",
        f"{one.head_s * 1e3:.3f} ms",
        f"{one.ratio:.3f}",
        f"{one.chance:.1e}",
        one.outcome.upper() if one.outcome == "slower" else one.outcome,
    )


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        yield "  (none)"
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  " + "  ".join(cells).rstrip()
