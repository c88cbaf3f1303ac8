"""Deformable convolutions of inference engines, as calls that return NumPy arrays: 3x3 taps, padding 1, with bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor


def onnxruntime_call(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, threads: int
) -> Callable[[], np.ndarray]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    inputs = {"X": input, "offset": offset, "mask": mask}
    node = helper.make_node("DeformConv", ["X", "W", "offset", "B", "mask"], ["Y"], kernel_shape=[3, 3], pads=[1] * 4)
    graph = helper.make_graph(
        [node],
        "deform_conv2d",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, tuple(t.shape)) for name, t in inputs.items()],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, tuple(input.shape))],
        [numpy_helper.from_array(t.numpy(), name) for name, t in (("W", weight), ("B", bias))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {name: t.numpy() for name, t in inputs.items()}
    return lambda: session.run(None, feed)[0]


def openvino_call(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, threads: int
) -> Callable[[], np.ndarray]:
    import openvino
    from openvino import opset8

    arrays = [t.numpy() for t in (input, offset, mask)]
    x, at, factors = (opset8.parameter(list(a.shape), np.float32) for a in arrays)
    kernel, twice = opset8.constant(weight.numpy()), [1, 1]
    y = opset8.deformable_convolution(
        x, at, kernel, twice, twice, twice, twice, factors, bilinear_interpolation_pad=True
    )
    y = opset8.add(y, opset8.constant(bias.numpy().reshape(1, -1, 1, 1)))
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = (
        openvino.Core().compile_model(openvino.Model([y], [x, at, factors]), "CPU", options).create_infer_request()
    )
    return lambda: request.infer(arrays, share_inputs=True)[0]
