"""ONNX Runtime as a backend: a model of one RoiAlign node."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calls import PreparedCall
from ._base import HALF_PIXEL, MODELS_KEPT, Peer, plain, working_dtype

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

OPSET = 16  # the first with both coordinate modes, and the last that ONNX Runtime has on the CPU
IR_VERSION = 8  # that of the opset's own time, so that older runtimes load it too

_LOG_ERRORS = 3  # every session with a max would warn of ONNX's definition of it


class OnnxRuntime(Peer):
    """RoiAlign of ONNX Runtime's CPU provider."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx")
    modes_refused: ClassVar = {
        "max": "ONNX Runtime's max is over the four weighted neighbours: mode 'max_weighted'"
    }
    near_modes: ClassVar = {"max": ("max_weighted", "max over weighted neighbours")}

    def prepare(self, features: NDArray[Any], rois: NDArray[Any], spec: CallSpec) -> PreparedCall:
        """Make a session and tensors; results come from the session's own allocator."""
        from onnxruntime import OrtValue

        session = session_of(spec, features.dtype.newbyteorder("=").name)
        inputs = {
            "features": plain(features, features.dtype),
            "boxes": plain(rois[:, 1:], working_dtype(features)),
            "images": plain(rois[:, 0], np.int64),
        }
        feed = {name: OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        binding = session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, value)

        # Bound anew, an output is a new one. The default argument keeps the inputs alive. (The
        # plainer `run_with_ort_values` costs 50 us more, `run` copies the result.)
        def run(_feed: dict[str, Any] = feed) -> Any:
            binding.bind_output("pooled", "cpu")
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0]

        return PreparedCall(run, to_numpy=lambda value: value.numpy())


@lru_cache(MODELS_KEPT)
def session_of(spec: CallSpec, dtype: str) -> Any:
    """Give a session that runs such calls."""
    from onnxruntime import InferenceSession, SessionOptions, set_default_logger_severity

    set_default_logger_severity(_LOG_ERRORS)
    options = SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    # Else its threads spin on for 30 ms after a call, and disturb whoever is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = spec.num_threads or 0  # 0: its own choice
    model = _model(spec, dtype).SerializeToString()
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _model(spec: CallSpec, dtype: str) -> Any:
    """Build the graph: RoiAlign, with casts around it for float16 and transposes for NHWC."""
    from onnx import TensorProto, helper

    outer = getattr(TensorProto, {"float16": "FLOAT16", "float64": "DOUBLE"}.get(dtype, "FLOAT"))
    inner = TensorProto.DOUBLE if dtype == "float64" else TensorProto.FLOAT
    before: list[tuple[str, dict[str, Any]]] = []
    after: list[tuple[str, dict[str, Any]]] = []
    if spec.channels_last:
        before.append(("Transpose", {"perm": [0, 3, 1, 2]}))
        after.append(("Transpose", {"perm": [0, 2, 3, 1]}))
    if outer != inner:
        before.append(("Cast", {"to": inner}))
        after.insert(0, ("Cast", {"to": outer}))
    half_pixel = (spec.pixel_offset, spec.min_size) == HALF_PIXEL
    pool = {
        "mode": "avg" if spec.mode == "avg" else "max",
        "output_height": spec.output_size[0],
        "output_width": spec.output_size[1],
        "sampling_ratio": spec.sampling_ratio[0],
        "spatial_scale": spec.spatial_scales[0],
        "coordinate_transformation_mode": "half_pixel" if half_pixel else "output_half_pixel",
    }
    chain = [*before, ("RoiAlign", pool), *after]
    values = ["features", *(f"value{i}" for i in range(1, len(chain))), "pooled"]
    nodes = [
        helper.make_node(
            operator,
            [values[i], "boxes", "images"] if operator == "RoiAlign" else [values[i]],
            [values[i + 1]],
            **attributes,
        )
        for i, (operator, attributes) in enumerate(chain)
    ]
    graph = helper.make_graph(
        nodes,
        "roi_align",
        [
            helper.make_tensor_value_info("features", outer, [None] * 4),
            helper.make_tensor_value_info("boxes", inner, [None, 4]),
            helper.make_tensor_value_info("images", TensorProto.INT64, [None]),
        ],
        [helper.make_tensor_value_info("pooled", outer, [None] * 4)],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


BACKEND = OnnxRuntime()
