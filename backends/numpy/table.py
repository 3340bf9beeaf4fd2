"""Which NumPy function computes each graph op: one row an op.

A row makes, from an op, the function that is called with its operands. What is known at compile
time (parameters, dtypes) is bound there once, so that a run only calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from xdsl.ir import Operation

from aicc.backends.numpy.kernels import (
    attention,
    cast,
    contract,
    image,
    indexing,
    norm,
    pool,
    quant,
    random,
    reduce,
    shape,
    signal,
    winograd,
)
from aicc.backends.numpy.kernels import elementwise as ew
from aicc.backends.numpy.kernels.windows import in_layout
from aicc.backends.numpy.runtime import RunError
from aicc.ir import graph
from aicc.ir.dtypes import DType
from aicc.ir.op import GraphOp
from aicc.ir.types import dtype_of

Kernel = Callable[..., Any]
Row = Callable[[GraphOp], Kernel]


def _operand_dtype(op: GraphOp) -> np.dtype:
    return dtype_of(op.operands[0].type.element_type).np  # type: ignore[union-attr]


def _elementwise(fn: Kernel, ints: Kernel | None = None, bools: Kernel | None = None) -> Row:
    """`fn` for floats; narrow dtypes go by way of float32 or int16."""

    def row(op: GraphOp) -> Kernel:
        dtype = _operand_dtype(op)
        chosen = fn
        if dtype == np.bool_ and bools is not None:
            return bools
        if dtype.kind in "iu" or "int" in dtype.name:
            chosen = ints or fn
        if op.PARAMS:
            chosen = partial(chosen, **_params(op))
        if ew.is_narrow(dtype) and "int" in dtype.name:
            return ew.via_int(chosen)
        return ew.via_float32(chosen) if ew.is_low_float(dtype) else chosen

    return row


def _params(op: GraphOp) -> dict[str, Any]:
    """Parameters as keyword arguments, dtypes as NumPy's; structural ones left out."""
    return {
        name: value.np if isinstance(value, DType) else value
        for name, value in op.param_values().items()
        if name not in op.STRUCTURAL
    }


def _with_params(fn: Kernel) -> Row:
    def row(op: GraphOp) -> Kernel:
        params = _params(op)
        return partial(fn, **params) if params else fn

    return row


def _plain(fn: Kernel) -> Row:
    return lambda op: fn


def _max_pool(op: GraphOp) -> Kernel:
    assert isinstance(op, graph.MaxPool)
    used = op.indices.first_use is not None
    return partial(in_layout(pool.max_pool), with_indices=used, **_params(op))


def _matmul(op: GraphOp) -> Kernel:
    assert isinstance(op, graph.MatMul)
    dtype = _operand_dtype(op)
    if dtype.kind == "f" and dtype.itemsize >= 4:
        return np.matmul
    out = op.out_dtype
    return partial(contract.matmul, out_dtype=None if out is None else out.np)


