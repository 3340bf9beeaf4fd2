"""Elementwise operators."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.errors import ImportError_
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import f32, i1
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, rank_of, shape_of

_UNARY: dict[str, type[GraphOp]] = {
    "Abs": graph.Abs,
    "Acos": graph.Acos,
    "Acosh": graph.Acosh,
    "Asin": graph.Asin,
    "Asinh": graph.Asinh,
    "Atan": graph.Atan,
    "Atanh": graph.Atanh,
    "BitwiseNot": graph.Not,
    "Ceil": graph.Ceil,
    "Cos": graph.Cos,
    "Cosh": graph.Cosh,
    "Erf": graph.Erf,
    "Exp": graph.Exp,
    "Floor": graph.Floor,
    "IsNaN": graph.IsNaN,
    "Log": graph.Log,
    "Neg": graph.Neg,
    "Not": graph.Not,
    "Reciprocal": graph.Reciprocal,
    "Relu": graph.Relu,
    "Round": graph.Round,
    "Sigmoid": graph.Sigmoid,
    "Sign": graph.Sign,
    "Sin": graph.Sin,
    "Sinh": graph.Sinh,
    "Sqrt": graph.Sqrt,
    "Tan": graph.Tan,
    "Tanh": graph.Tanh,
}

_BINARY: dict[str, type[GraphOp]] = {
    "Add": graph.Add,
    "And": graph.And,
    "BitwiseAnd": graph.And,
    "BitwiseOr": graph.Or,
    "BitwiseXor": graph.Xor,
    "Div": graph.Div,
    "Equal": graph.Eq,
    "Greater": graph.Gt,
    "GreaterOrEqual": graph.Ge,
    "Less": graph.Lt,
    "LessOrEqual": graph.Le,
    "Mul": graph.Mul,
    "Or": graph.Or,
    "Pow": graph.Pow,
    "Sub": graph.Sub,
    "Xor": graph.Xor,
}


def _enter_unary(name: str, cls: type[GraphOp]) -> None:
    @onnx_op(name)
    def unary(c: NodeContext):
        return c.emit(cls, c[0])


def _enter_binary(name: str, cls: type[GraphOp]) -> None:
    @onnx_op(name)
    def binary(c: NodeContext):
        return c.emit(cls, c[0], legacy_broadcast(c))


for _name, _cls in _UNARY.items():
    _enter_unary(_name, _cls)
for _name, _cls in _BINARY.items():
    _enter_binary(_name, _cls)


def legacy_broadcast(c: NodeContext) -> SSAValue:
    """Input 1, placed by the `broadcast` and `axis` attributes that opsets below 7 have."""
    if c.version >= 7 or not c.attr("broadcast", 0) or not c.has_attr("axis"):
        return c[1]
    after = c.rank(0) - c.axis() - c.rank(1)
    axes = range(c.rank(1), c.rank(1) + after)
    return c.b.unsqueeze(c[1], list(axes))


@onnx_op("Identity")
def identity(c: NodeContext):
    return c.optional(0)


@onnx_op("Mod")
def mod(c: NodeContext):
    return c.emit(graph.Rem if c.attr("fmod", 0) else graph.Mod, c[0], c[1])


@onnx_op("BitShift")
def bit_shift(c: NodeContext):
    return c.emit(graph.Shl if c.attr("direction") == "LEFT" else graph.Shr, c[0], c[1])


@onnx_op("IsInf")
def is_inf(c: NodeContext):
    return c.emit(
        graph.IsInf,
        c[0],
        detect_positive=bool(c.attr("detect_positive", 1)),
        detect_negative=bool(c.attr("detect_negative", 1)),
    )


def _variadic(cls: type[GraphOp]):
    def importer(c: NodeContext):
        return reduce(lambda a, b: c.emit(cls, a, b), c.tensors())

    return importer


onnx_op("Max")(_variadic(graph.Max))
onnx_op("Min")(_variadic(graph.Min))
onnx_op("Sum")(_variadic(graph.Add))


@onnx_op("Mean")
def mean(c: NodeContext):
    total = reduce(lambda a, b: c.emit(graph.Add, a, b), c.tensors())
    return c.emit(graph.Div, total, c.scalar(len(c)))


@onnx_op("Where")
def where(c: NodeContext):
    return c.emit(graph.Select, c[0], c[1], c[2])


@onnx_op("Cast")
def cast(c: NodeContext):
    return c.emit(
        graph.Cast,
        c[0],
        to=c.dtype_attr("to") if not isinstance(c.attr("to"), str) else _legacy_dtype(c),
        saturate=bool(c.attr("saturate", 1)),
        round_mode=c.attr("round_mode", "up"),
    )


def _legacy_dtype(c: NodeContext):
    from aicc.ir.dtypes import dtype_from_onnx

    found = dtype_from_onnx(c.attr("to"))
    if found is None:
        raise ImportError_(f"tensors of type {c.attr('to')} are not supported")
    return found


@onnx_op("CastLike")
def cast_like(c: NodeContext):
    return c.emit(
        graph.Cast,
        c[0],
        to=c.dtype(1),
        saturate=bool(c.attr("saturate", 1)),
        round_mode=c.attr("round_mode", "up"),
    )


@onnx_op("BitCast")
def bit_cast(c: NodeContext):
    return c.emit(graph.Bitcast, c[0], to=c.dtype_attr("to"))


@onnx_op("Clip", until=11)
def clip_6(c: NodeContext):
    x = c[0]
    low, high = c.attr("min", None), c.attr("max", None)
    if low is not None and low > -3.4e38:
        x = c.emit(graph.Max, x, c.scalar(low))
    if high is not None and high < 3.4e38:
        x = c.emit(graph.Min, x, c.scalar(high))
    return x


@onnx_op("Clip", since=11)
def clip(c: NodeContext):
    x = c[0]
    if c.has(1):
        x = c.emit(graph.Max, x, c[1])
    return c.emit(graph.Min, x, c[2]) if c.has(2) else x


# ---------------------------------------------------------------------- activations


@onnx_op("LeakyRelu")
def leaky_relu(c: NodeContext):
    x = c[0]
    slope = c.emit(graph.Mul, x, c.scalar(c.attr("alpha", 0.01)))
    return c.emit(graph.Select, c.emit(graph.Lt, x, c.scalar(0)), slope, x)


@onnx_op("PRelu")
def prelu(c: NodeContext):
    x, slope = c[0], c[1]
    if c.version < 7 and c.rank(1) == 1 and c.rank(0) > 1:
        slope = c.b.unsqueeze(slope, list(range(1, c.rank(0) - 1)))
    return c.emit(graph.Select, c.emit(graph.Lt, x, c.scalar(0)), c.emit(graph.Mul, x, slope), x)


def elu_of(c: NodeContext, x: SSAValue, alpha: float) -> SSAValue:
    negative = c.emit(graph.Mul, c.emit(graph.Expm1, x), c.scalar(alpha, x))
    return c.emit(graph.Select, c.emit(graph.Lt, x, c.scalar(0, x)), negative, x)


@onnx_op("Elu")
def elu(c: NodeContext):
    return elu_of(c, c[0], c.attr("alpha", 1.0))


@onnx_op("Selu")
def selu(c: NodeContext):
    alpha = c.attr("alpha", 1.67326319217681884765625)
    gamma = c.attr("gamma", 1.05070102214813232421875)
    return c.emit(graph.Mul, elu_of(c, c[0], alpha), c.scalar(gamma))


@onnx_op("Celu")
def celu(c: NodeContext):
    x, alpha = c[0], c.attr("alpha", 1.0)
    scaled = c.emit(graph.Expm1, c.emit(graph.Div, x, c.scalar(alpha)))
    negative = c.emit(graph.Mul, scaled, c.scalar(alpha))
    return c.emit(graph.Select, c.emit(graph.Lt, x, c.scalar(0)), negative, x)


@onnx_op("HardSigmoid")
def hard_sigmoid(c: NodeContext):
    line = c.emit(graph.Mul, c[0], c.scalar(c.attr("alpha", 0.2)))
    line = c.emit(graph.Add, line, c.scalar(c.attr("beta", 0.5)))
    return c.emit(graph.Min, c.emit(graph.Max, line, c.scalar(0)), c.scalar(1))


def softplus_of(c: NodeContext, x: SSAValue) -> SSAValue:
    """log(1 + e^x) as max(x, 0) + log1p(e^−|x|), which can't overflow."""
    tail = c.emit(graph.Log1p, c.emit(graph.Exp, c.emit(graph.Neg, c.emit(graph.Abs, x))))
    return c.emit(graph.Add, c.emit(graph.Relu, x), tail)


