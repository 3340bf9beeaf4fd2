"""Writes an ONNX model with an operator of a domain of its own."""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

nodes = [
    helper.make_node("Add", ["x", "x"], ["twice"], name="twice"),
    helper.make_node("HardShrink", ["twice"], ["shrunk"], name="shrink", domain="example.ops",
                     lambd=1.5),
    helper.make_node("Tanh", ["shrunk"], ["y"], name="tanh"),
]  # fmt: skip
info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 64]) for n in ("x", "y")]
opsets = [helper.make_opsetid("", 21), helper.make_opsetid("example.ops", 1)]
graph = helper.make_graph(nodes, "shrinking", info[:1], info[1:])
model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
onnx.save(model, path)
