"""Whole ONNX models in Ascend C, on the emulator, in float and in half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import aicc
from aicc.verify import sample_inputs

EXAMPLES = Path(__file__).parents[3] / "examples"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

MODELS = {
    "digits": EXAMPLES / "digits" / "digits.onnx",
    "squeezenet": LIGHT / "light_squeezenet.onnx",
}


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float tensor in half."""

    def halved(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    graph = model.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        halved(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                halved(attribute.t)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("name", MODELS)
def test_model(name, dtype):
    model = onnx.load(MODELS[name])
    if dtype == "f16":
        model = in_half(model)
    dims = {"batch": 2} if name == "digits" else {}
    reference = aicc.compile(model, target="numpy", dims=dims)
    compiled = aicc.compile(model, target="ascendc", dims=dims)
    inputs = sample_inputs(reference.module)
    tolerance = 1e-4 if dtype == "f32" else 1e-2
    for found, want in zip(compiled.run(inputs), reference.run(inputs), strict=True):
        np.testing.assert_allclose(found, want, rtol=tolerance, atol=tolerance)
    assert "Gm.GetValue(" not in compiled.source  # no element of device memory by itself
