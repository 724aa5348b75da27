"""The stages: each gives a dictionary of what it found, or raises."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

GPU = Path(__file__).resolve().parent.parent
CALLS = (
    # Workload of the benchmarks, convention if not the workload's, mode, dtype, layout.
    ("fpn-box", None, "avg", "float32", "NCHW"),
    ("fpn-box", None, "avg", "float16", "NCHW"),
    ("fpn-box", None, "avg", "float32", "NHWC"),
    ("fpn-box", None, "max", "float32", "NCHW"),
    ("fpn-mask", None, "avg", "float32", "NCHW"),
    ("c4-head", None, "avg", "float32", "NCHW"),
    ("document-7x7", None, "max", "float32", "NCHW"),
    ("fpn-box", "roi_pool", "max", "float32", "NCHW"),
    ("fpn-box", "prroi", "avg", "float32", "NCHW"),
    ("one-roi", None, "avg", "float32", "NCHW"),
)
GRADIENTS = (
    ("fpn-box", None, "avg", "features"),
    ("fpn-box", None, "max", "features"),
    ("fpn-box", "roi_pool", "max", "features"),
    ("fpn-box", "prroi", "avg", "features"),
    ("c4-head", None, "avg", "features"),
    ("fpn-box", None, "avg", "rois"),
)


def run(name: str, dry: bool) -> dict[str, Any]:
    """Run the stage of that name."""
    sys.path.insert(0, str(GPU / "tests"))  # the host layer
    if dry and name not in ("tests", "sanitizer"):
        import host

        host.install(90, detect_races=False)
    stage = {
        "environment": environment,
        "values": values,
        "times": times,
        "streams": streams,
        "tests": tests,
        "sanitizer": sanitizer,
    }[name]
    return stage(dry)


def environment(dry: bool) -> dict[str, Any]:
    """Look at the device and its software."""
    import cupy
    import numpy as np
    import roialign_cy as ra

    reason = ra.backends.unavailable_reason("gpu")
    if reason is not None:
        raise RuntimeError(reason)
    runtime = cupy.cuda.runtime
    return {
        "device": "host layer" if dry else runtime.getDeviceProperties(0)["name"].decode(),
        "CuPy": cupy.__version__,
        "NumPy": np.__version__,
        "CUDA driver": runtime.driverGetVersion(),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
    }


def values(dry: bool) -> dict[str, Any]:
    """Compare the bits of whole workloads with the CPU's."""
    import numpy as np

    calls = []
    for case in cases(dry):
        ours, expected = case.call("gpu").get(), case.call("cpu")
        bits = f"u{ours.itemsize}"
        differing = int(np.count_nonzero(ours.view(bits) != expected.view(bits)))
        calls.append({"call": case.name, "outputs": ours.size, "differing": differing})
        if case.kind == "rois":  # whose sums have another order
            np.testing.assert_allclose(ours, expected, rtol=0, atol=4e-5 * np.abs(expected).max())
        elif differing:
            raise AssertionError(f"{case.name}: {differing} of {ours.size} have other bits")
    return {"calls": calls}


def times(dry: bool) -> dict[str, Any]:
    """Time calls on the device and on the host, torchvision's beside them if it is there."""
    from device_check.clock import device_us, host_us
    from device_check.torchvision_calls import torchvision_call

    calls = []
    for case in cases(dry):

        def call(case: Case = case) -> Any:
            return case.call("gpu")

        theirs = None if dry else torchvision_call(case)
        calls.append(
            {
                "call": case.name,
                "device_us": device_us(call, dry),
                "host_us": host_us(call, dry),
                "torchvision_us": None if theirs is None else device_us(theirs, dry),
            }
        )
    return {"calls": calls}


def streams(dry: bool) -> dict[str, Any]:
    """Several streams at once, a capture, and memory that kernels cannot take."""
    import cupy
    import numpy as np

    call = cases(dry)[0].call
    expected = call("gpu").get()
    lanes = [cupy.cuda.Stream(non_blocking=True) for _ in range(8)]
    outputs = []
    for stream in lanes:
        with stream:
            call("gpu")  # given back at once: the pool hands its memory out again
            outputs.append(call("gpu"))
    for stream, output in zip(lanes, outputs, strict=True):
        stream.synchronize()
        np.testing.assert_array_equal(output.get(), expected)
    found = {"streams side by side": len(lanes)}
    import roialign_cy as ra

    memory = cupy.zeros(1 + 4 * 16, np.uint8)
    odd = memory[1:].view(np.float32).reshape(1, 1, 4, 4)
    try:
        ra.roi_align(odd, cupy.asarray([[0, 0.0, 0.0, 3.0, 3.0]]), 2)
    except ValueError as error:
        found["a map at an odd address"] = str(error)
    else:
        raise AssertionError("a map at an odd address was taken")
    if not dry:
        found["capture"] = _try_to_capture(call)
    return found


