"""Trials of the gate itself: ``python -m benchmarks.gate.trials``.

Runs it on identical code, which it has to pass every time, and on slowdowns put into each part,
every one of which it has to catch in the right place. Exit status 1 if it fails in any of that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import git
from ..cases import CASES
from ..versions import ROOT
from . import report
from .cli import run
from .injections import INJECTIONS, Injection
from .measure import Findings
from .verdict import PartRise, Rules, TimeRatio

PACKAGE = ROOT / "src" / "roialign_cy"
COMMENTED = PACKAGE / "_core" / "taps.pyx"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials and print a line for each."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(
            options.cases, options.cache or Path(folder), options.details, not options.counts_only
        )
        for number in range(options.identical):
            trials.identical(f"identical code, run {number + 1}")
        for injection in INJECTIONS:
            if options.only is None or injection.name in options.only:
                trials.slowed(injection)
    _say("")
    for line in trials.summary:
        _say(line)
    return int(trials.failed)


class Trials:
    """Trials on the files as they are here, and what came of them."""

    def __init__(self, cases: Sequence[str], cache: Path, details: bool, with_clock: bool) -> None:
        self.summary: list[str] = []
        self.failed = False
        self._cases = cases
        self._cache = cache
        self._details = details
        self._with_clock = with_clock
        self._tree = git.tree_of_files(ROOT)

    def identical(self, title: str) -> None:
        """Compare with the same code, built anew: a comment makes it another version."""
        comment = COMMENTED.read_text() + "# The same code.\n"
        findings = self._run({COMMENTED: comment})
        self._report(title, findings, ok=bool(findings.counts) and not findings.slower)

    def slowed(self, injection: Injection) -> None:
        """Compare with a slowdown."""
        path, text = injection.apply(PACKAGE)
        findings = self._run({path: text})
        in_place = [
            one
            for one in findings.slower
            if isinstance(one, PartRise)
            and one.part == injection.part
            and one.case.startswith(injection.case)
        ]
        self._report(f"slowed: {injection.name}", findings, ok=bool(in_place))

    def _run(self, changed: dict[Path, str]) -> Findings:
        tree = git.tree_with(
            ROOT, self._tree, {str(path.relative_to(ROOT)): text for path, text in changed.items()}
        )
        return run(self._tree, tree, self._cases, Rules(), self._cache, self._with_clock)

    def _report(self, title: str, findings: Findings, ok: bool) -> None:
        if self._details:
            for line in report.lines(findings):
                _say(line)
        found = "; ".join(map(_short, findings.slower)) or f"passed ({_largest(findings)})"
        line = f"{'ok    ' if ok else 'FAILED'} {title}: {found}"
        _say(line)
        self.summary.append(line)
        self.failed |= not ok


def _short(one: PartRise | TimeRatio) -> str:
    if isinstance(one, PartRise):
        return f"{one.case} {one.part} {one.rise:+.1%}"
    return f"{one.case} x{one.ratio:.2f} in time"


def _largest(findings: Findings) -> str:
    rise = max(findings.counts, key=lambda one: one.rise)
    judged = [one.ratio for one in findings.times if not one.outcome]
    times = f"largest ratio of {len(judged)} times {max(judged):.2f}" if judged else "no times"
    return f"largest rise {rise.rise:+.2%}, {rise.head - rise.base} instructions; {times}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate.trials", description=main.__doc__
    )
    parser.add_argument("--identical", type=int, default=10, help="runs on identical code")
    parser.add_argument("--only", nargs="*", help="slowdowns by name; none without a name")
    parser.add_argument(
        "--cases", nargs="+", default=list(CASES), choices=CASES, metavar="CASE", help="only these"
    )
    parser.add_argument("--cache", type=Path, help="folder to keep builds in for the next time")
    parser.add_argument("--counts-only", action="store_true", help="leave out the clock")
    parser.add_argument("--details", action="store_true", help="print the tables of every run")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
