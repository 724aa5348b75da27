"""torchvision's MultiScaleRoIAlign: all levels of a pyramid by one operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _arrays, get_num_threads
from .._levels import LevelRule
from .._multiscale import multiscale_roi_align, multiscale_roi_align_backward
from .._spec import make_output_size, make_spec, with_scales
from ..backends import BackendUnavailableError
from ..conventions import int_pair
from ..typing import ConventionName
from . import _functional, _kernels, _operators

_GEOMETRY = (
    "float[] spatial_scales, float canonical_scale, float canonical_level, "
    "SymInt sampling_ratio, bool aligned"
)


class MultiScaleRoIAlign(torch.nn.Module):
    """Pool every box from the map that suits its size, as ``torchvision.ops`` does.

    Parameters
    ----------
    featmap_names : list of str
        Names of the maps to pool from, which come from fine to coarse.
    output_size : int or (int, int)
        Sections per box along (rows, columns).
    sampling_ratio : int
        Samples per section along each axis; 0 or less is ``ceil(extent / sections)``.
    canonical_scale, canonical_level : int, default 224 and 4
        Side of a square box, and the level that it belongs to.
    aligned : bool, default False
        As for `roi_align`; torchvision has no such option.

    Attributes
    ----------
    scales : list of float or None
        Cells per input unit of each map. As in torchvision they are powers of two, found at the
        first call from the heights of maps and images; set them to None to have them found again.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import MultiScaleRoIAlign
    >>> pool = MultiScaleRoIAlign(["fine", "coarse"], 7, 2, aligned=True)
    >>> fine, coarse = torch.zeros(1, 8, 64, 64), torch.zeros(1, 8, 32, 32)
    >>> boxes = [torch.tensor([[0.0, 0.0, 200.0, 200.0]])]
    >>> pool({"fine": fine, "coarse": coarse}, boxes, [(256, 256)]).shape
    torch.Size([1, 8, 7, 7])
    """

    def __init__(
        self,
        featmap_names: list[str],
        output_size: int | tuple[int, int],
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.featmap_names = featmap_names
        self.output_size = make_output_size(output_size)
        self.sampling_ratio = sampling_ratio
        self.canonical_scale = canonical_scale
        self.canonical_level = canonical_level
        self.aligned = aligned
        self.scales: list[float] | None = None

    def forward(
        self,
        x: Mapping[str, Tensor],
        boxes: Sequence[Tensor],
        image_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Pool the maps under the boxes.

        Parameters
        ----------
        x : dict of str to Tensor of shape (N, C, H_l, W_l)
            The maps, from fine to coarse; those with other names are ignored.
        boxes : sequence of N Tensors of shape (K_i, 4)
            For each image its boxes ``[x1, y1, x2, y2]``, in pixels.
        image_shapes : sequence of (int, int)
            Heights and widths of the images.

        Returns
        -------
        Tensor of shape (K, C, rows, cols)
            In the order of the boxes. Differentiable with respect to the maps and the boxes.

        Raises
        ------
        ValueError, TypeError
            As `roi_align`; also if the scales are not each half the one before.
        BackendUnavailableError
            If the maps are not CPU tensors.
        """
        if not isinstance(x, Mapping):
            raise TypeError(f"x must be a dict of maps, got {type(x).__name__}")
        features = [tensor for name, tensor in x.items() if name in self.featmap_names]
        if not features:
            raise ValueError(
                f"x must have maps of the featmap_names {self.featmap_names}, got {list(x)}"
            )
        if self.scales is None:
            self.scales = _find_scales(features, image_shapes)
        return pool_levels(
            features,
            boxes,
            self.output_size,
            self.scales,
            self.canonical_scale,
            self.canonical_level,
            self.sampling_ratio,
            self.aligned,
        )

    def extra_repr(self) -> str:
        """Return torchvision's arguments, and ``aligned`` if it is set."""
        names = ["featmap_names", "output_size", "sampling_ratio"]
        names += ["aligned"] if self.aligned else []
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def _find_scales(
    features: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
) -> list[float]:
    """The power of two nearest to the scale of each map, by heights, as in torchvision."""
    height = max((shape[0] for shape in image_shapes), default=0)
    if height < 1:
        raise ValueError(f"image_shapes must have a height above 0, got {image_shapes!r}")
    heights = [map_.shape[-2] for map_ in features]
    if 0 in heights:
        raise ValueError(f"x must have maps of heights above 0 to find their scales, got {heights}")
    return [2.0 ** round(math.log2(rows / height)) for rows in heights]


