"""The host layer itself: that it computes as a device would, and notices what it is for."""

import os
import signal

import cupy
import numpy as np
import pytest

from host.plugin import MACHINE
from host.ptx_to_cpp import translate

OPTIONS = ("-fmad=false",)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_computes(dtype):
    kernel = cupy.ElementwiseKernel(
        "T a, raw T x", "T y", "y = a * x[i] + 1", "line", options=OPTIONS
    )
    x = np.arange(1000, dtype=dtype) / 7
    y = kernel(dtype(2), cupy.asarray(x), size=1000)
    np.testing.assert_array_equal(y.get(), (dtype(2) * x).astype(dtype) + dtype(1))


def test_flushes_subnormal_floats_as_cupy_asks_for():
    kernel = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x * 1.5f", "scaled")
    assert kernel(cupy.asarray([1e-39], np.float32)).get() == 0


def test_casts_saturate():
    kernel = cupy.ElementwiseKernel("float64 x", "int32 y", "y = (int)x", "cast")
    y = kernel(cupy.asarray([1e300, -1e300, np.nan, -1.5])).get()
    np.testing.assert_array_equal(y, [2**31 - 1, -(2**31), -(2**31), -1])


def test_counts_instructions():
    kernel = cupy.ElementwiseKernel("float64 x", "float64 y", "y = x * x * x", "cube")
    MACHINE.check()
    kernel(cupy.ones(128))
    once = MACHINE.instructions("cube")
    kernel(cupy.ones(256))
    assert 10 * 128 < once < 100 * 128
    # Threads that find nothing to do cost little.
    assert MACHINE.instructions("cube") == pytest.approx(3 * once, rel=0.2)


@pytest.mark.parametrize(
    ("operation", "is_race"),
    [
        ("sums[i / 2] += x[i]", True),
        ("atomicAdd(&sums[i / 2], x[i])", False),
        ("sums[i] = x[i]", False),
        ("sums[i] = x[0]", False),
        ("sums[i] = sums[i ^ 1]", True),
    ],
)
def test_notices_races(operation, is_race):
    kernel = cupy.ElementwiseKernel(
        "raw float64 x", "raw float64 sums", operation, "touch", no_return=True
    )
    MACHINE.check()
    kernel(cupy.ones(64), cupy.zeros(64), size=64)
    if is_race:
        with pytest.raises(AssertionError, match="touch"):
            MACHINE.check()
    MACHINE.check()


def test_notices_misaligned_accesses():
    kernel = cupy.ElementwiseKernel(
        "raw int8 x",
        "float32 y",
        "y = *reinterpret_cast<const float*>(&x[0] + 2)",
        "crooked",
    )
    kernel(cupy.zeros(8, np.int8), size=1)
    with pytest.raises(AssertionError, match="misaligned=1"):
        MACHINE.check()


@pytest.mark.parametrize("offset", [-512, 2])
def test_out_of_bounds_ends_the_process(offset):
    kernel = cupy.ElementwiseKernel(
        "raw float64 x, int64 offset", "float64 y", "y = *(&x[0] + offset)", "astray"
    )
    x = cupy.ones(2)
    assert kernel(x, 1, size=1).get() == 1
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        kernel(x, offset, size=1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_new_memory_is_poisoned():
    assert not np.isin(cupy.empty(100, np.uint8).get(), [0, 255]).any()


def test_refuses_what_it_does_not_know():
    text = ".visible .entry k()\n{\n%s;\nret;\n}"
    assert "kernel_k" in translate(text % "add.s32 %r1, %r1, 1")
    for instruction in ("bar.sync 0", "fns.b32 %r1, %r2, 0, 0", "sin.approx.f32 %f1, %f2"):
        with pytest.raises(NotImplementedError):
            translate(text % instruction)


def test_kernel_that_cannot_be_run_is_reported():
    kernel = cupy.ElementwiseKernel("int32 x", "int32 y", "y = __shfl_sync(~0u, x, 0)", "swap")
    kernel(cupy.ones(4, np.int32))
    with pytest.raises(ExceptionGroup, match="could not be run"):
        MACHINE.check()
