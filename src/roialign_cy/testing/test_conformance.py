"""What other projects' own tests expect of their RoI Align."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roialign_cy as ra

from ..typing import Layout
from . import goldens
from .calls import Cell


def cases(operation: str) -> list[Any]:
    """Cases that have numbers for the operation, with their fields of the table."""
    found = []
    for case in goldens.conformance():
        if operation == "roi_align" or case.grad_output is not None:
            convention, mode = case.options["convention"], case.options["mode"]
            if mode == "max":
                mode = ra.CONVENTIONS[convention].max_rule
            cell = Cell(convention, mode, "float32", operation)
            found.append(pytest.param(cell, case, id=case.id))
    return found


def laid(layout: Layout, *arrays: Any) -> Any:
    """Arrays in that layout, contiguous."""
    if layout == "NCHW":
        return arrays
    return tuple(np.ascontiguousarray(np.moveaxis(array, 1, -1)) for array in arrays)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("cell", "case"), cases("roi_align"))
def test_output_is_what_the_project_expects(
    cell: Cell, case: goldens.Case, layout: Layout, backend: str
) -> None:
    features, expected = laid(layout, case.features, case.expected)
    output = ra.roi_align(features, case.rois, layout=layout, backend=backend, **case.options)
    assert output.dtype == features.dtype
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=0, atol=case.atol)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("cell", "case"), cases("feature_gradient"))
def test_gradient_is_what_the_project_expects(
    cell: Cell, case: goldens.Case, layout: Layout, backend: str
) -> None:
    grads, features, expected = laid(layout, case.grad_output, case.features, case.grad_input)
    options = {key: value for key, value in case.options.items() if key != "output_size"}
    gradient = ra.roi_align_backward(
        grads, case.rois, features.shape, features=features, layout=layout, backend=backend,
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=case.atol)
