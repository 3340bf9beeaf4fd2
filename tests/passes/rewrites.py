"""For each rewrite pattern and each folder: random modules on which it applies.

A case takes a `Sketch`, draws operands from it and returns the value that the rewrite is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import dtype_of, f32, i8, i32
from aicc.ir.graph import patterns as canonical
from aicc.ir.module import finish_function, new_function
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, rank_of, shape_of, tensor
from aicc.passes import (
    batch_norm_fold,
    gather_log_softmax,
    integer_products,
    narrow_products,
    raise_composites,
    scale_fold,
    scatter_to_select,
    sink_norm,
    split_arg,
    split_products,
    split_reductions,
    split_shifted,
)
from aicc.passes.layouts import absorb

FLOATS = ("f16", "f32", "f64")
INTEGERS = ("i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64")


class Sketch:
    """A function ``@main`` that grows, and values for its inputs."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.func = new_function("main", [])
        self.b = GraphBuilder(self.func.body.block)
        self.inputs: list[np.ndarray] = []

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def flip(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def shape(self, rank: int, low: int = 1) -> list[int]:
        return [int(d) for d in self.rng.integers(low, 5, rank)]

    def array(self, shape: Sequence[int], dtype: Any = f32, special: bool = False) -> np.ndarray:
        """Random elements; with `special`, infinities, NaN, zeros of both signs and extremes."""
        found = dtype_of(dtype)
        if found.name == "i1":
            return self.rng.random(shape) < 0.5
        if found.is_integer:
            info = ml_dtypes.iinfo(found.np)
            drawn = self.rng.integers(info.min, info.max, shape, found.np, endpoint=True)
            small = self.rng.integers(0, 4, shape).astype(found.np)
            return np.asarray(np.where(self.rng.random(shape) < 0.5, drawn, small), found.np)
        drawn = self.rng.normal(0, 1, shape)
        if special:
            odd = self.rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 6e4, -6e-8, 1.0], shape)
            drawn = np.where(self.rng.random(shape) < 0.4, odd, drawn)
        return np.asarray(drawn, found.np)

    def input(self, shape: Sequence[int], dtype: Any = f32, special: bool = False) -> SSAValue:
        return self.given(self.array(shape, dtype, special))

    def given(self, array: np.ndarray) -> SSAValue:
        self.inputs.append(array)
        type = tensor(array.shape, dtype_of(array.dtype))
        return self.func.body.block.insert_arg(type, len(self.inputs) - 1)

    def weight(self, shape: Sequence[int], dtype: Any = f32) -> SSAValue:
        return self.b.constant(self.array(shape, dtype), dtype)

    def number(self, value: float, dtype: Any) -> SSAValue:
        shape = self.pick((), (1,))
        return self.b.constant(np.full(shape, value, dtype_of(dtype).np), dtype)

    def finish(self, value: SSAValue) -> ModuleOp:
        finish_function(self.func, [("y", value)])
        module = ModuleOp([self.func])
        module.verify()
        return module


Make = Callable[[Sketch], SSAValue]


def _reshape_of_reshape(s: Sketch) -> SSAValue:
    x = s.input(s.pick([2, 3, 4], [24], [1, 24]), s.pick("f32", "i8", "i1"))
    first, second = s.pick([6, 4], [4, 1, 6], [24]), s.pick([24], [12, 2], [2, 3, 4, 1])
    return _reshape(s, _reshape(s, x, first), second)


def _transpose_of_transpose(s: Sketch) -> SSAValue:
    x = s.input(s.shape(rank := s.pick(2, 3, 4), low=0), s.pick("f32", "i8"))
    return _transpose(s, _transpose(s, x, s.rng.permutation(rank)), s.rng.permutation(rank))


def _transpose(s: Sketch, x: SSAValue, permutation: Iterable[int]) -> SSAValue:
    return s.b.emit(graph.Transpose, x, permutation=[int(p) for p in permutation])


def _reshape(s: Sketch, x: SSAValue, shape: Sequence[int]) -> SSAValue:
    return s.b.emit(graph.Reshape, x, shape=shape)


