"""What a box, a sample and a result mean: the named conventions of RoI Align."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import get_args

from ._choices import require_choice
from .typing import AngleUnit, Border, ConventionName, MaxRule, Mode, Sampling

SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
BORDERS: tuple[Border, ...] = get_args(Border)
ANGLES: tuple[AngleUnit, ...] = get_args(AngleUnit)
MODES: tuple[Mode, ...] = get_args(Mode)
MAX_RULES: tuple[MaxRule, ...] = get_args(MaxRule)
MODE_OF_SAMPLING: MappingProxyType[Sampling, Mode] = MappingProxyType(
    {"cells": "max", "integral": "avg", "corners": "avg", "nearest": "avg"}
)
"""Samplings that have no samples to count and one mode each."""
ROUNDED_SAMPLINGS: tuple[Sampling, ...] = ("cells", "nearest")
"""Those that round to whole cells, and so have no gradient with respect to the boxes."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One project's reading of RoI Align, as the few choices in which projects differ.

    Parameters
    ----------
    pixel_offset : float, default 0.5
        Cells subtracted from every scaled box coordinate; 0.5 where the centre of cell 0 is
        at coordinate 0.5 (``aligned=True`` elsewhere), 0 where it is at coordinate 0.
    min_size : float or None, default None
        Smallest width and height of a box in cells; narrower boxes are widened to it at their
        far side. ``None`` leaves boxes as they are.
    sampling : {"centered", "interior", "cells", "integral", "corners", "nearest"}
        What a section reads. Its ``g`` samples along an axis lie at fractions ``(i + 0.5) / g``
        (centered) or ``(i + 1) / (g + 1)`` (interior) of it, ``i = 0 .. g - 1``. ``"cells"`` are
        all cells that it touches after its box was rounded to whole cells (RoI Pooling), and
        ``"integral"`` is the integral of the interpolated map (PrRoI Pooling). ``"corners"`` are
        points of which the first and last lie on the sides of the box, one a section, and
        ``"nearest"`` the cells nearest to them (`crop_and_resize`). By default "centered".
    sampling_ratio : int or (int, int), default 0
        Samples per section along (rows, columns), at most 4096. 0 (or -1) is the sampling's own
        count: ``ceil(extent / sections)`` if centered, ``max(sections - 1, 1)`` if interior. The
        other samplings take no count.
    mode : {"avg", "max", "max_weighted"}, default "avg"
        How the samples of a section become one value.
    max_rule : {"max", "max_weighted"}, default "max"
        What ``mode="max"`` means under this convention.
    border : {"clamp", "zero"}, default "clamp"
        What a sample within a cell of the map reads beyond it: the border's cells again, as if it
        were clamped to them, or zeros. ``"integral"`` goes with zeros alone.
    angle : {"degrees", "radians"}, default "degrees"
        Unit of the angles of rotated boxes; only `roi_align_rotated` has them.

    Raises
    ------
    ValueError, TypeError
        If a choice is unknown or a number is impossible.

    Examples
    --------
    >>> from roialign_cy import Convention
    >>> Convention(pixel_offset=0.0, min_size=1.0).sampling
    'centered'
    """

    pixel_offset: float = 0.5
    min_size: float | None = None
    sampling: Sampling = "centered"
    sampling_ratio: int | tuple[int, int] = 0
    mode: Mode = "avg"
    max_rule: MaxRule = "max"
    border: Border = "clamp"
    angle: AngleUnit = "degrees"

    def __post_init__(self) -> None:
        require_choice("sampling", self.sampling, SAMPLINGS)
        require_choice("mode", self.mode, MODES)
        require_choice("max_rule", self.max_rule, MAX_RULES)
        require_choice("border", self.border, BORDERS)
        require_choice("angle", self.angle, ANGLES)
        # Normalised in place, so that equal conventions are equal however they were written.
        normalise = object.__setattr__
        normalise(self, "pixel_offset", finite_number("pixel_offset", self.pixel_offset))
        if self.min_size is not None:
            size = finite_number("min_size", self.min_size)
            if size < 0:
                raise ValueError(f"min_size must be None or >= 0, got {self.min_size!r}")
            normalise(self, "min_size", size)
        normalise(self, "sampling_ratio", ratio_pair(self.sampling_ratio))
        self._refuse_contradictions()

    def __repr__(self) -> str:
        """As it could be written: with what is not the default."""
        default = Convention()
        given = (
            f"{field.name}={value!r}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        )
        return f"Convention({', '.join(given)})"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{field.name}</th><td>{getattr(self, field.name)!r}</td></tr>"
            for field in fields(self)
        )
        return f"<table>{''.join(rows)}</table>"

    def _refuse_contradictions(self) -> None:
        if self.sampling not in MODE_OF_SAMPLING:
            return
        mode = MODE_OF_SAMPLING[self.sampling]
        border = "zero" if self.sampling == "integral" else "clamp"
        wanted: dict[str, object] = {
            "sampling_ratio": (0, 0),
            "min_size": None,
            "mode": mode,
            "max_rule": "max",
            "border": border,
        }
        if self.sampling == "cells":
            wanted["pixel_offset"] = 0.0
        for name, value in wanted.items():
            given = getattr(self, name)
            if given != value:
                raise ValueError(
                    f"{name} must be {value!r} with sampling {self.sampling!r}, got {given!r}"
                )


def find_convention(
    convention: ConventionName | Convention, name: str = "convention"
) -> Convention:
    """The convention of that name, or ``convention`` itself; ``name`` is the argument's."""
    if isinstance(convention, Convention):
        return convention
    require_choice(name, convention, CONVENTIONS)
    return CONVENTIONS[convention]


