"""The compiled extensions; everything else about the package is in pyproject.toml."""

import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.errors import CompileError, LinkError

CORE = "src/roialign_cy/_core"

# One source, compiled once per level of the x86-64 psABI; other machines get "base" alone. Where
# a compiler does not know a level (probed below), that variant is left out.
X86_LEVELS = {"base": "-march=x86-64", "v3": "-march=x86-64-v3", "v4": "-march=x86-64-v4"}
MSVC_LEVELS = {"base": "", "v3": "/arch:AVX2", "v4": "/arch:AVX512"}

IS_MSVC = sys.platform == "win32"
IS_X86_64 = platform.machine().lower() in {"x86_64", "amd64"}
IS_DEBUG = os.environ.get("ROIALIGN_DEBUG", "0") not in {"", "0"}

# No contraction to FMA: that is what makes the variants agree to the bit.
OPTIMISE = (
    ["/O2", "/fp:precise"] if IS_MSVC else ["-O3", "-ffp-contract=off", "-fvisibility=hidden"]
)
# The core works on raw pointers, so a debug build checks bounds with the sanitizers (preload
# libasan to import it) besides Cython's own checks.
DEBUG = [] if IS_MSVC else ["-O1", "-g", "-ffp-contract=off", "-fsanitize=address,undefined"]
FLAGS = DEBUG if IS_DEBUG else OPTIMISE

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": IS_DEBUG,
    "wraparound": False,
    "cdivision": not IS_DEBUG,
    "initializedcheck": IS_DEBUG,
    "freethreading_compatible": True,
}


def compiles(source: str, compile_flags: list[str], link_flags: list[str] | None = None) -> bool:
    """Whether the compiler that will build the extensions takes these flags."""
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.c")
        path.write_text(source)
        try:
            objects = compiler.compile([str(path)], folder, extra_postargs=compile_flags)
            if link_flags is not None:
                compiler.link_executable(
                    objects, str(Path(folder, "probe")), extra_postargs=link_flags
                )
        except (CompileError, LinkError):
            return False
    return True


def openmp_flags() -> tuple[list[str], list[str]]:
    """Compile and link flags for OpenMP, or none where a program with it cannot be built."""
    candidates = [(["/openmp:llvm"], [])] if IS_MSVC else [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        candidates = [(["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
    source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    for compile_flags, link_flags in candidates:
        if compiles(source, compile_flags, link_flags):
            return compile_flags, link_flags
    warnings.warn("no OpenMP found: roialign_cy is built to run on one thread", stacklevel=1)
    return [], []


def variant_flags() -> dict[str, list[str]]:
    """Compile flags of every CPU variant that can be built here."""
    if not IS_X86_64:
        return {"base": []}
    levels = MSVC_LEVELS if IS_MSVC else X86_LEVELS
    flags = {name: [flag] if flag else [] for name, flag in levels.items()}
    source = "int main(void) { return 0; }\n"
    return {name: flag for name, flag in flags.items() if name == "base" or compiles(source, flag)}


def extensions() -> list[Extension]:
    """The core's modules; only the kernels exist once per variant."""
    compile_openmp, link_openmp = openmp_flags()
    variants = variant_flags()
    compile_flags = [*FLAGS, *compile_openmp]
    link_flags = [*link_openmp, *(["-fsanitize=address,undefined"] if IS_DEBUG else [])]
    macros = [("ROIALIGN_VARIANTS", '"' + " ".join(variants) + '"')]
    modules = dict.fromkeys(("boxcheck", "cpuinfo", "taps"), variants["base"])
    for working_type in ("float32", "float64"):
        modules |= {f"kernels/{name}_{working_type}": flags for name, flags in variants.items()}
    return [
        Extension(
            f"roialign_cy._core.{name.replace('/', '.')}",
            [f"{CORE}/{name}.pyx"],
            depends=[str(path) for path in sorted(Path(CORE).rglob("*.px[di]"))],
            extra_compile_args=[*compile_flags, *level],
            extra_link_args=link_flags,
            define_macros=macros if name == "cpuinfo" else [],
        )
        for name, level in modules.items()
    ]


setup(
    ext_modules=cythonize(
        extensions(), compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 0
    )
)
