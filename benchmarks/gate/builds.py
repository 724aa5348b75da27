"""Builds versions of the library side by side, for the gate alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..callgrind import VARIANT
from . import git

KERNELS = f"{VARIANT}:float32"
"""All that is built, where a version's ``setup.py`` knows how to build less than everything."""


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
    done = subprocess.run(
        [sys.executable, "setup.py", *command],
        cwd=folder,
        env=os.environ | {"CFLAGS": "-g", "ROIALIGN_BUILD": KERNELS},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise BuildError(f"{folder.name} does not build:\n{done.stderr[-4000:]}")
