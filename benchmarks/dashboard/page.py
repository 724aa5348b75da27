"""The first page: per operator what its calls counted and took, and the backends side by side.

One file without scripts: the graphs are SVG, and all numbers are in the page.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from html import escape
from io import StringIO
from typing import Any

OPERATORS = {
    "avg": "RoI Align, mean",
    "max": "RoI Align, maximum",
    "avg-by-features": "Gradient of the mean by the features",
    "avg-by-rois": "Gradient of the mean by the boxes",
    "roi-pool": "RoI Pooling",
    "prroi": "PrRoI Pooling",
    "small-avg": "A small call",
}
"""Cases that have graphs, and what they are called there."""
NOTABLE_COUNT, NOTABLE_TIME = 0.05, 0.1
"""Changes, as fractions, by which a commit is named below the graphs."""
WIDTH, HEIGHT = 380, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 20

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 0 14px; max-width: 1240px;
  color: #1c2430; background: #fff }
h1 { font-size: 24px } h2 { font-size: 17px; margin: 0 0 4px }
a { color: #1a5fb4 }
section { border-top: 1px solid #d5dae1; padding: 14px 0 }
.graphs { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 28px }
figure { margin: 0; min-width: 0 } figcaption { font-size: 13px; color: #56606e }
svg { width: 100%; height: auto; display: block } svg text { font-size: 11px; fill: #56606e }
ul { margin: 6px 0; padding-left: 20px; font-size: 13px } .less { color: #1b7a3d }
.more { color: #b3261e }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px }
th, td { padding: 4px 10px; border-bottom: 1px solid #e4e8ee; text-align: right }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
@media (max-width: 760px) { .graphs { grid-template-columns: 1fr } table { font-size: 13px }
  th, td { padding: 4px 5px } }
"""


def render(history: Sequence[dict[str, Any]], comparison: str) -> str:
    """Write the page, of the history, oldest first, and of a comparison in CSV."""
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>roialign_cy: benchmarks</title><style>{STYLE}</style>",
            "<h1>roialign_cy: how fast it is, and how it became so</h1>",
            f"<p>{_introduction(history)}</p>",
            *_backends(comparison),
            *(part for case in OPERATORS for part in _operator(case, history)),
            *_machine(history),
            "</html>",
        ]
    )


def _introduction(history: Sequence[dict[str, Any]]) -> str:
    newest = history[-1]
    return (
        f"{len(history)} commits that changed the core or the API, up to {newest['date'][:10]}, "
        f"<code>{newest['commit'][:8]}</code> {escape(newest['subject'])}. Instructions are those "
        "of one call on one thread, counted by callgrind, the same on every run. Times are ratios, "
        "medians with quartiles: each commit's to that of one pinned commit (blue) and, where it "
        "has the operator, of ONNX Runtime (orange), all timed in turn; less is faster. "
        "Not every commit is measured: what changed is named at the first one measured after it. "
        '<a href="asv/index.html">All benchmarks (asv)</a>.'
    )


def _backends(comparison: str) -> Iterator[str]:
    """The comparison as tables: one for each thread count."""
    rows = list(csv.DictReader(StringIO(comparison)))
    # The first is what all are compared with: it has no column, which would be of ones.
    anchor, *backends = dict.fromkeys(row["backend"] for row in rows)
    for threads in sorted({row["threads"] for row in rows}):
        cells = {
            (row["workload"], row["mode"], row["backend"]): row
            for row in rows
            if row["threads"] == threads
        }
        count = "1 thread" if threads == "1" else f"{threads} threads"
        yield f'<section id="backends"><h2>Backends, {count} each: times of {anchor}</h2>'
        yield '<div class="wide"><table><tr><th>workload, operator</th>'
        yield "".join(f"<th>{escape(name)}</th>" for name in backends) + "</tr>"
        for workload, mode in dict.fromkeys(key[:2] for key in cells):
            values = [cells.get((workload, mode, name)) for name in backends]
            if not any(values):
                continue
            shown = "".join(f"<td>{_ratio(row)}</td>" for row in values)
            yield f"<tr><td>{escape(workload)}, {escape(mode)}</td>{shown}</tr>"
        yield "</table></div><figcaption>Above 1 is slower than this library. "
        yield "“?”: the machine was too busy to be sure.</figcaption></section>"


def _ratio(row: dict[str, str] | None) -> str:
    if row is None or not row["times_anchor"]:
        return "–"
    return f"{float(row['times_anchor']):.3g}" + ("" if row["sufficient"] == "True" else "?")


