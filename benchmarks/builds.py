"""Builds versions of the library side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import git
from .versions import VARIANT

KERNELS = f"{VARIANT}:float32"
"""All that is built, where a version's ``setup.py`` knows how to build less than everything."""


# Earlier versions always build everything: what is not KERNELS is taken from their lists.
_OLD_SETUP = f"""
import runpy, sys, setuptools

everything = setuptools.setup

def setup(ext_modules, **options):
    def is_left_out(module):
        names = {{*module.name.rpartition(".")[2].split("_")}}
        return names & ({{"base", "v3", "v4", "float64"}} - {{"{VARIANT}"}})

    everything(ext_modules=[one for one in ext_modules if not is_left_out(one)], **options)

setuptools.setup = setup
sys.argv[0] = "setup.py"
runpy.run_path("setup.py", run_name="__main__")
"""


class BuildError(Exception):
    """A version does not build; the text has the compiler's last words."""


def build(root: Path, tree: str, cache: Path) -> Path:
    """Build a tree, unless the cache has it, and give the folder to import it from."""
    folder = cache / f"{git.sources_key(root, tree)}-{VARIANT}_float32"
    if not folder.exists():
        unfinished = cache / f"{folder.name}.{os.getpid()}"
        git.export(root, tree, unfinished)
        _build_extensions(unfinished)
        unfinished.rename(folder)
    return folder / "src"


def _build_extensions(folder: Path) -> None:
    jobs = os.cpu_count() or 1
    # Line directives: callgrind then finds the .pxi file that an instruction was written in.
    command = ["-q", "build_ext", "--inplace", f"--parallel={jobs}", "--cython-line-directives"]
    knows = "ROIALIGN_BUILD" in (folder / "setup.py").read_text()
    program = ["setup.py"] if knows else ["-c", _OLD_SETUP]
    done = subprocess.run(
        [sys.executable, *program, *command],
        cwd=folder,
        env=os.environ | {"CFLAGS": "-g", "ROIALIGN_BUILD": KERNELS},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise BuildError(f"{folder.name} does not build:\n{done.stderr[-4000:]}")
