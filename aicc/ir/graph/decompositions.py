"""Composite ops in terms of primitives, one function each.

A decomposition gets a builder that inserts before the op; it returns a value for each result (None
for one without uses), or None for an op that is as simple as can be. 16-bit floats are computed in
f32, as the composites define it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import f32, i1, i64, ui32, ui64
from aicc.ir.graph import (
    attention,
    binary,
    creation,
    decompositions_control,
    decompositions_grad,
    decompositions_image,
    decompositions_signal,
    image,
    misc,
    norm,
    pool,
    reduce,
    unary,
)
from aicc.ir.graph.contract import ConvTranspose, ConvWeightGrad, DeformConv, MatMul
from aicc.ir.graph.control import Loop
from aicc.ir.graph.folders import constant_of
from aicc.ir.graph.indexing import Gather
from aicc.ir.graph.operators import wide as _wide
from aicc.ir.graph.resampling import padded_places
from aicc.ir.graph.shape import Pad, Slice
from aicc.ir.op import GraphOp
from aicc.ir.symbols import exact_div, floordiv
from aicc.ir.types import element_type, numel, rank_of, shape_of

Decomposition = Callable[[GraphBuilder, Any], Sequence[SSAValue | None] | None]


def _bin(b: GraphBuilder, cls: type[GraphOp], x: SSAValue, y: SSAValue | float) -> SSAValue:
    return b.emit(cls, x, y if isinstance(y, SSAValue) else b.scalar_like(y, x))


def _relu(b: GraphBuilder, op: unary.Relu):
    return [_bin(b, binary.Max, op.input, 0)]


def _one_plus_exp(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """1 + e^−x, whose reciprocal is the sigmoid: exact in both tails, where tanh(x/2) is not."""
    return _bin(b, binary.Add, b.emit(unary.Exp, b.emit(unary.Neg, x)), 1)


def _sigmoid(b: GraphBuilder, op: unary.Sigmoid):
    x = b.emit(unary.Reciprocal, _one_plus_exp(b, _wide(b, op.input)))
    return [b.cast(x, element_type(op.input))]


def _silu(b: GraphBuilder, op: unary.Silu):
    x = _wide(b, op.input)
    return [b.cast(_bin(b, binary.Div, x, _one_plus_exp(b, x)), element_type(op.input))]


def _gelu(b: GraphBuilder, op: unary.Gelu):
    x = _wide(b, op.input)
    if op.approximate == "tanh":
        cube = _bin(b, binary.Mul, _bin(b, binary.Mul, _bin(b, binary.Mul, x, x), x), 0.044715)
        inner = _bin(b, binary.Mul, _bin(b, binary.Add, cube, x), math.sqrt(2 / math.pi))
        gate = _bin(b, binary.Add, b.emit(unary.Tanh, inner), 1)
    else:
        gate = _bin(b, binary.Add, b.emit(unary.Erf, _bin(b, binary.Mul, x, math.sqrt(0.5))), 1)
    out = _bin(b, binary.Mul, _bin(b, binary.Mul, x, 0.5), gate)
    return [b.cast(out, element_type(op.input))]


def _shifted(b: GraphBuilder, x: SSAValue, axis: int) -> SSAValue:
    top = b.emit(reduce.ReduceMax, x, axes=[axis], keepdims=True)
    return _bin(b, binary.Sub, x, top)


def _softmax(b: GraphBuilder, op: norm.Softmax):
    e = b.emit(unary.Exp, _shifted(b, _wide(b, op.input), op.axis))
    total = b.emit(reduce.ReduceSum, e, axes=[op.axis], keepdims=True)
    return [b.cast(_bin(b, binary.Div, e, total), element_type(op.input))]


def _log_softmax(b: GraphBuilder, op: norm.LogSoftmax):
    x = _shifted(b, _wide(b, op.input), op.axis)
    total = b.emit(reduce.ReduceSum, b.emit(unary.Exp, x), axes=[op.axis], keepdims=True)
    return [b.cast(_bin(b, binary.Sub, x, b.emit(unary.Log, total)), element_type(op.input))]


def _standardize(b: GraphBuilder, x: SSAValue, axes: list[int], epsilon: float):
    mean = b.emit(reduce.ReduceMean, x, axes=axes, keepdims=True)
    centered = _bin(b, binary.Sub, x, mean)
    square = _bin(b, binary.Mul, centered, centered)
    variance = b.emit(reduce.ReduceMean, square, axes=axes, keepdims=True)
    rstd = b.emit(unary.Rsqrt, _bin(b, binary.Add, variance, epsilon))
    return _bin(b, binary.Mul, centered, rstd), mean, rstd


def _layer_norm(b: GraphBuilder, op: norm.LayerNorm):
    axes = list(range(op.axis, rank_of(op.input)))
    out, mean, rstd = _standardize(b, _wide(b, op.input), axes, op.epsilon)
    if op.scale is not None:
        out = _bin(b, binary.Mul, out, _wide(b, op.scale))
    if op.bias is not None:
        out = _bin(b, binary.Add, out, _wide(b, op.bias))
    return [b.cast(out, element_type(op.input)), mean, rstd]


def _rms_norm(b: GraphBuilder, op: norm.RMSNorm):
    x = _wide(b, op.input)
    axes = list(range(op.axis, rank_of(x)))
    square = b.emit(reduce.ReduceMean, _bin(b, binary.Mul, x, x), axes=axes, keepdims=True)
    out = _bin(b, binary.Mul, x, b.emit(unary.Rsqrt, _bin(b, binary.Add, square, op.epsilon)))
    if op.scale is not None:
        out = _bin(b, binary.Mul, out, _wide(b, op.scale))
    return [b.cast(out, element_type(op.input))]


def _batch_norm(b: GraphBuilder, op: norm.BatchNorm):
    x = _wide(b, op.input)
    spread = list(range(1, rank_of(x) - 1))
    to = element_type(x)
    scale, bias, mean, variance = (
        b.cast(_wide(b, v), to) for v in (op.scale, op.bias, op.mean, op.variance)
    )
    rstd = b.emit(unary.Rsqrt, _bin(b, binary.Add, variance, op.epsilon))
    factor = _bin(b, binary.Mul, scale, rstd)
    offset = _bin(b, binary.Sub, bias, _bin(b, binary.Mul, mean, factor))
    out = _bin(b, binary.Mul, x, b.unsqueeze(factor, spread))
    return [b.cast(_bin(b, binary.Add, out, b.unsqueeze(offset, spread)), element_type(op.input))]


def _reduce_mean(b: GraphBuilder, op: reduce.ReduceMean):
    x, dtype = _wide(b, op.input), element_type(op.input)
    if dtype.is_integer:
        x = b.cast(x, ui64 if dtype.kind == "uint" else i64)
    total = b.emit(reduce.ReduceSum, x, axes=op.axes, keepdims=op.keepdims)
    count = numel([shape_of(x)[a] for a in op.axes])
    if isinstance(count, int):
        divisor = b.scalar_like(count, total)
    else:
        index = b.constant(list(op.axes), i64)
        sizes = b.emit(Gather, b.emit(creation.ShapeOf, x), index)
        divisor = b.cast(b.emit(reduce.ReduceProd, sizes, axes=[0]), element_type(total))
    return [b.cast(_bin(b, binary.Div, total, divisor), element_type(op.input))]


def _arg_reduce(b: GraphBuilder, op: reduce.ArgMax | reduce.ArgMin):
    """The last of equal elements is the first from the end."""
    if not op.select_last_index:
        return None
    axis = op.axis
    turned = b.emit(Slice, op.input, axes=[axis], starts=[-1], limits=[-(2**63)], steps=[-1])
    first = b.emit(type(op), turned, axis=axis, keepdims=op.keepdims)
    last = b.emit(binary.Sub, b.size(op.input, axis), b.constant(1, i64))
    return [b.emit(binary.Sub, last, first)]


def _pad(b: GraphBuilder, op: Pad):
    """Elements of the edge, of the mirror or from the other end are gathered, a table an axis."""
    shape, low, high = shape_of(op.input), op.low, op.high
    if op.mode == "constant" or low is None or high is None:
        return None
    x = op.input
    for axis, (size, before, after) in enumerate(zip(shape, low, high, strict=True)):
        if before == 0 and after == 0:
            continue
        if not all(isinstance(d, int) for d in (size, before, after)) or not size:
            return None
        at = padded_places(size, before, after, op.mode)  # type: ignore[arg-type]
        x = b.emit(Gather, x, b.constant(at, ui32), axis=axis)
    return [x]


def _attention(b: GraphBuilder, op: attention.AttentionOp):
    dtype = element_type(op.query)
    scores, v = _scores(b, op), _wide(b, op.value)
    heads, groups = shape_of(op.query)[1], shape_of(v)[1]
    if heads != groups:
        v = repeat_heads(b, v, heads // groups)  # type: ignore[operator]
    low = b.scalar_like(-math.inf, scores)
    top = b.emit(reduce.ReduceMax, scores, axes=[3], keepdims=True)
    zero = b.scalar_like(0, top)
    top = b.emit(binary.Select, b.emit(binary.Eq, top, low), zero, top)
    e = b.emit(unary.Exp, _bin(b, binary.Sub, scores, top))
    total = b.emit(reduce.ReduceSum, e, axes=[3], keepdims=True)
    one = b.scalar_like(1, total)
    divisor = b.emit(binary.Select, b.emit(binary.Eq, total, zero), one, total)
    out = b.cast(b.emit(MatMul, _bin(b, binary.Div, e, divisor), v), dtype)
    if isinstance(op, attention.Attention):
        return [out]
    lse = b.emit(binary.Add, b.emit(unary.Log, total), top)
    return [out, b.squeeze(lse, [3])]


def _scores(b: GraphBuilder, op: attention.AttentionOp | attention.AttentionBackward) -> SSAValue:
    """q kᵀ · scale + mask, with hidden keys at −∞, in f32 for 16-bit floats."""
    q, k = _wide(b, op.query), _wide(b, op.key)
    heads, groups = shape_of(q)[1], shape_of(k)[1]
    if heads != groups:
        if not isinstance(heads, int) or not isinstance(groups, int):
            raise ValueError("attention over groups of heads needs known numbers of heads")
        k = repeat_heads(b, k, heads // groups)
    q = _bin(b, binary.Mul, q, op.scale)
    scores = b.emit(MatMul, q, b.transpose(k, [0, 1, 3, 2]))
    if isinstance(op, attention.AttentionOp) and op.softcap:
        capped = b.emit(unary.Tanh, _bin(b, binary.Div, scores, op.softcap))
        scores = _bin(b, binary.Mul, capped, op.softcap)
    keep: SSAValue | None = None
    if op.mask is not None and element_type(op.mask) == i1:
        keep = op.mask
    elif op.mask is not None:
        scores = _bin(b, binary.Add, scores, b.cast(op.mask, element_type(scores)))
    if op.causal != "none":
        past = _causal_mask(b, q, k, op.causal, op.window)
        keep = past if keep is None else b.emit(binary.And, keep, past)
    low = b.scalar_like(-math.inf, scores)
    return scores if keep is None else b.emit(binary.Select, keep, scores, low)


def _attention_gradient(b: GraphBuilder, op: attention.AttentionBackward):
    """The weights and the gradient by the scores."""
    scores, swap = _scores(b, op), [0, 1, 3, 2]
    lse, delta = (b.unsqueeze(x, [3]) for x in (op.lse, op.delta))
    hidden = b.emit(binary.Eq, lse, b.scalar_like(-math.inf, lse))
    lse = b.emit(binary.Select, hidden, b.scalar_like(0, lse), lse)
    weights = b.emit(unary.Exp, _bin(b, binary.Sub, scores, lse))
    by_weights = b.emit(MatMul, _wide(b, op.grad), b.transpose(_wide(b, op.value), swap))
    inner = _bin(b, binary.Sub, by_weights, delta)
    return weights, _bin(b, binary.Mul, _bin(b, binary.Mul, weights, inner), op.scale)


def _attention_backward_query(b: GraphBuilder, op: attention.AttentionBackwardQuery):
    _, by_scores = _attention_gradient(b, op)
    return [b.cast(b.emit(MatMul, by_scores, _wide(b, op.key)), element_type(op.query))]


def _attention_backward_key_value(b: GraphBuilder, op: attention.AttentionBackwardKeyValue):
    weights, by_scores = _attention_gradient(b, op)
    dtype, swap = element_type(op.query), [0, 1, 3, 2]
    by_key = b.emit(MatMul, b.transpose(by_scores, swap), _wide(b, op.query))
    by_value = b.emit(MatMul, b.transpose(weights, swap), _wide(b, op.grad))
    return [b.cast(by_key, dtype), b.cast(by_value, dtype)]


def repeat_heads(b: GraphBuilder, x: SSAValue, times: int) -> SSAValue:
    """[B, G, T, D] with each head `times` times in a row."""
    n, heads, length, depth = shape_of(x)
    wide = b.expand(b.unsqueeze(x, [2]), [n, heads, times, length, depth])
    return b.reshape(wide, [n, heads * times, length, depth])  # type: ignore[operator]


def _causal_mask(b: GraphBuilder, q: SSAValue, k: SSAValue, causal: str, window: int) -> SSAValue:
    rows = b.unsqueeze(_count(b, q), [1])
    columns = _count(b, k)
    if causal == "lower_right":
        gap = b.emit(binary.Sub, b.size(k, 2), b.size(q, 2))
        rows = b.emit(binary.Add, rows, gap)
    past = b.emit(binary.Le, columns, rows)
    if not window:
        return past
    near = b.emit(binary.Gt, columns, _bin(b, binary.Sub, rows, window))
    return b.emit(binary.And, past, near)


def _count(b: GraphBuilder, x: SSAValue) -> SSAValue:
    size = b.reshape(b.size(x, 2), [1])
    return b.emit(creation.Iota, shape=size, dtype=i64)


def _group_norm(b: GraphBuilder, op: norm.GroupNorm):
    x = _wide(b, op.input)
    shape = shape_of(x)
    count, channels = shape[0], shape[1]
    size = numel(shape[1:])
    if count is None or size is None or not isinstance(channels, int):
        raise ValueError("group_norm over channels whose number isn't known")
    rows = b.reshape(x, [count, op.groups, exact_div(size, op.groups) or floordiv(size, op.groups)])
    out, mean, rstd = _standardize(b, rows, [2], op.epsilon)
    out = b.reshape(out, shape)  # type: ignore[arg-type]
    spread = list(range(1, len(shape) - 1))
    for value, cls in ((op.scale, binary.Mul), (op.bias, binary.Add)):
        if value is not None:
            out = _bin(b, cls, out, b.unsqueeze(_wide(b, value), spread))
    pair = [count, op.groups]
    return [
        b.cast(out, element_type(op.input)),
        *(
            b.reshape(v, pair) if r.first_use is not None else None
            for v, r in ((mean, op.mean), (rstd, op.rstd))
        ),
    ]


def spread(b: GraphBuilder, value: SSAValue, op: Any) -> SSAValue:
    """A scale or zero point, to be broadcast against the operand."""
    rank = rank_of(op.input)
    if rank_of(value) == 0 or numel(shape_of(value)) == 1:
        return b.reshape(value, [])
    if op.block_size:
        shape = list(shape_of(value))
        wide = b.expand(
            b.unsqueeze(value, [op.axis + 1]),
            [*shape[: op.axis + 1], op.block_size, *shape[op.axis + 1 :]],  # type: ignore[list-item]
        )
        merged = [*shape]
        merged[op.axis] = merged[op.axis] * op.block_size  # type: ignore[operator]
        whole = b.reshape(wide, merged)  # type: ignore[arg-type]
        size = shape_of(op.input)[op.axis]
        assert size is not None
        return whole if merged[op.axis] == size else b.slice(whole, op.axis, 0, size)
    return b.unsqueeze(value, [i for i in range(rank) if i != op.axis])


def _parameter(b: GraphBuilder, value: SSAValue, op: Any) -> SSAValue:
    """A scale or zero point in f32, to be broadcast; worked out here for constants of one axis."""
    array = constant_of(value)
    if array is None or op.block_size:
        return b.cast(spread(b, value, op), f32)
    rank = 0 if array.size == 1 else rank_of(op.input)
    shape = [-1 if i == op.axis else 1 for i in range(rank)]
    return b.constant(array.astype(np.float32).reshape(shape))


def _is_zero(value: SSAValue | None) -> bool:
    array = constant_of(value)
    return value is None or (array is not None and not array.any())


def _dequantize(b: GraphBuilder, op: Any):
    x, scale = b.cast(op.input, f32), _parameter(b, op.scale, op)
    if not _is_zero(op.zero_point):
        x = _bin(b, binary.Sub, x, _parameter(b, op.zero_point, op))
    return [b.cast(_bin(b, binary.Mul, x, scale), element_type(op.result))]


def _quantize(b: GraphBuilder, op: Any):
    scale = _parameter(b, op.scale, op)
    ratio = _bin(b, binary.Div, b.cast(op.input, f32), scale)
    if op.dtype.is_float:
        return [b.emit(unary.Cast, ratio, to=op.dtype, saturate=op.saturate)]
    x = b.emit(unary.Round, ratio)
    if not _is_zero(op.zero_point):
        x = _bin(b, binary.Add, x, _parameter(b, op.zero_point, op))
    dtype = element_type(op.result)
    low = 0 if dtype.kind == "uint" else -(2 ** (dtype.bits - 1))
    x = _bin(b, binary.Min, _bin(b, binary.Max, x, low), low + 2**dtype.bits - 1)
    return [b.cast(x, dtype)]


DECOMPOSITIONS: dict[type[GraphOp], Decomposition] = {
    unary.Relu: _relu,
    unary.Sigmoid: _sigmoid,
    unary.Silu: _silu,
    unary.Gelu: _gelu,
    norm.Softmax: _softmax,
    norm.LogSoftmax: _log_softmax,
    norm.LayerNorm: _layer_norm,
    norm.RMSNorm: _rms_norm,
    norm.BatchNorm: _batch_norm,
    attention.Attention: _attention,
    attention.AttentionWithLse: _attention,
    attention.AttentionBackwardQuery: _attention_backward_query,
    attention.AttentionBackwardKeyValue: _attention_backward_key_value,
    norm.GroupNorm: _group_norm,
    reduce.ReduceMean: _reduce_mean,
    reduce.ArgMax: _arg_reduce,
    reduce.ArgMin: _arg_reduce,
    Pad: _pad,
    Loop: decompositions_control.loop,
    misc.Quantize: _quantize,
    misc.Dequantize: _dequantize,
    pool.MaxPool: decompositions_image.max_pool,
    image.Resize: decompositions_image.resize,
    image.GridSample: decompositions_image.grid_sample,
    image.RoiAlign: decompositions_image.roi_align,
    DeformConv: decompositions_image.deform_conv,
    misc.DFT: decompositions_signal.dft,
    pool.AvgPoolGrad: decompositions_grad.avg_pool_grad,
    pool.MaxPoolGrad: decompositions_grad.max_pool_grad,
    ConvTranspose: decompositions_grad.conv_transpose,
    ConvWeightGrad: decompositions_grad.conv_weight_grad,
}
