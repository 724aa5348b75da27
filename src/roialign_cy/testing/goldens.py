"""Expected numbers from other sources, as arrays; ``data/README.md`` has the origin.

Examples
--------
>>> import numpy as np
>>> import roialign_cy as ra
>>> from roialign_cy.testing import goldens
>>> case = goldens.conformance()[0]
>>> output = ra.roi_align(case.features, case.rois, **case.options)
>>> bool(np.allclose(output, case.expected, rtol=0, atol=case.atol))
True
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "data"

# The convention under which this library computes what a project's own test expects, by the
# project and its half-pixel switch. ONNX's maximum is that of `max_rule`, MNN's the plain one.
CONVENTIONS = {
    ("onnx", True): "onnx",
    ("onnx", False): "onnx-10",
    ("ort", False): "onnx-10",
    ("detectron2", True): "detectron2",
    ("detectron2", False): "torchvision",
    ("mmcv", True): "mmcv",
    ("MNN", True): "detectron2",
    ("MNN", False): "torchvision",
}

# The sources allow up to 2e-3. All of them print at least four decimals, and no more is needed.
LARGEST_ATOL = 1e-4


@dataclass(frozen=True)
class Case:
    """One conformance case: ``roi_align(features, rois, **options)`` should be ``expected``.

    ``grad_output`` and ``grad_input`` are None where the source has no gradient.
    """

    id: str
    features: Any
    rois: Any
    options: dict[str, Any]
    expected: Any
    atol: float
    grad_output: Any
    grad_input: Any


def document() -> dict[str, Any]:
    """The worked example of the document, see README.md."""
    example: dict[str, Any] = _read("document.json")
    return example


def conformance() -> list[Case]:
    """The cases of other projects' own tests, float32 and NCHW as there."""
    return [_case(facts) for facts in _read("conformance.json")]


def _read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def _case(facts: dict[str, Any]) -> Case:
    rois = np.array(facts["rois"], dtype=np.float32)
    input_shape = tuple(facts["x_shape"])
    output_shape = (len(rois), input_shape[1], *facts["output_size"])
    options = {key: facts[key] for key in ("spatial_scale", "sampling_ratio", "mode")}
    options["output_size"] = tuple(facts["output_size"])
    options["convention"] = CONVENTIONS[facts["id"].partition("/")[0], facts["aligned"]]
    return Case(
        id=facts["id"],
        features=_array(facts["x"], input_shape),
        rois=rois,
        options=options,
        expected=_array(facts["expected"], output_shape),
        atol=min(facts["atol"], LARGEST_ATOL),
        grad_output=_array(facts["grad_out"], output_shape),
        grad_input=_array(facts["grad_in"], input_shape),
    )


def _array(numbers: list[float] | None, shape: tuple[int, ...]) -> Any:
    return None if numbers is None else np.array(numbers, dtype=np.float32).reshape(shape)
