"""Runs calls under valgrind and gives what was counted."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import profile
from .profile import Origin

ROOT = Path(__file__).parents[2]
"""The folder that ``benchmarks`` is imported from."""

VARIANT = "v3" if platform.machine().lower() in {"x86_64", "amd64"} else "base"
"""The CPU variant that is counted unless another is named: the best one that valgrind knows."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes
    ----------
    instructions : dict
        Name of a case -> instructions by origin.
    absent : dict
        Name of a case -> why it could not be run.
    """

    instructions: dict[str, Counter[Origin]]
    absent: dict[str, str]


def unavailable_reason() -> str | None:
    """Say what is missing to count instructions on this machine; None if nothing is."""
    for program in ("valgrind", "setarch", "cc"):
        if shutil.which(program) is None:
            return f"there is no {program} on this machine"
    return None


def count(cases: Iterable[str], source: Path | None = None, variant: str = VARIANT) -> Counts:
    """Count each case once, on one thread.

    Parameters
    ----------
    cases : iterable of str
        Names in `benchmarks.cases.CASES`.
    source : Path or None
        Folder to import the library from; None for what this Python imports anyway.
    variant : str
        The CPU variant.

    Raises
    ------
    RuntimeError
        If counting fails; the text has what the program said.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise RuntimeError(f"instructions cannot be counted: {reason}")
    names = tuple(cases)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "requests.so")
        _run(["cc", "-O2", "-shared", "-fPIC", str(_REQUESTS), "-o", str(library)])
        # Addresses decide how hash tables of objects collide: they are kept from varying.
        said = _run(
            [
                *("setarch", platform.machine(), "--addr-no-randomize"),
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--error-exitcode=0"),
                f"--callgrind-out-file={folder}/profile",
                *(sys.executable, "-m", f"{__package__}.counted", str(library), *names),
            ],
            environment(source, variant),
        )
        dumps = dict(profile.read(path) for path in Path(folder).glob("profile.*"))
    absent = dict(line.split(": ", 1) for line in said.splitlines())
    instructions = {name: dumps[name] for name in names if name in dumps}
    lost = set(names) - instructions.keys() - absent.keys()
    if lost:
        raise RuntimeError(f"valgrind left no counts of {', '.join(sorted(lost))}")
    return Counts(instructions, absent)


_REQUESTS = Path(__file__).with_name("requests.c")


def environment(source: Path | None, variant: str) -> dict[str, str]:
    """As little as possible, so that what else is set there cannot move anything."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ
    }
    folders = [str(source or _installed()), str(ROOT)]
    return kept | {
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "ROIALIGN_CPU": variant,
    }


def _installed() -> Path:
    found = importlib.util.find_spec("roialign_cy")
    if found is None or found.origin is None:
        raise RuntimeError("roialign_cy is not installed")
    return Path(found.origin).parents[1]


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
