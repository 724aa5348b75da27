"""RoI Align of rotated boxes, for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _rotated
from .._choices import require_choice
from .._spec import CallSpec
from ..conventions import MODES, Convention, find_convention
from ..typing import AngleUnit, Border, ConventionName, Layout, Mode
from . import _functional, _kernels, _operators

_GEOMETRY = (
    "float spatial_scale, SymInt[2] sampling_ratio, str mode, float pixel_offset, "
    "float? min_size, str border, str angle, bool clockwise"
)


def _spec(
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: tuple[int, int],
    mode: Mode,
    pixel_offset: float,
    min_size: float | None,
    border: Border,
    angle: AngleUnit,
    clockwise: bool,
    layout: Layout,
    num_threads: int | None,
) -> CallSpec:
    convention = Convention(
        pixel_offset=pixel_offset, min_size=min_size, mode=mode, border=border, angle=angle
    )
    return _rotated.make_rotated_spec(
        output_size,
        convention,
        clockwise,
        spatial_scale,
        sampling_ratio,
        None,
        layout,
        num_threads,
    )


_rotated_pooling = _operators.Pooling(
    "roi_align_rotated", _GEOMETRY, _kernels.Kernels(_spec, parameters=5)
)


def roi_align_rotated(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] = -1,
    *,
    convention: ConventionName | Convention = "detectron2",
    clockwise: bool = False,
    mode: Mode | None = None,
) -> Tensor:
    """Pool every rotated box to a grid of sections.

    Parameters
    ----------
    input : Tensor of shape (N, C, H, W)
        The maps, as for `roi_align`.
    boxes : Tensor of shape (K, 6), or sequence of N Tensors of shape (K_i, 5)
        Boxes ``[batch_index, cx, cy, width, height, angle]`` in input units; or for each image its
        boxes ``[cx, cy, width, height, angle]``.
    output_size, spatial_scale, sampling_ratio
        As for `roi_align`.
    convention, clockwise, mode
        As for `roialign_cy.roi_align_rotated`: degrees under "detectron2", radians under "mmcv".

    Returns
    -------
    Tensor of shape (K, C, rows, cols)
        Differentiable with respect to ``input`` and ``boxes``, as that of `roi_align`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailableError
        As `roi_align`; also for a width or height below 0.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import roi_align_rotated
    >>> features = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> boxes = torch.tensor([[0.0, 2.0, 2.0, 2.0, 2.0, 90.0]])
    >>> roi_align_rotated(features, boxes, 2)
    tensor([[[[ 9.,  5.],
              [10.,  6.]]]])
    """
    sections, geometry = _geometry_of(
        output_size, spatial_scale, sampling_ratio, convention, clockwise, mode
    )
    return _functional.run(_rotated_pooling, input, boxes, sections, geometry)


@_functional.once_per_options
def _geometry_of(
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int],
    convention: ConventionName | Convention,
    clockwise: bool,
    mode: Mode | None,
) -> tuple[tuple[int, int], tuple[Any, ...]]:
    chosen = find_convention(convention)
    sections, scale, ratio = _functional.to_sampling(
        output_size, spatial_scale, sampling_ratio, chosen
    )
    if mode is None:
        mode = chosen.mode
    require_choice("mode", mode, MODES)
    means = chosen.max_rule if mode == "max" else mode
    _rotated.require_turnable(chosen, clockwise, ratio, means)
    return sections, (
        *(scale, ratio, mode, chosen.pixel_offset),
        *(chosen.min_size, chosen.border, chosen.angle, bool(clockwise)),
    )


torch.fx.wrap("roi_align_rotated")


class RoIAlignRotated(torch.nn.Module):
    """`roi_align_rotated` as a module.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, convention, clockwise, mode
        As for `roi_align_rotated`.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import RoIAlignRotated
    >>> pool = RoIAlignRotated(7, spatial_scale=1 / 16, sampling_ratio=2)
    >>> boxes = [torch.tensor([[200.0, 150.0, 90.0, 30.0, 45.0]])]
    >>> pool(torch.zeros(1, 256, 50, 76), boxes).shape
    torch.Size([1, 256, 7, 7])
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int | tuple[int, int] = -1,
        *,
        convention: ConventionName | Convention = "detectron2",
        clockwise: bool = False,
        mode: Mode | None = None,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.convention = convention
        self.clockwise = clockwise
        self.mode = mode

    def forward(self, input: Tensor, rois: Tensor | Sequence[Tensor]) -> Tensor:
        """Pool ``input`` under ``rois``: see `roi_align_rotated`."""
        return roi_align_rotated(
            input,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            convention=self.convention,
            clockwise=self.clockwise,
            mode=self.mode,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        names = (
            "output_size",
            "spatial_scale",
            "sampling_ratio",
            "convention",
            "clockwise",
            "mode",
        )
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
