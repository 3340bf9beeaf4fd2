"""The committed digits model is what the example says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def test_the_model_gives_the_compiler_something_to_do():
    model = onnx.load(DIGITS / "digits.onnx")
    ops = {node.op_type for node in model.graph.node}
    assert ops >= {"Conv", "BatchNormalization", "Relu", "MaxPool", "Gemm", "Softmax"}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_model_reads_the_samples():
    session = onnxruntime.InferenceSession(DIGITS / "digits.onnx")
    (probabilities,) = session.run(["probabilities"], {"image": np.load(DIGITS / "samples.npy")})
    digits = np.asarray(probabilities).argmax(axis=1)
    assert np.array_equal(digits, np.load(DIGITS / "labels.npy"))
