"""Ops without a kernel that the C++ function of a model calls the runtime for."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.backends.cpp.backend import CppProgram
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of


def scatter(shape, tuples, dtype: str, index: str, reduction: str):
    def body(b, x, indices, updates):
        y = b.emit(graph.ScatterND, x, indices, updates, reduction=reduction)
        return [b.emit(graph.Add, y, x), y]

    inner = [*tuples[:-1], *shape[tuples[-1] :]]
    types = (tensor(shape, dtype), tensor(tuples, index), tensor(inner, dtype))
    return module_of(body, *types)


def drawn(shape, tuples, dtype: str, index: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    inner = [*tuples[:-1], *shape[tuples[-1] :]]
    at = (
        np.stack([rng.integers(-shape[d], shape[d], tuples[:-1]) for d in range(tuples[-1])], -1)
        if tuples[-1]
        else np.zeros(tuples)
    )
    numpy = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
    x, updates = (rng.integers(-9, 9, s).astype(numpy[dtype]) for s in (shape, inner))
    return [x, at.astype(numpy[index]), updates]


@pytest.mark.parametrize("reduction", ["none", "add", "mul"])
@pytest.mark.parametrize("dtype, index", [("f32", "i64"), ("f64", "i32"), ("i64", "i64")])
@pytest.mark.parametrize(
    "shape, tuples",
    [
        ([7, 5], [9, 1]),  # places that come several times
        ([300, 200], [500, 1]),  # shared out over threads
        ([4, 3, 6], [2, 5, 2]),
        ([4, 3], [6, 2]),
        ([4, 3], [2, 0]),
        ([4, 3], [0, 1]),
    ],
)
def test_scattered_slices(shape, tuples, dtype, index, reduction):
    module, inputs = (
        scatter(shape, tuples, dtype, index, reduction),
        drawn(shape, tuples, dtype, index),
    )
    want = aicc.compile(module.clone(), target="numpy").run(inputs)
    compiled = aicc.compile(module, target="cpp")
    program = compiled._program
    assert isinstance(program, CppProgram) and program.native is not None
    for g, w in zip(compiled.run(inputs), want, strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("wrong", [7, -8, 1 << 40])
def test_places_outside_are_errors(wrong):
    inputs = drawn([7, 5], [9, 1], "f32", "i64")
    inputs[1][4] = wrong
    compiled = aicc.compile(scatter([7, 5], [9, 1], "f32", "i64", "add"), target="cpp")
    with pytest.raises(Exception, match=r"out of (range|bounds)"):
        compiled.run(inputs)


@pytest.mark.parametrize("dtype, reduction", [("f16", "add"), ("f32", "max")])
def test_others_are_left_to_python(dtype, reduction):
    compiled = aicc.compile(scatter([7, 5], [9, 1], dtype, "i64", reduction), target="cpp")
    program = compiled._program
    assert isinstance(program, CppProgram) and program.native is None