MAX_SAMPLING_RATIO = 4096
"""Most samples per section and axis that can be asked for. A bound is needed because work grows
with it; this one is far above any use (others default to 2) and still answers within a second."""


def ratio_pair(ratio: int | tuple[int, int], name: str = "sampling_ratio") -> tuple[int, int]:
    """``ratio`` as (rows, columns), each within 0 .. MAX_SAMPLING_RATIO; -1 becomes 0."""
    rows, cols = int_pair(ratio, name)
    if not (-1 <= rows <= MAX_SAMPLING_RATIO and -1 <= cols <= MAX_SAMPLING_RATIO):
        raise ValueError(
            f"{name} must be in 0 .. {MAX_SAMPLING_RATIO}, or -1 for the same as 0, got {ratio!r}"
        )
    return (0 if rows == -1 else rows), (0 if cols == -1 else cols)


def int_pair(value: int | tuple[int, int], name: str) -> tuple[int, int]:
    """``value`` or (value, value) as two Python integers; TypeError or ValueError otherwise."""
    try:
        if isinstance(value, (tuple, list)):
            rows, cols = value
            return operator.index(rows), operator.index(cols)
        number = operator.index(value)
    except (TypeError, ValueError) as error:
        kind = type(error)
        raise kind(f"{name} must be an integer or a pair (rows, cols), got {value!r}") from None
    return number, number


def finite_number(name: str, value: float) -> float:
    """``value`` as a finite float; TypeError for strings and the like, ValueError otherwise."""
    try:
        finite = math.isfinite(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except (OverflowError, ValueError):  # an integer beyond every float; Decimal("sNaN")
        finite = False
    if not finite:
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


CONVENTIONS: MappingProxyType[ConventionName, Convention] = MappingProxyType(
    {
        "document": Convention(sampling="interior", mode="max"),
        "torchvision": Convention(pixel_offset=0.0, min_size=1.0),
        "detectron2": Convention(),
        "mmcv": Convention(angle="radians"),
        "onnx": Convention(max_rule="max_weighted"),
        "onnx-10": Convention(pixel_offset=0.0, min_size=1.0, max_rule="max_weighted"),
        "roi_pool": Convention(pixel_offset=0.0, sampling="cells", mode="max"),
        "prroi": Convention(pixel_offset=0.0, sampling="integral", border="zero"),
    }
)
"""The conventions that have a name; see the table in the README."""
