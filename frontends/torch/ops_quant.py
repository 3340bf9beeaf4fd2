"""Quantization as exports of pt2e-quantized models spell it: ``quantized_decomposed``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext, torch_dtype
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import DType, f32
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, rank_of, shape_of


def _limited(c: CallContext, codes: SSAValue, low: int, high: int, dtype: DType) -> SSAValue:
    """Codes within limits that are narrower than the type's."""
    info = np.iinfo(dtype.np)
    if low > info.min:
        codes = c.emit(graph.Max, codes, c.scalar(low, codes))
    if high < info.max:
        codes = c.emit(graph.Min, codes, c.scalar(high, codes))
    return codes


def _zero(c: CallContext, zero: Any, dtype: DType) -> SSAValue | None:
    """Zero points in the codes' type; None for zeros."""
    if zero is None or (isinstance(zero, int) and zero == 0):
        return None
    value = c.tensor(zero, dtype)
    known = constant_of(value)
    return None if known is not None and not known.any() else value


def _scalar(c: CallContext, value: Any) -> Any:
    """A tensor of one element as a scalar; numbers as they are."""
    return c.b.reshape(value, []) if isinstance(value, SSAValue) else value


@aten(
    "quantized_decomposed.quantize_per_tensor.default",
    "quantized_decomposed.quantize_per_tensor.tensor",
)
def quantize_per_tensor(
    c: CallContext, x: SSAValue, scale: Any, zero: Any, low: int, high: int, dtype: torch.dtype
):
    """torch multiplies by the inverse of the scale, and so does this."""
    to = torch_dtype(dtype)
    if isinstance(scale, SSAValue):
        inverse = c.emit(graph.Reciprocal, c.b.cast(_scalar(c, scale), f32))
    else:
        inverse = c.b.constant(np.float32(1.0 / scale))
    ratio = c.emit(graph.Mul, c.b.cast(x, f32), inverse)
    zero = _zero(c, _scalar(c, zero), to)
    codes = c.emit(graph.Quantize, ratio, c.b.constant(np.float32(1)), zero, dtype=to)
    return _limited(c, codes, low, high, to)


@aten(
    "quantized_decomposed.dequantize_per_tensor.default",
    "quantized_decomposed.dequantize_per_tensor.tensor",
)
def dequantize_per_tensor(
    c: CallContext,
    x: SSAValue,
    scale: Any,
    zero: Any,
    low: int,
    high: int,
    dtype: torch.dtype,
    out_dtype: torch.dtype | None = None,
):
    step = c.tensor(_scalar(c, scale), f32)
    zero = _zero(c, _scalar(c, zero), element_type(x))
    return c.emit(graph.Dequantize, x, step, zero, dtype=c.dtype())


@aten("quantized_decomposed.quantize_per_channel.default")
def quantize_per_channel(
    c: CallContext,
    x: SSAValue,
    scales: SSAValue,
    zeros: SSAValue,
    axis: int,
    low: int,
    high: int,
    dtype: torch.dtype,
):
    to = torch_dtype(dtype)
    axis = c.axis(axis, rank_of(x))
    inverse = c.emit(graph.Reciprocal, c.b.cast(scales, f32))
    wide = c.b.unsqueeze(inverse, [i for i in range(rank_of(x)) if i != axis])
    ratio = c.emit(graph.Mul, c.b.cast(x, f32), wide)
    one = c.b.full(shape_of(scales), 1.0, f32)
    codes = c.emit(graph.Quantize, ratio, one, c.b.cast(zeros, to), axis=axis, dtype=to)
    return _limited(c, codes, low, high, to)


@aten("quantized_decomposed.dequantize_per_channel.default")
def dequantize_per_channel(
    c: CallContext,
    x: SSAValue,
    scales: SSAValue,
    zeros: SSAValue | None,
    axis: int,
    low: int,
    high: int,
    dtype: torch.dtype,
    out_dtype: torch.dtype | None = None,
):
    axis = c.axis(axis, rank_of(x))
    zero = _zero(c, zeros, element_type(x))
    return c.emit(graph.Dequantize, x, c.b.cast(scales, f32), zero, axis=axis, dtype=c.dtype())


@aten("quantized_decomposed.dequantize_per_channel_group.default")
def dequantize_per_channel_group(
    c: CallContext,
    x: SSAValue,
    scales: SSAValue,
    zeros: SSAValue | None,
    low: int,
    high: int,
    dtype: torch.dtype,
    group_size: int,
    out_dtype: torch.dtype,
):
    """Groups run along the last dim."""
    zero = _zero(c, zeros, element_type(x))
    params = {"axis": rank_of(x) - 1, "block_size": group_size, "dtype": c.dtype()}
    return c.emit(graph.Dequantize, x, c.b.cast(scales, f32), zero, **params)


@aten("quantized_decomposed.choose_qparams.tensor")
def choose_qparams(
    c: CallContext, x: SSAValue, low: int, high: int, eps: float, dtype: torch.dtype
):
    """The scale and zero point that cover all of x and zero, worked out as the model runs."""
    axes = list(range(rank_of(x)))
    wide = c.b.cast(x, "f64")
    zero = c.scalar(0.0, wide)
    least = c.emit(graph.Min, c.emit(graph.ReduceMin, wide, axes=axes), zero)
    most = c.emit(graph.Max, c.emit(graph.ReduceMax, wide, axes=axes), zero)
    span = c.emit(graph.Sub, most, least)
    scale = c.emit(
        graph.Max, c.emit(graph.Div, span, c.scalar(float(high - low), span)), c.scalar(eps, span)
    )
    offset = c.emit(graph.Round, c.emit(graph.Div, least, scale))
    point = c.emit(graph.Sub, c.scalar(float(low), offset), offset)
    point = c.emit(
        graph.Min,
        c.emit(graph.Max, point, c.scalar(float(low), point)),
        c.scalar(float(high), point),
    )
    return [c.b.reshape(scale, [1]), c.b.reshape(c.b.cast(point, "i64"), [1])]
