"""What each graph op is in ONNX: one row an op.

Ops that ONNX lacks and that have a decomposition are taken apart before; `EXPORTERS` is all there
is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aicc.backends.onnx.writer import GraphWriter, Unsupported, onnx_type
from aicc.ir import graph
from aicc.ir.dtypes import DType, f32, i32, i64
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, numel, rank_of, shape_of

Exporter = Callable[[GraphWriter, Any], object]


def _same(kind: str) -> Exporter:
    """The same operands, no attributes."""

    def write(w: GraphWriter, op: GraphOp) -> object:
        return w.result(op, kind, *w.values(op))

    return write


def _by_type(bools: str, ints: str) -> Exporter:
    def write(w: GraphWriter, op: GraphOp) -> object:
        kind = bools if element_type(op.operands[0]).kind == "bool" else ints
        return w.result(op, kind, *w.values(op))

    return write


def _then(*kinds: str) -> Exporter:
    """One node after another, the last one gives the result."""

    def write(w: GraphWriter, op: GraphOp) -> object:
        value = w.value(op.operands[0])
        for kind in kinds[:-1]:
            value = w.node(kind, value)
        return w.result(op, kinds[-1], value)

    return write


def _expm1(w: GraphWriter, op: graph.Expm1) -> object:
    one = w.constant(1, element_type(op.input).np)
    return w.result(op, "Sub", w.node("Exp", w.value(op.input)), one)


def _log1p(w: GraphWriter, op: graph.Log1p) -> object:
    one = w.constant(1, element_type(op.input).np)
    return w.result(op, "Log", w.node("Add", w.value(op.input), one))


def _trunc(w: GraphWriter, op: graph.Trunc) -> object:
    x = w.value(op.input)
    return w.result(op, "Mul", w.node("Sign", x), w.node("Floor", w.node("Abs", x)))


def _cast(w: GraphWriter, op: graph.Cast) -> object:
    float8 = op.to.is_float and op.to.bits == 8 and not op.saturate
    return w.result(
        op, "Cast", w.value(op.input), to=onnx_type(op.to), saturate=0 if float8 else None
    )


def _gelu(w: GraphWriter, op: graph.Gelu) -> object:
    return w.result(op, "Gelu", w.value(op.input), approximate=op.approximate)


def _is_inf(w: GraphWriter, op: graph.IsInf) -> object:
    return w.result(
        op,
        "IsInf",
        w.value(op.input),
        detect_positive=int(op.detect_positive),
        detect_negative=int(op.detect_negative),
    )


def _mod(fmod: int) -> Exporter:
    def write(w: GraphWriter, op: GraphOp) -> object:
        dtype = element_type(op.operands[0])
        if dtype.is_float and not fmod:
            raise Unsupported("a modulus of floats with the divisor's sign")
        return w.result(op, "Mod", *w.values(op), fmod=fmod)

    return write


def _shift(direction: str) -> Exporter:
    def write(w: GraphWriter, op: GraphOp) -> object:
        if element_type(op.operands[0]).kind != "uint":
            raise Unsupported("a shift of signed integers")
        return w.result(op, "BitShift", *w.values(op), direction=direction)

    return write


def _ne(w: GraphWriter, op: graph.Ne) -> object:
    return w.result(op, "Not", w.node("Equal", *w.values(op)))


def _reduce(kind: str) -> Exporter:
    def write(w: GraphWriter, op: Any) -> object:
        axes = w.ints(op.axes)
        return w.result(
            op, kind, w.value(op.input), axes, keepdims=int(op.keepdims), noop_with_empty_axes=1
        )

    return write


def _arg(kind: str) -> Exporter:
    def write(w: GraphWriter, op: Any) -> object:
        return w.result(
            op,
            kind,
            w.value(op.input),
            axis=op.axis,
            keepdims=int(op.keepdims),
            select_last_index=int(op.select_last_index),
        )

    return write


def _cumsum(w: GraphWriter, op: graph.CumSum) -> object:
    return w.result(
        op,
        "CumSum",
        w.value(op.input),
        w.constant(op.axis, np.int64),
        exclusive=int(op.exclusive),
        reverse=int(op.reverse),
    )


def _along(kind: str, **names: str) -> Exporter:
    """Attributes that have the op's own names, or those of `names`."""

    def write(w: GraphWriter, op: GraphOp) -> object:
        attrs = {names.get(k, k): v for k, v in op.param_values().items()}
        return w.result(op, kind, *w.values(op), **attrs)

    return write


def _gather(kind: str) -> Exporter:
    """ONNX has indices of i32 and i64."""

    def write(w: GraphWriter, op: GraphOp) -> object:
        x, indices = w.values(op)
        if element_type(op.operands[1]).name not in ("i32", "i64"):
            indices = w.cast(indices, i64)
        return w.result(op, kind, x, indices, **op.param_values())

    return write


