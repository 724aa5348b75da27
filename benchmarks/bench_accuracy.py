"""Largest error against the reference in float64, on features in [0, 1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import roialign_cy as ra

from . import library_calls, suite
from .compare import agreement
from .workloads import Workload

REFERENCE_CHANNELS = 4
REFERENCE_BOXES = 16


class Accuracy:
    """Error of the forward pass: ours and, for comparison, the peers'."""

    params = (suite.BACKENDS, suite.MODES, suite.FORWARD)
    param_names = ("backend", "mode", "workload")
    unit = "largest error"
    timeout = 300

    def setup(self, backend: str, mode: str, workload: str) -> None:
        """Draw the arrays, convert them and warm up."""
        self.call = suite.forward(backend, "1", mode, workload)

    def track_error(self, backend: str, mode: str, workload: str) -> float:
        """Largest error on a sample of boxes and channels."""
        one = suite.WORKLOADS[workload]
        features, rois = one.features(), one.rois()
        sample = replace(agreement.expect(features, rois, one, mode), whole=None)
        return sample.error_of(self.call.result(), one.layout)


class GradientAccuracy:
    """Error of the gradients, on workloads cut down to what the reference can do."""

    params = (suite.OURS, suite.MODES, suite.GRADIENTS, suite.BACKWARD)
    param_names = ("backend", "mode", "wrt", "workload")
    unit = "largest error"
    timeout = 300

    def setup(self, backend: str, mode: str, wrt: str, workload: str) -> None:
        """Skip what cannot be run."""
        suite.backward(backend, "1", mode, wrt, "small-call")

    def track_error(self, backend: str, mode: str, wrt: str, workload: str) -> float:
        """Largest error, as a fraction of the largest gradient."""
        one = _cut_down(suite.WORKLOADS[workload])
        result = library_calls.backward(one, mode, wrt, 1, backend).result()
        expected = exact_gradient(one, mode, wrt)
        return agreement.largest_difference(result, expected) / float(np.abs(expected).max())


def exact_gradient(workload: Workload, mode: str, wrt: str) -> np.ndarray:
    """Ask the reference, in float64, for the gradient of the very same numbers."""
    options = workload.options(mode, 1)
    del options["output_size"]
    return ra.roi_align_backward(
        library_calls.grad_output(workload).astype(np.float64),
        workload.rois(),
        workload.shape,
        features=workload.features().astype(np.float64),
        wrt=wrt,
        backend="reference",
        **options,
    )


def _cut_down(workload: Workload) -> Workload:
    count = min(workload.boxes.count, REFERENCE_BOXES)
    return replace(
        workload,
        channels=min(workload.channels, REFERENCE_CHANNELS),
        boxes=replace(workload.boxes, count=count),
    )
