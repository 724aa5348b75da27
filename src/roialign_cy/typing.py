"""Types of the arguments of calls, for annotations of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from .conventions import Convention

__all__ = [
    "AngleUnit",
    "Array",
    "Border",
    "Boxes",
    "ConventionName",
    "Coordinates",
    "CropMethod",
    "CropOptions",
    "CropWrt",
    "Layout",
    "LevelOptions",
    "LevelRuleName",
    "MaskFormat",
    "MaxRule",
    "Mode",
    "Options",
    "PasteConvention",
    "RotatedOptions",
    "RunOptions",
    "Sampling",
    "Shape",
    "Wrt",
]

ConventionName = Literal[
    "document", "torchvision", "detectron2", "mmcv", "onnx", "onnx-10", "roi_pool", "prroi"
]
Sampling = Literal["centered", "interior", "cells", "integral", "corners", "nearest"]
Border = Literal["clamp", "zero"]
AngleUnit = Literal["degrees", "radians"]
Mode = Literal["avg", "max", "max_weighted"]
MaxRule = Literal["max", "max_weighted"]
Layout = Literal["NCHW", "NHWC"]
Wrt = Literal["features", "rois"]
CropMethod = Literal["bilinear", "nearest"]
CropWrt = Literal["images", "boxes"]
LevelRuleName = Literal["torchvision", "detectron2", "mmdet"]
Coordinates = Literal["document", "array"]
PasteConvention = Literal["detectron2", "torchvision"]
MaskFormat = Literal["dense", "crops", "rle"]

Boxes = ArrayLike | Sequence[ArrayLike]
"""Of all images, with the index of its image in each row; or those of each image."""


Shape = tuple[Any, ...]
"""Of integers, of which NumPy's stubs do not know that ``array.shape`` is one."""


class Array(Protocol):
    """An array of NumPy's, or of another library that some backend takes."""

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""

    @property
    def dtype(self) -> Any:
        """Type of the elements."""


class RunOptions(TypedDict, total=False):
    """Options of `roi_align` that change no value."""

    layout: Layout
    backend: str | None
    num_threads: int | None


class Options(RunOptions, total=False):
    """Options that `roi_align`, its gradient and the calls on several maps have in common."""

    convention: ConventionName | Convention
    sampling_ratio: int | tuple[int, int] | None
    mode: Mode | None


class RotatedOptions(Options, total=False):
    """Options of `roi_align_rotated` and its gradient."""

    clockwise: bool


class CropOptions(RunOptions, total=False):
    """Options of `crop_and_resize` and its gradient."""

    method: CropMethod


class LevelOptions(Options, total=False):
    """Options of `multiscale_roi_align` and its gradient."""

    levels: ArrayLike | None
    level_rule: LevelRuleName
    canonical_size: float
    canonical_level: float