# ---------------------------------------------------------------------- products


def _matmul(w: GraphWriter, op: graph.MatMul) -> object:
    a, b = w.values(op)
    left, out = element_type(op.lhs), element_type(op.result)
    if not left.is_integer or left.bits >= 32:
        if out != left:
            raise Unsupported(f"a product of {left} into {out}")
        return w.result(op, "MatMul", a, b)
    if out == i32 and left.bits == 8 and element_type(op.rhs).bits == 8:
        return w.result(op, "MatMulInteger", a, b)
    return w.result(op, "MatMul", w.cast(a, out), w.cast(b, out))


def _window(op: Any) -> dict[str, Any]:
    return {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}


def _windowed(w: GraphWriter, op: Any, kind: str, inputs: list[str], **attrs: Any) -> str:
    """A node over images, whose channels ONNX has first: turned where the op has them last."""
    if op.layout == "nchw":
        return w.result(op, kind, *inputs, **attrs)
    rank = rank_of(op.input)
    spatial = range(1, rank - 1)
    inputs[0] = w.node("Transpose", inputs[0], perm=[0, rank - 1, *spatial])
    if len(inputs) > 1:
        inputs[1] = w.node("Transpose", inputs[1], perm=[rank - 1, rank - 2, *range(rank - 2)])
    made = w.node(kind, *inputs, **attrs)
    return w.result(op, "Transpose", made, perm=[0, *(i + 1 for i in spatial), 1])


def _conv(w: GraphWriter, op: graph.Conv) -> object:
    dtype = element_type(op.input)
    attrs = {**_window(op), "group": op.groups}
    if not dtype.is_integer:
        return _windowed(w, op, "Conv", w.values(op), **attrs)
    if dtype.bits == 8 and element_type(op.weight).bits == 8 and op.bias is None:
        return _windowed(w, op, "ConvInteger", w.values(op), **attrs)
    raise Unsupported(f"a convolution of {dtype}")


def _conv_transpose(w: GraphWriter, op: graph.ConvTranspose) -> object:
    return w.result(
        op,
        "ConvTranspose",
        *w.values(op),
        **_window(op),
        group=op.groups,
        output_padding=op.output_padding,
    )


def _pool(kind: str) -> Exporter:
    def write(w: GraphWriter, op: Any) -> object:
        attrs = {**_window(op), "kernel_shape": op.kernel_shape, "ceil_mode": int(op.ceil_mode)}
        if isinstance(op, graph.AvgPool):
            attrs["count_include_pad"] = int(op.count_include_pad)
        elif op.indices.first_use is not None:
            raise Unsupported("places of maxima inside their plane")
        return _windowed(w, op, kind, [w.value(op.input)], **attrs)

    return write


# ---------------------------------------------------------------------- normalization


def _layer_norm(w: GraphWriter, op: graph.LayerNorm) -> object:
    shape = shape_of(op.input)[op.axis :]
    scale = "" if op.scale is None else w.value(op.scale)
    if not scale:
        if not all(isinstance(d, int) for d in shape):
            raise Unsupported("a layer norm without a scale over dynamic sizes")
        scale = w.constant(np.ones(shape, element_type(op.input).np))  # type: ignore[arg-type]
    bias = "" if op.bias is None else w.value(op.bias)
    return w.result(
        op, "LayerNormalization", w.value(op.input), scale, bias, axis=op.axis, epsilon=op.epsilon
    )


def _batch_norm(w: GraphWriter, op: graph.BatchNorm) -> object:
    return w.result(op, "BatchNormalization", *w.values(op), epsilon=op.epsilon)


# ---------------------------------------------------------------------- shapes


def _transpose(w: GraphWriter, op: graph.Transpose) -> object:
    return w.result(op, "Transpose", w.value(op.input), perm=op.permutation)


def _reshape(w: GraphWriter, op: graph.Reshape) -> object:
    shape = op.shape
    unknown = [] if shape is None else [i for i, d in enumerate(shape) if not isinstance(d, int)]
    if shape is not None and len(unknown) == 1 and 0 not in shape and has_elements(op):
        goal = w.ints([d if isinstance(d, int) else -1 for d in shape])
    else:
        goal = w.structural(op, "shape")
    return w.result(op, "Reshape", w.value(op.input), goal, allowzero=1 if not unknown else None)


def has_elements(op: graph.Reshape) -> bool:
    """Whether no size of the operand can be 0, as far as types say: −1 needs that."""
    return all(not isinstance(d, int) or d > 0 for d in shape_of(op.input))


def _expand(w: GraphWriter, op: graph.Expand) -> object:
    return w.result(op, "Expand", w.value(op.input), w.structural(op, "shape"))


