"""What the library counted and took at earlier commits: ``python -m benchmarks.history``.

Each commit has one line of `benchmarks/history.jsonl`; a series that is there is not measured
again, so that it goes on where it was stopped. Instructions are exact. Times are ratios: of a
commit's call to that of one pinned commit and of one pinned peer, all timed in turn in the same
run, so that lines from different days and machines can be laid side by side.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import memory
from .builds import BuildError, build
from .cases import BUSY, CASES
from .gate.parts import by_part
from .git import export, run, tree_of
from .versions import ROOT, compare_in_turn, count

CHANGES = ("src/roialign_cy/_core", "src/roialign_cy/_api.py", "setup.py")
"""What a commit is measured for the change of."""
EARLIER_PARTS = {"boxcheck": "argument checks"}
"""What is named otherwise than the module that it used to be."""
HISTORY = ROOT / "benchmarks" / "history.jsonl"
PINNED = "53c729f1dbdafa23e481468935d23d597bb74293"
PEER = "onnxruntime"
PEER_VERSION = "1.32.0"
SERIES = ("counts", "times", "busy", "memory", "wheel_s")
"""What a line has, in the order in which it is measured."""
TIMED = ("avg", "max", "avg-by-features", "avg-by-rois", "roi-pool", "prroi", "small-avg")
ROUNDS, PROCESSES = 14, 3
"""Samples of a call in one process, and processes: where each has its memory is worth some percent
of a small call."""
BUSY_ROUNDS = 30


def read(path: Path = HISTORY) -> list[dict[str, Any]]:
    """Give what has been measured, the oldest commit first."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(lines, key=lambda one: str(one["date"]))


def changes(root: Path) -> list[str]:
    """Give the commits that change the core or the API, in the order to measure them.

    The newest, the oldest, and then the middle of what lies between: wherever it is stopped, what
    has been measured is spread over all of the history.
    """
    log = run(root, "log", "--first-parent", "--format=%H", "--", *CHANGES)
    found = log.split()
    order = [*found[:1], *found[1:][-1:]]
    gaps = [found[1:-1]]
    for gap in gaps:
        middle = len(gap) // 2
        order += gap[middle : middle + 1]
        gaps += [part for part in (gap[:middle], gap[middle + 1 :]) if part]
    return order


def measure(commit: str, series: Sequence[str], pinned: Path, cache: Path) -> dict[str, Any]:
    """Measure these series of a commit."""
    date, subject = run(ROOT, "show", "-s", "--format=%cI%n%s", commit).splitlines()
    line: dict[str, Any] = {"commit": commit, "date": date, "subject": subject}
    before = _children_s()
    source = build(ROOT, tree_of(ROOT, commit), cache)
    if spent := round(_children_s() - before, 1):  # else it was in the cache
        line["build_s"] = spent
    if "counts" in series:
        line["counts"] = {
            case: {
                EARLIER_PARTS.get(part, part): found.total()
                for part, found in sorted(by_part(origins).items())
            }
            for case, origins in count(CASES, source).instructions.items()
        }
    sources = {"commit": source, "pinned": pinned}
    if "times" in series:
        line["times"] = _times(sources, TIMED, ROUNDS, PROCESSES, backends=[PEER])
    if "busy" in series:
        line["busy"] = _times(sources, BUSY, BUSY_ROUNDS, 1, is_busy=True)
    if "memory" in series:
        found = {case: memory.measure(case, source) for case in memory.CASES}
        line["memory"] = {case: mib for case, mib in found.items() if mib is not None}
    if "wheel_s" in series:
        line["wheel_s"] = _wheel_s(commit)
    return line


def _times(
    sources: dict[str, Path], cases: Iterable[str], rounds: int, processes: int, **how: Any
) -> dict[str, dict[str, list[float]]]:
    """Give the ratios of times to those of others: medians with quartiles."""
    samples: defaultdict[str, defaultdict[str, list[float]]]
    samples = defaultdict(lambda: defaultdict(list))
    for _ in range(processes):
        ratios, _ = compare_in_turn(sources, cases, rounds, "pinned", **how)
        for case, found in ratios.items():
            for name, one in found.items():
                samples[case][name] += one.ratios
    return {
        case: {name: _summary(ratios) for name, ratios in found.items()}
        for case, found in samples.items()
    }


def _summary(ratios: Sequence[float]) -> list[float]:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return [round(value, 4) for value in (middle, low, high)]


def _wheel_s(commit: str) -> float:
    """Give the processor time, in seconds, of building the whole wheel on one CPU after another."""
    with tempfile.TemporaryDirectory() as folder:
        export(ROOT, tree_of(ROOT, commit), Path(folder, "source"))
        before = _children_s()
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
             "-w", folder, Path(folder, "source")],
            check=True,
            capture_output=True,
        )  # fmt: skip
        return round(_children_s() - before, 1)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure commits that have not been; 1 if one of them does not build."""
    options = _parser().parse_args(arguments)
    _require_peer()
    if options.revisions:
        wanted = [run(ROOT, "rev-parse", one).strip() for one in options.revisions]
    else:
        wanted = changes(ROOT)
    lines = {} if options.again else {one["commit"]: one for one in read(HISTORY)}
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        pinned = build(ROOT, tree_of(ROOT, PINNED), cache)
        for commit in wanted:
            line = lines.get(commit, {})
            series = [name for name in options.series if name not in line]
            if not series:
                continue
            try:
                found = measure(commit, series, pinned, cache)
            except (BuildError, RuntimeError, subprocess.CalledProcessError) as error:
                sys.stdout.write(f"{commit[:8]} NOT MEASURED: {error}\n")
                status = 1
                continue
            if options.again:
                sys.stdout.write(_text(found))
            else:
                lines[commit] = found | line
                lines[commit] |= {name: found[name] for name in series}
                _keep(lines.values())
                sys.stdout.write(f"{commit[:8]} {found['subject']}: {', '.join(series)}\n")
            sys.stdout.flush()
    return status


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"


def _keep(lines: Iterable[dict[str, Any]]) -> None:
    """Replace the file, at once."""
    unfinished = HISTORY.with_suffix(".unfinished")
    unfinished.write_text("".join(map(_text, lines)), encoding="utf-8")
    unfinished.replace(HISTORY)


def _require_peer() -> None:
    from importlib.metadata import version

    found = version(PEER)
    if found != PEER_VERSION:
        raise SystemExit(f"{PEER} {PEER_VERSION} is what times are compared with, not {found}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=main.__doc__)
    parser.add_argument(
        "revisions", nargs="*", help="by default all commits that change the core or the API"
    )
    parser.add_argument(
        "--series",
        nargs="+",
        choices=SERIES,
        default=[name for name in SERIES if name != "wheel_s"],
        help="what to measure; by default all but the wheel, which takes minutes",
    )
    parser.add_argument("--cache", type=Path, help="folder to keep builds in for the next time")
    parser.add_argument(
        "--again", action="store_true", help="measure the revisions and print, but do not keep it"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
