"""Which of several maps, from fine to coarse, a box is pooled from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ._choices import require_choice
from ._core.runtime import in_standard_mode
from ._rois import check_indices, is_list_per_image, normalise_rois
from ._spec import make_scales
from .conventions import finite_number
from .typing import Boxes, LevelRuleName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVEL_RULES: tuple[LevelRuleName, ...] = get_args(LevelRuleName)


@dataclass(frozen=True, slots=True)
class LevelRule:
    """Whose rule, and which size of a box belongs to which level.

    Attributes
    ----------
    name : str
        One of `LEVEL_RULES`.
    canonical_size : float
        Side of a square box that belongs to ``canonical_level``.
    canonical_level : float
        Level ``k`` has a cell for every ``2 ** k`` input units.
    """

    name: LevelRuleName
    canonical_size: float
    canonical_level: float

    @in_standard_mode
    def areas(self, boxes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Areas of (K, 5) boxes, in the dtype that all is computed in.

        That is the boxes' own. Halves are widened, as torchvision widens them; the other two
        projects have no boxes of them.
        """
        number = np.float64 if boxes.dtype == np.float64 else np.float32
        x1, y1, x2, y2 = boxes.T[1:].astype(number)
        areas: NDArray[np.floating] = (x2 - x1) * (y2 - y1)
        return areas

    @in_standard_mode
    def places(self, boxes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where (K, 5) boxes lie on the scale of levels, of which the rule takes the floor.

        Every step rounds, in the order of the project whose rule it is: at the boundary between
        two levels, another order would choose the other map.
        """
        areas = self.areas(boxes)
        number = areas.dtype.type
        # Areas of 0, below 0 and beyond every float have a level, too.
        size, level = np.sqrt(areas), number(self.canonical_level)
        places: NDArray[np.floating]
        if self.name == "mmdet":
            places = _log2(size / number(self.canonical_size / 4) + number(1e-6))
        elif self.name == "detectron2":
            places = level + _log2(size / number(self.canonical_size) + number(1e-8))
        else:
            places = level + _log2(size / number(self.canonical_size)) + number(1e-6)
        return places

    def first_level(self, scales: tuple[float, ...]) -> int:
        """Level of the finest map."""
        return 0 if self.name == "mmdet" else 1 - math.frexp(scales[0])[1]

    def assign(self, boxes: NDArray[np.floating], scales: tuple[float, ...]) -> NDArray[np.intp]:
        """Find the map of each of (K, 5) boxes."""
        first = self.first_level(scales)
        places = np.floor(self.places(boxes))
        # What has no size, or a negative one, has no place (NaN): the finest map has most to read.
        places[np.isnan(places)] = -np.inf
        clamped: NDArray[np.intp] = np.clip(places, first, first + len(scales) - 1).astype(np.intp)
        return clamped - first


def _log2(values: NDArray[np.floating]) -> NDArray[np.floating]:
    # Rounded once from float64: NumPy's own of float32 has other bits on other machines.
    logarithms: NDArray[np.floating] = np.log2(values, dtype=np.float64).astype(values.dtype)
    return logarithms


def make_rule(
    level_rule: LevelRuleName, canonical_size: float, canonical_level: float
) -> LevelRule:
    """Check what a rule is made of."""
    require_choice("level_rule", level_rule, LEVEL_RULES)
    size = finite_number("canonical_size", canonical_size)
    if size <= 0:
        raise ValueError(f"canonical_size must be > 0, got {canonical_size!r}")
    level = finite_number("canonical_level", canonical_level)
    if level_rule == "mmdet" and level != 4:
        raise ValueError(
            "canonical_level must be 4 with level_rule 'mmdet', which counts from the first map, "
            f"got {canonical_level!r}"
        )
    return LevelRule(level_rule, size, level)


def is_pyramid(scales: Sequence[float]) -> bool:
    """Whether a rule knows the maps of these scales."""
    halved = [scales[0] / 2**level for level in range(len(scales))]
    return math.frexp(scales[0])[0] == 0.5 and list(scales) == halved


def require_pyramid(scales: tuple[float, ...]) -> None:
    """Raise unless a rule knows the maps of these scales."""
    if not is_pyramid(scales):
        raise ValueError(
            "spatial_scales must be powers of two, each half the one before, for a level_rule, got "
            f"{scales}: give levels for others"
        )


def check_levels(levels: Any, num_boxes: int, num_maps: int) -> NDArray[np.intp]:
    """Check the maps that the caller chose for the boxes; a copy comes back."""
    return check_indices(levels, "levels", num_boxes, num_maps, "a map")


def assign_levels(
    rois: Boxes,
    spatial_scales: Sequence[float],
    *,
    level_rule: LevelRuleName = "torchvision",
    canonical_size: float = 224,
    canonical_level: float = 4,
) -> NDArray[np.intp]:
    """Choose for every box the map that it is pooled from, by its size.

    Parameters
    ----------
    rois : array_like of shape (K, 5), or list of array_like of shape (K_i, 4)
        Boxes, as for `roi_align`; their images do not count.
    spatial_scales : sequence of float
        Cells per input unit of each map, from fine to coarse: powers of two, each half the one
        before.
    level_rule : {"torchvision", "detectron2", "mmdet"}, default "torchvision"
        Whose rule. They differ for boxes at the boundary between two maps.
    canonical_size : float, default 224
        Side of a square box that belongs to the ``canonical_level``.
    canonical_level : float, default 4
        The level of such a box; level ``k`` is the map of the scale ``2 ** -k``. "mmdet" counts
        from the first map on, whatever its scale: there it must be 4, and that of a box of a
        quarter of the ``canonical_size`` is the first.

    Returns
    -------
    ndarray of shape (K,), of intp
        Index of the map in ``spatial_scales``, 0 for the finest.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or a box is not finite.

    Notes
    -----
    With ``A = (x2 - x1) * (y2 - y1)``, the area of a box as it is given, before any scale or
    offset, level ``k`` is

    - "torchvision": ``floor(canonical_level + log2(sqrt(A) / canonical_size) + 1e-6)``,
    - "detectron2": ``floor(canonical_level + log2(sqrt(A) / canonical_size + 1e-8))``,
    - "mmdet": ``floor(log2(sqrt(A) / (canonical_size / 4) + 1e-6))``, of which 0 is the first map,

    or the nearest that there is. Each step rounds to the dtype of the boxes (float32 for float16,
    float64 for integers). Boxes of area 0 or less go to the finest map.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> rois = [[0, 0, 0, 111, 111], [0, 0, 0, 112, 112], [0, 0, 0, 448, 448], [0, 5, 5, 5, 5]]
    >>> ra.assign_levels(rois, [1 / 4, 1 / 8, 1 / 16, 1 / 32])
    array([0, 1, 3, 0])
    """
    scales = make_scales(spatial_scales)
    rule = make_rule(level_rule, canonical_size, canonical_level)
    require_pyramid(scales)
    boxes = normalise_rois(rois, len(rois) if is_list_per_image(rois) else 0)
    is_finite = np.isfinite(boxes).all(axis=1)
    if not is_finite.all():
        row = int(is_finite.argmin())
        raise ValueError(f"rois[{row}] must be finite, got {boxes[row]}")
    return rule.assign(boxes, scales)
