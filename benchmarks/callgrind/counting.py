"""Runs calls under valgrind and gives what was counted."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import profile
from .profile import Origin

_HERE = Path(__file__).parent


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


def count(names: Iterable[str], make: str, environment: Mapping[str, str]) -> Counts:
    """Count one warm call of each name, on one thread.

    Parameters
    ----------
    names : iterable of str
        What to count.
    make : str
        The function, as ``module:function``, that gives for a name a call without arguments. It,
        or the call, raises AttributeError or NotImplementedError if the name cannot be counted.
    environment : mapping
        Environment variables of the process besides the few that it keeps; ``PYTHONPATH`` leads to
        the module.

    Raises
    ------
    RuntimeError
        If counting fails; the text has what the program said.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise RuntimeError(f"instructions cannot be counted: {reason}")
    names = tuple(names)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "requests.so")
        _run(["cc", "-O2", "-shared", "-fPIC", str(_HERE / "requests.c"), "-o", str(library)])
        # Addresses decide how hash tables of objects collide: they are kept from varying.
        said = _run(
            [
                *("setarch", platform.machine(), "--addr-no-randomize"),
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--error-exitcode=0"),
                f"--callgrind-out-file={folder}/profile",
                *(sys.executable, "-P", str(_HERE / "counted.py"), str(library), make, *names),
            ],
            plain_environment() | dict(environment),
        )
        dumps = dict(profile.read(path) for path in Path(folder).glob("profile.*"))
    absent = dict(line.split(": ", 1) for line in said.splitlines())
    instructions = {name: dumps[name] for name in names if name in dumps}
    lost = set(names) - instructions.keys() - absent.keys()
    if lost:
        raise RuntimeError(f"valgrind left no counts of {', '.join(sorted(lost))}")
    return Counts(instructions, absent)


def plain_environment() -> dict[str, str]:
    """As little as possible, so that what else is set there cannot move anything."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ
    }
    return kept | {
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
