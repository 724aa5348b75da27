"""Tables of a comparison: ratios of medians with their spread, no bare times."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from .. import gradients, peers
from ..timing import FEWEST_ROUNDS, SLOW_ROUNDS, SLOW_S
from ..workloads import HEADLINE
from .results import Case, Comparison, Ratio, mean_and_least

if TYPE_CHECKING:
    from rich.console import Console

INFERENCE = ("onnxruntime", "openvino")
"""The peers made for speed; the best of them on each workload is a mark of its own."""

NOT_SUFFICIENT = "(!)"
NOTHING = "-"

COLUMNS = (
    "workload",
    "mode",
    "threads",
    "backend",
    "times_anchor",
    "first_quartile",
    "third_quartile",
    "times_memory_limit",
    "undisturbed",
    "disturbed",
    "sufficient",
    "error",
    "tolerance",
    "note",
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text, to be written or shown in any format."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """Write it in Markdown, under a heading."""
        lines = [self.columns, ("---",) + ("---:",) * (len(self.columns) - 1), *self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n\n{body}\n"


def tables(comparison: Comparison) -> list[Table]:
    """All tables of a comparison that have something to say."""
    found = [
        *(
            _ratios(comparison, mode, threads)
            for mode in comparison.modes()
            for threads in comparison.threads
        ),
        *(_means(comparison, mode) for mode in comparison.modes()),
        _speedups(comparison),
        _costs(comparison),
        _absences(comparison),
    ]
    return [table for table in found if table.rows]


def markdown(comparison: Comparison, about: Iterable[str]) -> str:
    """Write all tables, after what the run was made with and how to read them."""
    parts = ["# Comparison\n", *(f"- {line}" for line in [*about, *_legend(comparison)]), ""]
    return "\n".join([*parts, *(table.markdown() for table in tables(comparison))])


def show(comparison: Comparison, console: Console) -> None:
    """Show all tables on a terminal."""
    from rich.table import Table as RichTable

    for table in tables(comparison):
        console.print(table.title, style="bold", highlight=False)
        shown = RichTable()
        for k, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if k else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown, markup=False)
    for line in _legend(comparison):
        console.print(line, highlight=False, markup=False)


def comma_separated(comparison: Comparison) -> str:
    """Write one line per measurement."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in comparison.measurements:
        where = one.case, one.threads, one.backend
        ratio = comparison.times_anchor(*where)
        limit = comparison.times_limit(*where)
        writer.writerow(
            [
                *one.case,
                one.threads,
                one.backend,
                *(("", "", "") if ratio is None else (f"{value:.4g}" for value in ratio[:3])),
                "" if limit is None else f"{limit:.4g}",
                one.samples.undisturbed,
                one.samples.disturbed,
                one.samples.sufficient,
                f"{one.error:.2g}",
                f"{one.tolerance:.2g}",
                one.note,
            ]
        )
    return text.getvalue()


def _rates(comparison: Comparison) -> str:
    found = (
        f"{rate / 1e9:.1f} GB/s with {threads}" for threads, rate in comparison.bandwidth.items()
    )
    listed = ", ".join(found)
    return f" ({listed})" if listed else ""


def _legend(comparison: Comparison) -> Iterator[str]:
    disturbed = sum(one.samples.disturbed for one in comparison.measurements)
    undisturbed = sum(one.samples.undisturbed for one in comparison.measurements)
    yield (
        f"Numbers are times over the time of `{comparison.anchor}` with as many threads: above 1 "
        f"is slower than `{comparison.anchor}`. Medians, with the quartiles in brackets."
    )
    yield (
        "`limit` is the time of the anchor over that of moving the map in and the output out "
        f"once, at the best copy of this run with as many threads{_rates(comparison)}."
    )
    yield f"{disturbed} of {undisturbed + disturbed} samples were disturbed and do not count."
    if not all(one.samples.sufficient for one in comparison.measurements):
        yield (
            f"{NOT_SUFFICIENT} fewer than {FEWEST_ROUNDS} undisturbed samples, or {SLOW_ROUNDS} "
            f"of a call from {SLOW_S * 1e3:.0f} ms on: to be measured again."
        )
    yield from sorted(
        {f"`{one.backend}`: {one.note}." for one in comparison.measurements if one.note}
    )


