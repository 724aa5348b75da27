"""What NVRTC makes of the kernels: figures of the machine code and PTX. Needs no device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import cupy
import numpy as np
from cupy._core import core
from cupy.cuda import compiler
from cupy_backends.cuda.libs import nvrtc

from roialign_cy_gpu import _kernels

ARCHITECTURES = (75, 80, 90, 100, 120)
DTYPES = (np.float16, np.float32, np.float64)
LANES = _kernels.MOST_LANES  # fewer need fewer registers


class Variant(NamedTuple):
    """A kernel for one dtype, and the name that its limits go by."""

    family: str
    kernel: Any
    dtype: Any

    @property
    def name(self) -> str:
        """Unique among all variants."""
        return f"{self.kernel.name}_{np.dtype(self.dtype).name}"


class Figures(NamedTuple):
    """What ptxas reports of a kernel."""

    registers: int
    stack: int
    spills: int


def variants() -> Iterator[Variant]:
    """Every kind of kernel for every dtype; what changes little, for float32 only."""
    _kernels._kernel.cache_clear()  # these are for `source` alone
    for dtype in DTYPES:
        yield Variant("boxes", _kernels.boxes_kernel(False), dtype)
        yield Variant("box sums", _kernels.box_sums_kernel(False), dtype)
        yield from _variants(dtype, interior=False, last=False, wide=False)
    yield Variant("boxes", _kernels.boxes_kernel(True), np.float32)
    yield Variant("box sums", _kernels.box_sums_kernel(True), np.float32)
    yield from _variants(np.float32, interior=True, last=True, wide=True)
    _kernels._kernel.cache_clear()


def _variants(dtype: Any, *, interior: bool, last: bool, wide: bool) -> Iterator[Variant]:
    working = "float64" if dtype is np.float64 else "float32"
    index = "index64" if wide else "index32"
    for mode, samples in product(("avg", "max", "max_weighted"), ((2, 2), (4, 4), (0, 0))):
        kernel = _kernels.pool_kernel(mode, interior, samples, last, LANES, wide)
        counted = "counted" if samples == (0, 0) else "fixed"
        yield Variant(f"pool {mode} {counted} {working} {index}", kernel, dtype)
    for mode in ("avg", "max"):
        gather = _kernels.gather_kernel(mode, interior, last, LANES, wide)
        yield Variant(f"feature gradient {mode} {working} {index}", gather, dtype)
        parts = _kernels.box_parts_kernel(mode, interior, last, wide)
        yield Variant(f"box gradient {mode} {working} {index}", parts, dtype)
    argmax = _kernels.argmax_kernel(interior, last, LANES, wide)
    yield Variant(f"argmax {working} {index}", argmax, dtype)


class _SourceSeen(Exception):
    pass


def source(variant: Variant) -> str:
    """The text that CuPy hands to NVRTC, of a kernel that was not launched yet."""
    seen = []

    def capture(text: str, *_: Any, **__: Any) -> None:
        seen.append(text)
        raise _SourceSeen

    arguments = [
        cupy.ndarray((1,), variant.dtype if p.dtype is None else p.dtype) if p.raw else 0
        for p in variant.kernel.params
        if p.name != "_ind"
    ]
    cupy.clear_memo()  # of kernels with the same text
    compile_module = compiler._compile_module_with_cache
    compiler._compile_module_with_cache = capture
    try:
        variant.kernel(*arguments, size=1)
    except _SourceSeen:
        pass
    finally:
        compiler._compile_module_with_cache = compile_module
    return seen[0]


def one_program(chosen: list[Variant]) -> str:
    """All of them in one text: parsing CuPy's headers takes longer than a kernel."""
    includes, bodies = set(), []
    for n, variant in enumerate(chosen):
        lines = source(variant).splitlines()
        includes |= {line.strip() for line in lines if "#include" in line}
        body = "\n".join(line for line in lines if "#include" not in line)
        body = body.replace(f"void {variant.kernel.name}(", f"void {variant.name}(")
        bodies.append(f"namespace kernel_{n} {{\n{body}\n}}")
    return "\n".join([*sorted(includes), *bodies])


def build(text: str, architecture: int) -> tuple[dict[str, Figures], str, str]:
    """Figures of every kernel in machine code, the PTX and the log without these figures."""
    options = (
        *core.assemble_cupy_compiler_options(()),
        *_kernels.OPTIONS,
        "-ftz=true",  # as CuPy does
        f"-arch=sm_{architecture}",
        "--device-as-default-execution-space",
        "--ptxas-options=-v",
    )
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        log, ptx = nvrtc.getProgramLog(program), nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)
    rest = "\n".join(
        line for line in log.splitlines() if line.strip(" \0") and not line.startswith("ptxas ")
    )
    return _figures(log), ptx if isinstance(ptx, str) else ptx.decode(), rest


def _figures(log: str) -> dict[str, Figures]:
    pattern = re.compile(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        re.S,
    )
    return {
        name: Figures(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in pattern.findall(log)
    }
