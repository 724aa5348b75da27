"""The asv suite: every benchmark is run, on small data, and held to the reference."""

import importlib
import itertools
import math
import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import benchmarks
import numpy as np
import pytest
from benchmarks import (
    bench_busy,
    bench_instructions,
    bench_masks,
    bench_overhead,
    busy,
    callgrind,
    measured,
)
from benchmarks.cases import CASES

import roialign_cy as ra
from roialign_cy.bench import agreement, masks, suite, suite_calls, timing
from roialign_cy.bench.workloads import PASTE, PASTE_WORKLOADS, WORKLOADS
from tests.fresh_process import IS_SANITIZED

pytestmark = pytest.mark.usefixtures("own_registry")

# asv's own rules for what is a benchmark.
METHOD = re.compile(r"(time|timeraw|peakmem|track)_\w+")
MODULES = [
    importlib.import_module(f"benchmarks.{module.name}")
    for module in pkgutil.iter_modules(benchmarks.__path__)
    if module.name.startswith("bench_")
]


def classes():
    for module in MODULES:
        for name, member in vars(module).items():
            if isinstance(member, type) and member.__module__ in (module.__name__, suite.__name__):
                methods = [method for method in vars(member) if METHOD.fullmatch(method)]
                assert methods, f"{name} has no benchmark"
                yield from (
                    pytest.param(member, method, id=f"{name}.{method}") for method in methods
                )


CLASSES = list(classes())
GRADIENT_TOLERANCE = 4e-6
"""Largest error as a fraction of the largest gradient: what rounding in float32 explains."""


@pytest.fixture(autouse=True)
def _small_data(monkeypatch):
    tiny = {name: workload.tiny() for name, workload in WORKLOADS.items()}
    for module in (suite, suite_calls):
        monkeypatch.setattr(module, "WORKLOADS", tiny)
    pasted = {name: workload.tiny() for name, workload in PASTE_WORKLOADS.items()}
    monkeypatch.setattr(suite_calls, "PASTE_WORKLOADS", pasted)
    monkeypatch.setattr(suite, "ROUNDS", 1)
    monkeypatch.setattr(busy, "CALLS", busy.CALLS_IN_TURN)
    monkeypatch.setattr(timing, "PAUSE_S", 0.0)


def run(benchmark, method, chosen):
    """Make one benchmark as asv does; the instance and what the benchmark gave."""
    instance = benchmark()
    inputs = [instance.setup_cache()] if hasattr(instance, "setup_cache") else []
    if hasattr(instance, "setup"):
        instance.setup(*inputs, *chosen.values())
    return instance, getattr(instance, method)(*inputs, *chosen.values())


def check_gradient(result, workload, mode, wrt):
    expected = suite.exact_gradient(workload, mode, wrt)
    scale = np.abs(expected).max()
    assert agreement.largest_difference(result, expected) <= GRADIENT_TOLERANCE * scale


def check(instance, result, chosen):
    """Hold what a benchmark gave to the reference."""
    if isinstance(instance, bench_masks.Paste):
        expected = masks.prepare(masks.OURS, PASTE_WORKLOADS[chosen["workload"]].tiny(), 1)
        found = instance.call.to_numpy(result)
        assert masks.error_of(found, expected.result()) <= masks.TOLERANCE
        return
    workload = suite_calls.WORKLOADS[chosen["workload"]]
    if isinstance(result, float):
        if isinstance(instance, (bench_busy.Busy, suite.Relative)):
            assert 0 < result < math.inf
            return
        allowed = GRADIENT_TOLERANCE
        if "wrt" not in chosen:
            allowed = agreement.tolerance(ra.backends.get(chosen["backend"]), workload)
        assert 0 <= result <= allowed
        return
    mode = chosen.get("mode", workload.modes[0])
    result = instance.call.to_numpy(result) if hasattr(instance, "call") else result
    if "wrt" in chosen:
        check_gradient(result, workload, mode, chosen["wrt"])
        return
    expected = agreement.expect(workload.features(), workload.rois(), workload, mode)
    backend = ra.backends.get(chosen.get("backend", "cpu"))
    assert expected.error_of(result, workload.layout) <= agreement.tolerance(backend, workload)


def is_slow(benchmark):
    return benchmark is bench_instructions.Instructions  # runs valgrind each time: a test below


@pytest.mark.peers  # of which those that are installed take part
@pytest.mark.parametrize(
    ("benchmark", "method"), [one for one in CLASSES if not is_slow(one.values[0])]
)
def test_benchmark_agrees_with_the_reference(benchmark, method):
    done, skipped = [], []
    for values in itertools.product(*benchmark.params):
        chosen = dict(zip(benchmark.param_names, values, strict=True))
        try:
            instance, result = run(benchmark, method, chosen)
        except NotImplementedError as reason:
            skipped.append(str(reason))
            continue
        check(instance, result, chosen)
        done.append(chosen)
    assert all(skipped), "skipped without a reason"
    if benchmark is suite.Relative and not done:
        pytest.skip(f"no peer: {skipped[0]}")
    # Nothing that this machine promises may be missing from what was run.
    backends = dict(zip(benchmark.param_names, benchmark.params, strict=True)).get("backend", ())
    promised = {"cpu[base]", "reference"} & set(backends)
    assert promised <= {chosen.get("backend") for chosen in done}
    assert {chosen["workload"] for chosen in done} == set(
        benchmark.params[benchmark.param_names.index("workload")]
    )


