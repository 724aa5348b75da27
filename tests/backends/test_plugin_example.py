"""The backend that the documentation shows: what it refuses, and how it is found."""

import importlib.util
import tomllib
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy.backends import _registry

FOLDER = Path(__file__).parents[2] / "docs" / "plugin"


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setattr(_registry, "_registered", {})
    spec = importlib.util.spec_from_file_location(
        "roialign_factors", FOLDER / "roialign_factors.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ra.backends.register(module.FactorsBackend())
    return module


def test_refuses_what_it_cannot(plugin):
    features = np.ones((1, 1, 4, 4))
    call = {"rois": [[0, 0, 0, 2, 2]], "output_size": 2, "backend": "factors"}
    with pytest.raises(ra.BackendUnavailableError, match="it only has the mean"):
        ra.roi_align(features, **call)
    for change in ({"convention": "roi_pool"}, {"convention": ra.Convention(border="zero")}):
        with pytest.raises(ra.BackendUnavailableError, match="it only reads points"):
            ra.roi_align(features, **call, **change)
    with pytest.raises(ra.BackendUnavailableError, match="no gradient with respect to the boxes"):
        ra.roi_align_backward(
            np.ones((1, 1, 2, 2)), [[0, 0, 0, 2, 2]], features.shape, features=features,
            wrt="rois", backend="factors",
        )  # fmt: skip


def test_entry_point_names_the_backend(plugin):
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    entry_points = project["entry-points"][_registry.ENTRY_POINT_GROUP]
    assert entry_points == {plugin.FactorsBackend.name: "roialign_factors:FactorsBackend"}
