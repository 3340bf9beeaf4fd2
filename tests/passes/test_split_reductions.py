"""Reductions in two: what one gives, over any axes, at every dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

import aicc
from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.graph.reduce import ReduceOp
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.passes.split_reductions import SPLITS
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import agree, module_of
from tests.passes.test_online import KINDS, layer_norm

NUMPY = NumpyBackend()


def split(module: ModuleOp, options: str) -> ModuleOp:
    context = CompileContext(evaluator=NUMPY, target=NUMPY.description, remarks=[])
    PassManager(parse_pipeline(f"split-reductions{{{options}}}"), context).run(module)
    return module


def reductions(module: ModuleOp) -> int:
    return sum(isinstance(op, ReduceOp) for op in module.walk())


@st.composite
def cases(draw):
    shape = draw(st.lists(st.integers(1, 48), min_size=1, max_size=4))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), unique=True))
    return shape, axes, draw(st.booleans()), draw(st.sampled_from(list(SPLITS)))


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from(["f64", "f16", "i32"]), st.sampled_from(["0", "40"]))
def test_two_give_what_one_gives(case, dtype, longest):
    shape, axes, keepdims, kind = case
    module = module_of(
        lambda b, x: [b.emit(kind, x, axes=axes, keepdims=keepdims)], tensor(shape, dtype)
    )
    rng = np.random.default_rng(0)
    x = (1 + rng.random(shape) / 100).astype({"f64": "f8", "f16": "f2", "i32": "i4"}[dtype])
    x *= rng.choice([1, -1], shape).astype(x.dtype)
    (want,) = NUMPY.run(module, [x])
    (got,) = NUMPY.run(split(module, f"programs=16 least=16 longest={longest}"), [x])
    assert got.dtype == want.dtype and got.shape == want.shape
    if dtype == "i32":
        np.testing.assert_array_equal(got, want)
    else:
        tolerance = 1e-12 if dtype == "f64" else 1e-3
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "kind, shape, axes",
    [
        (graph.ReduceSum, (8192,), (0,)),
        (graph.ReduceMean, (9, 700), (0, 1)),
        (graph.ReduceMax, (512, 33), (0,)),
        (graph.ReduceProd, (6, 5, 256), (0, 2)),
    ],
)
def test_both_are_kernels(kind, shape, axes):
    def build(b, x):
        small = b.emit(graph.Div, x, b.scalar_like(50.0, x))
        return [b.emit(kind, b.emit(graph.Exp, small), axes=axes)]

    module = split(module_of(build, tensor(shape, "f32")), "programs=8 least=256")
    assert reductions(module) == 2
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    agree(module, inputs=[x], rtol=1e-4)


def test_parts_keep_digits_that_one_sum_loses():
    """A million tenths in one f32 sum are off by a hundredth."""
    x = torch.full((1 << 20, 8), 0.1)

    class Columns(torch.nn.Module):
        def forward(self, x):
            return x.sum(0)

    compiled = aicc.compile(Columns(), (x,), target="cpp")
    kernels = [op for op in compiled.module.ops if isinstance(op, tile.Kernel)]
    assert len(kernels) == 2
    torch.testing.assert_close(
        torch.as_tensor(compiled(x)), x.double().sum(0).float(), rtol=2e-5, atol=0
    )


ENDLESS = [np.inf, -np.inf, np.nan, -np.inf, 0.0, 60.0, -60.0]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 3), st.sampled_from([512, 1531]), st.integers(1, 2)),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_shifted_sums_give_what_they_did(kind, shape, seed, hostile):
    """Softmax, variances and norms of rows in parts, with infinities and NaN among them."""
    shape = shape[:2] if kind is layer_norm else shape
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal() * 20, 3, shape)
    if hostile:
        places = rng.random(shape) < rng.choice([0.02, 0.5, 1])
        x = np.where(places, rng.choice(ENDLESS[: rng.integers(1, 8)], shape), x)
    module = module_of(lambda b, v: [kind(b, v, 1)], tensor(shape, "f64"))
    with np.errstate(all="ignore"):
        (want,) = NUMPY.run(module, [x])
        (got,) = NUMPY.run(split(module, "programs=16 least=8"), [x])
    whole = shape[1] == 1531 and kind is layer_norm  # a variance needs parts of one size
    assert reductions(module) == (0 if whole else 4)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_a_batch_is_read_twice():
    """Training's batch norm: once for the statistics of all channels, once to apply them."""
    norm = torch.nn.BatchNorm2d(4, affine=False, track_running_stats=False)
    module = aicc.compile(norm, (torch.randn(16, 4, 64, 64),), target="triton").module
    kernels = [k for k in module.walk() if isinstance(k, tile.Kernel)]
    whole = [
        a.type.shape
        for k in kernels
        for a in k.body.block.args[: k.inputs]
        if isinstance(a.type, tile.BufferType)
    ]
    assert whole.count((16, 4, 64, 64)) == 2 and len(kernels) == 3


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([graph.ArgMax, graph.ArgMin]),
    st.tuples(st.integers(1, 3), st.sampled_from([512, 1031]), st.integers(1, 2)),
    st.sampled_from(["f32", "f16", "i32", "ui16"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_places_are_the_first_ones(kind, shape, dtype, keepdims, seed):
    """Among equals, of which there are many, and with NaN, which wins."""
    rng = np.random.default_rng(seed)
    kinds = {"f32": "f4", "f16": "f2", "i32": "i4", "ui16": "u2"}
    x = rng.integers(0, rng.choice([2, 5, 900]), shape).astype(kinds[dtype])
    if dtype in ("f32", "f16"):
        places = rng.random(shape) < rng.choice([0, 0.01, 1])
        x = np.where(places, rng.choice(ENDLESS[: rng.integers(1, 5)], shape), x).astype(x.dtype)
    module = module_of(
        lambda b, v: [b.emit(kind, v, axis=1, keepdims=keepdims)], tensor(shape, dtype)
    )
    (want,) = NUMPY.run(module, [x])
    (got,) = NUMPY.run(split(module, "programs=16 least=8"), [x])
    assert sum(isinstance(op, (graph.ArgMax, graph.ArgMin)) for op in module.walk()) == 2
    np.testing.assert_array_equal(got, want)
