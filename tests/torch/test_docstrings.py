"""The examples in the docstrings of `roialign_cy.torch`, which Sphinx is built without."""

import doctest
import importlib

import pytest

pytestmark = pytest.mark.peers
pytest.importorskip("torch", reason="needs the extra 'peers'")
pytest.importorskip("torchvision", reason="needs the extra 'peers'")


@pytest.mark.parametrize(
    "name", ["_functional", "_masks", "_multiscale", "_onnx", "_patch", "_pooling"]
)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"roialign_cy.torch.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