def _cast(s: Sketch, x: SSAValue, to: Any) -> SSAValue:
    return s.b.emit(graph.Cast, x, to=to)


def _cast_of_widening_cast(s: Sketch) -> SSAValue:
    source, middle = s.pick(
        ("f16", "f32"), ("bf16", "f32"), ("f32", "f64"), ("f16", "f64"),
        ("i8", "i16"), ("i8", "i64"), ("i32", "i64"), ("ui8", "ui32"), ("ui16", "ui64"),
    )  # fmt: skip
    to = s.pick(*FLOATS, *INTEGERS, "i1", "bf16")
    # What floats out of an integer's range become is not defined.
    fits = dtype_of(source).is_float and dtype_of(to).is_integer
    x = np.abs(s.array([40], source)) if fits else s.array([40], source, special=True)
    return _cast(s, _cast(s, s.given(x), middle), to)


def _if_of_constant(s: Sketch) -> SSAValue:
    x = s.input([3], special=True)
    regions = []
    for cls in (graph.Neg, graph.Abs):
        block = Block()
        inner = GraphBuilder(block)
        inner.build(graph.Yield, [inner.emit(cls, x)], result_types=[])
        regions.append(Region(block))
    op = graph.If.make(s.b.constant(s.flip(), "i1"), regions=regions, result_types=[x.type])
    s.func.body.block.add_op(op)
    return op.results[0]


def _conv_of_pad(s: Sketch) -> SSAValue:
    x, w = s.input([2, 3, 5, 6]), s.input([4, 3, 2, 3])
    low, high = ([0, 0, *(int(p) for p in s.rng.integers(0, 3, 2))] for _ in range(2))
    padded = s.b.emit(graph.Pad, x, s.b.constant(0.0, f32), low=low, high=high)
    return s.b.emit(graph.Conv, padded, w, None, **_conv_params(s))


def _conv_params(s: Sketch, pads: bool = True) -> dict[str, Any]:
    return {
        "strides": [s.pick(1, 2), 1],
        "dilations": [1, s.pick(1, 2)],
        "pads": [s.pick(0, 1) if pads else 0 for _ in range(4)],
    }


def _dequantized(s: Sketch, shape: list[int], axis: int | None, dtype: str = "i8", held=False):
    """8-bit numbers and one scale, or a scale along an axis; `held`: a constant."""
    many = [] if axis is None else [shape[axis]]
    scale = s.b.constant(np.abs(s.array(many)) + np.float32(0.1))
    zero = s.weight(many, dtype) if s.flip() else None
    q = s.weight(shape, dtype) if held else s.input(shape, dtype)
    return s.b.emit(graph.Dequantize, q, scale, zero, axis=axis or 0, dtype=f32)


def _transpose_of_dequantize(s: Sketch) -> SSAValue:
    x = _dequantized(s, s.shape(3), s.pick(None, 0, 1, 2), s.pick("i8", "ui8"))
    return _transpose(s, x, s.rng.permutation(3))


def _reshape_of_dequantize(s: Sketch) -> SSAValue:
    return _reshape(s, _dequantized(s, [2, 3, 4], None), s.pick([6, 4], [24], [2, 12, 1]))


def _softmax(s: Sketch) -> SSAValue:
    x = s.input(s.shape(rank := s.pick(2, 3)), s.pick(f32, "f64"))
    at = {"axes": [s.pick(*range(rank))], "keepdims": True}
    exp = s.b.emit(graph.Exp, s.b.emit(graph.Sub, x, s.b.emit(graph.ReduceMax, x, **at)))
    return s.b.emit(graph.Div, exp, s.b.emit(graph.ReduceSum, exp, **at))


def _mean(s: Sketch, x: SSAValue, count: int) -> SSAValue:
    rank = rank_of(x)
    return s.b.emit(graph.ReduceMean, x, axes=list(range(rank - count, rank)), keepdims=True)


