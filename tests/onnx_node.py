"""Single operators of ONNX Runtime, for the tests that have the extra 'peers'."""

import onnx
import onnxruntime


def node(operator, opset, domain=""):
    """Make a function that runs one operator of ONNX Runtime on arrays."""

    def call(*inputs, **attributes):
        names = [f"input{k}" for k in range(len(inputs))]
        kind = onnx.helper.np_dtype_to_tensor_dtype
        made = onnx.helper.make_node(operator, names, ["y"], domain=domain, **attributes)
        graph = onnx.helper.make_graph(
            [made],
            operator,
            [
                onnx.helper.make_tensor_value_info(name, kind(values.dtype), values.shape)
                for name, values in zip(names, inputs, strict=True)
            ],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        )
        opsets = [onnx.helper.make_opsetid(domain, opset)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]

    return call
