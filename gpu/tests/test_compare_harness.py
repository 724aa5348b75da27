"""The compare harness on a device: arrays there from the start, and a clock that waits."""

import numpy as np
import roialign_cy as ra
from roialign_cy.bench import contenders
from roialign_cy.bench.compare.run import compare
from roialign_cy.bench.workloads import WORKLOADS

from host.plugin import MACHINE

WORKLOAD = WORKLOADS["small-call"].tiny()


def test_timed_call_copies_nothing_and_waits_for_the_device():
    spec, _ = contenders.specify("gpu", WORKLOAD, "avg", 1)
    options = WORKLOAD.options("avg", 1)
    features, rois = WORKLOAD.features(), WORKLOAD.rois()
    call = contenders.prepare("gpu", features, rois, spec, options)
    call.enter()
    copies, synchronisations = MACHINE.copies, MACHINE.synchronisations
    output = call.run()
    assert (MACHINE.copies, MACHINE.synchronisations) == (copies, synchronisations + 1)
    assert not isinstance(output, np.ndarray)
    expected = ra.roi_align(features, rois, **options)
    np.testing.assert_allclose(call.to_numpy(output), expected, rtol=0, atol=1e-6)


def test_device_takes_part_beside_the_cpu():
    class NoBandwidth:
        best = {1: 1e9}  # noqa: RUF012

        def sample(self):
            pass

    assert "gpu" in contenders.choose(None)
    comparison = compare(
        [WORKLOAD], ("cpu", "gpu"), (1,), ("avg", "max"), 1, NoBandwidth(), say=lambda text: None
    )
    assert comparison.absences == []
    assert [one.backend for one in comparison.measurements] == ["cpu", "gpu"] * 2