def _spelled_norm(s: Sketch, x: SSAValue, count: int) -> SSAValue:
    square = s.b.emit(graph.Mul, x, x)
    moved = _either(s, graph.Add, _mean(s, square, count), s.number(1e-3, element_type(x)))
    if s.flip():
        return _either(s, graph.Mul, x, s.b.emit(graph.Rsqrt, moved))
    return s.b.emit(graph.Div, x, s.b.emit(graph.Sqrt, moved))


def _either(s: Sketch, cls: type[GraphOp], x: SSAValue, y: SSAValue) -> SSAValue:
    return s.b.emit(cls, x, y) if s.flip() else s.b.emit(cls, y, x)


def _rms_norm(s: Sketch) -> SSAValue:
    return _spelled_norm(s, s.input(s.shape(3), s.pick(f32, "f64")), s.pick(1, 2))


def _layer_norm(s: Sketch) -> SSAValue:
    x, count = s.input(s.shape(3), s.pick(f32, "f64")), s.pick(1, 2)
    return _spelled_norm(s, s.b.emit(graph.Sub, x, _mean(s, x, count)), count)


def _norm_op(s: Sketch, x: SSAValue, *more: SSAValue) -> SSAValue:
    cls = graph.LayerNorm if more or s.flip() else graph.RMSNorm
    return s.b.emit(cls, x, *more, axis=rank_of(x) - 1, epsilon=1e-3)


def _absorb_scale(s: Sketch) -> SSAValue:
    x = s.input(s.shape(3), s.pick(f32, "f64"))
    return _either(s, graph.Mul, _norm_op(s, x), s.input(shape_of(x)[-1:], element_type(x)))  # type: ignore[arg-type]


def _absorb_casts(s: Sketch) -> SSAValue:
    x = s.input([3, 16], dtype := s.pick("f16", "bf16"))
    narrow = s.b.cast(_norm_op(s, s.b.cast(x, f32)), dtype)
    return _either(s, graph.Mul, narrow, s.input([16], dtype))


def _absorb_bias(s: Sketch) -> SSAValue:
    x = s.input(s.shape(3))
    columns = [int(str(shape_of(x)[-1]))]
    return _either(s, graph.Add, _norm_op(s, x, s.input(columns)), s.input(columns))


def _attention(s: Sketch) -> SSAValue:
    b, h, queries, keys, d, e = s.shape(6)
    q, k, v = s.input([b, h, queries, d]), s.input([b, h, d, keys]), s.input([b, h, keys, e])
    half = s.number(0.5, f32)
    if s.flip():
        q = _either(s, graph.Mul, q, half)
    scores = s.b.emit(graph.MatMul, q, k)
    if s.flip():
        scores = s.b.emit(graph.Div, scores, half)
    guarded = s.flip()
    if s.flip():
        mask = np.where(s.rng.random((queries, keys)) < 0.4, -np.inf, 0).astype(np.float32)
        if not guarded:
            mask[:, 0] = 0
        mask_value = s.given(mask) if guarded else s.b.constant(mask)
        scores = _either(s, graph.Add, scores, mask_value)
    weights = s.b.emit(graph.Softmax, scores, axis=3)
    if guarded:
        hidden = s.b.emit(graph.IsNaN, weights)
        weights = s.b.emit(graph.Select, hidden, s.b.scalar_like(0.0, weights), weights)
    return s.b.emit(graph.MatMul, weights, v)


def _grouped_query(s: Sketch) -> SSAValue:
    b, g, times, queries, keys, d = s.shape(6)
    q = s.input([b, g * times, queries, d])

    def repeated(x: SSAValue) -> SSAValue:
        wide = s.b.emit(
            graph.Expand, _reshape(s, x, [b, g, 1, keys, d]), shape=[b, g, times, keys, d]
        )
        return _reshape(s, wide, [b, g * times, keys, d])

    k, v = (repeated(s.input([b, g, keys, d])) for _ in range(2))
    return s.b.emit(graph.Attention, q, k, v, None, scale=0.5, causal=s.pick("none", "lower_right"))


