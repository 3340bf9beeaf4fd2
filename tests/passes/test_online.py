"""Sums found in the pass of another reduction: the same as in a pass of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp

from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import NUMPY, TRITON, module_of, run_triton


def softmax(b, x, axis):
    return b.emit(graph.Softmax, x, axis=axis)


def log_sum_exp(b, x, axis):
    """As torch has it: an infinite maximum isn't subtracted."""
    top = b.emit(graph.ReduceMax, x, axes=[axis], keepdims=True)
    endless = b.emit(graph.IsInf, top)
    shift = b.emit(graph.Select, endless, b.scalar_like(0, top), top)
    total = b.emit(graph.Exp, b.emit(graph.Sub, x, shift))
    total = b.emit(graph.ReduceSum, total, axes=[axis], keepdims=True)
    return b.emit(graph.Add, b.emit(graph.Log, total), shift)


def variance(b, x, axis):
    mean = b.emit(graph.ReduceMean, x, axes=[axis], keepdims=True)
    away = b.emit(graph.Sub, x, mean)
    return b.emit(graph.ReduceMean, b.emit(graph.Mul, away, away), axes=[axis], keepdims=True)


def layer_norm(b, x, axis):
    return b.build(graph.LayerNorm, x, None, None, axis=1, epsilon=1e-5).results[0]


KINDS = (softmax, log_sum_exp, variance, layer_norm)


def lowered(module: ModuleOp, options: str) -> ModuleOp:
    context = CompileContext(evaluator=NUMPY, target=TRITON.description, remarks=[])
    PassManager(parse_pipeline(f"fuse,lower-to-tile{{{options}}},dce"), context).run(module)
    return module


def passes(module: ModuleOp) -> int:
    """The loops over a row that its kernels have."""
    kernels = [k for k in module.walk() if isinstance(k, tile.Kernel)]
    return sum(isinstance(op, scf.ForOp) for k in kernels for op in k.body.walk())


ENDLESS = [np.inf, -np.inf, np.nan, -np.inf, 0.0, 60.0, -60.0]


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 5), st.integers(17, 90), st.integers(1, 3)),
    st.sampled_from(["f32", "f64", "f16"]),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_one_pass_gives_what_two_give(kind, shape, dtype, seed, hostile):
    shape = shape if kind is not layer_norm else shape[:2]
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal() * 20, 3, shape).astype(
        {"f32": "f4", "f64": "f8", "f16": "f2"}[dtype]
    )
    if hostile:
        places = rng.random(shape) < rng.choice([0.02, 0.5, 1])
        x = np.where(places, rng.choice(ENDLESS[: rng.integers(1, 8)], shape), x).astype(x.dtype)
    build = lambda: module_of(lambda b, v: [kind(b, v, 1)], tensor(shape, dtype))  # noqa: E731
    with np.errstate(all="ignore"):
        (want,) = NUMPY.run(lowered(build(), "longest=16"), [x])
        (got,) = NUMPY.run(lowered(build(), "longest=16 online=true"), [x])
    tolerance = {"f32": 2e-5, "f64": 1e-12, "f16": 2e-3}[dtype]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize(
    "kind, before, after",
    [(softmax, 3, 2), (log_sum_exp, 2, 1), (variance, 2, 1), (layer_norm, 3, 2)],
    ids=lambda k: getattr(k, "__name__", ""),
)
def test_a_row_is_read_once_less(kind, before, after):
    build = lambda: module_of(lambda b, v: [kind(b, v, 1)], tensor((3, 100), "f32"))  # noqa: E731
    assert passes(lowered(build(), "longest=16")) == before
    assert passes(lowered(build(), "longest=16 online=true")) == after


def test_a_mean_that_others_shift_is_left_alone():
    """Squares of x − 2 mean x aren't those that the formula adds up."""

    def body(b, x):
        mean = b.emit(graph.ReduceMean, x, axes=[1], keepdims=True)
        away = b.emit(graph.Sub, x, b.emit(graph.Add, mean, mean))
        return [b.emit(graph.ReduceSum, b.emit(graph.Mul, away, away), axes=[1])]

    module = lowered(module_of(body, tensor((3, 100), "f32")), "longest=16 online=true")
    assert passes(module) == 2


def test_large_means_keep_their_variance():
    """The sums of squares would lose every digit: 10,000² of 10,000² + 1."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.normal(size=(2, 5000))).astype(np.float32)
    module = module_of(lambda b, v: [variance(b, v, 1)], tensor(x.shape, "f32"))
    (got,) = NUMPY.run(lowered(module, "longest=256 online=true"), [x])
    np.testing.assert_allclose(got[:, 0], x.astype(np.float64).var(1), rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_in_triton(kind):
    x = np.random.default_rng(0).normal(5, 3, (3, 301)).astype(np.float32)
    x[1, 7] = -np.inf if kind in (softmax, log_sum_exp) else 9
    build = lambda: module_of(lambda b, v: [kind(b, v, 1)], tensor(x.shape, "f32"))  # noqa: E731
    (want,) = NUMPY.run(build(), [x])
    (got,) = run_triton(lowered(build(), "longest=64 online=true"), [x])
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
