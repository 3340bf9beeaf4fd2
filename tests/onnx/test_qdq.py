"""Random quantized models: integers as ONNX Runtime computes them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

import aicc
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of

INTEGERS = {"u8": (np.uint8, T.UINT8), "i8": (np.int8, T.INT8)}


class Drawn:
    """A chain of quantized layers on an image, one random layer after another."""

    def __init__(self, seed: int, layers: int, dtype: str, per_channel: bool):
        self.rng = np.random.default_rng(seed)
        self.np, self.type = INTEGERS[dtype]
        self.per_channel = per_channel
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0
        self.shape = (2, int(self.rng.integers(1, 6)), 9, 8)
        first = self.shape
        self.scale, q = 0.03, self.quantized("x", 0.03)
        for _ in range(layers):
            q = self.layer(q)
        info = h.make_tensor_value_info
        proto = h.make_graph(
            self.nodes,
            "qdq",
            [info("x", T.FLOAT, first)],
            [info(q, self.type, self.shape)],
            self.constants,
        )
        self.model = h.make_model(proto, opset_imports=[h.make_opsetid("", 21)], ir_version=10)
        self.x = self.rng.normal(0, 1.5, first).astype(np.float32)

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def constant(self, value) -> str:
        name = self.name("c")
        self.constants.append(nh.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attrs) -> str:
        name = self.name(kind.lower())
        self.nodes.append(h.make_node(kind, list(inputs), [name], name=name, **attrs))
        return name

    def quantized(self, value: str, scale: float) -> str:
        """Quantize a value; `self.parameters` are its scale and zero point."""
        zero = self.rng.integers(100, 156) - (0 if self.np == np.uint8 else 128)
        self.parameters = self.constant(np.float32(scale)), self.constant(self.np(zero))
        self.scale = scale
        return self.node("QuantizeLinear", value, *self.parameters)

    def real(self, q: str) -> str:
        return self.node("DequantizeLinear", q, *self.parameters)

    def weight(self, shape, axis: int) -> tuple[str, np.ndarray]:
        """A dequantized weight and its scale."""
        channels = shape[axis] if self.per_channel else ()
        scale = self.rng.uniform(0.002, 0.01, channels).astype(np.float32)
        ints = self.rng.integers(-127, 128, shape).astype(np.int8)
        inputs = [self.constant(v) for v in (ints, scale, np.zeros(channels, np.int8))]
        return self.node("DequantizeLinear", *inputs, axis=axis), scale

    def bias(self, size: int, scale: np.ndarray) -> str:
        ints = self.rng.integers(-2000, 2000, size).astype(np.int32)
        whole = np.asarray(np.float32(self.scale) * scale, np.float32)
        zero = np.zeros(whole.shape, np.int32)
        inputs = [self.constant(v) for v in (ints, whole, zero)]
        return self.node("DequantizeLinear", *inputs, axis=0)

    def layer(self, q: str) -> str:
        image = len(self.shape) == 4
        kinds = ["conv", "conv_relu", "flatten"] if image else ["matmul", "gemm", "gemm_relu"]
        kind = self.rng.choice(kinds)
        x = self.real(q)
        if kind == "flatten":
            self.shape = (self.shape[0], int(np.prod(self.shape[1:])))
            y = self.node("Reshape", x, self.constant(np.array(self.shape)))
            return self.node("QuantizeLinear", y, *self.parameters)
        columns = int(self.rng.integers(1, 12))
        if image:
            taps = int(self.rng.choice([1, 3]))
            w, scale = self.weight((columns, self.shape[1], taps, taps), 0)
            operands = [w, self.bias(columns, scale)][: 1 + int(self.rng.integers(0, 2))]
            y = self.node("Conv", x, *operands, pads=[taps // 2] * 4)
            self.shape = (self.shape[0], columns, *self.shape[2:])
        else:
            depth = self.shape[1]
            if kind == "matmul":
                y = self.node("MatMul", x, self.weight((depth, columns), 1)[0])
            else:
                w, scale = self.weight((columns, depth), 0)
                y = self.node("Gemm", x, w, self.bias(columns, scale), transB=1)
            self.shape = (self.shape[0], columns)
        if kind.endswith("relu"):
            y = self.node("Relu", y)
        return self.quantized(y, float(self.rng.uniform(0.1, 0.4)))


@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "a scale a channel"])
@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_integers_are_onnxruntimes(dtype, per_channel):
    equal = total = 0
    for seed in range(25):
        drawn = Drawn(seed, int(1 + seed % 5), dtype, per_channel)
        onnx.checker.check_model(drawn.model)
        session = onnxruntime.InferenceSession(
            drawn.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (want,) = session.run(None, {"x": drawn.x})
        compiled = aicc.compile(drawn.model, target="numpy")
        products = [
            op for op in compiled.module.walk() if isinstance(op, (graph.MatMul, graph.Conv))
        ]
        assert all(op.out_dtype is not None for op in products), "a product of dequantized floats"
        (found,) = compiled.run([drawn.x])
        gap = np.abs(np.asarray(want, np.int32) - found)
        assert gap.max(initial=0) <= 1, seed
        equal += int((gap == 0).sum())
        total += gap.size
    assert total > 1000 and equal >= 0.999 * total, f"{total - equal} of {total} differ"


@pytest.mark.parametrize("target", ["cpp", "triton", "ascendc"])
def test_targets_agree_to_the_bit(target):
    for seed in range(2 if target == "triton" else 6):
        drawn = Drawn(seed, 1 + seed, "u8", seed % 2 == 0)
        (want,) = aicc.compile(drawn.model, target="numpy").run([drawn.x])
        compiled = aicc.compile(drawn.model, target=target)
        left = (graph.MatMul, graph.Conv, graph.Quantize, graph.Dequantize)
        assert not any(isinstance(op, left) for op in compiled.module.walk()), "no kernel"
        (found,) = compiled.run([drawn.x])
        np.testing.assert_array_equal(found, want)


def test_bytes_and_8_bit_floats_are_not_convolved():
    def body(b, x):
        one = b.constant(np.float32(0.5))
        weight = b.constant(np.ones((2, 3, 1, 1), np.int8))
        sides = [b.emit(graph.Dequantize, v, one, None, dtype="f32") for v in (x, weight)]
        window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
        return [b.emit(graph.Conv, *sides, None, **window)]

    module = module_of(body, tensor((1, 3, 4, 4), "f8E4M3FN"))
    compiled = aicc.compile(module, target="numpy")
    (product,) = [op for op in compiled.module.walk() if isinstance(op, graph.Conv)]
    assert product.out_dtype is None
