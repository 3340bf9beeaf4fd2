"""ONNX models of the convolutional kind as torch eager calls, node by node: a baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

Attributes = dict[str, Any]


def _padded(x: torch.Tensor, a: Attributes, value: float) -> tuple[torch.Tensor, list[int]]:
    """Asymmetric pads go into the tensor, symmetric ones to the operator."""
    n = x.ndim - 2
    pads = a.get("pads", [0] * 2 * n)
    if pads[:n] == pads[n:]:
        return x, pads[:n]
    return F.pad(x, [p for i in reversed(range(n)) for p in (pads[i], pads[n + i])], value=value), [
        0
    ] * n


def _conv(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None):
    x, pads = _padded(x, a, 0)
    return F.conv2d(x, w, b, a.get("strides", 1), pads, a.get("dilations", 1), a.get("group", 1))


def _max_pool(a: Attributes, x: torch.Tensor):
    x, pads = _padded(x, a, -torch.inf)
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), pads)


def _average_pool(a: Attributes, x: torch.Tensor):
    """Pads don't count: divide the sums by how many elements each window has."""
    ones, pads = _padded(torch.ones_like(x[:1, :1]), a, 0)
    x, _ = _padded(x, a, 0)
    args = (a["kernel_shape"], a.get("strides", 1), pads)
    return F.avg_pool2d(x, *args) / F.avg_pool2d(ones, *args)


def _batch_norm(a: Attributes, x: torch.Tensor, scale: Any, bias: Any, mean: Any, variance: Any):
    return F.batch_norm(x, mean, variance, scale, bias, eps=a.get("epsilon", 1e-5))


def _reshape(a: Attributes, x: torch.Tensor, shape: torch.Tensor):
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape.tolist())])


def _gemm(a: Attributes, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor):
    return F.linear(x, w if a.get("transB") else w.T, b)


def _softmax(a: Attributes, x: torch.Tensor):
    """Before opset 13: over all dims from `axis` on."""
    return x.flatten(a.get("axis", 1)).softmax(-1).reshape(x.shape)


def _unsqueeze(a: Attributes, x: torch.Tensor):
    for axis in sorted(a["axes"]):
        x = x.unsqueeze(axis)
    return x


OPS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Dropout": lambda a, x: x,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "LRN": lambda a, x: F.local_response_norm(x, a["size"], a["alpha"], a["beta"], a["bias"]),
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: torch.relu(x),
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Sum": lambda a, *xs: reduce(torch.add, xs),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}


def torch_runner(path: Path) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """Run the model's nodes in order; a tensor dies after its last use."""
    graph = onnx.load(path).graph
    weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    outputs = {o.name for o in graph.output}
    last = {name: i for i, node in enumerate(graph.node) for name in node.input}
    steps = []
    for i, node in enumerate(graph.node):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        dead = {n for n in node.input if last[n] == i and n not in weights and n not in outputs}
        steps.append((OPS[node.op_type], attributes, list(node.input), node.output[0], dead))

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        env = dict(weights)
        env.update({k: torch.from_numpy(v) for k, v in inputs.items()})
        with torch.inference_mode():
            for op, attributes, names, result, dead in steps:
                env[result] = op(attributes, *(env[n] for n in names))
                for name in dead:
                    del env[name]
        return [env[o.name].numpy() for o in graph.output]

    return run