def _batch_norm_fold(s: Sketch) -> SSAValue:
    scale, bias, mean = (s.weight([4]) for _ in range(3))
    variance = s.b.constant(np.abs(s.array([4])) + np.float32(0.1))
    return s.b.emit(graph.BatchNorm, _convolution(s), scale, bias, mean, variance, epsilon=1e-5)


def _convolution(s: Sketch) -> SSAValue:
    x, bias = s.input([2, 3, 5, 6]), s.weight([4]) if s.flip() else None
    if s.flip():
        return s.b.emit(graph.Conv, x, s.weight([4, 3, 2, 3]), bias, **_conv_params(s))
    return s.b.emit(
        graph.ConvTranspose, x, s.weight([3, 4, 2, 3]), bias,
        strides=[1, 2], dilations=[1, 1], pads=[0, 1, 0, 0], output_padding=[0, s.pick(0, 1)],
    )  # fmt: skip


def _scale_into_convolution(s: Sketch) -> SSAValue:
    by = s.weight(s.pick([], [1], [4, 1, 1], [1, 4, 1, 1], [1, 1, 1]))
    return _either(s, s.pick(graph.Mul, graph.Add), _convolution(s), by)


def _scale_into_matmul(s: Sketch) -> SSAValue:
    product = s.b.emit(graph.MatMul, s.input([2, 3, 4]), s.weight([4, 5]))
    return _either(s, graph.Mul, product, s.weight(s.pick([], [1], [5], [1, 5])))


def _gather_first(s: Sketch) -> SSAValue:
    axis = s.pick(0, 1)
    scores = s.b.emit(graph.LogSoftmax, s.input([4, 6]), axis=axis)
    picked = s.rng.integers(0, 4, (1, 6) if axis == 0 else (4, 1))
    return s.b.emit(graph.GatherElements, scores, s.given(picked), axis=axis)


def _scatter_elements(s: Sketch) -> SSAValue:
    axis = s.pick(0, 1)
    shape = [1, 6] if axis == 0 else [4, 1]
    at = s.given(s.rng.integers(-4, 4, shape))
    params = {"axis": axis, "reduction": s.pick("none", "add")}
    return s.b.emit(graph.ScatterElements, s.input([4, 6]), at, s.input(shape), **params)


def _scatter_slice(s: Sketch) -> SSAValue:
    at, update = s.given(s.rng.integers(-4, 4, (1, 1))), s.input([1, 6])
    return s.b.emit(graph.ScatterND, s.input([4, 6]), at, update, reduction=s.pick("none", "add"))


def _split(s: Sketch) -> SSAValue:
    cls = s.pick(graph.ReduceSum, graph.ReduceMean, graph.ReduceMax)
    x = s.input(s.pick([1024, 64], [65536], [65003], [2048, 2, 16]))
    return s.b.emit(cls, x, axes=[0], keepdims=s.flip())


def _split_arg(s: Sketch) -> SSAValue:
    x = s.input(s.pick([1, 65536], [65003], [2, 40001]), s.pick(f32, "i32"))
    axis = 1 if rank_of(x) > 1 else 0
    return s.b.emit(s.pick(graph.ArgMax, graph.ArgMin), x, axis=axis, keepdims=s.flip())


def _take_apart(s: Sketch) -> SSAValue:
    x = s.input([1, 32768])
    if s.flip():
        return s.b.emit(s.pick(graph.Softmax, graph.LogSoftmax), x, axis=1)
    cls, weight = s.pick(graph.LayerNorm, graph.RMSNorm), s.weight([32768], f32)
    more = [weight, None] if cls is graph.LayerNorm else [weight]
    return s.b.build(cls, x, *more, axis=1, epsilon=1e-5).results[0]


