"""How much other work has disturbed this process."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

try:
    import resource
except ImportError:  # Windows does not say
    resource = None  # type: ignore[assignment]

_THREADS = Path("/proc/self/task")


class Disturbance(NamedTuple):
    """Counts since the process began; the difference of two is what happened in between.

    Attributes
    ----------
    switches : int
        How often a thread was pre-empted.
    waited_s : float
        How long threads that could run had no core, in seconds; NaN where the system does not say.
    """

    switches: int
    waited_s: float


def so_far() -> Disturbance:
    """Read the counts of all threads of this process."""
    if resource is None:
        return Disturbance(0, math.nan)
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    try:
        waited_ns = sum(_waited_ns(thread) for thread in os.listdir(_THREADS))
    except OSError:  # not Linux, or built without these statistics
        return Disturbance(switches, math.nan)
    return Disturbance(switches, waited_ns * 1e-9)


def _waited_ns(thread: str) -> int:
    # Time on a core, time waiting for one, number of turns.
    return int((_THREADS / thread / "schedstat").read_bytes().split()[1])