def _operator(case: str, history: Sequence[dict[str, Any]]) -> Iterator[str]:
    lines = [line for line in history if case in line["counts"]]
    if not lines:
        return
    totals = [sum(line["counts"][case].values()) / 1e6 for line in lines]
    kernels = [line["counts"][case].get("kernels", 0) / 1e6 for line in lines]
    times = [line["times"].get(case, {}) for line in lines]
    ratios = [[found.get(other) for found in times] for other in ("pinned", "onnxruntime")]
    yield f'<section id="{case}"><h2>{OPERATORS[case]}</h2><div class="graphs">'
    spread = [[value, value, value] for value in totals], [[value] * 3 for value in kernels]
    yield _figure("millions of instructions: all (blue), the kernels (orange)", lines, spread)
    yield _figure("time, relative to the pinned commit and to ONNX Runtime", lines, ratios)
    yield "</div>"
    named = list(_notable(lines, totals, ratios[0]))
    if named:
        yield f"<ul>{''.join(named)}</ul>"
    yield "</section>"


def _machine(history: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What is of no operator: a machine with other work, memory, and how long the build takes."""
    yield '<section id="machine"><h2>A busy machine, memory, builds</h2><div class="graphs">'
    pinned = (("busy", "p4-2-boxes", "pinned"), ("busy", "p4-16-boxes", "pinned"))
    yield from _graph("mean of 2 boxes (blue) and of 16 (orange) beside busy processes, relative "
                      "to the pinned commit", history, pinned)  # fmt: skip
    memory = (("memory", "fpn-box avg"), ("memory", "fpn-box max by features"))
    yield from _graph("MiB that fpn-box takes beside its input, one thread: mean (blue), gradient "
                      "of the maximum (orange)", history, memory)  # fmt: skip
    builds = (("wheel_s",), ("build_s",))
    yield from _graph("processor seconds of building the wheel (blue) and of the kernels for "
                      "float32 and v3 alone (orange)", history, builds)  # fmt: skip
    yield "</div></section>"


def _graph(
    caption: str, history: Sequence[dict[str, Any]], paths: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Draw what lies at these places of the lines; none if no line has it."""
    series = [[_look_up(line, path) for line in history] for path in paths]
    if any(map(any, series)):
        yield _figure(caption, history, series)


def _look_up(line: dict[str, Any], path: Sequence[str]) -> Any:
    found: Any = line
    for name in path:
        found = found.get(name)
        if found is None:
            return None
    return found if isinstance(found, list) else [found] * 3


def _notable(
    lines: Sequence[dict[str, Any]], totals: Sequence[float], times: Sequence[Any]
) -> Iterator[str]:
    """Name the commits, newest first, that changed the counts or the time."""
    for k in range(len(lines) - 1, 0, -1):
        count = totals[k] / totals[k - 1] - 1
        both = times[k] and times[k - 1]
        time = times[k][0] / times[k - 1][0] - 1 if both else 0.0
        if abs(count) < NOTABLE_COUNT and abs(time) < NOTABLE_TIME:
            continue
        change = f"{count:+.0%} instructions" + (f", {time:+.0%} time" if both else "")
        kind = "less" if (time or count) < 0 else "more"
        line = lines[k]
        yield (
            f"<li>{k + 1}: <code>{line['commit'][:8]}</code> {escape(line['subject'])} "
            f'<span class="{kind}">{change}</span></li>'
        )


def _figure(caption: str, lines: Sequence[dict[str, Any]], series: Sequence[Sequence[Any]]) -> str:
    """Draw lines of (middle, low, high), from 0, over the numbers of the commits."""
    top = max(one[0] for points in series for one in points if one) * 1.1
    step = (WIDTH - LEFT - RIGHT) / max(len(lines) - 1, 1)

    def x(k: int) -> str:
        return f"{LEFT + k * step:.1f}"

    def y(value: float) -> str:
        return f"{HEIGHT - BOTTOM - min(value, top) / top * (HEIGHT - TOP - BOTTOM):.1f}"

    drawn = []
    for part in (0, 0.5, 1):
        value = top / 1.1 * part
        drawn.append(
            f'<path d="M{LEFT} {y(value)}H{WIDTH - RIGHT}" stroke="#e4e8ee"/>'
            f'<text x="{LEFT - 5}" y="{y(value)}" dy="4" text-anchor="end">{value:.3g}</text>'
        )
    for points, colour in zip(series, ("#1a5fb4", "#d9730d"), strict=True):
        there = [(k, one) for k, one in enumerate(points) if one]
        path = "L".join(f"{x(k)} {y(one[0])}" for k, one in there)
        if not path:
            continue
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for k, (middle, low, high) in there:
            title = f"{k + 1}: {lines[k]['commit'][:8]} {lines[k]['subject']}: {middle:.4g}"
            drawn.append(
                f'<path d="M{x(k)} {y(low)}V{y(high)}" stroke="{colour}" opacity=".45"/>'
                f'<circle cx="{x(k)}" cy="{y(middle)}" r="2.6" fill="{colour}">'
                f"<title>{escape(title)}</title></circle>"
            )
    for k in sorted({0, len(lines) // 2, len(lines) - 1}):
        drawn.append(f'<text x="{x(k)}" y="{HEIGHT - 5}" text-anchor="middle">{k + 1}</text>')
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(caption)}">'
        f"{''.join(drawn)}</svg><figcaption>{caption}</figcaption></figure>"
    )
