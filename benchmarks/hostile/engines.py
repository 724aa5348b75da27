"""Each implementation as its user calls it: nothing is converted or checked on the way."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from roialign_cy.backends.kit import CallSpec

from .inputs import Array, Call

THREADS = 2


class NoSuchInputError(Exception):
    """The interface has no place for what is hostile in an input."""


def roialign_cy(call: Call, num_threads: int) -> Array:
    """Call this library."""
    import roialign_cy as ra

    result: Array = ra.roi_align(
        call.features,
        call.rois,
        call.output_size,
        convention="detectron2",
        sampling_ratio=call.sampling_ratio,
        num_threads=num_threads,
    )
    return result


def torchvision(call: Call, num_threads: int) -> Array:
    """Call torchvision's operator on tensors that share the arrays' memory."""
    import torch
    from torchvision.ops import roi_align

    torch.set_num_threads(num_threads)
    pooled = roi_align(
        torch.from_numpy(call.features),
        torch.from_numpy(call.rois),
        call.output_size,
        sampling_ratio=call.sampling_ratio,
        aligned=True,
    )
    result: Array = pooled.numpy()
    return result


def onnxruntime(call: Call, num_threads: int) -> Array:
    """Run a model of one RoiAlign node."""
    from ..peers.onnxruntime import session_of

    session = session_of(_spec(call, num_threads), call.features.dtype.newbyteorder("=").name)
    feed = {
        "features": call.features,
        "boxes": call.rois[:, 1:].astype(np.float32),
        "images": _indices(call).astype(np.int64),
    }
    result: Array = session.run(None, feed)[0]
    return result


def openvino(call: Call, num_threads: int) -> Array:
    """Run a model of one ROIAlign-9 operation."""
    from ..peers.openvino import compiled_model

    spec, features = _spec(call, num_threads), call.features
    dtype = features.dtype.newbyteorder("=").name
    model = compiled_model(spec, features.shape, len(call.rois), dtype)
    inputs = [features, call.rois[:, 1:].astype(np.float32), _indices(call).astype(np.int32)]
    result: Array = model(inputs)[0]
    return result


def _spec(call: Call, num_threads: int) -> CallSpec:
    ratio = (call.sampling_ratio,) * 2
    return CallSpec(
        call.output_size, (1.0,), 0.5, None, "centered", "clamp", ratio, "avg", False, num_threads
    )


def _indices(call: Call) -> Array:
    indices = call.rois[:, 0]
    if not (indices == np.rint(indices)).all():
        raise NoSuchInputError("batch indices are integers here")
    return indices


ENGINES: dict[str, Callable[[Call, int], Array]] = {
    "roialign_cy": roialign_cy,
    "torchvision": torchvision,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}
"""By the name of the distribution."""


def label(name: str) -> str:
    """Name and version; this library is what is checked out."""
    return name if name == "roialign_cy" else f"{name} {version(name).partition('+')[0]}"
