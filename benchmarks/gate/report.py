"""The gate's tables: plain text that a log keeps whole, and Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .measure import Findings
from .verdict import FEWEST_INSTRUCTIONS, PartRise, TimeRatio

COUNTED = ("case", "part", "base", "head", "change", "verdict", "culprit")
TIMED = ("case", "time", "ratio", "quartiles", "verdict")


def lines(findings: Findings) -> Iterator[str]:
    """Give the tables line by line: what blocks is marked, with its name, at the right."""
    yield f"instructions: {len(findings.counts)} parts of cases counted, those that changed:"
    yield from _table(COUNTED, _count_rows(findings))
    yield ""
    yield "time: ratios of processor times, more than 1 is slower"
    yield from _table(TIMED, [_time_row(one) for one in findings.times])
    for case, reason in findings.absent.items():
        yield f"not compared: {case} ({reason})"


def markdown(findings: Findings, verdict: str) -> str:
    """Write the verdict, what led to it, and the rest folded away."""
    slower = [one for one in findings.counts if one.outcome == "slower"]
    slow = [one for one in findings.times if one.outcome == "slower"]
    parts = [f"### Gate: {verdict}", ""]
    if slower:
        parts += _markdown_table(COUNTED, [_count_row(one) for one in slower])
    if slow:
        parts += _markdown_table(TIMED, [_time_row(one) for one in slow])
    parts += ["<details><summary>All that changed</summary>", ""]
    parts += _markdown_table(COUNTED, _count_rows(findings))
    parts += _markdown_table(TIMED, [_time_row(one) for one in findings.times])
    parts += [f"- not compared: {case} ({reason})" for case, reason in findings.absent.items()]
    return "\n".join([*parts, "</details>", ""])


def _markdown_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [columns, ("---",) * len(columns), *rows]
    return [f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |" for line in lines] + [""]


def _count_rows(findings: Findings) -> list[tuple[str, ...]]:
    changed = [one for one in findings.counts if _is_worth_a_line(one)]
    return [_count_row(one) for one in sorted(changed, key=lambda one: -one.rise)]


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
        f"{one.head_s * 1e3:.3f} ms",
        f"{one.ratio:.3f}",
        f"{one.low:.3f}-{one.high:.3f}",
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
