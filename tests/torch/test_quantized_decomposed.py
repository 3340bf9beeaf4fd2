"""What exports of pt2e-quantized models are made of, against eager, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import aicc
from aicc.ir import graph

pytest.importorskip("torch.ao.quantization.fx._decomposed")
Q = torch.ops.quantized_decomposed


class PerTensor(torch.nn.Module):
    def __init__(self, dtype: torch.dtype, low: int, high: int):
        super().__init__()
        self.dtype, self.low, self.high = dtype, low, high

    def forward(self, x):
        limits = (self.low, self.high, self.dtype)
        q = Q.quantize_per_tensor.default(x, 0.0373, 3, *limits)
        return q, Q.dequantize_per_tensor.default(q, 0.0373, 3, *limits)


class PerChannel(torch.nn.Module):
    def forward(self, x):
        scales = torch.tensor([0.01, 0.02, 0.05])
        zeros = torch.tensor([0, 5, -7])
        limits = (-127, 127, torch.int8)
        q = Q.quantize_per_channel.default(x, scales, zeros, 1, *limits)
        return q, Q.dequantize_per_channel.default(q, scales, zeros, 1, *limits)


class Dynamic(torch.nn.Module):
    def forward(self, x):
        limits = (0, 255)
        scale, zero = Q.choose_qparams.tensor(x, *limits, 1e-5, torch.uint8)
        q = Q.quantize_per_tensor.tensor(x, scale, zero, *limits, torch.uint8)
        return q, Q.dequantize_per_tensor.tensor(q, scale, zero, *limits, torch.uint8)


CASES = {
    "uint8": PerTensor(torch.uint8, 0, 255),
    "int8": PerTensor(torch.int8, -128, 127),
    "seven bits": PerTensor(torch.uint8, 0, 127),
    "a channel": PerChannel(),
    "dynamic": Dynamic(),
}


@pytest.mark.parametrize("name", CASES)
def test_codes_are_torchs(name):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 50) * 3
    want = CASES[name](x)
    compiled = aicc.compile(CASES[name], inputs=(x,), target="numpy")
    for a, b in zip(compiled(x), want, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


class Layer(torch.nn.Module):
    """A quantized linear layer, as pt2e leaves it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randint(-127, 128, (5, 8), dtype=torch.int8))
        self.register_buffer("scales", torch.rand(5) * 0.01 + 0.001)
        self.register_buffer("zeros", torch.zeros(5, dtype=torch.int64))

    def forward(self, x):
        q = Q.quantize_per_tensor.default(x, 0.02, 11, -128, 127, torch.int8)
        x = Q.dequantize_per_tensor.default(q, 0.02, 11, -128, 127, torch.int8)
        args = (self.scales, self.zeros, 0, -127, 127, torch.int8)
        w = Q.dequantize_per_channel.default(self.weight, *args)
        return torch.nn.functional.linear(x, w)


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_layers_run_on_integers(target):
    x = torch.randn(6, 8)
    model = Layer()
    compiled = aicc.compile(model, inputs=(x,), target=target)
    np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    if target == "numpy":
        (product,) = [op for op in compiled.module.walk() if isinstance(op, graph.MatMul)]
        assert str(product.out_dtype) == "i32"
        largest = max(
            op.value.array.nbytes for op in compiled.module.walk() if type(op) is graph.Constant
        )
        assert largest == 40, "the weight was widened"