@onnx_op("Softplus")
def softplus(c: NodeContext):
    return softplus_of(c, c[0])


@onnx_op("Mish")
def mish(c: NodeContext):
    return c.emit(graph.Mul, c[0], c.emit(graph.Tanh, softplus_of(c, c[0])))


@onnx_op("Softsign")
def softsign(c: NodeContext):
    return c.emit(graph.Div, c[0], c.emit(graph.Add, c.emit(graph.Abs, c[0]), c.scalar(1)))


@onnx_op("ThresholdedRelu")
def thresholded_relu(c: NodeContext):
    keep = c.emit(graph.Gt, c[0], c.scalar(c.attr("alpha", 1.0)))
    return c.emit(graph.Select, keep, c[0], c.scalar(0))


@onnx_op("Shrink")
def shrink(c: NodeContext):
    x, bias, limit = c[0], c.attr("bias", 0.0), c.attr("lambd", 0.5)
    below = c.emit(graph.Lt, x, c.scalar(-limit))
    above = c.emit(graph.Gt, x, c.scalar(limit))
    high = c.emit(graph.Select, above, c.emit(graph.Sub, x, c.scalar(bias)), c.scalar(0))
    return c.emit(graph.Select, below, c.emit(graph.Add, x, c.scalar(bias)), high)


