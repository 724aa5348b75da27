"""`roialign_cy.torch` as a backend: what the way through torch adds, beside the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from .torchvision import Torchvision

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec


class RoialignTorch(Torchvision):
    """``roialign_cy.torch.roi_align`` on CPU tensors, on the library's default backend."""

    name = "roialign_torch"
    packages: ClassVar = ("torch",)
    modes_refused: ClassVar = {}
    coordinate_ulps = 0

    def _cannot_place(self, spec: CallSpec) -> str | None:
        if spec.sampling == "rotated":
            return f"{self.name} pools upright boxes"
        return super()._cannot_place(spec) if len(spec.spatial_scales) > 1 else None

    def module(self, *arguments: Any) -> Any:
        """Make the module that pools several maps."""
        from roialign_cy.torch import MultiScaleRoIAlign

        return MultiScaleRoIAlign(*arguments)

    def pool(self, x: Any, boxes: Any, spec: CallSpec) -> Callable[[], Any]:
        """Make the call; NHWC as a channels-last tensor, which is a view."""
        from roialign_cy import Convention
        from roialign_cy.conventions import MODE_OF_SAMPLING
        from roialign_cy.torch import roi_align

        assert spec.sampling != "rotated"  # which was refused
        has_samples = spec.sampling not in MODE_OF_SAMPLING
        convention = Convention(
            spec.pixel_offset,
            spec.min_size,
            spec.sampling,
            spec.sampling_ratio if has_samples else 0,
            mode=spec.mode,
            border=spec.border,
        )
        pool = partial(
            roi_align,
            boxes=boxes,
            output_size=spec.output_size,
            spatial_scale=spec.spatial_scales[0],
            convention=convention,
            mode=spec.mode,
        )
        if not spec.channels_last:
            return partial(pool, x)
        return lambda: pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


BACKEND = RoialignTorch()
