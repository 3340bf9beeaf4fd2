"""Blocks whose columns lie side by side in memory are turned before a nest reads their rows."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of


def check(body, *shapes, turned=True):
    module = module_of(body, *(tensor(s, "f32") for s in shapes))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    want = aicc.compile(module.clone(), target="numpy").run(inputs)
    compiled = aicc.compile(module, target="cpp")
    assert ("turn(" in compiled.source) == turned
    for g, w in zip(compiled.run(inputs), want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [8, 31, 33, 64, 127, 1000])
@pytest.mark.parametrize("m", [9, 32, 50, 129])
def test_transposed(m, n):
    check(lambda b, x: [b.transpose(x, [1, 0])], (m, n))


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (2, 0, 1), (1, 2, 0)])
def test_permuted(order):
    turned = order != (2, 1, 0)  # whose blocks have three dims
    check(lambda b, x: [b.transpose(x, order)], (20, 34, 45), turned=turned)


def test_with_what_follows():
    """The block is read as any other operand is; what lies by rows is read where it is."""

    def body(b, x, y, z):
        t = b.emit(graph.Add, b.transpose(x, [1, 0]), y)
        return [b.emit(graph.Tanh, b.emit(graph.Mul, t, z))]

    check(body, (70, 90), (90, 70), (70,))


def test_narrow_ones_stay():
    check(lambda b, x: [b.transpose(x, [1, 0])], (5, 1000), turned=False)