@onnx_op("Gelu")
def gelu(c: NodeContext):
    return c.emit(graph.Gelu, c[0], approximate=c.attr("approximate", "none"))


@onnx_op("Swish")
def swish(c: NodeContext):
    alpha = c.attr("alpha", 1.0)
    if alpha == 1.0:
        return c.emit(graph.Silu, c[0])
    gate = c.emit(graph.Sigmoid, c.emit(graph.Mul, c[0], c.scalar(alpha)))
    return c.emit(graph.Mul, c[0], gate)


@onnx_op("HardSwish")
def hard_swish(c: NodeContext):
    line = c.emit(graph.Add, c.emit(graph.Mul, c[0], c.scalar(1 / 6)), c.scalar(0.5))
    gate = c.emit(graph.Min, c.emit(graph.Max, line, c.scalar(0)), c.scalar(1))
    return c.emit(graph.Mul, c[0], gate)


# ---------------------------------------------------------------------- windows


def _window(c: NodeContext, coefficients: tuple[float, ...]) -> SSAValue:
    """Σ aₖ cos(2πkn/N): the cosine windows of ONNX."""
    size = c.b.reshape(c[0], [1])
    n = c.emit(graph.Iota, shape=c.b.structural(c.b.cast(size, "i64")), axis=0, dtype=f32)
    count = c.b.cast(c.b.reshape(c[0], []), f32)
    if not c.attr("periodic", 1):
        count = c.emit(graph.Sub, count, c.scalar(1, n))
    angle = c.emit(graph.Div, c.emit(graph.Mul, n, c.scalar(2 * math.pi, n)), count)
    total = c.b.constant(np.float32(coefficients[0]))
    for k, a in enumerate(coefficients[1:], 1):
        wave = c.emit(graph.Cos, c.emit(graph.Mul, angle, c.scalar(k, n)))
        total = c.emit(graph.Add, total, c.emit(graph.Mul, wave, c.scalar(a, n)))
    return c.b.cast(total, c.dtype_attr("output_datatype", 1))


@onnx_op("HannWindow")
def hann_window(c: NodeContext):
    return _window(c, (0.5, -0.5))


@onnx_op("HammingWindow")
def hamming_window(c: NodeContext):
    return _window(c, (25 / 46, -21 / 46))


@onnx_op("BlackmanWindow")
def blackman_window(c: NodeContext):
    return _window(c, (0.42, -0.5, 0.08))


@onnx_op("MelWeightMatrix")
def mel_weight_matrix(c: NodeContext):
    bins, length, rate = (int(c.require_array(i, "mel size")) for i in range(3))
    low, high = (float(c.require_array(i, "mel edge")) for i in (3, 4))
    spectrum = length // 2 + 1

    def mel(f: float) -> float:
        return 2595 * math.log10(1 + f / 700)

    points = np.arange(bins + 2) * ((mel(high) - mel(low)) / (bins + 2)) + mel(low)
    hertz = 700 * (np.power(10.0, points / 2595) - 1)
    at = ((length + 1) * hertz // rate).astype(np.int64)
    out = np.zeros((spectrum, bins))
    for i in range(bins):
        left, center, right = at[i : i + 3]
        if left == center:
            out[center, i] = 1
        else:
            out[left : center + 1, i] = (np.arange(left, center + 1) - left) / (center - left)
        if right > center:
            out[center:right, i] = (right - np.arange(center, right)) / (right - center)
    return c.b.constant(out, c.dtype_attr("output_datatype", 1))


__all__ = ["element_type", "i1", "rank_of", "shape_of"]
