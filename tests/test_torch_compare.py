"""The way through torch takes part in the compare harness."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._spec import make_spec
from roialign_cy.backends.reference import ReferenceBackend
from roialign_cy.conventions import MODE_OF_SAMPLING

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from benchmarks.peers.roialign_torch import BACKEND  # noqa: E402


def inputs(layout):
    rng = np.random.default_rng(7)
    features = rng.random((2, 3, 12, 17) if layout == "NCHW" else (2, 12, 17, 3))
    corner = rng.uniform(-2, 12, (6, 2))
    rois = np.hstack([[[0], [1]] * 3, corner, corner + rng.uniform(1, 20, (6, 2))])
    return features, rois


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("convention", ra.CONVENTIONS)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_it_runs_every_call_and_agrees_with_the_reference(mode, convention, layout):
    features, rois = inputs(layout)
    has_samples = ra.CONVENTIONS[convention].sampling not in MODE_OF_SAMPLING
    choices = ((2, 0), mode) if has_samples else (None, None)
    spec = make_spec((3, 2), convention, 0.5, *choices, layout, 1)
    assert BACKEND.cannot_run(spec) is None
    result = BACKEND.prepare(features, rois, spec).result()
    expected = ReferenceBackend().roi_align(features, rois, spec, None)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


def test_its_gradient_agrees_with_the_reference():
    features, rois = inputs("NCHW")
    spec = make_spec((3, 2), "detectron2", 0.5, 2, "avg", "NCHW", 1)
    grad = np.random.default_rng(8).random((6, 3, 3, 2))
    options = {"features": None, "wrt": ("features",), "out": None}
    (result,) = BACKEND.roi_align_backward(grad, rois, features.shape, spec, **options)
    (expected,) = ReferenceBackend().roi_align_backward(grad, rois, features.shape, spec, **options)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)
