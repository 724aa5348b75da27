"""OpenVINO as a backend: a model of one ROIAlign-9 operation on its CPU plugin."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calls import PreparedCall
from ._base import HALF_PIXEL, MODELS_KEPT, WHOLE_PIXEL, Peer, plain

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

_ALIGNED_MODES = {HALF_PIXEL: "half_pixel_for_nn", WHOLE_PIXEL: "asymmetric"}


class OpenVino(Peer):
    """ROIAlign of OpenVINO's CPU plugin."""

    name = "openvino"
    packages = ("openvino",)
    dtypes = ("float16", "float32")
    modes_refused: ClassVar = {
        "max": "OpenVINO's max starts from 0: a section of negative values gives 0",
        "max_weighted": "OpenVINO's max is over interpolated points",
    }
    near_modes: ClassVar = {"max": ("max", "max from 0: equal where nothing is negative")}

    def prepare(self, features: NDArray[Any], rois: NDArray[Any], spec: CallSpec) -> PreparedCall:
        """Compile the model for these shapes and bind the inputs to it."""
        import openvino

        dtype = features.dtype.newbyteorder("=")
        inputs = (
            plain(features, dtype),
            plain(rois[:, 1:], np.float32),
            plain(rois[:, 0], np.int32),
        )
        request = compiled_model(spec, features.shape, len(rois), dtype.name).create_infer_request()
        for i, array in enumerate(inputs):
            request.set_input_tensor(i, openvino.Tensor(array, shared_memory=True))
        rows, cols = spec.output_size
        if spec.channels_last:
            shape = len(rois), rows, cols, features.shape[3]
        else:
            shape = len(rois), features.shape[1], rows, cols

        # A request reuses its output tensor; a call has to give a result of its own. The default
        # argument keeps the arrays alive that the request only points to.
        def run(_inputs: tuple[NDArray[Any], ...] = inputs) -> NDArray[Any]:
            out = np.empty(shape, dtype)
            request.set_output_tensor(0, openvino.Tensor(out, shared_memory=True))
            request.infer()
            return out

        return PreparedCall(run)


@lru_cache(MODELS_KEPT)
def compiled_model(spec: CallSpec, shape: tuple[int, ...], num_rois: int, dtype: str) -> Any:
    """Give a model that runs such calls."""
    import openvino
    from openvino import opset9

    x = opset9.parameter(list(shape), dtype=np.dtype(dtype))
    boxes = opset9.parameter([num_rois, 4], dtype=np.float32)
    images = opset9.parameter([num_rois], dtype=np.int32)
    value = x if dtype == "float32" else opset9.convert(x, "f32")
    if spec.channels_last:
        value = opset9.transpose(value, np.array([0, 3, 1, 2]))
    value = opset9.roi_align(
        value,
        boxes,
        images,
        *spec.output_size,
        spec.sampling_ratio[0],
        *spec.spatial_scales,
        spec.mode,
        _ALIGNED_MODES[spec.pixel_offset, spec.min_size],
    )
    if spec.channels_last:
        value = opset9.transpose(value, np.array([0, 2, 3, 1]))
    if dtype != "float32":
        value = opset9.convert(value, "f16")
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
    }
    if spec.num_threads is not None:
        options["INFERENCE_NUM_THREADS"] = spec.num_threads
    model = openvino.Model([value], [x, boxes, images])
    return openvino.Core().compile_model(model, "CPU", options)


BACKEND = OpenVino()
