"""The command line: run the hostile inputs and print the table, or put it into the page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import table, trial
from .engines import ENGINES
from .inputs import INPUTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every input on every engine asked for."""
    names = [entry.name for entry in INPUTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=tuple(ENGINES))
    parser.add_argument("--inputs", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    parser.add_argument("--verbose", action="store_true", help="what the processes print, too")
    options = parser.parse_args(arguments)
    outcomes = {}
    for title in options.inputs:
        for engine in options.engines:
            [outcome] = trial.run(engine, title)
            outcomes[title, engine] = outcome
            sys.stdout.write(f"{title} | {engine} | {outcome.text}\n")
            sys.stdout.flush()
            if options.verbose:
                sys.stdout.write(f"{outcome.detail}\n")
    lines = table.make(options.inputs, options.engines, outcomes)
    if options.write is not None:
        options.write.write_text(table.put_into(options.write.read_text(), lines))
    sys.stdout.write("\n".join(["", *lines, ""]))
    return 0
