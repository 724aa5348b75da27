"""Hostile inputs, in other processes: what docs/robustness.md says of this library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("limits and measures as Linux does", allow_module_level=True)

from . import hostile_child
from .hostile_inputs import INPUTS

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
SCRATCH = hostile_child.THREADS * 32 * MIB
TABLES = 24 * MIB  # of a batch of boxes


@pytest.fixture(scope="module")
def column():
    """What the page says of each input."""
    page = (ROOT / "docs" / "robustness.md").read_text("utf-8")
    lines = page.partition("| input | roialign_cy |")[2].partition("\n\n")[0].splitlines()[2:]
    return dict(line.strip("| ").split(" | ")[:2] for line in lines)


def run(*titles):
    """The reports on the inputs of those titles, in one process, up to one that ends it."""
    done = subprocess.run(
        [sys.executable, "-m", hostile_child.__name__, *titles],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(hostile_child.THREADS)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def reports():
    """On every input; those that change the state of a process have their own."""
    plain = [entry.name for entry in INPUTS if entry.state == "plain"]
    found, _ = run(*plain)
    reports = dict(zip(plain, found, strict=False))
    for entry in INPUTS:
        if entry.state != "plain":
            (reports[entry.name],), _ = run(entry.name)
    return reports


def test_page_has_every_input(column):
    assert list(column) == [entry.name for entry in INPUTS]


@pytest.mark.parametrize("title", [entry.name for entry in INPUTS])
def test_library_does_what_the_page_says(title, column, reports):
    assert title in reports, "an input before this one ended the process"
    report = reports[title]
    assert report["outcome"] == column[title]
    assert report["outcome"] in ("right", "raises ValueError", "raises MemoryError")
    assert report["seconds"] < 1
    assert report["scratch"] <= SCRATCH + TABLES