def test_the_documents_call_names_no_option():
    features, rois, options = bench_overhead.Overhead().setup_cache()["document-call"]
    assert options.keys() == {"output_size", "spatial_scale"}
    assert features.shape[1] == len(rois) == 1


def test_import_benchmarks_are_programs():
    programs = [bench_overhead.timeraw_import(), bench_overhead.timeraw_import_numpy()]
    for program in programs:
        exec(compile(program, "<benchmark>", "exec"), {})
    assert programs == ["import roialign_cy", "import numpy"]


@pytest.mark.parametrize("name", CASES)
def test_cases_agree_with_the_reference(name):
    case = CASES[name]
    tiny = replace(case, workload=case.workload.tiny())
    result = tiny.prepare().result()
    if case.mode == PASTE:
        values = ra.paste_masks(
            tiny.workload.masks(),
            tiny.workload.boxes(),
            (tiny.workload.height, tiny.workload.width),
            convention="torchvision",
            threshold=None,
        )
        np.testing.assert_array_equal(result, values >= 0.5)
        assert result.any()
        return
    if case.wrt is not None:
        expected = suite.exact_gradient(tiny.workload, case.mode, case.wrt)
        assert (
            agreement.largest_difference(result, expected)
            <= GRADIENT_TOLERANCE * np.abs(expected).max()
        )
        return
    workload = tiny.workload
    expected = agreement.expect(workload.features(), workload.rois(), workload, case.mode)
    error = expected.error_of(result, workload.layout)
    assert error <= agreement.tolerance(ra.backends.get("cpu"), workload)


def test_torchvision_can_paste_every_mask():
    for workload in PASTE_WORKLOADS.values():  # it fails where a box lies beside its image
        boxes = workload.boxes()
        assert (boxes[:, :2] < [workload.width, workload.height]).all()
        assert (boxes[:, 2:] >= 1).all()


def test_counted_cases_are_two_blocks_of_channels_at_most():
    for case in CASES.values():
        assert case.to_count().workload.channels <= 32
        assert case.to_count().name == case.name


@pytest.mark.skipif(IS_SANITIZED, reason="valgrind does not run a sanitized program")
@pytest.mark.parametrize("variant", bench_instructions.VARIANTS)
def test_kernel_instructions_are_counted(variant):
    reason = callgrind.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    chosen = {"variant": variant, "case": "small-avg"}
    _, counted = run(bench_instructions.Instructions, "track_kernels", chosen)
    assert 1000 < counted < 100_000


def test_nothing_else_looks_like_a_benchmark_to_asv():
    for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
        if not module.name.startswith("benchmarks.bench_"):
            names = vars(importlib.import_module(module.name))
            assert not [name for name in names if METHOD.fullmatch(name)], module.name


# asv imports everything below its folder.
IMPORT_ALL = """
import pkgutil, sys, importlib
import benchmarks, roialign_cy
before = roialign_cy.backends.names()
for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
    importlib.import_module(module.name)
assert roialign_cy.backends.names() == before
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_every_module_imports_with_numpy_alone_and_does_nothing():
    root = Path(benchmarks.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    others = "asv asv_runner cupy matplotlib onnx onnxruntime openvino rich scipy setuptools torch"
    assert not {*line.split()} & {*others.split()}


def test_names_and_parameters_are_strings():
    for one in CLASSES:
        benchmark, method = one.values
        assert len(benchmark.params) == len(benchmark.param_names)
        assert all(isinstance(value, str) for values in benchmark.params for value in values)
        assert all(len(set(values)) == len(values) for values in benchmark.params)
        assert benchmark.__doc__
        assert getattr(benchmark, method).__doc__


def test_backends_of_the_suite_are_all_that_could_be_available():
    from roialign_cy._core import variants

    assert {f"cpu[{variant}]" for variant in variants.promised()} <= set(suite_calls.BACKENDS)
    assert {"reference", "gpu"} <= set(suite_calls.BACKENDS)


def test_the_page_of_speed_shows_what_its_commands_printed():
    page = (measured.FOLDER.parent / "performance.md").read_text()
    shown = re.findall(r"\{include\} measured/(\w+)\.md", page)
    assert sorted(shown) == sorted(measured.COMMANDS)
    for name in shown:
        said = (measured.FOLDER / f"{name}.md").read_text().split("```")[1]
        words = said.replace("\\", "").split()[1:]
        assert words == f"python -m benchmarks.{measured.COMMANDS[name]}".split()
