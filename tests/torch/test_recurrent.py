"""Recurrent layers of torch: loops in the IR, as eager computes them."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.backends.cpp.backend import CppProgram
from aicc.ir import graph

torch = pytest.importorskip("torch")


def compiled(layer, inputs, **options):
    return aicc.compile(layer.eval(), inputs, **options)


def check(layer, x, target="numpy", **options):
    model = compiled(layer, [x], target=target, **options)
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(layer(x))
    got = model(x)
    for a, b in zip(got if isinstance(got, tuple) else (got,), wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    return model


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"batch_first": True, "num_layers": 2, "dropout": 0.5},
        {"bidirectional": True, "num_layers": 2},
    ],
    ids=["plain", "no bias", "layers", "both directions"],
)
def test_layers(layer, options):
    torch.manual_seed(0)
    model = check(getattr(torch.nn, layer)(5, 7, **options), torch.randn(4, 3, 5))
    loops = sum(isinstance(op, graph.Loop) for op in model.module.walk())
    assert loops == options.get("num_layers", 1) * (1 + options.get("bidirectional", False))


def test_activations_and_projections():
    torch.manual_seed(0)
    check(torch.nn.RNN(5, 7, nonlinearity="relu"), torch.randn(4, 3, 5))
    check(torch.nn.LSTM(5, 7, proj_size=3, bidirectional=True), torch.randn(4, 3, 5))


def test_a_batch_that_is_not_known():
    torch.manual_seed(0)
    layer = torch.nn.GRU(5, 7, bidirectional=True)
    model = compiled(layer, [torch.randn(6, 3, 5)], target="numpy", dims={"input.1": (2, 50)})
    for batch in (2, 9, 50):
        x = torch.randn(6, batch, 5)
        with torch.no_grad():
            want = layer(x)[0]
        np.testing.assert_allclose(model(x)[0].numpy(), want.numpy(), rtol=1e-4, atol=1e-5)


def test_the_loop_is_native_in_cpp():
    torch.manual_seed(0)
    model = check(torch.nn.LSTM(16, 24, num_layers=2), torch.randn(8, 2, 16), target="cpp")
    program = model._program
    assert isinstance(program, CppProgram) and program.native is not None
