"""The installed backends, on a part of a job: which agree, and how fast they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import roialign_cy as ra

from ..bench import timing
from ..bench.calls import PreparedCall
from ._errors import reason

if TYPE_CHECKING:
    from .job import Job
    from .plan import Step

TOLERANCE = {"float16": 1e-2, "float32": 1e-3, "float64": 1e-9}
"""Largest difference that counts as agreement, as a part of the largest value: some backends take
the positions of samples in the maps' type. Another convention differs by more."""
JUDGED_BOXES, JUDGED_CHANNELS, JUDGED_POINTS = 4, 2, 20_000
"""Most that the reference, at some microseconds a point, is asked for; but always one box."""
JUDGE = "reference"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one backend.

    Attributes
    ----------
    backend : str
    difference : float
        Largest difference from the reference, relative to the largest value; NaN without a result.
    samples : Samples or None
        What was measured; None where the results do not agree.
    refusal : str
        Why there is no result, in one line.
    """

    backend: str
    difference: float = math.nan
    samples: timing.Samples | None = None
    refusal: str = ""


def largest_step(job: Job) -> Step:
    """The step used for comparing: the one that computes most."""
    plan = job.plan
    return plan[max(range(len(plan)), key=plan.cost)]


def compare(job: Job, step: Step, rounds: int) -> list[Comparison]:
    """Pool a step of a job on every backend but the reference, which checks them.

    They take turns, so that a disturbance affects all; only those that agree are timed.
    """
    features, rois = job.arrays(step)
    spec = job.spec
    points = math.prod(spec.output_size) * math.prod(max(ratio, 1) for ratio in spec.sampling_ratio)
    boxes = min(max(JUDGED_POINTS // points, 1), JUDGED_BOXES)
    first = np.flatnonzero(rois[:, 0] == 0)  # of one image: the reference copies what it is given
    judged = first[np.linspace(0, len(first) - 1, boxes).astype(np.intp)]
    channels = (slice(None),) * (3 if spec.channels_last else 1) + (slice(JUDGED_CHANNELS),)
    expected = job.call(features[:1][channels], rois[judged], step.file, JUDGE).astype(np.float64)
    scale = float(np.abs(expected).max()) or 1.0

    found = []
    for name in ra.backends.names():
        if name == JUDGE:
            continue
        try:
            result = job.call(features, rois, step.file, name)[judged][channels]
        except Exception as error:  # a fault in one plugin must not hide the others' results
            found.append(Comparison(name, refusal=reason(error)))
        else:
            difference = np.abs(result.astype(np.float64) - expected)
            difference[np.isnan(result) & np.isnan(expected)] = 0
            found.append(Comparison(name, float(difference.max()) / scale))
    agreeing = [one.backend for one in found if one.difference <= TOLERANCE[job.dtype.name]]
    calls = {
        name: PreparedCall(partial(job.call, features, rois, step.file, name)) for name in agreeing
    }
    samples = timing.measure(calls, rounds)
    return [replace(one, samples=samples.get(one.backend)) for one in found]
