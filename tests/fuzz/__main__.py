"""``python -m tests.fuzz``: run many calls and print what became of them."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .calls import draw_call
from .judge import judge, registered_backends
from .long_run import Report, long_run
from .source import Bytes

MOST_GROWTH = 32 << 20
"""Bytes that a process may grow by: a leak of an array's size in each call would be more."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--again", metavar="HEX", help="run the one call of a failure again")
    options = parser.parse_args()
    if options.again is not None:
        call = draw_call(Bytes(bytes.fromhex(options.again)))
        print(call)
        with registered_backends():
            print(judge(call))
        return 0
    began = time.monotonic()
    report = long_run(options.calls, options.seed, options.jobs)
    print_report(report)
    print(f"{time.monotonic() - began:.0f} s, seed {options.seed}")
    is_good = (
        not report.failures and report.growth <= MOST_GROWTH and is_mostly_compared(report.verdicts)
    )
    return 0 if is_good else 1


def is_mostly_compared(verdicts: Counter[str]) -> bool:
    """Whether at least half of the calls reached a kernel and were held to the oracle."""
    return 2 * compared(verdicts) >= verdicts.total()


def compared(verdicts: Counter[str]) -> int:
    """Count the calls that reached a kernel and were held to the oracle."""
    return sum(count for name, count in verdicts.items() if name.endswith(": kernel"))


def print_report(report: Report) -> None:
    """Print the failures, and how many calls came to which end."""
    for index, text in report.failures[:20]:
        print(f"\n--- call {index}\n{text}")
    total = report.verdicts.total()
    for name, count in sorted(report.verdicts.items()):
        print(f"{count:8d}  {name}")
    share = compared(report.verdicts) / max(total, 1)
    print(f"{total:8d}  calls, {share:.1%} reached a kernel and equal the reference")
    print(f"{len(report.failures):8d}  failures")
    print(f"memory grew by {report.growth / 2**20:.1f} MiB, its peak by {report.peak / 2**20:.1f}")


if __name__ == "__main__":
    sys.exit(main())
