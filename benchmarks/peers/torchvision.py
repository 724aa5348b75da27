"""torchvision as a backend: average only, and the one peer with a gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..calls import PreparedCall
from ._base import HALF_PIXEL, Peer, plain, working_dtype

if TYPE_CHECKING:
    from roialign_cy._spec import PoolSpec

_AVERAGE_ONLY = "torchvision pools by average only"


class Torchvision(Peer):
    """``torchvision.ops.roi_align`` on the CPU."""

    name = "torchvision"
    packages = ("torch", "torchvision")
    modes_refused: ClassVar = {"max": _AVERAGE_ONLY, "max_weighted": _AVERAGE_ONLY}

    def prepare(self, features: np.ndarray, rois: np.ndarray, spec: PoolSpec) -> PreparedCall:
        """Wrap the arrays as tensors; NHWC as a view, of which torchvision makes its own copy."""
        import torch

        x = torch.from_numpy(plain(features, features.dtype))
        boxes = torch.from_numpy(plain(rois, working_dtype(features)))
        return PreparedCall(
            self.pool(x, boxes, spec), to_numpy=_to_numpy, enter=partial(_set_threads, spec)
        )

    def pool(self, x: Any, boxes: Any, spec: PoolSpec) -> Callable[[], Any]:
        """Make the call on tensors, without a step around it that it does not need."""
        return _pool(x, boxes, spec)

    def prepare_backward(
        self,
        grad_output: np.ndarray,
        rois: np.ndarray,
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
    ) -> PreparedCall:
        """Run the forward pass on zeros, so that only its gradient is left to do."""
        import torch

        if spec.needs_features(("features",)):
            raise NotImplementedError(f"{self.name} is prepared for the gradient of means only")

        grad = torch.from_numpy(plain(grad_output, grad_output.dtype))
        boxes = torch.from_numpy(plain(rois, working_dtype(grad_output)))
        x = torch.zeros(input_shape, dtype=grad.dtype, requires_grad=True)
        _set_threads(spec)
        pooled = self.pool(x, boxes, spec)()
        derive = partial(torch.autograd.grad, pooled, x, grad, retain_graph=True)
        return PreparedCall(
            derive,
            to_numpy=lambda grads: _to_numpy(grads[0]),
            enter=partial(_set_threads, spec),
        )

    def roi_align_backward(
        self,
        grad_output: np.ndarray,
        rois: np.ndarray,
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
        *,
        features: np.ndarray | None,
        wrt: tuple[str, ...],
        out: np.ndarray | None,
    ) -> tuple[np.ndarray, ...]:
        """Gradient by the features."""
        if wrt != ("features",):
            raise NotImplementedError("torchvision has no gradient by the boxes")
        if 0 in input_shape or grad_output.size == 0:
            result = np.zeros(input_shape, grad_output.dtype.newbyteorder("="))
        else:
            result = self.prepare_backward(grad_output, rois, input_shape, spec).result()
        if out is None:
            return (result,)
        out[...] = result
        return (out,)


def _pool(x: Any, boxes: Any, spec: PoolSpec) -> Callable[[], Any]:
    from torchvision.ops import roi_align

    pool = partial(
        roi_align,
        boxes=boxes,
        output_size=spec.output_size,
        spatial_scale=spec.spatial_scale,
        sampling_ratio=spec.sampling_ratio[0],
        aligned=(spec.pixel_offset, spec.min_size) == HALF_PIXEL,
    )
    if spec.layout == "NCHW" and x.dtype == boxes.dtype:
        return partial(pool, x)

    def pool_converted() -> Any:
        # float16 through float32 and back, as torchvision itself does under autocast.
        planes = x if spec.layout == "NCHW" else x.permute(0, 3, 1, 2)
        pooled = pool(planes.to(boxes.dtype)).to(x.dtype)
        return pooled if spec.layout == "NCHW" else pooled.permute(0, 2, 3, 1)

    return pool_converted


def _to_numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def _set_threads(spec: PoolSpec) -> None:
    import torch

    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)


BACKEND = Torchvision()
