"""Text in, text out: parse(print(m)) is m, for constants of every dtype and ops of every kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xdsl.dialects.builtin import ModuleOp
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError, VerifyException

import aicc
from aicc.ir import graph
from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.builder import GraphBuilder, SymbolScope, name_location
from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import DTYPES
from aicc.ir.module import finish_function, new_function, set_symbol_ranges
from aicc.ir.symbols import sym
from aicc.ir.types import tensor

ROOT = Path(__file__).parents[2]


def generic(module: ModuleOp) -> str:
    out = io.StringIO()
    Printer(stream=out, print_generic_format=True, print_debuginfo=True).print_op(module)
    return out.getvalue()


def check(module: ModuleOp) -> None:
    module.verify()
    text = print_module(module)
    weights = {n: a.array for n, a in named_constants(module).items()}
    for source in (text, generic(module)):
        again = parse_module(source, weights=weights)
        assert module.is_structurally_equivalent(again)
        assert print_module(again) == text
    assert print_module(parse_module(text)) == text  # without the weights at hand


def module_of(*values: Any, inputs=(), build=None) -> ModuleOp:
    func = new_function("main", list(inputs))
    bound = {s for a in func.args for s in symbols(a.type)}
    b = GraphBuilder(func.body.block, scope=SymbolScope(bound))
    results = build(b, *func.args) if build else [b.emit(graph.Constant, value=v) for v in values]
    finish_function(func, [(f"y{i}", v) for i, v in enumerate(results)])
    return ModuleOp([func])


def symbols(type):
    from aicc.ir.types import shape_of, symbols_of

    return symbols_of(shape_of(type))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_constants_of_every_bit_pattern(dtype, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    count = int(np.prod(shape)) * dtype.np.itemsize
    raw = np.frombuffer(data.draw(st.binary(min_size=count, max_size=count)), np.uint8)
    if dtype.kind == "bool":
        raw = raw & 1
    elif dtype.bits < 8:
        raw = raw & ((1 << dtype.bits) - 1)
    array = raw.view(dtype.np).reshape(shape)
    if dtype.bits < 8 and dtype.is_integer:
        array = array.astype(np.int8).astype(dtype.np)
    module = module_of(DenseAttr(array))
    check(module)
    again = next(
        op for op in parse_module(print_module(module)).walk() if op.name == graph.Constant.name
    )
    assert isinstance(again, graph.Constant)
    assert again.value.array.dtype == array.dtype and again.value.array.shape == array.shape


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38, 0.1])
def test_special_floats_keep_their_bits(value):
    array = np.array([value, 1.5], np.float32)
    text = print_module(module_of(DenseAttr(array)))
    op = next(op for op in parse_module(text).walk() if isinstance(op, graph.Constant))
    assert op.value.array.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["w", "a.b/c:0", 'spaces and "quotes"', "<>%\\\n", "ünï", ""])
def test_names_of_large_constants(name):
    check(module_of(DenseAttr(np.arange(100), name or "x")))


def test_two_constants_of_one_name_are_refused():
    module = module_of(DenseAttr(np.arange(100), "w"), DenseAttr(np.ones(100), "w"))
    with pytest.raises(ValueError, match="both named 'w'"):
        named_constants(module)


def test_symbols_regions_locations_and_optional_operands():
    n = sym("n")

    def build(b, x, k):
        with b.at(name_location('block.0/"norm"')):
            y, _, _ = b.build(graph.LayerNorm, x, None, k, axis=1, epsilon=1e-6).results
        z = b.emit(graph.Reshape, y, shape=[n * 4, 2])
        s = b.emit(graph.Slice, z, axes=[0], starts=[0], limits=[n - 1], steps=[1])
        i = b.emit(graph.NonZero, s)
        j = b.reshape(i, [-1])
        c = b.emit(graph.RngUniform, shape=[n], dtype="f32", seed=3, low=-1.0, high=float("inf"))
        return [s, j, c]

    module = module_of(
        inputs=[("in put", tensor((n, 8), "f32")), ("bias", tensor((8,), "f32"))], build=build
    )
    set_symbol_ranges(module, {"n": (1, 64)})
    check(module)


def test_functions_without_arguments_or_results():
    check(module_of())
    check(module_of(inputs=[("x", tensor((2,), "f32"))], build=lambda b, x: []))


MODELS = ("test_loop11", "test_if", "test_lstm_defaults", "test_scan9_sum", "test_gru_defaults")


@pytest.mark.parametrize("suite", MODELS)
def test_modules_from_models(suite):
    from tests.onnx.test_backend_suite import cases, load_case

    model, sets = load_case(cases()[suite])
    compiled = aicc.compile(model, sets[0][0])
    check(compiled.module)
    if compiled._imported is not None:
        check(compiled._imported)


def test_every_dump_of_the_example():
    compiled = aicc.compile(ROOT / "examples/digits/digits.onnx")
    check(compiled.module)
    for name in ("import", "shape-simplify", "batch-norm-fold", "cse"):
        text = compiled.ir(after=name)
        assert print_module(parse_module(text)) == text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%0 = graph.relu %x {axis = 1} : tensor<2xf32>", "no parameter 'axis'"),
        ("%0 = graph.relu %x : tensor<2xi1>", "integer or float"),
        ("%0 = graph.exp %x : (tensor<2xf32>) -> tensor<3xf32>", "should be"),
        ("%0 = graph.softmax %x : tensor<2xf32>", "axis"),
        ("%0 = graph.softmax %x {axis = 1} : tensor<2xf32>", "out of range"),
        ("%0 = graph.gelu %x {approximate = \"fast\"} : tensor<2xf32>", "one of none, tanh"),
        ("%0 = graph.reshape %x {shape = [3]} : (tensor<2xf32>) -> tensor<3xf32>", "don't fit"),
        ("%0 = graph.reshape %x : (tensor<2xf32>) -> tensor<3xf32>", "give either shape"),
        ("%0 = graph.constant dense<[1, 2, 3]> : tensor<2xi64>", "expected 2 elements"),
        ("%0 = graph.constant dense<300> : tensor<i8>", "out of range for i8"),
        ("%0 = graph.transpose %x {permutation = [1]} : tensor<2xf32>", "no permutation"),
        ("%0 = graph.add %x, %y : tensor<2xf32>", "y"),
        ("%0 = graph.shrug %x : tensor<2xf32>", "shrug"),
    ],
)  # fmt: skip
def test_bad_text_is_refused(line, words):
    kind = "i1" if "xi1" in line else "f32"
    text = f"func.func @main(%x: tensor<2x{kind}>) {{ {line} func.return }}"
    with pytest.raises((ParseError, VerifyException), match=words):
        parse_module(text)


def test_passes_print_and_parse_their_options():
    from aicc.pipeline import parse_pipeline, spec_of

    for text in ("constant-fold{max-elements=4}", "decompose{all=true}", "cse"):
        (p,) = parse_pipeline(text)
        assert (parse_pipeline(spec_of(p)) == (p,) and "=" in spec_of(p)) or text == "cse"
