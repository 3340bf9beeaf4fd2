"""Ops without a kernel that the C++ function of a model calls the runtime for."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.backends.cpp.backend import CppProgram
from aicc.errors import InputError
from aicc.ir import graph
from aicc.ir.dtypes import dtype_of
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of


def scatter(shape, tuples, dtype: str, index: str, *reductions: str):
    def body(b, x, indices, updates):
        made = [b.emit(graph.ScatterND, x, indices, updates, reduction=r) for r in reductions]
        return [b.emit(graph.Add, made[0], x), *made]

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


def native(module, inputs: list[np.ndarray]) -> None:
    """No part of the model is left to Python, and its results are NumPy's to the last bit."""
    want = aicc.compile(module.clone(), target="numpy").run(inputs)
    compiled = aicc.compile(module, target="cpp")
    program = compiled._program
    assert isinstance(program, CppProgram) and program.native is not None
    for g, w in zip(compiled.run(inputs), want, strict=True):
        assert g.dtype == w.dtype
        if dtype_of(g.dtype).name == "bf16":  # of which NumPy doesn't know that NaN is NaN
            g, w = g.astype(np.float32), w.astype(np.float32)
        np.testing.assert_array_equal(g, w)


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
def test_scattered_slices(shape, tuples, dtype, index):
    module = scatter(shape, tuples, dtype, index, "none", "add", "mul", "max")
    native(module, drawn(shape, tuples, dtype, index))


@pytest.mark.parametrize("wrong", [7, -8, 1 << 40])
def test_places_outside_are_errors(wrong):
    inputs = drawn([7, 5], [9, 1], "f32", "i64")
    inputs[1][4] = wrong
    compiled = aicc.compile(scatter([7, 5], [9, 1], "f32", "i64", "add"), target="cpp")
    with pytest.raises(Exception, match=r"out of (range|bounds)"):
        compiled.run(inputs)


@pytest.mark.parametrize("dtype, index", [("f32", "i64"), ("i32", "i32")])
@pytest.mark.parametrize(
    "shape, counts, axis",
    [([7], [4], 0), ([5, 300], [9, 200], 0), ([4, 6, 3], [4, 2, 3], 1), ([3, 8], [0, 8], 1)],
)
def test_scattered_elements(shape, counts, axis, dtype, index):
    """Of updates that replace, no two come to one place."""
    rng = np.random.default_rng(0)
    lines = [d for i, d in enumerate(counts) if i != axis]
    once = [rng.permutation(shape[axis])[: counts[axis]] for _ in range(int(np.prod(lines)))]
    unique = counts[axis] <= shape[axis]
    numpy = {"f32": np.float32, "i32": np.int32, "i64": np.int64}

    def body(b, x, often, once, updates):
        y = b.emit(graph.Neg, x)
        made = [
            b.emit(graph.ScatterElements, y, often, updates, axis=axis, reduction=r)
            for r in ("add", "mul", "max", "min")
        ]
        if unique:
            made.append(b.emit(graph.ScatterElements, y, once, updates, axis=axis))
        return [b.emit(graph.Add, made[0], x), *made]

    often = rng.integers(-shape[axis], shape[axis], counts)
    once = (
        np.moveaxis(np.array(once, np.int64).reshape(*lines, counts[axis]), -1, axis)
        if unique
        else often
    )
    at = [a.astype(numpy[index]) for a in (often, once)]
    x, updates = (rng.integers(-9, 9, s).astype(numpy[dtype]) for s in (shape, counts))
    types = (tensor(shape, dtype), *[tensor(counts, index)] * 2, tensor(counts, dtype))
    native(module_of(body, *types), [x, *at, updates])


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize("shape, axis, k", [([9], 0, 3), ([300, 40], 0, 7), ([4, 65, 3], 1, 65)])
def test_lines_in_order(shape, axis, k, dtype):
    def body(b, x):
        y = b.emit(graph.Abs, x)
        made = []
        for largest in (True, False):
            made += b.build(graph.TopK, y, axis=axis, k=[k], largest=largest).results
            made += b.build(graph.Sort, y, axis=axis, descending=largest).results
        return [b.emit(graph.Neg, made[0]), *made]

    numpy = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
    x = np.random.default_rng(0).integers(-9, 9, shape).astype(numpy[dtype])
    if x.dtype.kind == "f":
        x.flat[[1, 2, 5]] = np.nan, np.inf, np.nan
    native(module_of(body, tensor(shape, dtype)), [x])


@pytest.mark.parametrize("dtype, reduction", [("f16", "add"), ("i8", "none")])
def test_others_are_left_to_python(dtype, reduction):
    compiled = aicc.compile(scatter([7, 5], [9, 1], dtype, "i64", reduction), target="cpp")
    program = compiled._program
    assert isinstance(program, CppProgram) and program.native is None


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shape, spatial", [((2, 3, 4, 5), (9, 11)), ((40, 8, 3), (7,))])
def test_gradients_of_poolings(shape, spatial, dtype):
    """Places that several windows chose get the sum of their gradients."""

    def body(b, grads, places):
        return [b.emit(graph.MaxPoolGrad, grads, places, input_spatial=spatial)]

    module = module_of(body, tensor(shape, dtype), tensor(shape, "i64"))
    rng = np.random.default_rng(0)
    grads = rng.integers(-9, 9, shape).astype({"f32": np.float32, "f64": np.float64}[dtype])
    places = rng.integers(0, int(np.prod(spatial)), shape)
    native(module, [grads, places])
    compiled = aicc.compile(module, target="cpp")
    places[-1, -1, -1] = int(np.prod(spatial))
    with pytest.raises((InputError, IndexError)):
        compiled.run([grads, places])


def test_gradients_of_poolings_in_half_precision_are_kernels():
    def body(b, grads, places):
        pads = {"dilations": (1, 1), "pads": (0, 0, 0, 0)}
        windows = {"kernel_shape": (2, 2), "strides": (2, 2), **pads}
        return [b.emit(graph.MaxPoolGrad, grads, places, input_spatial=(8, 6), **windows)]

    module = module_of(body, tensor((2, 3, 4, 3), "bf16"), tensor((2, 3, 4, 3), "i64"))
    program = aicc.compile(module, target="cpp")._program
    assert isinstance(program, CppProgram) and program.native is not None
    assert "add_in_planes" not in program.source


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16", "i8", "ui8", "i32", "i64"])
@pytest.mark.parametrize("n, k", [(1, 1), (63, 7), (64, 64), (255, 80), (300, 3), (5000, 64)])
def test_lines_in_order_alone(n, k, dtype):
    """A model without a kernel is C++ as well; equal elements and NaN stay in their order."""
    rng = np.random.default_rng(n)
    x = rng.integers(0, 100, (3, n)).astype(dtype_of(dtype).np)
    if dtype_of(dtype).is_float:
        x[0, rng.integers(0, n, 3)], x[1, ::2], x[1, 1::4] = np.nan, 0.0, -0.0
        x[2, 0], x[2, -1] = np.inf, -np.inf
    for largest in (False, True):
        for cls, how in (
            (graph.Sort, {"descending": largest}),
            (graph.TopK, {"largest": largest, "k": [k]}),
        ):

            def body(b, x, cls=cls, how=how):
                return list(b.build(cls, x, axis=1, **how).results)

            module = module_of(body, tensor((3, n), dtype))
            native(module, [x])
            program = aicc.compile(module, target="cpp")._program
            assert isinstance(program, CppProgram) and program.entry is not None
