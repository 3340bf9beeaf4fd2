"""Types that say what codes stand for: their text, what gives and moves them, what they catch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.utils.exceptions import ParseError, VerifyException

import aicc
from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph
from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.dtypes import dtype_of, f32
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of, return_of
from aicc.ir.quantized import Quantization, quantization_of, quantized
from aicc.ir.symbols import sym
from aicc.ir.types import element_type, shape_of, tensor
from aicc.passes.infer_quantized_types import InferQuantizedTypes
from aicc.passes.strip_quantized_types import StripQuantizedTypes
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()


def inferred(module):
    InferQuantizedTypes().apply(CompileContext(), module)
    module.verify()
    return module


def results(module):
    return [quantization_of(v) for v in return_of(main_of(module)).operands]


def again(module):
    """The module from its text."""
    weights = {name: c.array for name, c in named_constants(module).items()}
    return parse_module(print_module(module), weights=weights)


def quantize(b, x, scale, zero=None, axis=0, dtype="i8"):
    points = None if zero is None else b.constant(np.asarray(zero, dtype_of(dtype).np))
    scales = b.constant(np.asarray(scale, np.float32))
    return b.emit(graph.Quantize, x, scales, points, dtype=dtype, axis=axis)


FINITE = st.floats(width=32, allow_infinity=False, allow_nan=False)
NUMBERS = st.one_of(
    st.floats(width=32, min_value=2**-100, max_value=2**100),
    st.lists(
        st.floats(width=32, allow_infinity=False, allow_nan=False), min_size=2, max_size=8
    ).map(tuple),
    st.sampled_from(["w_scale", "a.b/c:0", "constant_0123456789abcdef"]),
)


@given(
    scale=NUMBERS,
    zero=st.none() | st.integers(-128, 127).map(float),
    axis=st.none() | st.integers(0, 3),
    group=st.sampled_from([0, 32]),
    dims=st.lists(st.sampled_from([4, sym("s0"), sym("s0") * 2 + 1]), max_size=3),
)
def test_text(scale, zero, axis, group, dims):
    q = Quantization(f32, scale, zero, axis, group)
    type = quantized(tensor(dims, "i8"), q)
    module = module_of(lambda b, x: [x], type)
    assert again(module).is_structurally_equivalent(module)
    (arg,) = main_of(again(module)).args
    assert quantization_of(arg) == q
    assert shape_of(arg) == tuple(dims) and element_type(arg).name == "i8"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f32",
        "f33, scale = 1",
        "f32, scale = ",
        "f32, scale = one",
        "f32, scale = @",
        "f32, scale = 1, scale = 2",
        "f32, scale = 1, width = 2",
        "f32, scale = 1, axis = x",
        "f32, scale = 1, dims = [+]",
    ],
)
def test_bad_text(text):
    module = f"""builtin.module {{
      func.func @main(%x: tensor<4xi8, #graph.quantized<{text}>>) -> () {{ func.return }}
    }}"""
    with pytest.raises(ParseError, match="bad quantized type"):
        parse_module(module)


def test_what_moves_codes_keeps_it():
    def body(b, x):
        one, each = quantize(b, x, 0.5, 3), quantize(b, x, [0.5, 0.25], axis=1)
        join = b.emit(graph.Concat, [one, one], axis=0)
        return [
            b.transpose(one, [2, 0, 1]),
            b.transpose(each, [2, 0, 1]),
            b.reshape(one, [24]),
            b.reshape(each, [24]),
            b.slice(one, 0, 1, 3),
            join,
            b.emit(graph.Concat, [one, quantize(b, x, 0.25, 3)], axis=0),
            b.emit(graph.Neg, one),
        ]

    one = Quantization(f32, 0.5, 3.0)
    each = Quantization(f32, (0.5, 0.25), None, 2)
    found = results(inferred(module_of(body, tensor((3, 2, 4), "f32"))))
    assert found == [one, each, one, None, one, one, None, None]


def test_scales_that_only_a_run_knows_give_no_type():
    def body(b, x, s):
        return [b.emit(graph.Quantize, x, s, None, dtype="i8")]

    assert results(inferred(module_of(body, tensor((3,), "f32"), tensor((), "f32")))) == [None]


def test_codes_that_are_read_in_two_ways_have_no_type():
    def body(b, q):
        scales = [b.constant(np.float32(s)) for s in (0.5, 0.25)]
        return [b.emit(graph.Dequantize, q, s, None, dtype=f32) for s in scales]

    module = inferred(module_of(body, tensor((3,), "i8")))
    assert quantization_of(main_of(module).args[0]) is None


@pytest.mark.parametrize("attribute", ["scale", "zero_point", "axis"])
def test_codes_read_otherwise_than_they_were_written_are_found(attribute):
    def body(b, x):
        codes = quantize(b, x, [0.5, 0.25, 0.125], [1, 2, 3])
        scale, zero = codes.owner.operands[1:]
        if attribute == "scale":
            scale = b.constant(np.array([0.5, 0.25, 0.25], np.float32))
        if attribute == "zero_point":
            zero = b.constant(np.array([1, 2, 4], np.int8))
        axis = 1 if attribute == "axis" else 0
        return [b.emit(graph.Dequantize, codes, scale, zero, dtype=f32, axis=axis)]

    module = module_of(body, tensor((3, 3), "f32"))
    module.verify()  # by itself each is right
    with pytest.raises(VerifyException, match="the codes' type says"):
        inferred(module)


@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "int4-rtn", "fp8", "mxfp4"])
def test_quantized_models_have_types_and_compile(tmp_path, recipe):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype(np.float32) for s in ((32, 64), (64, 16))]

    def body(b, x):
        hidden = b.emit(graph.Relu, b.emit(graph.MatMul, x, b.constant(weights[0], "f32", "w0")))
        return [b.emit(graph.MatMul, hidden, b.constant(weights[1], "f32", "w1"))]

    module = module_of(body, tensor((8, 32), "f32"))
    samples = rng.normal(size=(16, 8, 32)).astype(np.float32)
    name = main_of(module).arg_attrs.data[0].data["graph.name"].data  # type: ignore[union-attr]
    made = aicc.quantize(module, recipe, [{name: x} for x in samples])
    typed = [v for op in made.module.walk() for v in op.results if quantization_of(v)]
    assert len([v for v in typed if isinstance(v.owner, graph.Constant)]) == 2
    assert again(made.module).is_structurally_equivalent(made.module)
    made.save(tmp_path / "q")
    (want,) = NUMPY.run(made.module, [samples[0]])
    for target in ("numpy", "cpp"):
        compiled = aicc.compile(str(tmp_path / "q"), target=target)
        assert "graph.quantized" not in compiled.ir()
        np.testing.assert_allclose(compiled(samples[0]), want, rtol=1e-4, atol=1e-4)


def test_stripped_modules_are_as_before():
    def body(b, x):
        return [quantize(b, x, 0.5, 3), x]

    module = module_of(body, tensor((3, sym("n")), "f32"))
    text = print_module(module)
    assert print_module(inferred(module)) != text
    StripQuantizedTypes().apply(CompileContext(), module)
    assert print_module(module) == text
