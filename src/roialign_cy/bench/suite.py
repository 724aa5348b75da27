"""Benchmarks for asv: a repository that imports them into its ``benchmarks`` folder has them.

``from roialign_cy.bench.suite import Accuracy, Backward, Forward, GradientAccuracy, Relative``; the
environment variable ``ROIALIGN_BENCH_BACKENDS`` says which backends they run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import agreement, library_calls, peers, suite_calls, timing
from .workloads import HEADLINE, WORKLOADS, Workload

if TYPE_CHECKING:
    from ..typing import Mode, Wrt  # other versions do not have it

__all__ = ["Accuracy", "Backward", "Forward", "GradientAccuracy", "Relative"]

ROUNDS = 11
REFERENCE_CHANNELS = 4
REFERENCE_BOXES = 16


class Forward:
    """`roi_align` on every backend, beside the peers."""

    params = (suite_calls.BACKENDS, suite_calls.THREADS, suite_calls.MODES, suite_calls.FORWARD)
    param_names = ("backend", "threads", "mode", "workload")

    def setup(self, backend: str, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite_calls.forward(backend, threads, mode, workload)

    def time_call(self, backend: str, threads: str, mode: str, workload: str) -> Any:
        """Time of one call that allocates its result."""
        return self.call.run()


class Backward:
    """`roi_align_backward` by the features and by the boxes; torchvision has the first."""

    params = (
        suite_calls.BACKENDS,
        suite_calls.THREADS,
        suite_calls.MODES,
        suite_calls.GRADIENTS,
        suite_calls.BACKWARD,
    )
    param_names = ("backend", "threads", "mode", "wrt", "workload")

    def setup(self, backend: str, threads: str, mode: Mode, wrt: Wrt, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite_calls.backward(backend, threads, mode, wrt, workload)

    def time_call(self, backend: str, threads: str, mode: Mode, wrt: Wrt, workload: str) -> Any:
        """Time of one call that allocates its result."""
        return self.call.run()


class Accuracy:
    """Error of the forward pass: ours and, for comparison, the peers'."""

    params = (suite_calls.BACKENDS, suite_calls.MODES, suite_calls.FORWARD)
    param_names = ("backend", "mode", "workload")
    unit = "largest error"
    timeout = 300

    def setup(self, backend: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite_calls.forward(backend, "1", mode, workload)

    def track_error(self, backend: str, mode: str, workload: str) -> float:
        """Largest error on a sample of boxes and channels."""
        one = WORKLOADS[workload]
        features, rois = one.features(), one.rois()
        sample = replace(agreement.expect(features, rois, one, mode), whole=None)
        return sample.error_of(self.call.result(), one.layout)


class GradientAccuracy:
    """Error of the gradients, on workloads cut down to what the reference can do."""

    params = (
        tuple(name for name in suite_calls.BACKENDS if name not in peers.NAMES),
        suite_calls.MODES,
        suite_calls.GRADIENTS,
        suite_calls.BACKWARD,
    )
    param_names = ("backend", "mode", "wrt", "workload")
    unit = "largest error"
    timeout = 300

    def setup(self, backend: str, mode: Mode, wrt: Wrt, workload: str) -> None:
        """Skip what cannot be run."""
        suite_calls.backward(backend, "1", mode, wrt, "small-call")

    def track_error(self, backend: str, mode: Mode, wrt: Wrt, workload: str) -> float:
        """Largest error, as a fraction of the largest gradient."""
        one = _cut_down(WORKLOADS[workload])
        result = library_calls.backward(one, mode, wrt, 1, backend).result()
        expected = exact_gradient(one, mode, wrt)
        return agreement.largest_difference(result, expected) / float(np.abs(expected).max())


def exact_gradient(workload: Workload, mode: Mode, wrt: Wrt) -> NDArray[Any]:
    """Ask the reference, in float64, for the gradient of the very same numbers."""
    options = workload.options(mode, 1)
    del options["output_size"]
    every = np.arange(workload.channels)
    gradient = library_calls.differentiating(workload)(
        library_calls.grad_output(workload).astype(np.float64),
        workload.rois(),
        workload.shapes if workload.coarser else workload.shape,
        features=agreement.some_channels(workload.features(), every, workload),
        wrt=wrt,
        backend="reference",
        **options,
    )
    return library_calls.as_one(gradient)


def _cut_down(workload: Workload) -> Workload:
    count = min(workload.boxes.count, REFERENCE_BOXES)
    return replace(
        workload,
        channels=min(workload.channels, REFERENCE_CHANNELS),
        boxes=replace(workload.boxes, count=count),
    )


class Relative:
    """Our time beside another's, the two measured in turn: steadier than two times are."""

    params = (suite_calls.OTHERS, suite_calls.THREADS, suite_calls.MODES, HEADLINE)
    param_names = ("backend", "threads", "mode", "workload")
    unit = "of the other's time"
    timeout = 300

    def setup(self, backend: str, threads: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.calls = {
            name: suite_calls.forward(name, threads, mode, workload) for name in ("cpu", backend)
        }

    def track_time(self, backend: str, threads: str, mode: str, workload: str) -> float:
        """Median of our time divided by the other's: 0.1 is ten times as fast."""
        samples = timing.measure(self.calls, ROUNDS)
        return samples["cpu"].median / samples[backend].median
