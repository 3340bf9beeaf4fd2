"""Quantization operators, kept as quantize and dequantize."""

from __future__ import annotations

from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.ops_nn import integer_operand, kernel_of, matmul_of, window
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import f32, i32, ui8
from aicc.ir.types import element_type, rank_of, shape_of


def _axis(c: NodeContext, default: int = 1) -> int:
    raw = c.attr("axis", default)
    return c.normalize(raw, c.rank()) if rank_of(c[1]) >= 1 and shape_of(c[1]) != (1,) else 0


@onnx_op("QuantizeLinear")
def quantize_linear(c: NodeContext):
    code = c.attr("output_dtype", 0)
    dtype = c.dtype(2) if c.has(2) else (c.dtype_attr("output_dtype") if code else ui8)
    return c.emit(
        graph.Quantize,
        c[0],
        c[1],
        c.optional(2),
        axis=_axis(c),
        block_size=c.attr("block_size", 0),
        dtype=dtype,
        saturate=bool(c.attr("saturate", 1)),
    )


@onnx_op("DequantizeLinear")
def dequantize_linear(c: NodeContext):
    code = c.attr("output_dtype", 0)
    dtype = c.dtype_attr("output_dtype") if code else c.dtype(1)
    return c.emit(
        graph.Dequantize,
        c[0],
        c[1],
        c.optional(2),
        axis=_axis(c),
        block_size=c.attr("block_size", 0),
        dtype=dtype,
    )


@onnx_op("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: NodeContext):
    x = c[0]
    axes = list(range(c.rank()))
    zero = c.scalar(0)
    low = c.emit(graph.Min, c.emit(graph.ReduceMin, x, axes=axes), zero)
    high = c.emit(graph.Max, c.emit(graph.ReduceMax, x, axes=axes), zero)
    scale = c.emit(graph.Div, c.emit(graph.Sub, high, low), c.scalar(255))
    point = c.emit(graph.Round, c.emit(graph.Neg, c.emit(graph.Div, low, scale)))
    point = c.emit(graph.Min, c.emit(graph.Max, point, zero), c.scalar(255))
    zero_point = c.b.cast(point, ui8)
    return [c.emit(graph.Quantize, x, scale, zero_point, dtype=ui8), scale, zero_point]


def _requantize(
    c: NodeContext, total: SSAValue, scale: SSAValue, y_scale: SSAValue, y_zero: SSAValue
) -> SSAValue:
    """An i32 accumulator times the operands' scale, quantized by the result's scale."""
    real = c.emit(graph.Mul, c.b.cast(total, f32), c.b.cast(scale, f32))
    one = rank_of(y_scale) == 1
    y_scale = c.b.cast(c.b.reshape(y_scale, []) if one else y_scale, f32)
    y_zero = c.b.reshape(y_zero, []) if rank_of(y_zero) == 1 else y_zero
    return c.emit(graph.Quantize, real, y_scale, y_zero, dtype=element_type(y_zero))


@onnx_op("QLinearMatMul")
def qlinear_matmul(c: NodeContext):
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = c.tensors()
    if not element_type(a).is_integer:
        real_a = c.emit(graph.Dequantize, a, a_scale, a_zero, dtype=f32)
        real_b = c.emit(graph.Dequantize, b, b_scale, b_zero, dtype=f32)
        real = matmul_of(c, real_a, real_b)
        return c.emit(graph.Quantize, real, y_scale, y_zero, dtype=element_type(y_zero))
    left = integer_operand(c, a, a_zero, rank_of(a) - 2 if rank_of(a) >= 2 else None)
    total = matmul_of(c, left, integer_operand(c, b, b_zero), out_dtype=i32)
    if rank_of(a_scale) == 1 and shape_of(a_scale)[0] != 1:
        a_scale = c.b.unsqueeze(a_scale, [1])
    scale = c.emit(graph.Mul, c.b.cast(a_scale, f32), c.b.cast(b_scale, f32))
    return _requantize(c, total, scale, y_scale, y_zero)


@onnx_op("QLinearConv")
def qlinear_conv(c: NodeContext):
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = c.tensors()[:8]
    params = window(c, kernel_of(c, w), c.rank())
    total = c.emit(
        graph.Conv,
        integer_operand(c, x, x_zero),
        integer_operand(c, w, w_zero, 0),
        groups=c.attr("group", 1),
        out_dtype=i32,
        **params,
    )
    n = c.rank() - 2
    if c.has(8):
        total = c.emit(graph.Add, total, c.b.unsqueeze(c[8], list(range(1, n + 1))))
    if rank_of(w_scale) == 1:
        if shape_of(w_scale)[0] == 1:
            w_scale = c.b.reshape(w_scale, [])
        else:
            w_scale = c.b.unsqueeze(w_scale, list(range(1, n + 1)))
    scale = c.emit(graph.Mul, c.b.cast(x_scale, f32), c.b.cast(w_scale, f32))
    return _requantize(c, total, scale, y_scale, y_zero)