def _slice(w: GraphWriter, op: graph.Slice) -> object:
    bounds = [w.structural(op, p) for p in ("starts", "limits")]
    return w.result(
        op, "Slice", w.value(op.input), *bounds, w.ints(op.axes), w.structural(op, "steps")
    )


def _pad(w: GraphWriter, op: graph.Pad) -> object:
    ends = w.node("Concat", w.structural(op, "low"), w.structural(op, "high"), axis=0)
    value = w.value(op.value) if op.mode == "constant" else ""
    return w.result(op, "Pad", w.value(op.input), ends, value, mode=op.mode)


def _iota(w: GraphWriter, op: graph.Iota) -> object:
    shape = op.shape
    if shape is None:
        raise Unsupported("an iota of a computed shape")
    size = w.node("Squeeze", w.dim(shape[op.axis]))
    run = w.node("Range", w.constant(0, np.int64), size, w.constant(1, np.int64))
    if op.dtype != i64:
        run = w.cast(run, op.dtype)
    after = len(shape) - 1 - op.axis
    if after:
        run = w.node("Unsqueeze", run, w.ints(list(range(1, 1 + after))))
    return w.result(op, "Expand", run, w.dims(shape))


def _shape_expr(w: GraphWriter, op: graph.ShapeExpr) -> object:
    return w.result(op, "Identity", w.dims(op.exprs))


def _top_k(w: GraphWriter, op: graph.TopK) -> object:
    k = w.structural(op, "k")
    return w.result(
        op,
        "TopK",
        w.value(op.input),
        k,
        axis=op.axis,
        largest=int(op.largest),
        sorted=int(op.sorted),
    )


def _resize(w: GraphWriter, op: graph.Resize) -> object:
    if op.mode == "cubic" and element_type(op.input) != f32:
        raise Unsupported("a cubic resize of other types than f32")
    scales = "" if op.scales is None else w.constant(op.scales, np.float32)
    sizes = w.structural(op, "sizes") if op.scales is None else ""
    roi = "" if op.roi is None else w.constant(op.roi, np.float32)
    return w.result(
        op,
        "Resize",
        w.value(op.input),
        roi,
        scales,
        sizes,
        axes=op.axes,
        mode=op.mode,
        coordinate_transformation_mode=op.coordinate_transformation_mode,
        nearest_mode=op.nearest_mode,
        cubic_coeff_a=op.cubic_coeff_a,
        exclude_outside=int(op.exclude_outside),
        antialias=int(op.antialias),
        extrapolation_value=op.extrapolation_value,
    )


# ---------------------------------------------------------------------- quantization


def _quantize(w: GraphWriter, op: graph.Quantize) -> object:
    if is_division_of_rows(op):
        return _quantize_rows(w, op)
    zero = w.value(op.zero_point) if op.zero_point is not None else _zero(w, op, op.dtype)
    return w.result(
        op, "QuantizeLinear", w.value(op.input), w.value(op.scale), zero, **_quantization(op)
    )


def _dequantize(w: GraphWriter, op: graph.Dequantize) -> object:
    if is_division_of_rows(op):
        wide = w.cast(w.value(op.input), f32)
        if op.zero_point is not None:
            wide = w.node("Sub", wide, w.cast(w.value(op.zero_point), f32))
        return w.result(op, "Mul", wide, w.value(op.scale))
    zero = "" if op.zero_point is None else w.value(op.zero_point)
    scale = w.value(op.scale)
    if element_type(op.scale) != op.dtype:
        scale = w.cast(scale, op.dtype)
    return w.result(op, "DequantizeLinear", w.value(op.input), scale, zero, **_quantization(op))


def _quantization(op: graph.Quantize | graph.Dequantize) -> dict[str, Any]:
    if rank_of(op.scale) == 0 or numel(shape_of(op.scale)) == 1:
        return {}
    return {"axis": op.axis, "block_size": op.block_size or None}


def _zero(w: GraphWriter, op: graph.Quantize, dtype: DType) -> str:
    """A zero point that says which type is meant."""
    shape = shape_of(op.scale)
    if not all(isinstance(d, int) for d in shape):
        raise Unsupported("scales of a dynamic number without zero points")
    return w.constant(np.zeros(shape, dtype.np))  # type: ignore[arg-type]


def is_division_of_rows(op: graph.Quantize | graph.Dequantize) -> bool:
    """Whether each row has a scale of its own: runtimes know blocks of constants only."""
    axis, size = op.axis, op.block_size
    return bool(size) and shape_of(op.input)[axis] == size and shape_of(op.scale)[axis] == 1


def _quantize_rows(w: GraphWriter, op: graph.Quantize) -> object:
    if op.zero_point is not None or op.dtype.kind == "uint":
        raise Unsupported("rows with zero points of their own")
    ratio = w.node("Div", w.value(op.input), w.value(op.scale))
    if op.dtype.is_float:
        return w.result(op, "Cast", ratio, to=onnx_type(op.dtype))
    top = 2 ** (op.dtype.bits - 1)
    low, high = (w.constant(v, np.float32) for v in (-top, top - 1))
    clipped = w.node("Clip", w.node("Round", ratio), low, high)
    return w.result(op, "Cast", clipped, to=onnx_type(op.dtype))


