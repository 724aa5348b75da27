"""The way through torch takes part in the compare harness."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._spec import make_spec
from roialign_cy.backends import kit
from tests.allowed import allowed

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from roialign_cy.bench.peers.roialign_torch import BACKEND  # noqa: E402


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
    choices = allowed({"convention": convention, "sampling_ratio": (2, 0), "mode": mode})
    spec = make_spec((3, 2), spatial_scale=0.5, layout=layout, num_threads=1, **choices)
    assert BACKEND.cannot_run(spec, "roi_align") is None
    result = BACKEND.prepare(features, rois, spec).result()
    expected = ra.roi_align(
        features, rois, (3, 2), spatial_scale=0.5, layout=layout, backend="reference", **choices
    )  # fmt: skip
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_its_gradient_agrees_with_the_reference(layout):
    features, rois = inputs(layout)
    spec = make_spec((3, 2), "detectron2", 0.5, 2, "avg", layout, 1)
    grad = np.random.default_rng(8).random((6, 3, 3, 2) if layout == "NCHW" else (6, 3, 2, 3))
    shapes = ((2, 3, 12, 17),)
    (result,) = BACKEND.feature_gradient(
        kit.as_nchw(grad, spec), rois, None, shapes, spec, None, None
    )
    expected = ra.roi_align_backward(
        grad, rois, features.shape, convention="detectron2", spatial_scale=0.5, sampling_ratio=2,
        layout=layout, backend="reference",
    )  # fmt: skip
    np.testing.assert_allclose(kit.as_given(result, spec), expected, rtol=0, atol=1e-12)
