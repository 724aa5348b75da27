"""Versions of the library side by side: what their calls count, and take."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import truediv
from pathlib import Path

from . import callgrind
from .callgrind.counting import plain_environment

ROOT = Path(__file__).parents[1]
"""The folder that ``benchmarks`` is imported from."""

VARIANT = "v3" if platform.machine().lower() in {"x86_64", "amd64"} else "base"
"""The CPU variant that is measured unless another is named: the best one that valgrind knows."""


def count(
    cases: Iterable[str], source: Path | None = None, variant: str = VARIANT
) -> callgrind.Counts:
    """Count instructions of the cases in a version, by the folder that it is imported from.

    Without a folder it is the version that this Python imports anyway.
    """
    return callgrind.count(cases, "benchmarks.cases:counted", environment(source, variant))


def environment(source: Path | None, variant: str = VARIANT) -> dict[str, str]:
    """Environment of a process that imports that version, and these benchmarks."""
    folders = [str(source or _installed()), str(ROOT)]
    return plain_environment() | {
        "PYTHONPATH": os.pathsep.join(folders),
        "ROIALIGN_CPU": variant,
    }


def _installed() -> Path:
    found = importlib.util.find_spec("roialign_cy")
    if found is None or found.origin is None:
        raise RuntimeError("roialign_cy is not installed")
    return Path(found.origin).parents[1]


@dataclass(frozen=True, slots=True)
class Ratios:
    """Times of one version over another's.

    Attributes
    ----------
    seconds : float
        Median time of a call of the version.
    ratios : tuple of float
        Its time over the other's, of samples next to each other.
    """

    seconds: float
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median ratio: above 1 the version is slower than the other."""
        return statistics.median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return low, high


def compare_in_turn(
    sources: Mapping[str, Path],
    cases: Iterable[str],
    rounds: int,
    home: str,
    backends: Iterable[str] = (),
    variant: str = VARIANT,
    is_busy: bool = False,
) -> tuple[dict[str, dict[str, Ratios]], dict[str, dict[str, str]]]:
    """Time the first of several versions beside the others, and beside backends.

    Parameters
    ----------
    sources : mapping of str to Path
        Name of a version -> the folder that it is imported from.
    home : str
        The version that makes the arrays, and knows the backends: it has all cases that are timed.
    backends : iterable of str
        Others to time, the peers among them.
    is_busy : bool
        Time workloads instead of cases: means, beside busy processes, by the clock on the wall.

    Returns
    -------
    ratios : dict
        Name of a case -> name of another -> the first one's time over it.
    lacking : dict
        Name of a case -> who has none of it, and why.
    """
    first = next(iter(sources))
    request = {
        "versions": {name: str(folder) for name, folder in sources.items()},
        "cases": list(cases),
        "rounds": rounds,
        "backends": list(backends),
        "is_busy": is_busy,
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.worker"],
        cwd=ROOT,
        env=environment(sources[home], variant),
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"timing ended with {done.returncode}:\n{done.stderr[-4000:]}")
    ratios, lacking = {}, {}
    for case, (seconds, reasons) in json.loads(done.stdout).items():
        lacking[case] = reasons
        mine = seconds.pop(first, None)
        if mine is not None:
            ratios[case] = {
                name: Ratios(statistics.median(mine), tuple(map(truediv, mine, theirs)))
                for name, theirs in seconds.items()
            }
    return ratios, lacking