def _split_shifted(s: Sketch) -> SSAValue:
    """Parts of a variance are of one size; those of exponentials may be filled up."""
    exponentials, lengths = s.flip(), ([1, 32768], [512, 64], [2048, 2, 16])
    x = s.input(s.pick(*lengths, *([[1, 32771]] if exponentials else [])))
    axes, keepdims = [0, 1], s.flip()
    if exponentials:
        top = s.b.emit(graph.ReduceMax, x, axes=axes, keepdims=True)
        if s.flip():
            endless = s.b.emit(graph.IsInf, top)
            top = s.b.emit(graph.Select, endless, s.b.scalar_like(0, top), top)
        summand = s.b.emit(graph.Exp, s.b.emit(graph.Sub, x, top))
    else:
        mean = s.b.emit(graph.ReduceMean, x, axes=axes, keepdims=True)
        away = s.b.emit(graph.Sub, x, mean)
        summand = s.b.emit(graph.Mul, away, away)
    kind = s.pick(graph.ReduceSum, graph.ReduceMean)
    return s.b.emit(kind, summand, axes=axes, keepdims=keepdims)


def _split_matmul(s: Sketch) -> SSAValue:
    batch, m, n, k = s.pick([], [2]), s.pick(1, 3), s.pick(1, 5), s.pick(32, 64)
    dtype = s.pick(f32, "f16", "i32")
    x, w = s.input([*batch, m, k], dtype), s.input([*s.pick([], batch), k, n], dtype)
    return s.b.emit(graph.MatMul, x, w)


def _split_attention(s: Sketch) -> SSAValue:
    b, g, keys, d, e = s.pick(1, 2), s.pick(1, 2), s.pick(32, 64), s.pick(1, 3), s.pick(2, 3)
    heads, queries = g * s.pick(1, 2), s.pick(1, 1, 3)
    q, k, v = s.input([b, heads, queries, d]), s.input([b, g, keys, d]), s.input([b, g, keys, e])
    mask = None
    if s.flip():
        shape = [s.pick(1, b), s.pick(1, heads), s.pick(1, queries), s.pick(keys, keys, 1)]
        mask = s.given(s.array(shape, s.pick("i1", f32)))
    causal = "lower_right" if queries == 1 and s.flip() else "none"
    params = {"scale": 0.5, "causal": causal, "softcap": s.pick(0.0, 2.0)}
    return s.b.emit(graph.Attention, q, k, v, mask, **params)


def _sink_norm(s: Sketch) -> SSAValue:
    x = s.input(shape := [2, 3, s.pick(4, 16)], dtype := s.pick(f32, "f64"))
    columns = shape[-1]
    more = [s.weight([columns], dtype)]
    cls = s.pick(graph.LayerNorm, graph.RMSNorm)
    if cls is graph.LayerNorm and s.flip():
        more.append(s.weight([columns], dtype))
    norm = s.b.emit(cls, x, *more, axis=2, epsilon=1e-3)
    if s.flip():
        norm = s.b.reshape(norm, [6, columns])
    return s.b.emit(graph.MatMul, norm, s.weight([columns, 5], dtype))


def _widened(s: Sketch, shape: list[int], zero: list[int]) -> SSAValue:
    dtype = s.pick("i8", "ui8")
    wide = s.b.cast(s.input(shape, dtype), i32)
    if s.flip():
        wide = s.b.emit(graph.Sub, wide, s.b.cast(s.input(zero, dtype), i32))
    return wide


def _narrow_matmul(s: Sketch) -> SSAValue:
    m, k, n = s.shape(3)
    left, right = _widened(s, [m, k], s.pick([], [m, 1])), _widened(s, [k, n], s.pick([], [n]))
    return s.b.emit(graph.MatMul, left, right, out_dtype=i32)


def _narrow_conv(s: Sketch) -> SSAValue:
    image = _widened(s, [2, 3, 5, 6], [])
    weight = _widened(s, [4, 3, 2, 3], s.pick([], [4, 1, 1, 1]))
    return s.b.emit(graph.Conv, image, weight, None, out_dtype=i32, **_conv_params(s))


def _integer_matmul(s: Sketch) -> SSAValue:
    left = _dequantized(s, [3, 4], s.pick(None, 0), s.pick("i8", "ui8"))
    return s.b.emit(graph.MatMul, left, _dequantized(s, [4, 5], s.pick(None, 1), held=s.flip()))


