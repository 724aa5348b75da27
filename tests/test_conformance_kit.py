"""The conformance kit itself: what it notices, and how it says so."""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "docs" / "plugin"
WHERE = range(42, 114, 8)
# A backend that hands its calls to the CPU's, and a line of its own.
BACKEND = """
import numpy as np
import roialign_cy as ra
from roialign_cy.backends.cpu import CpuBackend

class Mine(CpuBackend):
    def __init__(self):
        super().__init__("mine")

    {}
"""
COMPUTE = """def roi_align(self, maps, rois, levels, spec, out):
        super().roi_align(maps, rois, levels, spec, out)
        {}
        return out
"""
REFUSE = """def cannot_run(self, spec, operation):
        {}
"""


@pytest.fixture
def kit(tmp_path):
    """Run the kit in a folder outside the tree: its status, and what it printed."""

    def run(*arguments):
        command = [sys.executable, "-m", "roialign_cy.testing", "-q", "--tb=line", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def of_backend(kit, tmp_path):
    """Run it on a backend with these lines: its status, the fields that differ, the output."""

    def run(source, *arguments):
        (tmp_path / "my_backend.py").write_text(BACKEND.format(source))
        status, text = kit("--roialign-backend", "my_backend:Mine", *arguments)
        return status, fields(text), text

    return run


def fields(text):
    """The nine fields of each row of the table that is of RoI Align, by convention and mode."""
    lines = re.findall(r"^RoI Align .*", text, re.M)
    return {
        (line[12:28].strip(), line[29:42].strip()): [line[n : n + 8].strip() for n in WHERE]
        for line in lines
    }


def test_example_of_the_documentation_passes_what_it_offers(kit, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    name = "roialign_factors:FactorsBackend"
    status, text = kit("--roialign-backend", name, "-k", "document or detectron2-avg-float32")
    assert status == 0, text
    assert "conformance of factors" in text
    table = fields(text)
    assert table["document", "max"] == ["no"] * 9
    assert all(field.isdecimal() for field in table["document", "avg"][:6])
    assert all("/" in table["detectron2", "avg"][n] for n in (1, 4))
    assert re.search(r"^not offered \(\d+\): it only has the mean, at a fixed", text, re.M)
    assert re.search(r"^\d+ passed, .*\d+ not offered in ", text, re.M)


@pytest.mark.parametrize(
    ("line", "failing"),
    [
        ("out *= 1 + 2e-6 * (out.dtype == 'f4')", [1]),
        ("out[...] = np.nan_to_num(out)", [1]),
        ("out[:, :, -1] = 0", [0, 1, 2, 5, 8]),  # of which the gradients are not the slopes
        ("out *= 1 if out.flags.c_contiguous else 2", [0, 1, 2]),
        ("out *= spec.num_threads != 7", [1]),
    ],
)
def test_wrong_output_fails_in_its_fields(line, failing, of_backend):
    status, table, text = of_backend(COMPUTE.format(line), "-k", "detectron2-avg")
    assert status == 1, text
    assert [n for n in range(9) if table["detectron2", "avg"][n] == "FAIL"] == failing
    assert table["mmcv", "avg"] == [""] * 9


def test_refusal_is_reported_with_its_reason(of_backend):
    source = REFUSE.format("return 'no halves' if operation == 'box_gradient' else None")
    status, table, text = of_backend(source, "-k", "detectron2-avg")
    assert status == 0, text
    assert table["detectron2", "avg"][6:] == ["no"] * 3
    assert re.search(r"^not offered \(\d+\): no halves$", text, re.M)
    assert "skipped" not in text


def test_refusal_that_was_not_declared_is_a_failure(of_backend):
    line = "raise ra.BackendUnavailableError('only now')"
    status, table, _ = of_backend(COMPUTE.format(line), "-k", "detectron2-avg")
    assert status == 1
    assert table["detectron2", "avg"][:3] == ["FAIL"] * 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("refrence", "did you mean 'reference'"),
        ("cpu[v9]", "is not among"),
        ("no_such_module:Backend", "No module named"),
        ("roialign_cy:nothing", "no attribute 'nothing'"),
        ("roialign_cy:roi_pool", "must have a name"),
    ],
)
def test_backend_that_is_not_there_is_an_error(name, text, kit):
    status, printed = kit("--roialign-backend", name)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert text in printed


def test_nothing_of_pytest_is_loaded_by_the_library_or_into_other_runs():
    code = """if True:
        import sys, roialign_cy
        assert "roialign_cy.testing" not in sys.modules
        from roialign_cy.testing import calls, checks, goldens
        assert not {"pytest", "hypothesis"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    groups = {point.group for point in distribution("roialign_cy").entry_points}
    assert groups == {"console_scripts"}
