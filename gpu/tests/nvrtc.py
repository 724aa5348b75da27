"""What NVRTC makes of the kernels: figures of the machine code and PTX. Needs no device."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    _clear_kernels()  # these are for `source` alone
    for dtype in DTYPES:
        yield Variant("boxes", _kernels.boxes_kernel("centered"), dtype)
        yield Variant("box sums", _kernels.box_sums_kernel(False), dtype)
        yield from _variants(dtype, sampling="centered", last=False, wide=False)
        yield from _variants_of_operators(dtype, last=False, wide=False)
    yield from _variants_of_readers(False)
    yield Variant("boxes", _kernels.boxes_kernel("interior"), np.float32)
    yield Variant("boxes", _kernels.boxes_kernel("integral"), np.float32)
    yield Variant("box sums", _kernels.box_sums_kernel(True), np.float32)
    yield from _variants_under_zeros()
    yield from _variants(np.float32, sampling="interior", last=True, wide=True)
    yield from _variants_of_operators(np.float32, last=True, wide=True)
    yield from _variants_of_readers(True)
    _clear_kernels()


def _clear_kernels() -> None:
    for getter in vars(_kernels).values():
        if hasattr(getter, "cache_clear"):
            getter.cache_clear()


def _variants(dtype: Any, *, sampling: str, last: bool, wide: bool) -> Iterator[Variant]:
    working, kind = _working(dtype, wide)
    for mode in ("avg", "max", "max_weighted"):
        tables = _kernels.tables_kernel(mode, sampling, working, wide)
        yield Variant(f"tables {kind}", tables, dtype)
        for in_pairs in (False, True) if mode == "avg" and working == "float" else (False,):
            pool = _kernels.pool_kernel(mode, False, last, LANES, working, wide, in_pairs)
            yield Variant(f"pool {mode} {kind}", pool, dtype)
    for mode in ("avg", "max"):
        gather = _kernels.gather_kernel(mode, False, last, LANES, working, wide)
        yield Variant(f"feature gradient {mode} {kind}", gather, dtype)
        parts = _kernels.box_parts_kernel(mode, sampling, last, working, wide)
        yield Variant(f"box gradient {mode} {kind}", parts, dtype)
    argmax = _kernels.argmax_kernel(False, last, LANES, working, wide)
    yield Variant(f"argmax {kind}", argmax, dtype)


def _variants_of_operators(dtype: Any, *, last: bool, wide: bool) -> Iterator[Variant]:
    """RoI Pooling and PrRoI Pooling, where they have kernels of their own."""
    working, kind = _working(dtype, wide)
    for mode, sampling in (("max", "cells"), ("avg", "integral")):
        tables = _kernels.tables_kernel(mode, sampling, working, wide)
        yield Variant(f"tables {kind}", tables, dtype)
    pool = _kernels.pool_kernel("max", True, last, LANES, working, wide, False)
    yield Variant(f"pool max {kind}", pool, dtype)
    argmax = _kernels.argmax_kernel(True, last, LANES, working, wide)
    yield Variant(f"argmax {kind}", argmax, dtype)
    gather = _kernels.gather_kernel("max", True, last, LANES, working, wide)
    yield Variant(f"feature gradient max {kind}", gather, dtype)
    parts = _kernels.box_parts_kernel("avg", "integral", last, working, wide)
    yield Variant(f"box gradient avg {kind}", parts, dtype)


def _variants_under_zeros() -> Iterator[Variant]:
    """Kernels that know of the border."""
    kind, choices = "float32 index32", ("float", False)
    for mode in ("avg", "max", "max_weighted"):
        tables = _kernels.tables_kernel(mode, "interior_zero", *choices)
        yield Variant(f"tables {kind}", tables, np.float32)
    for mode in ("avg", "max"):
        parts = _kernels.box_parts_kernel(mode, "interior_zero", False, *choices)
        yield Variant(f"box gradient {mode} {kind}", parts, np.float32)


def _variants_of_readers(wide: bool) -> Iterator[Variant]:
    """Kernels that know no values, nor boxes of any dtype."""
    for mode, working in (("avg", "float"), ("max", "double")):
        yield Variant("readers", _kernels.readers_kernel(mode, working, wide), np.float32)
    yield Variant("readers", _kernels.order_kernel(wide), np.float32)
    yield Variant("readers", _kernels.marks_kernel(wide), np.float32)


def _working(dtype: Any, wide: bool) -> tuple[str, str]:
    working = _kernels.working_type(dtype)
    bits = "float64" if working == "double" else "float32"
    return working, f"{bits} {_kernels.index_name(wide)}"


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
