"""Integer products on 8-bit operands: the same sums, whatever the zero points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph
from aicc.ir.dtypes import dtype_of, i32
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import element_type, tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of

SIGNED = st.sampled_from(["i8", "ui8"])


def product(a: str, b: str, sizes, zeros, constant=None) -> ModuleOp:
    """``(cast(a) - za) @ (cast(b) - zb)``, with zero points of given shapes, or none."""
    m, k, n = sizes
    shapes = [zeros[0], zeros[1]]

    def body(builder, x, *rest):
        rest = list(rest)
        y = builder.constant(constant) if constant is not None else rest.pop(0)
        sides = []
        for value, zero in ((x, shapes[0]), (y, shapes[1])):
            wide = builder.cast(value, i32)
            if zero is not None:
                wide = builder.emit(graph.Sub, wide, builder.cast(rest.pop(0), i32))
            sides.append(wide)
        return [builder.emit(graph.MatMul, *sides, out_dtype=i32)]

    types = [tensor((m, k), a)]
    if constant is None:
        types.append(tensor((k, n), b))
    types += [tensor(z, d) for z, d in zip(shapes, (a, b), strict=True) if z is not None]
    return module_of(body, *types)


def narrowed(module: ModuleOp) -> ModuleOp:
    copy = module.clone()
    PassManager(parse_pipeline("narrow-products,canonicalize,dce"), CompileContext()).run(copy)
    copy.verify()
    return copy


def operands(module: ModuleOp) -> list[str]:
    (matmul,) = [op for op in module.walk() if isinstance(op, graph.MatMul)]
    return [element_type(v).name for v in (matmul.lhs, matmul.rhs)]


def drawn(module: ModuleOp, rng: np.random.Generator) -> list[np.ndarray]:
    from aicc.ir.module import main_of
    from aicc.ir.types import shape_of

    found = []
    for arg in main_of(module).args:
        info = np.iinfo(element_type(arg).np)
        shape = [int(str(d)) for d in shape_of(arg)]
        found.append(rng.integers(info.min, info.max + 1, shape, dtype=info.dtype))
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    SIGNED,
    SIGNED,
    st.sampled_from([None, "one", "rows"]),
    st.sampled_from([None, "one", "columns"]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_sums_are_the_same(sizes, a, b, left, right, constant, seed):
    rng = np.random.default_rng(seed)
    m, k, n = sizes
    zeros = (
        {None: None, "one": (), "rows": (m, 1)}[left],
        {None: None, "one": (), "columns": (n,)}[right],
    )
    array = None
    if constant:
        info = np.iinfo(dtype_of(b).np)
        array = rng.integers(info.min, info.max + 1, (k, n), dtype=info.dtype)
    module = product(a, b, sizes, zeros, array)
    narrow = narrowed(module)
    assert operands(narrow) == ["i8", "i8"]
    inputs = drawn(module, rng)
    backend = NumpyBackend()
    (want,), (found,) = backend.run(module, inputs), backend.run(narrow, inputs)
    np.testing.assert_array_equal(found, want)


@settings(max_examples=30, deadline=None)
@given(
    SIGNED,
    st.sampled_from([None, (), (1,)]),
    st.sampled_from([None, (), (4, 1, 1, 1)]),
    st.booleans(),
    st.sampled_from([[0, 0, 0, 0], [1, 0, 2, 1]]),
    st.integers(0, 2**31),
)
def test_convolutions_are_the_same(dtype, zero, other, constant, pads, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(-128, 128, (4, 3, 2, 3), dtype=np.int8)

    def body(b, x, *rest):
        rest = list(rest)
        wide = b.cast(x, i32)
        if zero is not None:
            point = b.cast(rest.pop(0), i32)
            wide = b.emit(graph.Sub, wide, b.reshape(point, []) if zero else point)
        weight = b.cast(b.constant(array) if constant else rest.pop(0), i32)
        if other is not None:
            weight = b.emit(graph.Sub, weight, b.cast(rest.pop(0), i32))
        params = {"strides": [2, 1], "pads": pads, "dilations": [1, 1], "groups": 1}
        return [b.emit(graph.Conv, wide, weight, None, out_dtype=i32, **params)]

    types = [tensor((2, 3, 5, 6), dtype)]
    types += [tensor(zero, dtype)] if zero is not None else []
    types += [] if constant else [tensor(array.shape, "i8")]
    types += [tensor(other, "i8")] if other is not None else []
    module = module_of(body, *types)
    narrow = narrowed(module)
    convs = [op for op in narrow.walk() if isinstance(op, graph.Conv)]
    assert len(convs) == (1 if other is None else 2)
    assert {element_type(v).name for c in convs for v in (c.input, c.weight)} == {"i8"}
    inputs = drawn(module, rng)
    backend = NumpyBackend()
    (want,), (found,) = backend.run(module, inputs), backend.run(narrow, inputs)
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(
    "zeros", [((1, 5), None), (None, (5, 1))], ids=["a zero a column of a", "one a row of b"]
)
def test_zero_points_along_the_sum_stay(zeros):
    module = product("i8", "i8", (3, 5, 4), zeros)
    assert operands(narrowed(module)) == ["i32", "i32"]


def test_wide_integers_stay():
    def body(b, x, y):
        return [b.emit(graph.MatMul, b.cast(x, i32), b.cast(y, i32), out_dtype=i32)]

    module = module_of(body, tensor((3, 5), "i16"), tensor((5, 4), "i8"))
    assert operands(narrowed(module)) == ["i32", "i32"]


@pytest.mark.parametrize("target", ["cpp", "triton", "ascendc"])
def test_targets_agree(target):
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h
    from onnx import numpy_helper as nh

    import aicc

    rng = np.random.default_rng(0)
    weights = rng.integers(0, 256, (40, 24)).astype(np.uint8)
    given = {
        **{"sa": np.float32(0.02), "za": np.uint8(113), "sb": np.float32(0.01)},
        **{"zb": np.uint8(120), "sy": np.float32(0.3), "zy": np.uint8(100), "b": weights},
    }
    names = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    graph_proto = h.make_graph(
        [h.make_node("QLinearMatMul", names, ["y"])],
        "quantized",
        [h.make_tensor_value_info("a", T.UINT8, [33, 40])],
        [h.make_tensor_value_info("y", T.UINT8, [33, 24])],
        [nh.from_array(np.asarray(v), n) for n, v in given.items()],
    )
    model = h.make_model(graph_proto, opset_imports=[h.make_opsetid("", 21)])
    onnx.checker.check_model(model)
    a = rng.integers(0, 256, (33, 40)).astype(np.uint8)
    (want,) = aicc.compile(model, target="numpy").run([a])
    (found,) = aicc.compile(model, target=target).run([a])
    np.testing.assert_array_equal(found, want)
