"""The compiled extensions; everything else about the package is in pyproject.toml."""

import os
import platform
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy
from Cython import __version__ as cython_version
from Cython.Build import cythonize
from Cython.Build.Dependencies import create_dependency_tree
from setuptools import Extension, setup

# Its errors too: those of setuptools.errors are classes of another import, which nothing raises.
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.errors import CompileError, LinkError
from setuptools._distutils.sysconfig import customize_compiler
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer, newer_group

CORE = Path("src/roialign_cy/_core")
KERNELS = "roialign_cy._core.kernels."
OWN_INLINE = re.compile(r"^static CYTHON_INLINE(?=.*\b__pyx_f_)", re.MULTILINE)
TREE = create_dependency_tree(quiet=True)

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

# No contraction to FMA: that is what makes the variants agree to the bit. CFLAGS take the place of
# Python's own flags, so what a build needs is said here; debug information, a third of the time
# and two thirds of the size, is for those who ask for it there.
OPTIMISED = (
    ["/O2", "/fp:precise"]
    if IS_MSVC
    else ["-O3", "-ffp-contract=off", "-fwrapv", "-DNDEBUG"]
    + ([] if "CFLAGS" in os.environ else ["-g0"])
)
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


def depends_on(source: Path) -> list[str]:
    """What a module is rebuilt for; the sdist takes its files from here too."""
    included = TREE.all_dependencies(str(source))
    own = [path for path in included if Path(path).is_relative_to(CORE)]  # not Cython's
    return sorted([*own, *map(str, source.parent.glob("*.h")), "setup.py"])


class BuildExt(build_ext):
    """Builds what is out of date alone, and translates kernels to C once for all variants."""

    def finalize_options(self) -> None:
        """Compile on every core, and keep what an editable install compiles.

        That forgets the options of commands, and builds in folders that it throws away.
        """
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1
        if self.editable_mode:
            self.build_lib, self.build_temp = f"{BUILD_BASE}/lib", f"{BUILD_BASE}/temp"
        super().finalize_options()

    def outdated(self) -> list[Extension]:
        """Modules that are missing or older than what they are made of.

        Cython's own files do not count: pip installs them anew for every build.
        """
        return [
            ext
            for ext in self.extensions
            if self.force or newer_group(ext.depends, self.get_ext_fullpath(ext.name))
        ]

    def build_extensions(self) -> None:
        """Build the modules that are out of date."""
        all_of_them, self.extensions = self.extensions, self.outdated()
        self._translate_kernels()
        super().build_extensions()
        self.extensions = all_of_them

    def _translate_kernels(self) -> None:
        kernels = [ext for ext in self.extensions if ext.name.startswith(KERNELS)]
        sources = dict.fromkeys(ext.sources[0] for ext in kernels)
        translated = cythonize(
            [Extension(KERNELS + Path(pyx).stem, [pyx]) for pyx in sources],
            build_dir=self.build_temp,
            force=self.force,
            quiet=not self.verbose,
            emit_linenums=self.cython_line_directives,
            compiler_directives=DIRECTIVES,
        )
        paths = dict(zip(sources, (Path(shared.sources[0]) for shared in translated), strict=True))
        for ext in kernels:
            ext.sources = [renamed(paths[ext.sources[0]], ext.name.removeprefix(KERNELS))]


def renamed(path: Path, name: str) -> str:
    """Copy a module's C beside it, to become the module ``name``, its own functions inlined."""
    copy = path.with_stem(name)
    if newer(path, copy):
        text = path.read_text(encoding="utf-8")
        for what in "PyInit_{}", f'"{KERNELS}{{}}"':
            text = text.replace(what.format(path.stem), what.format(name))
        text, count = OWN_INLINE.subn("static KERNEL_INLINE", text)  # lanes.h says what that is
        if count == 0:
            raise RuntimeError("this Cython writes inline functions in another way")
        copy.write_text(text, encoding="utf-8")
    return str(copy)


def extensions() -> list[Extension]:
    """The core's modules; only the kernels exist once per variant."""
    compile_openmp, link_openmp = openmp_flags()
    variants = variant_flags()
    wanted_variants, _, wanted_types = BUILD.partition(":")
    built = chosen(wanted_variants, variants)
    working_types = chosen(wanted_types, WORKING_TYPES)

    def extension(name: str, source: str, level: list[str]) -> Extension:
        made = Extension(
            name,
            [str(CORE / source)],
            include_dirs=[numpy.get_include()],
            depends=depends_on(CORE / source),
            extra_compile_args=[*(DEBUG if IS_DEBUG else OPTIMISED), *compile_openmp, *level],
            extra_link_args=[*link_openmp, *(SANITIZERS if IS_DEBUG else [])],
        )
        # Read by Cython's build_ext: directives, and C in the build folder, not in the source.
        made.cython_directives = DIRECTIVES
        made.cython_c_in_temp = True
        return made

    modules = {
        name: extension(f"roialign_cy._core.{name}", f"{name}.pyx", variants["base"])
        for name in ("memory", "paste", "runtime", "taps")
    }
    modules["runtime"].define_macros = [
        ("ROIALIGN_BUILD", f'"{BUILD}"'),
        ("ROIALIGN_VARIANTS", f'"{" ".join(built)}"'),
        ("ROIALIGN_TYPES", f'"{" ".join(working_types)}"'),
    ]
    kernels = [
        extension(f"{KERNELS}{variant}_{kind}", f"kernels/{kind}.pyx", variants[variant])
        for kind in working_types
        for variant in built
    ]
    return [*modules.values(), *kernels]


# What no file shows is in the name of the folder: another choice is another build.
CHOICES = repr((COMPILER.compiler_so, OPTIMISED, DEBUG_WITH, BUILD, cython_version, sys.version))
BUILD_BASE = f"build/{zlib.crc32(CHOICES.encode()):08x}"
setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExt},
    options={"build": {"build_base": BUILD_BASE}},
)
