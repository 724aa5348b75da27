"""Our operator as ONNX's: what the exporters have to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import _operators

_TRANSFORMATIONS = {(0.5, None): "half_pixel", (0.0, 1.0): "output_half_pixel"}
"""Pixel offset and smallest box to ONNX's name of them."""

_INT64 = 7  # ONNX's number of the type


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Say how to export `roi_align` as ONNX's ``RoiAlign``.

    Returns
    -------
    dict
        For ``torch.onnx.export(..., custom_translation_table=)``. The older exporter
        (``dynamo=False``) takes no table; this call registers the translation for it.

    Raises
    ------
    ImportError
        If onnxscript is not installed.

    Notes
    -----
    ONNX has the conventions "torchvision", "detectron2", "mmcv", "onnx" and "onnx-10", the modes
    "avg" and "max_weighted", and one sampling ratio for both axes. Exporting anything else
    is an error that names the option. Boxes are converted to the dtype of the maps, as ONNX
    requires; its backends compute adaptive counts in that, too.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import RoIAlign, onnx_translations
    >>> pool = RoIAlign(7, spatial_scale=1 / 16, sampling_ratio=2, aligned=True)
    >>> boxes = torch.tensor([[0.0, 8.0, 8.0, 400.0, 300.0]])
    >>> exported = torch.onnx.export(
    ...     pool.eval(), (torch.zeros(1, 8, 50, 76), boxes), opset_version=18,
    ...     custom_translation_table=onnx_translations(), verbose=False,
    ... )
    >>> "RoiAlign" in {node.op_type for node in exported.model.graph}
    True
    """
    from torch.onnx import register_custom_op_symbolic
    from torch.onnx.symbolic_helper import parse_args

    parsed = parse_args("v", "v", "is", "f", "is", "s", "f", "f", "s", "s", "s")(_symbolic)
    register_custom_op_symbolic("roialign_cy::roi_align", parsed, 16)
    try:
        from onnxscript import opset18
    except ImportError as error:
        raise ImportError(
            f"exporting needs onnxscript ({error}); pip install onnxscript"
        ) from error

    op: Any = opset18  # whose types want to know those of graphs

    def translate(input: Any, rois: Any, output_size: Sequence[int], *options: Any) -> Any:
        boxes = op.Slice(
            rois,
            op.Constant(value_ints=[1]),
            op.Constant(value_ints=[5]),
            op.Constant(value_ints=[1]),
        )
        images = op.Gather(rois, op.Constant(value_int=0), axis=1)
        return op.RoiAlign(
            input,
            op.CastLike(boxes, input),
            op.Cast(images, to=_INT64),
            **_attributes(output_size, *options),
        )

    return {_operators.roi_align: translate}


def _symbolic(
    g: Any,
    input: Any,
    rois: Any,
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: Sequence[int],
    mode: str,
    pixel_offset: float,
    min_size: float | None,
    sampling: str,
    max_rule: str,
    border: str,
) -> Any:
    """Translate it for TorchScript's exporter, which goes by the names of parameters."""
    attributes = _attributes(
        output_size,
        spatial_scale,
        sampling_ratio,
        mode,
        pixel_offset,
        min_size,
        sampling,
        max_rule,
        border,
    )
    first, one, end = (g.op("Constant", value_t=torch.tensor(value)) for value in (0, [1], [5]))
    boxes = g.op("CastLike", g.op("Slice", rois, one, end, one), input)
    images = g.op("Cast", g.op("Gather", rois, first, axis_i=1), to_i=_INT64)
    kinds = {str: "s", int: "i", float: "f"}
    named = {f"{name}_{kinds[type(value)]}": value for name, value in attributes.items()}
    return g.op("RoiAlign", input, boxes, images, **named)


def _attributes(
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: Sequence[int],
    mode: str,
    pixel_offset: float,
    min_size: float | None,
    sampling: str,
    max_rule: str,
    border: str,
) -> dict[str, Any]:
    """Attributes of ONNX's operator; ValueError for what it cannot express."""
    min_size = None if min_size is None else float(min_size)
    transformation = _TRANSFORMATIONS.get((float(pixel_offset), min_size))
    unsayable = {
        f"sampling {sampling!r}": sampling != "centered",
        f"mode {mode!r}: its maximum is 'max_weighted'": mode == max_rule == "max",
        f"a sampling_ratio that differs by axis, {tuple(sampling_ratio)}": (
            sampling_ratio[0] != sampling_ratio[1]
        ),
        f"border {border!r}": border != "clamp",
        f"pixel_offset {pixel_offset} with min_size {min_size}": transformation is None,
    }
    for what, is_asked in unsayable.items():
        if is_asked:
            raise ValueError(f"ONNX's RoiAlign has no {what}")
    rows, cols = output_size
    return {
        "coordinate_transformation_mode": transformation,
        "mode": "avg" if mode == "avg" else "max",
        "output_height": int(rows),
        "output_width": int(cols),
        "sampling_ratio": int(sampling_ratio[0]),
        "spatial_scale": float(spatial_scale),
    }