def _integer_conv(s: Sketch) -> SSAValue:
    image = _dequantized(s, [2, 3, 5, 6], None, s.pick("i8", "ui8"))
    weight = _dequantized(s, [4, 3, 2, 3], s.pick(None, 0), held=True)
    bias = s.weight([4]) if s.flip() else None
    return s.b.emit(graph.Conv, image, weight, bias, **_conv_params(s))


def _scale_into_quantize(s: Sketch) -> SSAValue:
    sums = s.b.cast(s.given(s.rng.integers(-5000, 5000, (8, 9)).astype(np.int32)), f32)
    value = s.b.emit(graph.Mul, sums, s.b.constant(np.float32(s.pick(0.01, 0.003))))
    if s.flip():
        value = s.b.emit(graph.Relu, value)
    scale = s.b.constant(np.float32(s.pick(0.05, 0.11)))
    return s.b.emit(graph.Quantize, value, scale, s.weight([], i8), dtype=i8)


def _transpose_of_ones(s: Sketch) -> SSAValue:
    x = s.input([3, 1, 4, 1], s.pick("f32", "i8"))
    return s.b.transpose(x, s.pick([1, 0, 2, 3], [0, 2, 1, 3], [3, 0, 2, 1], [0, 3, 1, 2]))


def _flatten_into_weights(s: Sketch) -> SSAValue:
    n, c, h, w = s.shape(4)
    turned = s.b.transpose(s.input([n, c, h, w]), s.pick([0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]))
    return s.b.emit(graph.MatMul, s.b.reshape(turned, [n, c * h * w]), s.weight([c * h * w, 5]))


PATTERNS: dict[type, Make] = {
    canonical.ReshapeOfReshape: _reshape_of_reshape,
    canonical.TransposeOfTranspose: _transpose_of_transpose,
    canonical.CastOfWideningCast: _cast_of_widening_cast,
    canonical.IfOfConstant: _if_of_constant,
    canonical.ConvOfPad: _conv_of_pad,
    canonical.TransposeOfDequantize: _transpose_of_dequantize,
    canonical.ReshapeOfDequantize: _reshape_of_dequantize,
    raise_composites.RaiseSoftmax: _softmax,
    raise_composites.RaiseRMSNorm: _rms_norm,
    raise_composites.RaiseLayerNorm: _layer_norm,
    raise_composites.AbsorbScale: _absorb_scale,
    raise_composites.AbsorbCasts: _absorb_casts,
    raise_composites.AbsorbBias: _absorb_bias,
    raise_composites.RaiseAttention: _attention,
    raise_composites.RaiseGroupedQuery: _grouped_query,
    batch_norm_fold.FoldIntoConvolution: _batch_norm_fold,
    scale_fold.ScaleIntoConvolution: _scale_into_convolution,
    scale_fold.ScaleIntoMatMul: _scale_into_matmul,
    gather_log_softmax.GatherFirst: _gather_first,
    sink_norm.SinkNorm: _sink_norm,
    scatter_to_select.OfElements: _scatter_elements,
    scatter_to_select.OfSlice: _scatter_slice,
    split_reductions.Split: _split,
    split_arg.SplitArg: _split_arg,
    split_shifted.TakeApart: _take_apart,
    split_shifted.SplitShifted: _split_shifted,
    split_products.SplitMatMul: _split_matmul,
    split_products.SplitAttention: _split_attention,
    narrow_products.NarrowMatMul: _narrow_matmul,
    narrow_products.NarrowConv: _narrow_conv,
    integer_products.IntegerMatMul: _integer_matmul,
    integer_products.IntegerConv: _integer_conv,
    integer_products.ScaleIntoQuantize: _scale_into_quantize,
    absorb.TransposeOfOnes: _transpose_of_ones,
    absorb.FlattenIntoWeights: _flatten_into_weights,
}

