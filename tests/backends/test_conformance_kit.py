"""The conformance kit itself: what it notices, and how it says so."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy.backends.cpu import CpuBackend
from roialign_cy.testing import calls, checks, test_calls

PLUGIN = Path(__file__).parents[2] / "docs" / "plugin"
WHERE = range(42, 114, 8)  # the fields of a row of the table


@pytest.fixture
def kit(tmp_path):
    """Run the kit in a folder outside the tree: its status, and what it printed."""

    def run(*arguments):
        command = [sys.executable, "-m", "roialign_cy.testing", "-q", "--tb=line", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def fields(text):
    """The nine fields of each row of the table that is of RoI Align, by convention and mode."""
    lines = re.findall(r"^ *(RoI Align .*)", text, re.M)
    return {
        (line[12:28].strip(), line[29:42].strip()): [line[n : n + 8].strip() for n in WHERE]
        for line in lines
    }


def test_example_of_the_documentation_passes_what_it_offers(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    shutil.copy(PLUGIN / "pyproject.toml", tmp_path)  # whose options are for its own tests
    option = "--roialign-backend", "roialign_factors:FactorsBackend"
    status, text = kit(*option, *option, "-k", "document or detectron2-avg-float32")
    assert status == 0, text
    assert "conformance of factors" in text
    table = fields(text)
    shown = fields((PLUGIN.parent / "writing_a_backend.rst").read_text("utf-8"))
    for mode in "avg", "max":
        assert table["document", mode] == shown["document", mode]
    assert all("/" in table["detectron2", "avg"][n] for n in (1, 4))
    assert re.search(r"^several maps +no +no +no$", text, re.M)
    assert re.search(r"^maps of uint8 +\d+/\d+ +\d+/\d+ +no$", text, re.M)
    assert re.search(r"^not offered \(\d+\): it takes one map a call$", text, re.M)
    assert re.search(r"^not offered \(\d+\): it only has the mean, at a fixed", text, re.M)
    assert re.search(r"^\d+ passed, .*\d+ not offered in ", text, re.M)


BACKEND = """
import roialign_cy as ra
from roialign_cy.backends.cpu import CpuBackend

class Mine(CpuBackend):
    def __init__(self):
        super().__init__("mine")

    def cannot_run(self, spec, operation):
        return "no boxes" if operation == "box_gradient" else None

    def roi_align(self, maps, rois, levels, spec, out):
        if out.dtype == "f2":
            raise ra.BackendUnavailableError("too late to say so")
        super().roi_align(maps, rois, levels, spec, out)
        out *= 1 + 3e-6 * (out.dtype == "f4")
        return out
"""


def test_table_tells_failures_from_what_is_not_offered(kit, tmp_path):
    (tmp_path / "my_backend.py").write_text(BACKEND)
    status, text = kit("--roialign-backend", "my_backend:Mine", "-k", "detectron2-avg")
    assert status == 1
    row = fields(text)["detectron2", "avg"]
    assert row[:2] == ["FAIL"] * 2
    assert all(field.isdecimal() for field in row[2:6])
    assert row[6:] == ["no"] * 3
    assert fields(text)["mmcv", "avg"] == [""] * 9
    assert re.search(r"^not offered \(\d+\): no boxes$", text, re.M)
    assert "skipped" not in text


class Wrong(CpuBackend):
    """The CPU's results, changed."""

    def __init__(self, change):
        super().__init__("wrong")
        self.change = change

    def roi_align(self, maps, rois, levels, spec, out):
        super().roi_align(maps, rois, levels, spec, out)
        return self.change(out, spec)

    def feature_gradient(self, *arguments):
        results = super().feature_gradient(*arguments)
        return tuple(self.change(result, arguments[4]) for result in results)

    def box_gradient(self, *arguments):
        return self.change(super().box_gradient(*arguments), arguments[4])


def without_nan(result, spec):
    result[...] = np.nan_to_num(result)
    return result


def of_few_threads(result, spec):
    result *= spec.num_threads != 7
    return result


def by_rows(result, spec):
    result *= 1 if result.strides[-1] == result.itemsize else 2
    return result


def swapped(result, spec):
    return result.astype(result.dtype.newbyteorder())


def far(result, spec):
    result[..., -1] *= 1.001
    return result


FORWARD, *GRADIENTS = checks.AGREES
ALL = FORWARD, *GRADIENTS
FIXED = {"own_count": False}


@pytest.mark.parametrize(
    ("change", "test", "options", "operations"),
    [
        (without_nan, test_calls.test_cell_of_no_weight_is_not_read, {}, [FORWARD]),
        (of_few_threads, test_calls.test_result_does_not_depend_on_threads, {}, ALL),
        (by_rows, test_calls.test_out_is_filled_and_returned, {"layout": "NCHW"}, ALL),
        (swapped, test_calls.test_arrays_may_lie_anyhow, {"place": np.copy}, GRADIENTS),
        (far, test_calls.test_result_is_that_of_the_reference, FIXED | {"layout": "NHWC"}, ALL),
        (far, test_calls.test_several_maps_give_what_each_gives_alone, {"layout": "NHWC"}, ALL),
        (far, test_calls.test_gradients_are_the_slopes_of_the_forward_pass, FIXED, GRADIENTS),
        (far, test_calls.test_constant_map_gives_its_constant, FIXED, [FORWARD]),
        (far, test_calls.test_gradient_of_the_mean_is_its_adjoint, {}, GRADIENTS[:1]),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_wrong_results_are_noticed(change, test, options, operations):
    for operation in operations:
        dtype = "float64" if change is far else "float32"
        cell = calls.Cell("detectron2", "avg", dtype, operation)
        test(cell, backend="cpu", **options)
        ra.backends.register(Wrong(change))
        with pytest.raises(AssertionError):
            test(cell, backend="wrong", **options)


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
