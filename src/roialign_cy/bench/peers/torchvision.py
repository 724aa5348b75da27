"""torchvision as a backend: RoI Align by average only, RoI Pooling, and a gradient of means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from ..calls import PreparedCall
from ._base import HALF_PIXEL, WHOLE_PIXEL, Peer, plain, working_dtype

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

_AVERAGE_ONLY = "torchvision pools by average only"


class Torchvision(Peer):
    """``torchvision.ops.roi_align`` on the CPU."""

    name = "torchvision"
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision")
    modes_refused: ClassVar = {"max": _AVERAGE_ONLY, "max_weighted": _AVERAGE_ONLY}
    dtypes = (*Peer.dtypes, "uint8")
    """The last is converted, as its users do."""
    pools_levels = True

    def prepare(self, features: NDArray[Any], rois: NDArray[Any], spec: CallSpec) -> PreparedCall:
        """Wrap the arrays as tensors; NHWC as a view, of which torchvision makes its own copy."""
        import torch

        x = torch.from_numpy(plain(features, features.dtype))
        boxes = torch.from_numpy(plain(rois, working_dtype(features)))
        return PreparedCall(
            self.pool(x, boxes, spec), to_numpy=_to_numpy, enter=partial(_set_threads, spec)
        )

    def prepare_levels(
        self, maps: list[NDArray[Any]], rois: NDArray[Any], spec: CallSpec
    ) -> PreparedCall:
        """Make the module, and let it find its scales."""
        import torch

        names = [f"level{k}" for k in range(len(maps))]
        module = self.module(names, spec.output_size, spec.sampling_ratio[0])
        tensors = {
            name: torch.from_numpy(plain(one, one.dtype))
            for name, one in zip(names, maps, strict=True)
        }
        boxes = torch.from_numpy(plain(rois, working_dtype(maps[0])))
        per_image = [boxes[boxes[:, 0] == image, 1:] for image in range(len(maps[0]))]
        size = tuple(round(cells / spec.spatial_scales[0]) for cells in maps[0].shape[2:])
        call = partial(module, tensors, per_image, [size] * len(per_image))
        # The module's rows come image by image.
        order = torch.argsort(torch.argsort(boxes[:, 0], stable=True))
        return PreparedCall(
            call,
            to_numpy=lambda pooled: _to_numpy(pooled[order]),
            enter=partial(_set_threads, spec),
        )

    def module(self, *arguments: Any) -> Any:
        """Make the module that pools several maps."""
        from torchvision.ops import MultiScaleRoIAlign

        return MultiScaleRoIAlign(*arguments)

    def _cannot_place(self, spec: CallSpec) -> str | None:
        is_aligned = (spec.pixel_offset, spec.min_size) != WHOLE_PIXEL
        if len(spec.spatial_scales) > 1 and (is_aligned or spec.channels_last):
            return "its MultiScaleRoIAlign knows the convention 'torchvision' in NCHW only"
        return super()._cannot_place(spec)

    def pool(self, x: Any, boxes: Any, spec: CallSpec) -> Callable[[], Any]:
        """Make the call on tensors, without a step around it that it does not need."""
        return _pool(x, boxes, spec)

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """Say what of the call it has no words for; of gradients, it has one of the mean."""
        if operation == "roi_align" and spec.sampling == "cells":
            return None
        if operation != "feature_gradient":
            return super().cannot_run(spec, operation)
        if spec.needs_features(operation):
            return f"{self.name} is prepared for the gradient of means only"
        return super().cannot_run(spec, "roi_align")

    def prepare_backward(
        self, grad_output: NDArray[Any], rois: NDArray[Any], shape: tuple[int, ...], spec: CallSpec
    ) -> PreparedCall:
        """Run the forward pass on zeros, so that only its gradient is left to do."""
        import torch

        grad = torch.from_numpy(plain(grad_output, grad_output.dtype))
        boxes = torch.from_numpy(plain(rois, working_dtype(grad_output)))
        x = torch.zeros(shape, dtype=grad.dtype, requires_grad=True)
        _set_threads(spec)
        pooled = self.pool(x, boxes, spec)()
        derive = partial(torch.autograd.grad, pooled, x, grad, retain_graph=True)
        return PreparedCall(
            derive,
            to_numpy=lambda grads: _to_numpy(grads[0]),
            enter=partial(_set_threads, spec),
        )

    def feature_gradient(
        self,
        grad_output: NDArray[Any],
        rois: NDArray[Any],
        levels: NDArray[Any] | None,
        shapes: tuple[tuple[int, int, int, int], ...],
        spec: CallSpec,
        features: tuple[NDArray[Any], ...] | None,
        out: tuple[NDArray[Any], ...] | None,
    ) -> tuple[NDArray[Any], ...]:
        """Gradient with respect to the features."""
        from roialign_cy.backends import kit

        (result,) = out or (kit.new_maps(shapes[0], grad_output.dtype, spec),)
        if 0 in result.shape or grad_output.size == 0:
            result[...] = 0
        else:
            grads, like = kit.as_given(grad_output, spec), kit.as_given(result, spec)
            call = self.prepare_backward(grads, rois, like.shape, spec)
            result[...] = kit.as_nchw(call.result(), spec)
        return (result,)


def _pool(x: Any, boxes: Any, spec: CallSpec) -> Callable[[], Any]:
    from torchvision.ops import roi_align, roi_pool

    size, scale = spec.output_size, spec.spatial_scales[0]
    if spec.sampling == "cells":
        pool = partial(roi_pool, boxes=boxes, output_size=size, spatial_scale=scale)
    else:
        pool = partial(
            roi_align,
            boxes=boxes,
            output_size=size,
            spatial_scale=scale,
            sampling_ratio=spec.sampling_ratio[0],
            aligned=(spec.pixel_offset, spec.min_size) == HALF_PIXEL,
        )
    if not spec.channels_last and x.dtype == boxes.dtype:
        return partial(pool, x)

    def pool_converted() -> Any:
        # float16 through float32 and back, as torchvision itself does under autocast.
        planes = x.permute(0, 3, 1, 2) if spec.channels_last else x
        pooled = pool(planes.to(boxes.dtype))
        if x.is_floating_point():
            pooled = pooled.to(x.dtype)
        return pooled.permute(0, 2, 3, 1) if spec.channels_last else pooled

    return pool_converted


def _to_numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().numpy()
    return array


def _set_threads(spec: CallSpec) -> None:
    import torch

    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)


BACKEND = Torchvision()
