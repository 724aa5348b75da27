"""What holds on a machine without CuPy, or without a device: in processes without host layer."""

import inspect
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from roialign_cy import Convention
from roialign_cy._spec import make_spec
from roialign_cy.backends import API_VERSION, Backend
from roialign_cy.backends._protocol import MEMBERS

import roialign_cy_gpu

TESTS = Path(__file__).parent
PROJECT = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())
PACKAGE = Path(roialign_cy_gpu.__file__).parent
NO_CUPY = "import sys; sys.modules['cupy'] = None"


def run(*lines):
    """Output of a program, on a machine without a device."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_importing_does_not_import_cupy():
    assert run("import sys, roialign_cy_gpu", "print('cupy' in sys.modules)") == "False\n"


def test_entry_point_is_the_backend():
    (point,) = entry_points(group="roialign_cy.backends", name="gpu")
    assert point.load() is roialign_cy_gpu.BACKEND


def test_backend_is_complete():
    backend = roialign_cy_gpu.BACKEND
    assert all(hasattr(backend, member) for member in MEMBERS)
    assert backend.api_version == API_VERSION
    for name in MEMBERS[MEMBERS.index("unavailable_reason") :]:
        own, protocol = (
            inspect.signature(getattr(kind, name)).parameters for kind in (type(backend), Backend)
        )
        assert [(p.name, p.kind) for p in own.values()] == [
            (p.name, p.kind) for p in protocol.values()
        ]


@pytest.mark.parametrize(
    "convention",
    [
        *("document", "detectron2", "roi_pool", "prroi"),
        *(Convention(sampling=sampling, border="zero") for sampling in ("centered", "interior")),
    ],
)
def test_what_the_kernels_have_is_not_refused(convention):
    spec = make_spec(7, convention, 1.0, None, None, "NCHW", None)
    assert roialign_cy_gpu.BACKEND.cannot_run(spec, "roi_align") is None


@pytest.mark.parametrize("field", ["sampling", "border"])
def test_what_the_kernels_do_not_know_is_refused(field):
    spec = make_spec(7, "detectron2", 1.0, None, None, "NCHW", None)
    unknown = replace(spec, **{field: "another"})
    reason = roialign_cy_gpu.BACKEND.cannot_run(unknown, "roi_align")
    assert reason == f"it does not have the {field} 'another'"


def test_all_files_are_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["roialign_cy_gpu"]
    data = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    others = {p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {path for path in others if path.suffix != ".py"} == data


def test_extras_choose_the_wheel():
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras["cuda12x"][0] == "cupy-cuda12x>=14,<15"
    assert extras["cuda13x"][0] == "cupy-cuda13x>=14,<15"


REASONS = pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (
            NO_CUPY,
            'CuPy does not import (import of cupy halted; None in sys.modules); pip install "r',
        ),
        ("", "CuPy finds no CUDA device"),
    ],
    ids=["no CuPy", "no device"],
)


@REASONS
def test_reason_is_given(setting, reason):
    output = run(
        setting,
        "import roialign_cy as ra",
        "print('gpu' in ra.backends.names(), 'gpu' in ra.backends.available())",
        "print(ra.backends.unavailable_reason('gpu'))",
        "ra.show_config()",
    )
    assert output.startswith("True False\n" + reason)
    assert f"\nbackend gpu: {reason}" in output


@REASONS
def test_naming_it_raises_with_the_reason(setting, reason):
    output = run(
        setting,
        "import numpy as np, roialign_cy as ra",
        "try: ra.roi_align(np.ones((1, 1, 4, 4)), [[0, 1, 1, 3, 3]], 2, backend='gpu')",
        "except ra.BackendUnavailableError as error: print(error)",
    )
    assert output.startswith(f"backend 'gpu' is unavailable: {reason}")


@REASONS
def test_numpy_goes_to_the_cpu_unless_it_is_named(setting, reason):
    output = run(
        setting,
        "import numpy as np, roialign_cy as ra",
        "print(ra.roi_align(np.ones((1, 1, 4, 4)), [[0, 1, 1, 3, 3]], 1).item())",
    )
    assert output == "1.0\n"


def test_rocm_is_refused_by_name(monkeypatch):
    import cupy

    monkeypatch.setattr(cupy.cuda.runtime, "is_hip", True)
    assert "ROCm" in roialign_cy_gpu.BACKEND.unavailable_reason()


def test_reason_asks_for_the_compiler(monkeypatch):
    import cupy

    def missing():
        raise RuntimeError("no libnvrtc.so.12")

    monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", missing)
    reason = roialign_cy_gpu.BACKEND.unavailable_reason()
    assert "NVRTC, CUDA's compiler (no libnvrtc.so.12); pip install" in reason


def test_install_hint_names_both_extras():
    for extra in PROJECT["project"]["optional-dependencies"].keys() - {"test"}:
        assert f'"roialign-cy-gpu[{extra}]"' in roialign_cy_gpu.backend.INSTALL_HINT


def test_numpy_stays_on_the_host_where_the_device_is():
    # On the host layer, where there is one.
    import numpy as np
    import roialign_cy as ra
    from roialign_cy.backends._registry import resolve

    assert ra.backends.unavailable_reason("gpu") is None
    assert resolve(None, np.ones(1)).name == "cpu"


def test_cupy_goes_to_the_gpu_and_not_to_the_cpu():
    import cupy
    import roialign_cy as ra
    from roialign_cy.backends._registry import resolve

    assert resolve(None, cupy.ones(1)).name == "gpu"
    with pytest.raises(TypeError, match="cannot go to backend 'cpu'"):
        ra.roi_align(cupy.ones((1, 1, 4, 4)), [[0, 1, 1, 3, 3]], 2, backend="cpu")


def run_on_a_device(*options):
    """``pytest -m gpu``, on a machine without one."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    return subprocess.run(
        [*command, *options],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )


def test_tests_for_a_device_collect_without_the_host_layer():
    finished = run_on_a_device("--collect-only")
    assert finished.returncode == 0, finished.stdout
    found = {line.partition("::")[0] for line in finished.stdout.splitlines() if "::" in line}
    marked = {file for file in TESTS.glob("test_*.py") if "pytest.mark.gpu" in file.read_text()}
    assert found == {f"tests/{file.name}" for file in marked - {Path(__file__)}}


def test_tests_for_a_device_say_that_there_is_none():
    finished = run_on_a_device()
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "-m gpu needs a device: CuPy finds no CUDA device" in finished.stdout