def pool_levels(
    features: list[Tensor],
    boxes: Tensor | Sequence[Tensor],
    output_size: tuple[int, int],
    scales: list[float],
    canonical_scale: float,
    canonical_level: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Check what the operator does not check, and call it."""
    rois = _functional.to_rois(boxes, features[0])
    if features[0].device.type != "cpu":
        raise BackendUnavailableError(
            "several maps in one call are pooled on the CPU only, got tensors on "
            f"{features[0].device}"
        )
    ratio, _ = int_pair(sampling_ratio, "sampling_ratio")
    geometry = scales, float(canonical_scale), float(canonical_level), max(ratio, 0), aligned
    try:
        pooled: Tensor = _pool_operator(features, rois, output_size, *geometry)
    except ValueError:
        if not isinstance(boxes, Tensor):  # the caller knows boxes by their places in lists
            rows = _operators.as_computed(rois).detach().numpy()
            _require_poolable(rows, features[0].shape[0], output_size, *geometry)
        raise
    return pooled


def _require_poolable(
    rows: np.ndarray[Any, Any],
    num_images: int,
    output_size: tuple[int, int],
    scales: list[float],
    canonical_scale: float,
    canonical_level: float,
    ratio: int,
    aligned: bool,
) -> None:
    """Raise for the first box that cannot be pooled, by its place in a list."""
    convention: ConventionName = "detectron2" if aligned else "torchvision"
    spec = make_spec(output_size, convention, 1.0, ratio, None, "NCHW", None)
    spec = with_scales(spec, tuple(scales))
    rule = LevelRule("torchvision", canonical_scale, canonical_level)
    levels = rule.assign(rows, spec.spatial_scales)
    _arrays.require_poolable(rows, num_images, spec, "boxes", is_per_image=True, levels=levels)


# What the operators compute


def _pool(
    features: list[Tensor], rois: Tensor, output_size: Sequence[int], *geometry: Any
) -> Tensor:
    _check(features, rois)
    maps = [map_.detach().numpy() for map_ in features]
    rows, cols = output_size
    pooled = multiscale_roi_align(maps, rois.detach().numpy(), (rows, cols), **_options(*geometry))
    return torch.from_numpy(pooled)


def _shape_of_pool(
    features: list[Tensor], rois: Tensor, output_size: Sequence[int], *geometry: Any
) -> Tensor:
    _check(features, rois)
    return features[0].new_empty((rois.shape[0], features[0].shape[1], *output_size))


def _check(features: list[Tensor], rois: Tensor) -> None:
    for level, map_ in enumerate(features):
        _kernels.check(f"features[{level}]", map_, rois)


def _feature_gradient(
    grad_output: Tensor, rois: Tensor, num_images: int, sizes: Sequence[int], *geometry: Any
) -> list[Tensor]:
    shapes = _input_shapes(grad_output, num_images, sizes)
    by_maps = multiscale_roi_align_backward(
        grad_output.detach().numpy(), rois.detach().numpy(), shapes, **_options(*geometry)
    )
    return [torch.from_numpy(by_map) for by_map in by_maps]


def _shape_of_feature_gradient(
    grad_output: Tensor, rois: Tensor, num_images: int, sizes: Sequence[int], *geometry: Any
) -> list[Tensor]:
    shapes = _input_shapes(grad_output, num_images, sizes)
    return [grad_output.new_empty(shape) for shape in shapes]


def _box_gradient(
    grad_output: Tensor, rois: Tensor, features: list[Tensor], *geometry: Any
) -> Tensor:
    by_rois: np.ndarray[Any, Any] = multiscale_roi_align_backward(
        grad_output.detach().numpy(),
        rois.detach().numpy(),
        [tuple(map_.shape) for map_ in features],
        features=[map_.detach().numpy() for map_ in features],
        wrt="rois",
        **_options(*geometry),
    )
    return torch.from_numpy(by_rois)


def _input_shapes(
    grad_output: Tensor, num_images: int, sizes: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """Shapes of the maps, of which ``sizes`` has height and width one after the other."""
    channels = grad_output.shape[1]
    pairs = zip(sizes[::2], sizes[1::2], strict=True)
    return [(num_images, channels, height, width) for height, width in pairs]


def _options(
    scales: list[float], canonical_scale: float, canonical_level: float, ratio: int, aligned: bool
) -> dict[str, Any]:
    return {
        "spatial_scales": scales,
        "canonical_size": canonical_scale,
        "canonical_level": canonical_level,
        "sampling_ratio": ratio,
        "convention": "detectron2" if aligned else "torchvision",
        "num_threads": min(torch.get_num_threads(), get_num_threads()),
    }


# Their derivatives


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, rois, _, *ctx.geometry = inputs
    # The gradient with respect to the maps needs only the boxes: the maps can be freed.
    kept = features if ctx.needs_input_grad[1] else []
    ctx.save_for_backward(rois, *kept)
    ctx.num_images = features[0].shape[0]
    ctx.sizes = [size for map_ in features for size in map_.shape[2:]]


def _differentiate(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    rois, *features = ctx.saved_tensors
    by_features: list[Tensor | None] = [None] * (len(ctx.sizes) // 2)
    by_rois = None
    if any(ctx.needs_input_grad[0]):
        by_features = _feature_gradient_operator(
            grad_output, rois, ctx.num_images, ctx.sizes, *ctx.geometry
        )
    if ctx.needs_input_grad[1]:
        by_rois = _operators.all_columns(
            _box_gradient_operator(grad_output, rois, features, *ctx.geometry)
        )
    return by_features, by_rois, None, *[None] * len(ctx.geometry)


def _refuse(ctx: Any, *grads: Any) -> None:
    raise RuntimeError("the gradients of MultiScaleRoIAlign cannot be differentiated again")


def _under_autocast(
    features: list[Tensor], rois: Tensor, output_size: Sequence[int], *geometry: Any
) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        maps = [_operators.widened(map_) for map_ in features]
        pooled = _pool_operator(maps, _operators.widened(rois), output_size, *geometry)
    return pooled.to(features[0].dtype)


_pool_operator = _operators.register(
    f"multiscale_roi_align(Tensor[] features, Tensor rois, SymInt[2] output_size, {_GEOMETRY}) "
    "-> Tensor",
    _pool,
    _shape_of_pool,
    _remember,
    _differentiate,
    devices=("cpu",),
)
_operators.library.impl("multiscale_roi_align", _under_autocast, "AutocastCPU")
_feature_gradient_operator = _operators.register(
    "multiscale_roi_align_feature_gradient(Tensor grad_output, Tensor rois, SymInt num_images, "
    f"SymInt[] sizes, {_GEOMETRY}) -> Tensor[]",
    _feature_gradient,
    _shape_of_feature_gradient,
    _operators.remember_nothing,
    _refuse,
    devices=("cpu",),
)
_box_gradient_operator = _operators.register(
    "multiscale_roi_align_box_gradient(Tensor grad_output, Tensor rois, Tensor[] features, "
    f"{_GEOMETRY}) -> Tensor",
    _box_gradient,
    _kernels.UPRIGHT.shape_of_box_gradient,
    _operators.remember_nothing,
    _refuse,
    devices=("cpu",),
)
