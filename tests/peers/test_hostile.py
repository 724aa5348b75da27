"""Hostile inputs, in other processes: what docs/robustness.md says of this library."""

import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("limits and measures as Linux does", allow_module_level=True)

from benchmarks.hostile import table, trial
from benchmarks.hostile.engines import THREADS
from benchmarks.hostile.inputs import INPUTS

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
MIB = 1 << 20
SCRATCH = THREADS * 32 * MIB
TABLES = 24 * MIB  # of a batch of boxes


@pytest.fixture(scope="module")
def column():
    return table.read(PAGE.read_text(), "roialign_cy")


def test_page_has_every_input(column):
    assert list(column) == [entry.name for entry in INPUTS]


@pytest.fixture(scope="module")
def outcomes():
    """What became of every input; those that change the state of a process have their own."""
    plain = [entry.name for entry in INPUTS if entry.state == "plain"]
    found = dict(zip(plain, trial.run("roialign_cy", *plain), strict=False))
    for entry in INPUTS:
        if entry.state != "plain":
            [found[entry.name]] = trial.run("roialign_cy", entry.name)
    return found


@pytest.mark.parametrize("title", [entry.name for entry in INPUTS])
def test_library_does_what_the_page_says(title, column, outcomes):
    assert title in outcomes, "an input before this one ended the process"
    outcome = outcomes[title]
    assert outcome.text == column[title], outcome.detail
    assert outcome.text.startswith(("right", "raises ValueError", "raises MemoryError"))
    assert outcome.seconds < 1
    assert outcome.scratch <= SCRATCH + TABLES


def test_page_is_put_together_and_read_again():
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter"
    lines = ["| input | x 1.0 |", "| --- | --- |", "| a | right |", "| b | ends |"]
    page = table.put_into(page, lines)
    assert page == table.put_into(page, lines)
    assert page.startswith("before\n")
    assert page.endswith("\nafter")
    assert table.read(page, "x") == {"a": "right", "b": "ends"}
