"""Operators whose signature or meaning changed, at every opset from 7 up, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import aicc

onnxruntime = pytest.importorskip("onnxruntime")

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
X = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
Case = tuple[str, list[Any], dict[str, Any]]
"""Operator, inputs (arrays become initializers, except the first), attributes."""


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def axes_as_input(op: str, since: int, axes: list[int], **attributes: Any):
    """An operator that takes its axes as an attribute, and from `since` on as an input."""

    def case(opset: int) -> Case:
        if opset >= since:
            return op, [X, ints(*axes)], attributes
        return op, [X], {"axes": axes, **attributes}

    return case


def pad(opset: int) -> Case:
    pads = [0, 0, 1, 2, 0, 0, 0, 3]
    if opset >= 11:
        return "Pad", [X, ints(*pads), scalar(1.5)], {}
    return "Pad", [X], {"pads": pads, "value": 1.5}


def slice_(opset: int) -> Case:
    if opset >= 10:
        return "Slice", [X, ints(1, 4), ints(3, 0), ints(1, 3), ints(1, -2)], {}
    return "Slice", [X], {"starts": [1, 0], "ends": [3, 4], "axes": [1, 3]}


def clip(opset: int) -> Case:
    if opset >= 11:
        return "Clip", [X, scalar(-0.5), scalar(0.5)], {}
    return "Clip", [X], {"min": -0.5, "max": 0.5}


def top_k(opset: int) -> Case:
    if opset >= 11:
        return "TopK", [X, ints(2)], {"axis": 2, "largest": 0}
    if opset >= 10:
        return "TopK", [X, ints(2)], {"axis": 2}
    return "TopK", [X], {"k": 2, "axis": 2}


def split(opset: int) -> Case:
    if opset >= 13:
        return "Split", [X, ints(1, 4)], {"axis": 3}
    return "Split", [X], {"split": [1, 4], "axis": 3}


def resize(opset: int) -> Case | None:
    scales = np.array([1, 1, 2, 3], np.float32)
    if opset >= 11:
        mode = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
        return "Resize", [X, np.zeros(0, np.float32), scales], mode
    if opset == 10:
        return "Resize", [X, scales], {"mode": "linear"}
    if opset == 9:
        return "Upsample", [X, scales], {"mode": "linear"}
    return "Upsample", [X], {"scales": scales.tolist(), "mode": "linear"}


def batch_norm(opset: int) -> Case:
    spread = [np.array([v, 1, 2], np.float32) for v in (1.5, -1, 0.5, 2)]
    return "BatchNormalization", [X, *spread], {"epsilon": 1e-3}


def dropout(opset: int) -> Case:
    if opset >= 12:
        return "Dropout", [X, scalar(0.5)], {}
    return "Dropout", [X], {"ratio": 0.5}


def fixed(op: str, *inputs: Any, **attributes: Any) -> Callable[[int], Case]:
    return lambda opset: (op, [X, *inputs], attributes)


CASES: dict[str, Callable[[int], Case | None]] = {
    "Softmax": fixed("Softmax"),
    "Softmax axis 1": fixed("Softmax", axis=1),
    "LogSoftmax": fixed("LogSoftmax"),
    "Hardmax": fixed("Hardmax", axis=2),
    "Flatten": fixed("Flatten", axis=2),
    "Squeeze": lambda opset: (
        ("Squeeze", [X[:1], ints(0)], {}) if opset >= 13 else ("Squeeze", [X[:1]], {"axes": [0]})
    ),
    "Unsqueeze": axes_as_input("Unsqueeze", 13, [0, 3]),
    "ReduceSum": axes_as_input("ReduceSum", 13, [1, 3], keepdims=0),
    "ReduceMean": axes_as_input("ReduceMean", 18, [1, 3], keepdims=0),
    "ReduceMax": axes_as_input("ReduceMax", 18, [2]),
    "ReduceMin all": lambda opset: ("ReduceMin", [X], {"keepdims": 0}),
    "ReduceProd": axes_as_input("ReduceProd", 18, [0]),
    "ReduceL2": axes_as_input("ReduceL2", 18, [3]),
    "ReduceLogSumExp": axes_as_input("ReduceLogSumExp", 18, [1]),
    "Pad": pad,
    "Slice": slice_,
    "Clip": clip,
    "TopK": top_k,
    "Split": split,
    "Resize": resize,
    "BatchNormalization": batch_norm,
    "Dropout": dropout,
    "ArgMax": fixed("ArgMax", axis=2, keepdims=0),
    "Gather": fixed("Gather", ints(0, 2), axis=1),
    "Concat": fixed("Concat", X[:1], axis=0),
    "Reshape": fixed("Reshape", ints(0, -1, 2)),
    "Expand": lambda opset: ("Expand", [X, ints(2, 1, 1, 4, 5)], {}) if opset >= 8 else None,
    "Cast": fixed("Cast", to=TensorProto.INT32),
    "Gemm": lambda opset: (
        "Gemm",
        [X.reshape(6, 20), X.reshape(6, 20)[:4], np.ones(4, np.float32)],
        {"transB": 1, "alpha": 0.5},
    ),
    "AveragePool": fixed(
        "AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "MaxPool": fixed("MaxPool", kernel_shape=[2, 3], strides=[1, 2], auto_pad="SAME_UPPER"),
    "LpPool": fixed("LpPool", kernel_shape=[2, 2], p=2),
    "Elu": fixed("Elu", alpha=0.7),
    "PRelu": fixed("PRelu", np.array([[[0.5]], [[1]], [[-1]]], np.float32)),
    "Tile": fixed("Tile", ints(1, 2, 1, 1)),
    "Sum": fixed("Sum", X, X),
    "DepthToSpace": lambda opset: ("DepthToSpace", [X.reshape(1, 12, 2, 5)], {"blocksize": 2}),
    "OneHot": lambda opset: (
        ("OneHot", [ints(0, 2, -1), ints(4), np.array([0.5, 2], np.float32)], {})
        if opset >= 9
        else None
    ),
}


def build(case: Case, opset: int) -> tuple[onnx.ModelProto, np.ndarray]:
    op, inputs, attributes = case
    first = numpy_helper.from_array(inputs[0])
    names = ["x", *(f"i{k}" for k in range(1, len(inputs)))]
    count = 2 if op in ("TopK", "Split") else 1
    outputs = [f"y{k}" for k in range(count)]
    node = helper.make_node(op, names, outputs, name="n", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", first.data_type, first.dims)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(a, n) for n, a in zip(names[1:], inputs[1:], strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model), inputs[0]


@pytest.mark.parametrize("name", CASES)
def test_operator_at_every_opset(name):
    compared = 0
    for opset in OPSETS:
        case = CASES[name](opset)
        if case is None:
            continue
        model, x = build(case, opset)
        got = aicc.compile(model, [x]).run([x])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        except Exception:  # newer than the runtime, or an operator that it left out
            continue
        compared += 1
        for a, b in zip(got, session.run(None, {"x": x}), strict=True):
            assert a.dtype == b.dtype, opset
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=f"opset {opset}")
    assert compared >= 10
