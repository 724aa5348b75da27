"""The backends that are installed here, on a part of a job: who agrees, and how fast."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import roialign_cy as ra

from ._errors import reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .job import Job
    from .plan import Step

TOLERANCE = {"float16": 1e-2, "float32": 1e-3, "float64": 1e-9}
"""Largest difference that counts as agreement, as a part of the largest value: some backends take
the positions of samples in the maps' type. Another convention differs by more."""
JUDGED_BOXES, JUDGED_CHANNELS = 4, 2
"""What the reference, which is slow, is asked for."""
JUDGE = "reference"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of one backend.

    Attributes
    ----------
    backend : str
    difference : float
        Largest one from the reference, as a part of the largest value; NaN if there is no result.
    seconds : tuple of float
        Time of each call; empty where the results do not agree.
    refusal : str
        Why there is no result, in one line.
    """

    backend: str
    difference: float = math.nan
    seconds: tuple[float, ...] = ()
    refusal: str = ""

    @property
    def median(self) -> float:
        """Median time of a call in seconds; NaN without one."""
        return statistics.median(self.seconds) if self.seconds else math.nan


def largest_step(job: Job) -> Step:
    """What a job is compared by: the step that computes most."""
    plan = job.plan
    return plan[max(range(len(plan)), key=plan.cost)]


def compare(job: Job, step: Step, rounds: int) -> list[Comparison]:
    """Pool a step of a job on every backend but the reference, which judges.

    They take turns, so that what disturbs one disturbs all; of those that agree, the time counts.
    """
    features, rois = job.arrays(step)
    judged = np.flatnonzero(rois[:, 0] == 0)
    judged = judged[np.linspace(0, len(judged) - 1, JUDGED_BOXES).astype(np.intp)]
    channels = (slice(None),) * (3 if job.spec.layout == "NHWC" else 1) + (slice(JUDGED_CHANNELS),)
    expected = _call(replace(job, backend=JUDGE), features[:1][channels], rois[judged])
    scale = float(np.abs(expected).max()) or 1.0
    tolerance = TOLERANCE[job.dtype.name]

    found = []
    for name in ra.backends.names():
        if name == JUDGE:
            continue
        try:
            result = _call(replace(job, backend=name), features, rois)
        except Exception as error:  # a plugin's fault must not hide what the others do
            found.append(Comparison(name, refusal=reason(error)))
            continue
        difference = float(np.abs(result[judged][channels] - expected).max()) / scale
        found.append(Comparison(name, difference))
    calls = {
        one.backend: replace(job, backend=one.backend)
        for one in found
        if one.difference <= tolerance
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call.call(features, rois)
            seconds[name].append(time.perf_counter() - begin)
    return [replace(one, seconds=tuple(seconds.get(one.backend, ()))) for one in found]


def _call(job: Job, features: NDArray[Any], rois: NDArray[Any]) -> NDArray[Any]:
    return job.call(features, rois).astype(np.float64)