def _constant(w: GraphWriter, op: graph.Constant) -> object:
    return w.named_constant(op)


EXPORTERS: dict[type[GraphOp], Exporter] = {
    graph.Constant: _constant,
    graph.Abs: _same("Abs"),
    graph.Acos: _same("Acos"),
    graph.Acosh: _same("Acosh"),
    graph.Asin: _same("Asin"),
    graph.Asinh: _same("Asinh"),
    graph.Atan: _same("Atan"),
    graph.Atanh: _same("Atanh"),
    graph.Ceil: _same("Ceil"),
    graph.Cos: _same("Cos"),
    graph.Cosh: _same("Cosh"),
    graph.Erf: _same("Erf"),
    graph.Exp: _same("Exp"),
    graph.Floor: _same("Floor"),
    graph.IsNaN: _same("IsNaN"),
    graph.Log: _same("Log"),
    graph.Neg: _same("Neg"),
    graph.Not: _by_type("Not", "BitwiseNot"),
    graph.Reciprocal: _same("Reciprocal"),
    graph.Relu: _same("Relu"),
    graph.Round: _same("Round"),
    graph.Rsqrt: _then("Sqrt", "Reciprocal"),
    graph.Sigmoid: _same("Sigmoid"),
    graph.Sign: _same("Sign"),
    graph.Sin: _same("Sin"),
    graph.Sinh: _same("Sinh"),
    graph.Sqrt: _same("Sqrt"),
    graph.Tan: _same("Tan"),
    graph.Tanh: _same("Tanh"),
    graph.Expm1: _expm1,
    graph.Log1p: _log1p,
    graph.Trunc: _trunc,
    graph.Cast: _cast,
    graph.Gelu: _gelu,
    graph.IsInf: _is_inf,
    graph.Add: _same("Add"),
    graph.Sub: _same("Sub"),
    graph.Mul: _same("Mul"),
    graph.Div: _same("Div"),
    graph.Max: _same("Max"),
    graph.Min: _same("Min"),
    graph.Pow: _same("Pow"),
    graph.Mod: _mod(0),
    graph.Rem: _mod(1),
    graph.And: _by_type("And", "BitwiseAnd"),
    graph.Or: _by_type("Or", "BitwiseOr"),
    graph.Xor: _by_type("Xor", "BitwiseXor"),
    graph.Shl: _shift("LEFT"),
    graph.Shr: _shift("RIGHT"),
    graph.Eq: _same("Equal"),
    graph.Ne: _ne,
    graph.Lt: _same("Less"),
    graph.Le: _same("LessOrEqual"),
    graph.Gt: _same("Greater"),
    graph.Ge: _same("GreaterOrEqual"),
    graph.Select: _same("Where"),
    graph.ReduceSum: _reduce("ReduceSum"),
    graph.ReduceMean: _reduce("ReduceMean"),
    graph.ReduceMax: _reduce("ReduceMax"),
    graph.ReduceMin: _reduce("ReduceMin"),
    graph.ReduceProd: _reduce("ReduceProd"),
    graph.ArgMax: _arg("ArgMax"),
    graph.ArgMin: _arg("ArgMin"),
    graph.CumSum: _cumsum,
    graph.Softmax: _along("Softmax"),
    graph.LogSoftmax: _along("LogSoftmax"),
    graph.MatMul: _matmul,
    graph.Conv: _conv,
    graph.ConvTranspose: _conv_transpose,
    graph.MaxPool: _pool("MaxPool"),
    graph.AvgPool: _pool("AveragePool"),
    graph.LayerNorm: _layer_norm,
    graph.BatchNorm: _batch_norm,
    graph.Transpose: _transpose,
    graph.Reshape: _reshape,
    graph.Expand: _expand,
    graph.Slice: _slice,
    graph.Pad: _pad,
    graph.Concat: _along("Concat"),
    graph.Iota: _iota,
    graph.ShapeOf: _same("Shape"),
    graph.ShapeExpr: _shape_expr,
    graph.Gather: _gather("Gather"),
    graph.GatherElements: _gather("GatherElements"),
    graph.GatherND: _gather("GatherND"),
    graph.ScatterElements: _along("ScatterElements"),
    graph.ScatterND: _along("ScatterND"),
    graph.NonZero: _same("NonZero"),
    graph.Det: _same("Det"),
    graph.TopK: _top_k,
    graph.Resize: _resize,
    graph.Quantize: _quantize,
    graph.Dequantize: _dequantize,
}
"""How each op is written."""
