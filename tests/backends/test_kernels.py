"""Every kind of kernel, several ways.

NumPy on the graph, tile by tile, Triton's interpreter, C++ with the schedule that kernels are
lowered with and with a CPU's own, and Ascend C on the emulator.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.ascendc.backend import AscendBackend
from aicc.backends.c_text import Unprintable
from aicc.backends.cpp.backend import CppBackend, CppProgram
from aicc.backends.numpy.backend import NumpyBackend
from aicc.backends.triton.backend import TritonBackend, TritonProgram
from aicc.ir import graph, tile
from aicc.ir.asm import parse_module, print_module
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import finish_function, main_of, new_function
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from aicc.verify import sample_inputs

NUMPY = NumpyBackend()
CPP = CppBackend(NUMPY)
TRITON = TritonBackend(NUMPY)
ASCEND = AscendBackend(NUMPY)
SIZES = (0, 1, 7, 31, 33, 127, 1000)
FLOATS = ("f32", "f16", "bf16")

Body = Callable[..., list]


def module_of(body: Body, *types) -> ModuleOp:
    """A module whose ``@main`` is what `body` builds on arguments of the types."""
    func = new_function("main", [(f"x{i}", t) for i, t in enumerate(types)])
    results = body(GraphBuilder(func.body.block), *func.args)
    finish_function(func, [(f"y{i}", r) for i, r in enumerate(results)])
    return ModuleOp([func])


def lowered(module: ModuleOp, target=TRITON) -> ModuleOp:
    context = CompileContext(evaluator=NUMPY, target=target.description, remarks=[])
    PassManager(parse_pipeline("fuse,lower-to-tile,dce"), context).run(module)
    left = [op.name for op in main_of(module).body.block.ops if isinstance(op, graph.Fused)]
    assert not left, context.remarks
    return module


class Guarded:
    """Stands for torch in a printed module: what it allocates lies between canaries."""

    def __init__(self) -> None:
        self.made: list[tuple[torch.Tensor, int]] = []

    def __getattr__(self, name: str):
        return getattr(torch, name)

    def empty(self, shape, dtype, device):
        size, pad = math.prod(shape), 64
        whole = torch.full((size + 2 * pad,), 77, dtype=torch.float32).to(dtype)
        self.made.append((whole, pad))
        return whole[pad : pad + size].view(shape)

    def check(self) -> None:
        for whole, pad in self.made:
            ends = torch.cat([whole[:pad], whole[-pad:]]).to(torch.float32)
            sound = torch.full_like(ends, 77).to(whole.dtype).to(torch.float32)
            assert torch.equal(ends, sound), "a kernel wrote outside its buffer"


def run_triton(module: ModuleOp, inputs) -> list[np.ndarray]:
    program = TRITON.load(module)
    assert isinstance(program, TritonProgram)
    guard = Guarded()
    program.module().torch = guard  # type: ignore[attr-defined]
    results = program(*inputs)
    guard.check()
    return results


def guarded(program: CppProgram) -> list[np.ndarray]:
    """Wrap what runs the program's kernels: outputs are written between canaries, then checked."""
    made: list[np.ndarray] = []
    for name, launch in program.launchers.items():

        def run(inputs, outputs, sizes, launch=launch):
            inner = []
            for o in outputs:
                whole = np.full(o.nbytes + 2 * PAD, 0x5A, np.uint8)
                made.append(whole)
                inner.append(whole[PAD : PAD + o.nbytes].view(o.dtype).reshape(o.shape))
            launch(inputs, inner, sizes)
            for o, part in zip(outputs, inner, strict=True):
                o[...] = part
            return outputs

        program.launchers[name] = run
    program.bind()
    return made


PAD = 256


def run_cpp(module: ModuleOp, inputs) -> list[np.ndarray]:
    program = CPP.load(module)
    assert not program.interpreted
    made = guarded(program)
    results = program(*inputs)
    for whole in made:
        ends = np.concatenate([whole[:PAD], whole[-PAD:]])
        assert (ends == 0x5A).all(), "a kernel wrote outside its buffer"
    return results


