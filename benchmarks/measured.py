"""Measure what docs/performance.md shows anew: ``python -m benchmarks.measured [NAMES]``.

Each table is what a command of its own printed, and goes to docs/measured with that command and the
day. All of them take a quarter of an hour, on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "measured"
EVERYONE = "cpu,torchvision,onnxruntime,openvino"
COMMANDS = {
    "headline": "compare --num-threads 2"
    f" --workloads headline,document-7x7,document-14x14,small-call --backends {EVERYONE}",
    "fresh": "compare --num-threads 2 --workloads headline,fpn-levels --modes avg"
    f" --backends {EVERYONE} --fresh-memory",
    "gradients": "compare --num-threads 2 --workloads headline --modes avg"
    " --backends cpu,torchvision --gradients features,rois",
    "maxima": "compare --num-threads 2 --workloads headline --modes max --backends cpu"
    " --gradients features,rois",
    "torch": "compare --num-threads 1 --workloads small-call,p4-16-boxes --modes avg"
    " --backends cpu,torchvision,roialign_torch --gradients features",
    "detectors": "compare --num-threads 2 --workloads fpn-levels,mask-targets,paste-masks,roi-pool"
    f" --backends {EVERYONE}",
    "photographs": "compare --num-threads 2 --workloads photo-crops,photo-crops-nhwc --modes avg"
    f" --backends {EVERYONE}",
    "crops": "crops",
    "rotated": "rotated --rounds 9",
    "threads": "compare --num-threads 1,2 --workloads headline --modes avg --backends cpu",
    "idle": "busy --busy 0",
    "busy": "busy",
}


def measure(name: str) -> str:
    """Run the command of that name; what the page shows of it comes back."""
    command = f"python -m benchmarks.{COMMANDS[name]}"
    _, *arguments = shlex.split(command)
    with tempfile.TemporaryDirectory() as folder:
        if "benchmarks.compare" in command:
            arguments += ["--output", folder]
        printed = subprocess.run(
            [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        table = Path(folder, "compare.md")
        shown = _tables(table.read_text()) if table.exists() else _as_printed(printed)
    lines = textwrap.wrap(command, 80, break_long_words=False, break_on_hyphens=False)
    said = _as_printed(" \\\n    ".join(lines))
    return f"{said}\nOn {datetime.date.today().isoformat()}:\n\n{shown}"


def _tables(report: str) -> str:
    """The report without its heading, since the page has one, and without what was not timed."""
    return report.partition("\n\n")[2].partition("\n## Not timed")[0]


def _as_printed(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(COMMANDS)}; by default all")
    names = parser.parse_args().names or list(COMMANDS)
    if unknown := set(names) - COMMANDS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        (FOLDER / f"{name}.md").write_text(measure(name), encoding="utf-8")


if __name__ == "__main__":
    main()
