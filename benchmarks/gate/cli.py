"""The command line of the gate."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .. import git
from ..builds import BuildError, build
from ..cases import CASES
from ..versions import ROOT, VARIANT
from . import report
from .measure import Findings, compare_clock, compare_instructions
from .verdict import MOST_RATIO, MOST_RISE, Rules

PASSED, SLOWER, NOT_MEASURED, NO_BASE = range(4)
PREVIOUS = "previous"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two versions and give the verdict as exit status.

    0: no slower. 1: slower. 2: not measured (also argparse's). 3: there is no earlier version.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - CASES.keys()
    if unknown:
        parser.error(f"unknown cases {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    try:
        base = options.base
        if base == PREVIOUS:
            base = git.previous(ROOT, options.head)
        base_tree = git.tree_of(ROOT, base)
        head_tree = git.tree_of(ROOT, options.head) if options.head else git.tree_of_files(ROOT)
    except ValueError as error:
        parser.error(str(error))
    except git.NoBaseError as error:
        _say(f"nothing to compare with: {error}")
        return NO_BASE
    _say(f"base {base}, head {options.head or 'the files here'}, variant {VARIANT}")
    accepted = git.accepted(ROOT, base, options.head)
    if accepted:
        _say(f"accepted as slower, by commits since: {', '.join(sorted(accepted))}")
    rules = Rules(options.most_rise, options.most_ratio, accepted)
    try:
        with tempfile.TemporaryDirectory() as folder:
            findings = run(
                base_tree, head_tree, options.cases, rules, options.cache or Path(folder)
            )
    except (BuildError, RuntimeError) as error:
        _say(f"NOT MEASURED: {error}")
        return NOT_MEASURED
    for line in report.lines(findings):
        _say(line)
    status, verdict = judge(findings)
    _say(verdict)
    if options.markdown:
        options.markdown.write_text(report.markdown(findings, verdict), encoding="utf-8")
    return status


def run(
    base_tree: str,
    head_tree: str,
    cases: Sequence[str],
    rules: Rules,
    cache: Path,
    with_clock: bool = True,
) -> Findings:
    """Build both trees and measure them; without the clock is for trials of the counts alone."""
    begin = time.monotonic()
    base, head = (build(ROOT, tree, cache) for tree in (base_tree, head_tree))
    built = time.monotonic()
    findings = Findings()
    compare_instructions(findings, base, head, cases, rules)
    counted = time.monotonic()
    if with_clock:
        compare_clock(findings, base, head, cases, rules, _say)
    _say(
        f"built in {built - begin:.0f} s, counted in {counted - built:.0f} s, "
        f"timed in {time.monotonic() - counted:.0f} s"
    )
    return findings


def judge(findings: Findings) -> tuple[int, str]:
    """Give the verdict as exit status and in words."""
    if findings.is_empty:
        return NOT_MEASURED, "NOT MEASURED: no case runs in both versions"
    slower = findings.slower
    if slower:
        return SLOWER, f"SLOWER: {', '.join(sorted({one.case for one in slower}))}"
    return PASSED, "passed"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=main.__doc__)
    parser.add_argument(
        "--base",
        required=True,
        help=f"revision to compare with, or {PREVIOUS!r}: the one before the core last changed",
    )
    parser.add_argument("--head", help="revision to judge; by default the files here")
    parser.add_argument(
        "--cases", nargs="+", default=list(CASES), metavar="CASE", help="only some of the cases"
    )
    parser.add_argument(
        "--most-rise",
        type=float,
        default=MOST_RISE,
        help="rise of a part's instructions that passes (default %(default)s)",
    )
    parser.add_argument(
        "--most-ratio",
        type=float,
        default=MOST_RATIO,
        help="ratio of times that passes (default %(default)s)",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the verdict there, for a pull request"
    )
    parser.add_argument("--cache", type=Path, help="folder to keep builds in for the next time")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201