def _try_to_capture(call: Any) -> str:
    import cupy

    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            call("gpu")
        except RuntimeError as error:
            return str(error)
        finally:
            stream.end_capture()
    raise AssertionError("a captured call was not refused")


def tests(dry: bool) -> dict[str, Any]:
    """The tests for a device, which hold the frozen bits; a few of them on the host layer."""
    which = ["tests/test_contract.py", "-k", "strides or bad_box"] if dry else ["-m", "gpu"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which]
    finished = subprocess.run(command, cwd=GPU, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(finished.stdout[-2000:])
    return {"pytest": finished.stdout.splitlines()[-1]}


def sanitizer(dry: bool) -> dict[str, Any]:
    """The stage of the values again, on small calls, under NVIDIA's memory checker."""
    tool = shutil.which("compute-sanitizer")
    if dry or tool is None:
        return {"compute-sanitizer": "not run: " + ("dry" if dry else "it is not installed")}
    program = "from device_check import stages; stages.SMALL = True; stages.run('values', False)"
    command = [tool, "--error-exitcode", "9", sys.executable, "-c", program]
    finished = subprocess.run(command, cwd=GPU, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(finished.stdout[-2000:])
    return {"compute-sanitizer": finished.stdout.strip().splitlines()[-1]}


SMALL = False
"""Whether workloads are cut down although there is a device."""


class Case(NamedTuple):
    """A call, as a function of the backend that computes it."""

    kind: str  # "output", or what a gradient is with respect to
    name: str
    workload: Any
    options: dict[str, Any]
    call: Callable[[str], Any]


def cases(dry: bool) -> list[Case]:
    """Everything that is compared and timed."""
    return [_forward(dry, *chosen) for chosen in CALLS] + [
        _gradient(dry, *chosen) for chosen in GRADIENTS
    ]


def _forward(
    dry: bool, name: str, convention: str | None, mode: str, dtype: str, layout: str
) -> Case:
    import cupy
    import roialign_cy as ra

    workload = _workload(dry, name, dtype, layout)
    options = _options(workload, convention, mode)
    arrays = workload.features(), workload.rois()
    on_device = tuple(map(cupy.asarray, arrays))

    def call(backend: str) -> Any:
        return ra.roi_align(*(on_device if backend == "gpu" else arrays), **options)

    name = f"{name} {convention or mode} {dtype} {layout}"
    return Case("output", name, workload, options, call)


def _gradient(dry: bool, name: str, convention: str | None, mode: str, wrt: str) -> Case:
    import cupy
    import numpy as np
    import roialign_cy as ra

    workload = _workload(dry, name)
    options = _options(workload, convention, mode)
    features, rois = workload.features(), workload.rois()
    shape = (len(rois), features.shape[1], *options.pop("output_size"))
    grad = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    arrays = grad, rois, features
    on_device = tuple(map(cupy.asarray, arrays))

    def call(backend: str) -> Any:
        grad, rois, features = on_device if backend == "gpu" else arrays
        return ra.roi_align_backward(
            grad, rois, features.shape, features=features, wrt=wrt, **options
        )

    name = f"{name} {convention or mode} gradient w.r.t. {wrt}"
    return Case(wrt, name, workload, options, call)


def _workload(dry: bool, name: str, dtype: str = "float32", layout: str = "NCHW") -> Any:
    from roialign_cy.bench.workloads import WORKLOADS

    chosen = replace(WORKLOADS[name], dtype=dtype, layout=layout)
    return chosen.tiny() if dry or SMALL else chosen


def _options(workload: Any, convention: str | None, mode: str) -> dict[str, Any]:
    options: dict[str, Any] = workload.options(mode, None)
    if convention is not None:
        options |= {"convention": convention, "sampling_ratio": None}
    return options
