"""What must hold for every call, as functions that raise an AssertionError if it does not.

A plugin's own tests may call them on any `Call`; this library's tests do so on calls drawn by
hypothesis. ``backend`` is a name, as everywhere.

Examples
--------
>>> from roialign_cy.testing import calls, checks
>>> cell = calls.Cell("detectron2", "avg", "float32")
>>> for call in calls.random_calls(cell, own_count=False):
...     checks.output_agrees(call, "cpu")
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..typing import Wrt
from .calls import Call, compute_together, on_two_maps

# Relative to the largest cell: the working type's precision over a few terms. Two-byte results are
# rounded once, of which two that are close to a tie can come out an ulp apart.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
# Relative to the sum of the absolute values that are added.
GRADIENT_TOLERANCE = {
    "float64": 1e-12,
    "float32": 4e-6,
    "float16": 2.0**-10 + 4e-6,
    "bfloat16": 2.0**-7 + 4e-6,
}
BOX_GRADIENT_TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-6, "bfloat16": 2e-6}


def output_agrees(call: Call, backend: str, output: Any = None) -> None:
    """The output, unless it is given, is that of the reference, of the right shape and dtype."""
    if output is None:
        output = call.pool(backend)
    assert output.shape == (len(call.rois), call.shape[1], *call.output_size)
    assert output.dtype.name == call.result_dtype
    _assert_close(output, _plain(call).pool("reference"), call)


def feature_gradient_agrees(call: Call, backend: str, gradient: Any = None) -> None:
    """The gradient with respect to the features is that of the reference."""
    if gradient is None:
        gradient = call.gradient(backend, "features")
    expected = _plain(call).gradient("reference", "features").astype(np.float64)
    assert gradient.shape == call.shape
    assert gradient.dtype.name == call.result_dtype
    # At most, all gradients of the output end up in one cell.
    most = np.abs(expected).max(initial=1.0)
    atol = 4 * most * GRADIENT_TOLERANCE[call.result_dtype]
    np.testing.assert_allclose(gradient.astype(np.float64), expected, rtol=0, atol=atol)


def box_gradient_agrees(call: Call, backend: str, gradient: Any = None) -> None:
    """The gradient with respect to the boxes is that of the reference."""
    if gradient is None:
        gradient = call.gradient(backend, "rois")
    expected = _plain(call).gradient("reference", "rois")
    assert gradient.shape == (len(call.rois), 4)
    assert gradient.dtype == expected.dtype
    rows, cols = call.output_size
    tolerance = BOX_GRADIENT_TOLERANCE[call.result_dtype]
    if expected.dtype != np.float64:
        tolerance += float(np.finfo(expected.dtype).eps)
    atol = call.range * call.spatial_scale * call.shape[1] * rows * cols * tolerance
    # In float64: the tolerance itself may lie beyond float16.
    wide = np.float64
    np.testing.assert_allclose(
        gradient.astype(wide), expected.astype(wide), rtol=2 * tolerance, atol=atol
    )


AGREES = {
    "roi_align": output_agrees,
    "feature_gradient": feature_gradient_agrees,
    "box_gradient": box_gradient_agrees,
}
"""The check of each operation.

:meta hide-value:
"""


def several_maps_agree(call: Call, backend: str, operation: str) -> None:
    """Each map of a call of two gives what the reference gives of it alone."""
    parts = on_two_maps(call)
    for part, result in zip(parts, compute_together(parts, operation, backend), strict=True):
        AGREES[operation](part, backend, result)


def mean_is_linear(call: Call, backend: str, factor: float, other: int) -> None:
    """The mean of ``factor * first + second`` is the sum of theirs; ``other`` seeds the second."""
    call = replace(call, dtype="float64")
    first, second = call.features, replace(call, seed=other).features
    both = call.pool(backend, factor * first + second)
    apart = factor * call.pool(backend, first) + call.pool(backend, second)
    _assert_close(both, apart, call, slack=4)


def constant_map_gives_its_constant(call: Call, backend: str, value: float) -> None:
    """A constant map gives its constant, in a call whose samples all lie on the map."""
    features = np.full(call.shape, value, call.dtype)
    _assert_close(call.pool(backend, features), value, replace(call, range=1.0))


def map_and_boxes_may_be_shifted(call: Call, backend: str, left: int, above: int) -> None:
    """Cells of NaN added before and after the map change nothing if none of them is read."""
    surrounded = np.pad(
        call.features, [(0, 0), (0, 0), (above, 2), (left, 3)], constant_values=np.nan
    )
    shifted = call.rois + np.array([0, left, above, left, above])
    _assert_close(call.pool(backend, surrounded, shifted), call.pool(backend), call)


def maximum_is_no_less_than_the_mean(call: Call, backend: str) -> None:
    """The maximum is no less than the mean over the same samples."""
    mean, largest = (replace(call, mode=mode) for mode in ("avg", "max"))
    gap = largest.pool(backend) - mean.pool(backend).astype(np.float64)
    assert (gap >= -call.range * TOLERANCE[call.dtype] * 2).all()


def feature_gradient_is_the_adjoint(call: Call, backend: str) -> None:
    """Of the mean, in float64: ``<grad_output, output>`` is ``<gradient, features>``."""
    call = replace(call, dtype="float64")
    forward = (call.grad_output * call.pool(backend)).sum()
    backward = (call.gradient(backend, "features") * call.features).sum()
    most = np.abs(call.features).sum() * np.abs(call.grad_output).max(initial=0)
    np.testing.assert_allclose(backward, forward, rtol=0, atol=1e-12 * (most + 1))


def gradient_is_the_slope(call: Call, backend: str, wrt: Wrt) -> None:
    """In float64, the gradient is what central differences of the forward pass give."""
    gradient = call.gradient(backend, wrt)
    features, boxes = call.features, np.asarray(call.rois)[:, 1:]

    def loss(features: Any, boxes: Any) -> Any:
        rois = np.column_stack([np.asarray(call.rois)[:, 0], boxes])
        return (call.grad_output * call.pool(backend, features, rois)).sum()

    if wrt == "features":
        numeric = _numeric_gradient(lambda f: loss(f, boxes), features)
    else:
        numeric = _numeric_gradient(lambda b: loss(features, b), boxes)
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-8)


def _plain(call: Call) -> Call:
    """The same numbers in plain memory."""
    return replace(call, place=np.asarray)


def _numeric_gradient(function: Any, at: Any, step: float = 1e-6) -> Any:
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        high, low = at.copy(), at.copy()
        high[index] += step
        low[index] -= step
        gradient[index] = (function(high) - function(low)) / (2 * step)
    return gradient


def _assert_close(output: Any, expected: Any, call: Call, slack: float = 1) -> None:
    atol = slack * call.range * TOLERANCE[call.result_dtype]
    values, right = (np.asarray(one).astype(np.float64) for one in (output, expected))
    np.testing.assert_allclose(values, right, rtol=0, atol=atol)
