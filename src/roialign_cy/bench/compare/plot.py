"""The comparison as a picture: how many times the anchor's time each backend takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .report import thread_count
from .results import Comparison


def draw(comparison: Comparison, path: Path) -> None:
    """Draw a panel per mode, with the most threads, and save it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    threads = max(comparison.threads)
    modes = comparison.modes()
    others = [name for name in comparison.backends if name != comparison.anchor]
    tallest = max(len(comparison.cases(mode)) for mode in modes)
    figure = Figure(figsize=(6 * len(modes), 1.5 + 0.45 * tallest), layout="constrained")
    panels = figure.subplots(1, len(modes), squeeze=False)[0]
    for panel, mode in zip(panels, modes, strict=True):
        cases = comparison.cases(mode)
        for k, name in enumerate(others):
            points = [
                (ratio, row)
                for row, case in enumerate(cases)
                if (ratio := comparison.times_anchor(case, threads, name)) is not None
            ]
            if points:
                panel.errorbar(
                    [ratio.middle for ratio, _ in points],
                    [row for _, row in points],
                    xerr=[
                        [ratio.middle - ratio.low for ratio, _ in points],
                        [ratio.high - ratio.middle for ratio, _ in points],
                    ],
                    fmt=_MARKERS[k % len(_MARKERS)],
                    color=f"C{k}",  # of the panel, too: a backend may be missing from a mode
                    label=name,
                )
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_yticks(range(len(cases)), [case.workload for case in cases])
        panel.invert_yaxis()
        panel.grid(axis="x", alpha=0.3)
        panel.set_title(f"{mode}, {thread_count(threads)}")
        panel.set_xlabel(f"time over that of {comparison.anchor} (right is slower)")
    # Once for all panels, from whichever shows a backend.
    shown: dict[Any, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        shown.update(zip(labels, handles, strict=True))
    if shown:
        figure.legend(
            list(shown.values()), list(shown), loc="outside lower center", ncols=3 * len(modes)
        )
    figure.savefig(path, dpi=150)


_MARKERS = "osD^vP"
