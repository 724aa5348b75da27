"""torchvision's MultiScaleRoIAlign under the patch: one call for all levels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from .._levels import is_pyramid
from . import _multiscale

_replaced: dict[str, Callable[..., Tensor]] = {}
"""torchvision's method, while ours is in its place."""


def install(has_box_gradients: Callable[[], bool]) -> None:
    """Replace the method, unless it is already."""
    if _replaced:
        return
    theirs = _replaced["forward"] = MultiScaleRoIAlign.forward

    def forward(self: Any, x: Any, boxes: Any, image_shapes: Any) -> Tensor:
        features = _features_of_ours(self, x, boxes)
        if features is None:
            return theirs(self, x, boxes, image_shapes)
        if not has_box_gradients():
            boxes = [entry.detach() for entry in boxes]
        return _multiscale.pool_levels(
            features,
            boxes,
            self.output_size,
            self.scales,
            self.map_levels.s0,
            self.map_levels.lvl0,
            self.sampling_ratio,
            aligned=False,
        )

    def as_scriptable(self: Any) -> Any:
        """Return the function whose source torch.jit.script compiles; it looks this up by name."""
        kind = type(self)
        if kind.forward is not forward:
            return self
        twin = copy.copy(self)
        twin.__class__ = type(kind.__name__, (kind,), {"forward": theirs})
        return twin

    MultiScaleRoIAlign.forward = forward
    MultiScaleRoIAlign.__prepare_scriptable__ = as_scriptable


def remove() -> None:
    """Give torchvision its own method back."""
    if not _replaced:
        return
    MultiScaleRoIAlign.forward = _replaced.pop("forward")
    del MultiScaleRoIAlign.__prepare_scriptable__


def _features_of_ours(pooler: Any, x: Any, boxes: Any) -> list[Tensor] | None:
    """The maps that a call pools from; None if it should be left to torchvision's code.

    That code finds the scales at a module's first call, and is what tracing and compiling expect.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not isinstance(x, dict):
        return None
    scales, mapper = pooler.scales, pooler.map_levels
    if scales is None or type(mapper) is not LevelMapper or not is_pyramid(scales):
        return None
    features = [tensor for name, tensor in x.items() if name in pooler.featmap_names]
    first = round(-math.log2(scales[0]))
    is_known = (mapper.k_min, mapper.k_max, mapper.eps) == (first, first + len(scales) - 1, 1e-6)
    is_here = all(isinstance(t, Tensor) and t.device.type == "cpu" for t in [*features, *boxes])
    return features if is_known and is_here and len(features) == len(scales) else None
