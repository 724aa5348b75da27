"""The same calls by torchvision, where it is installed and has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stages import Case


def torchvision_call(case: Case) -> Callable[[], Any] | None:
    """A function that runs it on CuPy's stream, or None if torchvision cannot."""
    options, workload = case.options, case.workload
    if options["mode"] != "avg" or options["convention"] != "detectron2" or case.kind == "rois":
        return None
    if workload.layout != "NCHW":
        return None
    try:
        import torch
        import torchvision  # noqa: F401  registers the operators
    except ImportError:
        return None
    operators = torch.ops.torchvision
    rows, cols = workload.output_size
    features = torch.from_numpy(workload.features()).cuda()
    rois = torch.from_numpy(workload.rois()).to(features)
    ratio, scale = workload.sampling_ratio or 0, workload.spatial_scale
    if case.kind == "output":
        return lambda: operators.roi_align(features, rois, scale, rows, cols, ratio, True)
    grad = torch.ones(len(rois), features.shape[1], rows, cols, device="cuda")
    return lambda: operators._roi_align_backward(
        grad, rois, scale, rows, cols, *features.shape, ratio, True
    )
