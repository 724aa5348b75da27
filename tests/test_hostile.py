"""Hostile inputs, each in a process of its own: what docs/robustness.md says of this library."""

import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("limits and measures as Linux does", allow_module_level=True)

from benchmarks.hostile import table, trial
from benchmarks.hostile.engines import THREADS
from benchmarks.hostile.inputs import INPUTS

PAGE = Path(__file__).parents[1] / "docs" / "robustness.md"
MIB = 1 << 20
SCRATCH = THREADS * 32 * MIB
TABLES = 24 * MIB  # of a batch of boxes


@pytest.fixture(scope="module")
def column():
    return table.read(PAGE.read_text(), "roialign_cy")


def test_page_has_every_input(column):
    assert list(column) == [entry.name for entry in INPUTS]


@pytest.mark.parametrize("title", [entry.name for entry in INPUTS])
def test_library_does_what_the_page_says(title, column):
    outcome = trial.run("roialign_cy", title)
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
