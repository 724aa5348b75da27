"""Entry of ``python -m benchmarks.dashboard``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..history import read
from ..versions import ROOT
from . import asv_site, page

COMPARISON = ROOT / "benchmarks" / "comparison.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the site: a page of our own first, and asv's below it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / ".asv" / "dashboard")
    options = parser.parse_args(arguments)
    history = read()
    options.output.mkdir(parents=True, exist_ok=True)
    asv_site.make(history, options.output / "asv")
    text = page.render(history, COMPARISON.read_text(encoding="utf-8"))
    (options.output / "index.html").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{options.output / 'index.html'}\n")


if __name__ == "__main__":
    main()