ROWS: dict[type[GraphOp], Row] = {
    graph.Abs: _elementwise(np.abs),
    graph.Neg: _elementwise(np.negative),
    graph.Sign: _elementwise(np.sign),
    graph.Ceil: _elementwise(np.ceil),
    graph.Floor: _elementwise(np.floor),
    graph.Round: _elementwise(np.rint),
    graph.Trunc: _elementwise(np.trunc),
    graph.Exp: _elementwise(np.exp),
    graph.Expm1: _elementwise(np.expm1),
    graph.Log: _elementwise(np.log),
    graph.Log1p: _elementwise(np.log1p),
    graph.Sqrt: _elementwise(np.sqrt),
    graph.Rsqrt: _elementwise(ew.rsqrt),
    graph.Reciprocal: _elementwise(np.reciprocal),
    graph.Sin: _elementwise(np.sin),
    graph.Cos: _elementwise(np.cos),
    graph.Tan: _elementwise(np.tan),
    graph.Asin: _elementwise(np.arcsin),
    graph.Acos: _elementwise(np.arccos),
    graph.Atan: _elementwise(np.arctan),
    graph.Sinh: _elementwise(np.sinh),
    graph.Cosh: _elementwise(np.cosh),
    graph.Tanh: _elementwise(np.tanh),
    graph.Asinh: _elementwise(np.arcsinh),
    graph.Acosh: _elementwise(np.arccosh),
    graph.Atanh: _elementwise(np.arctanh),
    graph.Erf: _elementwise(ew.erf),
    graph.Sigmoid: _elementwise(ew.sigmoid),
    graph.Relu: _elementwise(ew.relu),
    graph.Silu: _elementwise(ew.silu),
    graph.Gelu: _elementwise(ew.gelu),
    graph.Not: _elementwise(np.invert, bools=np.logical_not),
    graph.IsNaN: _elementwise(np.isnan),
    graph.IsInf: _elementwise(ew.is_inf),
    graph.Cast: _with_params(cast.cast),
    graph.Bitcast: _with_params(cast.bitcast),
    graph.Add: _elementwise(np.add),
    graph.Sub: _elementwise(np.subtract),
    graph.Mul: _elementwise(np.multiply),
    graph.Div: _elementwise(np.divide, ints=ew.div),
    graph.Rem: _elementwise(np.fmod),
    graph.Mod: _elementwise(np.mod),
    graph.Min: _elementwise(np.minimum),
    graph.Max: _elementwise(np.maximum),
    graph.Atan2: _elementwise(np.arctan2),
    graph.And: _elementwise(np.bitwise_and),
    graph.Or: _elementwise(np.bitwise_or),
    graph.Xor: _elementwise(np.bitwise_xor),
    graph.Shl: _elementwise(ew.shl),
    graph.Shr: _elementwise(ew.shr),
    graph.Pow: _elementwise(ew.pow_),
    graph.Eq: _elementwise(np.equal),
    graph.Ne: _elementwise(np.not_equal),
    graph.Lt: _elementwise(np.less),
    graph.Le: _elementwise(np.less_equal),
    graph.Gt: _elementwise(np.greater),
    graph.Ge: _elementwise(np.greater_equal),
    graph.Select: _plain(np.where),
    graph.Iota: _with_params(shape.iota),
    graph.Reshape: _with_params(shape.reshape),
    graph.Expand: _with_params(shape.expand),
    graph.Transpose: _with_params(shape.transpose),
    graph.Concat: _with_params(shape.concat),
    graph.Slice: _with_params(shape.slice_),
    graph.Pad: _with_params(shape.pad),
    graph.Gather: _with_params(indexing.gather),
    graph.GatherElements: _with_params(indexing.gather_elements),
    graph.GatherND: _with_params(indexing.gather_nd),
    graph.ScatterElements: _with_params(indexing.scatter_elements),
    graph.ScatterND: _with_params(indexing.scatter_nd),
    graph.NonZero: _plain(indexing.non_zero),
    graph.Unique: _with_params(indexing.unique),
    graph.TopK: _with_params(indexing.top_k),
    graph.Sort: _with_params(indexing.sort),
    graph.ReduceSum: _with_params(reduce.reduce_sum),
    graph.ReduceProd: _with_params(reduce.reduce_prod),
    graph.ReduceMax: _with_params(reduce.reduce_max),
    graph.ReduceMin: _with_params(reduce.reduce_min),
    graph.ReduceMean: _with_params(reduce.reduce_mean),
    graph.ArgMax: _with_params(reduce.argmax),
    graph.ArgMin: _with_params(reduce.argmin),
    graph.CumSum: _with_params(reduce.cumsum),
    graph.CumProd: _with_params(reduce.cumprod),
    graph.CumMax: _with_params(reduce.cummax),
    graph.CumMin: _with_params(reduce.cummin),
    graph.MatMul: _matmul,
    graph.Conv: _with_params(in_layout(contract.conv)),
    graph.ConvTranspose: _with_params(contract.conv_transpose),
    graph.ConvWeightGrad: _with_params(contract.conv_weight_grad),
    graph.DeformConv: _with_params(image.deform_conv),
    graph.WinogradInputTransform: _with_params(winograd.input_transform),
    graph.WinogradConv: _with_params(winograd.conv),
    graph.Det: _plain(contract.det),
    graph.DFT: _with_params(signal.dft),
    graph.MaxPool: _max_pool,
    graph.AvgPool: _with_params(in_layout(pool.avg_pool)),
    graph.AvgPoolGrad: _with_params(pool.avg_pool_grad),
    graph.MaxPoolGrad: _with_params(pool.max_pool_grad),
    graph.Softmax: _with_params(norm.softmax),
    graph.LogSoftmax: _with_params(norm.log_softmax),
    graph.LayerNorm: _with_params(norm.layer_norm),
    graph.RMSNorm: _with_params(norm.rms_norm),
    graph.BatchNorm: _with_params(norm.batch_norm),
    graph.GroupNorm: _with_params(norm.group_norm),
    graph.Attention: _with_params(attention.attention),
    graph.AttentionWithLse: _with_params(attention.attention_with_lse),
    graph.AttentionBackwardQuery: _with_params(attention.attention_backward_query),
    graph.AttentionBackwardKeyValue: _with_params(attention.attention_backward_key_value),
    graph.Resize: _with_params(image.resize),
    graph.GridSample: _with_params(image.grid_sample),
    graph.RoiAlign: _with_params(image.roi_align),
    graph.NonMaxSuppression: _with_params(image.non_max_suppression),
    graph.Quantize: _with_params(quant.quantize),
    graph.Dequantize: _with_params(quant.dequantize),
    graph.RngUniform: _with_params(random.rng_uniform),
    graph.RngNormal: _with_params(random.rng_normal),
}

INLINE: frozenset[type[GraphOp]] = frozenset(
    {
        graph.Constant,
        graph.ShapeExpr,
        graph.ShapeOf,
        graph.If,
        graph.Loop,
        graph.Yield,
        graph.CustomCall,
        graph.Fused,
    }
)
"""Ops that the executor writes into its code itself."""

MAY_ALIAS: frozenset[type[Operation]] = frozenset(
    {
        graph.Reshape,
        graph.Expand,
        graph.Transpose,
        graph.Slice,
        graph.Pad,
        graph.Cast,
        graph.Bitcast,
        graph.Resize,
        graph.ReduceSum,
        graph.ReduceProd,
        graph.ReduceMax,
        graph.ReduceMin,
        graph.ReduceMean,
        graph.Concat,
    }
)
"""Ops whose first result may share memory with their first operand."""


def implements(op: type[GraphOp]) -> bool:
    return op in ROWS or op in INLINE


def bind(op: GraphOp, static: Mapping[str, tuple[int, ...]] | None = None) -> Kernel:
    """The function of an op's operands; `static` gives structural parameters known now."""
    row = ROWS.get(type(op))
    if row is None:
        raise RunError(f"the NumPy backend has no kernel for {op.name}")
    kernel = row(op)
    return partial(kernel, **static) if static else kernel