def run_scheduled(module: ModuleOp, inputs) -> list[np.ndarray]:
    module = module.clone()
    PassManager(parse_pipeline("schedule-cpu{threads=2}"), CompileContext()).run(module)
    return run_cpp(module, inputs)


def run_ascend(module: ModuleOp, inputs) -> list[np.ndarray]:
    module = module.clone()
    context = CompileContext(target=ASCEND.description)
    PassManager(parse_pipeline("fit-tiles,dce,plan-memory"), context).run(module)
    try:
        return ASCEND.load(module)(*inputs)
    except Unprintable as e:
        assert "f64" in str(e), e  # the chip has none
        return NUMPY.run(module, inputs)


WAYS = (NUMPY.run, run_triton, run_cpp, run_scheduled, run_ascend)
if os.environ.get("AICC_SANITIZE"):  # checks in the machine code need nothing else to be run
    WAYS = (run_cpp, run_scheduled)


def agree(module: ModuleOp, rtol=1e-5, atol=1e-5, inputs=None) -> None:
    """The results of all are the same."""
    inputs = sample_inputs(module) if inputs is None else inputs
    want = NUMPY.run(module, inputs)
    lowered(module)
    again = parse_module(print_module(module))
    assert print_module(again) == print_module(module)
    for run in WAYS:
        for a, b in zip(want, run(module, inputs), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(
                a.astype(np.float64), b.astype(np.float64), rtol=rtol, atol=atol
            )


def tolerance(dtype: str) -> dict[str, float]:
    return {"f32": {"rtol": 2e-5, "atol": 2e-5}, "f64": {"rtol": 1e-6, "atol": 1e-6}}.get(
        dtype, {"rtol": 2e-2, "atol": 2e-2}
    )


# ---------------------------------------------------------------------- elements


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_pointwise_chain_with_broadcast(size, dtype):
    def body(b, x, bias):
        y = b.emit(graph.Gelu, b.emit(graph.Add, x, bias))
        return [y, b.emit(graph.Cast, y, to="f32")]

    agree(module_of(body, tensor((3, size), dtype), tensor((size,), dtype)), **tolerance(dtype))


@pytest.mark.parametrize("size", SIZES)
def test_transpose_and_add(size):
    def body(b, x, y):
        return [b.emit(graph.Add, b.transpose(x, [1, 0]), y)]

    agree(module_of(body, tensor((5, size), "f32"), tensor((size, 5), "f32")))


@pytest.mark.parametrize("size", [1, 7, 33])
def test_slices_pads_and_joins(size):
    def body(b, x, y):
        part = b.slice(x, 1, 0, size // 2 + 1)
        zero = b.constant(0.5, "f32")
        padded = b.emit(graph.Pad, y, zero, low=[0, 2], high=[1, -1])
        return [b.emit(graph.Concat, [part, y], axis=1), padded]

    agree(module_of(body, tensor((3, size), "f32"), tensor((3, 4), "f32")))


@pytest.mark.parametrize("size", [1, 31, 127])
def test_embedding(size):
    def body(b, table, ids, place):
        return [b.emit(graph.Add, b.emit(graph.Gather, table, ids), place)]

    types = tensor((11, 24), "f32"), tensor((2, size), "i64"), tensor((size, 24), "f32")
    rng = np.random.default_rng(0)
    inputs = [
        rng.normal(size=(11, 24)).astype(np.float32),
        rng.integers(-11, 11, (2, size)),
        rng.normal(size=(size, 24)).astype(np.float32),
    ]
    agree(module_of(body, *types), inputs=inputs)


UNARY = {
    op: ("f32", (-0.9, 0.9) if op in (graph.Asin, graph.Acos, graph.Atanh) else (-9.0, 9.0))
    for op in (
        *(graph.Abs, graph.Neg, graph.Sign, graph.Ceil, graph.Floor, graph.Round, graph.Trunc),
        *(graph.Exp, graph.Expm1, graph.Log, graph.Log1p, graph.Sqrt, graph.Rsqrt, graph.Sin),
        *(graph.Reciprocal, graph.Cos, graph.Tan, graph.Asin, graph.Acos, graph.Atan, graph.Sinh),
        *(graph.Cosh, graph.Tanh, graph.Asinh, graph.Acosh, graph.Atanh, graph.Erf),
        *(graph.Sigmoid, graph.Relu, graph.Silu, graph.Gelu, graph.IsNaN, graph.IsInf),
    )
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 1e-7, -1e-7, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_functions(op):
    """Also at zeros, halves, infinities and NaN, where they are not expected to trap."""
    dtype, (low, high) = UNARY[op]
    rng = np.random.default_rng(0)
    x = np.concatenate([np.array(SPECIAL), rng.uniform(low, high, 500)]).astype(np.float32)
    if op in (graph.Asin, graph.Acos, graph.Atanh, graph.Acosh):
        x = np.abs(x) + 1 if op is graph.Acosh else np.clip(x, -1, 1)
    if op in (graph.Sin, graph.Cos, graph.Tan):
        x = x[np.isfinite(x)]
    module = module_of(lambda b, v: [b.emit(op, v)], tensor(x.shape, dtype))
    agree(module, rtol=1e-5, atol=2e-6, inputs=[x])


@pytest.mark.parametrize("op", [graph.Div, graph.Rem, graph.Mod, graph.Max, graph.Min])
@pytest.mark.parametrize("dtype", ["f32", "i8", "i64", "ui8"])
def test_binary(op, dtype):
    rng = np.random.default_rng(0)
    kind = np.dtype({"f32": "f4", "i8": "i1", "i64": "i8", "ui8": "u1"}[dtype])
    if kind.kind == "f":
        x, y = rng.normal(size=(2, 300)).astype(kind) * 8
    else:
        info = np.iinfo(np.int8 if kind.kind == "i" else kind)
        x, y = rng.integers(info.min, info.max + 1, (2, 300)).astype(kind)
        y[y == 0] = 3
        y[(x == info.min) & (y.astype(np.int64) == -1)] = 5
    module = module_of(lambda b, p, q: [b.emit(op, p, q)], *[tensor((300,), dtype)] * 2)
    agree(module, inputs=[x, y])


@pytest.mark.parametrize("op", [graph.And, graph.Or, graph.Xor, graph.Shl, graph.Shr])
@pytest.mark.parametrize("dtype", ["i8", "i32", "ui8", "ui32"])
def test_bits(op, dtype):
    kind = np.dtype({"i8": "i1", "i32": "i4", "ui8": "u1", "ui32": "u4"}[dtype])
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, 200).astype(np.uint8).astype(kind)
    y = rng.integers(0, 40 if op in (graph.Shl, graph.Shr) else 128, 200).astype(kind)
    module = module_of(lambda b, p, q: [b.emit(op, p, q)], *[tensor((200,), dtype)] * 2)
    agree(module, inputs=[x, y])


POWERS = [0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -0.5, 1.7, -2.3, 5.0]


def test_power():
    base = np.array([*SPECIAL[:7], 3.7, -2.0, 11.0], np.float32)
    x, y = (a.reshape(-1).astype(np.float32) for a in np.meshgrid(base, POWERS))
    module = module_of(lambda b, p, q: [b.emit(graph.Pow, p, q)], *[tensor(x.shape, "f32")] * 2)
    agree(module, rtol=1e-5, inputs=[x, y])


@pytest.mark.parametrize("source", ["f32", "f16", "bf16", "i32", "ui8", "i1"])
@pytest.mark.parametrize("to", ["f32", "f16", "bf16", "i8", "i64", "ui8", "i1"])
def test_casts(source, to):
    module = module_of(lambda b, x: [b.emit(graph.Cast, x, to=to)], tensor((130,), source))
    inputs = [np.abs(x) if to == "ui8" else x for x in sample_inputs(module)]
    agree(module, inputs=inputs)


# ---------------------------------------------------------------------- rows


@pytest.mark.parametrize("size", [1, 7, 31, 33, 127, 1000, 9001])
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax(size, dtype):
    if size == 9001 and dtype != "f32":
        pytest.skip("one dtype will do for rows in pieces")
    body = lambda b, x: [b.emit(graph.Softmax, x, axis=1)]  # noqa: E731
    agree(module_of(body, tensor((3, size), dtype)), **tolerance(dtype))


@pytest.mark.parametrize("size", [1, 33, 1000, 9001])
def test_layer_norm_of_a_sum(size):
    def body(b, x, y, w, bias):
        total = b.emit(graph.Add, x, y)
        norm = b.build(graph.LayerNorm, total, w, bias, axis=1, epsilon=1e-5)
        return [total, norm.results[0]]

    row, all_ = tensor((size,), "f32"), tensor((3, size), "f32")
    agree(module_of(body, all_, all_, row, row), rtol=1e-4, atol=1e-4)


REDUCTIONS = (graph.ReduceSum, graph.ReduceMean, graph.ReduceMax, graph.ReduceMin, graph.ReduceProd)


@pytest.mark.parametrize("op", REDUCTIONS, ids=lambda op: op.name)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["f32", "i64", "ui8"])
def test_reductions(op, axes, dtype):
    if dtype == "ui8" and axes not in ((1,), (0, 1, 2)):
        pytest.skip("two will do")
    body = lambda b, x: [b.emit(op, x, axes=list(axes))]  # noqa: E731
    agree(module_of(body, tensor((4, 7, 5), dtype)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", [graph.ArgMax, graph.ArgMin], ids=lambda op: op.name)
@pytest.mark.parametrize("size", [1, 33, 9001])
def test_arg_reductions(op, size):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (3, size)).astype(np.float32)
    if size > 1:
        x[1, size // 2 :] = np.nan
    body = lambda b, v: [b.emit(op, v, axis=1)]  # noqa: E731
    agree(module_of(body, tensor(x.shape, "f32")), inputs=[x])


def test_reductions_let_nan_through():
    x = np.ones((2, 40), np.float32)
    x[0, 7] = np.nan
    body = lambda b, v: [b.emit(graph.ReduceMax, v, axes=[1]), b.emit(graph.ReduceMin, v, axes=[1])]  # noqa: E731
    agree(module_of(body, tensor(x.shape, "f32")), inputs=[x])


def test_reduction_of_nothing():
    body = lambda b, v: [b.emit(graph.ReduceSum, v, axes=[1])]  # noqa: E731
    agree(module_of(body, tensor((3, 0), "f32")))


# ---------------------------------------------------------------------- products


@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (7, 33, 31), (127, 16, 33), (64, 70, 1), (0, 4, 5)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_matmul_with_epilogue(m, n, k, dtype):
    def body(b, x, w, bias, rest):
        y = b.emit(graph.Add, b.emit(graph.MatMul, x, w), bias)
        return [b.emit(graph.Add, b.emit(graph.Relu, y), rest)]

    shapes = (2, m, k), (k, n), (n,), (2, m, n)
    agree(module_of(body, *(tensor(s, dtype) for s in shapes)), **tolerance(dtype))


def test_matmul_of_nothing():
    body = lambda b, x, w: [b.emit(graph.MatMul, x, w)]  # noqa: E731
    agree(module_of(body, tensor((3, 0), "f32"), tensor((0, 5), "f32")))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_matmul_of_transposed_operands(left, right):
    def body(b, x, w):
        x = b.transpose(x, [0, 2, 1]) if left else x
        w = b.transpose(w, [0, 2, 1]) if right else w
        return [b.emit(graph.MatMul, x, w)]

    x = (3, 20, 17) if left else (3, 17, 20)
    w = (3, 9, 20) if right else (3, 20, 9)
    agree(module_of(body, tensor(x, "f32"), tensor(w, "f32")), **tolerance("f32"))


def test_matmul_of_bytes():
    body = lambda b, x, w: [b.emit(graph.MatMul, x, w, out_dtype="i32")]  # noqa: E731
    agree(module_of(body, tensor((20, 40), "i8"), tensor((40, 18), "i8")))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolution(rank, groups, transposed):
    image, taps = (2, 4, *(7, 6, 5)[:rank]), (3, 2, 2)[:rank]
    weight = (4, 6 // groups, *taps) if transposed else (6, 4 // groups, *taps)
    options = {
        "strides": [2, 1, 2][:rank],
        "pads": [1] * rank + [0, 1, 1][:rank],
        "dilations": [1, 2, 1][:rank],
        "groups": groups,
    }

    def body(b, x, w, bias):
        if transposed:
            y = b.emit(graph.ConvTranspose, x, w, bias, output_padding=[0] * rank, **options)
        else:
            y = b.emit(graph.Conv, x, w, bias, **options)
        return [b.emit(graph.Relu, y)]

    types = (tensor(s, "f32") for s in (image, weight, (6,)))
    agree(module_of(body, *types), **tolerance("f32"))


@pytest.mark.parametrize("dtype", [*FLOATS, "i8"])
@pytest.mark.parametrize("rank, multiplier", [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_depthwise_convolution(rank, multiplier, dtype):
    """One window a channel, and what follows, without a dot; bytes are summed in 32 bits."""
    options = {
        "strides": [2, 1, 2][:rank],
        "pads": [1] * rank + [0, 1, 1][:rank],
        "dilations": [1, 2, 1][:rank],
        "groups": 4,
    }

    def body(b, x, w, bias):
        return [b.emit(graph.Relu, b.emit(graph.Conv, x, w, bias, **options))]

    sums = "i32" if dtype == "i8" else dtype
    options |= {"out_dtype": dtype_of(sums)} if dtype == "i8" else {}
    types = (
        tensor((2, 4, *(7, 6, 5)[:rank]), dtype),
        tensor((4 * multiplier, 1, *(3, 3, 2)[:rank]), dtype),
        tensor((4 * multiplier,), sums),
    )
    module = module_of(body, *types)
    agree(module, **({"rtol": 0, "atol": 0} if dtype == "i8" else tolerance(dtype)))
    assert not any(isinstance(op, tile.Dot) for op in module.walk())


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling(rank, ceil_mode):
    image, taps = (2, 3, *(9, 8, 5)[:rank]), (3, 2, 2)[:rank]
    options = {
        "kernel_shape": list(taps),
        "strides": [2, 2, 1][:rank],
        "pads": [1] * rank + [0, 1, 1][:rank],
        "dilations": [1, 2, 1][:rank],
        "ceil_mode": ceil_mode,
    }

    def body(b, x):
        most = b.build(graph.MaxPool, x, **options).results[0]
        mean = b.emit(graph.AvgPool, x, **options)
        return [most, mean, b.emit(graph.AvgPool, x, count_include_pad=True, **options)]

    agree(module_of(body, tensor(image, "f32")), **tolerance("f32"))


def test_gathers_by_index():
    def body(b, x, place, tuples):
        return [
            b.emit(graph.GatherElements, x, place, axis=1),
            b.emit(graph.GatherND, x, tuples),
        ]

    rng = np.random.default_rng(0)
    inputs = [
        rng.normal(size=(5, 7)).astype(np.float32),
        rng.integers(-7, 7, (5, 4)),
        np.stack([rng.integers(-5, 5, (3, 2)), rng.integers(-7, 7, (3, 2))], -1),
    ]
    types = tensor((5, 7), "f32"), tensor((5, 4), "i64"), tensor((3, 2, 2), "i64")
    agree(module_of(body, *types), inputs=inputs)


def test_a_kernel_that_cannot_be_is_taken_apart():
    """No dot multiplies i64: the product goes to the library, what follows stays a kernel."""

    def body(b, x, w, bias):
        return [b.emit(graph.Add, b.emit(graph.MatMul, x, w), bias)]

    module = module_of(body, *(tensor(s, "i64") for s in ((3, 4), (4, 5), (5,))))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    lowered(module)
    ops = [op.name for op in main_of(module).body.block.ops]
    assert ops == ["graph.matmul", "tile.launch", "func.return"]
    np.testing.assert_array_equal(want[0], run_triton(module, inputs)[0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("queries, keys", [(1, 33), (33, 33), (7, 40)])
@pytest.mark.parametrize("causal", ["none", "upper_left", "lower_right"])
def test_attention(dtype, queries, keys, causal):
    body = lambda b, q, k, v: [b.emit(graph.Attention, q, k, v, scale=0.3, causal=causal)]  # noqa: E731
    shapes = (1, 4, queries, 24), (1, 2, keys, 24), (1, 2, keys, 18)
    agree(module_of(body, *(tensor(s, dtype) for s in shapes)), **tolerance(dtype))


@pytest.mark.parametrize("mask", ["f32", "i1"])
@pytest.mark.parametrize("shape", [(9, 12), (2, 1, 1, 12), (2, 4, 9, 12)], ids=str)
def test_attention_with_mask(mask, shape):
    """Some rows see no key: their result is 0."""

    def body(b, q, k, v, m):
        return [b.emit(graph.Attention, q, k, v, m, scale=0.3, softcap=2.0)]

    sizes = (2, 4, 9, 16), (2, 4, 12, 16), (2, 4, 12, 16)
    module = module_of(body, *(tensor(s, "f32") for s in sizes), tensor(shape, mask))
    *qkv, m = sample_inputs(module)
    if mask == "i1":
        m[..., 0, :] = False
    agree(module, inputs=[*qkv, m], **tolerance("f32"))


# ---------------------------------------------------------------------- sizes that vary


def test_one_kernel_serves_every_size():
    """A kernel for named dims, run at several sizes."""
    text = """
    builtin.module {
      func.func @main(%x : tensor<?x?x16xf32, #graph.dims<b, s>>, %w : tensor<16x24xf32>)
          -> (tensor<?x?x24xf32, #graph.dims<b, s>>) {
        %0 = graph.matmul %x, %w : (tensor<?x?x16xf32, #graph.dims<b, s>>, tensor<16x24xf32>)
          -> tensor<?x?x24xf32, #graph.dims<b, s>>
        %1 = graph.softmax %0 {axis = 1} : tensor<?x?x24xf32, #graph.dims<b, s>>
        func.return %1 : tensor<?x?x24xf32, #graph.dims<b, s>>
      }
    }
    """
    reference, module = parse_module(text), lowered(parse_module(text))
    program = TRITON.load(module)
    rng = np.random.default_rng(0)
    for b, s in ((1, 1), (2, 7), (1, 40), (0, 3)):
        x, w = rng.normal(size=(b, s, 16)), rng.normal(size=(16, 24))
        inputs = [x.astype(np.float32), w.astype(np.float32)]
        (want,) = NUMPY.run(reference, inputs)
        for (got,) in (NUMPY.run(module, inputs), program(*inputs)):
            np.testing.assert_allclose(want, got, rtol=1e-5, atol=1e-6)
    assert sum(isinstance(op, tile.Kernel) for op in module.ops) == 2


def test_batch_dim_that_may_be_one():
    """A named dim beside a fixed one: operands of a product and a mask repeat where it is 1."""
    text = """
    builtin.module {
      func.func @main(%x : tensor<?x8x4xf32, #graph.dims<b, 8, 4>>, %w : tensor<3x4x5xf32>,
                      %q : tensor<3x2x8x16xf32>, %m : tensor<?x1x8x8xf32, #graph.dims<b, 1, 8, 8>>)
          -> (tensor<3x8x5xf32>, tensor<3x2x8x16xf32>) {
        %0 = graph.matmul %x, %w : (tensor<?x8x4xf32, #graph.dims<b, 8, 4>>, tensor<3x4x5xf32>)
          -> tensor<3x8x5xf32>
        %1 = graph.attention %q, %q, %q, %m {scale = 0.25}
          : (tensor<3x2x8x16xf32>, tensor<3x2x8x16xf32>, tensor<3x2x8x16xf32>,
             tensor<?x1x8x8xf32, #graph.dims<b, 1, 8, 8>>) -> tensor<3x2x8x16xf32>
        func.return %0, %1 : tensor<3x8x5xf32>, tensor<3x2x8x16xf32>
      }
    }
    """
    reference, module = parse_module(text), lowered(parse_module(text))
    program = TRITON.load(module)
    rng = np.random.default_rng(0)
    for b in (1, 3):
        shapes = (b, 8, 4), (3, 4, 5), (3, 2, 8, 16), (b, 1, 8, 8)
        inputs = [rng.normal(size=s).astype(np.float32) for s in shapes]
        want = NUMPY.run(reference, inputs)
        for got in (NUMPY.run(module, inputs), program(*inputs)):
            for one, other in zip(want, got, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_source_is_the_same_every_time():
    def body(b, x, w):
        return [b.emit(graph.Softmax, b.emit(graph.MatMul, x, w), axis=1)]

    types = tensor((20, 30), "f32"), tensor((30, 40), "f32")
    sources = {TRITON.load(lowered(module_of(body, *types))).source for _ in range(3)}
    assert len(sources) == 1


def test_the_kernels_in_the_readme_are_real():
    text = """
    builtin.module {
      func.func @main(%x : tensor<4x300xf32>, %b : tensor<300xf32>) -> tensor<4x300xf32> {
        %0 = graph.add %x, %b : (tensor<4x300xf32>, tensor<300xf32>) -> tensor<4x300xf32>
        %1 = graph.softmax %0 {axis = 1} : tensor<4x300xf32>
        func.return %1 : tensor<4x300xf32>
      }
    }
    """
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (shown,) = re.findall(r"```py\n(.*?)```", readme, re.S)
    module = lowered(parse_module(text))
    assert shown in TRITON.load(module).source
    for_cpu, for_npu = re.findall(r"```cpp\n(.*?)```", readme, re.S)
    fitted = module.clone()
    PassManager(parse_pipeline("schedule-cpu{threads=2}"), CompileContext()).run(module)
    context = CompileContext(target=ASCEND.description)
    PassManager(parse_pipeline("fit-tiles,dce,plan-memory"), context).run(fitted)
    for shown, source in (
        (for_cpu, CPP.load(module).source),
        (for_npu, ASCEND.load(fitted).source),
    ):
        for part in re.split(r"^ *…\n", shown, flags=re.M):
            assert part in source


def test_what_has_no_kernel_is_named():
    def body(b, x):
        return [b.emit(graph.Resize, x, axes=[1], sizes=[5])]

    module = module_of(body, tensor((3, 3), "f32"))
    with pytest.raises(ValueError, match=r"no graph\.resize"):
        TRITON.load(lowered(module))


def test_conditions_that_hold_for_a_whole_program():
    """A padded dim that each program has one index of, beside one that it has a tile of."""

    def body(b, x):
        padded = b.emit(graph.Pad, x, b.constant(1.0, "f32"), low=(1, 0, 2), high=(0, 0, 1))
        return [b.emit(graph.Exp, padded)]

    module = module_of(body, tensor((5, 40, 300), "f32"))
    agree(module, **tolerance("f32"))
    assert "tl.where(" in TRITON.load(module).source
