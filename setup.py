"""The compiled extensions; everything else about the package is in pyproject.toml."""

import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

from setuptools import Extension, setup

# Its errors too: those of setuptools.errors are classes of another import, which nothing raises.
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.errors import CompileError, LinkError
from setuptools._distutils.sysconfig import customize_compiler

CORE = Path("src/roialign_cy/_core")

COMPILER = new_compiler()
customize_compiler(COMPILER)
IS_MSVC = COMPILER.compiler_type == "msvc"
DEBUG_WITH = os.environ.get("ROIALIGN_DEBUG", "0")
IS_DEBUG = DEBUG_WITH not in {"", "0"}

# One source, compiled once per level of the x86-64 psABI. Other machines get "base" alone, and so
# does macOS, where one build may serve two architectures. A level that the compiler does not know
# (probed below) is left out.
HAS_LEVELS = platform.machine().lower() in {"x86_64", "amd64"} and sys.platform != "darwin"
LEVELS = (
    {"base": [], "v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]}
    if IS_MSVC
    else {
        name: [f"-march=x86-64{level}"]
        for name, level in {"base": "", "v3": "-v3", "v4": "-v4"}.items()
    }
)

WORKING_TYPES = ("float32", "float64")

# For developers and CI: which kernels to build, as in "v3:float32" or "base,v3:float32,float64".
# Either list may be left out, and is then whole.
BUILD = os.environ.get("ROIALIGN_BUILD", "")

# No contraction to FMA: that is what makes the variants agree to the bit.
OPTIMISED = ["/O2", "/fp:precise"] if IS_MSVC else ["-O3", "-ffp-contract=off"]
# The core works on raw pointers, so a debug build checks bounds with the sanitizers besides
# Cython's own checks (preload their library to import it). Other sanitizers go by their names.
CHOSEN = "address,undefined" if DEBUG_WITH == "1" else DEBUG_WITH
SANITIZERS = [] if IS_MSVC else [f"-fsanitize={CHOSEN}"]
DEBUG = [] if IS_MSVC else ["-O1", "-g", "-ffp-contract=off", *SANITIZERS]

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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.c")
        path.write_text(source)
        try:
            objects = COMPILER.compile([str(path)], folder, extra_postargs=compile_flags)
            if link_flags is not None:
                COMPILER.link_executable(
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
    if not HAS_LEVELS:
        return {"base": []}
    source = "int main(void) { return 0; }\n"
    usable = {name: flags for name, flags in LEVELS.items() if compiles(source, flags)}
    return {"base": [], **usable}


def chosen(names: str, known: Iterable[str]) -> list[str]:
    """Those of the known names that are in a list with commas; all for an empty one."""
    wanted = names.split(",") if names else known
    if unknown := set(wanted) - set(known):
        raise ValueError(f"ROIALIGN_BUILD={BUILD}: {unknown} not among {', '.join(known)}")
    return [name for name in known if name in wanted]


def extensions() -> list[Extension]:
    """The core's modules; only the kernels exist once per variant."""
    compile_openmp, link_openmp = openmp_flags()
    variants = variant_flags()
    modules = dict.fromkeys(("boxcheck", "cpuinfo", "roipool", "taps", "team"), variants["base"])
    wanted_variants, _, wanted_types = BUILD.partition(":")
    built = chosen(wanted_variants, variants)
    working_types = chosen(wanted_types, WORKING_TYPES)
    for working_type in working_types:
        modules |= {f"kernels/{name}_{working_type}": variants[name] for name in built}
    promises = [
        ("ROIALIGN_BUILD", f'"{BUILD}"'),
        ("ROIALIGN_VARIANTS", f'"{" ".join(built)}"'),
        ("ROIALIGN_TYPES", f'"{" ".join(working_types)}"'),
    ]
    return [
        extension(
            name,
            compile_flags=[*(DEBUG if IS_DEBUG else OPTIMISED), *compile_openmp, *level],
            link_flags=[*link_openmp, *(SANITIZERS if IS_DEBUG else [])],
            # For it alone: a compiler's cache then serves the others of every build.
            macros=promises if name == "cpuinfo" else [],
        )
        for name, level in modules.items()
    ]


def extension(
    name: str, compile_flags: list[str], link_flags: list[str], macros: list[tuple[str, str]]
) -> Extension:
    """One module, of the .pyx at that path below the core."""
    made = Extension(
        "roialign_cy._core." + name.replace("/", "."),
        [str(CORE / f"{name}.pyx")],
        # What a change of rebuilds it; the sdist takes its files from here too.
        depends=sorted(
            str(path) for ending in ("pxd", "pxi", "h") for path in CORE.rglob(f"*.{ending}")
        ),
        extra_compile_args=compile_flags,
        extra_link_args=link_flags,
        define_macros=macros,
    )
    # Read by Cython's build_ext: directives, and C files in the build folder, not in the source.
    made.cython_directives = DIRECTIVES
    made.cython_c_in_temp = True
    return made


# Cython goes by timestamps and would take a debug build's C for a release build's, and another
# build's promises for those of this one.
BUILD_EXT = {"parallel": os.cpu_count() or 1, "force": IS_DEBUG or bool(BUILD)}
setup(ext_modules=extensions(), options={"build_ext": BUILD_EXT})
