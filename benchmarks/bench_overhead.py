"""What a call costs whatever it computes, and what the import does."""

from __future__ import annotations

from typing import Any

import numpy as np

import roialign_cy as ra
from roialign_cy.bench import suite_calls

Inputs = dict[str, tuple[np.ndarray, np.ndarray, dict[str, Any]]]


class Overhead:
    """One box on a small map, on the default backend: nearly all of it is Python.

    The arrays come from ``setup_cache``, not from ``setup``, after which asv would time a single
    call at a time: too short for a clock.
    """

    params = (suite_calls.SMALL,)
    param_names = ("workload",)

    def setup_cache(self) -> Inputs:
        """Draw the arrays. The document's call names nothing that has a default."""
        inputs = {}
        for name in suite_calls.SMALL:
            workload = suite_calls.WORKLOADS[name]
            options = workload.options(workload.modes[0], num_threads=1)
            if workload.convention == "document":
                options = {name: options[name] for name in ("output_size", "spatial_scale")}
            inputs[name] = workload.features(), workload.rois(), options
        return inputs

    def time_call(self, inputs: Inputs, workload: str) -> Any:
        """Time of one call."""
        features, rois, options = inputs[workload]
        return ra.roi_align(features, rois, **options)


def timeraw_import() -> str:
    """Time of ``import roialign_cy`` in a new process, NumPy's included."""
    return "import roialign_cy"


def timeraw_import_numpy() -> str:
    """Time of ``import numpy`` in a new process: the other's least part."""
    return "import numpy"