EXACT = {
    canonical.ReshapeOfReshape,
    canonical.TransposeOfTranspose,
    canonical.CastOfWideningCast,
    canonical.IfOfConstant,
    canonical.TransposeOfDequantize,
    canonical.ReshapeOfDequantize,
    narrow_products.NarrowMatMul,
    narrow_products.NarrowConv,
    absorb.TransposeOfOnes,
    scatter_to_select.OfElements,
    scatter_to_select.OfSlice,
}
"""Patterns that change no bit. The others sum in another order, or round elsewhere."""


def _neutral(cls: type[GraphOp], number: float, dtypes: Sequence[str], right: bool = False) -> Make:
    def make(s: Sketch) -> SSAValue:
        x = s.input(s.shape(2), dtype := s.pick(*dtypes), special=True)
        c = s.number(number, dtype)
        return s.b.emit(cls, x, c) if right or s.flip() else s.b.emit(cls, c, x)

    return make


def _twice(cls: type[GraphOp], dtypes: Sequence[str]) -> Make:
    def make(s: Sketch) -> SSAValue:
        return s.b.emit(cls, s.b.emit(cls, s.input([5], s.pick(*dtypes), special=True)))

    return make


def _select_folds(s: Sketch) -> SSAValue:
    x, y = s.input([2, 3], special=True), s.input([2, 3], special=True)
    if s.flip():
        return s.b.emit(graph.Select, s.input([2, 3], "i1"), x, x)
    return s.b.emit(graph.Select, s.number(s.flip(), "i1"), x, y)


def _on_any(make: Callable[[Sketch, SSAValue], SSAValue]) -> Make:
    return lambda s: make(s, s.input([2, 3], s.pick("f32", "i8"), special=True))


def _reduce_over_nothing(cls: type[GraphOp]) -> Make:
    return lambda s: s.b.emit(cls, s.input([2, 3], special=True), axes=[], keepdims=s.flip())


REAL = (*FLOATS, *INTEGERS)
FOLDERS: dict[type[GraphOp], Make] = {
    graph.Cast: _on_any(lambda s, x: _cast(s, x, element_type(x))),
    graph.Bitcast: _on_any(lambda s, x: s.b.emit(graph.Bitcast, x, to=element_type(x))),
    graph.Neg: _twice(graph.Neg, (*FLOATS, "i8", "i64")),
    graph.Not: _twice(graph.Not, ("i1",)),
    graph.Add: _neutral(graph.Add, 0, INTEGERS),
    graph.Sub: _neutral(graph.Sub, 0, REAL, right=True),
    graph.Mul: _neutral(graph.Mul, 1, REAL),
    graph.Div: _neutral(graph.Div, 1, REAL, right=True),
    graph.Select: _select_folds,
    graph.Reshape: _on_any(lambda s, x: s.b.emit(graph.Reshape, x, shape=[2, 3])),
    graph.Expand: _on_any(lambda s, x: s.b.emit(graph.Expand, x, shape=[2, 3])),
    graph.Transpose: _on_any(lambda s, x: s.b.emit(graph.Transpose, x, permutation=[0, 1])),
    graph.Concat: _on_any(lambda s, x: s.b.emit(graph.Concat, [x], axis=s.pick(0, 1))),
    graph.Slice: _on_any(lambda s, x: s.b.emit(graph.Slice, x, axes=[1], starts=[0], limits=[3],
                                               steps=[1])),
    graph.Pad: _on_any(lambda s, x: s.b.emit(graph.Pad, x, s.b.constant(7, element_type(x)),
                                             low=[0, 0], high=[0, 0])),
    graph.ReduceSum: _reduce_over_nothing(graph.ReduceSum),
    graph.ReduceProd: _reduce_over_nothing(graph.ReduceProd),
    graph.ReduceMax: _reduce_over_nothing(graph.ReduceMax),
    graph.ReduceMin: _reduce_over_nothing(graph.ReduceMin),
    graph.ReduceMean: _reduce_over_nothing(graph.ReduceMean),
    graph.ShapeOf: _on_any(lambda s, x: s.b.emit(graph.ShapeOf, x)),
    graph.ShapeExpr: lambda s: s.b.emit(graph.ShapeExpr, exprs=s.shape(3)),
}  # fmt: skip