def _ratios(comparison: Comparison, mode: str, threads: int) -> Table:
    others = [name for name in comparison.backends if name != comparison.anchor]
    rows = []
    for case in comparison.cases(mode):
        limit = comparison.times_limit(case, threads, comparison.anchor)
        ratios = [comparison.times_anchor(case, threads, name) for name in others]
        rows.append(
            (case.workload, *map(_ratio, ratios), NOTHING if limit is None else f"{limit:.2f}")
        )
    title = f"{mode}, {thread_count(threads)}: times of {comparison.anchor}"
    return Table(title, ("workload", *others, "limit"), rows)


def _means(comparison: Comparison, mode: str) -> Table:
    """Geometric means over the headline; with the smallest ratio, for no mean hides a loss."""
    present = set(comparison.backends)
    groups: dict[str, tuple[str, ...]] = {
        name: (name,) for name in comparison.backends if name != comparison.anchor
    }
    for label, members in {
        "best of " + ", ".join(INFERENCE): INFERENCE,
        "best peer": peers.OTHERS,
    }.items():
        if present.issuperset(members):
            groups[label] = members
    cases = comparison.cases(mode, HEADLINE)
    rows = []
    for label, members in groups.items():
        cells = [
            _mean([comparison.best_of(members, case, threads) for case in cases], len(cases))
            for threads in comparison.threads
        ]
        if set(cells) != {NOTHING}:
            rows.append((label, *cells))
    title = f"{mode}: geometric mean (least) over {len(cases)} of {', '.join(HEADLINE)}"
    return Table(title, ("backend", *map(thread_count, comparison.threads)), rows)


def _speedups(comparison: Comparison) -> Table:
    few, many = min(comparison.threads), max(comparison.threads)
    rows = []
    if few != many:
        for case in comparison.cases():
            speedups = [comparison.speedup(case, name) for name in comparison.backends]
            rows.append((_case(case), *map(_ratio, speedups)))
    title = f"Speed-up of each from {few} to {many} threads"
    return Table(title, ("workload", *comparison.backends), rows)


def _costs(comparison: Comparison) -> Table:
    """What our own gradients cost, over the forward pass of the same mode."""
    rows = [
        (_case(case), *(_cost(comparison, case, threads) for threads in comparison.threads))
        for what in gradients.BY
        for case in comparison.cases(what)
    ]
    title = f"Gradients of {comparison.anchor}: times of its forward pass"
    return Table(title, ("workload", *map(thread_count, comparison.threads)), rows)


def _cost(comparison: Comparison, case: Case, threads: int) -> str:
    gradient = comparison.find(case, threads, comparison.anchor)
    mode, _ = gradients.BY[case.mode]
    forward = comparison.find(Case(case.workload, mode), threads, comparison.anchor)
    if gradient is None or forward is None:
        return NOTHING
    low, high = (quartile / forward.median for quartile in gradient.quartiles)
    sufficient = gradient.sufficient and forward.sufficient
    return _ratio(Ratio(gradient.median / forward.median, low, high, sufficient))


def _absences(comparison: Comparison) -> Table:
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in comparison.absences:
        grouped.setdefault((one.backend, one.reason), []).append(_case(one.case))
    rows: list[tuple[str, ...]] = [
        (backend, reason, ", ".join(dict.fromkeys(cases)))
        for (backend, reason), cases in grouped.items()
    ]
    return Table("Not timed", ("backend", "reason", "workloads"), rows)


def _case(case: Case) -> str:
    return f"{case.workload} {case.mode}"


def thread_count(count: int) -> str:
    """Say how many threads."""
    return "1 thread" if count == 1 else f"{count} threads"


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return NOTHING
    mark = "" if ratio.sufficient else f" {NOT_SUFFICIENT}"
    return f"{_number(ratio.middle)} ({_number(ratio.low)}-{_number(ratio.high)}){mark}"


def _mean(ratios: list[Ratio | None], cases: int) -> str:
    found = mean_and_least(ratios)
    if found is None:
        return NOTHING
    mean, least, count = found
    part = "" if count == cases else f", {count} of {cases}"
    return f"{_number(mean)} ({_number(least)}{part})"


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
