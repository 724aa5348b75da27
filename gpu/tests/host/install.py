"""The machine that CuPy is made to believe in."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from . import fenced_memory
from .ptx_to_cpp import translate

# Unoptimised: compiling a kernel takes many times as long as running it.
_CXX = ["g++", "-std=c++17", "-O0", "-w", "-fPIC", "-ffp-contract=off", "-mfma"]

# What kernels are linked to, by being there: to read it for each took longer than to compile.
_LIBRARIES = [
    ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL) for name in ("libm.so.6", "libstdc++.so.6")
]

# Numbers of CUdevice_attribute.
_MAJOR, _MINOR, _MULTIPROCESSORS, _MOST_THREADS = 75, 76, 16, 1


class Launch(NamedTuple):
    """What a kernel did: instructions of all threads, conflicting and misaligned accesses."""

    kernel: str
    stream: int
    instructions: int
    races: int
    misaligned: int


@dataclass
class Machine:
    """What happened so far on the machine that `install` set up.

    Attributes
    ----------
    launches : list of Launch
    synchronisations : int
    copies : int
        Between any two places.
    captured : set of int
        Streams that are said to be captured in a graph.
    """

    detect_races: bool
    cache: Path
    launches: list[Launch] = field(default_factory=list)
    synchronisations: int = 0
    copies: int = 0
    captured: set[int] = field(default_factory=set)
    _modules: dict[int, Any] = field(default_factory=dict)
    _functions: dict[int, tuple[str, Any, Any]] = field(default_factory=dict)
    _failures: list[Exception] = field(default_factory=list)
    _handles: Any = field(default_factory=lambda: itertools.count(0x1000, 16))

    def check(self) -> None:
        """Raise if a kernel could not be run, raced or was misaligned; then forget the launches."""
        failures, self._failures = self._failures, []
        launches, self.launches = self.launches, []
        if failures:
            raise ExceptionGroup("kernels that could not be run", failures)
        faults = [launch for launch in launches if launch.races or launch.misaligned]
        assert not faults, faults

    def instructions(self, kernel: str = "") -> int:
        """PTX instructions executed by kernels with that in their names."""
        return sum(launch.instructions for launch in self.launches if kernel in launch.kernel)

    def new_handle(self, *_: object) -> int:
        return next(self._handles)

    def synchronise(self, *_: object) -> None:
        self.synchronisations += 1

    def copy(self, *arguments: int) -> None:
        self.copies += 1
        fenced_memory.copy(*arguments)

    def load_module(self, ptx: bytes) -> int:
        # C calls this, and no exception can pass through it: `check` raises it.
        handle = self.new_handle()
        try:
            self._modules[handle] = ctypes.CDLL(str(self._compile(ptx.rstrip(b"\0").decode())))
        except Exception as error:
            self._failures.append(error)
        return handle

    def get_function(self, module: int, name: str) -> int:
        handle = self.new_handle()
        if module in self._modules:
            library = self._modules[module]
            function = library[f"{name}__launch"]
            function.restype = None
            function.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            self._functions[handle] = name, function, library
        return handle

    def launch(self, function: int, *arguments: int) -> None:
        grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, _ = arguments
        if (grid_y, grid_z, block_y, block_z, shared) != (1, 1, 1, 1, 0) or block_x > 1024:
            self._failures.append(NotImplementedError(f"launch of shape {arguments[:7]}"))
            return
        if function not in self._functions:
            return
        name, run, library = self._functions[function]
        ctypes.c_bool.in_dll(library, "detect_races").value = self.detect_races
        run(parameters, grid_x, block_x)
        counted = (
            ctypes.c_uint64.in_dll(library, what).value
            for what in ("executed", "races", "misaligned")
        )
        self.launches.append(Launch(name, stream, *counted))

    def _compile(self, ptx: str) -> Path:
        text = translate(ptx)
        prelude = self._compiled_prelude()
        library = self.cache / f"{_digest(text, prelude.name)}.so"
        if not library.exists():
            with self._workshop() as folder:
                source, made = folder / "kernel.cpp", folder / "kernel.so"
                source.write_text(text, encoding="utf-8")
                _run(*_CXX, "-shared", "-nostdlib", f"-I{prelude}", source, "-o", made)
                made.rename(library)
        return library

    def _compiled_prelude(self) -> Path:
        """A folder with the header, compiled: parsing it each time took half of the time."""
        header = Path(__file__).with_name("ptx_prelude.h").read_text(encoding="utf-8")
        prelude = self.cache / _digest(header, str(_CXX))
        if not prelude.exists():
            with self._workshop() as folder:
                made = folder / "prelude"
                made.mkdir()
                source = made / "ptx_prelude.h"
                source.write_text(header, encoding="utf-8")
                _run(*_CXX, "-x", "c++-header", source, "-o", f"{source}.gch")
                try:
                    made.rename(prelude)
                except OSError:  # another process was first; or there is a reason to stop
                    if not prelude.exists():
                        raise
        return prelude

    @contextmanager
    def _workshop(self) -> Iterator[Path]:
        """A folder of this process alone: others may fill the same cache."""
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            yield Path(folder)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True)


def install(capability: int = 90, *, detect_races: bool = True) -> Machine:
    """Put CuPy on a host machine of that compute capability. Must come before its import."""
    if "cupy" in sys.modules:
        raise RuntimeError("cupy was imported before its machine was set up")
    cache = Path(os.environ.get("ROIALIGN_HOST_CACHE") or tempfile.mkdtemp(prefix="roialign_host_"))
    cache.mkdir(parents=True, exist_ok=True)
    os.environ["CUPY_COMPILE_WITH_PTX"] = "1"
    os.environ["CUPY_ACCELERATORS"] = ""  # they need a real device
    os.environ["CUPY_CACHE_DIR"] = str(cache / f"sm_{capability}")
    machine = Machine(detect_races, cache)

    _rebind_runtime(machine, capability)
    import cupy

    cupy.cuda.set_allocator(None)  # no pool: each array between guard pages of its own
    return machine


def _rebind_runtime(machine: Machine, capability: int) -> None:
    from cupy_backends.cuda.api import driver, runtime

    from .rebinding import rebind

    attributes = {
        _MAJOR: capability // 10,
        _MINOR: capability % 10,
        _MULTIPROCESSORS: 132,
        _MOST_THREADS: 1024,
    }
    version = driver.get_build_version()

    def nothing(*_: object) -> None: ...

    def returning(value: Any) -> Any:
        return lambda *_: value

    functions = {
        runtime: {
            "getDevice": returning(0),
            "getDeviceCount": returning(1),
            "setDevice": nothing,
            "driverGetVersion": returning(version),
            "runtimeGetVersion": returning(version),
            "deviceGetAttribute": lambda attribute, _: attributes.get(attribute, 0),
            "memGetInfo": returning((1 << 33, 1 << 34)),
            "pointerGetMemoryType": returning(2),
            "_ensure_context": nothing,
            **dict.fromkeys(("malloc", "mallocAsync", "hostAlloc"), fenced_memory.allocate),
            **dict.fromkeys(("free", "freeAsync", "freeHost"), fenced_memory.free),
            **dict.fromkeys(("memcpy", "memcpyAsync"), machine.copy),
            **dict.fromkeys(("memset", "memsetAsync"), fenced_memory.fill),
            **dict.fromkeys(
                (
                    "streamCreate",
                    "streamCreateWithFlags",
                    "streamCreateWithPriority",
                    "eventCreate",
                    "eventCreateWithFlags",
                ),
                machine.new_handle,
            ),
            **dict.fromkeys(
                (
                    "streamDestroy",
                    "streamQuery",
                    "streamWaitEvent",
                    "eventDestroy",
                    "eventRecord",
                ),
                nothing,
            ),
            "eventQuery": returning(0),  # all is done: else CuPy would keep what it waits for
            **dict.fromkeys(
                ("deviceSynchronize", "streamSynchronize", "eventSynchronize"), machine.synchronise
            ),
            "streamIsCapturing": lambda stream: stream in machine.captured,
        },
        driver: {
            "moduleLoadData": machine.load_module,
            "moduleGetFunction": machine.get_function,
            "moduleUnload": nothing,
            "launchKernel": machine.launch,
            "ctxGetCurrent": returning(1),
        },
    }
    for module, replacements in functions.items():
        for name, function in replacements.items():
            rebind(module, name, function)
