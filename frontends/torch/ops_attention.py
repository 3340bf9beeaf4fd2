"""Scaled dot-product attention and its gradient."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import f32, i1, i64
from aicc.ir.types import element_type, shape_of


def _scale(q: SSAValue, scale: float | None) -> float:
    depth = shape_of(q)[3]
    if scale is not None:
        return scale
    if not isinstance(depth, int):
        raise ValueError("the head size must be known")
    return 1 / math.sqrt(depth)


def _wide(c: CallContext, x: SSAValue) -> SSAValue:
    return c.b.cast(x, f32) if element_type(x).is_low_precision_float else x


def _scores(
    c: CallContext, q: SSAValue, k: SSAValue, mask: SSAValue | None, causal: bool, scale: float
) -> SSAValue:
    """q kᵀ · scale + mask, with hidden keys at −inf, in f32 for 16-bit floats."""
    q = c.emit(graph.Mul, q, c.scalar(scale, q))
    s = c.emit(graph.MatMul, q, c.b.transpose(k, [0, 1, 3, 2]))
    low = c.scalar(-math.inf, s)
    if mask is not None:
        if element_type(mask) == i1:
            s = c.emit(graph.Select, mask, s, low)
        else:
            s = c.emit(graph.Add, s, c.b.cast(mask, element_type(s)))
    if causal:
        rows = c.emit(graph.Iota, shape=c.b.structural(shape_of(q)[2:3]), dtype=i64)
        columns = c.emit(graph.Iota, shape=c.b.structural(shape_of(k)[2:3]), dtype=i64)
        keep = c.emit(graph.Le, columns, c.b.unsqueeze(rows, [1]))
        s = c.emit(graph.Select, keep, s, low)
    return s


@aten("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    c: CallContext,
    q: SSAValue,
    k: SSAValue,
    v: SSAValue,
    dropout: float = 0.0,
    causal: bool = False,
    attn_mask: SSAValue | None = None,
    scale: float | None = None,
):
    """The output, and the log-sum-exp of each row's scores where somebody reads it."""
    if dropout:
        return NotImplemented
    factor = _scale(q, scale)
    read = [u for u in c.node.users if len(u.args) > 1 and u.args[1] == 1 and u.users]
    if not read:
        out = c.emit(
            graph.Attention,
            q,
            k,
            v,
            attn_mask,
            scale=factor,
            causal="upper_left" if causal else "none",
        )
        return [out, c.b.full(c.dims(1), 0, c.dtype(1))]
    s = _scores(c, _wide(c, q), _wide(c, k), attn_mask, causal, factor)
    top = c.emit(graph.ReduceMax, s, axes=[3], keepdims=True)
    e = c.emit(graph.Exp, c.emit(graph.Sub, s, top))
    total = c.emit(graph.ReduceSum, e, axes=[3], keepdims=True)
    out = c.emit(graph.MatMul, c.emit(graph.Div, e, total), _wide(c, v))
    lse = c.b.squeeze(c.emit(graph.Add, c.emit(graph.Log, total), top), [3])
    return [c.b.cast(out, element_type(q)), lse]


@aten("_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_attention_backward(
    c: CallContext,
    grad: SSAValue,
    q: SSAValue,
    k: SSAValue,
    v: SSAValue,
    out: SSAValue,
    lse: SSAValue,
    dropout: float,
    causal: bool,
    attn_mask: SSAValue | None = None,
    scale: float | None = None,
):
    """Gradients by q, k and v (Dao et al. 2022, appendix B)."""
    if dropout:
        return NotImplemented
    factor = _scale(q, scale)
    dtype = element_type(q)
    grad, q, k, v, out = (_wide(c, x) for x in (grad, q, k, v, out))
    s = _scores(c, q, k, attn_mask, causal, factor)
    p = c.emit(graph.Exp, c.emit(graph.Sub, s, c.b.unsqueeze(c.b.cast(lse, element_type(s)), [3])))
    swap = [0, 1, 3, 2]
    dv = c.emit(graph.MatMul, c.b.transpose(p, swap), grad)
    dp = c.emit(graph.MatMul, grad, c.b.transpose(v, swap))
    row = c.emit(graph.ReduceSum, c.emit(graph.Mul, grad, out), axes=[3], keepdims=True)
    ds = c.emit(graph.Mul, p, c.emit(graph.Sub, dp, row))
    ds = c.emit(graph.Mul, ds, c.scalar(factor, ds))
    dq = c.emit(graph.MatMul, ds, k)
    dk = c.emit(graph.MatMul, c.b.transpose(ds, swap), q)
    return [c.b.cast(x, dtype) for x in (dq, dk, dv)]
