"""What the library counted and took at earlier commits: ``python -m benchmarks.history``.

Each commit is built and measured once, and one line of `benchmarks/history.jsonl` is added; what is
there is not measured again, so that it goes on where it was stopped. Instructions are exact. Times
are ratios: of a commit's call to that of one pinned commit and of one pinned peer, all timed in
turn in the same run, so that lines from different days and machines can be laid side by side.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .builds import BuildError, build
from .cases import CASES
from .gate.parts import by_part
from .git import run, tree_of
from .versions import ROOT, compare_in_turn, count

CHANGES = ("src/roialign_cy/_core", "src/roialign_cy/_api.py", "setup.py")
"""What a commit is measured for the change of."""
EARLIER_PARTS = {"boxcheck": "argument checks"}
"""What is named otherwise than the module that it used to be."""
HISTORY = ROOT / "benchmarks" / "history.jsonl"
PINNED = "53c729f1dbdafa23e481468935d23d597bb74293"
PEER = "onnxruntime"
PEER_VERSION = "1.32.0"
TIMED = ("avg", "max", "avg-by-features", "avg-by-rois", "roi-pool", "prroi", "small-avg")
ROUNDS = 40


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


def measure(commit: str, pinned: Path, cache: Path) -> dict[str, Any]:
    """Build a commit, count all cases and time some."""
    date, subject = run(ROOT, "show", "-s", "--format=%cI%n%s", commit).splitlines()
    before = _children_s()
    source = build(ROOT, tree_of(ROOT, commit), cache)
    line: dict[str, Any] = {
        "commit": commit,
        "date": date,
        "subject": subject,
        "build_s": round(_children_s() - before, 1),
        "counts": {
            case: {
                EARLIER_PARTS.get(part, part): found.total()
                for part, found in sorted(by_part(origins).items())
            }
            for case, origins in count(CASES, source).instructions.items()
        },
        "times": _times(source, pinned),
    }
    if not line["build_s"]:
        del line["build_s"]  # it was in the cache
    return line


def _times(source: Path, pinned: Path) -> dict[str, dict[str, list[float]]]:
    ratios, _ = compare_in_turn(
        {"commit": source, "pinned": pinned}, TIMED, ROUNDS, "pinned", [PEER]
    )
    return {
        case: {
            name: [round(value, 4) for value in (one.median, *one.quartiles)]
            for name, one in found.items()
        }
        for case, found in ratios.items()
    }


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
    done = set() if options.again else {one["commit"] for one in read()}
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        pinned = build(ROOT, tree_of(ROOT, PINNED), cache)
        for commit in wanted:
            if commit in done:
                continue
            try:
                line = measure(commit, pinned, cache)
            except (BuildError, RuntimeError, subprocess.CalledProcessError) as error:
                sys.stdout.write(f"{commit[:8]} NOT MEASURED: {error}\n")
                status = 1
                continue
            text = json.dumps(line, separators=(",", ":"))
            if options.again:
                sys.stdout.write(text + "\n")
            else:
                with HISTORY.open("a", encoding="utf-8") as file:
                    file.write(text + "\n")
                sys.stdout.write(f"{commit[:8]} {line['subject']}\n")
            sys.stdout.flush()
    return status


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
    parser.add_argument("--cache", type=Path, help="folder to keep builds in for the next time")
    parser.add_argument(
        "--again", action="store_true", help="measure the revisions and print, but do not keep it"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
