"""Scatters of one index, and the selects that they become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import agree, module_of

NUMPY = NumpyBackend()


def rewritten(build, *types):
    """A module twice, as it is and without scatters."""
    context = CompileContext(evaluator=NUMPY, target=NUMPY.description, remarks=[])
    module = module_of(build, *types)
    PassManager(parse_pipeline("scatter-to-select"), context).run(module)
    kinds = (graph.ScatterElements, graph.ScatterND)
    assert not any(isinstance(op, kinds) for op in module.walk())
    return module_of(build, *types), module


@st.composite
def scatters(draw):
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    reduction = draw(st.sampled_from(["none", "add"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.standard_normal(shape).astype("f4")
    if draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        lines = [1 if i == axis else d for i, d in enumerate(shape)]
        index = rng.integers(-shape[axis], shape[axis], lines)
        updates = rng.standard_normal(lines).astype("f4")
        return graph.ScatterElements, {"axis": axis, "reduction": reduction}, x, index, updates
    depth = draw(st.integers(1, len(shape)))
    ones = draw(st.sampled_from([[], [1], [1, 1]]))
    index = rng.integers([-d for d in shape[:depth]], shape[:depth]).reshape([*ones, depth])
    updates = rng.standard_normal([*ones, *shape[depth:]]).astype("f4")
    return graph.ScatterND, {"reduction": reduction}, x, index, updates


@settings(max_examples=120, deadline=None)
@given(scatters())
def test_both_give_the_same(case):
    kind, params, *inputs = case
    types = [tensor(a.shape, t) for a, t in zip(inputs, ("f32", "i64", "f32"), strict=True)]
    before, after = rewritten(lambda b, *v: [b.emit(kind, *v, **params)], *types)
    for want, got in zip(NUMPY.run(before, inputs), NUMPY.run(after, inputs), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 7, 130])
def test_they_are_kernels(size):
    types = (tensor((5, size), "f32"), tensor((5, 1), "i64"), tensor((5, 1), "f32"))
    _, after = rewritten(
        lambda b, x, i, u: [b.emit(graph.ScatterElements, b.emit(graph.Exp, x), i, u, axis=1)],
        *types,
    )
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal((5, size)).astype("f4"), rng.standard_normal((5, 1)).astype("f4")
    agree(after, inputs=[x, rng.integers(-size, size, (5, 1)), u])
