"""Which of several maps a box is pooled from, with the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._levels import assign_levels, make_rule
from .._rois import is_list_per_image, normalise_rois
from .._spec import make_scales
from .numbers import position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import Boxes, LevelRuleName

FORMULAS = {
    "torchvision": "{level:g} + log2(√A / {size:g}) + 1e-6",
    "detectron2": "{level:g} + log2(√A / {size:g} + 1e-8)",
    "mmdet": "log2(√A / {finest:g} + 1e-6)",
}


def explain_level(
    rois: Boxes,
    spatial_scales: Sequence[float],
    *,
    roi: int = 0,
    level_rule: LevelRuleName = "torchvision",
    canonical_size: float = 224,
    canonical_level: float = 4,
) -> str:
    """Write out why a box is pooled from the map that `assign_levels` gives it.

    Parameters
    ----------
    rois, spatial_scales
        As for `assign_levels`.
    roi : int, default 0
        The box, a row of ``rois`` (of all lists of boxes, one after the other).
    level_rule, canonical_size, canonical_level
        As for `assign_levels`.

    Returns
    -------
    str
        The rule with the box's numbers, in the dtype that the rule computes in. `explain`, given
        that map and its scale, shows the rest.

    Raises
    ------
    ValueError, TypeError
        As `assign_levels`; also if there is no such box.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> rois = [[0, 10, 8, 310, 408], [0, 0, 0, 20, 20]]
    >>> print(ra.explain_level(rois, [1 / 4, 1 / 8, 1 / 16, 1 / 32]))
    A = (310.0 - 10.0) × (408.0 - 8.0) = 120000.0
    k = floor(4 + log2(√A / 224) + 1e-6) = floor(4.628983518077699) = 4
    features[2], of the scale 0.0625
    """
    levels = assign_levels(
        rois,
        spatial_scales,
        level_rule=level_rule,
        canonical_size=canonical_size,
        canonical_level=canonical_level,
    )
    scales = make_scales(spatial_scales)
    rule = make_rule(level_rule, canonical_size, canonical_level)
    boxes = normalise_rois(rois, len(rois) if is_list_per_image(rois) else 0)
    row = position("roi", roi, len(boxes))
    area, place, found = rule.areas(boxes)[row], rule.places(boxes)[row], levels[row]
    x1, y1, x2, y2 = boxes[row, 1:].astype(area.dtype)
    lines = [f"A = ({x2!s} - {x1!s}) × ({y2!s} - {y1!s}) = {area!s}"]
    if area > 0:
        formula = FORMULAS[rule.name].format(
            level=rule.canonical_level, size=rule.canonical_size, finest=rule.canonical_size / 4
        )
        level = np.floor(place)
        lines.append(f"k = floor({formula}) = floor({place!s}) = {level:g}")
        first = rule.first_level(scales)
        if level != first + found:
            lines.append(
                f"the levels are {first} .. {first + len(scales) - 1}: the nearest is "
                f"{first + found}"
            )
    else:
        lines.append("without an area: the finest map")
    lines.append(f"features[{found}], of the scale {scales[found]:g}")
    return "\n".join(lines)
